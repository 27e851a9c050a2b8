// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/policy_names.h"

#include <algorithm>
#include <charconv>

#include "common/utf8.h"
#include "rules/engine/cel_expand.h"
#include "rules/engine/cel_parser.h"
#include "rules/engine/nearest.h"

namespace gatehouse::rules {
namespace {

constexpr cel::Type kInts{cel::TypeKind::kList, &cel::kInt};
constexpr cel::Type kDoubles{cel::TypeKind::kList, &cel::kDouble};

// A number as YAML writes it: whole, or with a fraction.
std::optional<cel::Value> number(std::string_view text) {
  int64_t whole = 0;
  const char* const end = text.data() + text.size();
  if (const auto [at, error] = std::from_chars(text.data(), end, whole); error == std::errc{} && at == end)
    return cel::Value::integer(whole);
  double real = 0;
  if (const auto [at, error] = std::from_chars(text.data(), end, real); error == std::errc{} && at == end)
    return cel::Value::real(real);
  return std::nullopt;
}

std::string_view trimmed(std::string_view line) {
  constexpr std::string_view kSpace = " \t\r";
  const size_t begin = line.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return "";
  return line.substr(begin, line.find_last_not_of(kSpace) - begin + 1);
}

// "rules/dba.txt" for what `rules/a.yaml` calls "dba.txt".
std::string beside(const std::string& file, const std::string& name) {
  const size_t slash = file.rfind('/');
  return slash == std::string::npos ? name : file.substr(0, slash + 1) + name;
}

}  // namespace

void Conditions::add_lists(std::span<const Source> sources, std::span<const PolicyFile> files) {
  for (const Source& source : sources)
    for (const Section& section : sections_of(source, "lists")) add_list(section, files);
  for (const EventKind& kind : kinds_) names_->schemas.push_back({kind.schema->variables, names_->constants});
}

void Conditions::add_list(const Section& section, std::span<const PolicyFile> files) {
  if (!section.settings.sound()) return;
  const std::string name = "lists." + section.settings.text("name");
  const auto [known, fresh] = places_.emplace(name, section.place("name"));
  if (!fresh) {
    errors_.push_back(section.problem("name", "a list of this name stands at " + known->second));
    return;
  }
  PolicyNames::List& list = names_->lists.emplace_back(PolicyNames::List{.name = name});
  const auto has = [&](std::string_view key) { return section.settings.has(key) ? 1 : 0; };
  if (has("texts") + has("numbers") + has("file") != 1)
    errors_.push_back(section.problem("", "a list has `texts`, `numbers` or a `file`"));
  const cel::Type* type = &cel::kStrings;
  if (section.settings.has("numbers")) {
    type = read_numbers(section, list);
  } else {
    read_texts(section, files, list);
    for (const std::string& text : list.texts) list.values.push_back(cel::Value::string(text));
  }
  if (list.values.size() > kListValuesMax)
    errors_.push_back(section.problem("", "more than " + std::to_string(kListValuesMax) + " values"));
  list.value = cel::Value::list(list.values.data(), list.values.size());
  names_->constants.push_back({.name = list.name, .type = type, .meaning = {}, .example = {}, .constant = &list.value});
}

void Conditions::read_texts(const Section& section, std::span<const PolicyFile> files, PolicyNames::List& list) {
  list.texts = section.settings.texts("texts");
  if (!section.settings.has("file")) return;
  const std::string name = beside(section.file->name, section.settings.text("file"));
  const auto found = std::ranges::find(files, name, &PolicyFile::name);
  if (found == files.end() || !name.ends_with(".txt")) {
    errors_.push_back(section.problem("file", "there is no file of lines `" + printable(name) + "`, ending in .txt"));
    return;
  }
  if (valid_utf8_prefix(found->text) != found->text.size()) {
    errors_.push_back({.file = name, .what = "not UTF-8 text"});
    return;
  }
  std::string_view rest = found->text;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = trimmed(rest.substr(0, end));
    if (!line.empty() && line.front() != '#') list.texts.emplace_back(line);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
}

const cel::Type* Conditions::read_numbers(const Section& section, PolicyNames::List& list) {
  bool whole = true;
  for (const YamlNode& item : section.node("numbers").children) {
    const auto value = number(item.text);
    if (!value) {
      errors_.push_back({section.file->name, item.line, item.column, section.shown + ".numbers",
                         "expected a number, found \"" + printable(item.text) + "\""});
      continue;
    }
    whole = whole && value->is(cel::Kind::kInt);
    list.values.push_back(*value);
  }
  if (whole) return &kInts;
  for (cel::Value& value : list.values)
    if (value.is(cel::Kind::kInt)) value = cel::Value::real(static_cast<double>(value.as_int()));
  return &kDoubles;
}

void Conditions::add_macros(std::span<const Source> sources) {
  for (const Source& source : sources) {
    for (const Section& section : sections_of(source, "macros")) {
      if (section.settings.written("name") == nullptr) continue;
      const std::string name = "macros." + section.node("name").text;
      const auto [known, fresh] = places_.emplace(name, section.place("name"));
      if (fresh) {
        PolicyNames::Macro& kept = names_->macros.emplace_back(PolicyNames::Macro{.name = name, .text = {}});
        macros_.push_back({.kept = kept, .section = section});
      } else {
        errors_.push_back(section.problem("name", "a macro of this name stands at " + known->second));
      }
    }
  }
  for (Macro& macro : macros_) parse_macro(macro);
  std::vector<Macro*> path;
  for (Macro& macro : macros_) expand_macro(macro, path);
}

void Conditions::parse_macro(Macro& macro) {
  if (!macro.section.settings.sound()) return;
  const YamlNode& value = macro.section.node("is");
  macro.kept.text = value.text;
  auto tree = cel::parse(value.text);
  if (tree) {
    macro.kept.tree = std::move(*tree);
  } else {
    errors_.push_back(macro.section.problem("is", value, tree.error().offset, tree.error().message));
  }
}

// Those that it uses come first. `path`: the macros that are being expanded, each since the one before it uses it.
void Conditions::expand_macro(Macro& macro, std::vector<Macro*>& path) {
  if (!macro.kept.tree || macro.is_done) return;
  const YamlNode& value = macro.section.node("is");
  if (const auto begin = std::ranges::find(path, &macro); begin != path.end()) {
    std::string circle;
    for (auto at = begin; at != path.end(); ++at) circle += "`" + (*at)->kept.name + "` uses ";
    errors_.push_back(macro.section.problem("is", "macros go in a circle: " + circle + "`" + macro.kept.name + "`"));
    for (auto at = begin; at != path.end(); ++at) (*at)->kept.tree.reset();
    return;
  }
  path.push_back(&macro);
  for (const cel::Use& use : cel::uses_of(*macro.kept.tree, "macros")) {
    Macro* used = find_macro(use.name);
    if (used != nullptr) expand_macro(*used, path);
    if (!macro.kept.tree) break;  // it was in a circle
  }
  path.pop_back();
  if (!macro.kept.tree) return;
  if (!are_usable(*macro.kept.tree, macro.section, "is", value, std::nullopt)) return macro.kept.tree.reset();
  if (auto error = cel::expand(*macro.kept.tree, names_->definitions)) {
    errors_.push_back(macro.section.problem("is", value, error->offset, error->message));
    return macro.kept.tree.reset();
  }
  macro.is_done = true;
  names_->definitions.push_back({.name = macro.kept.name, .tree = &*macro.kept.tree});
}

Conditions::Macro* Conditions::find_macro(std::string_view name) {
  const auto found = std::ranges::find_if(macros_, [&](const Macro& macro) { return macro.kept.name == name; });
  return found == macros_.end() ? nullptr : &*found;
}

bool Conditions::are_usable(const cel::Ast& tree, const Section& section, std::string_view key, const YamlNode& value,
                            std::optional<size_t> kind) {
  for (const cel::Use& use : cel::uses_of(tree, "macros")) {
    Macro* macro = find_macro(use.name);
    if (macro == nullptr) {
      const auto nearest = std::ranges::min_element(
          names_->macros, {}, [&](const PolicyNames::Macro& of) { return edit_distance(use.name, of.name); });
      errors_.push_back(
          section.problem(key, value, use.offset,
                          "there is no `" + use.name + "`" +
                              (nearest == names_->macros.end() ? "" : "; did you mean `" + nearest->name + "`?")));
      return false;
    }
    if (!macro->kept.tree || (kind && !is_usable(*macro, *kind))) return false;
  }
  return true;
}

// Told once for each kind of event.
bool Conditions::is_usable(Macro& macro, size_t kind) {
  const auto [known, fresh] = macro.kinds.emplace(kind, true);
  if (!fresh) return known->second;
  const YamlNode& value = macro.section.node("is");
  const auto program = cel::compile(value.text, schema(kind), cel::kBool, names_->definitions);
  if (!program) {
    errors_.push_back(macro.section.problem(
        "is", value, program.error().offset,
        program.error().message + ", where it is used for `" + std::string(kinds_[kind].name) + "`"));
  }
  return known->second = program.has_value();
}

std::optional<cel::Program> Conditions::compile(const Section& section, std::string_view key, const YamlNode& value,
                                                size_t kind, const cel::Type& wanted) {
  const auto fail = [&](const cel::CompileError& error) {
    errors_.push_back(section.problem(key, value, error.offset, error.message));
    return std::nullopt;
  };
  if (!macros_.empty()) {
    const auto tree = cel::parse(value.text);
    if (!tree) return fail(tree.error());
    if (!are_usable(*tree, section, key, value, kind)) return std::nullopt;
  }
  auto program = cel::compile(value.text, schema(kind), wanted, names_->definitions);
  if (!program) return fail(program.error());
  return std::move(*program);
}

}  // namespace gatehouse::rules
