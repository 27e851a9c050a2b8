// SPDX-License-Identifier: Apache-2.0
// A host for workers under test: releases everything, and remembers what was recorded.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "agent/shim/worker.h"

namespace gatehouse::test {

struct Recorded {
  SocketOpened opened{};
  std::string path;
  std::array<std::string, kDirections> said;      // as far as kData tells, up to a bound
  std::array<uint64_t, kDirections> positions{};  // where the next chunk must begin
  bool is_closed = false;
  SocketClosed closed{};
};

// Filled on the worker's thread, read on any.
class Record final : public RecordSink {
 public:
  void on_socket_opened(const SocketOpened& record) override;
  void on_chunk(const Chunk& record) override;
  void on_socket_opaque(const SocketOpaque&) override {}
  void on_socket_closed(const SocketClosed& record) override;
  void on_process_exec(const ProcessExec&) override {}
  void on_process_fork(const ProcessFork&) override {}
  void on_process_exit(const ProcessExit&) override {}

  // Whatever is wrong with the order of records; empty: nothing.
  std::string faults();
  std::vector<Recorded> sessions();
  bool keeps_bytes = true;

 private:
  void fault(const std::string& text) { faults_ += text + "\n"; }
  std::mutex mutex_;
  std::map<SocketId, size_t> open_;
  std::vector<Recorded> all_;
  std::string faults_;
};

class ReleaseAll final : public shim::SessionJudge {
 public:
  shim::Ruling judge(const Activity&, shim::Purpose) override { return {}; }
  void on_activity(const Activity&) override {}
};

class Stand final : public shim::WorkerHost {
 public:
  std::unique_ptr<shim::SessionJudge> open_session(const shim::Accepted&) override {
    return std::make_unique<ReleaseAll>();
  }
  RecordSink& records() override { return record; }
  [[nodiscard]] bool is_congested() const override { return congested.load(std::memory_order_relaxed); }
  [[nodiscard]] int mail_fd() const override { return -1; }
  void on_mail() override {}
  void on_turn(uint64_t) override {}

  Record record;
  std::atomic<bool> congested{false};
};

// Non-blocking and listening. Port 0: any.
int listen_tcp(uint16_t port);
int listen_unix(const std::string& path);
uint16_t port_of(int socket);

}  // namespace gatehouse::test
