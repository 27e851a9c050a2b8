// SPDX-License-Identifier: Apache-2.0
#include "collector/daemon.h"

#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <vector>

#include "collector/approvals/approval_desk.h"
#include "collector/approvals/approvals_service.h"
#include "collector/approvals/webhooks.h"
#include "collector/approvals_record.h"
#include "collector/ingest/ingest_service.h"
#include "collector/ingest/installation.h"
#include "collector/ingest/peer.h"
#include "collector/ingest/server.h"
#include "collector/ingest/token_store.h"
#include "collector/pipeline_sink.h"
#include "collector/query/query_service.h"
#include "collector/store/pipeline.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "common/version.h"

namespace gatehouse {
namespace {

constexpr std::string_view kComponent = "collector";
// For agents' last batches and people's running queries.
constexpr std::chrono::milliseconds kStopDeadline{3000};

// Blocked in every thread that is started from here on, so that only wait() gets them.
class StopSignals {
 public:
  StopSignals() {
    sigemptyset(&set_);
    sigaddset(&set_, SIGTERM);
    sigaddset(&set_, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set_, nullptr);
    std::signal(SIGPIPE, SIG_IGN);
  }
  [[nodiscard]] std::string_view wait() const {
    int number = 0;
    while (sigwait(&set_, &number) != 0) {
    }
    return number == SIGINT ? "SIGINT" : "SIGTERM";
  }

