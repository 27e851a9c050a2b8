// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "rules/engine/time_text.h"

namespace gatehouse::rules {
namespace {

struct Good {
  std::string_view text;
  std::string_view want;  // to_string of what it parses to
};

constexpr Good kGood[] = {
    {"", ""},
    {"  \n ", ""},
    {"// all of it", ""},
    {R"(session.user == "app")", R"(session.user == "app")"},
    {R"(session.user=='app')", R"(session.user == "app")"},
    {R"("app" == session.user)", R"(session.user == "app")"},
    {R"(session . user == "app" // who)", R"(session.user == "app")"},
    {R"(((session.user)) == ("app"))", R"(session.user == "app")"},
    {R"(statement.verb != "SELECT" && result.rows > 1000)", R"(statement.verb != "SELECT" && result.rows > 1000)"},
    {R"((kind == "statement" && outcome == "error") && (actor.pid == 7u))",
     R"(kind == "statement" && outcome == "error" && actor.pid == 7)"},
    {"1000 < result.rows", "result.rows > 1000"},
    {"1000 <= result.rows", "result.rows >= 1000"},
    {"1000 > result.rows", "result.rows < 1000"},
    {"1000 >= result.rows", "result.rows <= 1000"},
    {"result.rows >= 0x10", "result.rows >= 16"},
    {"result.rows <= 18446744073709551615u", "result.rows <= 18446744073709551615u"},
    {"result.rows == 9223372036854775807", "result.rows == 9223372036854775807"},
    {"session.encrypted", "session.encrypted == true"},
    {"session.encrypted == false", "session.encrypted == false"},
    {"(session.encrypted) && actor.uid == 0", "session.encrypted == true && actor.uid == 0"},
    {R"(statement.text.contains("payroll"))", R"(statement.text.contains("payroll"))"},
    {R"((statement.text).startsWith('COPY'))", R"(statement.text.startsWith("COPY"))"},
    {R"(actor.exe.endsWith("/psql"))", R"(actor.exe.endsWith("/psql"))"},
    {R"("4711" in statement.parameters)", R"("4711" in statement.parameters)"},
    {R"(duration > duration("5ms"))", R"(duration > duration("5ms"))"},
    {R"(duration >= duration("1h30m"))", R"(duration >= duration("90m"))"},
    {R"(duration >= duration("1.5s"))", R"(duration >= duration("1500ms"))"},
    {R"(duration == duration("0"))", R"(duration == duration("0s"))"},
    {R"(time >= timestamp("2026-11-25T01:02:03Z"))", R"(time >= timestamp("2026-11-25T01:02:03Z"))"},
    {R"(time < timestamp("2026-11-25T01:02:03.25+01:00"))", R"(time < timestamp("2026-11-25T00:02:03.250Z"))"},
    {R"(session.user == "a\"b\\c\n\x41\u00e9\U0001F600\101")", R"(session.user == "a\"b\\c\nAé😀A")"},
    {R"(session.user == r"a\d")", R"(session.user == "a\\d")"},
    {R"(session.user == R'a"b')", R"(session.user == "a\"b")"},
    {"session.user == \"\"\"a \"word\" or two\"\"\"", R"(session.user == "a \"word\" or two")"},
    {"session.user == '''two\nlines'''", R"(session.user == "two\nlines")"},
    {"session.user == \"\\x1b[31m\"", R"(session.user == "\x1b[31m")"},
    {R"(session.user == "")", R"(session.user == "")"},
    {R"(statement.text.contains("&& || !"))", R"(statement.text.contains("&& || !"))"},
};

TEST(Filter, ParsesAndPrints) {
  for (const Good& c : kGood) {
    const auto filter = parse_filter(c.text);
    ASSERT_TRUE(filter) << c.text << "\n" << filter.error().offset << ": " << filter.error().message;
    EXPECT_EQ(to_string(*filter), c.want) << c.text;
    const auto again = parse_filter(to_string(*filter));
    ASSERT_TRUE(again) << to_string(*filter);
    EXPECT_EQ(*again, *filter) << c.text;
  }
}

struct Bad {
  std::string_view text;
  size_t offset;
  std::string_view message;  // part of it
};

constexpr Bad kBad[] = {
    // Fields and types: the field, its type, what was given.
    {R"(sesion.user == "a")", 0, "no field `sesion.user`; did you mean `session.user`?"},
    {R"(kind == "statement" && database == "x")", 23, "no field `database`; did you mean `database."},
    {R"(user == "a")", 0, "did you mean `session.user`?"},
    {"result.rows == \"5\"", 15, "`result.rows` is a number, but is compared with a string: write 42"},
    {"session.user == 5", 16, "`session.user` is a string, but is compared with a number: write \"text\""},
    {"session.encrypted == \"yes\"", 21, "`session.encrypted` is a bool, but is compared with a string"},
    {"session.encrypted < true", 18, "knows == and != only"},
    {"duration > 5", 11, "`duration` is a duration, but is compared with a number: write duration(\"5ms\")"},
    {"time > \"2026-11-25\"", 7, "`time` is a timestamp, but is compared with a string: write timestamp("},
    {R"(statement.parameters == "a")", 21, "list of strings: write \"text\" in statement.parameters"},
    {R"(statement.parameters.contains("a"))", 21, "write \"text\" in statement.parameters"},
    {R"("a" in session.user)", 7, "`session.user` is a string, but `in` takes a list"},
    {"5 in statement.parameters", 0, "is asked for a number"},
    {"result.rows.contains(\"a\")", 12, "`result.rows` is a number and has no method `contains`"},
    {"session.user.contains(5)", 22, "takes a string, not a number"},
    {"session.user.contains(actor.user)", 22, "takes a string literal"},
    {"session.user", 0, "alone no condition"},
    {"\"a\"", 0, "a value alone is no condition"},
    {"true", 0, "a value alone is no condition"},
    {"\"a\" == \"a\"", 4, "one side of a comparison must be a field"},
    // The rest of CEL.
    {R"(kind == "a" || kind == "b")", 12, "`||` comes with the full rule language"},
    {R"(!session.encrypted)", 0, "`!` comes with the full rule language"},
    {R"(kind == "a" && !(kind == "b"))", 15, "`!` comes with the full rule language"},
    {"result.rows + 1 > 5", 12, "`+` comes with the full rule language"},
    {"result.rows > 5 * 2", 16, "`*` comes with the full rule language"},
    {"session.encrypted ? true : false", 18, "`?` comes with the full rule language"},
    {"statement.parameters[0] == \"a\"", 20, "`[` comes with the full rule language"},
    {R"(statement.verb in ["A", "B"])", 18, "`in` with a list that is written out comes with"},
    {"session.user == actor.user", 13, "comparing two fields comes with"},
    {"session.user.matches(\"a.*\")", 13, "others come with the full rule language"},
    {"size(session.user) > 3", 0, "`size` is not one of duration, timestamp"},
    {"result.rows == 1.5", 15, "a number with decimals comes with"},
    {"session.user == b\"a\"", 16, "a bytes literal comes with"},
    {"session.user == null", 16, "null comes with"},
    {"(kind == \"a\") == true", 14, "comparing the results of comparisons comes with"},
    {"\"abc\".contains(session.user)", 5, "a method of a literal comes with"},
    // Spelling.
    {"session.user =", 13, "a single `=`"},
    {"session.user = \"a\"", 13, "equality is written =="},
    {"kind == \"a\" && session.user = \"a\"", 28, "equality is written =="},
    {"kind == \"a\" && result.rows + 1 > 5", 27, "`+` comes with"},
    {"session.user == \"a\" & kind == \"b\"", 20, "joined by &&"},
    {"session.user == \"a\" and kind == \"b\"", 20, "conditions are joined by &&"},
    {"session.user == \"a", 16, "without its closing quote"},
    {"session.user == \"a\nb\"", 16, "without its closing quote"},
    {"session.user == \"a\\q\"", 18, "no escape of CEL"},
    {"session.user == \"\\ud800\"", 17, "no escape of CEL"},
    {"session.user ==", 15, "ends too early"},
    {"session.user == \"a\" &&", 22, "ends too early"},
    {"(session.user == \"a\"", 0, "never closed"},
    {"session.user == \"a\")", 19, "`)` has no place here"},
    {"session.user == \"a\" kind == \"b\"", 20, "without an operator before it"},
    {"session. == 5", 7, "a dot without a name"},
    {"result.rows < 5 < 6", 16, "cannot be chained"},
    {"result.rows == -5", 15, "ever negative"},
    {"result.rows == 5x", 15, "runs into a word"},
    {"result.rows == 9223372036854775808", 15, "suffix u"},
    {"result.rows == 18446744073709551616u", 15, "above 64 bits"},
    {"duration > duration(\"5 parsecs\")", 20, "not a duration"},
    {"duration > duration(5)", 20, "takes one string literal"},
    {"time > timestamp(\"yesterday\")", 17, "not an RFC 3339 time"},
    {"time > timestamp(\"1969-12-31T23:59:59Z\")", 17, "not an RFC 3339 time"},
    {"session.user == \"a\xff\"", 18, "not UTF-8"},
    {"session.user # 5", 13, "a character that has no place"},
    {"in", 0, "`in` needs a string before it"},
};

TEST(Filter, NamesWhatIsWrongAndWhere) {
  for (const Bad& c : kBad) {
    const auto filter = parse_filter(c.text);
    ASSERT_FALSE(filter) << c.text;
    EXPECT_EQ(filter.error().offset, c.offset) << c.text << "\n" << filter.error().message;
    EXPECT_THAT(filter.error().message, testing::HasSubstr(std::string(c.message))) << c.text;
  }
}

TEST(Filter, EveryPrefixIsAnsweredWithinItsText) {
  for (const Good& c : kGood) {
    for (size_t length = 0; length <= c.text.size(); ++length) {
      const auto filter = parse_filter(c.text.substr(0, length));
      EXPECT_TRUE(filter || filter.error().offset <= length) << c.text.substr(0, length);
    }
  }
}

TEST(Filter, LimitsAreNamed) {
  const std::string condition = "actor.uid == 1";
  std::string many = condition;
  for (size_t i = 1; i < kFilterComparisonsMax; ++i) many += " && " + condition;
  EXPECT_TRUE(parse_filter(many));
  const auto too_many = parse_filter(many + " && " + condition);
  ASSERT_FALSE(too_many);
  EXPECT_THAT(too_many.error().message, testing::HasSubstr("more than 256 comparisons"));

  const auto nested = [&](size_t depth) { return std::string(depth, '(') + condition + std::string(depth, ')'); };
  EXPECT_TRUE(parse_filter(nested(kFilterDepthMax - 1)));
  const auto too_deep = parse_filter(nested(kFilterDepthMax));
  ASSERT_FALSE(too_deep);
  EXPECT_THAT(too_deep.error().message, testing::HasSubstr("parentheses within each other"));
  EXPECT_FALSE(parse_filter(std::string(50'000, '(')));

  const auto too_long = parse_filter(std::string(kFilterBytesMax + 1, ' '));
  ASSERT_FALSE(too_long);
  EXPECT_THAT(too_long.error().message, testing::HasSubstr("65536 bytes"));
}

TEST(Fields, NamesAreUniqueAndFound) {
  std::set<std::string_view> names;
  std::set<std::string_view> members;
  for (const FieldSpec& field : fields()) {
    EXPECT_TRUE(names.insert(field.name).second) << field.name;
    EXPECT_TRUE(members.insert(field.member).second) << field.member;
    EXPECT_EQ(find_field(field.name), &field);
    EXPECT_EQ(nearest_field(field.name), &field);
    EXPECT_FALSE(field.help.empty());
  }
  EXPECT_EQ(find_field("actor"), nullptr);
  EXPECT_EQ(nearest_field("actor.exec")->name, "actor.exe");
  EXPECT_EQ(nearest_field("rows")->name, "result.rows");
  EXPECT_EQ(nearest_field("sqlstate")->name, "result.sqlstate");
  EXPECT_NE(nearest_field(std::string(1000, 'x')), nullptr);
}

TEST(TimeText, Timestamps) {
  struct Case {
    std::string_view text;
    std::optional<uint64_t> want;
  };
  const Case cases[] = {
      {"1970-01-01T00:00:00Z", 0},
      {"1970-01-01T00:00:00.000000001Z", 1},
      {"1970-01-01T01:00:00+01:00", 0},
      {"2026-11-25T01:02:03Z", 1'795'568'523'000'000'000},
      {"2026-11-25t01:02:03.5z", 1'795'568'523'500'000'000},
      {"2024-02-29T00:00:00Z", 1'709'164'800'000'000'000},
      {"2025-02-29T00:00:00Z", std::nullopt},
      {"1969-12-31T23:59:59Z", std::nullopt},
      {"2555-01-01T00:00:00Z", std::nullopt},
      {"9999-12-31T23:59:59Z", std::nullopt},
      {"2026-11-25T01:02:03", std::nullopt},
      {"2026-11-25 01:02:03Z", std::nullopt},
      {"2026-11-25T24:00:00Z", std::nullopt},
      {"2026-11-25T01:02:03.Z", std::nullopt},
      {"2026-11-25T01:02:03.1234567890Z", std::nullopt},
      {"2026-11-25T01:02:03+0100", std::nullopt},
      {"2026-11-25T01:02:03Zx", std::nullopt},
      {"", std::nullopt},
  };
  for (const Case& c : cases) EXPECT_EQ(parse_timestamp(c.text), c.want) << c.text;
  EXPECT_EQ(format_timestamp(1'795'568'523'500'000'000), "2026-11-25T01:02:03.500Z");
  EXPECT_EQ(format_timestamp_ns(1'795'568'523'500'000'000), "2026-11-25T01:02:03.500000000Z");
  for (const uint64_t ns : {uint64_t{0}, uint64_t{1}, uint64_t{1000}, UINT64_MAX})
    EXPECT_EQ(parse_timestamp(format_timestamp(ns)), ns);
}

TEST(TimeText, Durations) {
  struct Case {
    std::string_view text;
    std::optional<uint64_t> want;
  };
  const Case cases[] = {
      {"0", 0},
      {"5ms", 5'000'000},
      {"1h30m", 5'400'000'000'000},
      {"1.5s", 1'500'000'000},
      {".5s", 500'000'000},
      {"1m0.5s", 60'500'000'000},
      {"7us", 7000},
      {"7ns", 7},
      {"1.23456789012345678h", 4'444'444'404'444},
      {"18446744073709551615ns", UINT64_MAX},
      {"18446744073709551616ns", std::nullopt},
      {"18446744073s1h", std::nullopt},
      {"6000000h", std::nullopt},
      {"5", std::nullopt},
      {"-5s", std::nullopt},
      {"s", std::nullopt},
      {".s", std::nullopt},
      {"5 s", std::nullopt},
      {"5d", std::nullopt},
      {"", std::nullopt},
  };
  for (const Case& c : cases) EXPECT_EQ(parse_duration(c.text), c.want) << c.text;
  for (const uint64_t ns : {uint64_t{0}, uint64_t{1}, uint64_t{1'500'000}, uint64_t{5'400'000'000'000}, UINT64_MAX})
    EXPECT_EQ(parse_duration(format_duration(ns)), ns);
}

}  // namespace
}  // namespace gatehouse::rules
