// SPDX-License-Identifier: Apache-2.0
// The law of the index: it names every rule that matches, each once and in order.
#include "rules/engine/rule_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/support/cel_example.h"

namespace gatehouse::rules {
namespace {

using cel::example::Event;
using testing::ElementsAre;
using testing::IsEmpty;

class Rules {
 public:
  explicit Rules(const std::vector<std::string>& conditions) {
    for (const std::string& condition : conditions) {
      auto program = cel::compile(condition, cel::example::kSchema, cel::kBool);
      if (!program) ADD_FAILURE() << condition << ": " << program.error().message;
      programs_.push_back(std::move(*program));
    }
    std::vector<RuleIndex::Entry> entries;
    for (size_t i = 0; i < programs_.size(); ++i)
      entries.push_back({.rule = static_cast<uint32_t>(i), .when = &programs_[i]});
    index_ = RuleIndex(entries);
    lookup_.emplace(index_);
  }

  std::vector<uint32_t> candidates(const Event& event) {
    index_.find(cel::example::values_of(event), *lookup_);
    return {lookup_->found().begin(), lookup_->found().end()};
  }
  bool matches(size_t rule, const Event& event) {
    return cel::evaluate(programs_[rule], cel::example::values_of(event), scratch_).is_true();
  }
  [[nodiscard]] size_t size() const { return programs_.size(); }

 private:
  std::vector<cel::Program> programs_{};
  RuleIndex index_{};
  std::optional<RuleIndex::Lookup> lookup_{};
  cel::Scratch scratch_{};
};

TEST(RuleIndex, NamesTheRulesThatCanMatch) {
  Rules rules({
      "statement.verb == \"DROP\"",                                        // 0
      "statement.verb in [\"DELETE\", \"UPDATE\"] && result.rows > 5",     // 1
      "result.rows > 1000000",                                             // 2: no guard
      "database.labels.env == \"test\"",                                   // 3
      "statement.objects.exists(o, o.name == \"salaries\")",               // 4
      "\"18\" in statement.parameters",                                    // 5
      "!statement.filters_rows && statement.text.contains(\"payroll\")",   // 6
      "result.rows == 50001.0",                                            // 7: numbers are equal across types
      "anything == 5",                                                     // 8
      "statement.verb == \"DELETE\" && database.labels.nothing == \"x\"",  // 9
  });
  EXPECT_THAT(rules.candidates({}), ElementsAre(1, 2, 4, 6, 7));
  Event other;
  other.statement = {.verb = "SELECT", .filters_rows = true, .parameters = {"1", "18", "18"}, .objects = {}};
  other.database.labels = {{"env", "test"}};
  other.rows = 1;
  EXPECT_THAT(rules.candidates(other), ElementsAre(2, 3, 5));
  EXPECT_THAT(Rules({}).candidates({}), IsEmpty());
}

// However many rules share a guard, the others tell them apart.
TEST(RuleIndex, WhatManyShareIsSplitByTheRest) {
  std::vector<std::string> conditions;
  for (int i = 0; i < 1000; ++i)
    conditions.push_back("statement.verb == \"DELETE\" && !statement.filters_rows && database.name == \"d" +
                         std::to_string(i % 10) + "\" && database.labels.env == \"e" + std::to_string(i / 10) + "\"");
  Rules rules(conditions);
  Event event;
  EXPECT_THAT(rules.candidates(event), IsEmpty());
  event.database = {.name = "d3", .labels = {{"env", "e47"}}};
  EXPECT_LE(rules.candidates(event).size(), 4U);
  EXPECT_THAT(rules.candidates(event), testing::Contains(473));
}

TEST(RuleIndex, TextsThatDifferInTheirMiddleAreStillFound) {
  const std::string text(1000, 'x');
  Rules rules({"statement.text == \"" + text + "\"", "statement.text == \"" + text + "x\""});
  Event event;
  event.statement.text = text;
  EXPECT_THAT(rules.candidates(event), ElementsAre(0));
}

// Conditions out of few names and values, so that many meet.
class Maker {
 public:
  explicit Maker(uint32_t seed) : random_(seed) {}

  std::string condition(int depth) {
    switch (depth > 0 ? pick(4) : 0) {
      case 1:
        return "(" + condition(depth - 1) + " && " + condition(depth - 1) + ")";
      case 2:
        return "(" + condition(depth - 1) + " || " + condition(depth - 1) + ")";
      case 3:
        return "!(" + condition(depth - 1) + ")";
      default:
        return atom();
    }
  }

  Event event() {
    Event made;
    made.statement = {.verb = name(), .text = name(), .filters_rows = pick(2) == 0, .parameters = {}, .objects = {}};
    for (size_t i = pick(3); i > 0; --i) made.statement.parameters.push_back(name());
    for (size_t i = pick(3); i > 0; --i) made.statement.objects.push_back({name(), name()});
    made.database = {.name = name(), .labels = {}};
    if (pick(3) > 0) made.database.labels.emplace_back("env", name());
    made.rows = pick(3);
    return made;
  }

 private:
  size_t pick(size_t below) { return random_() % below; }
  std::string name() { return std::string(1, static_cast<char>('a' + pick(4))); }
  std::string text() { return "\"" + name() + "\""; }
  std::string list() { return "[" + text() + ", " + text() + "]"; }
  std::string atom() {
    switch (pick(13)) {
      case 0:
        return "statement.verb == " + text();
      case 1:
        return text() + " == database.name";
      case 2:
        return "statement.verb in " + list();
      case 3:
        return "statement.filters_rows";
      case 4:
        return "database.labels.env == " + text();
      case 5:
        return "database.labels[\"env\"] in " + list();
      case 6:
        return "statement.objects.exists(o, o.schema == " + text() + " && o.name in " + list() + ")";
      case 7:
        return text() + " in statement.parameters";
      case 8:
        return "statement.parameters.exists_one(p, p == " + text() + " || p == statement.verb)";
      case 9:
        return "result.rows == " + std::to_string(pick(3));
      case 10:
        return "result.rows == " + std::to_string(pick(3)) + ".0";
      case 11:
        return "has(database.labels.env)";
      default:
        return "statement.text != " + text();
    }
  }

  std::mt19937 random_;
};

TEST(RuleIndex, NoRuleThatMatchesIsLeftOut) {
  size_t matches = 0;
  size_t candidates = 0;
  for (uint32_t seed = 0; seed < 20; ++seed) {
    Maker maker(seed);
    std::vector<std::string> conditions;
    for (int i = 0; i < 200; ++i) conditions.push_back(maker.condition(3));
    Rules rules(conditions);
    for (int i = 0; i < 50; ++i) {
      const Event event = maker.event();
      const std::vector<uint32_t> found = rules.candidates(event);
      ASSERT_TRUE(std::ranges::is_sorted(found, std::less_equal<>{}));
      candidates += found.size();
      for (uint32_t rule = 0; rule < rules.size(); ++rule) {
        if (!rules.matches(rule, event)) continue;
        ++matches;
        EXPECT_TRUE(std::ranges::binary_search(found, rule)) << conditions[rule] << ", seed " << seed;
      }
    }
  }
  // What is made does match, and the index does leave out.
  EXPECT_GT(matches, 20'000U);
  EXPECT_LT(candidates, 20U * 50 * 200 * 9 / 10);
}

}  // namespace
}  // namespace gatehouse::rules
