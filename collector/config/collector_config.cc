// SPDX-License-Identifier: Apache-2.0
#include "collector/config/collector_config.h"

#include <array>
#include <optional>

namespace gatehouse {
namespace {

using config::Key;
using config::Type;

constexpr uint64_t kMiB = 1U << 20;
constexpr uint64_t kGiB = 1U << 30;
constexpr uint64_t kTiB = 1ULL << 40;
constexpr uint64_t kMinuteMs = 60'000;
constexpr uint64_t kDayMs = 24 * 60 * kMinuteMs;

std::optional<std::string> check_hostname(std::string_view value) {
  constexpr std::string_view kAllowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.:";
  if (value.find_first_not_of(kAllowed) == std::string_view::npos) return std::nullopt;
  return "a host name or an IP address";
}

constexpr std::array kSchema{
    Key{.path = "collector", .type = Type::kSection, .why = "This collector."},
    Key{.path = "collector.name",
        .max = 253,
        .note = "the host's name",
        .why = "What its certificate authority and `gatehouse` call it.",
        .check = config::expect_name},
    Key{.path = "collector.state_dir",
        .fallback = "/var/lib/gatehouse-collector",
        .why = "Holds the certificate authority, the segment log and the store. The segment log is the evidence: give "
               "it a disk that is backed up.",
        .check = config::expect_absolute_path},
    Key{.path = "collector.listen",
        .type = Type::kAddress,
        .fallback = "127.0.0.1:7443",
        .why = "Where agents and `gatehouse` connect. `0.0.0.0:7443` lets other hosts in; all must hold a certificate "
               "or a token."},
    Key{.path = "collector.hostnames",
        .type = Type::kTexts,
        .max = 253,
        .note = "the host's name, localhost",
        .why = "Names and addresses that agents use to reach it; its certificate is issued for these.",
        .check = check_hostname},

    Key{.path = "segment", .type = Type::kSection, .why = "The segment log: batches as they were received."},
    Key{.path = "segment.bytes_max",
        .type = Type::kBytes,
        .fallback = "64MiB",
        .min = kMiB,
        .max = 4 * kGiB,
        .why = "A segment is sealed at this size. Larger ones load into the store more cheaply, smaller ones sooner."},
    Key{.path = "segment.age_max",
        .type = Type::kDuration,
        .fallback = "10min",
        .min = 1000,
        .max = kDayMs,
        .why = "A segment is sealed after this long, so that a quiet collector's events do not stay in the fresh "
               "tail."},

    Key{.path = "retention",
        .type = Type::kSection,
        .why =
            "What is kept of sealed segments. Of a removed one its heads stay, a few thousandths of its size, so that "
            "`gatehouse verify` still checks the whole chain and says what was removed."},
    Key{.path = "retention.age_max",
        .type = Type::kDuration,
        .fallback = "0ms",
        .max = 36'500 * kDayMs,
        .why = "A segment is removed when its newest event was received this long ago; 0ms: it is kept for ever."},
    Key{.path = "retention.bytes_max",
        .type = Type::kBytes,
        .fallback = "0",
        .max = 1024 * kTiB,
        .why = "The oldest segments are removed while all of them take more than this; 0: no limit. The store comes on "
               "top, about as much again."},

    Key{.path = "store",
        .type = Type::kSection,
        .why = "The index that queries run on. It is rebuilt from the segments."},
    Key{.path = "store.engine",
        .type = Type::kChoice,
        .fallback = "duckdb",
        .choices = "duckdb",
        .why = "The embedded engine."},
    Key{.path = "store.memory_limit",
        .type = Type::kBytes,
        .fallback = "512MiB",
        .min = 128 * kMiB,
        .max = kTiB,
        .why = "Memory the engine may take. It grows to this and stays there."},
    Key{.path = "store.threads",
        .type = Type::kCount,
        .fallback = "2",
        .min = 1,
        .max = 256,
        .why = "Threads of one query or load. More answer sooner and take from the databases beside it."},

    Key{.path = "log", .type = Type::kSection, .why = "Messages on standard error."},
    Key{.path = "log.level",
        .type = Type::kChoice,
        .fallback = "info",
        .choices = config::kLogLevels,
        .why = "Lowest level written. No level ever writes SQL, parameters or credentials."},
};

CollectorConfig from_settings(const config::Settings& settings) {
  CollectorConfig config;
  config.collector.name = settings.has("collector.name") ? settings.text("collector.name") : config::host_name();
  config.collector.state_dir = settings.text("collector.state_dir");
  config.collector.listen = settings.address("collector.listen");
  config.collector.hostnames = settings.texts("collector.hostnames");
  if (config.collector.hostnames.empty()) config.collector.hostnames = {config::host_name(), "localhost"};
  config.segment.bytes_max = settings.bytes("segment.bytes_max");
  config.segment.age_max = settings.duration("segment.age_max");
  config.retention.age_max = settings.duration("retention.age_max");
  config.retention.bytes_max = settings.bytes("retention.bytes_max");
  config.store.memory_bytes_max = settings.bytes("store.memory_limit");
  config.store.threads = settings.count("store.threads");
  config.log_level = config::log_level(settings.text("log.level"));
  return config;
}

}  // namespace

std::span<const config::Key> collector_config_schema() {
  return kSchema;
}

Result<CollectorConfig> parse_collector_config(std::string_view text, const std::string& file) {
  GH_ASSIGN(const config::Settings settings, config::Settings::parse(text, file, kSchema));
  return from_settings(settings);
}

Result<CollectorConfig> load_collector_config(const std::string& path) {
  GH_ASSIGN(const config::Settings settings, config::Settings::load(path, kSchema));
  return from_settings(settings);
}

std::string describe(const CollectorConfig& config) {
  std::string text = "collector " + config.collector.name + ", state in " + config.collector.state_dir + "\n";
  text += "listens on " + config.collector.listen.host + ":" + std::to_string(config.collector.listen.port) + " as";
  for (const std::string& name : config.collector.hostnames) text += " " + name;
  text += "\nstore duckdb, " + config::format_bytes(config.store.memory_bytes_max) + ", " +
          std::to_string(config.store.threads) + " threads\n";
  return text;
}

}  // namespace gatehouse
