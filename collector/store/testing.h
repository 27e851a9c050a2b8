// SPDX-License-Identifier: Apache-2.0
// For tests of the store and of what stands on it: batches as an agent would send them.
#pragma once

#include <zstd.h>

#include <string>
#include <utility>

#include "common/check.h"
#include "common/digest.h"
#include "common/file.h"
#include "gatehouse/v1/event.pb.h"
#include "gatehouse/v1/ingest.pb.h"

namespace gatehouse::store {

inline constexpr uint64_t kTestTime = 1'700'000'000'000'000'000;

// As an agent with rules would have it. `facts`: of the batch's, counted from 1; beyond them there are none.
inline void judge(v1::Event& event, uint32_t facts) {
  event.set_facts(facts);
  v1::Finding& would = *event.add_findings();
  would.set_rule("no-reads");
  would.set_action(v1::ACTION_BLOCK);
  would.set_would(true);
  would.set_severity(v1::SEVERITY_LOW);
  v1::Finding& done = *event.add_findings();
  done.set_rule("orders");
  done.set_action(v1::ACTION_ALERT);
  done.set_severity(v1::SEVERITY_HIGH);
  done.set_message("Somebody reads orders.");
  v1::Finding& mask = *event.add_findings();
  mask.set_rule("contact");
  mask.set_action(v1::ACTION_MASK);
  mask.set_severity(v1::SEVERITY_INFO);
  for (const char* column : {"public.customers.email", "public.customers.phone"}) {
    v1::MaskedColumn& masked = *mask.add_masked();
    masked.set_column(column);
    masked.set_method("partial");
    masked.set_values(12);
  }
}

// `count` statements of one psql session, one a millisecond, the first with sequence `first`.
inline v1::Batch statement_batch(uint64_t first, uint32_t count, const std::string& host = "db1") {
  v1::Batch batch;
  batch.set_agent_id(host);
  batch.set_boot_id("b0");
  batch.set_first_sequence(first);
  batch.set_host(host);
  batch.set_agent_version("0.1.0");
  v1::Process& process = *batch.add_processes();
  process.set_id(7);
  process.set_pid(4711);
  process.set_start_time_ns(kTestTime - 5);
  process.set_exe("/usr/bin/psql");
  process.add_arguments("psql");
  process.add_arguments("shop");
  process.set_user("alice");
  process.add_ancestors()->set_exe("/bin/bash");
  process.add_ancestors()->set_exe("/usr/sbin/sshd");
  process.set_agent("claude");
  process.set_agent_kind("coding-agent");
  process.set_automation("cron");
  process.set_automation_kind("scheduler");
  process.set_login("ann");
  v1::Session& session = *batch.add_sessions();
  session.set_id(3);
  session.set_transport(v1::TRANSPORT_TCP);
  session.set_client_address("127.0.0.1");
  session.set_client_port(50000);
  session.set_server_address("127.0.0.1");
  session.set_server_port(5432);
  session.set_database_engine("postgresql");
  session.set_user("alice");
  session.set_database("shop");
  session.set_opener_process(7);
  session.mutable_labels()->insert({"env", "production"});
  batch.set_policy("5c0ffee");
  v1::StatementFacts& facts = *batch.add_facts();
  facts.set_normalized("select * from orders where id = ?");
  facts.set_fingerprint(0xC0FFEE);
  facts.add_effects("read");
  facts.add_reads("orders");
  v1::StatementFacts& refused = *batch.add_facts();
  refused.set_refusal("syntax");
  for (const char* effect : {"file-read", "unknown"}) refused.add_effects(effect);
  for (const char* name : {"s.a", "b", "c"}) refused.add_writes(name);
  refused.add_functions("pg_read_file");
  for (uint32_t i = 0; i < count; ++i) {
    v1::Event& event = *batch.add_events();
    const uint64_t number = first + i;
    event.set_time_ns(kTestTime + number * 1'000'000);
    event.set_duration_ns(1000 + number % 7);
    event.set_session(3);
    event.set_process(7);
    event.set_outcome(number % 10 == 0 ? v1::OUTCOME_ERROR : v1::OUTCOME_OK);
    v1::Statement& statement = *event.mutable_statement();
    statement.set_protocol(v1::STATEMENT_PROTOCOL_SIMPLE);
    statement.set_text("SELECT * FROM orders WHERE id = " + std::to_string(number));
    statement.set_verb(number % 3 == 0 ? "UPDATE" : "SELECT");
    statement.set_rows(number % 5);
    if (number % 4 == 0) statement.add_parameters()->set_value("p" + std::to_string(number));
    if (number % 10 == 0) statement.set_sqlstate("42P01");
    if (number % 4 == 0) judge(event, static_cast<uint32_t>(1 + number / 4 % 3));
  }
  return batch;
}

// Sealed as the agent's spool does it.
inline v1::PublishRequest sealed(const v1::Batch& batch) {
  const std::string plain = batch.SerializeAsString();
  std::string packed(ZSTD_compressBound(plain.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), 1));
  const Sha256 sum = sha256(as_bytes(packed));
  v1::PublishRequest request;
  request.set_boot_id(batch.boot_id());
  request.set_first_sequence(batch.first_sequence());
  request.set_event_count(static_cast<uint32_t>(batch.events_size()));
  request.set_payload_zstd(std::move(packed));
  request.set_payload_sha256(std::string(reinterpret_cast<const char*>(sum.data()), sum.size()));
  return request;
}

}  // namespace gatehouse::store
