// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/source.h"

#include <algorithm>

namespace gatehouse::rules {
namespace {

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
  while (place.line < value.line) {
    const size_t end = place.source.find('\n');
    if (end == std::string_view::npos) break;
    place.source.remove_prefix(end + 1);
    ++place.line;
  }
  while (!place.source.empty() && place.line == value.line && place.column < value.column) place.step();
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

}  // namespace

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

Problem Section::problem(std::string_view key, std::string what) const {
  const YamlNode& value = node(key);
  return {.file = file->name,
          .line = value.line,
          .column = value.column,
          .key = shown + (key.empty() ? "" : "." + std::string(key)),
          .what = std::move(what)};
}

Problem Section::problem(std::string_view key, const YamlNode& value, size_t offset, std::string what) const {
  const auto [line, column] = locate(file->text, value, offset);
  return {.file = file->name,
          .line = line,
          .column = column,
          .key = shown + "." + std::string(key),
          .what = std::move(what)};
}

std::string Section::place(std::string_view key) const {
  const YamlNode& value = node(key);
  return file->name + ":" + std::to_string(value.line) + ":" + std::to_string(value.column);
}

std::vector<Section> sections_of(const Source& source, std::string_view list) {
  std::vector<Section> sections;
  for (const config::Settings& settings : source.settings.sections(list))
    sections.push_back({source.file, settings, std::string(list) + "[" + std::to_string(sections.size()) + "]"});
  return sections;
}

}  // namespace gatehouse::rules
