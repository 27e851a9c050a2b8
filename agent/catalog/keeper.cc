// SPDX-License-Identifier: Apache-2.0
#include "agent/catalog/keeper.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "agent/catalog/connection.h"
#include "agent/catalog/loader.h"
#include "common/log.h"

namespace gatehouse::catalog {
namespace {

constexpr std::chrono::seconds kLoadMax{30};
// DDL comes in bursts; but what is judged inline waits for the look that follows it.
constexpr std::chrono::milliseconds kPauseMin{100};

struct Read {
  std::string mark;
  std::shared_ptr<const sql::Catalog> catalog;  // null: nothing has changed
};

Result<Read> read(const CatalogSource& source, const std::string& database, const std::string& known_mark,
                  const Connection::Stop& stop) {
  const auto deadline = Connection::Clock::now() + kLoadMax;
  GH_ASSIGN(Connection connection, Connection::open(source, database, stop, deadline).context("connecting"));
  Read out;
  // Before the catalogues: what changes meanwhile is seen by the next look.
  GH_ASSIGN(out.mark, change_mark(connection));
  if (out.mark == known_mark) return out;
  GH_ASSIGN(sql::CatalogRows rows, read_catalog(connection));
  out.catalog = sql::Catalog::build(std::move(rows));
  return out;
}

void describe(const sql::Catalog& catalog, CatalogStatus& status) {
  status.is_loaded = true;
  status.relations = catalog.relation_count();
  status.functions = catalog.function_count();
  status.bytes = catalog.bytes();
  status.missing.assign(catalog.missing().begin(), catalog.missing().end());
}

std::chrono::milliseconds since(Connection::Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Connection::Clock::now() - start);
}

}  // namespace

CatalogKeeper::CatalogKeeper(CatalogSource source)
    : source_(std::move(source)), catalogs_(std::make_shared<const Catalogs>()) {
  for (const std::string& name : source_.databases) databases_[name].status.database = name;
  thread_ = std::thread([this] { run(); });
}

CatalogKeeper::~CatalogKeeper() {
  {
    const std::lock_guard lock(mutex_);
    stopping_.store(true, std::memory_order_relaxed);
  }
  wake_.notify_one();
  thread_.join();
}

std::shared_ptr<const Catalogs> CatalogKeeper::current() const {
  const std::lock_guard lock(mutex_);
  return catalogs_;
}

uint64_t CatalogKeeper::ask_refresh(std::string_view database) {
  uint64_t asking = 0;
  {
    const std::lock_guard lock(mutex_);
    const auto found = databases_.find(database);
    if (found == databases_.end()) return 0;
    found->second.is_asked = is_asked_ = true;
    asking = ++found->second.askings;
  }
  wake_.notify_one();
  return asking;
}

bool CatalogKeeper::has_looked(std::string_view database, uint64_t asking) const {
  const std::lock_guard lock(mutex_);
  const auto found = databases_.find(database);
  return found == databases_.end() || found->second.looked >= asking;
}

std::vector<CatalogStatus> CatalogKeeper::status() const {
  const std::lock_guard lock(mutex_);
  std::vector<CatalogStatus> out;
  out.reserve(databases_.size());
  for (const auto& [name, database] : databases_) out.push_back(database.status);
  return out;
}

void CatalogKeeper::run() {
  constexpr int kNice = 10;  // behind everything that somebody waits for
  ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), kNice);
  Clock::time_point next_round = Clock::now();
  std::unique_lock lock(mutex_);
  while (!is_stopping()) {
    wake_.wait_until(lock, next_round, [this] { return is_stopping() || is_asked_; });
    const bool is_round = Clock::now() >= next_round;
    if (is_round) next_round = Clock::now() + source_.refresh;
    is_asked_ = false;
    for (auto& [name, database] : databases_) {
      if (is_stopping()) return;
      if (!is_round && !database.is_asked) continue;
      database.is_asked = false;
      const uint64_t asking = database.askings;
      lock.unlock();
      const bool is_seen = look_at(name, database);
      lock.lock();
      if (is_seen) database.looked = asking;
    }
    wake_.wait_for(lock, kPauseMin, [this] { return is_stopping(); });
  }
}

bool CatalogKeeper::look_at(const std::string& name, Database& database) {
  const Clock::time_point start = Clock::now();
  auto result = read(source_, name, database.change_mark, [this] { return is_stopping(); });
  if (is_stopping()) return false;
  const std::lock_guard lock(mutex_);
  CatalogStatus& status = database.status;
  status.took = since(start);
  if (!result) {
    if (status.error.empty())
      log::warn("catalog", "a catalogue cannot be read; what was read before stays in use",
                {{"database", name}, {"reason", result.error().message()}});
    status.error = result.error().message();
    return false;
  }
  status.error.clear();
  status.loaded_at = Clock::now();
  database.change_mark = std::move(result->mark);
  if (!result->catalog) return true;
  if (!status.is_loaded) log::info("catalog", "read", {{"database", name}});
  describe(*result->catalog, status);
  Catalogs next = *catalogs_;
  next[name] = std::move(result->catalog);
  catalogs_ = std::make_shared<const Catalogs>(std::move(next));
  version_.fetch_add(1, std::memory_order_release);
  return true;
}

CatalogStatus try_catalog(const CatalogSource& source, const std::string& database) {
  CatalogStatus status{.database = database};
  const Connection::Clock::time_point start = Connection::Clock::now();
  const auto result = read(source, database, {}, {});
  status.took = since(start);
  if (!result)
    status.error = result.error().message();
  else
    describe(*result->catalog, status);
  return status;
}

}  // namespace gatehouse::catalog
