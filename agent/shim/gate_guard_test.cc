// SPDX-License-Identifier: Apache-2.0
// Answers that pass through a guard: changed, cut off, and what becomes of both ends then. What a real server makes of
// it is in tests/e2e.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "agent/shim/gate_messages.h"
#include "tests/support/gate_host.h"

namespace gatehouse::test {
namespace {

using postgres::ResponseTag;
using shim::Passage;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

// Shows what it is shown; changes rows that say "secret", drops those that say "drop", ends at "end".
class Scripted final : public shim::ResultGuard {
 public:
  [[nodiscard]] bool wants_description() const override { return is_described; }
  void on_description(std::span<const std::byte> body) override {
    seen.push_back("described " + std::to_string(body.size()));
  }
  [[nodiscard]] bool may_cut() const override { return rows_max > 0; }
  Passage on_message(ResponseTag tag, std::span<const std::byte> body, std::string& out) override {
    const std::string_view text(reinterpret_cast<const char*>(body.data()), body.size());
    seen.push_back(std::string(1, static_cast<char>(tag)));
    if (tag == ResponseTag::kErrorResponse) {
      out = error("22000", "hidden");
      return Passage::kChanged;
    }
    if (tag != ResponseTag::kDataRow && tag != ResponseTag::kCopyData) return Passage::kAsIs;
    if (text.find("end") != text.npos) return Passage::kEnd;
    if (rows_max > 0 && ++rows > rows_max) return Passage::kCut;
    if (text.find("drop") != text.npos) return Passage::kChanged;
    if (text.find("secret") == text.npos) return Passage::kAsIs;
    out = tag == ResponseTag::kDataRow ? data_row("***") : copy_data("***");
    return Passage::kChanged;
  }
  [[nodiscard]] shim::Ruling why() const override {
    return {.kind = Ruling::Kind::kRefuse, .rule = "few", .sqlstate = "54000", .message = "too many"};
  }