 private:
  sigset_t set_{};
};

// What a certificate may be asked for on this host itself, whatever else it is called.
std::vector<std::string> certificate_names(const CollectorConfig& config) {
  std::vector<std::string> names = config.collector.hostnames;
  for (const char* local : {"localhost", "127.0.0.1", "::1"}) {
    if (std::ranges::find(names, local) == names.end()) names.emplace_back(local);
  }
  return names;
}

store::Pipeline::Options pipeline_options(const CollectorConfig& config) {
  store::Pipeline::Options options{.folder = config.collector.state_dir};
  options.log.segment_bytes_max = config.segment.bytes_max;
  options.log.segment_age_ns_max = static_cast<uint64_t>(std::chrono::nanoseconds(config.segment.age_max).count());
  options.log.retention = {
      .age_ns_max = static_cast<uint64_t>(std::chrono::nanoseconds(config.retention.age_max).count()),
      .bytes_max = config.retention.bytes_max};
  options.store.memory_bytes_max = config.store.memory_bytes_max;
  options.store.threads = static_cast<uint32_t>(config.store.threads);
  return options;
}

query::QueryService::Options query_options(const ingest::TokenStore& tokens) {
  return {.is_operator =
              [](const grpc::ServerContext& context) {
                const auto subject = ingest::peer_subject(*context.auth_context());
                return subject && subject->role == pki::Role::kOperator;
              },
          .create_token = [&tokens](uint32_t valid_seconds) -> Result<query::Token> {
            GH_ASSIGN(ingest::TokenStore::Created created, tokens.create(std::chrono::seconds(valid_seconds)));
            return query::Token{.token = std::move(created.token), .expires_ns = created.expires_ns};
          }};
}

Result<approvals::Webhooks::Options> webhook_options(const CollectorConfig& config) {
  constexpr size_t kSecretBytesMin = 16, kSecretBytesMax = 4096;
  approvals::Webhooks::Options options{.folder = config.collector.state_dir + "/approvals/webhooks", .hooks = {}};
  for (const CollectorConfig::Webhook& webhook : config.approvals.webhooks) {
    auto secret = read_file(webhook.secret_file, kSecretBytesMax);
    if (!secret) return Error::configuration("approvals.webhooks: " + secret.error().message());
    while (!secret->empty() && (secret->back() == '\n' || secret->back() == '\r')) secret->pop_back();
    if (secret->size() < kSecretBytesMin)
      return Error::configuration("approvals.webhooks: " + webhook.secret_file + " has fewer than 16 bytes");
    const auto format = webhook.format == "slack"   ? approvals::WebhookFormat::kSlack
                        : webhook.format == "teams" ? approvals::WebhookFormat::kTeams
                                                    : approvals::WebhookFormat::kJson;
    options.hooks.push_back({.url = webhook.url, .secret = *secret, .format = format, .events = webhook.events});
  }
  return options;
}

approvals::Reviewers reviewers_of(const CollectorConfig& config) {
  std::vector<approvals::Reviewer> reviewers;
  for (const CollectorConfig::Reviewer& reviewer : config.approvals.reviewers)
    reviewers.push_back({.name = reviewer.name, .groups = reviewer.groups, .logins = reviewer.logins});
  return {std::move(reviewers), config.approvals.break_glass};
}

approvals::ApprovalsService::Who certificate_of(pki::Role role) {
  return [role](const grpc::AuthContext& context) -> std::optional<std::string> {
    const auto subject = ingest::peer_subject(context);
    if (!subject || subject->role != role) return std::nullopt;
    return subject->id;
  };
}

void log_end(const ingest::IngestService::Counters& counters) {
  uint64_t refused = counters.conflicts;
  for (const uint64_t count : counters.refused) refused += count;
  log::info(kComponent, "stopped",
            {{"batches", counters.batches_appended},
             {"events", counters.events_appended},
             {"duplicates", counters.batches_duplicate},
             {"appends", counters.appends},
             {"refused", refused}});
}

}  // namespace

Status run_collector(const CollectorConfig& config) {
  const StopSignals signals;
  ::umask(S_IRWXG | S_IRWXO);
  const std::string& state_dir = config.collector.state_dir;
  GH_TRY(make_directories(state_dir).context("collector.state_dir"));
  GH_ASSIGN(const UniqueFd lock, lock_file(state_dir + "/lock").context("collector.state_dir"));
  const std::vector<std::string> names = certificate_names(config);
  auto installation = ingest::Installation::open(state_dir, config.collector.name, names).context("certificates");
  if (!installation) return std::move(installation).error();
  if (installation->is_new) {
    log::info(kComponent, "first start: made a certificate authority; `gatehouse` needs the operator's folder",
              {{"operator", installation->operator_folder}});
  }
  const ingest::TokenStore tokens(state_dir, installation->authority.fingerprint());
  GH_ASSIGN(const std::unique_ptr<store::Pipeline> pipeline, store::Pipeline::open(pipeline_options(config)));

  PipelineSink sink(*pipeline);
  ingest::IngestService ingest_service(sink, tokens, installation->authority);
  query::QueryService query_service(*pipeline, query_options(tokens));
  GH_ASSIGN(approvals::Webhooks::Options hooks, webhook_options(config));
  GH_ASSIGN(const std::unique_ptr<approvals::Webhooks> webhooks, approvals::Webhooks::open(std::move(hooks)));
  ApprovalsRecord record(sink, config.collector.name);
  const auto presence = sink.connected(kCollectorAgent);
  GH_ASSIGN(
      std::unique_ptr<approvals::ApprovalDesk> desk,
      approvals::ApprovalDesk::open(
          {.folder = state_dir + "/approvals",
           .reviewers = reviewers_of(config),
           .record = [&](const std::string& log_id, uint64_t first_sequence,
                         std::span<const v1::Event> events) { return record.append(log_id, first_sequence, events); },
           .tell = [&](std::string_view event, const v1::ApprovalView& view) { webhooks->tell(event, view); },
           .now_ns = unix_ns}));
  approvals::ApprovalsService approvals_service(*desk, certificate_of(pki::Role::kAgent),
                                                certificate_of(pki::Role::kOperator));
  GH_ASSIGN(
      const std::unique_ptr<ingest::Server> server,
      ingest::Server::start({.listen = config.collector.listen,
                             .identity = installation->server,
                             .authority_pem = installation->authority.certificate_pem(),

                             .services = {&ingest_service.service(), &query_service, &approvals_service.service()}}));
  log::info(kComponent, "listening",
            {{"address", config.collector.listen.host}, {"port", server->port()}, {"version", kVersion}});

  log::info(kComponent, "stopping", {{"signal", signals.wait()}});
  ingest_service.stop();
  approvals_service.stop();
  server->stop(kStopDeadline);
  desk.reset();
  log_end(ingest_service.counters());
  pipeline->close();
  return {};
}

Status create_operator(const CollectorConfig& config, const std::string& name, const std::string& folder) {
  if (!pki::is_valid_id(name))
    return Error::configuration("operator " + name + ": a name is 1 to 64 of a-z, 0-9, '.', '_' and '-'");
  return ingest::Installation::create_operator(config.collector.state_dir, name, folder);
}

Result<std::string> create_token(const CollectorConfig& config, std::chrono::milliseconds valid) {
  const std::string& state_dir = config.collector.state_dir;
  auto authority = ingest::Installation::load_authority(state_dir);
  if (!authority) {
    return Error::configuration(authority.error().message() +
                                "; start the collector once, or run this as the user that it runs as");
  }
  const ingest::TokenStore tokens(state_dir, authority->fingerprint());
  GH_ASSIGN(ingest::TokenStore::Created created,
            tokens.create(std::chrono::duration_cast<std::chrono::seconds>(valid)));
  return std::move(created.token);
}

}  // namespace gatehouse
