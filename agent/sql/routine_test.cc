// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/routine.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/sql_facts.h"

namespace gatehouse::sql {
namespace {

struct Case {
  std::string_view body, want;
};

constexpr Case kPlpgsql[] = {
    {"BEGIN DELETE FROM t; END", "; delete; relation t [delete]; all rows"},
    {"BEGIN NULL; END;", ""},
    {"<<a>> DECLARE x int := f(1); y CONSTANT text DEFAULT g(); BEGIN x := h(x); END a",
     "; unknown; ?.x [read]; "
     "f(unknown); g(unknown); h(unknown)"},
    {"DECLARE r record; BEGIN SELECT a, b INTO STRICT r FROM t WHERE c = 1; RETURN r.a; END",
     "; read; relation t [read] filtered; t.a [read]; t.b [read]; t.c [read]; ?.a [read]"},
    {"DECLARE x int; y int; BEGIN INSERT INTO t VALUES (1) RETURNING a, b INTO x, y; END",
     "; read insert; relation t [read insert] filtered; t.* [insert]; t.a [read]; t.b [read]"},
    {"BEGIN IF EXISTS (SELECT 1 FROM a) THEN UPDATE b SET x = 1; ELSIF f() THEN NULL; ELSE TRUNCATE c; END IF; END",
     "; read update truncate unknown; relation a [read]; relation b [update]; relation c [truncate]; b.x [update]; "
     "f(unknown); all rows"},
    {"BEGIN CASE x WHEN 1, 2 THEN DELETE FROM a; ELSE DELETE FROM b WHERE c = 1; END CASE; END",
     "; read delete; relation a [delete]; relation b [read delete] filtered; ?.x [read]; b.c [read]; all rows"},
    {"DECLARE i int; BEGIN FOR i IN REVERSE 10..f(1) BY 2 LOOP PERFORM g(i); END LOOP; END",
     "; unknown; ?.i [read]; f(unknown); g(unknown)"},
    {"DECLARE n int; BEGIN FOR i IN 1 .. n LOOP EXIT WHEN i > 3; CONTINUE; END LOOP; END", "; ?.n [read]; ?.i [read]"},
    {"DECLARE r record; BEGIN FOR r IN SELECT a FROM t LOOP RAISE NOTICE 'x % %', f(r.a), 1 USING HINT = g(); END "
     "LOOP; END",
     "; read unknown; relation t [read]; t.a [read]; ?.a [read]; f(unknown); g(unknown); all rows"},
    {"DECLARE c CURSOR (k int) FOR SELECT a FROM t WHERE b = k; BEGIN FOR r IN c (f()) LOOP NULL; END LOOP; END",
     "; read unknown; relation t [read] filtered; t.a [read]; t.b [read]; t.k [read]; pg_catalog.concat(harmless); "
     "f(unknown)"},
    {"DECLARE x int; BEGIN WHILE x < 3 LOOP x := x + 1; END LOOP; FOREACH x IN ARRAY f() LOOP NULL; END LOOP; END",
     "; unknown; ?.x [read]; f(unknown)"},
    {"BEGIN EXECUTE 'DELETE FROM t'; END", "; delete; relation t [delete]; all rows"},
    {"BEGIN EXECUTE $x$DELETE FROM t WHERE a = $1$x$ USING f(1); END",
     "; read delete unknown; relation t [read delete] filtered; t.a [read]; f(unknown)"},
    {"DECLARE x int; BEGIN EXECUTE 'DELETE FROM ' || quote_ident('t') INTO x USING 1; END",
     "; run-text unknown; quote_ident(harmless)"},
    {"DECLARE r record; BEGIN FOR r IN EXECUTE 'SELECT a FROM t' LOOP DELETE FROM u; END LOOP; END",
     "; read delete; relation t [read]; relation u [delete]; t.a [read]; all rows"},
    {"BEGIN RETURN QUERY SELECT a FROM t; RETURN QUERY EXECUTE 'SELECT b FROM u'; RETURN NEXT f(); END",
     "; read unknown; relation t [read]; relation u [read]; t.a [read]; u.b [read]; f(unknown); all rows"},
    {"BEGIN BEGIN DELETE FROM t; EXCEPTION WHEN division_by_zero OR SQLSTATE '22012' THEN DELETE FROM u; END; END",
     "; delete; relation t [delete]; relation u [delete]; all rows"},
    {"DECLARE c refcursor; BEGIN OPEN c FOR SELECT * FROM t; FETCH NEXT FROM c INTO x; MOVE c; CLOSE c; OPEN c FOR "
     "EXECUTE 'TABLE u'; END",
     "; read; relation t [read]; relation u [read]; t.* [read]; u.* [read]; all rows"},
    {"DECLARE a int[]; BEGIN a[f(1)] := 2; NEW.x = g(); GET DIAGNOSTICS x = ROW_COUNT; ASSERT h(), 'x'; END",
     "; unknown; ?.a [read]; f(unknown); g(unknown); h(unknown)"},
    {"DECLARE a t.x%TYPE; b t%ROWTYPE; c d; BEGIN CALL p(1); COMMIT; END",
     "; transaction run-code unknown; p(unknown)"},
    {"#variable_conflict use_column\nBEGIN SELECT 1 INTO x; END", ""},
    {"BEGIN RAISE EXCEPTION USING MESSAGE = f(), DETAIL = 'x'; RAISE division_by_zero; RAISE; END",
     "; unknown; f(unknown)"},
    {"BEGIN DELETE FROM t WHERE a IN (SELECT CASE WHEN x THEN 1 ELSE 2 END FROM u); END",
     "; read delete; relation t [read delete] filtered; relation u [read]; t.a [read]; ?.x [read]"},
};

TEST(SqlRoutine, Plpgsql) {
  for (const Case& c : kPlpgsql) {
    Statement got;
    RoutineReader reader;
    ASSERT_TRUE(reader.read("plpgsql", c.body, got));
    got.verbs.clear();
    EXPECT_EQ(test::describe(got), c.want) << c.body;
    EXPECT_FALSE(got.unknown.has(UnknownReason::kCode)) << c.body;
  }
}

// What is cut off anywhere is not understood, and that is said, unless it is whole by chance.
TEST(SqlRoutine, CutOffIsUnknown) {
  for (const Case& c : kPlpgsql)
    for (size_t size = 0; size + 4 < c.body.size(); ++size) {
      Statement got;
      RoutineReader reader;
      reader.read("plpgsql", c.body.substr(0, size), got);
      EXPECT_TRUE(got.unknown.has(UnknownReason::kCode)) << c.body.substr(0, size);
    }
}

TEST(SqlRoutine, OtherLanguages) {
  RoutineReader reader;
  Statement sql, body, none;
  EXPECT_TRUE(reader.read("sql", "DELETE FROM t WHERE a = $1; SELECT 1", sql));
  EXPECT_EQ(test::describe(sql), " (DELETE SELECT); read delete; relation t [read delete] filtered; t.a [read]");
  reader.read_sql_body("BEGIN ATOMIC\n DELETE FROM s.t;\n SELECT CASE WHEN true THEN 1 END;\nEND", body);
  reader.read_sql_body("RETURN f(1)", body);
  EXPECT_EQ(test::describe(body), " (DELETE SELECT); delete unknown; relation s.t [delete]; f(unknown); all rows");
  EXPECT_FALSE(reader.read("plpython3u", "x", none));
}

// With standard_conforming_strings off the quote behind the backslash does not end the literal.
TEST(SqlRoutine, BodiesAreReadInBothModes) {
  RoutineReader reader;
  Statement got;
  EXPECT_TRUE(reader.read("sql", R"(SELECT 'a\' ; DELETE FROM t; --'; DELETE FROM u)", got));
  EXPECT_EQ(got.objects.size(), 2U);
}

TEST(SqlRoutine, PiecesHaveALimit) {
  std::string body = "BEGIN ";
  for (size_t i = 0; i < kRoutinePiecesMax; ++i) body += "x:=1;";
  Statement whole, too_many;
  RoutineReader reader;
  reader.read("plpgsql", body + "END", whole);
  EXPECT_TRUE(whole.unknown.empty());
  reader.read("plpgsql", body + "x:=1; END", too_many);
  EXPECT_TRUE(too_many.unknown.has(UnknownReason::kCode));
}

TEST(SqlRoutine, RoutinesInRoutinesHaveALimit) {
  std::string body = "DELETE FROM t";
  for (size_t i = 0; i < kRoutineDepthMax + 1; ++i) {
    const std::string tag = "$q" + std::to_string(i) + "$";
    body.insert(0, "DO " + tag + "BEGIN ");
    body += "; END" + tag;
  }
  Statement got;
  RoutineReader reader;
  reader.read("sql", body, got);
  EXPECT_TRUE(got.unknown.has(UnknownReason::kCode));
}

}  // namespace
}  // namespace gatehouse::sql
