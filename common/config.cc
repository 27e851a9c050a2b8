// SPDX-License-Identifier: Apache-2.0
#include "common/config.h"

#include <algorithm>
#include <bit>

#include "common/check.h"
#include "common/file.h"
#include "common/limits.h"

namespace gatehouse::config {
namespace {

const Key* find_key(std::span<const Key> schema, std::string_view path) {
  const auto found = std::ranges::find(schema, path, &Key::path);
  return found == schema.end() ? nullptr : &*found;
}

std::string_view last_part(std::string_view path) {
  const size_t dot = path.rfind('.');
  return dot == std::string_view::npos ? path : path.substr(dot + 1);
}

bool names_milliseconds(const Key& key) {
  return last_part(key.path).find("_ms") != std::string_view::npos;
}

// A number of the key's unit as people write it.
std::string in_unit(const Key& key, uint64_t value) {
  if (key.type == Type::kBytes) return format_bytes(value);
  if (key.type == Type::kDuration) return format_duration(std::chrono::milliseconds(static_cast<int64_t>(value)));
  return std::to_string(value);
}

std::string range(const Key& key) {
  std::string text;
  if (key.max != UINT64_MAX)
    text = in_unit(key, key.min) + " to " + in_unit(key, key.max);
  else if (key.min != 0)
    text = "at least " + in_unit(key, key.min);
  if (key.power_of_two) text += std::string(text.empty() ? "" : ", ") + "a power of two";
  return text;
}

std::string list_choices(const Key& key) {
  std::string text(key.choices);
  for (size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.replace(at, 1, ", ");
  return text;
}

bool is_choice(const Key& key, std::string_view value) {
  std::string_view rest = key.choices;
  while (!rest.empty()) {
    const size_t bar = rest.find('|');
    if (rest.substr(0, bar) == value) return true;
    rest = bar == std::string_view::npos ? "" : rest.substr(bar + 1);
  }
  return false;
}

std::string expected_number(const Key& key, std::string_view what) {
  const std::string bounds = range(key);
  return std::string(what) + (bounds.empty() ? "" : " (" + bounds + ")");
}

std::optional<uint64_t> parse_number(const Key& key, std::string_view value) {
  if (key.type == Type::kBytes) return parse_bytes(value);
  if (key.type == Type::kCount) return parse_count(value);
  const auto duration = parse_duration(value, names_milliseconds(key));
  if (!duration) return std::nullopt;
  return static_cast<uint64_t>(duration->count());
}

std::optional<std::string> check_number(const Key& key, std::string_view value) {
  const std::optional<uint64_t> number = parse_number(key, value);
  if (number && *number >= key.min && *number <= key.max && (!key.power_of_two || std::has_single_bit(*number)))
    return std::nullopt;
  if (key.type == Type::kBytes) return expected_number(key, "a size such as 64MiB");
  if (key.type == Type::kCount) return expected_number(key, "a whole number");
  return expected_number(key, "a duration such as 100ms, 2s or 1h");
}

std::optional<std::string> check_text(const Key& key, std::string_view value) {
  const uint64_t min = std::max<uint64_t>(key.min, 1);
  const uint64_t max = key.has_lines ? key.max : std::min<uint64_t>(key.max, kConfigTextBytesMax);
  if (value.size() < min || value.size() > max)
    return "text of " + std::to_string(min) + " to " + std::to_string(max) + " bytes";
  const auto is_control = [&](char c) {
    const bool layout = c == '\n' || c == '\t';
    return (static_cast<unsigned char>(c) < 0x20 && !(layout && key.has_lines)) || c == 0x7f;
  };
  if (std::ranges::any_of(value, is_control)) return "text without control characters";
  return key.check != nullptr ? key.check(value) : std::nullopt;
}

// Nothing, or what was expected instead of `value`.
std::optional<std::string> check_scalar(const Key& key, std::string_view value) {
  switch (key.type) {
    case Type::kCount:
    case Type::kBytes:
    case Type::kDuration:
      return check_number(key, value);
    case Type::kChoice:
      if (!is_choice(key, value)) return "one of " + list_choices(key);
      return key.check != nullptr ? key.check(value) : std::nullopt;
    case Type::kAddress:
      if (!parse_address(value)) return "an address such as 127.0.0.1:7443, db.example.org:7443 or [::1]:7443";
      return check_text(key, value);
    case Type::kText:
    case Type::kTexts:
    case Type::kLabels:
      return check_text(key, value);
    case Type::kSection:
    case Type::kSections:
    case Type::kAny:
      break;
  }
  return "a section";
}

// Edits (insert, delete, replace, swap neighbours) that turn one into the other.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> cost(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) cost[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) cost[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replace = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0U : 1U);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, replace});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

// The key that the user may have meant: a similar name in the same section, else the same name in another one.
std::string suggestion(std::span<const Key> schema, std::string_view prefix, std::string_view name) {
  constexpr size_t kNameBytesMax = 64;
  if (name.size() > kNameBytesMax) return "";
  std::string_view nearest;
  size_t nearest_distance = std::max<size_t>(2, name.size() / 3) + 1;
  std::string all;
  for (const Key& key : schema) {
    if (!key.path.starts_with(prefix)) continue;
    const std::string_view rest = key.path.substr(prefix.size());
    if (rest.find('.') != std::string_view::npos) continue;
    all += std::string(all.empty() ? "" : ", ") + std::string(rest);
    if (const size_t edits = distance(name, rest); edits < nearest_distance) {
      nearest = rest;
      nearest_distance = edits;
    }
  }
  if (!nearest.empty()) return "; did you mean " + std::string(nearest) + "?";
  for (const Key& key : schema)
    if (last_part(key.path) == name) return "; did you mean " + std::string(key.path) + "?";
  return "; known here: " + all;
}

// Checks a tree against a table, and tells what is wrong in the order of the file; what a section lacks comes after
// what it has.
class Checker {
 public:
  Checker(std::span<const Key> schema, std::vector<Problem>& problems, std::set<const YamlNode*>& unsound)
      : schema_(schema), problems_(problems), unsound_(unsound) {}

  // `shown` is the section's name for people ("databases[1]."), `prefix` its name in the table ("databases[].").
  void section(const YamlNode& node, const std::string& prefix, const std::string& shown) {
    path_.push_back(&node);
    if (node.kind != YamlNode::Kind::kMap && node.kind != YamlNode::Kind::kNull) {
      error(node, shown.empty() ? "" : shown.substr(0, shown.size() - 1), "expected keys with values");
    } else {
      keys(node, prefix, shown);
      required(node, prefix, shown);
    }
    path_.pop_back();
  }

 private:
  void keys(const YamlNode& node, const std::string& prefix, const std::string& shown) {
    for (const YamlNode& child : node.children) {
      const std::string name = shown + printable(child.key);
      const Key* key = find_key(schema_, prefix + child.key);
      if (key == nullptr || child.key.find_first_of(".[") != std::string::npos) {
        error_at(child.key_line, child.key_column, name, "unknown key" + suggestion(schema_, prefix, child.key));
      } else {
        value(child, *key, name);
      }
    }
  }

  void value(const YamlNode& node, const Key& key, const std::string& shown) {
    switch (key.type) {
      case Type::kSection:
        return section(node, std::string(key.path) + ".", shown + ".");
      case Type::kSections:
        return sections(node, key, shown);
      case Type::kTexts:
        return texts(node, key, shown);
      case Type::kLabels:
        return labels(node, key, shown);
      case Type::kAny:
        return;
      case Type::kText:
      case Type::kChoice:
      case Type::kCount:
      case Type::kBytes:
      case Type::kDuration:
      case Type::kAddress:
        break;
    }
    scalar(node, key, shown);
  }

  void scalar(const YamlNode& node, const Key& key, const std::string& shown) {
    // A choice may be called null.
    const bool given = node.kind == YamlNode::Kind::kScalar ||
                       (node.kind == YamlNode::Kind::kNull && key.type == Type::kChoice && !node.text.empty());
    const std::optional<std::string> expected = check_scalar(key, given ? node.text : "");
    if (given && !expected) return;
    const std::string what = expected.value_or("one value");
    switch (node.kind) {
      case YamlNode::Kind::kNull:
        return error(node, shown, "expected " + what + ", found nothing");
      case YamlNode::Kind::kList:
        return error(node, shown, "expected one value, found a list");
      case YamlNode::Kind::kMap:
        return error(node, shown, "expected one value, found keys");
      case YamlNode::Kind::kScalar:
        break;
    }
    error(node, shown, "expected " + what + ", found \"" + printable(node.text) + "\"");
  }

  void sections(const YamlNode& node, const Key& key, const std::string& shown) {
    if (node.kind != YamlNode::Kind::kList && node.kind != YamlNode::Kind::kNull)
      return error(node, shown, "expected a list: lines that begin with \"- \"");
    for (size_t i = 0; i < node.children.size(); ++i)
      section(node.children[i], std::string(key.path) + "[].", shown + "[" + std::to_string(i) + "].");
  }

  void texts(const YamlNode& node, const Key& key, const std::string& shown) {
    if (node.kind == YamlNode::Kind::kScalar) return error(node, shown, "expected a list, such as [a, b]");
    if (node.kind == YamlNode::Kind::kMap) return error(node, shown, "expected a list, found keys");
    if (node.children.empty() && key.required) return error(node, shown, "expected at least one value");
    for (const YamlNode& item : node.children) scalar(item, key, shown);
  }

  void labels(const YamlNode& node, const Key& key, const std::string& shown) {
    if (node.kind != YamlNode::Kind::kMap && node.kind != YamlNode::Kind::kNull)
      return error(node, shown, "expected names with values, such as {env: production}");
    for (const YamlNode& item : node.children) scalar(item, key, shown + "." + printable(item.key));
  }

  void required(const YamlNode& node, std::string_view prefix, const std::string& shown) {
    for (const Key& key : schema_) {
      if (!key.required || !key.path.starts_with(prefix)) continue;
      const std::string_view name = key.path.substr(prefix.size());
      if (name.find('.') != std::string_view::npos || node.find(name) != nullptr) continue;
      error(node, shown + std::string(name), "missing; " + std::string(key.why));
    }
  }

  void error(const YamlNode& node, const std::string& shown, const std::string& what) {
    error_at(node.line, node.column, shown, what);
  }
  void error_at(size_t line, size_t column, const std::string& shown, const std::string& what) {
    if (problems_.size() < kProblemsMax) problems_.push_back({line, column, shown, what});
    unsound_.insert(path_.begin(), path_.end());
  }

  // Nobody reads more.
  static constexpr size_t kProblemsMax = 1000;

  std::span<const Key> schema_;
  std::vector<Problem>& problems_;
  std::set<const YamlNode*>& unsound_;
  std::vector<const YamlNode*> path_{};  // sections, from the root to the one at hand
};

std::string_view type_name(const Key& key) {
  switch (key.type) {
    case Type::kSection:
      return "section";
    case Type::kSections:
      return "list of sections";
    case Type::kText:
      return "text";
    case Type::kTexts:
      return "list of text";
    case Type::kLabels:
      return "names with text";
    case Type::kChoice:
      return "choice";
    case Type::kCount:
      return "number";
    case Type::kBytes:
      return "bytes";
    case Type::kDuration:
      return names_milliseconds(key) ? "milliseconds or duration" : "duration";
    case Type::kAddress:
      return "host:port";
    case Type::kAny:
      return "any";
  }
  return "";
}

bool is_number(const Key& key) {
  return key.type == Type::kCount || key.type == Type::kBytes || key.type == Type::kDuration;
}

}  // namespace

std::optional<Settings> Settings::check(std::string_view text, const std::string& file, std::span<const Key> schema,
                                        size_t nodes_max, std::vector<Problem>& problems) {
  auto root = parse_yaml(text, nodes_max);
  if (!root) {
    problems.push_back({root.error().line, root.error().column, "", root.error().what});
    return std::nullopt;
  }
  auto owned = std::make_shared<File>(File{file, std::move(*root), schema});
  Checker(schema, problems, owned->unsound).section(owned->root, "", "");
  const YamlNode* const section = &owned->root;
  return Settings(std::move(owned), section, "");
}

Result<Settings> Settings::parse(std::string_view text, const std::string& file, std::span<const Key> schema) {
  std::vector<Problem> problems;
  std::optional<Settings> settings = check(text, file, schema, kYamlNodesMax, problems);
  if (problems.empty()) return *std::move(settings);
  const Problem& first = problems.front();
  std::string message = yaml_position(file, first.line, first.column);
  if (!first.key.empty()) message += first.key + ": ";
  return Error::configuration(message + first.what);
}

Result<Settings> Settings::load(const std::string& path, std::span<const Key> schema) {
  const Result<std::string> content = read_file(path, kConfigBytesMax);
  if (!content) return Error::configuration(content.error().message());
  return parse(*content, path, schema);
}

const Key& Settings::key(std::string_view path) const {
  const Key* const found = find_key(file_->schema, prefix_ + std::string(path));
  GH_CHECK(found != nullptr);
  return *found;
}

const YamlNode* Settings::node(std::string_view path) const {
  const YamlNode* at = section_;
  for (std::string_view rest = path; !rest.empty();) {
    const size_t dot = rest.find('.');
    at = at->find(rest.substr(0, dot));
    if (at == nullptr) return nullptr;
    rest = dot == std::string_view::npos ? "" : rest.substr(dot + 1);
  }
  return at;
}

std::string Settings::scalar(std::string_view path) const {
  const YamlNode* const found = node(path);
  return found != nullptr ? found->text : std::string(key(path).fallback);
}

bool Settings::has(std::string_view path) const {
  GH_CHECK(find_key(file_->schema, prefix_ + std::string(path)) != nullptr);
  return node(path) != nullptr;
}

std::string Settings::text(std::string_view path) const {
  const Type type = key(path).type;
  GH_CHECK(type == Type::kText || type == Type::kChoice || type == Type::kAddress);
  return scalar(path);
}

std::vector<std::string> Settings::texts(std::string_view path) const {
  GH_CHECK(key(path).type == Type::kTexts);
  const YamlNode* const found = node(path);
  std::vector<std::string> values;
  if (found != nullptr)
    for (const YamlNode& item : found->children) values.push_back(item.text);
  else if (!key(path).fallback.empty())
    values.emplace_back(key(path).fallback);
  return values;
}

std::vector<std::pair<std::string, std::string>> Settings::labels(std::string_view path) const {
  GH_CHECK(key(path).type == Type::kLabels);
  std::vector<std::pair<std::string, std::string>> values;
  if (const YamlNode* const found = node(path); found != nullptr)
    for (const YamlNode& item : found->children) values.emplace_back(item.key, item.text);
  return values;
}

uint64_t Settings::count(std::string_view path) const {
  GH_CHECK(key(path).type == Type::kCount);
  return parse_count(scalar(path)).value();
}

uint64_t Settings::bytes(std::string_view path) const {
  GH_CHECK(key(path).type == Type::kBytes);
  return parse_bytes(scalar(path)).value();
}

std::chrono::milliseconds Settings::duration(std::string_view path) const {
  GH_CHECK(key(path).type == Type::kDuration);
  return parse_duration(scalar(path), names_milliseconds(key(path))).value();
}

Address Settings::address(std::string_view path) const {
  GH_CHECK(key(path).type == Type::kAddress);
  return parse_address(scalar(path)).value();
}

std::vector<Settings> Settings::sections(std::string_view path) const {
  GH_CHECK(key(path).type == Type::kSections);
  std::vector<Settings> items;
  if (const YamlNode* const found = node(path); found != nullptr && found->kind == YamlNode::Kind::kList)
    for (const YamlNode& item : found->children)
      items.push_back(Settings(file_, &item, prefix_ + std::string(path) + "[]."));
  return items;
}

Error Settings::error_at(std::string_view path, std::string_view expected) const {
  const YamlNode* const found = node(path);
  const YamlNode& place = found != nullptr ? *found : *section_;
  return Error::configuration(yaml_position(file_->name, place.line, place.column) + prefix_ + std::string(path) +
                              ": " + std::string(expected));
}

std::string markdown(std::span<const Key> schema) {
  std::string text = "| key | type, unit | default | range | why |\n|---|---|---|---|---|\n";
  for (const Key& key : schema) {
    const std::string fallback = !key.note.empty()      ? std::string(key.note)
                                 : key.required         ? "required"
                                 : key.fallback.empty() ? ""
                                                        : "`" + std::string(key.fallback) + "`";
    const std::string bounds = key.type == Type::kChoice ? list_choices(key) : is_number(key) ? range(key) : "";
    text += "| `" + std::string(key.path) + "` | " + std::string(type_name(key)) + " | " + fallback + " | " + bounds +
            " | " + std::string(key.why) + " |\n";
  }
  return text;
}

std::vector<std::string> problems(std::span<const Key> schema) {
  std::vector<std::string> found;
  for (const Key& key : schema) {
    const std::string path(key.path);
    if (key.why.empty()) found.push_back(path + ": no reason given");
    if (find_key(schema, key.path) != &key) found.push_back(path + ": given twice");
    const size_t dot = path.rfind('.');
    std::string section = dot == std::string::npos ? "" : path.substr(0, dot);
    if (section.ends_with("[]")) section.resize(section.size() - 2);
    if (!section.empty() && find_key(schema, section) == nullptr) found.push_back(path + ": its section is missing");
    if (!key.fallback.empty() && check_scalar(key, key.fallback))
      found.push_back(path + ": default: expected " + *check_scalar(key, key.fallback));
    if (is_number(key) && (key.fallback.empty() || key.max == UINT64_MAX))
      found.push_back(path + ": a number needs a default and a range");
  }
  return found;
}

}  // namespace gatehouse::config
