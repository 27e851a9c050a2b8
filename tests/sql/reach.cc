// SPDX-License-Identifier: Apache-2.0
#include "tests/sql/reach.h"

#include <string_view>

namespace gatehouse::test {
namespace {

using Words = const std::string_view[];

// What is called writes s1.log, so that each call is seen.
constexpr const char* kFixture = R"(
CREATE TABLE s1.log (id serial PRIMARY KEY, what text, at timestamptz DEFAULT now());
CREATE TABLE s1.other (id int PRIMARY KEY, a int, b int, c text);
INSERT INTO s1.other SELECT * FROM t1;
CREATE FUNCTION s1.note(w text) RETURNS int LANGUAGE plpgsql AS
  'BEGIN INSERT INTO s1.log (what) VALUES (w); RETURN 1; END';

CREATE FUNCTION checked(x int) RETURNS bool LANGUAGE sql AS 'SELECT s1.note(''check'') = 1';
CREATE FUNCTION indexed(x int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
  'BEGIN PERFORM s1.note(''index''); RETURN x; END';
CREATE TABLE d1 (id int PRIMARY KEY, a int DEFAULT s1.note('default'), b int, c text);
INSERT INTO d1 SELECT * FROM t1;
CREATE TABLE d2 (id int PRIMARY KEY REFERENCES t1 ON DELETE CASCADE ON UPDATE CASCADE, a int CHECK (checked(a)), b int,
                 c text, k int REFERENCES t2 ON DELETE SET NULL);
INSERT INTO d2 SELECT id, a, b, c, id FROM t1;
CREATE TABLE d3 (id int PRIMARY KEY, a int, b int, c text);
INSERT INTO d3 SELECT * FROM t1;
CREATE FUNCTION on_insert() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN IF new.a > 1 THEN INSERT INTO s1.log (what) VALUES (new.c); END IF; RETURN new; END';
CREATE FUNCTION on_delete() RETURNS trigger LANGUAGE plpgsql AS
  'DECLARE r record; BEGIN FOR r IN SELECT id FROM t3 WHERE id < 3 LOOP UPDATE s1.other SET a = 1 WHERE id = r.id;
   END LOOP; RETURN NULL; END';
CREATE FUNCTION on_update() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN EXECUTE ''DELETE FROM s1.other WHERE id = 5''; RETURN new; END';
CREATE TRIGGER g1 BEFORE INSERT ON d3 FOR EACH ROW EXECUTE FUNCTION on_insert();
CREATE TRIGGER g2 AFTER DELETE ON d3 FOR EACH STATEMENT EXECUTE FUNCTION on_delete();
CREATE TRIGGER g3 BEFORE UPDATE ON d3 FOR EACH ROW WHEN (s1.note('when') = 1) EXECUTE FUNCTION on_update();
CREATE TRIGGER g4 AFTER TRUNCATE ON d3 FOR EACH STATEMENT EXECUTE FUNCTION on_delete();
CREATE TABLE d4 (id int PRIMARY KEY, a int, b int, c text);
INSERT INTO d4 SELECT * FROM t1;
CREATE RULE r1 AS ON INSERT TO d4 DO ALSO UPDATE s1.other SET b = new.b WHERE id = new.id;
CREATE RULE r2 AS ON DELETE TO d4 DO INSTEAD UPDATE d4 SET a = s1.note('rule') WHERE id = old.id;
CREATE RULE r3 AS ON UPDATE TO d4 WHERE new.a = 5 DO INSTEAD NOTHING;

CREATE FUNCTION domain_ok(x int) RETURNS bool LANGUAGE plpgsql AS
  'BEGIN RETURN s1.note(''domain'') = 1; END';
CREATE DOMAIN dom AS int CHECK (domain_ok(VALUE));
CREATE TABLE d5 (id int PRIMARY KEY, a dom, b int, c text);
INSERT INTO d5 SELECT * FROM t1;
CREATE TABLE d6 (id int PRIMARY KEY, a int, b int, c text);
INSERT INTO d6 SELECT * FROM t1;
CREATE INDEX ON d6 (indexed(a));
CREATE TABLE d7 (id int PRIMARY KEY, a int, b int, c text, g int GENERATED ALWAYS AS (indexed(1)) STORED);
CREATE TABLE d8 (id int PRIMARY KEY, a int, b int, c text);
INSERT INTO d8 SELECT * FROM t1;
ALTER TABLE d8 ENABLE ROW LEVEL SECURITY;
CREATE POLICY y1 ON d8 USING (a IN (SELECT a FROM s1.other) AND s1.note('policy') = 1);

CREATE TABLE i1 (id int, a int, b int, c text);
CREATE TABLE i2 () INHERITS (i1);
INSERT INTO i1 SELECT * FROM t1 WHERE id < 10; INSERT INTO i2 SELECT * FROM t1 WHERE id >= 10;
CREATE TRIGGER g5 BEFORE DELETE ON i2 FOR EACH ROW EXECUTE FUNCTION on_update();
CREATE TABLE q (id int, a int, b int, c text) PARTITION BY RANGE (id);
CREATE TABLE q_low PARTITION OF q FOR VALUES FROM (MINVALUE) TO (10);
CREATE TABLE q_high PARTITION OF q FOR VALUES FROM (10) TO (MAXVALUE) PARTITION BY LIST (a);
CREATE TABLE q_high0 PARTITION OF q_high FOR VALUES IN (0);
CREATE TABLE q_rest PARTITION OF q_high DEFAULT;
INSERT INTO q SELECT * FROM t1;
CREATE TRIGGER g6 AFTER INSERT ON q FOR EACH ROW EXECUTE FUNCTION on_insert();
CREATE TRIGGER g7 AFTER DELETE ON q_low FOR EACH ROW EXECUTE FUNCTION on_update();

CREATE VIEW v1 AS SELECT d1.id, d1.a, t3.b, s1.note('view')::text AS c FROM d1 JOIN t3 USING (id);
CREATE VIEW v2 AS SELECT id, a, b, c FROM v;
CREATE VIEW v3 AS SELECT * FROM d3 WHERE b IN (SELECT b FROM s1.other);
CREATE VIEW v4 AS SELECT id, a, b, c FROM t2;
CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN UPDATE s1.other SET c = ''x'' WHERE id = 1; RETURN new; END';
CREATE TRIGGER g8 INSTEAD OF INSERT OR UPDATE OR DELETE ON v4 FOR EACH ROW EXECUTE FUNCTION instead();
CREATE MATERIALIZED VIEW m2 AS SELECT id, a, b, c FROM v2;

CREATE FUNCTION f_read() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM s1.other';
CREATE FUNCTION f_twice() RETURNS bigint LANGUAGE sql AS 'SELECT f_delete() + f_read()';
CREATE FUNCTION f_body() RETURNS int BEGIN ATOMIC UPDATE s1.other SET a = 3 WHERE id = 3; SELECT a FROM t3 LIMIT 1; END;
CREATE FUNCTION f_definer() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = s1 AS
  'UPDATE t4 SET a = 9 RETURNING 1';
CREATE FUNCTION f_path() RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM other); END';
CREATE FUNCTION f_default(x int DEFAULT s1.note('argument')) RETURNS int LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION f_over(x int) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION f_over(x text) RETURNS int LANGUAGE sql AS 'DELETE FROM t3 RETURNING 1';
CREATE FUNCTION f_over(x int, y int) RETURNS int LANGUAGE sql AS 'DELETE FROM t2 RETURNING 1';
CREATE FUNCTION f_field(x t1) RETURNS int LANGUAGE sql AS 'SELECT s1.note(''field'')';
CREATE FUNCTION f_computed(x text) RETURNS int LANGUAGE plpgsql AS
  'BEGIN EXECUTE ''DELETE FROM '' || x; RETURN 1; END';
CREATE FUNCTION f_loop(n int) RETURNS int LANGUAGE plpgsql AS
  'DECLARE c CURSOR FOR SELECT id FROM t2; x dom; BEGIN FOR r IN c LOOP x := r.id; EXIT; END LOOP;
   IF n > 0 THEN RETURN f_loop(n - 1); END IF; RETURN 0; END';
CREATE FUNCTION f_set() RETURNS text LANGUAGE sql AS $$SELECT set_config('work_mem', '9MB', true)$$;
CREATE FUNCTION f_lock() RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(7); LOCK TABLE t3; END';
CREATE FUNCTION f_make() RETURNS void LANGUAGE plpgsql AS 'BEGIN CREATE TABLE made (a int); END';
CREATE FUNCTION f_rows() RETURNS SETOF t2 LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT * FROM v; END';
CREATE PROCEDURE p_call(n int) LANGUAGE plpgsql AS 'BEGIN CALL r_delete(); PERFORM f_read(); END';
CREATE FUNCTION op_write(a int, b int) RETURNS bool LANGUAGE sql AS 'SELECT s1.note(''operator'') = 1';
CREATE OPERATOR ### (LEFTARG = int, RIGHTARG = int, FUNCTION = op_write);
CREATE TYPE pair AS (x int, y int);
CREATE FUNCTION pair_to_int(p pair) RETURNS int LANGUAGE sql AS 'SELECT s1.note(''cast'')';
CREATE CAST (pair AS int) WITH FUNCTION pair_to_int(pair) AS IMPLICIT;
CREATE FUNCTION pair_less(a pair, b pair) RETURNS bool LANGUAGE sql AS 'SELECT s1.note(''less'') = 1';
CREATE OPERATOR < (LEFTARG = pair, RIGHTARG = pair, FUNCTION = pair_less);
CREATE FUNCTION step(s int, x int) RETURNS int LANGUAGE sql AS 'SELECT s + s1.note(''step'')';
CREATE AGGREGATE summed(int) (sfunc = step, stype = int, initcond = '0');
CREATE FUNCTION abs(text) RETURNS int LANGUAGE sql AS 'SELECT s1.note(''abs'')';
CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN PERFORM s1.note(''ddl''); END';
CREATE EVENT TRIGGER e1 ON ddl_command_start EXECUTE FUNCTION on_ddl();
DO 'BEGIN CREATE ROLE reach_user; EXCEPTION WHEN duplicate_object THEN NULL; END';
GRANT ALL ON SCHEMA public, s1 TO reach_user; GRANT ALL ON ALL TABLES IN SCHEMA public, s1 TO reach_user;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public, s1 TO reach_user;
ANALYZE)";

}  // namespace

