// SPDX-License-Identifier: Apache-2.0
// Observed: what a text really did to the test's tables, by the server's own counters, locks and catalogue, seen from
// within the transaction that ran it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "tests/sql/server.h"

namespace gatehouse::test {

struct Change {
  std::string schema, name;  // of the table: of an index its own, of a partition its parent
  uint64_t scanned = 0, index_scanned = 0, inserted = 0, updated = 0, deleted = 0;
  int lock_strength = 0;  // 0: none; 1: ACCESS SHARE … 8: ACCESS EXCLUSIVE
  bool is_sequence = false;
};

struct Observed {
  std::map<std::string, Change> tables;  // by "schema.name", fixture only
  std::vector<std::string> created;      // names of relations that were not there, but for indexes and what is internal
  std::vector<std::pair<std::string, std::string>> dropped;  // schema and name of those that are gone
  bool has_advisory_lock = false;
  bool has_setting = false;  // work_mem is not what it was
  bool has_handle = false;   // a prepared statement or a cursor more than before
};

// Makes tables, anew.
void make_fixture(Server& server);

class Observer {
 public:
  explicit Observer(Server& server);
  // In a transaction: before the text, and after it if it did not fail.
  void begin();
  Observed end();

 private:
  struct Relation {
    std::string schema, name;
    bool is_sequence = false;
    bool is_itself = false;  // and no index or the like of it
  };
  using Counters = std::map<std::string, std::vector<uint64_t>>;
  Counters counters();
  std::string settings();

  Server& server_;
  std::map<std::string, Relation> relations_;  // by OID: tables, views, sequences; indexes and partitions give theirs
  Counters before_;
  std::string settings_before_;
};

}  // namespace gatehouse::test
