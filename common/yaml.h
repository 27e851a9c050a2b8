// SPDX-License-Identifier: Apache-2.0
// A YAML text as a tree that knows where each value stands. The parser's library and its exceptions end here.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "common/limits.h"
#include "common/result.h"

namespace gatehouse {

struct YamlNode {
  enum class Kind : uint8_t { kNull, kScalar, kList, kMap };
  Kind kind = Kind::kNull;
  size_t line = 1, column = 1;  // counted from 1; of the value, or of its key where the value is absent
  std::string text;             // kScalar; kNull: "null" where it is written so
  // kList: the items. kMap: the values in the order they are written, each with its key; keys differ.
  std::vector<YamlNode> children;
  std::string key;  // in a map
  size_t key_line = 0, key_column = 0;

  [[nodiscard]] const YamlNode* find(std::string_view child_key) const;
};

// "file:line:column: " as editors and people read it.
std::string yaml_position(std::string_view file, size_t line, size_t column);
// `text` fit for a message on one line: shortened, control characters and invalid UTF-8 replaced.
std::string printable(std::string_view text);

// What is wrong in a file, and where.
struct YamlProblem {
  size_t line = 1;
  size_t column = 1;
  std::string what;
};

// One document; an empty text is kNull. Errors are of kind configuration and begin with `file`:line:column. Anchors,
// aliases, tags, merge keys and repeated keys are refused: a configuration must mean what one reads on its line.
// `nodes_max`: values that it may have, with lists and maps.
tl::expected<YamlNode, YamlProblem> parse_yaml(std::string_view text, size_t nodes_max);
Result<YamlNode> parse_yaml(std::string_view text, std::string_view file, size_t nodes_max = kYamlNodesMax);

}  // namespace gatehouse
