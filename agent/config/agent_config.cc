// SPDX-License-Identifier: Apache-2.0
#include "agent/config/agent_config.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "common/file.h"
#include "common/limits.h"

namespace gatehouse {
namespace {

using config::Key;
using config::Type;

constexpr uint64_t kKiB = 1U << 10;
constexpr uint64_t kMiB = 1U << 20;
constexpr uint64_t kGiB = 1U << 30;
constexpr uint64_t kTiB = 1ULL << 40;

std::optional<std::string> check_listen(std::string_view value) {
  if (parse_listen_address(value)) return std::nullopt;
  return "a port (5432), an address (127.0.0.1:5432, \"[::1]:5432\", db.example.net:5432) or a socket "
         "(unix:/run/postgresql/.s.PGSQL.5432)";
}

constexpr std::array kSchema{
    Key{.path = "agent", .type = Type::kSection, .why = "This host."},
    Key{.path = "agent.name",
        .max = 253,
        .note = "the host's name",
        .why = "What events and `gatehouse agents` call this host. Set it where host names repeat.",
        .check = config::expect_name},
    Key{.path = "agent.state_dir",
        .fallback = "/var/lib/gatehouse-agent",
        .why = "Holds the agent's key and certificate, and the spool. Give it a disk that survives a restart.",
        .check = config::expect_absolute_path},

    Key{.path = "agent.status_interval",
        .type = Type::kDuration,
        .fallback = "1min",
        .min = 1000,
        .max = 3'600'000,
        .why =
            "How often the agent tells the collector what it sees, misses and costs: what `gatehouse agents` shows is "
            "at most this old."},
    Key{.path = "agent.bpf_sample",
        .type = Type::kDuration,
        .fallback = "1s",
        .min = 0,
        .max = 60'000,
        .why = "How long before each status the kernel counts the time of BPF programs. Meanwhile each run of each "
               "program of the host costs some 20 ns more. `0s`: never."},

    Key{.path = "collector", .type = Type::kSection, .why = "Where events go."},
    Key{.path = "collector.address",
        .type = Type::kAddress,
        .fallback = "127.0.0.1:7443",
        .why =
            "The collector's host and port. Any name will do: the agent takes the collector that the authority of its "
            "enrolment signed, and no other."},
    Key{.path = "collector.enrolment_token_file",
        .note = "none",
        .why = "File with the one-time token that this agent enrols with; the environment variable GATEHOUSE_TOKEN "
               "goes before it. Needed until the agent has its certificate.",
        .check = config::expect_absolute_path},

    Key{.path = "databases",
        .type = Type::kSections,
        .note = "none",
        .why = "Databases to name. Those that are not named are discovered and watched all the same."},
    Key{.path = "databases[].name",
        .required = true,
        .max = 63,
        .why = "what events call this database",
        .check = config::expect_name},
    Key{.path = "databases[].engine",
        .type = Type::kChoice,
        .fallback = "postgresql",
        .choices = "postgresql",
        .why = "Which wire protocol it speaks."},
    Key{.path = "databases[].listen",
        .type = Type::kTexts,
        .required = true,
        .max = 128,
        .why =
            "where it listens: ports of this host, addresses, host names (`db.example.net:5432`; looked up again from "
            "time to time), or sockets as `unix:/path`",
        .check = check_listen},
    Key{.path = "databases[].labels",
        .type = Type::kLabels,
        .max = 256,
        .note = "none",
        .why = "Free words that go with each event, such as `env: production`."},
    Key{.path = "databases[].mode",
        .type = Type::kChoice,
        .fallback = "observe",
        .choices = "observe|enforce",
        .why =
            "`observe`: watch and record. `enforce`: new connections to this database are led through the agent, and "
            "what a rule blocks does not reach the server ([shim.md](shim.md)). Of a database on another host these "
            "are the connections of this host's processes to an address under `listen`."},
    Key{.path = "databases[].on_shim_failure",
        .type = Type::kChoice,
        .fallback = "open",
        .choices = "open|closed",
        .why = "`mode: enforce`: what becomes of new connections while the agent does not run or does not answer. "
               "`open`: they go to the server, unjudged. `closed`: they are refused."},
    Key{.path = "databases[].statement_bytes_max",
        .type = Type::kBytes,
        .fallback = "16MiB",
        .min = 64 * kKiB,
        .max = kGiB,
        .why = "`mode: enforce`: longest statement that is let through; it is held in memory while it is judged. "
               "Parameters and COPY data are not part of it."},
    Key{.path = "databases[].tls",
        .type = Type::kSection,
        .note = "none",
        .why = "`mode: enforce`: how the agent speaks TLS to clients that ask for it. Without it they are told that "
               "there is none."},
    Key{.path = "databases[].tls.certificate",
        .required = true,
        .why = "PEM file with the certificate (and its chain) that clients are shown. The server's own is best: then "
               "channel binding (SCRAM-SHA-256-PLUS) holds from end to end.",
        .check = config::expect_absolute_path},
    Key{.path = "databases[].tls.key",
        .required = true,
        .why = "PEM file with its private key",
        .check = config::expect_absolute_path},
    Key{.path = "databases[].tls.upstream_root_certificate",
        .note = "none",
        .why = "PEM file with the authority of the server's certificate, if that is another than the one shown to "
               "clients. "
               "Without it the server must have that very certificate.",
        .check = config::expect_absolute_path},
    Key{.path = "databases[].tls.upstream_name",
        .max = 253,
        .note = "none",
        .why = "Host name in the server's certificate, with upstream_root_certificate."},
    Key{.path = "databases[].catalog",
        .type = Type::kSection,
        .note = "none",
        .why = "A connection of the agent's own, by which it learns what views, triggers and functions do. Without it, "
               "what a function that is not PostgreSQL's own does is `unknown`."},
    Key{.path = "databases[].catalog.connection",
        .required = true,
        .max = 1024,
        .why = "where and as whom to connect, as libpq writes it: `host=/run/postgresql user=gatehouse`. Any role that "
               "may connect will do: it needs no other privilege. No password here."},
    Key{.path = "databases[].catalog.password_file",
        .note = "none",
        .why = "File with the role's password. Without it, libpq's own ways hold: `.pgpass`, peer, certificates.",
        .check = config::expect_absolute_path},
    Key{.path = "databases[].catalog.databases",
        .type = Type::kTexts,
        .required = true,
        .max = 63,
        .why = "the databases of this server whose catalogs are read; statements in others are judged without"},
    Key{.path = "databases[].catalog.refresh",
        .type = Type::kDuration,
        .fallback = "1min",
        .min = 1000,
        .max = 86'400'000,
        .why = "How often the agent looks whether a catalog has changed. It looks at once, besides, when it sees a "
               "statement that changes one."},

    Key{.path = "rules", .type = Type::kSection, .why = "What statements are judged by."},
    Key{.path = "rules.files",
        .type = Type::kTexts,
        .max = 4096,
        .note = "none",
        .why = "Rule files, and folders of them (docs/rules.md). SIGHUP reads them again; a set with an error in it "
               "changes nothing.",
        .check = config::expect_absolute_path},
    Key{.path = "rules.facts",
        .type = Type::kChoice,
        .fallback = "auto",
        .choices = "auto|always",
        .why = "When statements are analysed for what they do, which the record then says of each. `auto`: while there "
               "are rules."},
    Key{.path = "rules.mask_key",
        .max = 4096,
        .note = "<agent.state_dir>/mask-key",
        .why = "The file of the secret that `hash` and `tokenise` compute with: 32 bytes or 64 hexadecimal digits, for "
               "root only. Made if there is none. Hosts with the same file give the same value the same token.",
        .check = config::expect_absolute_path},

    Key{.path = "capture", .type = Type::kSection, .why = "The kernel side and its buffers."},
    Key{.path = "capture.plane",
        .type = Type::kChoice,
        .fallback = "auto",
        .choices = "auto|socket|length|syscall",
        .why = "By which of the kernel's events bytes are seen. `auto`: the best that this kernel has, which `doctor` "
               "names; the others are for tests and for comparing."},
    Key{.path = "capture.request_bytes_max",
        .type = Type::kBytes,
        .fallback = "1MiB",
        .min = 4 * kKiB,
        .max = kRequestBytesMax,
        .why = "Longest statement or parameter kept whole; the rest of a longer one is counted, and it is marked "
               "truncated."},
    Key{.path = "capture.control_ring_bytes",
        .type = Type::kBytes,
        .fallback = "1MiB",
        .min = 64 * kKiB,
        .max = kGiB,
        .power_of_two = true,
        .why = "Buffer for connections and processes. Losing these costs attribution, so it has a ring of its own."},
    Key{.path = "capture.request_ring_bytes",
        .type = Type::kBytes,
        .fallback = "4MiB",
        .min = 64 * kKiB,
        .max = kGiB,
        .power_of_two = true,
        .why = "Buffer for what clients send in long writes; short ones, and short answers, have buffers of their own, "
               "one per CPU, which take as much memory together as this ring and the next. It must hold what arrives "
               "between two polls."},
    Key{.path = "capture.response_ring_bytes",
        .type = Type::kBytes,
        .fallback = "2MiB",
        .min = 64 * kKiB,
        .max = kGiB,
        .power_of_two = true,
        .why = "Buffer for what servers answer at length, already reduced to what the decoder needs."},
    Key{.path = "capture.poll_ms_max",
        .type = Type::kDuration,
        .fallback = "50ms",
        .min = 1,
        .max = 1000,
        .why = "Pause of the reader between two looks while statements come; it adds to the delay of an event. The "
               "first one after a silence wakes it at once."},
    Key{.path = "capture.tls_secrets",
        .type = Type::kChoice,
        .fallback = "on",
        .choices = "on|off",
        .why = "Encrypted sessions are read with the secrets that the TLS libraries of this host's clients and servers "
               "derive for them, which never leave the agent's memory. `off`: such sessions are opaque. "
               "docs/tls.md says what is read of which processes."},

    Key{.path = "spool", .type = Type::kSection, .why = "Events on disk until the collector has acknowledged them."},
    Key{.path = "spool.bytes_max",
        .type = Type::kBytes,
        .fallback = "1GiB",
        .min = 16 * kMiB,
        .max = 16 * kTiB,
        .why = "Disk the spool may take. How long a collector may be away before events are lost (and counted)."},
    Key{.path = "spool.segment_bytes",
        .type = Type::kBytes,
        .fallback = "16MiB",
        .min = kMiB,
        .max = kGiB,
        .why = "Size of one spool file; space is freed by whole files."},

    Key{.path = "batch", .type = Type::kSection, .why = "How events are grouped on their way."},
    Key{.path = "batch.events_max",
        .type = Type::kCount,
        .fallback = "4000",
        .min = 1,
        .max = kBatchEventsMax,
        .why = "Events in one batch. More compress better and cost agent and collector less."},
    Key{.path = "batch.delay_ms_max",
        .type = Type::kDuration,
        .fallback = "200ms",
        .min = 1,
        .max = 10'000,
        .why = "A batch that is not full leaves after this long, so that `gatehouse tail` is live at any load."},

    Key{.path = "log", .type = Type::kSection, .why = "Messages on standard error."},
    Key{.path = "log.level",
        .type = Type::kChoice,
        .fallback = "info",
        .choices = config::kLogLevels,
        .why = "Lowest level written. No level ever writes SQL, parameters or credentials."},
};

// As RFC 1123 has it, with the underscore that some use. What ends in a number would be an address.
bool is_host_name(std::string_view text) {
  constexpr size_t kNameBytesMax = 253, kLabelBytesMax = 63;
  if (text.empty() || text.size() > kNameBytesMax) return false;
  if (text.ends_with('.')) text.remove_suffix(1);
  size_t label = 0;
  bool is_number = true;
  for (const char c : text) {
    const bool is_digit = c >= '0' && c <= '9';
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
      is_number = true;
      continue;
    }
    if ((!is_digit && !is_letter && c != '-') || (label == 0 && c == '-') || ++label > kLabelBytesMax) return false;
    is_number = is_number && is_digit;
  }
  return label > 0 && !is_number;
}

// The message leaves out what is written: it may be the password.
bool has_password(std::string_view connection) {
  std::string text;
  for (const char c : connection)
    if (c != ' ' && c != '\t') text += c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  if (text.find("password=") != std::string::npos) return true;
  const size_t scheme = text.find("://");
  if (scheme == std::string::npos) return false;
  const std::string user = text.substr(scheme + 3, text.find_first_of("/?", scheme + 3) - scheme - 3);
  const size_t at = user.rfind('@');
  return at != std::string::npos && user.substr(0, at).find(':') != std::string::npos;
}

Result<AgentConfig::Catalog> read_catalog(const config::Settings& section) {
  AgentConfig::Catalog catalog{.connection = section.text("catalog.connection"),
                               .password_file = section.text("catalog.password_file"),
                               .databases = section.texts("catalog.databases"),
                               .refresh = section.duration("catalog.refresh")};
  if (has_password(catalog.connection))
    return section.error_at("catalog.connection", "expected no password in it: use password_file or .pgpass");
  return catalog;
}

Result<AgentConfig::Gate> read_gate(const config::Settings& section) {
  AgentConfig::Gate gate{.is_closed = section.text("on_shim_failure") == "closed",
                         .statement_bytes_max = section.bytes("statement_bytes_max")};
  if (section.has("tls")) {
    gate.certificate = section.text("tls.certificate");
    gate.key = section.text("tls.key");
    if (section.has("tls.upstream_root_certificate"))
      gate.upstream_root_certificate = section.text("tls.upstream_root_certificate");
    if (section.has("tls.upstream_name")) gate.upstream_name = section.text("tls.upstream_name");
    if (gate.upstream_root_certificate.empty() != gate.upstream_name.empty())
      return section.error_at("tls", "expected both of upstream_root_certificate and upstream_name, or neither");
  }
  return gate;
}

Status read_databases(const config::Settings& settings, std::vector<AgentConfig::Database>& databases) {
  for (const config::Settings& section : settings.sections("databases")) {
    AgentConfig::Database database;
    database.name = section.text("name");
    for (const std::string& text : section.texts("listen"))
      database.listen.push_back(parse_listen_address(text).value());
    database.labels = section.labels("labels");
    if (section.has("catalog")) {
      GH_ASSIGN(database.catalog, read_catalog(section));
    }
    if (section.text("mode") == "enforce") {
      GH_ASSIGN(database.gate, read_gate(section));
    }
    for (const AgentConfig::Database& other : databases) {
      if (other.name == database.name) return section.error_at("name", "another database has this name");
      for (const ListenAddress& address : database.listen)
        if (std::ranges::find(other.listen, address) != other.listen.end())
          return section.error_at("listen", "database " + other.name + " listens there");
    }
    databases.push_back(std::move(database));
  }
  return {};
}

AgentConfig::Capture read_capture(const config::Settings& settings) {
  return {.plane = settings.text("capture.plane"),
          .request_bytes_max = settings.bytes("capture.request_bytes_max"),
          .control_ring_bytes = settings.bytes("capture.control_ring_bytes"),
          .request_ring_bytes = settings.bytes("capture.request_ring_bytes"),
          .response_ring_bytes = settings.bytes("capture.response_ring_bytes"),
          .poll_max = settings.duration("capture.poll_ms_max"),
          .opens_tls = settings.text("capture.tls_secrets") == "on"};
}

Result<AgentConfig> from_settings(const config::Settings& settings) {
  AgentConfig config;
  config.agent.name = settings.has("agent.name") ? settings.text("agent.name") : config::host_name();
  config.agent.state_dir = settings.text("agent.state_dir");
  config.agent.status_interval = settings.duration("agent.status_interval");
  config.agent.bpf_sample = settings.duration("agent.bpf_sample");
  config.collector.address = settings.address("collector.address");
  config.collector.enrolment_token_file = settings.text("collector.enrolment_token_file");
  GH_TRY(read_databases(settings, config.databases));
  if (settings.has("rules.files")) config.rules.files = settings.texts("rules.files");
  config.rules.mask_key =
      settings.has("rules.mask_key") ? settings.text("rules.mask_key") : config.agent.state_dir + "/mask-key";
  config.rules.always_facts = settings.text("rules.facts") == "always";
  config.capture = read_capture(settings);
  config.spool.bytes_max = settings.bytes("spool.bytes_max");
  config.spool.segment_bytes = settings.bytes("spool.segment_bytes");
  config.batch.events_max = settings.count("batch.events_max");
  config.batch.delay_max = settings.duration("batch.delay_ms_max");
  config.log_level = config::log_level(settings.text("log.level"));

  // One record holds one write; two must fit, or the ring refuses every long statement.
  if (config.capture.request_ring_bytes < 2 * config.capture.request_bytes_max)
    return settings.error_at("capture.request_ring_bytes", "expected at least twice capture.request_bytes_max, " +
                                                               config::format_bytes(config.capture.request_bytes_max));
  if (config.spool.bytes_max < 2 * config.spool.segment_bytes)
    return settings.error_at("spool.segment_bytes", "expected at most half of spool.bytes_max, " +
                                                        config::format_bytes(config.spool.bytes_max));
  return config;
}

}  // namespace

