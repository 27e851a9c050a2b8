// SPDX-License-Identifier: Apache-2.0
// Messages with values of the event in them: "Refused by {rule.id}: {actor.exe} is no {lists.tools.join(', ')}". What
// stands in braces is CEL over the event's fields, checked when the rule is loaded; "{{" and "}}" are braces. Pure.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "rules/engine/cel_program.h"

namespace gatehouse::rules {

// A message is one line of a client's error. What is rendered has at most as many bytes, and each value in it at most
// so many: more is cut, and ends with "…".
inline constexpr size_t kMessageBytesMax = 1024;
inline constexpr size_t kMessageValueBytesMax = 256;

class MessageTemplate {
 public:
  MessageTemplate() = default;
  // `schema` outlives it. An error's offset is of `text`.
  static tl::expected<MessageTemplate, cel::CompileError> parse(std::string_view text, const cel::Schema& schema);

  [[nodiscard]] bool is_empty() const { return parts_.empty(); }
  // Appends. A value that cannot be had is "?"; line breaks and control characters are written as "?" too.
  void render(std::span<const cel::Value> variables, cel::Scratch& scratch, std::string& out) const;

 private:
  struct Part {
    std::string literal;
    std::vector<cel::Program> value;  // one, or none: the literal
  };
  std::vector<Part> parts_{};
};

}  // namespace gatehouse::rules
