// SPDX-License-Identifier: Apache-2.0
#include "tests/support/sql_statements.h"

#include <array>

#include "agent/sql/lexer.h"

namespace gatehouse::test {
namespace {

using Words = std::string_view[];

}  // namespace

// Tables that the server test makes: each has id, a, b (integers) and c (text); p is partitioned, v is a view.
std::string StatementMaker::table() {
  static constexpr Words kTables = {"t1", "t2",     "t3", "s1.t4",         "public.t1",          "ONLY t2", "p",
                                    "v",  "\"t1\"", "T3", "U&\"t\\0033\"", "postgres.public.t2", "p1"};
  return std::string(dice_.pick(kTables));
}

std::string StatementMaker::column() {
  static constexpr Words kColumns = {"id", "a", "b", "id", "a"};
  return std::string(dice_.pick(kColumns));
}

std::string StatementMaker::constant() {
  static constexpr Words kConstants = {"1", "0", "2", "17", "1", "-1", "100000", "1.5", "null", "5"};
  return std::string(dice_.pick(kConstants));
}

std::string StatementMaker::expression(size_t depth) {
  switch (dice_.below(depth == 0 ? 3 : 14)) {
    case 0:
    case 1:
      return column();
    case 11:
      return "(SELECT sum(id) FROM (TABLE t1) q" + std::to_string(++alias_) + ")::int";
    case 12:
      return "(VALUES ((SELECT min(a) FROM " + table() + ")))";
    case 13:
      return "(ARRAY(SELECT a FROM " + table() + "))[1]";
    case 2:
      return constant();
    case 3:
      return expression(depth - 1) + " + " + expression(depth - 1);
    case 4:
      return "coalesce(" + expression(depth - 1) + ", " + constant() + ")";
    case 5:
      return "(SELECT max(" + column() + ") FROM " + table() + " WHERE " + condition(depth - 1) + ")";
    case 6:
      return "CASE WHEN " + condition(depth - 1) + " THEN " + constant() + " ELSE " + expression(depth - 1) + " END";
    case 7:
      return "abs(" + expression(depth - 1) + ")";
    case 8:
      return "(SELECT count(*) FROM (" + query(depth - 1) + ") q" + std::to_string(++alias_) + ")::int";
    case 9:
      return "nextval('q1')::int";
    default:
      return "(" + expression(depth - 1) + ")::int";
  }
}

std::string StatementMaker::condition(size_t depth) {
  static constexpr Words kOperators = {"=", "<", ">", "<=", "<>", "="};
  switch (dice_.below(depth == 0 ? 6 : 13)) {
    case 0:
    case 1:
      return column() + " = " + constant();
    case 2:
      return "true";
    case 3:
      return constant() + " = " + constant();
    case 4:
      return column() + " IS NOT NULL";
    case 5:
      return "c LIKE '" + std::string(dice_.one_in(2) ? "%" : "x%") + "'";
    case 6:
      return expression(depth - 1) + " " + std::string(dice_.pick(kOperators)) + " " + expression(depth - 1);
    case 7:
      return "(" + condition(depth - 1) + " OR " + condition(depth - 1) + ")";
    case 8:
      return condition(depth - 1) + " AND " + condition(depth - 1);
    case 9:
      return "NOT (" + condition(depth - 1) + ")";
    case 10:
      return "EXISTS (" + query(depth - 1) + ")";
    case 11:
      return column() + " IN (SELECT " + column() + " FROM " + table() + ")";
    default:
      return column() + " BETWEEN " + constant() + " AND " + expression(depth - 1);
  }
}

std::string StatementMaker::from(size_t depth) {
  const std::string alias = "x" + std::to_string(++alias_);
  switch (dice_.below(depth == 0 ? 3 : 7)) {
    case 0:
    case 1:
    case 2:
      return table() + " " + alias;
    case 3:
      return "(" + query(depth - 1) + ") " + alias;
    case 4:
      return table() + " " + alias + " NATURAL JOIN " + table() + " y" + std::to_string(alias_);
    case 5:
      return "LATERAL (SELECT id, a, b, c FROM " + table() + " WHERE " + condition(depth - 1) + ") " + alias;
    default:
      return "(SELECT id, a, b, c FROM " + table() + ") " + alias;
  }
}

std::string StatementMaker::select(size_t depth) {
  std::string out = "SELECT id, a, b, c";
  if (depth > 0 && dice_.one_in(3)) out = "SELECT " + expression(depth - 1) + " AS id, a, b, c";
  out += " FROM " + from(depth);
  if (!dice_.one_in(3)) out += " WHERE " + condition(depth);
  if (dice_.one_in(8)) out += " ORDER BY 1";
  if (dice_.one_in(5)) out += " LIMIT " + std::to_string(dice_.below(5));
  if (dice_.one_in(8)) out += dice_.one_in(2) ? " FOR UPDATE" : " FOR KEY SHARE";
  return out;
}

std::string StatementMaker::query(size_t depth) {
  if (depth == 0 || !dice_.one_in(5)) return select(depth);
  static constexpr Words kOperations = {" UNION ALL ", " UNION ", " EXCEPT ", " INTERSECT "};
  if (dice_.one_in(2))
    return "(" + select(depth - 1) + ")" + std::string(dice_.pick(kOperations)) + "(" + select(depth - 1) + ")";
  // A name that hides a table's, or does not.
  const std::string name = dice_.one_in(3) ? "t1" : "w" + std::to_string(++alias_);
  if (dice_.one_in(4))
    return "WITH RECURSIVE " + name + " AS (SELECT id, a, b, c FROM t2 UNION SELECT id + 1, a, b, c FROM " + name +
           " WHERE id < 3) SELECT id, a, b, c FROM " + name;
  return "WITH " + name + " AS (" + select(depth - 1) + ") SELECT id, a, b, c FROM " + name;
}

std::string StatementMaker::returning() {
  return dice_.one_in(2) ? " RETURNING id, a, b, c" : " RETURNING *";
}

std::string StatementMaker::insert(size_t depth) {
  std::string out = "INSERT INTO " + std::string(dice_.one_in(3) ? "s1.t4" : dice_.one_in(3) ? "p" : "t1");
  if (dice_.one_in(2))
    out += " (id, a, b, c) VALUES (" + constant() + " + 1, 3, 4, 'x')";
  else
    out += " (id, a, b, c) " + query(depth);
  if (dice_.one_in(3))
    out += " ON CONFLICT DO NOTHING";
  else if (dice_.one_in(3))
    out += " ON CONFLICT (id) DO UPDATE SET a = excluded.a + 1";
  return out;
}

std::string StatementMaker::update(size_t depth) {
  const std::string target = dice_.one_in(4) ? "v" : dice_.one_in(4) ? "p" : "t2";
  std::string out = "UPDATE " + target + " SET a = " + constant() + " + 1";
  if (depth > 0 && dice_.one_in(3)) out += ", b = (SELECT max(a) FROM " + table() + ")";
  if (dice_.one_in(4)) return out + " FROM t3 z WHERE z.id = " + target + ".id";
  if (!dice_.one_in(3)) out += " WHERE " + condition(depth);
  return out;
}

std::string StatementMaker::erase(size_t depth) {
  std::string out = "DELETE FROM " + std::string(dice_.one_in(4) ? "p" : dice_.one_in(3) ? "s1.t4" : "t3");
  if (dice_.one_in(5)) out = "WITH t3 AS (SELECT 1) " + out;
  if (dice_.one_in(4))
    out += " USING t1 z WHERE z.id = 3";
  else if (!dice_.one_in(3))
    out += " WHERE " + condition(depth);
  return out;
}

std::string StatementMaker::merge(size_t depth) {
  std::string out =
      "MERGE INTO t1 m USING " + std::string(dice_.one_in(2) ? "t2" : "(" + select(depth) + ")") + " n ON ";
  out += dice_.one_in(4) ? "n.id = m.id AND true" : "n.id = m.id";
  if (dice_.one_in(2)) out += " WHEN MATCHED AND m.a > 1 THEN DELETE";
  out += dice_.one_in(2) ? " WHEN MATCHED THEN UPDATE SET a = n.b" : " WHEN MATCHED THEN DO NOTHING";
  if (dice_.one_in(2)) out += " WHEN NOT MATCHED THEN INSERT (id, a) VALUES (n.id + 1000, 1)";
  return out;
}

std::string StatementMaker::change(size_t depth) {
  switch (dice_.below(3)) {
    case 0:
      return insert(depth);
    case 1:
      return update(depth);
    default:
      return erase(depth);
  }
}

// A change in a WITH happens whether its rows are asked for or not.
std::string StatementMaker::with(size_t depth, const std::string& body) {
  const std::string name = "d" + std::to_string(++alias_);
  return "WITH " + name + " AS (" + change(depth == 0 ? 0 : depth - 1) + returning() + ") " + body;
}

std::string StatementMaker::utility() {
  static constexpr Words kOthers = {
      "TRUNCATE t1",
      "TRUNCATE t2, s1.t4",
      "LOCK TABLE t3 IN SHARE MODE",
      "LOCK TABLE t1, s1.t4 IN ROW EXCLUSIVE MODE",
      "ANALYZE t1",
      "CREATE INDEX ON t1 (a)",
      "CREATE INDEX i9 ON s1.t4 ((abs(a)))",
      "ALTER TABLE t1 ADD COLUMN z int DEFAULT 3",
      "ALTER TABLE t2 ENABLE ROW LEVEL SECURITY",
      "ALTER TABLE t3 RENAME COLUMN a TO aa",
      "ALTER TABLE t1 RENAME TO t9",
      "ALTER TABLE t1 ADD FOREIGN KEY (a) REFERENCES t2 (id)",
      "ALTER TABLE t1 ALTER COLUMN b TYPE bigint",
      "DROP TABLE t3",
      "DROP INDEX t1_pkey",
      "DROP VIEW v",
      "CREATE TABLE n1 (LIKE t1 INCLUDING ALL)",
      "CREATE TABLE n2 (id int) INHERITS (t2)",
      "CREATE TABLE n3 (id int REFERENCES t2)",
      "CREATE TABLE p9 PARTITION OF p FOR VALUES FROM (5000) TO (6000)",
      "CREATE VIEW v9 AS SELECT * FROM t1",
      "CREATE RULE r9 AS ON INSERT TO t3 DO ALSO DELETE FROM s1.t4",
      "CREATE SEQUENCE q9",
      "CREATE POLICY y9 ON t1 USING (a = 1)",
      "CREATE STATISTICS z9 ON a, b FROM t1",
      "GRANT SELECT ON t1 TO PUBLIC",
      "GRANT ALL ON ALL TABLES IN SCHEMA s1 TO PUBLIC",
      "COMMENT ON TABLE t2 IS 'x'",
      "COMMENT ON COLUMN s1.t4.a IS 'x'",
      "REFRESH MATERIALIZED VIEW m1",
      "REINDEX TABLE t1",
      "CLUSTER t1 USING t1_pkey",
      "SELECT set_config('work_mem', '8MB', true)",
      "SET LOCAL work_mem = '8MB'",
      "SELECT nextval('q1'), currval('q1')",
      "SELECT setval('q1', 5)",
      "SELECT pg_advisory_xact_lock(1)",
      "COPY t1 TO STDOUT",
      "COPY s1.t4 (a, b) TO STDOUT",
      "COPY v TO STDOUT",
      "SELECT f_delete()",
      "SELECT f_delete() FROM t1 LIMIT 1",
      "SELECT pg_total_relation_size('t1')",
      "SELECT query_to_xml('SELECT * FROM t1', true, true, '')",
      "SELECT table_to_xml('s1.t4', true, true, '')",
      "DO 'BEGIN DELETE FROM t1; END'",
      "DO 'BEGIN EXECUTE ''DELETE FROM t2''; END'",
      "CALL r_delete()",
      "CREATE DOMAIN d9 AS int",
      "CREATE TRIGGER g9 BEFORE INSERT ON t1 FOR EACH ROW EXECUTE FUNCTION g_nothing()",
      "DROP TRIGGER g1 ON t3",
      "CREATE FUNCTION n9() RETURNS int LANGUAGE sql AS 'DELETE FROM t1 RETURNING 1'",
      "CREATE PROCEDURE n8() BEGIN ATOMIC DELETE FROM t1; UPDATE t2 SET a = 1; END",
      "CREATE SCHEMA n7 CREATE TABLE n6 (a int) CREATE VIEW n5 AS SELECT * FROM t1",
  };
  return std::string(dice_.pick(kOthers));
}

std::string StatementMaker::statement() {
  constexpr size_t kDepth = 2;
  alias_ = 0;
  switch (dice_.below(14)) {
    case 0:
    case 1:
      return query(kDepth);
    case 2:
      return insert(1) + (dice_.one_in(2) ? returning() : "");
    case 3:
      return update(1) + (dice_.one_in(2) ? returning() : "");
    case 4:
      return erase(1) + (dice_.one_in(2) ? returning() : "");
    case 5:
      return merge(1);
    case 6:
      return with(1, select(1));
    case 7:
      return with(1, change(1));
    case 8:
      return (dice_.one_in(2) ? "EXPLAIN " : "EXPLAIN (ANALYZE, COSTS off) ") +
             (dice_.one_in(2) ? change(1) : query(1));
    case 9:
      return "COPY (" + (dice_.one_in(2) ? change(1) + returning() : query(1)) + ") TO STDOUT";
    case 10:
      return (dice_.one_in(2) ? "CREATE TABLE n1 AS " : "CREATE MATERIALIZED VIEW n2 AS ") + query(1);
    case 11:
      if (dice_.one_in(2)) return "SELECT id, a INTO n4 FROM " + from(1);
      return "PREPARE x1 AS " + change(1) + (dice_.one_in(2) ? "; EXECUTE x1" : "");
    case 12:
      return "DECLARE k1 CURSOR FOR " + query(1) + (dice_.one_in(2) ? "; FETCH 2 FROM k1" : "");
    default:
      return utility();
  }
}

std::string StatementMaker::with_other_values(std::string_view text) {
  static constexpr Words kStrings = {"'x'", "'%'", "''", "'a''b'", "'t1'", "'q1'", "E'\\n'", "'false'", "$$d$$"};
  static constexpr Words kNumbers = {"0", "1", "2", "17", "999999999", "1.5", "0.0"};
  std::string out;
  sql::Lexer lexer(text, {});
  size_t end = 0;
  for (sql::Token token = lexer.next(); token.kind != sql::Token::Kind::kEnd; token = lexer.next()) {
    out += text.substr(end, token.offset - end);
    end = token.offset + token.text.size();
    const bool is_string = token.kind == sql::Token::Kind::kString;
    const bool is_number = token.kind == sql::Token::Kind::kNumber && token.text.front() != '$';
    if (is_string && dice_.one_in(2))
      out += dice_.pick(kStrings);
    else if (is_number && dice_.one_in(2))
      out += dice_.pick(kNumbers);
    else
      out += token.text;
  }
  return out += text.substr(end);
}

std::string StatementMaker::mutated(std::string text) {
  static constexpr Words kPieces = {
      "'",  "\"", "--", "/*",   "*/", ";", "(", ")",   "$$", "\\", " OR 1=1 ",        "E'",
      "\n", " ",  ",",  "NOT ", "::", "-", "1", "U&'", "x'", ".",  " UNION SELECT 1 "};
  if (text.empty()) return text;
  const size_t at = dice_.below(text.size());
  const size_t size = dice_.below(6);
  switch (dice_.below(5)) {
    case 0:
      return text.insert(at, dice_.pick(kPieces));
    case 1:
      return text.erase(at, size);
    case 2:
      return text.replace(at, size, dice_.pick(kPieces));
    case 3:
      return text.insert(dice_.below(text.size()), text.substr(at, size * 4));
    default:
      return text.substr(0, at);
  }
}

}  // namespace gatehouse::test
