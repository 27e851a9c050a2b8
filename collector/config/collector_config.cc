// SPDX-License-Identifier: Apache-2.0
#include "collector/config/collector_config.h"

#include <algorithm>
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

std::optional<std::string> check_webhook_url(std::string_view value) {
  if (value.starts_with("https://") && value.size() > 8) return std::nullopt;
  for (const std::string_view local : {"http://127.0.0.1", "http://localhost", "http://[::1]"})
    if (value.starts_with(local) && (value.size() == local.size() || value[local.size()] == ':' ||
                                     value[local.size()] == '/'))
      return std::nullopt;
  return "an address that begins with https://, or http:// of this host itself";
}

std::optional<std::string> check_webhook_event(std::string_view value) {
  if (value == "asked" || value == "decided" || value == "expired") return std::nullopt;
  return "one of asked, decided, expired";
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

    Key{.path = "approvals",
        .type = Type::kSection,
        .why = "Who decides on statements that rules hold; docs/approvals.md."},
    Key{.path = "approvals.reviewers",
        .type = Type::kSections,
        .why = "Operators who may decide. Where there are none, every operator may, of rules that name no approvers."},
    Key{.path = "approvals.reviewers[].name",
        .required = true,
        .min = 1,
        .max = 64,
        .why = "The name in the operator's certificate: `gatehouse-collector operator NAME` makes one.",
        .check = config::expect_name},
    Key{.path = "approvals.reviewers[].groups",
        .type = Type::kTexts,
        .min = 1,
        .max = 128,
        .why = "What rules call their `approvers`.",
        .check = config::expect_name},
    Key{.path = "approvals.reviewers[].logins",
        .type = Type::kTexts,
        .min = 1,
        .max = 128,
        .why = "Under which names the same person logs in to hosts and databases, if not by the same: nobody decides "
               "what he asks for himself."},
    Key{.path = "approvals.break_glass",
        .type = Type::kTexts,
        .min = 1,
        .max = 128,
        .why = "Groups that may approve alone, at once, and have to be looked at afterwards.",
        .check = config::expect_name},
    Key{.path = "approvals.webhooks", .type = Type::kSections, .why = "Services that are told of requests."},
    Key{.path = "approvals.webhooks[].url",
        .required = true,
        .max = 2048,
        .why = "Where to; https, or http to this host itself.",
        .check = check_webhook_url},
    Key{.path = "approvals.webhooks[].secret_file",
        .required = true,
        .why = "A file with the key that messages are signed with: 16 bytes or more, of this collector alone.",
        .check = config::expect_absolute_path},
    Key{.path = "approvals.webhooks[].format",
        .type = Type::kChoice,
        .fallback = "json",
        .choices = "json|slack|teams",
        .why = "Whose payload it is."},
    Key{.path = "approvals.webhooks[].events",
        .type = Type::kTexts,
        .note = "all",
        .why = "Of asked, decided, expired.",
        .check = check_webhook_event},

    Key{.path = "log", .type = Type::kSection, .why = "Messages on standard error."},
    Key{.path = "log.level",
        .type = Type::kChoice,
        .fallback = "info",
        .choices = config::kLogLevels,
        .why = "Lowest level written. No level ever writes SQL, parameters or credentials."},
};

// Each once; and who may break the glass is somebody.
Status check_reviewers(const config::Settings& settings) {
  std::vector<std::string> names;
  std::vector<std::string> groups;
  for (const config::Settings& reviewer : settings.sections("approvals.reviewers")) {
    const std::string name = reviewer.text("name");
    if (std::ranges::find(names, name) != names.end())
      return reviewer.error_at("name", "expected another name: this one stands there already");
    names.push_back(name);
    for (std::string& group : reviewer.texts("groups")) groups.push_back(std::move(group));
  }
  for (const std::string& group : settings.texts("approvals.break_glass"))
    if (std::ranges::find(groups, group) == groups.end())
      return settings.error_at("approvals.break_glass", "expected groups that reviewers are in; nobody is in " + group);
  return {};
}

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
  for (const config::Settings& reviewer : settings.sections("approvals.reviewers"))
    config.approvals.reviewers.push_back({.name = reviewer.text("name"),
                                          .groups = reviewer.texts("groups"),
                                          .logins = reviewer.texts("logins")});
  config.approvals.break_glass = settings.texts("approvals.break_glass");
  for (const config::Settings& webhook : settings.sections("approvals.webhooks"))
    config.approvals.webhooks.push_back({.url = webhook.text("url"),
                                         .secret_file = webhook.text("secret_file"),
                                         .format = webhook.text("format"),
                                         .events = webhook.texts("events")});
  config.log_level = config::log_level(settings.text("log.level"));
  return config;
}

}  // namespace

std::span<const config::Key> collector_config_schema() {
  return kSchema;
}

Result<CollectorConfig> parse_collector_config(std::string_view text, const std::string& file) {
  GH_ASSIGN(const config::Settings settings, config::Settings::parse(text, file, kSchema));
  GH_TRY(check_reviewers(settings));
  return from_settings(settings);
}

Result<CollectorConfig> load_collector_config(const std::string& path) {
  GH_ASSIGN(const config::Settings settings, config::Settings::load(path, kSchema));
  GH_TRY(check_reviewers(settings));
  return from_settings(settings);
}

std::string describe(const CollectorConfig& config) {
  std::string text = "collector " + config.collector.name + ", state in " + config.collector.state_dir + "\n";
  text += "listens on " + config.collector.listen.host + ":" + std::to_string(config.collector.listen.port) + " as";
  for (const std::string& name : config.collector.hostnames) text += " " + name;
  text += "\nstore duckdb, " + config::format_bytes(config.store.memory_bytes_max) + ", " +
          std::to_string(config.store.threads) + " threads\n";
  text += "reviewers:";
  for (const CollectorConfig::Reviewer& reviewer : config.approvals.reviewers) text += " " + reviewer.name;
  text += config.approvals.reviewers.empty() ? " every operator\n" : "\n";
  return text;
}

}  // namespace gatehouse
