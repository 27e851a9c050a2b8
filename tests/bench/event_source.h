// SPDX-License-Identifier: Apache-2.0
// EventSource: batches as an agent on a busy database host makes them, by the agent's own code: an ORM's prepared
// statements with parameters, ad-hoc SQL with literals, sessions that come and go, programs of several users.
// Deterministic by its seed. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "agent/runtime/batch_builder.h"
#include "agent/spool/sealed_batch.h"

namespace gatehouse::bench {

class EventSource {
 public:
  struct Options {
    std::string agent_id;
    std::string boot_id;
    std::string host;
    uint64_t seed = 1;
    uint32_t batch_events = 500;
    uint64_t first_time_ns = 0;      // Unix time
    uint64_t step_ns = 1'000'000;    // from one event to the next
    uint32_t sessions = 48;          // open at any time
    uint32_t session_events = 2500;  // a session ends after about this many events
  };
  explicit EventSource(Options options);
  ~EventSource();

  // The next batch, compressed and chained.
  spool::SealedBatch next();
  // Of the last event of the last batch.
  [[nodiscard]] uint64_t time_ns() const { return time_ns_; }
  // Serialized bytes before compression, of all batches so far.
  [[nodiscard]] uint64_t plain_bytes() const { return plain_bytes_; }

 private:
  class Programs;
  struct Template;
  struct Client;

  void make_templates();
  std::shared_ptr<Client> open_client();
  void add_event();
  void add_statement(Client& client);
  [[nodiscard]] size_t pick(const std::vector<double>& cumulative);
  [[nodiscard]] uint32_t below(uint32_t bound) { return static_cast<uint32_t>(random_() % bound); }

  Options options_;
  std::mt19937_64 random_;
  std::unique_ptr<Programs> programs_;
  runtime::BatchBuilder builder_;
  spool::Sealer sealer_;
  std::vector<Template> templates_;
  std::vector<double> template_weights_, client_weights_;
  std::vector<std::shared_ptr<Client>> clients_;
  uint64_t sessions_made_ = 0;
  uint64_t time_ns_ = 0;
  uint64_t plain_bytes_ = 0;
};

}  // namespace gatehouse::bench