void make_reaching_fixture(Server& server) {
  server.query("DROP EVENT TRIGGER IF EXISTS e1");
  server.query(kFixture);
}

std::string ReachMaker::table() {
  static constexpr Words kTables = {"d1",     "d2", "d3", "d4", "d5", "d6", "d8", "i1", "i2",       "q",       "q_low",
                                    "q_high", "v1", "v2", "v3", "v4", "m2", "t1", "t2", "s1.other", "f_rows()"};
  return std::string(dice_.pick(kTables));
}

std::string ReachMaker::value() {
  static constexpr Words kValues = {"1",
                                    "2",
                                    "a",
                                    "b",
                                    "f_read()::int",
                                    "f_twice()::int",
                                    "f_body()",
                                    "f_definer()",
                                    "f_default()",
                                    "f_default(1)",
                                    "f_over(1)",
                                    "f_over('1'::text)",
                                    "f_over(1, 2)",
                                    "f_loop(2)",
                                    "f_set()::text::int",
                                    "s1.note('x')",
                                    "abs('1'::text)",
                                    "abs(-1)",
                                    "ROW(1, 2)::pair + 1",
                                    "(ROW(1, 2)::pair)::int",
                                    "1::dom",
                                    "(SELECT summed(a) FROM t2)",
                                    "(SELECT max(a) FROM v1)",
                                    "q.f_field",
                                    "(SELECT x.f_field FROM t1 x LIMIT 1)",
                                    "(SELECT (x).f_field FROM t1 x LIMIT 1)",
                                    "nextval('q1')::int",
                                    "length(f_computed('t1')::text)",
                                    "(SELECT count(*) FROM (SELECT ROW(a, b)::pair p FROM t1) s WHERE p < p)::int",
                                    "CASE WHEN a ### b THEN 1 ELSE 2 END",
                                    "(1 ### 2)::int",
                                    "f_path()::int"};
  return std::string(dice_.pick(kValues));
}

