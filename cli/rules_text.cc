// SPDX-License-Identifier: Apache-2.0
#include "cli/rules_text.h"

#include <algorithm>

#include "cli/safe_text.h"
#include "rules/engine/cel_explain.h"
#include "rules/engine/time_text.h"

namespace gatehouse::cli {
namespace {

using rules::cel::Type;
using rules::cel::TypeKind;

// A part and its value stand on one line up to this length.
constexpr size_t kPartColumns = 90;

// One JSON object, member by member.
class Object {
 public:
  Object& add(std::string_view name, std::string_view value) {
    begin(name);
    append_json_string(text_, value);
    return *this;
  }
  Object& add(std::string_view name, size_t value) { return raw(name, std::to_string(value)); }
  Object& flag(std::string_view name, bool value) { return raw(name, value ? "true" : "false"); }
  Object& add(std::string_view name, std::span<const std::string> values) {
    std::string list = "[";
    for (const std::string& value : values) {
      if (list.size() > 1) list += ',';
      append_json_string(list, value);
    }
    return raw(name, list + "]");
  }
  Object& raw(std::string_view name, const std::string& json) {
    begin(name);
    text_ += json;
    return *this;
  }
  std::string take() { return std::move(text_) + "}"; }

 private:
  void begin(std::string_view name) {
    if (text_.size() > 1) text_ += ',';
    append_json_string(text_, name);
    text_ += ':';
  }
  std::string text_ = "{";
};

std::string_view line_of(std::string_view text, size_t line) {
  for (; line > 1; --line) {
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) return "";
    text.remove_prefix(end + 1);
  }
  return text.substr(0, text.find('\n'));
}

// The line and a caret below its column, which counts characters.
std::string pointed_at(std::string_view line, size_t column) {
  size_t offset = 0;
  for (size_t i = 1; i < column && offset < line.size(); ++i) {
    ++offset;
    while (offset < line.size() && (static_cast<unsigned char>(line[offset]) & 0xC0) == 0x80) ++offset;
  }
  // Made safe in two halves, so that the caret stands right; indentation is not shown.
  const size_t indent = std::min(line.find_first_not_of(' '), offset);
  std::string head = safe(line.substr(indent, offset - indent));
  if (offset > indent && line[offset - 1] == ' ') head += ' ';
  return "    " + head + safe(line.substr(offset)) + "\n    " + std::string(display_width(head), ' ') + "^\n";
}

void walk(const std::string& name, const Type& type, std::string_view meaning, std::string_view example, size_t depth,
          std::vector<RuleField>& out) {
  constexpr size_t kDepthMax = 6;
  if (type.kind != TypeKind::kRecord)
    out.push_back({name, rules::cel::to_string(type), std::string(meaning), std::string(example)});
  const bool is_list = type.kind == TypeKind::kList;
  const Type& of = is_list ? *type.first : type;
  if (of.kind != TypeKind::kRecord || depth == kDepthMax) return;
  for (const rules::cel::Field& field : of.record->fields)
    walk(name + (is_list ? "[]." : ".") + std::string(field.name), *field.type, field.meaning, field.example, depth + 1,
         out);
}

}  // namespace

std::string render_problem(const rules::Problem& problem, bool is_error, std::span<const rules::PolicyFile> files,
                           const TableStyle& style) {
  std::string text = safe(problem.file) + ":" + std::to_string(problem.line) + ":" + std::to_string(problem.column) +
                     ": " + toned(is_error ? "error" : "warning", is_error ? Tone::kBad : Tone::kOdd, style.colour) +
                     ": " + (problem.key.empty() ? "" : safe(problem.key) + ": ") + safe(problem.what) + "\n";
  const auto file = std::ranges::find(files, problem.file, &rules::PolicyFile::name);
  if (file != files.end()) text += pointed_at(line_of(file->text, problem.line), problem.column);
  return text;
}

std::string to_json(const rules::Problem& problem, bool is_error) {
  return Object()
             .add("problem", is_error ? std::string_view("error") : "warning")
             .add("file", problem.file)
             .add("line", problem.line)
             .add("column", problem.column)
             .add("key", problem.key)
             .add("what", problem.what)
             .take() +
         "\n";
}

std::string render_outcome(const rules::Case& of, const CaseOutcome& outcome, const TableStyle& style) {
  const std::string place = of.file + ":" + std::to_string(of.line) + ":" + std::to_string(of.column) + ":";
  if (outcome.problem) return safe(to_string(*outcome.problem)) + "\n";
  std::string text = safe(place) + " " + toned("failed", Tone::kBad, style.colour) + ": " + safe(of.name) + "\n";
  for (const std::string& difference : outcome.differences) text += "    " + safe(difference) + "\n";
  return text;
}

std::string to_json(const rules::Case& of, const CaseOutcome& outcome) {
  Object object;
  object.add("case", of.name)
      .add("file", of.file)
      .add("line", of.line)
      .flag("passed", outcome.passed())
      .add("verdict", name_of(outcome.verdict))
      .add("findings", outcome.findings)
      .add("excepted", outcome.excepted)
      .add("differences", outcome.differences);
  if (outcome.problem) object.add("problem", to_string(*outcome.problem));
  return object.take() + "\n";
}

