// SPDX-License-Identifier: Apache-2.0
#include "rules/schema/event_builder.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "rules/engine/time_text.h"

namespace gatehouse::rules {
namespace {

// The name of a record's variable, and where the record stands in what is built.
struct Place {
  std::string_view variable;
  std::string_view record;
};
constexpr Place kPlaces[] = {
    {"actor", "Actor"},
    {"session", "SessionView"},
    {"database", "Database"},
    {"agent", "Origin"},
    {"statement", "StatementView"},
    {"result", "ResultView"},
    {"connect", "ConnectView"},
    {"authentication", "AuthenticationView"},
    {"cancel", "CancelView"},
    {"notification", "NotificationView"},
    {"opaque", "OpaqueView"},
    {"disconnect", "DisconnectView"},
    {"gap", "GapView"},
};

using Keep = std::deque<std::string>;
// Nothing, or what was expected instead.
using Outcome = std::optional<std::string>;

std::string_view keep(Keep& kept, const std::string& text) {
  return kept.emplace_back(text);
}

Outcome put(Keep& kept, std::string_view& member, const FieldValue& value) {
  if (value.shape != FieldValue::Shape::kText) return "one text";
  member = keep(kept, value.text);
  return std::nullopt;
}
Outcome put(Keep& /*kept*/, int64_t& member, const FieldValue& value) {
  const char* const end = value.text.data() + value.text.size();
  const auto [stop, error] = std::from_chars(value.text.data(), end, member);
  if (value.shape == FieldValue::Shape::kText && error == std::errc() && stop == end && !value.text.empty())
    return std::nullopt;
  return "a whole number";
}
Outcome put(Keep& /*kept*/, bool& member, const FieldValue& value) {
  member = value.text == "true";
  return member || value.text == "false" ? std::nullopt : Outcome("true or false");
}
Outcome put(Keep& /*kept*/, cel::Timestamp& member, const FieldValue& value) {
  const auto time = parse_instant(value.text);
  if (!time) return "a time, as in 2026-11-25T08:00:00Z";
  member = *time;
  return std::nullopt;
}
Outcome put(Keep& kept, Texts& member, const FieldValue& value) {
  if (value.shape == FieldValue::Shape::kLabels) return "a list of texts";
  member.clear();
  if (value.shape == FieldValue::Shape::kText) member.push_back(keep(kept, value.text));
  for (const std::string& text : value.texts) member.push_back(keep(kept, text));
  return std::nullopt;
}
Outcome put(Keep& kept, Labels& member, const FieldValue& value) {
  if (value.shape != FieldValue::Shape::kLabels) return "names with texts";
  member.clear();
  for (const auto& [name, text] : value.labels) member.emplace_back(keep(kept, name), keep(kept, text));
  return std::nullopt;
}
// The commands of ancestors, nearest first: what is said of them besides actor.ancestry.
Outcome put(Keep& kept, std::vector<Ancestor>& member, const FieldValue& value) {
  if (value.shape == FieldValue::Shape::kLabels) return "a list of commands, nearest first";
  const std::vector<std::string> commands =
      value.shape == FieldValue::Shape::kText ? std::vector<std::string>{value.text} : value.texts;
  member.clear();
  for (const std::string& command : commands) {
    const std::string_view text = keep(kept, command);
    const std::string_view exe = text.substr(0, text.find(' '));
    member.push_back({.exe = exe, .name = base_name(exe), .command = text});
  }
  return std::nullopt;
}

struct Setter {
  std::string_view record;
  std::string_view name;
  Outcome (*put)(Keep& kept, void* record, const FieldValue& value);  // null: a fact
};
constexpr Setter kSetters[] = {
#define GH_RULE_FIELD(record, name, member, meaning, example)             \
  {#record, name, [](Keep& kept, void* target, const FieldValue& value) { \
     return put(kept, static_cast<record*>(target)->member, value);       \
   }},
#define GH_RULE_TOLD(record, name, member, meaning, example) {#record, name, nullptr},
#define GH_RULE_FACT(record, name, type, getter, meaning, example) {#record, name, nullptr},
#include "rules/schema/fields.def"
};

void* record_of(Event& event, Actor& actor, std::string_view record) {
  if (record == "Actor") return &actor;
  if (record == "SessionView") return &event.session;
  if (record == "Database") return &event.database;
  if (record == "Origin") return &event.agent;
  if (record == "StatementView") return &event.statement;
  if (record == "ResultView") return &event.result;
  if (record == "ConnectView") return &event.connect;
  if (record == "AuthenticationView") return &event.authentication;
  if (record == "CancelView") return &event.cancel;
  if (record == "NotificationView") return &event.notification;
  if (record == "OpaqueView") return &event.opaque;
  if (record == "DisconnectView") return &event.disconnect;
  return &event.gap;
}

}  // namespace

