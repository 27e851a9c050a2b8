// SPDX-License-Identifier: Apache-2.0
// Where what is wrong in a rule file stands, down to the character of a condition.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/config.h"
#include "rules/engine/policy.h"

namespace gatehouse::rules {

// A file that was read; `settings` need not be sound.
struct Source {
  const PolicyFile* file;
  config::Settings settings;
};

// Where byte `offset` of a value's text stands in its file: line and column. Where the text was written with escapes,
// the last place before them.
std::pair<size_t, size_t> locate(std::string_view file, const YamlNode& value, size_t offset);

// One section of a file, as mistakes in it are told.
struct Section {
  const PolicyFile* file;
  config::Settings settings;
  std::string shown;  // "rules[3]"

  [[nodiscard]] const YamlNode& node(std::string_view key) const {
    const YamlNode* written = settings.written(key);
    return written == nullptr ? settings.place() : *written;
  }
  [[nodiscard]] Problem problem(std::string_view key, std::string what) const;
  [[nodiscard]] Problem problem(std::string_view key, const YamlNode& value, size_t offset, std::string what) const;
  // "file:line:column".
  [[nodiscard]] std::string place(std::string_view key) const;
};
// The sections of a file's list, such as "rules".
std::vector<Section> sections_of(const Source& source, std::string_view list);

}  // namespace gatehouse::rules