  bool is_described = false;
  size_t rows_max = 0, rows = 0;
  std::vector<std::string> seen;
};

class Guarded : public ::testing::Test {
 protected:
  Guarded() {
    ends.rule = [&](const Activity& a, Purpose purpose) {
      if (purpose == Purpose::kPrepare || a.text.find("guarded") == a.text.npos) return Ruling{};
      return Ruling{.guard = guard};
    };
    client(startup({"user", "u"}));
    server(welcome());
    clear();
  }
  ~Guarded() override { EXPECT_THAT(ends.wrong, IsEmpty()); }
  void client(std::string_view bytes) { ends.give(Direction::kRequest, bytes); }
  void server(std::string_view bytes) {
    for (size_t i = 0; i < bytes.size(); i += chunk) ends.give(Direction::kResponse, bytes.substr(i, chunk));
  }
  void clear() {
    for (std::string& sent : ends.sent) sent.clear();
    ends.judged.clear();
    ends.activities.clear();
  }
  const std::string cut_error = shim::error_response({.sqlstate = "54000", .message = "too many"}, true);
  std::string poison(postgres::RequestTag tag) {
    const auto bytes = shim::failing_request(tag, false);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  size_t chunk = SIZE_MAX / 2;
  std::shared_ptr<Scripted> guard = std::make_shared<Scripted>();
  GateEnds ends;
};

TEST_F(Guarded, RowsAreChangedHoweverTheyCome) {
  const std::string answer = row_description() + data_row("a") + data_row("secret") + data_row("drop") +
                             data_row("secret") + data_row("b") + complete("SELECT 5") + ready();
  for (chunk = 1; chunk <= answer.size(); ++chunk) {
    clear();
    client(query("guarded"));
    server(answer);
    EXPECT_EQ(ends.down(), row_description() + data_row("a") + data_row("***") + data_row("***") + data_row("b") +
                               complete("SELECT 5") + ready())
        << chunk;
    EXPECT_THAT(ends.activities, ElementsAre("simple ok {guarded} tag=SELECT 5 rows=5 tx=I")) << chunk;
  }
  EXPECT_TRUE(ends.gate.is_idle());
}

TEST_F(Guarded, OnlyTheAnswerToItPassesThrough) {
  const std::string segment = parse("", "guarded") + bind("", "") + execute() + parse("", "plain") + bind("", "") +
                              execute() + sync();
  client(segment + query("plain"));
  EXPECT_EQ(ends.up(), segment + query("plain"));
  const std::string start = parse_complete() + bind_complete();
  server(start + data_row("secret") + complete("SELECT 1") + start + data_row("secret") + complete("SELECT 1") +
         ready() + row_description() + data_row("secret") + complete("SELECT 1") + ready());
  EXPECT_EQ(ends.down(), start + data_row("***") + complete("SELECT 1") + start + data_row("secret") +
                             complete("SELECT 1") + ready() + row_description() + data_row("secret") +
                             complete("SELECT 1") + ready());
  EXPECT_THAT(guard->seen, ElementsAre("D", "C"));
}

TEST_F(Guarded, IsDescribedInTheClientsPlace) {
  guard->is_described = true;
  for (const std::string& description : {row_description(), no_data()}) {
    clear();
    guard->seen.clear();
    client(parse("", "guarded") + bind("p", "") + execute("p") + sync());
    EXPECT_EQ(ends.up(), parse("", "guarded") + bind("p", "") + describe('P', "p") + execute("p") + sync());
    server(parse_complete() + bind_complete() + description + data_row("secret") + complete("SELECT 1") + ready());
    EXPECT_EQ(ends.down(), parse_complete() + bind_complete() + data_row("***") + complete("SELECT 1") + ready());
    EXPECT_THAT(guard->seen, ElementsAre(HasSubstr("described"), "D", "C"));
  }
  // There is no such portal: the server's error is the one that the client would have got for its own request.
  clear();
  client(parse("", "guarded") + bind("p", "") + execute("p") + sync());
  server(parse_complete() + error("26000") + ready());
  EXPECT_EQ(ends.down(), parse_complete() + error("26000") + ready());
  EXPECT_TRUE(ends.gate.is_idle());
}

TEST_F(Guarded, ErrorsAreTheGuardsToSay) {
  client(query("guarded"));
  server(row_description() + data_row("x") + error("22012", "secret") + ready());
  EXPECT_EQ(ends.down(), row_description() + data_row("x") + error("22000", "hidden") + ready());
  EXPECT_TRUE(ends.gate.is_idle());
}

TEST_F(Guarded, CopyOut) {
  client(query("guarded"));
  server(copy_response('H') + copy_data("secret") + copy_data("b") + copy_done() + complete("COPY 2") + ready());
  EXPECT_EQ(ends.down(),
            copy_response('H') + copy_data("***") + copy_data("b") + copy_done() + complete("COPY 2") + ready());
  EXPECT_TRUE(ends.gate.is_idle());
}

struct CutCase {
  std::string name;
  std::string server;  // what it says from where it is cut
  std::string more_up, more_server, rest;
};

TEST_F(Guarded, CutInASimpleQuery) {
  guard->rows_max = 1;
  const std::string poisoned = poison(postgres::RequestTag::kQuery);
  const std::vector<CutCase> cases{
      {"it fails by itself", data_row("2") + error("57014") + ready('E'), "", "", ready('E')},
      {"it was done, outside of a transaction", data_row("2") + complete("SELECT 9") + ready('I'), "", "", ready('I')},
      {"it was done, in a transaction", data_row("2") + complete("SELECT 9") + ready('T'), poisoned,
       error("42601") + ready('E'), ready('E')},
      {"others follow in the text",
       data_row("2") + complete("SELECT 9") + row_description() + data_row("3") + complete("SELECT 1") + ready('I'), "",
       "", ready('I')},
      {"a copy", copy_data("2") + copy_done() + complete("COPY 2") + ready('I'), "", "", ready('I')},
  };
  for (const CutCase& c : cases)
    for (chunk = 1; chunk < 40; ++chunk) {
      clear();
      guard->rows = 0;
      ends.refused.clear();
      client(query("guarded") + query("plain"));
      EXPECT_EQ(ends.up(), query("guarded")) << "what follows waits";
      server(row_description() + data_row("1") + c.server);
      if (!c.more_up.empty()) {
        EXPECT_EQ(ends.up(), query("guarded") + c.more_up) << c.name;
      }
      server(c.more_server);
      EXPECT_EQ(ends.up(), query("guarded") + c.more_up + query("plain")) << c.name << chunk;
      server(complete("SELECT 0") + ready());
      EXPECT_EQ(ends.down(), row_description() + data_row("1") + cut_error + c.rest + complete("SELECT 0") + ready())
          << c.name << ' ' << chunk;
      EXPECT_THAT(ends.refused, ElementsAre(HasSubstr("54000")));
      ASSERT_EQ(ends.activities.size(), 2U) << c.name;
      EXPECT_THAT(ends.activities[0], HasSubstr("simple error {guarded}"));
      EXPECT_TRUE(ends.gate.is_idle());
    }
}

TEST_F(Guarded, CutInAPipeline) {
  guard->rows_max = 1;
  const std::string start = parse("", "guarded") + bind("", "") + execute();
  const std::string rest = parse("", "next") + bind("", "") + execute() + sync() + query("plain");
  const std::vector<CutCase> cases{
      {"it fails by itself", data_row("2") + error("57014"), "", "", ""},
      {"it was done", data_row("2") + complete("SELECT 9"),
       poison(postgres::RequestTag::kParse) + flush(), error("42601"), ""},
      {"suspended", data_row("2") + frame('s'), poison(postgres::RequestTag::kParse) + flush(), error("42601"), ""},
  };
  for (const CutCase& c : cases)
    for (chunk = 1; chunk < 40; ++chunk) {
      clear();
      guard->rows = 0;
      client(start + rest);
      EXPECT_EQ(ends.up(), start + flush()) << "what follows waits";
      server(parse_complete() + bind_complete() + data_row("1") + c.server);
      server(c.more_server);
      EXPECT_EQ(ends.up(), start + flush() + c.more_up + sync() + query("plain")) << c.name << chunk;
      server(ready('E') + complete("SELECT 0") + ready());
      EXPECT_EQ(ends.down(), parse_complete() + bind_complete() + data_row("1") + cut_error + ready('E') +
                                 complete("SELECT 0") + ready())
          << c.name << ' ' << chunk;
      EXPECT_TRUE(ends.gate.is_idle());
    }
}

TEST_F(Guarded, CutAndTheServerIsGone) {
  guard->rows_max = 1;
  client(query("guarded"));
  server(row_description() + data_row("1") + data_row("2") + error("57P01", "going", "FATAL"));
  EXPECT_THAT(ends.down(), HasSubstr("57P01"));
  ends.close(Direction::kResponse);
}

TEST_F(Guarded, WhatCannotPassEndsTheSession) {
  client(query("guarded"));
  server(row_description() + data_row("secret") + data_row("end") + data_row("secret"));
  EXPECT_EQ(ends.ended, End::kGuard);
  EXPECT_THAT(ends.down(), HasSubstr("FATAL"));
  EXPECT_THAT(ends.down(), Not(HasSubstr("secret")));
  EXPECT_THAT(ends.up(), HasSubstr(terminate()));
}

TEST_F(Guarded, ARowThatIsTooLongEndsTheSession) {
  client(query("guarded"));
  server(row_description() + frame('D', std::string(17U << 20, 'x')).substr(0, 100));
  EXPECT_EQ(ends.ended, End::kGuard);
  EXPECT_THAT(ends.down(), HasSubstr("54000"));
}

TEST_F(Guarded, ACopyInIsNotHeldUp) {
  guard->rows_max = 1;
  client(query("guarded"));
  server(copy_response('G'));
  client(copy_data("1") + copy_done());
  EXPECT_THAT(ends.up(), HasSubstr(copy_data("1") + copy_done()));
  server(complete("COPY 1") + ready());
  EXPECT_TRUE(ends.gate.is_idle());
}

}  // namespace
}  // namespace gatehouse::test
