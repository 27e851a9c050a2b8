// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/event_source.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string_view>
#include <utility>

namespace gatehouse::bench {
namespace {

constexpr size_t kTemplates = 2000;
constexpr std::array<std::string_view, 24> kTables{
    "orders",    "order_lines", "customers",  "addresses", "products", "stock",  "invoices", "payments",
    "shipments", "carts",       "cart_items", "coupons",   "reviews",  "users",  "roles",    "audit_log",
    "tickets",   "messages",    "sessions",   "tenants",   "prices",   "quotes", "returns",  "events"};
constexpr std::array<std::string_view, 20> kColumns{
    "id",   "customer_id", "created_at", "updated_at", "status",    "amount",   "currency",
    "name", "email",       "sku",        "quantity",   "warehouse", "note",     "country",
    "city", "postal_code", "kind",       "rank",       "version",   "tenant_id"};
constexpr std::array<std::string_view, 10> kUsers{"app",   "app_ro", "billing", "etl",   "report",
                                                  "alice", "bob",    "carol",   "admin", "migrator"};
constexpr std::array<std::string_view, 8> kPrograms{
    "/usr/bin/python3.11", "/usr/lib/jvm/java-17-openjdk-amd64/bin/java",
    "/usr/bin/node",       "/usr/local/bin/api-server",
    "/usr/bin/psql",       "/opt/etl/bin/loader",
    "/usr/bin/php8.2",     "/usr/bin/ruby3.1"};

std::vector<double> zipf(size_t count, double exponent) {
  std::vector<double> cumulative(count);
  double sum = 0;
  for (size_t i = 0; i < count; ++i) cumulative[i] = sum += 1.0 / std::pow(static_cast<double>(i + 1), exponent);
  for (double& value : cumulative) value /= sum;
  return cumulative;
}

std::string hex_digits(std::mt19937_64& random, size_t count) {
  std::string text;
  while (text.size() < count) text += "0123456789abcdef"[random() % 16];
  return text;
}

}  // namespace

// SQL with '?' where a literal or a parameter stands.
struct EventSource::Template {
  std::string sql;
  std::string prepared_sql;  // with $1, $2, …
  std::string name;
  std::string_view verb;
  size_t places = 0;
  bool is_prepared = false;
};

struct EventSource::Client {
  std::shared_ptr<runtime::SessionEntry> session = std::make_shared<runtime::SessionEntry>();
  ProcessKey process{};
  uint32_t events_left = 0;
  uint64_t response_offset = 0;
};

// The processes of one host: some servers, many clients, each with its ancestry.
class EventSource::Programs final : public runtime::ProcessDirectory {
 public:
  explicit Programs(std::mt19937_64& random) {
    add(1, 0, "/usr/lib/systemd/systemd", {"/sbin/init"}, "root", random);
    add(700, 1, "/usr/sbin/sshd", {"sshd: alice [priv]"}, "root", random);
    add(701, 700, "/usr/bin/bash", {"-bash"}, "alice", random);
    add(900, 1, "/usr/lib/postgresql/15/bin/postgres", {"/usr/lib/postgresql/15/bin/postgres", "-D", "/var/lib/pg"},
        "postgres", random);
    for (uint32_t i = 0; i < 40; ++i) {
      const std::string_view exe = kPrograms[i % kPrograms.size()];
      add(2000 + i, i % kPrograms.size() == 4 ? 701 : 1, std::string(exe),
          {std::string(exe), "--config=/etc/shop/service-" + std::to_string(i) + ".yaml", "--workers", "8"},
          std::string(kUsers[i % kUsers.size()]), random);
    }
  }
  std::shared_ptr<const identity::Process> find(const ImageKey& key) override {
    const auto found = images_.find(key.process.pid);
    return found == images_.end() ? nullptr : found->second;
  }
  std::vector<std::shared_ptr<const identity::Process>> ancestors(const identity::Process& process) override {
    std::vector<std::shared_ptr<const identity::Process>> list;
    for (auto parent = find({process.parent}); parent; parent = find({parent->parent})) list.push_back(parent);
    return list;
  }
  bool hash_pending(const identity::Process& /*process*/) override { return false; }
  // A server process of its own for each session, as PostgreSQL has it.
  ProcessKey add_backend(uint32_t pid, std::mt19937_64& random) {
    add(pid, 900, "/usr/lib/postgresql/15/bin/postgres", {"postgres: app shop 127.0.0.1 idle"}, "postgres", random);
    return key_of(pid);
  }
  void remove(const ProcessKey& key) { images_.erase(key.pid); }
  static ProcessKey key_of(uint32_t pid) { return {.pid = pid, .start_ns = 1'000'000'000ULL * pid}; }

 private:
  void add(uint32_t pid, uint32_t parent, std::string exe, std::vector<std::string> arguments, std::string user,
           std::mt19937_64& random) {
    auto image = std::make_shared<identity::Process>();
    image->key = key_of(pid);
    image->parent = key_of(parent);
    image->exec_number = 1;
    image->exe_inode = 100'000 + pid;
    image->exe_sha256 = hex_digits(random, 64);
    image->arguments = std::move(arguments);
    image->cwd = "/srv/shop";
    image->uid = image->euid = image->gid = 1000 + static_cast<uint32_t>(user.size());
    image->systemd_unit = parent == 1 ? "shop-" + std::to_string(pid) + ".service" : "";
    image->tty = parent == 701 ? "pts/3" : "";
    image->login_user = parent == 701 ? "alice" : "";
    image->user = std::move(user);
    image->exe = std::move(exe);
    image->cgroup = "/system.slice/" + image->systemd_unit;
    images_[pid] = std::move(image);
  }
  std::map<uint32_t, std::shared_ptr<const identity::Process>> images_;
};

EventSource::EventSource(Options options)
    : options_(std::move(options)),
      random_(options_.seed),
      programs_(std::make_unique<Programs>(random_)),
      builder_({.agent_id = options_.agent_id,
                .boot_id = options_.boot_id,
                .host = options_.host,
                .agent_version = "0.1.0",
                .events_max = options_.batch_events},
               *programs_),
      sealer_(options_.boot_id),
      template_weights_(zipf(kTemplates, 1.05)),
      client_weights_(zipf(options_.sessions, 0.7)),
      time_ns_(options_.first_time_ns) {
  make_templates();
  for (uint32_t i = 0; i < options_.sessions; ++i) clients_.push_back(open_client());
}

EventSource::~EventSource() = default;

size_t EventSource::pick(const std::vector<double>& cumulative) {
  const double at = static_cast<double>(random_() >> 11) * 0x1.0p-53;
  const auto found = std::ranges::lower_bound(cumulative, at);
  return std::min(static_cast<size_t>(found - cumulative.begin()), cumulative.size() - 1);
}

void EventSource::make_templates() {
  const auto column = [&] { return std::string(kColumns[below(kColumns.size())]); };
  const auto table = [&] { return std::string(kTables[below(kTables.size())]); };
  for (size_t i = 0; i < kTemplates; ++i) {
    Template made;
    const uint32_t kind = below(10);
    const std::string of = table();
    if (kind < 6) {
      made.verb = "SELECT";
      made.sql = "SELECT t0." + column();
      for (uint32_t n = below(7); n > 0; --n) made.sql += ", t0." + column();
      made.sql += " FROM public." + of + " t0";
      if (below(3) == 0) made.sql += " JOIN public." + table() + " t1 ON t1." + column() + " = t0.id";
      made.sql += " WHERE t0." + column() + " = ?";
      if (below(2) == 0) made.sql += " AND t0." + column() + " >= ?";
      if (below(3) == 0) made.sql += " ORDER BY t0." + column() + " DESC LIMIT ?";
    } else if (kind < 8) {
      made.verb = "UPDATE";
      made.sql = "UPDATE public." + of + " SET " + column() + " = ?, updated_at = now() WHERE id = ? AND version = ?";
    } else if (kind == 8) {
      made.verb = "INSERT";
      made.sql = "INSERT INTO public." + of + " (" + column() + ", " + column() + ", " + column() +
                 ") VALUES (?, ?, ?) RETURNING id";
    } else {
      made.verb = "DELETE";
      made.sql = "DELETE FROM public." + of + " WHERE id = ?";
    }
    made.is_prepared = below(10) < 5;
    made.name = "S_" + std::to_string(i);
    for (const char c : made.sql) {
      if (c != '?') {
        made.prepared_sql += c;
        continue;
      }
      made.prepared_sql += "$" + std::to_string(++made.places);
    }
    templates_.push_back(std::move(made));
  }
}

std::shared_ptr<EventSource::Client> EventSource::open_client() {
  auto client = std::make_shared<Client>();
  const auto number = static_cast<uint32_t>(++sessions_made_);
  runtime::SessionEntry& session = *client->session;
  client->process = Programs::key_of(2000 + below(40));
  client->events_left = options_.session_events / 2 + below(options_.session_events);
  session.facts.id = 0x5000'0000'0000ULL + number;
  session.facts.opened_unix_ns = time_ns_;
  session.facts.client_address = "127.0.0.1";
  session.facts.client_port = 32768 + number % 28'000;
  session.facts.server_address = "127.0.0.1";
  session.facts.server_port = 5432;
  session.facts.database_label = "shop-primary";
  session.facts.user = kUsers[pick(client_weights_) % kUsers.size()];
  session.facts.database = number % 5 == 0 ? "billing" : "shop";
  session.facts.application_name = number % 3 == 0 ? "" : "service-" + std::to_string(client->process.pid - 2000);
  session.facts.server_version = "15.8";
  session.facts.client_encoding = "UTF8";
  session.facts.backend_pid = 10'000 + number % 20'000;
  session.opener = {client->process};
  session.server = {programs_->add_backend(session.facts.backend_pid, random_)};
  return client;
}

void EventSource::add_statement(Client& client) {
  const Template& used = templates_[pick(template_weights_)];
  std::string sql;
  std::array<std::string, 4> values;
  std::array<Parameter, 4> parameters;
  for (size_t i = 0; i < used.places; ++i) {
    values[i] = std::to_string(random_() % 10'000'000);
    if (below(4) == 0) values[i] = hex_digits(random_, 8) + "@example.com";
    parameters[i] = {.value = values[i], .type_oid = 23};
  }
  if (!used.is_prepared) {
    size_t place = 0;
    for (const char c : used.sql) {
      if (c == '?') {
        sql += "'" + values[place++] + "'";
      } else {
        sql += c;
      }
    }
  }
  Activity activity;
  const bool is_error = below(100) == 0;
  activity.outcome = is_error ? Outcome::kError : Outcome::kOk;
  activity.protocol = used.is_prepared ? StatementProtocol::kExtended : StatementProtocol::kSimple;
  activity.text = used.is_prepared ? std::string_view(used.prepared_sql) : std::string_view(sql);
  activity.text_bytes = activity.text.size();
  if (used.is_prepared) {
    activity.statement_name = used.name;
    activity.parameters = std::span(parameters).first(used.places);
  }
  const uint32_t rows = used.verb == "SELECT" ? below(below(3) == 0 ? 500 : 3) : below(8) == 0 ? 0 : 1;
  const std::string tag = std::string(used.verb) + (used.verb == "INSERT" ? " 0 " : " ") + std::to_string(rows);
  if (!is_error) {
    activity.command_tag = tag;
    activity.rows = rows;
  } else {
    activity.sqlstate = "23505";
    activity.error_message = "duplicate key value violates unique constraint \"orders_pkey\"";
  }
  activity.start_ns = time_ns_;
  activity.end_ns = time_ns_ + 80'000 + random_() % 400'000;
  activity.request_bytes = activity.text.size() + 6;
  activity.request_offset = client.session->totals.request_bytes;
  activity.response_bytes = 40 + rows * uint64_t{64};
  activity.transaction = below(5) == 0 ? TransactionState::kActive : TransactionState::kIdle;
  activity.writer = {client.process};
  client.session->totals.request_bytes += activity.request_bytes;
  client.session->totals.response_bytes += activity.response_bytes;
  ++client.session->totals.statements;
  builder_.add_activity(client.session, activity);
}

void EventSource::add_event() {
  time_ns_ += options_.step_ns;
  std::shared_ptr<Client>& client = clients_[pick(client_weights_)];
  if (client->events_left-- > 0) return add_statement(*client);
  Activity activity;
  activity.kind = ActivityKind::kDisconnect;
  activity.outcome = Outcome::kOk;
  activity.reason = "terminate";
  activity.start_ns = activity.end_ns = time_ns_;
  activity.writer = {client->process};
  builder_.add_activity(client->session, activity);
  programs_->remove(client->session->server.process);
  client = open_client();
}

spool::SealedBatch EventSource::next() {
  while (!builder_.full()) add_event();
  const runtime::EncodedBatch encoded = builder_.take();
  plain_bytes_ += encoded.bytes.size();
  spool::SealedBatch batch = sealer_.seal(encoded.bytes, encoded.first_sequence, encoded.event_count);
  sealer_.chain(batch);
  return batch;
}

}  // namespace gatehouse::bench