std::optional<ListenAddress> parse_listen_address(std::string_view text) {
  constexpr size_t kUnixPathBytesMax = 107;  // sun_path without its NUL
  ListenAddress listen;
  if (text.starts_with("unix:")) {
    const std::string_view path = text.substr(5);
    if (path.size() < 2 || path.size() > kUnixPathBytesMax || (path[0] != '/' && path[0] != '@')) return std::nullopt;
    listen.kind = ListenAddress::Kind::kUnix;
    listen.path = path;
    return listen;
  }
  if (const std::optional<uint64_t> port = config::parse_count(text); port && *port >= 1 && *port <= 65535) {
    listen.port = static_cast<uint16_t>(*port);
    return listen;
  }
  const std::optional<config::Address> address = config::parse_address(text);
  if (!address) return std::nullopt;
  listen.port = address->port;
  listen.kind = address->host.find(':') == std::string::npos ? ListenAddress::Kind::kTcp4 : ListenAddress::Kind::kTcp6;
  const int family = listen.kind == ListenAddress::Kind::kTcp4 ? AF_INET : AF_INET6;
  if (::inet_pton(family, address->host.c_str(), listen.address.data()) == 1) return listen;
  if (!is_host_name(address->host)) return std::nullopt;
  listen.kind = ListenAddress::Kind::kHost;
  listen.address = {};
  listen.host = address->host;
  return listen;
}

