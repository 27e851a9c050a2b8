// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/policy.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "common/digest.h"
#include "rules/engine/lexer.h"
#include "rules/engine/nearest.h"
#include "rules/engine/policy_keys.h"
#include "rules/engine/policy_names.h"
#include "rules/engine/time_text.h"
#include "rules/engine/window.h"

namespace gatehouse::rules {
namespace {

template <typename Enum>
Enum chosen(const Section& section, std::string_view path, std::string_view choices) {
  return static_cast<Enum>(choice_index(choices, section.settings.text(path)));
}

// What a condition says, without its white space and comments.
std::string essence(std::string_view condition) {
  Lexer lexer(condition);
  std::string text;
  for (Token token = lexer.next(); token.kind != TokenKind::kEnd && token.kind != TokenKind::kError;
       token = lexer.next())
    text += std::string(token.text.empty() ? std::string_view(token.string) : token.text) + "\n";
  return text;
}

bool is_scalar(const cel::Program& program) {
  constexpr std::array<std::string_view, 8> kScalars = {"string", "int",       "uint",     "double",
                                                        "bool",   "timestamp", "duration", "dyn"};
  return std::ranges::find(kScalars, program.type_name()) != kScalars.end();
}

// By key; those of the same keep their order. (The library's own is deprecated within itself.)
template <typename T, typename Key>
void sort_by(std::vector<T>& items, Key key) {
  std::vector<std::pair<decltype(key(items.front())), size_t>> order;
  order.reserve(items.size());
  for (const T& item : items) order.emplace_back(key(item), order.size());
  std::ranges::sort(order);
  std::vector<T> sorted;
  sorted.reserve(items.size());
  for (const auto& [of, index] : order) sorted.push_back(std::move(items[index]));
  items = std::move(sorted);
}

void index_rules(Policy& policy) {
  for (size_t kind = 0; kind < policy.indexes.size(); ++kind) {
    std::vector<RuleIndex::Entry> entries;
    for (size_t i = 0; i < policy.rules.size(); ++i) {
      const Rule& rule = policy.rules[i];
      if (rule.kind == kind && rule.mode != RuleMode::kDraft)
        entries.push_back({.rule = static_cast<uint32_t>(i), .when = &rule.when});
    }
    policy.indexes[kind] = RuleIndex(entries);
  }
}

class Loader {
 public:
  Loader(std::span<const PolicyFile> files, std::span<const EventKind> kinds, uint64_t now_unix_ns)
      : files_(files), kinds_(kinds), now_unix_ns_(now_unix_ns), conditions_(kinds, checked_.errors) {}

  CheckedPolicy run() {
    for (const PolicyFile& file : files_) read(file);
    conditions_.add_lists(sources_, files_);
    conditions_.add_macros(sources_);
    each("rules", [this](const Section& section) { add_rule(section); });
    each("exceptions", [this](const Section& section) { add_exception(section); });
    each("masks", [this](const Section& section) { add_mask(section); });
    warn_of_unused();
    sort_problems(checked_.errors);
    sort_problems(checked_.warnings);
    if (checked_.errors.empty()) checked_.policy = finish();
    return std::move(checked_);
  }

 private:
  void read(const PolicyFile& file) {
    digest_.update(std::as_bytes(std::span{file.text}));
    // So that what ends one file and what begins the next cannot be exchanged.
    digest_.update(std::as_bytes(std::span{kEnd}));
    if (file.name.ends_with(".txt")) return;
    std::vector<config::Problem> problems;
    auto settings = config::Settings::check(file.text, file.name, policy_keys(), kPolicyFileNodesMax, problems);
    for (config::Problem& problem : problems)
      checked_.errors.push_back(
          {file.name, problem.line, problem.column, std::move(problem.key), std::move(problem.what)});
    if (settings) sources_.push_back({&file, *std::move(settings)});
  }

  template <typename Add>
  void each(std::string_view list, Add add) {
    for (const Source& source : sources_)
      for (const Section& section : sections_of(source, list)) add(section);
  }

  void fail(Problem problem) { checked_.errors.push_back(std::move(problem)); }
  void warn(Problem problem) { checked_.warnings.push_back(std::move(problem)); }

  // Whether no other rule or mask has this id.
  bool is_fresh(const Section& section) {
    const std::string& id = section.node("id").text;
    const auto [known, fresh] = places_.emplace(id, section.place("id"));
    if (!fresh) fail(section.problem("id", "a rule or mask of this name stands at " + known->second));
    return fresh;
  }

