// SPDX-License-Identifier: Apache-2.0
// For tests: a collector in this process that remembers what it was given.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "collector/ingest/ingest_service.h"
#include "collector/ingest/installation.h"
#include "collector/ingest/server.h"
#include "collector/ingest/token_store.h"

namespace gatehouse::ingest::testing {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    const std::filesystem::path parent = std::filesystem::exists("/dev/shm") ? std::filesystem::path("/dev/shm")
                                                                             : std::filesystem::temp_directory_path();
    std::string pattern = parent / "gatehouse_test.XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Deduplicates as the ledger does, by (boot, first_sequence), in order.
class RecordingSink final : public BatchSink {
 public:
  Result<std::vector<AppendOutcome>> append(std::string_view agent_id,
                                            std::span<const v1::PublishRequest> requests) override {
    if (delay.count() > 0) std::this_thread::sleep_for(delay);
    const std::lock_guard lock(mutex_);
    if (failures_left > 0) {
      --failures_left;
      return Error("disk full");
    }
    groups_max = std::max(groups_max, requests.size());
    std::vector<AppendOutcome> outcomes;
    for (const v1::PublishRequest& request : requests) {
      auto& boot = batches_[std::string(agent_id) + '/' + request.boot_id()];
      const auto found = boot.find(request.first_sequence());
      const bool is_new = found == boot.end();
      auto kind = is_new ? AppendOutcome::Kind::kAppended : AppendOutcome::Kind::kDuplicate;
      if (!is_new && found->second.payload_sha256() != request.payload_sha256()) kind = AppendOutcome::Kind::kChanged;
      if (is_new) boot.emplace(request.first_sequence(), request);
      const v1::PublishRequest& last = boot.rbegin()->second;
      outcomes.push_back({.kind = kind, .acknowledged_sequence = last.first_sequence() + last.event_count() - 1});
    }
    return outcomes;
  }
  std::unique_ptr<Presence> connected(std::string_view /*agent_id*/) override { return std::make_unique<Presence>(); }

  // First sequences of one boot, in order.
  [[nodiscard]] std::vector<uint64_t> sequences(const std::string& agent_id, const std::string& boot_id) const {
    const std::lock_guard lock(mutex_);
    std::vector<uint64_t> found;
    const auto boot = batches_.find(agent_id + '/' + boot_id);
    if (boot == batches_.end()) return found;
    for (const auto& [sequence, request] : boot->second) found.push_back(sequence);
    return found;
  }

  std::chrono::milliseconds delay{0};
  int failures_left = 0;
  size_t groups_max = 0;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::map<uint64_t, v1::PublishRequest>> batches_;
};

// A collector that can be stopped and started again over the same state.
class TestCollector {
 public:
  explicit TestCollector(uint16_t port = 0) : port_(port) { start(); }
  ~TestCollector() { stop(); }

  void start() {
    const std::vector<std::string> names{"localhost", "127.0.0.1"};
    auto opened = Installation::open(folder_.path(), "test", names);
    ASSERT_TRUE(opened) << opened.error().message();
    installation_ = std::make_unique<Installation>(std::move(*opened));
    tokens_ = std::make_unique<TokenStore>(folder_.path(), installation_->authority.fingerprint());
    service_ = std::make_unique<IngestService>(sink, *tokens_, installation_->authority);
    auto server = Server::start({.listen = {.host = "127.0.0.1", .port = port_},
                                 .identity = installation_->server,
                                 .authority_pem = installation_->authority.certificate_pem(),
                                 .services = {&service_->service()}});
    ASSERT_TRUE(server) << server.error().message();
    server_ = std::move(*server);
    port_ = server_->port();
  }
  // As SIGTERM does.
  void stop() {
    if (!server_) return;
    service_->stop();
    server_->stop(std::chrono::seconds(2));
    server_.reset();
    ended_ = service_->counters();
    service_.reset();
  }

  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] uint16_t port() const { return port_; }
  [[nodiscard]] const std::string& folder() const { return folder_.path(); }
  [[nodiscard]] const pki::Authority& authority() const { return installation_->authority; }
  [[nodiscard]] const TokenStore& tokens() const { return *tokens_; }
  [[nodiscard]] std::string token() const { return tokens_->create(std::chrono::seconds(60))->token; }
  [[nodiscard]] IngestService::Counters counters() const { return service_ ? service_->counters() : ended_; }

  RecordingSink sink;

 private:
  TemporaryFolder folder_;
  uint16_t port_;
  std::unique_ptr<Installation> installation_;
  std::unique_ptr<TokenStore> tokens_;
  std::unique_ptr<IngestService> service_;
  std::unique_ptr<Server> server_;
  IngestService::Counters ended_;
};

// True as soon as `is_true` is, false after `timeout`.
inline bool eventually(const std::function<bool()>& is_true,
                       std::chrono::milliseconds timeout = std::chrono::seconds(20)) {
  const auto end = std::chrono::steady_clock::now() + timeout;
  while (!is_true()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace gatehouse::ingest::testing
