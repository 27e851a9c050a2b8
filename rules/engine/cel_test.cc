// SPDX-License-Identifier: Apache-2.0
// What the specification's tests (cel_conformance_test.cc) do not ask: the host's records, mistakes and how they are
// told, limits, what an index is built from, and that evaluations allocate nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <thread>

#include "rules/engine/cel_code.h"
#include "rules/engine/cel_functions.h"
#include "rules/engine/cel_program.h"
#include "tests/bench/allocations.h"
#include "tests/support/cel_example.h"

namespace gatehouse::rules::cel {
namespace {

using example::Event;
using example::kSchema;

Program compiled(std::string_view text) {
  auto program = compile(text, kSchema, kDyn);
  if (!program) {
    ADD_FAILURE() << text << "\n" << program.error().offset << ": " << program.error().message;
    return *compile("false", kSchema, kDyn);
  }
  return std::move(*program);
}

// "true", "false", or the error.
std::string judged(std::string_view text, const Event& event = {}) {
  static Scratch scratch;
  const Program program = compiled(text);
  const Value result = evaluate(program, example::values_of(event), scratch);
  if (result.is_error())
    return std::to_string(result.error_offset()) + ": " + std::string(message_of(result.error_code()));
  return result.is_true() ? "true" : result.is_false() ? "false" : std::string(kind_name(result.kind()));
}

constexpr std::string_view kTrue[] = {
    R"(statement.verb in ["DELETE", "UPDATE"] && !statement.filters_rows && database.name == "shop")",
    R"(statement.verb == "DELETE" && database.labels.env == "production")",
    R"(database.labels["team"] == "billing" && "env" in database.labels)",
    R"(result.rows == 50001 && result.rows != 5.5 && result.rows in [50001] && !(result.rows in [1.5]))",
    R"(result.rows > 50000 && result.rows > 50000u && duration >= duration("5ms"))",
    R"(has(statement.verb) && !has(statement.filters_rows) && has(result.rows) && has(statement.parameters))",
    R"(has(database.labels.env) && !has(database.labels.owner))",
    R"(statement.objects.exists(o, o.schema == "payroll" && o.name.startsWith("sal")))",
    R"(statement.objects.all(o, o.schema != "pg_catalog") && size(statement.objects) == 2)",
    R"(statement.objects.map(o, o.schema + "." + o.name) == ["payroll.salaries", "public.staff"])",
    R"(statement.objects.filter(o, o.name == "staff")[0].schema == "public")",
    R"(statement.objects.exists_one(o, o.name == "staff"))",
    R"(statement.objects[1].name == "staff")",
    R"("17" in statement.parameters && statement.parameters.exists(i, p, i == 0 && p == "17"))",
    R"(database.labels.exists(key, value, key == "env" && value == "production"))",
    R"(database.labels.all(key, size(key) > 2))",
    R"(database.labels.transformMap(key, value, value + "!")["env"] == "production!")",
    R"(time.getFullYear() == 2026 && time > timestamp("2026-01-01T00:00:00Z"))",
    R"(time.getHours() >= 0 && time.getMinutes("+05:45") >= 0)",
    R"(time + duration == time - duration("-5ms"))",
    R"(string(duration) == "0.005s" && string(duration("-1.5s")) == "-1.5s")",
    R"(string(timestamp("2026-11-25T01:02:03.250+01:00")) == "2026-11-25T00:02:03.250Z")",
    R"(statement.text.matches("(?i)^delete\\s+from") && !statement.text.matches("^SELECT"))",
    R"(anything[0] == "17" && anything.size() == 2 && type(anything) == list)",
    R"("grace" in lists.dba && !("mallory" in lists.dba))",
    R"(dyn(statement).verb == "DELETE" && has(dyn(statement).verb))",
    R"(dyn(statement) == statement && [statement] != [dyn(database)])",
    R"(statement.verb in ["a", "b", "c", "d", "e", "f", "g", "h", "DELETE"])",
    R"(!(statement.verb in ["a", "b", "c", "d", "e", "f", "g", "h"]))",
    R"(!(dyn(1) in ["a", "b", "c", "d", "e", "f", "g", "h"]))",
    R"("a,b,c".split(",").join("-") == "a-b-c" && "abc".replace("", "-") == "-a-b-c-" && "añb".reverse() == "bña")",
    R"("a,b,c".split(",", 2) == ["a", "b,c"] && "añb".split("") == ["a", "ñ", "b"] && "".split(",") == [""])",
    R"("aaaa".replace("a", "b", 2) == "bbaa" && "  x ".trim() == "x" && "x".upperAscii() == "X")",
    R"([1, 2, 3].exists(a, [4, 5].exists(b, [6].exists(c, a + b + c == 13))))",
    R"(statement.verb == "DELETE" ? true : 1 / 0 == 1)",
    R"(1 / 0 == 1 || statement.verb == "DELETE")",
    R"(- -5 == 5 && !!true && -(-5) == 5)",
};

TEST(Cel, JudgesWhatTheHostLends) {
  for (const std::string_view text : kTrue) EXPECT_EQ(judged(text), "true") << text;
}

TEST(Cel, ErrorsKnowWhereTheyAre) {
  EXPECT_EQ(judged(R"(statement.objects[2].name == "x")"), "17: index out of range");
  EXPECT_EQ(judged(R"(database.labels.owner == "x")"), "16: no such key");
  EXPECT_EQ(judged("true && 1 / (size(statement.parameters) - 2) == 1"), "10: division by zero");
  EXPECT_EQ(judged("anything.owner"), "9: no such overload: a value has a type that this operation does not know");
  EXPECT_EQ(judged("anything.all(x, x)"), "16: no such overload: a value has a type that this operation does not know");
  EXPECT_EQ(judged("9223372036854775807 + size(statement.parameters) > 0"), "20: integer overflow");
}

struct Mistake {
  std::string_view text;
  size_t offset;
  std::string_view message;  // part of it
};

constexpr Mistake kMistakes[] = {
    // Names.
    {"statement.verbb == 'x'", 10, "there is no field `verbb` in `statement`; did you mean `verb`?"},
    {"statment.verb == 'x'", 0, "there is no `statment.verb`; did you mean `statement.verb`?"},
    {"result.row > 5", 0, "there is no `result.row`; did you mean `result.rows`?"},
    {"true && durations > duration('1s')", 8, "did you mean `duration`?"},
    {"statement.objects.exists(o, o.schma == 'x')", 30,
     "there is no field `schma` in `object`; did you mean `schema`?"},
    {"statement.verb.startWith('x')", 15, "there is no method `startWith`; did you mean `startsWith`?"},
    {"siz(statement.verb) > 5", 0, "there is no function `siz`; did you mean `size`?"},
    {"startsWith(statement.verb, 'x')", 0, "is written value.startsWith(…)"},
    {"statement.verb.int()", 15, "is written int(…)"},
    {"if", 0, "a word that CEL keeps for itself"},
    // Types.
    {"statement.verb == 5", 15, "`==` compares values of one type, not string and int"},
    {"statement.verb + 5 == 'x'", 15,
     "`+` takes (int, int), (uint, uint), (double, double) and others, not (string, int)"},
    {"statement.verb && true", 0, "`&&` joins conditions (bool), not string"},
    {"!statement.verb", 0, "`!` takes (bool), not (string)"},
    {"statement.verb.contains(5)", 15, "`contains` takes (string, string), not (string, int)"},
    {"result.rows ? 1 : 2", 0, "`? :` takes conditions (bool), not uint"},
    {"true ? 'a' : 1", 5, "must be of one type, not string and int"},
    {"5.size()", 2, "`size` takes"},
    {"statement.verb.name", 15, "there is no field `name` in string"},
    {"result.rows.all(x, true)", 12, "a loop goes over a list or a map, not uint"},
    {"statement.parameters.all(p, p)", 28, "this macro takes conditions (bool), not string"},
    {"{1.5: 2}", 1, "a map's key is bool, int, uint or string, not double"},
    {"statement.verb.matches(statement.text)", 33, "must be a constant"},
    {"statement.verb.matches('(')", 23, "not a regular expression of RE2: missing )"},
    {"duration > duration('5 minutes')", 20, "not a duration in h, m, s, ms, us, ns"},
    {"time > timestamp('yesterday')", 17, "not a time of the years 1 to 9999"},
    // Syntax.
    {"", 0, "ends too early"},
    {"statement.verb ==", 17, "ends too early"},
    {"statement.verb = 'x'", 15, "equality is written =="},
    {"true and false", 5, "conditions are joined by && and ||"},
    {"(true", 0, "`)` is missing"},
    {"[1, 2", 0, "`]` is missing"},
    {"[1, 2)", 5, "`]` is expected"},
    {"{1, 2}", 2, "`:` and a value are expected after a map's key"},
    {"true ? 1", 8, "`:` is expected"},
    {"statement.", 9, "a dot without a name after it"},
    {"true false", 5, "without an operator before it"},
    {"has(statement)", 0, "`has` takes a field"},
    {"[1].all(1, true)", 8, "`all` takes a variable's name here"},
    {"[1].all(x)", 4, "`all` takes a variable's name and an expression"},
    {"[1].all(x, x, true)", 4, "two variables of different names"},
    {"Statement{verb: 'x'}", 9, "messages cannot be constructed"},
    {"9223372036854775808", 0, "a number above 2^63 - 1"},
    {"-5u", 0, "never negative"},
    {"'a\\q'", 2, "no escape of CEL"},
    {"b'\\u00e9'", 2, "no escape of CEL"},
    {"statement.`a b", 10, "a quoted name is"},
    {"\xff", 0, "not UTF-8"},
};

TEST(Cel, MistakesAreToldWithPlaceAndNearestName) {
  for (const Mistake& c : kMistakes) {
    const auto program = compile(c.text, kSchema, kDyn);
    ASSERT_FALSE(program) << c.text;
    EXPECT_THAT(program.error().message, testing::HasSubstr(c.message)) << c.text;
    EXPECT_EQ(program.error().offset, c.offset) << c.text << ": " << program.error().message;
  }
}

TEST(Cel, TheTypeMustBeTheOneThatIsWanted) {
  EXPECT_TRUE(compile("statement.verb == 'x'", kSchema, kBool));
  EXPECT_TRUE(compile("anything", kSchema, kBool));
  const auto program = compile(" statement.verb", kSchema, kBool);
  ASSERT_FALSE(program);
  EXPECT_EQ(program.error().offset, 1U);
  EXPECT_EQ(program.error().message, "this is string, and must be bool");
}

std::string repeated(std::string_view text, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += text;
  return out;
}

TEST(Cel, ExpressionsHaveLimits) {
  const auto message = [](const std::string& text) {
    const auto program = compile(text, kSchema, kDyn);
    return program ? "" : program.error().message;
  };
  EXPECT_EQ(message(repeated("(", 100) + "1" + repeated(")", 100)), "");
  EXPECT_THAT(message(repeated("(", 300) + "1" + repeated(")", 300)), testing::HasSubstr("within each other"));
  EXPECT_THAT(message(repeated("[", 60'000)), testing::HasSubstr("within each other"));
  EXPECT_THAT(message("1" + repeated("+1", 300)), testing::HasSubstr("within each other"));
  EXPECT_THAT(message(repeated("true?true:", 300) + "true"), testing::HasSubstr("within each other"));
  EXPECT_THAT(message(repeated("-", 60'000)), testing::HasSubstr("ends too early"));
  EXPECT_EQ(message("true" + repeated("||true", 10'000)), "");
  EXPECT_EQ(message("[1" + repeated(",1", 4000) + "].size() == 4001"), "");
  EXPECT_THAT(message("[1" + repeated(",1", 30'000) + "]"), testing::HasSubstr("more than 4096 values"));
  EXPECT_THAT(message(repeated(" ", kExpressionBytesMax) + "1"), testing::HasSubstr("more than 65536 bytes"));
  EXPECT_THAT(message(repeated("[1].all(x, ", 9) + "true" + repeated(")", 9)), testing::HasSubstr("more than 8 loops"));
}

TEST(Cel, EvaluationsHaveLimits) {
  Event event;
  event.statement.parameters.assign(400, "a parameter");
  const std::string_view cubic =
      "statement.parameters.all(a, statement.parameters.all(b, statement.parameters.all(c, c == a)))";
  EXPECT_THAT(judged(cubic, event), testing::HasSubstr("more steps than are allowed"));
  // Nothing absorbs that.
  EXPECT_THAT(judged(std::string(cubic) + " || true", event), testing::HasSubstr("more steps"));
  EXPECT_THAT(judged("statement.parameters.exists(p, " + std::string(cubic) + " || true)", event),
              testing::HasSubstr("more steps"));
  event.statement.text.assign(1U << 20, 'x');
  EXPECT_EQ(judged("(statement.text + 'y').endsWith('y')", event), "true");
  EXPECT_THAT(judged("(statement.text + statement.text + statement.text).endsWith('y')", event),
              testing::HasSubstr("more memory than is allowed"));
  // What a turn of a loop made is given back.
  EXPECT_EQ(judged("[1, 2, 3, 4, 5].all(n, (statement.text + 'y').endsWith('y'))", event), "true");
  EXPECT_THAT(judged("[1, 2, 3, 4, 5].map(n, statement.text + 'y').size() == 5", event), testing::HasSubstr("memory"));
}

// A Scratch serves again after any end of an evaluation.
TEST(Cel, AScratchIsReused) {
  Scratch scratch(1 << 10, 100);
  Event event;
  event.statement.parameters.assign(50, "a parameter");
  const Program dear = compiled("statement.parameters.all(a, statement.parameters.all(b, a == b))");
  const Program cheap = compiled("statement.parameters.exists(p, p == 'a parameter')");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(evaluate(dear, example::values_of(event), scratch).error_code(), ErrorCode::kTooManySteps);
    EXPECT_TRUE(evaluate(cheap, example::values_of(event), scratch).is_true());
    EXPECT_EQ(scratch.steps(), 1U);
  }
}

std::vector<std::string> names(const Program& program) {
  std::vector<std::string> out;
  for (const Attribute& attribute : program.attributes()) out.push_back(attribute.name);
  return out;
}

TEST(Cel, AttributesAreListed) {
  EXPECT_THAT(names(compiled("statement.verb == 'x' && result.rows > 5 && statement.verb != database.labels.env")),
              testing::ElementsAre("statement.verb", "result.rows", "database.labels"));
  EXPECT_THAT(names(compiled("statement.objects.exists(o, o.name in lists.dba) || has(database.name)")),
              testing::ElementsAre("statement.objects", "database.name"));
  EXPECT_THAT(names(compiled("1 == 1")), testing::IsEmpty());
}

std::string guards(std::string_view text) {
  const Program program = compiled(text);
  std::string out;
  for (const Guard& guard : program.guards()) {
    for (const Equality& equality : guard.any_of) {
      out += (out.empty() ? "" : &equality == &guard.any_of.front() ? "; " : " or ") + equality.attribute.name + ":";
      for (const Value& value : equality.values) {
        out += " " + (value.is(Kind::kString) ? std::string(value.as_text())
                      : value.is(Kind::kBool) ? std::string(value.as_bool() ? "true" : "false")
                                              : std::to_string(value.as_int()));
      }
    }
  }
  return out;
}

TEST(Cel, GuardsSayWhatMustHold) {
  EXPECT_EQ(guards(R"(statement.verb in ["DELETE", "UPDATE"] && !statement.filters_rows && "shop" == database.name)"),
            "statement.verb: DELETE UPDATE; statement.filters_rows: false; database.name: shop");
  EXPECT_EQ(guards(R"(statement.verb == "A" || statement.verb in ["B", "C"])"), "statement.verb: A B C");
  EXPECT_EQ(guards(R"(statement.verb == "A" || database.name == "B")"), "statement.verb: A or database.name: B");
  EXPECT_EQ(
      guards(R"(!statement.filters_rows && statement.verb == "A" || database.name in ["B", "C"] || result.rows == 5)"),
      "statement.verb: A or database.name: B C or result.rows: 5");
  EXPECT_EQ(guards(R"((statement.verb == "A" || database.name == "B") && (statement.verb == "C" || result.rows == 5))"),
            "statement.verb: A or database.name: B; statement.verb: C or result.rows: 5");
  EXPECT_EQ(guards(R"(statement.objects.exists(o, o.name == "a" || o.schema == "b"))"),
            "statement.objects[].name: a or statement.objects[].schema: b");
  // Each attribute of a guard is looked up for every event.
  EXPECT_EQ(guards(R"(statement.verb == "A" || database.name == "B" || result.rows == 5 || statement.text == "C" ||
                      "D" in statement.parameters)"),
            "");
  EXPECT_EQ(guards(R"(statement.verb == "A" || database.name == "B" || result.rows > 5)"), "");
  EXPECT_EQ(guards(R"(statement.verb != "A" && result.rows == 5 && statement.text.contains("x"))"), "result.rows: 5");
  EXPECT_EQ(guards("database.name in lists.dba"), "database.name: ada grace edsger");
  EXPECT_EQ(guards(R"(statement.verb == statement.text || true)"), "");
  EXPECT_EQ(guards(R"(database.labels.env == "p" && database.labels["team"] in ["x", "y"])"),
            "database.labels.env: p; database.labels.team: x y");
  EXPECT_EQ(guards(R"((statement.verb == "A" && database.name == "x") || (database.name == "y" && result.rows > 1))"),
            "database.name: x y");
  EXPECT_EQ(guards(R"(statement.objects.exists(o, o.schema == "a" && o.name in ["b", "c"] && database.name == "d"))"),
            "statement.objects[].schema: a; statement.objects[].name: b c; database.name: d");
  EXPECT_EQ(guards(R"(statement.parameters.exists_one(p, p == "a") && "b" in statement.parameters)"),
            "statement.parameters[]: a; statement.parameters[]: b");
  // Of the outer loop's element within the inner one.
  EXPECT_EQ(guards(R"(statement.objects.exists(o, statement.parameters.exists(p, o.name == "a" && p == "b")))"),
            "statement.objects[].name: a; statement.parameters[]: b");
  EXPECT_EQ(guards(R"(statement.objects.all(o, o.name == "a") || !statement.objects.exists(o, o.name == "b"))"), "");
  EXPECT_EQ(guards(R"(statement.parameters.exists(i, p, p == "a") || "env" in database.labels)"), "");
  EXPECT_EQ(guards("has(statement.verb) && has(statement.filters_rows) == true"), "");
}

// The law of guards, on every expression of this file: with another value, the expression is not true.
TEST(Cel, WithoutItsGuardsNothingIsTrue) {
  Event other{.statement = {.verb = "?", .text = "?", .filters_rows = true}, .database = {.name = "?"}, .rows = 0};
  other.statement.objects.clear();
  other.statement.parameters.clear();
  other.database.labels.clear();
  for (const std::string_view text : kTrue) {
    if (!compiled(text).guards().empty()) {
      EXPECT_NE(judged(text, other), "true") << text;
    }
  }
}

TEST(Cel, EvaluationsAllocateNothing) {
  const Event event;
  const auto values = example::values_of(event);
  Scratch scratch;
  std::vector<Program> programs;
  for (const std::string_view text : kTrue) programs.push_back(compiled(text));
  const auto run = [&] {
    bool all = true;
    for (const Program& program : programs) all = evaluate(program, values, scratch).is_true() && all;
    return all;
  };
  EXPECT_TRUE(run());  // RE2 builds its automata with the first texts
  const uint64_t before = allocations;
  EXPECT_TRUE(run());
  EXPECT_EQ(allocations - before, 0U);
}

TEST(Cel, ProgramsAreSharedByThreads) {
  std::vector<Program> programs;
  for (const std::string_view text : kTrue) programs.push_back(compiled(text));
  std::atomic<size_t> count{0};
  const auto work = [&] {
    const Event event;
    Scratch scratch;
    for (int i = 0; i < 100; ++i) {
      for (const Program& program : programs)
        count += evaluate(program, example::values_of(event), scratch).is_true() ? 1 : 0;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(count, 400 * programs.size());
}

// Text from a database need not be UTF-8.
TEST(Cel, BytesThatAreNoTextAreCharacters) {
  Event event;
  event.statement.text = "a\xff\xc3(\xe2\x82";
  EXPECT_EQ(judged("size(statement.text) == 6 && statement.text.charAt(3) == '('", event), "true");
  EXPECT_EQ(judged("statement.text.reverse().size() == 6 && statement.text.split('').size() == 6", event), "true");
  EXPECT_EQ(judged("statement.text.matches('a.') || true", event), "true");
}

// Lines of the blocks of docs/cel.md that are marked so.
std::vector<std::string> examples(std::string_view mark) {
  std::ifstream page(GH_SOURCE_DIR "/docs/cel.md");
  std::vector<std::string> lines;
  bool inside = false;
  for (std::string line; std::getline(page, line);) {
    if (inside && line == "```") inside = false;
    if (inside && !line.empty()) lines.push_back(line);
    if (line == "```" + std::string(mark)) inside = true;
  }
  return lines;
}

TEST(Cel, ThePagesExamplesAreTrueToIt) {
  const std::vector<std::string> good = examples("cel");
  const std::vector<std::string> bad = examples("cel-error");
  EXPECT_FALSE(good.empty() || bad.empty());
  for (const std::string& text : good) EXPECT_TRUE(compile(text, kSchema, kBool)) << text;
  for (const std::string& text : bad) EXPECT_FALSE(compile(text, kSchema, kBool)) << text;
}

TEST(Cel, ConstantsAreComputedOnce) {
  const Program program = compiled("[1, 2, 3].size() == 3 && duration('1h') > duration('59m')");
  for (const Instruction& instruction : program.code().instructions) EXPECT_NE(instruction.op, Op::kCall);
}

}  // namespace
}  // namespace gatehouse::rules::cel
