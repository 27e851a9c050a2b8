// SPDX-License-Identifier: Apache-2.0
// EventBuilder: events made by hand, for the cases beside rules and for `gatehouse rules explain`: fields by their
// qualified names, and SQL, which is analysed as an agent analyses it.
#pragma once

#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/sql/analyzer.h"
#include "common/result.h"
#include "rules/schema/event.h"

namespace gatehouse::rules {

// A field's value, as a YAML file says it: one text, several, or names with texts.
struct FieldValue {
  enum class Shape : uint8_t { kText, kTexts, kLabels };
  Shape shape = Shape::kText;
  std::string text{};
  std::vector<std::string> texts{};
  std::vector<std::pair<std::string, std::string>> labels{};
};

class EventBuilder {
 public:
  // `analyzer` outlives it, and is asked by nobody else while the event is in use.
  EventBuilder(Occasion occasion, sql::Analyzer& analyzer);
  EventBuilder(const EventBuilder&) = delete;
  EventBuilder& operator=(const EventBuilder&) = delete;

  // "actor.exe", "database.labels", "duration". The error says what was expected instead: nothing of that name (with
  // the nearest one), another type, or a fact, which comes from the statement's text and cannot be set.
  Status set(std::string_view field, const FieldValue& value);

  // The events to judge: one for each statement of statement.text, else one. Each is good until the next call.
  [[nodiscard]] size_t count();
  const Event& event(size_t index);

 private:
  void analyze();
  std::string_view keep(std::string text) { return kept_.emplace_back(std::move(text)); }

  sql::Analyzer& analyzer_;
  std::deque<std::string> kept_{};
  Actor actor_{};
  Event event_{};
  std::string_view verb_{};  // where there is no text to tell it
  const sql::Facts* facts_ = nullptr;
  bool is_analyzed_ = false;
};

}  // namespace gatehouse::rules