EventBuilder::EventBuilder(Occasion occasion, sql::Analyzer& analyzer) : analyzer_(analyzer) {
  event_.occasion = occasion;
  event_.actor = &actor_;
  event_.outcome = "ok";
  event_.fidelity = "complete";
  event_.statement.protocol = "simple";
  event_.database.engine = "postgresql";
}

Status EventBuilder::set(std::string_view field, const FieldValue& value) {
  is_analyzed_ = false;
  const auto expected = [&](const std::string& what) {
    return Error::configuration(std::string(field) + ": expected " + what);
  };
  Outcome outcome;
  const size_t dot = field.find('.');
  const cel::Schema& schema = *event_kinds()[static_cast<size_t>(event_.occasion)].schema;
  const auto unknown = [&] {
    const std::string nearest = schema.nearest(field);
    return Error::configuration("`" + std::string(field) + "` is no field of this kind of event" +
                                (nearest.empty() ? "" : "; did you mean `" + nearest + "`?"));
  };
  if (schema.find(field.substr(0, dot)) == nullptr) return unknown();
  if (dot == std::string_view::npos) {
    if (field == "now") {
      outcome = put(kept_, event_.now, value);
    } else if (field == "outcome") {
      outcome = put(kept_, event_.outcome, value);
    } else if (field == "fidelity") {
      outcome = put(kept_, event_.fidelity, value);
    } else if (field == "duration") {
      const auto duration = parse_signed_duration(value.text);
      if (!duration) return expected("a duration, as in 1.5s");
      event_.duration_ns = *duration;
    } else {
      return expected("a field of it, such as " + std::string(field) + "." +
                      std::string(schema.find(field)->type->record->fields.front().name));
    }
    if (outcome) return expected(*outcome);
    return {};
  }
  const auto* const place = std::ranges::find(kPlaces, field.substr(0, dot), &Place::variable);
  for (const Setter& setter : kSetters) {
    if (setter.record != place->record || setter.name != field.substr(dot + 1)) continue;
    if (setter.put == nullptr)
      return Error::configuration("`" + std::string(field) + "` comes from statement.text and cannot be set");
    outcome = setter.put(kept_, record_of(event_, actor_, place->record), value);
    if (outcome) return expected(*outcome);
    if (field == "actor.exe" && actor_.name.empty()) actor_.name = base_name(actor_.exe);
    if (field == "statement.verb") verb_ = event_.statement.verb;
    return {};
  }
  return unknown();
}

void EventBuilder::analyze() {
  if (is_analyzed_) return;
  is_analyzed_ = true;
  facts_ = nullptr;
  if (event_.occasion != Occasion::kStatement) return;
  const std::string_view text = event_.statement.resolved.empty() ? event_.statement.text : event_.statement.resolved;
  const bool is_sql = event_.statement.protocol == "simple" || event_.statement.protocol == "extended";
  if (is_sql && !text.empty()) facts_ = analyzer_.analyze(text, sql::lexical_state("UTF8", true)).facts;
}

size_t EventBuilder::count() {
  analyze();
  return event_.occasion == Occasion::kStatement ? statements_of(facts_) : 1;
}

const Event& EventBuilder::event(size_t index) {
  analyze();
  complete(actor_);
  if (index > 0) event_.statement.index = static_cast<int64_t>(index);
  if (event_.occasion == Occasion::kStatement) set_facts(event_.statement, {.facts = facts_}, index, verb_);
  return event_;
}

}  // namespace gatehouse::rules
