// SPDX-License-Identifier: Apache-2.0
// For tests: a host with an agent's spool and uplink, and something to publish.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "agent/spool/spool.h"
#include "agent/uplink/uplink.h"
#include "collector/ingest/testing.h"
#include "gatehouse/v1/event.pb.h"

namespace gatehouse::testing {

using ingest::testing::TemporaryFolder;
using spool::SealedBatch;
using std::chrono::milliseconds;
using std::chrono::seconds;
using uplink::Uplink;

inline const std::string kBoot = "0123456789abcdef0123456789abcdef";

// A host with an agent's spool and uplink.
class TestAgent {
 public:
  explicit TestAgent(std::string boot_id = kBoot) : boot_id_(std::move(boot_id)), sealer_(boot_id_) { open_spool(); }

  void open_spool() {
    spool_ = nullptr;
    auto opened = spool::Spool::open({.folder = folder_.path() + "/spool"});
    ASSERT_TRUE(opened) << opened.error().message();
    spool_ = std::move(*opened);
  }
  Result<std::unique_ptr<Uplink>> try_start(const std::string& address, const std::string& token,
                                            size_t window_batches = 256) {
    return Uplink::start({.collector = address,
                          .identity_folder = folder_.path() + "/identity",
                          .agent_name = "Host One",
                          .token = [token]() -> Result<std::string> { return token; },
                          .window_batches = window_batches,
                          .backoff_min = milliseconds(10),
                          .backoff_max = milliseconds(100),
                          .connect_timeout = milliseconds(2000)},
                         *spool_);
  }
  void start(const std::string& address, const std::string& token, size_t window_batches = 256) {
    auto started = try_start(address, token, window_batches);
    ASSERT_TRUE(started) << started.error().message();
    uplink_ = std::move(*started);
  }
  [[nodiscard]] SealedBatch seal(const std::string& agent_id, uint32_t events = 2) {
    v1::Batch batch;
    batch.set_agent_id(agent_id);
    batch.set_boot_id(boot_id_);
    batch.set_first_sequence(next_sequence_);
    for (uint32_t i = 0; i < events; ++i) {
      v1::Statement& statement = *batch.add_events()->mutable_statement();
      statement.set_text("SELECT " + std::to_string(next_sequence_ + i));
      statement.set_verb("SELECT");
    }
    SealedBatch sealed = sealer_.seal(batch.SerializeAsString(), next_sequence_, events);
    next_sequence_ += events;
    return sealed;
  }
  void publish(size_t batches) {
    for (size_t i = 0; i < batches; ++i) {
      const SealedBatch batch = seal(uplink_->agent_id());
      ASSERT_EQ(spool_->append(batch), spool::AppendOutcome::kStored);
      sealer_.chain(batch);
    }
  }
  [[nodiscard]] bool is_drained() const { return spool_->counters().bytes_pending == 0; }

  [[nodiscard]] spool::Spool& spool() { return *spool_; }
  [[nodiscard]] Uplink& uplink() { return *uplink_; }
  void stop(milliseconds drain = seconds(5)) { uplink_->stop(drain); }
  [[nodiscard]] const std::string& boot_id() const { return boot_id_; }
  [[nodiscard]] std::string identity_folder() const { return folder_.path() + "/identity"; }

 private:
  TemporaryFolder folder_;
  std::string boot_id_;
  spool::Sealer sealer_;
  uint64_t next_sequence_ = 1;
  std::unique_ptr<spool::Spool> spool_;
  std::unique_ptr<Uplink> uplink_;
};

}  // namespace gatehouse::testing