  std::optional<size_t> kind_of(const Section& section, std::string_view name, std::string_view key) {
    const auto found = std::ranges::find(kinds_, name, &EventKind::name);
    if (found != kinds_.end()) return static_cast<size_t>(found - kinds_.begin());
    const auto nearest =
        std::ranges::min_element(kinds_, {}, [&](const EventKind& kind) { return edit_distance(name, kind.name); });
    fail(section.problem(key,
                         "there are no events `" + printable(name) + "`" +
                             (nearest == kinds_.end() ? "" : "; did you mean `" + std::string(nearest->name) + "`?")));
    return std::nullopt;
  }

  void add_rule(const Section& section) {
    const config::Settings& settings = section.settings;
    // What can be said of a rule that is not sound is said all the same.
    const auto is_text = [&](std::string_view key) {
      const YamlNode* value = settings.written(key);
      return value != nullptr && value->kind == YamlNode::Kind::kScalar;
    };
    if (!is_text("id") || !is_text("on") || !is_text("when")) return;
    const bool fresh = is_fresh(section);
    const auto kind = kind_of(section, section.node("on").text, "on");
    if (!kind) return;
    if (fresh) rule_kinds_.emplace(section.node("id").text, *kind);
    const YamlNode& written = section.node("when");
    auto when = conditions_.compile(section, "when", written, *kind, cel::kBool);
    if (when) check_reachable(section, written, *when, *kind);
    if (!settings.sound() || !when) return;
    if (rules_.size() == kPolicyRulesMax)
      return fail(section.problem("id", "more than " + std::to_string(kPolicyRulesMax) + " rules"));
    Rule rule{.id = settings.text("id"),
              .kind = *kind,
              .condition = written.text,
              .when = std::move(*when),
              .then = chosen<Action>(section, "then", kActions),
              .mode = chosen<RuleMode>(section, "mode", kModes),
              .severity = chosen<Severity>(section, "severity", kSeverities),
              .priority = static_cast<int>(settings.count("priority")),
              .message = settings.text("message"),
              .message_template = {},
              .description = settings.text("description"),
              .tags = settings.texts("tags"),
              .references = settings.texts("references"),
              .false_positives = settings.text("false_positives"),
              .place = section.place("id"),
              .window = {},
              .first_seen = {},
              .hold = {},
              .limit = {},
              .sqlstate = settings.text("sqlstate"),
              .memory_id = 0,
              .exceptions = {}};
    add_message(section, rule);
    add_memory(section, rule);
    add_hold(section, rule);
    add_limit(section, rule);
    if (rule.mode == RuleMode::kDraft) warn(section.problem("mode", "a draft: this rule is not judged by"));
    if (rule.description.empty())
      warn(section.problem("id", "no description: nobody will know why there is this rule"));
    rules_.push_back(std::move(rule));
  }

  void check_reachable(const Section& section, const YamlNode& written, const cel::Program& when, size_t kind) {
    const cel::Value* constant = when.constant();
    if (constant != nullptr && !constant->is_true())
      fail(section.problem("when", written, 0, "this is never true: the rule cannot match"));
    if (section.settings.written("window") != nullptr || section.settings.written("first_seen") != nullptr) return;
    const auto [known, fresh] = conditions_seen_.emplace(std::pair{kind, essence(written.text)}, section.place("id"));
    if (!fresh) warn(section.problem("when", written, 0, "the rule at " + known->second + " has the same condition"));
  }

  void add_message(const Section& section, Rule& rule) {
    const auto kept = [&](std::string text) {
      return cel::Value::string(conditions_.names().texts.emplace_back(std::move(text)));
    };
    if (rule.message.find_first_of("{}") == std::string::npos) return;
    const std::array values = {kept(rule.id), cel::Value::string(name_of(rule.severity)),
                               cel::Value::string(name_of(rule.then)), kept(rule.description)};
    const cel::Variable constants[] = {{"rule.id", &cel::kString, "", "", &values[0]},
                                       {"rule.severity", &cel::kString, "", "", &values[1]},
                                       {"rule.then", &cel::kString, "", "", &values[2]},
                                       {"rule.description", &cel::kString, "", "", &values[3]}};
    auto parsed = MessageTemplate::parse(rule.message, {kinds_[rule.kind].schema->variables, constants});
    if (parsed) {
      rule.message_template = std::move(*parsed);
    } else {
      fail(section.problem("message", section.node("message"), parsed.error().offset, parsed.error().message));
    }
  }

