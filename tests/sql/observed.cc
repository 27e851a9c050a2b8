// SPDX-License-Identifier: Apache-2.0
#include "tests/sql/observed.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace gatehouse::test {
namespace {

constexpr const char* kFixture = R"(
DROP SCHEMA IF EXISTS public CASCADE; DROP SCHEMA IF EXISTS s1 CASCADE;
CREATE SCHEMA public; CREATE SCHEMA s1;
CREATE TABLE t1 (id int PRIMARY KEY, a int, b int, c text);
CREATE TABLE t2 (id int PRIMARY KEY, a int, b int, c text);
CREATE TABLE t3 (id int PRIMARY KEY, a int, b int, c text);
CREATE TABLE s1.t4 (id int PRIMARY KEY, a int, b int, c text);
CREATE TABLE p (id int PRIMARY KEY, a int, b int, c text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (MINVALUE) TO (100);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (MAXVALUE) ;
INSERT INTO t1 SELECT i, i % 3, i % 5, 'x' || i FROM generate_series(1, 20) i;
INSERT INTO t2 SELECT * FROM t1; INSERT INTO t3 SELECT * FROM t1; INSERT INTO s1.t4 SELECT * FROM t1;
INSERT INTO p SELECT id * 10, a, b, c FROM t1;
CREATE VIEW v AS SELECT id, a, b, c FROM t2;
CREATE MATERIALIZED VIEW m1 AS SELECT id FROM t1;
CREATE SEQUENCE q1;
SELECT nextval('q1');
CREATE FUNCTION f_delete() RETURNS bigint LANGUAGE sql VOLATILE AS
  'WITH d AS (DELETE FROM t1 RETURNING 1) SELECT count(*) FROM d';
CREATE PROCEDURE r_delete() LANGUAGE sql AS 'DELETE FROM s1.t4';
CREATE FUNCTION g_nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER g1 BEFORE INSERT ON t3 FOR EACH ROW EXECUTE FUNCTION g_nothing();
ANALYZE)";

// Each relation of the fixture, and the one that a statement would name to reach it.
constexpr const char* kRelations = R"(
SELECT c.oid, n.nspname, r.relname, r.relkind = 'S', r.oid = c.oid
FROM pg_class c
LEFT JOIN pg_index i ON i.indexrelid = c.oid
LEFT JOIN pg_class t ON t.reltoastrelid = c.oid
LEFT JOIN pg_index ti ON ti.indexrelid = c.oid
LEFT JOIN pg_class tt ON tt.reltoastrelid = ti.indrelid
LEFT JOIN pg_inherits h ON h.inhrelid = coalesce(tt.oid, t.oid, i.indrelid, c.oid)
JOIN pg_class r ON r.oid = coalesce(h.inhparent, tt.oid, t.oid, i.indrelid, c.oid)
JOIN pg_namespace n ON n.oid = r.relnamespace
WHERE n.nspname IN ('public', 's1'))";

constexpr const char* kCounters = R"(
SELECT relid, coalesce(seq_scan, 0), coalesce(idx_scan, 0), n_tup_ins, n_tup_upd, n_tup_del
FROM pg_stat_xact_user_tables)";

constexpr const char* kLocks = R"(
SELECT relation, mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted)";

constexpr const char* kNow = R"(
SELECT c.oid, n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema'))";

int strength(std::string_view mode) {
  static constexpr std::array<std::string_view, 9> kModes{
      "",          "AccessShareLock",       "RowShareLock",  "RowExclusiveLock",   "ShareUpdateExclusiveLock",
      "ShareLock", "ShareRowExclusiveLock", "ExclusiveLock", "AccessExclusiveLock"};
  return static_cast<int>(std::ranges::find(kModes, mode) - kModes.begin());
}

}  // namespace

void make_fixture(Server& server) {
  if (const std::string error = server.run(kFixture); !error.empty()) server.query("SELECT 1/0 AS fixture");
}

Observer::Observer(Server& server) : server_(server) {
  for (const auto& row : server_.query(kRelations))
    relations_[row[0]] = {.schema = row[1], .name = row[2], .is_sequence = row[3] == "t", .is_itself = row[4] == "t"};
}

Observer::Counters Observer::counters() {
  Counters out;
  for (const auto& row : server_.query(kCounters))
    for (size_t i = 1; i < row.size(); ++i) out[row[0]].push_back(std::stoull(row[i]));
  return out;
}

std::string Observer::settings() {
  const Rows rows = server_.query(
      "SELECT current_setting('work_mem') || ' ' || (SELECT count(*) FROM pg_prepared_statements) || ' ' || "
      "(SELECT count(*) FROM pg_cursors)");
  return rows[0][0];
}

void Observer::begin() {
  before_ = counters();
  settings_before_ = settings();
}

Observed Observer::end() {
  Observed out;
  const auto table_of = [&](const std::string& oid) -> Change* {
    const auto found = relations_.find(oid);
    if (found == relations_.end()) return nullptr;
    const Relation& relation = found->second;
    Change& change = out.tables[relation.schema + "." + relation.name];
    change.schema = relation.schema;
    change.name = relation.name;
    change.is_sequence = relation.is_sequence;
    return &change;
  };
  // Before anything else looks at the catalogue, whose locks are not of interest, but counters are of the test's
  // tables.
  for (const auto& [oid, now] : counters()) {
    Change* change = table_of(oid);
    if (change == nullptr) continue;
    const auto before = before_.find(oid);
    const auto more = [&](size_t i) { return now[i] - (before == before_.end() ? 0 : before->second[i]); };
    change->scanned += more(0);
    change->index_scanned += more(1);
    change->inserted += more(2);
    change->updated += more(3);
    change->deleted += more(4);
  }
  for (const auto& row : server_.query(kLocks))
    if (Change* change = table_of(row[0])) change->lock_strength = std::max(change->lock_strength, strength(row[1]));
  std::map<std::string, bool> left;
  for (const auto& row : server_.query(kNow)) {
    left[row[0]] = true;
    // Indexes come with their tables, which are named.
    if (!relations_.contains(row[0]) && row[1] != "pg_toast" && row[3] != "i" && row[3] != "I")
      out.created.push_back(row[2]);
  }
  for (const auto& [oid, relation] : relations_)
    if (relation.is_itself && !left.contains(oid)) out.dropped.push_back({relation.schema, relation.name});
  out.has_advisory_lock =
      !server_.query("SELECT 1 FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'").empty();
  const std::string now = settings();
  out.has_setting = now.substr(0, now.find(' ')) != settings_before_.substr(0, settings_before_.find(' '));
  out.has_handle = now.substr(now.find(' ')) != settings_before_.substr(settings_before_.find(' '));
  return out;
}

}  // namespace gatehouse::test
