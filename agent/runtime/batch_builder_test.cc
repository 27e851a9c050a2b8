// SPDX-License-Identifier: Apache-2.0
// The oracle is protobuf's own parser: what BatchBuilder writes by hand must be a Batch that says what was added.
#include "agent/runtime/batch_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "gatehouse/v1/event.pb.h"

namespace gatehouse::runtime {
namespace {

using identity::Process;

class FakeDirectory : public ProcessDirectory {
 public:
  std::shared_ptr<const Process> find(const ImageKey& key) override {
    const auto found = images.find(key.process.pid);
    return found == images.end() ? nullptr : found->second;
  }
  std::vector<std::shared_ptr<const Process>> ancestors(const Process& process) override {
    std::vector<std::shared_ptr<const Process>> list;
    for (auto parent = find({process.parent}); parent; parent = find({parent->parent})) list.push_back(parent);
    return list;
  }
  bool hash_pending(const Process& process) override { return pending && process.exe_sha256.empty(); }

  void put(uint32_t pid, uint32_t parent, const std::string& exe, uint32_t exec_number, const std::string& sha256) {
    auto image = std::make_shared<Process>();
    image->key = {.pid = pid, .start_ns = pid * 1000U};
    image->parent = {.pid = parent, .start_ns = parent * 1000U};
    image->exe = exe;
    image->exec_number = exec_number;
    image->image_number = exec_number + 1;
    image->exe_sha256 = sha256;
    image->arguments = {exe, "", "--flag"};
    image->uid = 1000;
    image->user = "ann\xFF";
    images[pid] = image;
  }
  std::map<uint32_t, std::shared_ptr<const Process>> images;
  bool pending = false;
};

struct Fixture {
  Fixture() : builder({.agent_id = "a1", .boot_id = "b1", .host = "h\xFF", .agent_version = "0.1"}, directory) {
    directory.put(1, 0, "/sbin/init", 1, "11");
    directory.put(20, 1, "/bin/bash", 1, "22");
    directory.put(30, 20, "/usr/bin/psql", 1, "");
    builder.set_time_base({.unix_minus_boottime_ns = 1'000'000});
    session->facts.id = 77;
    session->facts.user = "alice";
    session->opener = {.process = {.pid = 30, .start_ns = 30'000}};
  }
  v1::Batch take() {
    const EncodedBatch encoded = builder.take();
    v1::Batch batch;
    EXPECT_TRUE(batch.ParseFromString(encoded.bytes));
    EXPECT_EQ(batch.first_sequence(), encoded.first_sequence);
    EXPECT_EQ(batch.events_size(), static_cast<int>(encoded.event_count));
    return batch;
  }
  FakeDirectory directory;
  BatchBuilder builder;
  std::shared_ptr<SessionEntry> session = std::make_shared<SessionEntry>();
};

Activity statement(std::string_view text, ProcessKey writer) {
  Activity activity;
  activity.kind = ActivityKind::kStatement;
  activity.outcome = Outcome::kOk;
  activity.protocol = StatementProtocol::kExtended;
  activity.text = text;
  activity.start_ns = 5'000;
  activity.end_ns = 9'000;
  activity.writer = {.process = writer};
  activity.command_tag = "INSERT 0 3";
  activity.rows = 3;
  return activity;
}

TEST(BatchBuilder, StatementRoundTripsThroughProtobuf) {
  Fixture f;
  const Parameter parameters[] = {
      {.value = "x'y"}, {.is_null = true}, {.value = std::string_view("\0\xFF", 2), .is_binary = true, .type_oid = 17}};
  Activity activity = statement("INSERT INTO t VALUES ($1)\xFF", {.pid = 30, .start_ns = 30'000});
  activity.parameters = parameters;
  activity.error_message = "odd \xC3";
  activity.text_bytes = 9'000'000;
  f.builder.add_activity(f.session, activity);
  const v1::Batch batch = f.take();

  EXPECT_EQ(batch.agent_id(), "a1");
  EXPECT_EQ(batch.host(), "h\\xff");
  ASSERT_EQ(batch.sessions_size(), 1);
  EXPECT_EQ(batch.sessions(0).user(), "alice");
  ASSERT_EQ(batch.processes_size(), 1);
  const v1::Process& process = batch.processes(0);
  EXPECT_EQ(process.exe(), "/usr/bin/psql");
  EXPECT_EQ(process.user(), "ann\\xff");
  EXPECT_THAT(process.arguments(), testing::ElementsAre("/usr/bin/psql", "", "--flag"));
  EXPECT_FALSE(process.has_loginuid());
  ASSERT_EQ(process.ancestors_size(), 2);
  EXPECT_EQ(process.ancestors(0).exe(), "/bin/bash");
  EXPECT_EQ(process.ancestors(1).exe(), "/sbin/init");

  const v1::Event& event = batch.events(0);
  EXPECT_EQ(event.session(), 77U);
  EXPECT_EQ(event.process(), process.id());
  EXPECT_EQ(batch.sessions(0).opener_process(), process.id());
  EXPECT_EQ(event.time_ns(), 1'005'000U);
  EXPECT_EQ(event.duration_ns(), 4'000U);
  EXPECT_EQ(event.outcome(), v1::OUTCOME_OK);
  EXPECT_EQ(event.statement().text(), activity.text);
  EXPECT_EQ(event.statement().text_bytes(), 9'000'000U);
  EXPECT_EQ(event.statement().verb(), "INSERT");
  EXPECT_EQ(event.statement().rows(), 3U);
  EXPECT_EQ(event.statement().error_message(), "odd \\xc3");
  ASSERT_EQ(event.statement().parameters_size(), 3);
  EXPECT_EQ(event.statement().parameters(0).value(), "x'y");
  EXPECT_TRUE(event.statement().parameters(1).is_null());
  EXPECT_EQ(event.statement().parameters(2).value(), parameters[2].value);
  EXPECT_EQ(event.statement().parameters(2).type_oid(), 17U);
}

// It began before the watch and was gone before anybody could look.
TEST(BatchBuilder, OfAProcessThatNobodyKnowsItsNumberIsTold) {
  Fixture f;
  f.session->server = {.process = {.pid = 99, .start_ns = 99'000}};
  f.builder.add_activity(f.session, statement("SELECT 1", {.pid = 98, .start_ns = 98'000}));
  const v1::Batch batch = f.take();
  const auto of = [&](uint64_t id) {
    for (const v1::Process& process : batch.processes())
      if (process.id() == id) return process;
    return v1::Process();
  };
  EXPECT_EQ(of(batch.events(0).process()).pid(), 98U);
  EXPECT_EQ(of(batch.events(0).process()).start_time_ns(), 1'098'000U);
  EXPECT_EQ(of(batch.events(0).process()).uid(), UINT32_MAX);
  EXPECT_EQ(of(batch.sessions(0).server_process()).pid(), 99U);
}

TEST(BatchBuilder, SequencesContinueOverBatchesAndEachBatchIsSelfContained) {
  Fixture f;
  const ProcessKey writer{.pid = 30, .start_ns = 30'000};
  for (uint64_t batch_number = 0; batch_number < 3; ++batch_number) {
    f.builder.add_activity(f.session, statement("SELECT 1", writer));
    f.builder.add_activity(f.session, statement("SELECT 2", writer));
    const v1::Batch batch = f.take();
    EXPECT_EQ(batch.first_sequence(), 1 + 2 * batch_number);
    EXPECT_EQ(batch.sessions_size(), 1);
    EXPECT_EQ(batch.processes_size(), 1);
  }
}

TEST(BatchBuilder, ExecBetweenTwoStatementsNamesTwoImages) {
  Fixture f;
  const ProcessKey writer{.pid = 30, .start_ns = 30'000};
  f.builder.add_activity(f.session, statement("SELECT 1", writer));
  f.directory.put(30, 20, "/usr/bin/other", 2, "33");
  f.builder.forget_writers();
  f.builder.add_activity(f.session, statement("SELECT 2", writer));
  const v1::Batch batch = f.take();
  std::map<uint64_t, std::string> exe;
  for (const auto& process : batch.processes()) exe[process.id()] = process.exe();
  EXPECT_EQ(exe[batch.events(0).process()], "/usr/bin/psql");
  EXPECT_EQ(exe[batch.events(1).process()], "/usr/bin/other");
}

TEST(BatchBuilder, WaitsALittleForAHashAndTakesItWhenItComes) {
  Fixture f;
  f.directory.pending = true;
  f.builder.add_activity(f.session, statement("SELECT 1", {.pid = 30, .start_ns = 30'000}));
  const uint64_t delay_ns = kBatchDelayMsMax * 1'000'000;
  EXPECT_FALSE(f.builder.due(9'000 + delay_ns / 2));
  EXPECT_FALSE(f.builder.due(9'000 + delay_ns));
  EXPECT_TRUE(f.builder.due(9'000 + 10 * delay_ns));
  f.directory.put(30, 20, "/usr/bin/psql", 1, "abcd");
  f.directory.pending = false;
  EXPECT_TRUE(f.builder.due(9'000 + delay_ns));
  EXPECT_EQ(f.take().processes(0).exe_sha256(), "abcd");
}

TEST(BatchBuilder, LargestEventsAndManyProcessesStayWithinTheLimit) {
  Fixture f;
  const std::string large(kRequestBytesMax, 'x');
  size_t batches = 0;
  const auto check = [&](const EncodedBatch& batch) {
    EXPECT_LE(batch.bytes.size(), kBatchBytesMax);
    ++batches;
  };
  for (uint32_t i = 0; i < 3000; ++i) {
    const uint32_t pid = 1000 + i;
    f.directory.put(pid, 20, "/usr/bin/psql", 1, "aa");
    Activity activity = statement("SELECT 1", {.pid = pid, .start_ns = pid * 1000U});
    const Parameter parameter{.value = large};
    if (i % 500 == 0) {
      activity.text = activity.resolved_text = large;
      activity.parameters = {&parameter, 1};
    }
    f.builder.add_activity(f.session, activity);
    if (f.builder.full()) check(f.builder.take());
  }
  EXPECT_GT(batches, 6U);
}

TEST(BatchBuilder, WhatNobodyWroteIsTheOpeners) {
  Fixture f;
  f.directory.put(40, 30, "/usr/bin/child", 1, "44");
  f.builder.add_activity(f.session, statement("SELECT 1", {.pid = 40, .start_ns = 40'000}));
  Activity disconnect;
  disconnect.kind = ActivityKind::kDisconnect;
  f.builder.add_activity(f.session, disconnect);
  const v1::Batch batch = f.take();
  EXPECT_NE(batch.events(0).process(), batch.events(1).process());
  EXPECT_EQ(batch.events(1).process(), batch.sessions(0).opener_process());
}

TEST(BatchBuilder, ASessionThatTheServerEndedSaysWhy) {
  Fixture f;
  Activity disconnect{.kind = ActivityKind::kDisconnect, .outcome = Outcome::kError};
  disconnect.reason = "fatal-error";
  disconnect.sqlstate = "28000";
  disconnect.error_message = "no such role";
  f.builder.add_disconnect(f.session, disconnect, {});
  const v1::Batch batch = f.take();
  EXPECT_EQ(batch.events(0).disconnect().sqlstate(), "28000");
  EXPECT_EQ(batch.events(0).disconnect().error_message(), "no such role");
}

TEST(BatchBuilder, EveryKindOfEventParses) {
  Fixture f;
  const Setting options[] = {{.name = "application_name", .value = "a\xFFpp"}};
  const auto kinds = {ActivityKind::kConnect,   ActivityKind::kAuthenticate, ActivityKind::kStatement,
                      ActivityKind::kCancel,    ActivityKind::kNotify,       ActivityKind::kOpaque,
                      ActivityKind::kDisconnect};
  for (const ActivityKind kind : kinds) {
    Activity activity;
    activity.kind = kind;
    activity.options = options;
    activity.method = "scram-sha-256";
    activity.channel = "news";
    activity.reason = "terminate";
    activity.cancel_backend_pid = 4242;
    f.builder.add_activity(f.session, activity);
  }
  f.session->totals.statements = 12;
  f.builder.add_gap(f.session, {.response = true, .offset = 5, .bytes = 6, .reason = "ring-full"}, 1);
  f.builder.add_gap(nullptr, {.events = 9, .reason = "spool-full"}, 1);
  const std::map<std::string, uint64_t> counters{{"chunks", 3}};
  f.builder.add_status({.phase = "start", .plane = "socket", .kernel = "6.18", .counters = counters}, 1);
  const v1::Batch batch = f.take();
  ASSERT_EQ(batch.events_size(), 10);
  EXPECT_EQ(batch.events(0).connect().options().at("application_name"), "a\\xffpp");
  EXPECT_EQ(batch.events(1).authenticate().method(), "scram-sha-256");
  EXPECT_TRUE(batch.events(2).has_statement());
  EXPECT_EQ(batch.events(3).cancel().backend_pid(), 4242U);
  EXPECT_EQ(batch.events(4).notification().channel(), "news");
  EXPECT_EQ(batch.events(5).opaque().reason(), "scram-sha-256");
  EXPECT_EQ(batch.events(6).disconnect().reason(), "terminate");
  EXPECT_EQ(batch.events(7).gap().bytes(), 6U);
  EXPECT_EQ(batch.events(8).gap().events(), 9U);
  EXPECT_EQ(batch.events(8).session(), 0U);
  EXPECT_EQ(batch.events(9).agent_status().counters().at("chunks"), 3U);
}

}  // namespace
}  // namespace gatehouse::runtime