  void add_memory(const Section& section, Rule& rule) {
    const bool window = section.settings.has("window");
    const bool first_seen = section.settings.has("first_seen");
    if (!window && !first_seen) return;
    if (window && first_seen) return fail(section.problem("first_seen", "a rule has a window or first_seen, not both"));
    if (++memories_ > kMemoriesMax)
      return fail(section.problem(window ? "window" : "first_seen",
                                  "more than " + std::to_string(kMemoriesMax) + " rules with a window or first_seen"));
    KeyHash id;
    id.add(rule.id);
    id.add(essence(rule.condition));
    if (window) {
      add_window(section, rule, id);
    } else {
      rule.first_seen.emplace(FirstSeen{.key = fields(section, "first_seen.key", rule.kind, id),
                                        .key_texts = texts(section, "first_seen.key"),
                                        .learn_ns = *parse_span(section.settings.text("first_seen.learn"))});
      id.add(rule.first_seen->learn_ns);
    }
    rule.memory_id = id.value();
  }

  void add_window(const Section& section, Rule& rule, KeyHash& id) {
    std::optional<Measure> measure;
    size_t given = 0;
    for (const Measure of : {Measure::kCount, Measure::kSum, Measure::kDistinct}) {
      if (!section.settings.has("window." + std::string(name_of(of)))) continue;
      ++given;
      measure = of;
    }
    if (given != 1) return fail(section.problem("window", "a window has `count`, `sum` or `distinct`"));
    const std::string key = "window." + std::string(name_of(*measure));
    const uint64_t at_least = section.settings.count("window.at_least");
    if (*measure == Measure::kDistinct && at_least > kDistinctMax)
      return fail(section.problem("window.at_least", "at most " + std::to_string(kDistinctMax) + " different values"));
    const YamlNode& written = section.node(key);
    auto of =
        conditions_.compile(section, key, written, rule.kind, *measure == Measure::kCount ? cel::kBool : cel::kDyn);
    if (!of) return;
    constexpr std::array<std::string_view, 4> kNumbers = {"int", "uint", "double", "dyn"};
    if (*measure == Measure::kSum && std::ranges::find(kNumbers, of->type_name()) == kNumbers.end())
      return fail(section.problem(key, written, 0, "this is " + of->type_name() + ", and must be a number"));
    if (*measure == Measure::kDistinct && !is_scalar(*of))
      return fail(section.problem(key, written, 0, "this is " + of->type_name() + ", and must be one value"));
    id.add(static_cast<uint64_t>(*measure));
    id.add(essence(written.text));
    rule.window.emplace(Window{.measure = *measure,
                               .of = std::move(*of),
                               .by = fields(section, "window.by", rule.kind, id),
                               .of_text = written.text,
                               .by_texts = texts(section, "window.by"),
                               .over_ns = *parse_span(section.settings.text("window.over")),
                               .at_least = at_least});
    id.add(rule.window->over_ns);
    id.add(at_least);
  }

  void add_hold(const Section& section, Rule& rule) {
    const config::Settings& settings = section.settings;
    if (rule.then != Action::kHold) {
      if (settings.has("hold")) fail(section.problem("hold", "only a rule with `then: hold` has this"));
      return;
    }
    const std::string_view on = kinds_[rule.kind].name;
    if (on != "statement" && on != "connect")
      fail(section.problem("then", "only statements and connects can be held: of others the rule is told too late"));
    const auto span = [&](std::string_view key) { return *parse_span(settings.text(key)); };
    rule.hold.emplace(
        Hold{.for_ns = span("hold.for"),
             .approvers = settings.texts("hold.approvers"),
             .quorum = static_cast<uint32_t>(settings.count("hold.quorum")),
             .when_unreachable = chosen<WhenUnreachable>(section, "hold.when_unreachable", kWhenUnreachable),
             .unreachable_after_ns = span("hold.unreachable_after"),
             .remind_every_ns = span("hold.remind_every"),
             .explain = settings.text("hold.explain") == "true"});
    if (rule.hold->unreachable_after_ns > rule.hold->for_ns && settings.has("hold.unreachable_after"))
      fail(section.problem("hold.unreachable_after", "longer than the statement waits (`for`)"));
    std::vector<std::string> seen;
    for (const std::string& group : rule.hold->approvers) {
      if (std::ranges::find(seen, group) != seen.end())
        fail(section.problem("hold.approvers", "`" + printable(group) + "` stands there twice"));
      seen.push_back(group);
    }
  }

