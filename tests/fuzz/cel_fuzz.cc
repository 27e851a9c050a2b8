// SPDX-License-Identifier: Apache-2.0
// Lexer, parser, checker, compiler and evaluator of CEL. The first byte chooses how little memory and how few steps an
// evaluation has; the rest is the expression. Oracle: a mistake lies within the text; an evaluation ends within its
// limits and repeats itself; parentheses around the whole change nothing; and a true expression's guards hold.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <string>

#include "rules/engine/cel_functions.h"
#include "tests/support/cel_example.h"

namespace {

using namespace gatehouse::rules::cel;

void require(bool holds) {
  if (!holds) std::abort();
}

// Equal, as far as CEL can say: NaN is not, and a comparison may be too dear.
bool may_be_same(const Value& left, const Value& right) {
  if (left.is_error() || right.is_error())
    return left.is_error() && right.is_error() && left.error_code() == right.error_code();
  if (left.kind() != right.kind()) return false;
  return !left.is(Kind::kString) || left.as_text() == right.as_text();
}

bool is_one_of(const Value& found, const Equality& equality, Scratch& scratch) {
  return std::ranges::any_of(equality.values,
                             [&](const Value& value) { return equal(std::array{found, value}, scratch).is_true(); });
}

bool holds(const Equality& equality, std::span<const Value> variables, Scratch& scratch) {
  const Value found = value_of(equality.attribute, variables);
  if (!equality.attribute.is_element) return is_one_of(found, equality, scratch);
  for (size_t i = 0; i < found.count(); ++i)
    if (is_one_of(value_of(found.element(i), equality.attribute.element_fields), equality, scratch)) return true;
  return false;
}

void check_guards(const Program& program, std::span<const Value> variables, Scratch& scratch) {
  for (const Guard& guard : program.guards())
    require(std::ranges::any_of(guard.any_of, [&](const Equality& each) { return holds(each, variables, scratch); }));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto program = compile(text, example::kSchema, kDyn);
  if (!program) {
    require(program.error().offset <= text.size() && !program.error().message.empty());
    return 0;
  }
  static const example::Event event;
  const auto variables = example::values_of(event);
  const uint64_t steps = 1U << (data[0] % 16);
  Scratch scratch(64U << (data[0] / 16), steps);
  const Value result = evaluate(*program, variables, scratch);
  require(scratch.steps() <= steps);
  if (result.is_error()) require(result.error_offset() <= text.size());
  const bool is_true = result.is_true();

  Scratch second(64U << (data[0] / 16), steps);
  require(may_be_same(result, evaluate(*program, variables, second)));
  // Deeper by one, so it may be refused.
  if (const auto wrapped = compile("(" + text + "\n)", example::kSchema, kDyn)) {
    require(wrapped->type_name() == program->type_name());
    require(may_be_same(result, evaluate(*wrapped, variables, second)));
  }
  if (is_true) check_guards(*program, variables, second);
  return 0;
}
