// SPDX-License-Identifier: Apache-2.0
// Definitions: what they name, and how large they may make an expression.
#include "rules/engine/cel_expand.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

#include "rules/engine/cel_parser.h"
#include "tests/support/cel_example.h"

namespace gatehouse::rules::cel {
namespace {

using testing::HasSubstr;

// Definitions one after another, each of which may use those before it.
class Definitions {
 public:
  // Empty, or what is wrong.
  std::string add(const std::string& name, const std::string& text) {
    names_.push_back(name);
    auto tree = parse(text);
    if (!tree) return tree.error().message;
    trees_.push_back(std::move(*tree));
    if (const auto error = expand(trees_.back(), all_)) return error->message;
    all_.push_back({.name = names_.back(), .tree = &trees_.back()});
    return "";
  }
  [[nodiscard]] std::string judged(std::string_view text) const {
    const auto program = compile(text, example::kSchema, kDyn, all_);
    if (!program) return std::to_string(program.error().offset) + ": " + program.error().message;
    Scratch scratch;
    const example::Event event;
    const Value value = evaluate(*program, example::values_of(event), scratch);
    return value.is_true() ? "true" : value.is_false() ? "false" : "other";
  }

 private:
  std::deque<std::string> names_{};
  std::deque<Ast> trees_{};
  std::vector<Definition> all_{};
};

TEST(Expand, ADefinitionStandsAsIfInParentheses) {
  Definitions definitions;
  ASSERT_EQ(definitions.add("macros.either", "statement.verb == 'DROP' || database.name == 'shop'"), "");
  ASSERT_EQ(definitions.add("macros.not", "!macros.either"), "");
  EXPECT_EQ(definitions.judged("macros.either && !macros.not"), "true");
  EXPECT_EQ(definitions.judged("macros.either && false"), "false");
  EXPECT_EQ(definitions.judged("!macros.either"), "false");
  EXPECT_THAT(definitions.judged("true && macros.nothing"), HasSubstr("8: there is no `macros.nothing`"));
  EXPECT_THAT(definitions.judged("has(macros.either)"), HasSubstr("there is no `macros.either`"));
  EXPECT_THAT(definitions.judged("macros.either + 1"), HasSubstr("14: `+` takes"));
}

TEST(Expand, LoopsDoNotCaptureWhatADefinitionNames) {
  Definitions definitions;
  ASSERT_EQ(definitions.add("macros.shop", "database.name == 'shop'"), "");
  ASSERT_EQ(definitions.add("macros.own", "[1, 2].exists(database, database == 2)"), "");
  EXPECT_EQ(definitions.judged("statement.objects.all(database, database.name != 'shop' && macros.shop)"), "true");
  EXPECT_EQ(definitions.judged("statement.objects.all(database, macros.own)"), "true");
  // A loop's variable called so is that variable.
  EXPECT_EQ(definitions.judged("[{'shop': 5}].all(macros, macros.shop == 5)"), "true");
}

TEST(Expand, GuardsAreSeenThroughDefinitions) {
  const Ast tree = *parse("database.name == 'shop' && statement.verb in ['A', 'B']");
  const Definition definition{.name = "macros.x", .tree = &tree};
  const auto program = compile("macros.x && result.rows == 5u", example::kSchema, kBool, {&definition, 1});
  ASSERT_TRUE(program);
  ASSERT_EQ(program->guards().size(), 3U);
  EXPECT_EQ(program->guards()[1].any_of[0].attribute.name, "statement.verb");
}

TEST(Expand, WhatDoublesAtEveryStepHasAnEnd) {
  Definitions definitions;
  ASSERT_EQ(definitions.add("macros.m0", "statement.filters_rows"), "");
  std::string error;
  for (int i = 1; i < 64 && error.empty(); ++i) {
    const std::string before = "macros.m" + std::to_string(i - 1);
    error = definitions.add("macros.m" + std::to_string(i), before + " && " + before);
  }
  EXPECT_THAT(error, HasSubstr("more than 65536 parts"));
  Definitions deep;
  ASSERT_EQ(deep.add("macros.m0", "statement.filters_rows"), "");
  error.clear();
  for (int i = 1; i < 300 && error.empty(); ++i)
    error = deep.add("macros.m" + std::to_string(i), "!macros.m" + std::to_string(i - 1));
  EXPECT_THAT(error, HasSubstr("nested too deeply"));
}

TEST(Expand, UsesAreListed) {
  const Ast tree = *parse("macros.a && [1].all(macros, macros.b) || x.exists(y, macros.c && macros.a && other.d)");
  std::vector<std::string> names;
  for (const Use& use : uses_of(tree, "macros")) names.push_back(use.name);
  EXPECT_THAT(names, testing::ElementsAre("macros.a", "macros.c"));
}

}  // namespace
}  // namespace gatehouse::rules::cel