std::string ReachMaker::condition() {
  switch (dice_.below(7)) {
    case 0:
      return "id = 3";
    case 1:
      return "id < " + value();
    case 2:
      return "a ### b";
    case 3:
      return "true";
    case 4:
      return "id IN (SELECT id FROM " + table() + ")";
    case 5:
      return value() + " > 0";
    default:
      return "id > 5";
  }
}

std::string ReachMaker::query() {
  std::string out = "SELECT " + std::string(dice_.one_in(2) ? "*" : "id, " + value() + " AS a") + " FROM " + table();
  if (dice_.one_in(4)) out += " x JOIN " + table() + " y USING (id)";
  if (!dice_.one_in(3)) out += " WHERE " + condition();
  if (dice_.one_in(4)) out += " ORDER BY 1";
  if (dice_.one_in(4)) out += " LIMIT 2";
  if (dice_.one_in(8)) out += " FOR UPDATE";
  return out;
}

std::string ReachMaker::change() {
  switch (dice_.below(5)) {
    case 0:
      return "INSERT INTO " + table() + " (id, b, c) VALUES (" + std::to_string(100 + dice_.below(50)) + ", " +
             value() + ", 'x')" + (dice_.one_in(3) ? " ON CONFLICT DO NOTHING" : "");
    case 1:
      return "INSERT INTO " + table() + " (id, a, b, c) SELECT id + 200, 2, b, 'x' FROM " + table() + " WHERE " +
             condition();
    case 2:
      return "UPDATE " + table() + " SET " +
             std::string(dice_.one_in(3)   ? "a"
                         : dice_.one_in(2) ? "b"
                                           : "id") +
             " = " + (dice_.one_in(2) ? value() : "id + 20") + " WHERE " + condition();
    case 3:
      return "MERGE INTO " + table() + " m USING t2 n ON m.id = n.id WHEN MATCHED THEN " +
             (dice_.one_in(2) ? "DELETE" : "UPDATE SET a = n.b") +
             " WHEN NOT MATCHED THEN INSERT (id, a) VALUES (n.id, 3)";
    default:
      return "DELETE FROM " + table() + " WHERE " + condition();
  }
}

