// SPDX-License-Identifier: Apache-2.0
// Why an expression gave what it gave: the value of every part of it, for people. Slow, and allocates. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rules/engine/cel_program.h"

namespace gatehouse::rules::cel {

// As CEL would write it, in about so many bytes: texts and lists are cut, and end with "…". Records show what is set.
std::string shown(const Value& value, size_t bytes_max = 200);

// One part, below the one that it is an operand of. Constants are no parts.
struct Part {
  size_t depth = 0;          // 0: the whole
  std::string text;          // as it was written
  std::string definition{};  // the macro that it stands in, as "macros.x"; empty: the expression itself
  std::string value;         // of what a loop asks of each element: a list, one for each
  bool is_error = false;
  bool is_each = false;         // what a loop asks
  std::optional<bool> holds{};  // if it is true or false
};

// A definition with its text.
struct NamedText {
  Definition definition;
  std::string_view text;
};

// In the order of the text, each before its own parts. An expression that compile() takes; else nothing.
std::vector<Part> explain(std::string_view text, const Schema& schema, std::span<const NamedText> definitions,
                          std::span<const Value> variables);

}  // namespace gatehouse::rules::cel
