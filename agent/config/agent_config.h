// SPDX-License-Identifier: Apache-2.0
// AgentConfig: what agent.yaml says, checked and with every default filled in. Immutable after it is loaded.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/config.h"
#include "common/log.h"
#include "common/result.h"
#include "common/secret.h"

namespace gatehouse {

// Where a database listens.
struct ListenAddress {
  enum class Kind : uint8_t {
    kPort,  // this TCP port on every address, v4 and v6
    kTcp4,
    kTcp6,
    kUnix,
    kHost,  // a name, which runtime/whereabouts.h puts addresses to
  };
  Kind kind = Kind::kPort;
  std::array<uint8_t, 16> address{};  // network order; the first 4 bytes for kTcp4
  uint16_t port = 0;
  std::string path;  // kUnix: absolute, or abstract with a leading '@'
  std::string host;  // kHost
  bool operator==(const ListenAddress&) const = default;
};

// "5432", "127.0.0.1:5432", "[::1]:5432", "db.example.net:5432", "unix:/run/postgresql/.s.PGSQL.5432",
// "unix:@abstract".
std::optional<ListenAddress> parse_listen_address(std::string_view text);
std::string to_text(const ListenAddress& address);

struct AgentConfig {
  std::string file;  // that it was read from; empty: none

  struct Agent {
    std::string name;
    std::string state_dir;
    std::chrono::milliseconds status_interval{60'000};
    std::chrono::milliseconds bpf_sample{1000};  // of each interval; 0: never
  } agent;

  struct Collector {
    config::Address address;
    std::string enrolment_token_file;  // empty: none
  } collector;

  enum class Engine : uint8_t { kPostgresql };
  // A read-only connection of the agent, by which it learns what statements reach.
  struct Catalog {
    std::string connection;
    std::string password_file;  // empty: none
    std::vector<std::string> databases;
    std::chrono::milliseconds refresh{60'000};
  };
  // How clients of a database on this host are led through the agent, which judges before it lets through.
  struct Gate {
    std::string certificate, key;           // PEM files; empty: clients' TLS is declined
    std::string upstream_root_certificate;  // empty: the server must have the very certificate above
    std::string upstream_name;
    bool is_closed = false;  // clients are refused while the agent does not run
    uint64_t statement_bytes_max = 0;
    bool operator==(const Gate&) const = default;
  };
  struct Database {
    std::string name;
    Engine engine = Engine::kPostgresql;
    std::vector<ListenAddress> listen;
    std::vector<std::pair<std::string, std::string>> labels;
    std::optional<Catalog> catalog;
    std::optional<Gate> gate;  // mode: enforce
  };
  std::vector<Database> databases;

  struct Rules {
    std::vector<std::string> files;  // and folders
    bool always_facts = false;
    std::string mask_key;  // a file
  } rules;

  struct Capture {
    std::string plane;  // "auto", "socket", "length", "syscall"
    uint64_t request_bytes_max = 0;
    uint64_t control_ring_bytes = 0;
    uint64_t request_ring_bytes = 0;
    uint64_t response_ring_bytes = 0;
    std::chrono::milliseconds poll_max{};
    bool opens_tls = true;
  } capture;

  struct Spool {
    uint64_t bytes_max = 0;
    uint64_t segment_bytes = 0;
  } spool;

  struct Batch {
    uint64_t events_max = 0;
    std::chrono::milliseconds delay_max{};
  } batch;

  log::Level log_level = log::Level::kInfo;
};

// Every key with its default, range and reason; docs/config.md is printed from it.
std::span<const config::Key> agent_config_schema();

// Errors are of kind configuration and name file, line, column and key.
Result<AgentConfig> parse_agent_config(std::string_view text, const std::string& file);
Result<AgentConfig> load_agent_config(const std::string& path);

// The one-time token: environment variable GATEHOUSE_TOKEN, else collector.enrolment_token_file, without surrounding
// white space. Empty if neither is given. Read it only to enrol: the file may be gone afterwards.
Result<Secret> enrolment_token(const AgentConfig& config);

// For `--check-config`: what the file comes to, as lines for people.
std::string describe(const AgentConfig& config);

}  // namespace gatehouse