std::string render_parts(std::span<const rules::cel::Part> parts, const TableStyle& style) {
  std::string text;
  for (const rules::cel::Part& part : parts) {
    std::string_view mark = "  ";
    Tone tone = Tone::kPlain;
    if (part.holds) {
      mark = *part.holds ? "+ " : "- ";
      tone = *part.holds ? Tone::kGood : Tone::kBad;
    } else if (part.is_error) {
      mark = "! ";
      tone = Tone::kOdd;
    }
    text += std::string(2 + 2 * part.depth, ' ') + toned(mark, tone, style.colour);
    if (part.is_each) text += "of each: ";
    text += safe(part.text);
    if (!part.definition.empty() && part.depth > 0) text += toned("  # " + part.definition, Tone::kFaint, style.colour);
    const bool fits = part.text.size() + part.value.size() < kPartColumns;
    text += fits ? "  = " : "\n" + std::string(6 + 2 * part.depth, ' ') + "= ";
    text += toned(safe(part.value), tone, style.colour) + "\n";
  }
  return text;
}

std::string to_json(std::span<const rules::cel::Part> parts) {
  std::string list = "[";
  for (const rules::cel::Part& part : parts) {
    if (list.size() > 1) list += ',';
    Object object;
    object.add("depth", part.depth).add("text", part.text).add("value", part.value);
    if (part.holds) object.flag("holds", *part.holds);
    if (part.is_error) object.flag("error", true);
    if (part.is_each) object.flag("each", true);
    if (!part.definition.empty()) object.add("macro", part.definition);
    list += object.take();
  }
  return list + "]";
}

namespace {

struct ShownTerm {
  std::string text, value;
};

ShownTerm shown_term(const std::string& text, const rules::cel::Program& program,
                     std::span<const rules::cel::Value> variables, rules::cel::Scratch& scratch) {
  return {.text = text, .value = rules::cel::shown(rules::cel::evaluate(program, variables, scratch))};
}

std::vector<ShownTerm> shown_terms(std::span<const std::string> texts, std::span<const rules::cel::Program> programs,
                                   std::span<const rules::cel::Value> variables) {
  std::vector<ShownTerm> terms;
  rules::cel::Scratch scratch;
  for (size_t i = 0; i < texts.size() && i < programs.size(); ++i)
    terms.push_back(shown_term(texts[i], programs[i], variables, scratch));
  return terms;
}

// "at least 10 events where `true` within 5m".
std::string sentence_of(const rules::Window& window) {
  const std::string number = std::to_string(window.at_least);
  const std::string within = " within " + rules::format_duration(window.over_ns);
  switch (window.measure) {
    case rules::Measure::kCount:
      return "at least " + number + " such events" + (window.of_text == "true" ? "" : ", counted where this holds,") +
             within;
    case rules::Measure::kSum:
      return "this adds up to at least " + number + within;
    case rules::Measure::kDistinct:
      return "this has at least " + number + " different values" + within;
  }
  return {};
}

std::string to_json(std::span<const ShownTerm> terms) {
  std::string list = "[";
  for (const ShownTerm& term : terms) {
    if (list.size() > 1) list += ',';
    list += Object().add("text", term.text).add("value", term.value).take();
  }
  return list + "]";
}

}  // namespace

std::string render_memory(const rules::Rule& rule, std::span<const rules::cel::Value> variables,
                          const TableStyle& style) {
  std::string text;
  const auto line = [&](const std::string& words) { text += "  " + toned(words, Tone::kFaint, style.colour) + "\n"; };
  const auto show = [&](const ShownTerm& term) {
    text += "      " + safe(term.text) + "  = " + safe(term.value) + "\n";
  };
  if (rule.window) {
    const rules::Window& window = *rule.window;
    line("and " + sentence_of(window) + ":");
    rules::cel::Scratch scratch;
    if (window.measure != rules::Measure::kCount || window.of_text != "true")
      show(shown_term(window.of_text, window.of, variables, scratch));
    if (!window.by.empty()) line("counted apart by:");
    for (const ShownTerm& term : shown_terms(window.by_texts, window.by, variables)) show(term);
  }
  if (rule.first_seen) {
    line("and these together were not seen before, after " + rules::format_duration(rule.first_seen->learn_ns) +
         " of learning:");
    for (const ShownTerm& term : shown_terms(rule.first_seen->key_texts, rule.first_seen->key, variables)) show(term);
  }
  return text;
}

std::string memory_to_json(const rules::Rule& rule, std::span<const rules::cel::Value> variables) {
  std::string members;
  if (rule.window) {
    const rules::Window& window = *rule.window;
    rules::cel::Scratch scratch;
    const ShownTerm of = shown_term(window.of_text, window.of, variables, scratch);
    members += ",\"window\":" + Object()
                                    .add("measure", name_of(window.measure))
                                    .add("of", of.text)
                                    .add("value", of.value)
                                    .add("over", rules::format_duration(window.over_ns))
                                    .add("at_least", window.at_least)
                                    .raw("by", to_json(shown_terms(window.by_texts, window.by, variables)))
                                    .take();
  }
  if (rule.first_seen)
    members += ",\"first_seen\":" +
               Object()
                   .add("learn", rules::format_duration(rule.first_seen->learn_ns))
                   .raw("key", to_json(shown_terms(rule.first_seen->key_texts, rule.first_seen->key, variables)))
                   .take();
  return members;
}

std::vector<RuleField> fields_of(const rules::cel::Schema& schema) {
  std::vector<RuleField> fields;
  for (const rules::cel::Variable& variable : schema.variables)
    walk(std::string(variable.name), *variable.type, variable.meaning, variable.example, 0, fields);
  return fields;
}

std::string to_json(const RuleField& field, std::string_view kind) {
  return Object()
             .add("name", field.name)
             .add("on", kind)
             .add("type", field.type)
             .add("meaning", field.meaning)
             .add("example", field.example)
             .take() +
         "\n";
}

}  // namespace gatehouse::cli