std::string to_text(const ListenAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  switch (address.kind) {
    case ListenAddress::Kind::kPort:
      return std::to_string(address.port);
    case ListenAddress::Kind::kTcp4:
      ::inet_ntop(AF_INET, address.address.data(), text.data(), text.size());
      return std::string(text.data()) + ":" + std::to_string(address.port);
    case ListenAddress::Kind::kTcp6:
      ::inet_ntop(AF_INET6, address.address.data(), text.data(), text.size());
      return "[" + std::string(text.data()) + "]:" + std::to_string(address.port);
    case ListenAddress::Kind::kHost:
      return address.host + ":" + std::to_string(address.port);
    case ListenAddress::Kind::kUnix:
      break;
  }
  return "unix:" + address.path;
}

std::span<const config::Key> agent_config_schema() {
  return kSchema;
}

Result<AgentConfig> parse_agent_config(std::string_view text, const std::string& file) {
  GH_ASSIGN(const config::Settings settings, config::Settings::parse(text, file, kSchema));
  return from_settings(settings);
}

Result<AgentConfig> load_agent_config(const std::string& path) {
  GH_ASSIGN(const config::Settings settings, config::Settings::load(path, kSchema));
  GH_ASSIGN(AgentConfig config, from_settings(settings));
  config.file = path;
  return config;
}

