// SPDX-License-Identifier: Apache-2.0
// InlineDesk: who judges on a worker's thread. Knows of each session what the other thread has told of its client, and
// makes rulings of what rules find.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/config/agent_config.h"
#include "agent/judge/examiner.h"
#include "agent/runtime/hold_book.h"
#include "agent/runtime/result_masker.h"
#include "agent/runtime/subjects.h"
#include "agent/shim/record_queue.h"
#include "agent/shim/worker.h"
#include "common/file.h"

namespace gatehouse::runtime {

// What is asked of the other thread: who opened this connection?
struct Introduction {
  SocketId socket = 0;
  ProcessKey opener{};
  uint32_t uid = UINT32_MAX;
};

class InlineDesk final : public shim::WorkerHost {
 public:
  struct Options {
    std::vector<const AgentConfig::Database*> databases;  // by index of what the worker gates
    std::vector<bool> is_far;                             // likewise: all clients of it are of this host
    std::string agent_id, boot_id, host;
    bool always_facts = false;
    TimeBase time{};
    uint32_t own_pid = 0;                // whose connections are let through
    std::shared_ptr<const mask::MasterKey> mask_secret;
    std::function<void(uint64_t)> beat;  // the worker lives; with the time
    std::function<void()> wake;          // the other thread has something to do
    HoldBook* holds = nullptr;           // outlives it; null: nothing can be held
  };
  static Result<std::unique_ptr<InlineDesk>> open(Options options, CatalogBook* catalogs);
  ~InlineDesk() override;

  // Any thread.
  void set_policy(std::shared_ptr<const rules::Policy> policy, std::string state);
  void introduce(SocketId socket, std::shared_ptr<const judge::ActorRecord> actor);
  void take_wanted(std::vector<Introduction>& out);
  shim::RecordQueue& queue() { return queue_; }

  // The worker's thread.
  std::unique_ptr<shim::SessionJudge> open_session(const shim::Accepted& accepted) override;
  RecordSink& records() override { return queue_; }
  [[nodiscard]] bool is_congested() const override { return queue_.is_congested(); }
  [[nodiscard]] int mail_fd() const override { return mail_.get(); }
  void on_mail() override;
  bool on_cancel(std::span<const std::byte> key) override;
  void on_turn(uint64_t now_boottime_ns) override;

 private:
  class Session;
  struct Letter {
    SocketId socket = 0;  // 0: it is about the policy
    std::shared_ptr<const judge::ActorRecord> actor{};
    std::shared_ptr<const rules::Policy> policy{};
    std::string state{};
    std::optional<HoldAnswer> answer{};
  };
  // What a database's names mean was changed by a statement that was let through: who is judged by its catalog waits
  // until that has been read again, or `give_up_ns`, from when on nothing is known of it until it has.
  struct Change {
    std::string label, database;
    uint64_t asking = 0;
    uint64_t give_up_ns = 0;
  };
  InlineDesk(Options options, CatalogBook* catalogs, UniqueFd mail);
  void post(Letter letter);
  // Null: the catalog is as new as what was let through.
  [[nodiscard]] const Change* change_of(const SessionFacts& facts);
  void note_change(const SessionFacts& facts, uint64_t now_ns);

  const Options options_;
  CatalogBook* const catalogs_;
  const UniqueFd mail_;
  shim::RecordQueue queue_;
  judge::Examiner examiner_;
  std::shared_ptr<const MaskKeys> mask_keys_;  // of the examiner's policy
  std::unordered_map<SocketId, Session*> sessions_;
  std::vector<Change> changes_;
  std::vector<SocketId> awaiting_;  // a catalog
  std::shared_ptr<const rules::Policy> policy_;
  std::vector<SocketId> holding_;  // sessions that hold something
  uint64_t beaten_ns_ = 0;

  std::mutex mutex_;
  std::vector<Letter> letters_;       // under mutex_
  std::vector<Introduction> wanted_;  // under mutex_
};

}  // namespace gatehouse::runtime