  void add_limit(const Section& section, Rule& rule) {
    const config::Settings& settings = section.settings;
    if (!settings.has("limit")) return;
    if (rule.then != Action::kAlert)
      return fail(section.problem("limit", "a rule that limits a result lets it begin: `then: alert`"));
    if (kinds_[rule.kind].name != "statement")
      return fail(section.problem("limit", "only statements have results that can be cut"));
    if (rule.window || rule.first_seen)
      return fail(section.problem("limit", "not together with a window or first_seen"));
    const ResultLimit limit{.rows = settings.count("limit.rows"), .bytes = settings.bytes("limit.bytes")};
    if (limit.rows == 0 && limit.bytes == 0)
      return fail(section.problem("limit", "a limit has `rows`, `bytes` or both"));
    rule.limit = limit;
  }

  std::vector<cel::Program> fields(const Section& section, std::string_view key, size_t kind, KeyHash& id) {
    std::vector<cel::Program> programs;
    if (!section.settings.has(key)) return programs;
    for (const YamlNode& item : section.node(key).children) {
      id.add(essence(item.text));
      auto program = conditions_.compile(section, key, item, kind, cel::kDyn);
      if (!program) continue;
      if (is_scalar(*program)) {
        programs.push_back(std::move(*program));
      } else {
        fail(section.problem(key, item, 0, "this is " + program->type_name() + ", and must be one value"));
      }
    }
    return programs;
  }

  static std::vector<std::string> texts(const Section& section, std::string_view key) {
    std::vector<std::string> texts;
    if (!section.settings.has(key)) return texts;
    for (const YamlNode& item : section.node(key).children) texts.push_back(item.text);
    return texts;
  }

  void add_exception(const Section& section) {
    const config::Settings& settings = section.settings;
    if (!settings.sound()) return;
    std::map<size_t, std::vector<std::string>> by_kind;
    for (const YamlNode& item : section.node("rules").children) {
      if (const auto found = rule_kinds_.find(item.text); found != rule_kinds_.end()) {
        by_kind[found->second].push_back(item.text);
      } else if (!places_.contains(item.text)) {
        const auto nearest = std::ranges::min_element(
            rule_kinds_, {}, [&](const auto& known) { return edit_distance(item.text, known.first); });
        fail({section.file->name, item.line, item.column, section.shown + ".rules",
              "there is no rule `" + printable(item.text) + "`" +
                  (nearest == rule_kinds_.end() ? "" : "; did you mean `" + nearest->first + "`?")});
      }
    }
    const uint64_t expires = *parse_expiry(settings.text("expires"));
    if (now_unix_ns_ != 0 && expires <= now_unix_ns_)
      warn(section.problem("expires", "expired: this exception does not apply any more"));
    const YamlNode& written = section.node("when");
    for (auto& [kind, rules] : by_kind) {
      auto when = conditions_.compile(section, "when", written, kind, cel::kBool);
      if (!when) continue;
      if (when->constant() != nullptr && !when->constant()->is_true())
        fail(section.problem("when", written, 0, "this is never true: the exception cannot apply"));
      exceptions_.push_back({.rules = std::move(rules),
                             .condition = written.text,
                             .when = std::move(*when),
                             .owner = settings.text("owner"),
                             .reason = settings.text("reason"),
                             .expires_unix_ns = expires,
                             .place = section.place("rules")});
    }
  }

  void add_mask(const Section& section) {
    const config::Settings& settings = section.settings;
    if (!settings.sound() || !is_fresh(section)) return;
    if (settings.texts("columns").empty() && settings.texts("detect").empty())
      return fail(section.problem("id", "a mask has `columns`, or tells by `detect` what it finds"));
    std::optional<cel::Program> unless;
    if (settings.has("unless")) {
      const auto kind = kind_of(section, "statement", "unless");
      if (!kind) return;
      unless = conditions_.compile(section, "unless", section.node("unless"), *kind, cel::kBool);
      if (!unless) return;
    }
    masks_.push_back({.id = settings.text("id"),
                      .columns = settings.texts("columns"),
                      .detect = settings.texts("detect"),
                      .method = chosen<MaskMethod>(section, "method", kMaskMethods),
                      .unless_condition = settings.text("unless"),
                      .unless = std::move(unless),
                      .nulls_too = settings.text("nulls") == "mask",
                      .when_unknown = chosen<WhenUnknown>(section, "when_unknown", kWhenUnknown),
                      .predicates = chosen<Predicates>(section, "predicates", kPredicates),
                      .mode = chosen<RuleMode>(section, "mode", kModes),
                      .description = settings.text("description"),
                      .place = section.place("id")});
  }

