// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/policy.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "common/config.h"
#include "common/digest.h"
#include "rules/engine/nearest.h"

namespace gatehouse::rules {
namespace {

using config::Key;
using config::Settings;
using config::Type;

constexpr std::string_view kActions = "alert|mask|hold|block|terminate";
constexpr std::string_view kModes = "draft|dry-run|active";
constexpr std::string_view kSeverities = "info|low|medium|high|critical";

// A message is one line of a client's error; a condition is bounded by CEL itself.
constexpr size_t kMessageBytesMax = 1024;
constexpr size_t kNameBytesMax = 128;

constexpr Key kKeys[] = {
    {.path = "rules", .type = Type::kSections, .why = "What is looked for, first to last."},
    {.path = "rules[].id",
     .required = true,
     .min = 1,
     .max = kNameBytesMax,
     .why = "The rule's name in findings, exceptions and refusals.",
     .check = config::expect_name},
    {.path = "rules[].on", .required = true, .min = 1, .max = kNameBytesMax, .why = "The kind of event it is about."},
    {.path = "rules[].when",
     .required = true,
     .min = 1,
     .max = cel::kExpressionBytesMax,
     .has_lines = true,
     .why = "The condition, in CEL."},
    {.path = "rules[].then",
     .type = Type::kChoice,
     .required = true,
     .choices = kActions,
     .why = "What happens when it matches."},
    {.path = "rules[].mode",
     .type = Type::kChoice,
     .fallback = "draft",
     .choices = kModes,
     .why = "Whether it is judged by at all, only recorded, or carried out."},
    {.path = "rules[].severity",
     .type = Type::kChoice,
     .fallback = "medium",
     .choices = kSeverities,
     .why = "How soon someone should look."},
    {.path = "rules[].message", .max = kMessageBytesMax, .why = "What the client is told, and the finding says."},
    {.path = "rules[].description",
     .max = 16 * kMessageBytesMax,
     .has_lines = true,
     .why = "Why there is such a rule."},
    {.path = "rules[].tags", .type = Type::kTexts, .min = 1, .max = kNameBytesMax, .why = "What it is filed under."},
};

// The part of "a|b|c" number `index`.
std::string_view choice(std::string_view choices, size_t index) {
  for (; index > 0; --index) choices.remove_prefix(choices.find('|') + 1);
  return choices.substr(0, choices.find('|'));
}

template <typename Enum>
Enum chosen(const Settings& settings, std::string_view path, std::string_view choices) {
  const std::string text = settings.text(path);
  size_t index = 0;
  while (choice(choices, index) != text) ++index;
  return static_cast<Enum>(index);
}

// Walks over the source of a YAML value, side by side with the text that it means.
struct Place {
  std::string_view source;  // from the value on
  size_t line;
  size_t column;

  void step() {
    const char c = source.front();
    source.remove_prefix(1);
    if (c == '\n') {
      ++line;
      column = 1;
    } else if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) {
      ++column;
    }
  }
  // How much white space is at hand does not matter: lines are folded and indented.
  void skip_space() {
    while (!source.empty() && is_space(source.front())) step();
  }
  static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }
};

Place start_of(std::string_view file, const YamlNode& value) {
  Place place{.source = file, .line = 1, .column = 1};
  while (!place.source.empty() && (place.line < value.line || place.column < value.column)) place.step();
  if (place.source.empty()) return place;
  const char first = place.source.front();
  if (first == '|' || first == '>') {
    while (!place.source.empty() && place.source.front() != '\n') place.step();
  } else if (first == '"' || first == '\'') {
    place.step();
  }
  place.skip_space();
  return place;
}

// Where byte `offset` of a value's text stands in its file. Where the text was written with escapes, the last place
// before them.
std::pair<size_t, size_t> locate(std::string_view file, const YamlNode& value, size_t offset) {
  Place place = start_of(file, value);
  bool spaces = false;
  for (size_t i = 0; i < std::min(offset, value.text.size()) && !place.source.empty(); ++i) {
    const char c = value.text[i];
    if (Place::is_space(c)) {
      spaces = true;
      continue;
    }
    if (std::exchange(spaces, false)) place.skip_space();
    if (place.source.empty() || place.source.front() != c) break;
    place.step();
  }
  if (spaces && offset < value.text.size()) place.skip_space();
  return {place.line, place.column};
}

class Loader {
 public:
  explicit Loader(std::span<const EventKind> kinds) : kinds_(kinds) {}

