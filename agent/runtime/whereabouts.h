// SPDX-License-Identifier: Apache-2.0
// Whereabouts: the addresses at which the configured databases listen now: names are resolved, and of each address it
// is known whether it is this host's. Looks again from time to time, on a thread of its own: a name service may take
// its time, or never answer.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "agent/config/agent_config.h"
#include "common/result.h"

namespace gatehouse::runtime {

// One address of a database.
struct Located {
  ListenAddress address;  // kTcp4 or kTcp6
  bool is_here = false;   // this host has it, in the agent's network namespace
  bool operator==(const Located&) const = default;
};

// What a listen entry comes to.
struct LocatedEntry {
  std::string database;
  std::string entry;               // as configured
  std::vector<Located> addresses;  // in order; a literal address: that one
  std::string error;               // why a name has none, or none anew
  bool operator==(const LocatedEntry&) const = default;
};

class Whereabouts {
 public:
  struct Options {
    // Any order, repeats are passed over. An error keeps what was known.
    std::function<Result<std::vector<ListenAddress>>(const std::string& host)> resolve;
    std::function<bool(const ListenAddress&)> is_here;
    std::chrono::milliseconds every{10'000};
    std::chrono::milliseconds first_max{3'000};  // for so long the constructor waits for the first look
    uint64_t keep_ns = 3'600'000'000'000;        // an address that a name has lost is its own for so long yet
    std::function<uint64_t()> now_ns;
  };
  // The host's name service and routes.
  static Options of_host();

  // Of ports and Unix sockets there is nothing to find: without other entries there is no thread.
  Whereabouts(std::span<const AgentConfig::Database> databases, Options options);
  ~Whereabouts();
  Whereabouts(const Whereabouts&) = delete;
  Whereabouts& operator=(const Whereabouts&) = delete;

  // All below: any thread.
  //
  // As now known, in the order of the configuration.
  [[nodiscard]] std::vector<LocatedEntry> entries() const;
  // Something is other than at the last call; after the constructor: false.
  [[nodiscard]] bool take_change();

 private:
  class Looker;
  std::shared_ptr<Looker> looker_;  // shared with its thread, which may hang in the name service longer than this lives
};

// The databases with an entry for each address of the names among theirs.
std::vector<AgentConfig::Database> with_addresses(std::vector<AgentConfig::Database> databases,
                                                  std::span<const LocatedEntry> entries);
// Whether the address was found to be another host's.
bool is_elsewhere(const ListenAddress& address, std::span<const LocatedEntry> entries);

}  // namespace gatehouse::runtime