  // By their names in the texts: a name that stands in a comment only is not told.
  void warn_of_unused() {
    const auto is_used = [&](const std::string& name) {
      return std::ranges::any_of(
          sources_, [&](const Source& source) { return source.file->text.find(name) != std::string::npos; });
    };
    each("lists", [&](const Section& section) {
      if (section.settings.sound() && !is_used("lists." + section.settings.text("name")))
        warn(section.problem("name", "no condition uses this list"));
    });
    each("macros", [&](const Section& section) {
      if (section.settings.sound() && !is_used("macros." + section.settings.text("name")))
        warn(section.problem("name", "no condition uses this macro"));
    });
  }

  void sort_problems(std::vector<Problem>& problems) const {
    const auto order = [&](const Problem& problem) {
      const auto file = std::ranges::find(files_, problem.file, &PolicyFile::name);
      return std::tuple(file - files_.begin(), problem.line, problem.column);
    };
    sort_by(problems, order);
  }

  Policy finish() {
    Policy policy;
    policy.version = to_hex(digest_.finish());
    sort_by(rules_, [](const Rule& rule) { return -rule.priority; });
    policy.rules = std::move(rules_);
    policy.exceptions = std::move(exceptions_);
    policy.masks = std::move(masks_);
    std::map<std::string_view, size_t> numbers;
    for (size_t i = 0; i < policy.rules.size(); ++i) numbers.emplace(policy.rules[i].id, i);
    for (size_t i = 0; i < policy.exceptions.size(); ++i)
      for (const std::string& rule : policy.exceptions[i].rules)
        policy.rules[numbers.at(rule)].exceptions.push_back(static_cast<uint32_t>(i));
    policy.indexes.resize(kinds_.size());
    index_rules(policy);
    policy.names = conditions_.take();
    return policy;
  }

  static constexpr std::array<char, 1> kEnd = {'\0'};

  std::span<const PolicyFile> files_;
  std::span<const EventKind> kinds_;
  uint64_t now_unix_ns_;
  CheckedPolicy checked_{};
  Conditions conditions_;
  std::vector<Source> sources_{};
  std::vector<Rule> rules_{};
  std::vector<Exception> exceptions_{};
  std::vector<Mask> masks_{};
  std::map<std::string, std::string, std::less<>> places_{};  // of rules and masks, by id
  std::map<std::string, size_t, std::less<>> rule_kinds_{};   // by id
  std::map<std::pair<size_t, std::string>, std::string> conditions_seen_{};
  size_t memories_ = 0;
  Sha256Stream digest_{};
};

}  // namespace

Policy::Policy() = default;
Policy::Policy(Policy&&) noexcept = default;
Policy& Policy::operator=(Policy&&) noexcept = default;
Policy::~Policy() = default;

std::vector<cel::Part> explain(const Policy& policy, const Rule& rule, std::span<const cel::Value> variables) {
  const PolicyNames& names = *policy.names;
  std::vector<cel::NamedText> definitions;
  for (const cel::Definition& definition : names.definitions) {
    const auto macro = std::ranges::find(names.macros, definition.name, &PolicyNames::Macro::name);
    definitions.push_back({.definition = definition, .text = macro->text});
  }
  return cel::explain(rule.condition, names.schemas[rule.kind], definitions, variables);
}

void activate_all(Policy& policy) {
  for (Rule& rule : policy.rules) rule.mode = RuleMode::kActive;
  index_rules(policy);
}

std::string to_string(const Problem& problem) {
  return yaml_position(problem.file, problem.line, problem.column) + (problem.key.empty() ? "" : problem.key + ": ") +
         problem.what;
}

CheckedPolicy check_policy(std::span<const PolicyFile> files, std::span<const EventKind> kinds, uint64_t now_unix_ns) {
  return Loader(files, kinds, now_unix_ns).run();
}

Result<Policy> load_policy(std::span<const PolicyFile> files, std::span<const EventKind> kinds) {
  CheckedPolicy checked = check_policy(files, kinds);
  if (checked.policy) return *std::move(checked.policy);
  std::string text;
  for (const Problem& problem : checked.errors) text += (text.empty() ? "" : "\n") + to_string(problem);
  return Error::configuration(std::move(text));
}

}  // namespace gatehouse::rules
