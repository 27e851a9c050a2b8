// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/cel_explain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rules/engine/cel_expand.h"
#include "rules/engine/cel_parser.h"
#include "tests/support/cel_example.h"

namespace gatehouse::rules::cel {
namespace {

using example::Event;

std::string explained(std::string_view text, std::span<const NamedText> definitions = {}, const Event& event = {}) {
  std::string out;
  for (const Part& part : explain(text, example::kSchema, definitions, example::values_of(event))) {
    out += std::string(2 * part.depth, ' ') + (part.is_each ? "each " : "") + part.text;
    if (!part.definition.empty()) out += " (" + part.definition + ")";
    out += " = " + part.value + "\n";
  }
  return out;
}

TEST(Explain, TellsTheValueOfEveryPart) {
  EXPECT_EQ(explained("statement.verb in [\"DELETE\", \"DROP\"] && !statement.filters_rows && result.rows > 60000u"),
            "statement.verb in [\"DELETE\", \"DROP\"] && !statement.filters_rows && result.rows > 60000u = false\n"
            "  statement.verb in [\"DELETE\", \"DROP\"] = true\n"
            "    statement.verb = \"DELETE\"\n"
            "  !statement.filters_rows = true\n"
            "    statement.filters_rows = false\n"
            "  result.rows > 60000u = false\n"
            "    result.rows = 50001u\n");
  EXPECT_EQ(explained("database.labels.nothing == \"x\" || has(database.labels.env)"),
            "database.labels.nothing == \"x\" || has(database.labels.env) = true\n"
            "  database.labels.nothing == \"x\" = error: no such key\n"
            "    database.labels.nothing = error: no such key\n"
            "  has(database.labels.env) = true\n");
}

TEST(Explain, TellsWhatALoopAsksOfEachElement) {
  EXPECT_EQ(explained("statement.objects.exists(o, o.name == \"staff\")"),
            "statement.objects.exists(o, o.name == \"staff\") = true\n"
            "  statement.objects = [object{schema: \"payroll\", name: \"salaries\"}, "
            "object{schema: \"public\", name: \"staff\"}]\n"
            "  each o.name == \"staff\" = [false, true]\n");
}

TEST(Explain, TellsWhatMacrosSay) {
  const std::string text = "statement.verb == \"DROP\" || database.name == \"shop\"";
  const auto tree = parse(text);
  ASSERT_TRUE(tree);
  const NamedText named{.definition = {.name = "macros.risky", .tree = &*tree}, .text = text};
  EXPECT_EQ(explained("!macros.risky", {&named, 1}),
            "!macros.risky = false\n"
            "  statement.verb == \"DROP\" || database.name == \"shop\" (macros.risky) = true\n"
            "    statement.verb == \"DROP\" (macros.risky) = false\n"
            "      statement.verb (macros.risky) = \"DELETE\"\n"
            "    database.name == \"shop\" (macros.risky) = true\n"
            "      database.name (macros.risky) = \"shop\"\n");
}

TEST(Explain, ValuesAreCut) {
  Event event;
  event.statement.text = std::string(1000, 'x') + "\n\"";
  event.statement.parameters.assign(100, "a\n\"\\");
  const std::string text =
      explained("statement.text + 'y' == '' || duration == time - time || statement.parameters == []", {}, event);
  EXPECT_THAT(text, testing::HasSubstr("statement.text = \"" + std::string(200, 'x') + "…\"\n"));
  EXPECT_THAT(text, testing::HasSubstr(R"(statement.parameters = ["a\n\"\\", )"));
  EXPECT_THAT(text, testing::HasSubstr("…]"));
  EXPECT_THAT(text, testing::HasSubstr("duration = duration(\"5ms\")"));
  EXPECT_THAT(text, testing::HasSubstr("time = timestamp(\"2026-11-25T01:02:03.250Z\")"));
}

}  // namespace
}  // namespace gatehouse::rules::cel