  Status add(const PolicyFile& file) {
    GH_ASSIGN(const Settings settings, Settings::parse(file.text, file.name, kKeys, kPolicyFileNodesMax));
    const std::vector<Settings> rules = settings.sections("rules");
    for (size_t i = 0; i < rules.size(); ++i) GH_TRY(add(file, rules[i], "rules[" + std::to_string(i) + "]."));
    digest_.update(std::as_bytes(std::span{file.text}));
    // So that what ends one file and what begins the next cannot be exchanged.
    digest_.update(std::as_bytes(std::span{kEnd}));
    return {};
  }

  Policy done() {
    policy_.version = to_hex(digest_.finish());
    for (size_t kind = 0; kind < kinds_.size(); ++kind) {
      std::vector<RuleIndex::Entry> entries;
      for (size_t i = 0; i < policy_.rules.size(); ++i) {
        const Rule& rule = policy_.rules[i];
        if (rule.kind == kind && rule.mode != RuleMode::kDraft)
          entries.push_back({.rule = static_cast<uint32_t>(i), .when = &rule.when});
      }
      policy_.indexes.emplace_back(entries);
    }
    return std::move(policy_);
  }

 private:
  static constexpr std::array<char, 1> kEnd = {'\0'};

  Status add(const PolicyFile& file, const Settings& rule, const std::string& shown) {
    const YamlNode& id = *rule.written("id");
    const std::string place = file.name + ":" + std::to_string(id.line) + ":" + std::to_string(id.column);
    const auto [known, fresh] = places_.emplace(id.text, place);
    if (!fresh)
      return Error::configuration(place + ": " + shown + "id: a rule of this name stands at " + known->second);
    if (policy_.rules.size() == kPolicyRulesMax)
      return Error::configuration(place + ": more than " + std::to_string(kPolicyRulesMax) + " rules");
    GH_ASSIGN(const size_t kind, kind_of(file, *rule.written("on"), shown));
    GH_ASSIGN(cel::Program when, condition(file, *rule.written("when"), shown, *kinds_[kind].schema));
    policy_.rules.push_back({.id = id.text,
                             .kind = kind,
                             .when = std::move(when),
                             .then = chosen<Action>(rule, "then", kActions),
                             .mode = chosen<RuleMode>(rule, "mode", kModes),
                             .severity = chosen<Severity>(rule, "severity", kSeverities),
                             .message = rule.text("message"),
                             .description = rule.text("description"),
                             .tags = rule.texts("tags"),
                             .place = place});
    return {};
  }

  Result<size_t> kind_of(const PolicyFile& file, const YamlNode& on, const std::string& shown) {
    const auto found = std::ranges::find(kinds_, on.text, &EventKind::name);
    if (found != kinds_.end()) return static_cast<size_t>(found - kinds_.begin());
    const auto nearest =
        std::ranges::min_element(kinds_, {}, [&](const EventKind& kind) { return edit_distance(on.text, kind.name); });
    return Error::configuration(
        yaml_position(file.name, on.line, on.column) + shown + "on: there are no events `" + printable(on.text) + "`" +
        (nearest == kinds_.end() ? "" : "; did you mean `" + std::string(nearest->name) + "`?"));
  }

  static Result<cel::Program> condition(const PolicyFile& file, const YamlNode& when, const std::string& shown,
                                        const cel::Schema& schema) {
    auto program = cel::compile(when.text, schema, cel::kBool);
    const auto error_at = [&](size_t offset, const std::string& message) {
      const auto [line, column] = locate(file.text, when, offset);
      return Error::configuration(yaml_position(file.name, line, column) + shown + "when: " + message);
    };
    if (!program) return error_at(program.error().offset, program.error().message);
    const cel::Value* constant = program->constant();
    if (constant != nullptr && !constant->is_true()) return error_at(0, "this is never true: the rule cannot match");
    return std::move(*program);
  }

  std::span<const EventKind> kinds_;
  Policy policy_{};
  std::map<std::string, std::string, std::less<>> places_{};  // of rules, by id
  Sha256Stream digest_{};
};

}  // namespace

std::string_view name_of(Action action) {
  return choice(kActions, static_cast<size_t>(action));
}
std::string_view name_of(RuleMode mode) {
  return choice(kModes, static_cast<size_t>(mode));
}
std::string_view name_of(Severity severity) {
  return choice(kSeverities, static_cast<size_t>(severity));
}

Result<Policy> load_policy(std::span<const PolicyFile> files, std::span<const EventKind> kinds) {
  Loader loader(kinds);
  for (const PolicyFile& file : files) GH_TRY(loader.add(file));
  return loader.done();
}

}  // namespace gatehouse::rules
