// SPDX-License-Identifier: Apache-2.0
// CollectorConfig: what collector.yaml says, checked and with every default filled in. Immutable after it is loaded.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/config.h"
#include "common/log.h"
#include "common/result.h"

namespace gatehouse {

struct CollectorConfig {
  struct Collector {
    std::string name;
    std::string state_dir;
    config::Address listen;
    std::vector<std::string> hostnames;  // never empty: the host's own name and localhost where none is given
  } collector;

  struct Segment {
    uint64_t bytes_max = 0;
    std::chrono::milliseconds age_max{};
  } segment;

  struct Retention {
    std::chrono::milliseconds age_max{};  // 0: for ever
    uint64_t bytes_max = 0;               // 0: no limit
  } retention;

  enum class Engine : uint8_t { kDuckdb };
  struct Store {
    Engine engine = Engine::kDuckdb;
    uint64_t memory_bytes_max = 0;
    uint64_t threads = 0;
  } store;

  struct Reviewer {
    std::string name;
    std::vector<std::string> groups, logins;
  };
  struct Webhook {
    std::string url, secret_file, format;
    std::vector<std::string> events;
  };
  struct Approvals {
    std::vector<Reviewer> reviewers;
    std::vector<std::string> break_glass;  // groups
    std::vector<Webhook> webhooks;
  } approvals;

  log::Level log_level = log::Level::kInfo;
};

// Every key with its default, range and reason; docs/config.md is printed from it.
std::span<const config::Key> collector_config_schema();

// Errors are of kind configuration and name file, line, column and key.
Result<CollectorConfig> parse_collector_config(std::string_view text, const std::string& file);
Result<CollectorConfig> load_collector_config(const std::string& path);

// For `--check-config`: what the file comes to, as lines for people.
std::string describe(const CollectorConfig& config);

}  // namespace gatehouse