Result<Secret> enrolment_token(const AgentConfig& config) {
  constexpr size_t kTokenBytesMax = 4096;
  std::string token;
  if (const char* const value = std::getenv("GATEHOUSE_TOKEN"); value != nullptr) {
    token = value;
  } else if (!config.collector.enrolment_token_file.empty()) {
    GH_ASSIGN(
        token,
        read_file(config.collector.enrolment_token_file, kTokenBytesMax).context("collector.enrolment_token_file"));
  }
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = token.find_first_not_of(kSpace);
  if (begin == std::string::npos) return Secret();
  return Secret(token.substr(begin, token.find_last_not_of(kSpace) - begin + 1));
}

std::string describe(const AgentConfig& config) {
  std::string text = "agent " + config.agent.name + ", state in " + config.agent.state_dir + "\n";
  text += "collector " + config.collector.address.host + ":" + std::to_string(config.collector.address.port) + "\n";
  for (const AgentConfig::Database& database : config.databases) {
    text += "database " + database.name + " (postgresql) at";
    for (const ListenAddress& address : database.listen) text += " " + to_text(address);
    if (database.catalog) {
      text += ", catalogs of";
      for (const std::string& name : database.catalog->databases) text += " " + name;
    }
    if (database.gate) {
      text += database.gate->is_closed ? ", enforced, closed while no agent runs" : ", enforced while the agent runs";
      text += database.gate->certificate.empty() ? ", without TLS" : ", with TLS";
    }
    text += "\n";
  }
  for (const std::string& file : config.rules.files) text += "rules " + file + "\n";
  text += config.databases.empty() ? "databases: none named; all are discovered and watched\n"
                                   : "databases that are not named are discovered and watched\n";
  return text;
}

}  // namespace gatehouse
