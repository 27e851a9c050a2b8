// SPDX-License-Identifier: Apache-2.0
// CatalogKeeper: keeps catalogs of one server's databases fresh, on a thread of its own, through a read-only connection
// of the agent. Whoever judges never waits for it.
//
// A shard polls version() each turn, which is one relaxed load, and takes current() when it has changed.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "agent/sql/catalog.h"
#include "common/result.h"
#include "common/secret.h"

namespace gatehouse::catalog {

struct CatalogSource {
  std::string connection;              // libpq's: "host=/run/postgresql port=5432 user=gatehouse"; no password in it
  std::string password_file;           // holds the password; empty: libpq's own ways (.pgpass, peer, certificates)
  std::vector<std::string> databases;  // whose catalogs; each by a connection of its own, one after the other
  std::chrono::milliseconds refresh{60'000};
};

// By database name; immutable.
using Catalogs = std::map<std::string, std::shared_ptr<const sql::Catalog>, std::less<>>;

struct CatalogStatus {
  std::string database;
  bool is_loaded = false;
  std::string error;  // of the last attempt, as a person can act on it; empty: it went well, or there was none
  std::chrono::milliseconds took{};
  std::chrono::steady_clock::time_point loaded_at{};  // when it was last known to be fresh
  size_t relations = 0, functions = 0, bytes = 0;
  std::vector<std::string> missing;
};

class CatalogKeeper {
 public:
  // Starts at once; nothing is loaded yet when this returns.
  explicit CatalogKeeper(CatalogSource source);
  CatalogKeeper(const CatalogKeeper&) = delete;
  CatalogKeeper& operator=(const CatalogKeeper&) = delete;
  // Cancels what runs; returns within a second.
  ~CatalogKeeper();

  // Any thread, without a lock. Changes when current() does.
  [[nodiscard]] uint64_t version() const { return version_.load(std::memory_order_acquire); }
  // Any thread. Never null; a database that could not be loaded yet is not in it, one that fails later keeps the last
  // that was read, and status() says so.
  [[nodiscard]] std::shared_ptr<const Catalogs> current() const;
  // DDL was seen: look soon. Any thread, returns at once; what is asked while a load runs leads to one more. The number
  // of this asking, for has_looked(); 0: it keeps no such database.
  uint64_t ask_refresh(std::string_view database);
  // A look that began after that asking has ended well: current() has all that was committed by then. Any thread.
  [[nodiscard]] bool has_looked(std::string_view database, uint64_t asking) const;
  [[nodiscard]] std::vector<CatalogStatus> status() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Database {
    CatalogStatus status;
    std::string change_mark;  // of the server's catalogues when they were read last
    bool is_asked = true;
    uint64_t askings = 0, looked = 0;  // how often it was asked, and as of which of them it is known
  };
  void run();
  // False: it could not be read.
  bool look_at(const std::string& name, Database& database);
  [[nodiscard]] bool is_stopping() const { return stopping_.load(std::memory_order_relaxed); }

  const CatalogSource source_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::shared_ptr<const Catalogs> catalogs_;                // under mutex_
  std::map<std::string, Database, std::less<>> databases_;  // under mutex_; change_mark is the thread's own
  bool is_asked_ = true;                                    // under mutex_: any of them is
  std::atomic<bool> stopping_{false};                       // set under mutex_
  std::atomic<uint64_t> version_{0};
  std::thread thread_;  // last: it uses all of the above
};

// For `doctor`: connects, reads and says what came of it, within half a minute.
CatalogStatus try_catalog(const CatalogSource& source, const std::string& database);

// The application_name of its connections.
inline constexpr std::string_view kCatalogApplicationName = "gatehouse-agent catalog";

}  // namespace gatehouse::catalog
