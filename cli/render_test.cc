// SPDX-License-Identifier: Apache-2.0
// Rows to tables and JSON.
#include "cli/render.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <ctime>
#include <set>
#include <sstream>

#include "cli/columns.h"
#include "cli/json.h"
#include "cli/safe_text.h"
#include "cli/sockets.h"

namespace gatehouse::cli {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

constexpr uint64_t kTime = 1'795'568'523'123'456'789;  // 2026-11-25T01:02:03.123456789Z

v1::Row statement_row() {
  v1::Row row;
  row.set_id("a1/b2/77");
  row.set_time_ns(kTime);
  row.set_duration_ns(4'210'000);
  row.set_kind("statement");
  row.set_outcome("ok");
  row.set_fidelity("complete");
  row.set_agent_id("a1");
  row.set_host("db1");
  row.set_session("a1/b2/8412");
  row.set_database_engine("postgresql");
  row.set_database_name("shop");
  row.set_database_version("15.6");
  row.set_database_address("127.0.0.1:5432");
  row.set_session_user("app");
  row.set_session_application("psql");
  row.set_session_client("127.0.0.1:51234");
  row.set_actor_pid(4242);
  row.set_actor_exe("/usr/bin/psql");
  row.set_actor_user("alice");
  row.set_statement_text("SELECT *\n  FROM orders\n WHERE id = $1");
  row.set_statement_verb("SELECT");
  row.add_statement_parameters("4711");
  row.set_result_rows(12'345);
  row.set_result_bytes(15'667);
  row.set_request_bytes(90);
  return row;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) out.push_back(line);
  return out;
}

std::string table_of(const v1::Row& row, TableStyle style, std::vector<EventColumn> columns) {
  const std::vector<std::vector<Cell>> rows = {cells_of(columns, row)};
  return render_table(layouts_of(columns), style, rows);
}

class Render : public testing::Test {
 protected:
  void SetUp() override {
    setenv("TZ", "UTC", 1);
    tzset();
  }
  void TearDown() override {
    unsetenv("TZ");
    tzset();
  }
};

TEST_F(Render, StatementInAPipeIsWhole) {
  EXPECT_EQ(table_of(statement_row(), {}, event_columns(0)),
            "time                     session  actor             database  outcome    rows  duration  what\n"
            "2026-11-25 01:02:03.123     8412  psql(4242) alice  app@shop  ok       12 345   4.21 ms  "
            "SELECT * FROM orders WHERE id = $1\n");
}

TEST_F(Render, StatementFitsEveryTerminal) {
  v1::Row row = statement_row();
  row.set_statement_text(std::string(1 << 15, 'x') + " 日本語 " + std::string(1000, 'y'));
  row.set_actor_exe("/opt/" + std::string(200, 'e'));
  row.set_session_user(std::string(100, 'u'));
  for (size_t width = 1; width <= 250; ++width) {
    for (const std::string& line : lines_of(table_of(row, {.terminal_width = width}, event_columns(width))))
      ASSERT_LE(display_width(line), width) << line;
  }
  const auto lines = lines_of(table_of(row, {.terminal_width = 80}, event_columns(80)));
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_THAT(lines[0], HasSubstr("what"));
  EXPECT_THAT(lines[1], HasSubstr("xxxxxxxx…"));
}

TEST_F(Render, HostileRowKeepsToItsLine) {
  v1::Row row = statement_row();
  const std::string attack =
      "\x1b[2J\x1b]0;x\x07\r\n\xe2\x80\xae\xc2\x9b"
      "6n\x08\x7f";
  for (const rules::FieldSpec& field : rules::fields()) {
    const auto* descriptor = v1::Row::descriptor()->FindFieldByName(std::string(field.member));
    if (field.type == rules::FieldType::kString) row.GetReflection()->SetString(&row, descriptor, attack);
    if (field.type == rules::FieldType::kList) row.GetReflection()->AddString(&row, descriptor, attack);
  }
  const auto harmless = [](const std::string& text) {
    for (const char c : text) {
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return false;
    }
    return text.find("\xc2\x9b") == std::string::npos && text.find("\xe2\x80\xae") == std::string::npos;
  };
  std::vector<EventColumn> all;
  for (const rules::FieldSpec& field : rules::fields()) all.push_back(*find_column(field.name));
  for (const auto& columns : {all, event_columns(0), session_columns()}) {
    const auto lines = lines_of(table_of(row, {}, columns));
    ASSERT_EQ(lines.size(), 2U);
    EXPECT_TRUE(harmless(lines[1])) << lines[1];
  }
  const std::string line = to_json(row);
  ASSERT_TRUE(line.ends_with("\n"));
  EXPECT_TRUE(harmless(line.substr(0, line.size() - 1))) << line;
  EXPECT_EQ(json::parse(line)["statement"]["text"], attack);
  SessionTotals totals;
  totals.add(row);
  for (const std::string& head : lines_of(totals.head())) EXPECT_TRUE(harmless(head)) << head;
  v1::TopResponse top;
  top.add_groups()->set_value(attack);
  for (const std::string& group : lines_of(render_top(top, rules::fields()[0], {}))) EXPECT_TRUE(harmless(group));
  v1::AgentsResponse agents;
  for (std::string* text : {agents.add_agents()->mutable_host(), agents.mutable_agents(0)->mutable_agent_id(),
                            agents.mutable_agents(0)->mutable_version(), agents.mutable_agents(0)->mutable_plane()})
    *text = attack;
  for (const std::string& agent : lines_of(render_agents(agents, {}, kTime))) EXPECT_TRUE(harmless(agent));
}

TEST_F(Render, ColoursTheOutcomeOnlyWhenAsked) {
  v1::Row row = statement_row();
  EXPECT_THAT(table_of(row, {.terminal_width = 140, .colour = true}, event_columns(140)),
              HasSubstr("\x1b[32mok\x1b[0m"));
  EXPECT_THAT(table_of(row, {.terminal_width = 140}, event_columns(140)), Not(HasSubstr("\x1b")));
  row.set_outcome("error");
  row.set_result_sqlstate("42P01");
  row.set_result_error("relation \"orders\" does not exist");
  const std::string table = table_of(row, {.terminal_width = 140, .colour = true}, event_columns(140));
  EXPECT_THAT(table, HasSubstr("\x1b[31merror 42P01\x1b[0m"));
  EXPECT_THAT(table, HasSubstr("[relation \"orders\" does not exist] SELECT"));
}

TEST_F(Render, WhatTellsOfEveryKind) {
  struct Case {
    std::string_view kind, fidelity, detail, text, resolved, want;
  };
  const Case cases[] = {
      {"connect", "complete", "protocol 3.0", "", "", "[connect] protocol 3.0"},
      {"disconnect", "complete", "", "", "", "[disconnect]"},
      {"opaque", "opaque", "tls", "", "", "[opaque] tls"},
      {"statement", "truncated", "", "SELECT 'a", "", "[truncated] SELECT 'a"},
      {"statement", "complete", "", "EXECUTE q", "SELECT 1", "EXECUTE q → SELECT 1"},
      {"statement", "after-gap", "", "", "", "[after-gap]"},
  };
  for (const Case& c : cases) {
    v1::Row row;
    row.set_kind(std::string(c.kind));
    row.set_fidelity(std::string(c.fidelity));
    row.set_detail(std::string(c.detail));
    row.set_statement_text(std::string(c.text));
    row.set_statement_resolved(std::string(c.resolved));
    EXPECT_EQ(find_column("what")->summary(row).text, c.want);
  }
}

TEST_F(Render, ActorAndDatabaseSayWhatIsKnown) {
  const auto actor = [](const v1::Row& row) { return find_column("actor")->summary(row).text; };
  const auto database = [](const v1::Row& row) { return find_column("database")->summary(row).text; };
  v1::Row row;
  EXPECT_EQ(actor(row), "");
  EXPECT_EQ(database(row), "");
  row.set_session_client("10.0.0.7:51234");
  row.set_session_user("app");
  EXPECT_EQ(actor(row), "10.0.0.7:51234");  // a client on another host
  EXPECT_EQ(database(row), "app");
  row.set_actor_pid(7);
  EXPECT_EQ(actor(row), "?(7)");
  row.set_actor_exe("/usr/lib/postgresql/15/bin/psql");
  row.set_actor_user("postgres");
  EXPECT_EQ(actor(row), "psql(7) postgres");
}

TEST_F(Render, JsonNestsFieldsAndLeavesOutWhatIsUnknown) {
  const std::string line = to_json(statement_row());
  EXPECT_EQ(line.find("{\"id\":\"a1/b2/77\",\"time\":\"2026-11-25T01:02:03.123456789Z\",\"duration\":4210000,"), 0U)
      << line;
  const json row = json::parse(line);
  EXPECT_EQ(row["statement"]["text"], "SELECT *\n  FROM orders\n WHERE id = $1");
  EXPECT_EQ(row["statement"]["parameters"], json::array({"4711"}));
  EXPECT_EQ(row["statement"]["index"], 0);
  EXPECT_EQ(row["actor"]["exe"], "/usr/bin/psql");
  EXPECT_EQ(row["actor"]["pid"], 4242);
  EXPECT_EQ(row["actor"]["uid"], 0);  // root is somebody
  EXPECT_EQ(row["session"]["encrypted"], false);
  EXPECT_EQ(row["session"]["id"], "a1/b2/8412");
  EXPECT_EQ(row["result"]["rows"], 12'345);
  EXPECT_FALSE(row["actor"].contains("container"));
  EXPECT_FALSE(row.contains("detail"));
  v1::Row connect;
  connect.set_kind("connect");
  EXPECT_EQ(to_json(connect), "{\"kind\":\"connect\"}\n");
  EXPECT_EQ(to_json(v1::Row()), "{}\n");
}

// A folder of fields is an object, so no field may have a folder's name.
TEST_F(Render, FieldNamesMakeAnObject) {
  std::set<std::string_view> folders;
  for (const rules::FieldSpec& field : rules::fields()) {
    const size_t dot = field.name.find('.');
    if (dot == std::string_view::npos) continue;
    EXPECT_EQ(field.name.find('.', dot + 1), std::string_view::npos) << field.name;
    folders.insert(field.name.substr(0, dot));
  }
  for (const rules::FieldSpec& field : rules::fields()) EXPECT_EQ(folders.count(field.name), 0U) << field.name;
}

TEST_F(Render, SocketsOfAgents) {
  v1::AgentsResponse agents;
  v1::Agent& agent = *agents.add_agents();
  agent.set_host("db1");
  EXPECT_EQ(sockets_remarks(agents), std::vector<std::string>{"db1: its agent has not told of sockets"});
  v1::HostSockets& sockets = *agent.mutable_sockets();
  sockets.set_time_ns(kTime);
  v1::HostSocket& listener = *sockets.add_sockets();
  listener.set_verdict("watched");
  listener.set_listening(true);
  listener.set_transport("tcp");
  listener.set_label("shop");
  listener.mutable_server()->set_address("127.0.0.1:5432");
  v1::HostSocket& session = *sockets.add_sockets();
  session.set_verdict("gaps");
  session.set_reason("ring-full");
  session.set_transport("unix");
  session.set_label("shop");
  session.set_user("a\x1b");  // a terminal must not get it
  session.set_database("d");
  session.set_session("9223372036854775809");
  session.set_network_namespace(77);
  session.mutable_server()->set_address("/run/.s.PGSQL.5432");
  session.mutable_server()->set_pid(7);
  session.mutable_server()->set_exe("/usr/lib/postgres");
  session.mutable_client()->set_pid(8);
  session.mutable_client()->set_exe("/usr/bin/psql");
  session.mutable_client()->set_inode(99);
  EXPECT_EQ(render_sockets(agents, {}),
            "host  verdict  why        database  who      client        server\n"
            "db1   watched             shop      listens                127.0.0.1:5432\n"
            "db1   gaps     ring-full  shop      a\\x1b@d  unix psql(8)  /run/.s.PGSQL.5432 postgres(7) in network "
            "77\n");
  EXPECT_TRUE(sockets_remarks(agents).empty());
  sockets.set_left_out(5);
  ASSERT_EQ(sockets_remarks(agents).size(), 1U);
  const json told = json::parse(to_json(agent));
  EXPECT_EQ(told["sockets_left_out"], 5);
  EXPECT_EQ(told["sockets"][0]["listening"], true);
  EXPECT_EQ(told["sockets"][1]["session"], "9223372036854775809");
  EXPECT_EQ(told["sockets"][1]["client"]["inode"], 99);
  EXPECT_EQ(told["sockets"][1]["network_namespace"], 77);
}

TEST_F(Render, AgentsTopAndFields) {
  v1::AgentsResponse agents;
  v1::Agent& agent = *agents.add_agents();
  agent.set_agent_id("db1-0f3c");
  agent.set_host("db1");
  agent.set_version("0.1.0");
  agent.set_connected(true);
  agent.set_last_seen_ns(kTime - 2'000'000'000);
  agent.set_events(1'234'567);
  agent.set_missing(3);
  agent.set_plane("socket");
  (*agent.mutable_counters())["z"] = 1;
  (*agent.mutable_counters())["a"] = 2;
  EXPECT_EQ(render_agents(agents, {}, kTime),
            "host  agent     connected  last seen     events  missing  sockets   cpu  memory  plane   version\n"
            "db1   db1-0f3c  yes        2 s ago    1 234 567        3                         socket  0.1.0\n");
  EXPECT_EQ(to_json(agent),
            "{\"id\":\"db1-0f3c\",\"host\":\"db1\",\"version\":\"0.1.0\",\"connected\":true,"
            "\"last_seen\":\"2026-11-25T01:02:01.123456789Z\",\"events\":1234567,\"missing\":3,\"plane\":\"socket\","
            "\"counters\":{\"a\":2,\"z\":1}}\n");

  EXPECT_EQ(sockets_summary(agent), "");
  (*agent.mutable_counters())["sockets_listening"] = 2;
  (*agent.mutable_counters())["sockets_full"] = 40;
  (*agent.mutable_counters())["sockets_gaps"] = 0;
  EXPECT_EQ(sockets_summary(agent), "40 full");
  EXPECT_FALSE(has_unseen_sockets(agent));
  (*agent.mutable_counters())["sockets_unwatched"] = 1;
  EXPECT_EQ(sockets_summary(agent), "40 full, 1 unwatched");
  EXPECT_TRUE(has_unseen_sockets(agent));
  EXPECT_EQ(cpu_summary(agent) + memory_summary(agent), "");
  (*agent.mutable_counters())["cost_cpu_ppm"] = 4'000;
  (*agent.mutable_counters())["cost_bpf_ppm"] = 660;
  (*agent.mutable_counters())["cost_resident_bytes"] = 42U << 20;
  EXPECT_EQ(cpu_summary(agent), "0.47 %");
  EXPECT_EQ(memory_summary(agent), "42.0 MiB");

  v1::TopResponse top;
  v1::TopGroup& group = *top.add_groups();
  group.set_value("/usr/bin/psql");
  group.set_events(4);
  group.set_errors(1);
  group.set_rows(1000);
  group.set_duration_ns(4'000'000);
  group.set_last_time_ns(kTime);
  top.add_groups()->set_events(1);
  const auto lines = lines_of(render_top(top, *rules::find_field("actor.exe"), {}));
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_EQ(lines[0], "events  errors   rows  duration  average  last                     actor.exe");
  EXPECT_EQ(lines[1], "     4       1  1 000   4.00 ms  1.00 ms  2026-11-25 01:02:03.123  /usr/bin/psql");
  EXPECT_THAT(lines[2], HasSubstr("(not known)"));
  const json as_json = json::parse(to_json(group, *rules::find_field("actor.exe")));
  EXPECT_EQ(as_json["by"], "actor.exe");
  EXPECT_EQ(as_json["value"], "/usr/bin/psql");

  EXPECT_EQ(lines_of(render_fields({})).size(), rules::fields().size() + 1);
}

TEST_F(Render, SessionHeadAndTotals) {
  SessionTotals totals;
  v1::Row connect = statement_row();
  connect.set_kind("connect");
  connect.clear_database_version();
  connect.set_time_ns(kTime - 1'000'000'000);
  v1::Row failed = statement_row();
  failed.set_outcome("error");
  failed.set_result_rows(0);
  v1::Row disconnect;
  disconnect.set_kind("disconnect");
  disconnect.set_session("a1/b2/8412");
  disconnect.set_time_ns(kTime + 1'000'000'000);
  for (const v1::Row& row : {connect, statement_row(), failed, disconnect}) totals.add(row);
  EXPECT_EQ(totals.text(), "2 statements, 1 error, 12 345 rows, 30.6 KiB answered, 8.42 ms in statements");
  EXPECT_EQ(totals.head(),
            "session     a1/b2/8412\n"
            "who         alice\n"
            "process     4242\n"
            "exe         /usr/bin/psql\n"
            "user        app\n"
            "database    shop at 127.0.0.1:5432 (postgresql 15.6)\n"
            "client      127.0.0.1:51234 as \"psql\"\n"
            "encrypted   no\n"
            "enforced    no\n"
            "start       2026-11-25 01:02:02.123\n"
            "end         2026-11-25 01:02:04.123\n");
}

}  // namespace
}  // namespace gatehouse::cli