std::string ReachMaker::statement() {
  static constexpr Words kOthers = {
      "TRUNCATE t1 CASCADE",
      "TRUNCATE d3",
      "TRUNCATE s1.log RESTART IDENTITY",
      "REFRESH MATERIALIZED VIEW m2",
      "REINDEX TABLE d6",
      "REINDEX INDEX d6_indexed_idx",
      "ANALYZE d6",
      "CREATE INDEX ON d1 (indexed(a))",
      "CLUSTER d6 USING d6_pkey",
      "ALTER TABLE d6 ADD COLUMN z int DEFAULT s1.note('new')",
      "ALTER TABLE d2 ALTER COLUMN b TYPE bigint",
      "ALTER TABLE d1 ADD CONSTRAINT z CHECK (checked(b))",
      "DROP TABLE d2",
      "DROP TABLE q",
      "DROP TABLE s1.log",
      "DROP VIEW v3",
      "CREATE TABLE n1 (LIKE d1 INCLUDING ALL)",
      "CREATE TABLE n1 AS SELECT * FROM v1",
      "CREATE TABLE n1 (a int); INSERT INTO n1 VALUES (1)",
      "CREATE VIEW n1 AS SELECT * FROM v1; SELECT * FROM n1",
      "CREATE FUNCTION n1() RETURNS int LANGUAGE sql AS 'DELETE FROM t2 RETURNING 1'; SELECT n1()",
      "CALL p_call(1)",
      "DO 'BEGIN PERFORM f_twice(); END'",
      "DO 'DECLARE x dom; BEGIN x := 1; INSERT INTO d3 VALUES (500, 2, 1, ''x''); END'",
      "DO 'BEGIN EXECUTE format(''DELETE FROM %I'', ''t1''); END'",
      "SELECT f_lock()",
      "SELECT f_make()",
      "SELECT f_computed('t2')",
      "SET LOCAL search_path = s1, public; SELECT f_path(), count(*) FROM other",
      "SET LOCAL search_path = s1, public; DELETE FROM other",
      "SET LOCAL search_path = s1; SELECT public.f_path()",
      "SET LOCAL ROLE reach_user; SELECT * FROM d8",
      "SET LOCAL ROLE reach_user; UPDATE d8 SET a = 1",
      "SET LOCAL ROLE reach_user; DELETE FROM v3",
      "SELECT set_config('search_path', 's1', true); SELECT * FROM other",
      "EXPLAIN SELECT * FROM v1",
      "EXPLAIN ANALYZE DELETE FROM d3",
      "PREPARE x1 AS DELETE FROM d3; EXECUTE x1",
      "DECLARE k1 CURSOR FOR SELECT * FROM v1; FETCH 2 FROM k1",
      "COPY (SELECT * FROM v1) TO STDOUT",
      "COPY d3 FROM STDIN",
      "LOCK TABLE v3",
      "SELECT * FROM d3, LATERAL (SELECT f_over(d3.c)) x",
      "GRANT SELECT ON d1 TO reach_user",
      "COMMENT ON TABLE d1 IS 'x'",
  };
  switch (dice_.below(6)) {
    case 0:
    case 1:
      return query();
    case 2:
    case 3:
      return change();
    case 4:
      return "WITH w AS (" + change() + " RETURNING *) " + query();
    default:
      return std::string(dice_.pick(kOthers));
  }
}

}  // namespace gatehouse::test
