// SPDX-License-Identifier: Apache-2.0
// A program's inside: instructions for a stack of values. For the compiler and the evaluator only. Pure.
#pragma once

#include <re2/re2.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rules/engine/cel_program.h"

namespace gatehouse::rules::cel {

// In the comments, a is the value on top of the stack. Jumps go to instruction `index`.
enum class Op : uint8_t {
  kConstant,   // push constants[index]
  kVariable,   // push the variable number `index`
  kLocal,      // push a variable of the loop that is `index` loops outwards; flag: its second
  kField,      // a = fields[index] of a
  kKey,        // a = a[constants[index]]
  kHasField,   // a = whether that field is set
  kHasKey,     // a = whether that key is in a
  kHasValue,   // a = whether it is anything but "not known"
  kCall,       // functions()[index] of the `count` values on top, which it replaces
  kMatches,    // a = whether patterns[index] matches it
  kInSet,      // a = whether sets[index] holds it
  kList,       // a list of the `count` values on top
  kMap,        // a map of the `count` keys and values on top
  kLogic,      // a is an operand of && (flag 0) or || (flag 1): if it decides, jump
  kLogicNext,  // a joins the operand below it: if that decides, jump
  kBranch,  // take a: if false, jump; an error is the result of the whole, whose end is in the jump before the target
  kJump,
  kLoop,     // begin to loop over a, taking it; flag: Macro, count: variables; jump behind kLoopEnd if that is an error
  kNext,     // the next element, or jump; `count` is what a turn costs
  kKeep,     // take a: if false, jump; an error ends the loop
  kStep,     // take a, which is what this turn found; jump
  kLoopEnd,  // push what the loop found
};

struct Instruction {
  Op op;
  uint8_t flag = 0;
  uint16_t count = 0;
  uint32_t index = 0;
  uint32_t offset = 0;  // of the text, for errors
};

// Texts, found by hash. Open addressing, half full at most.
class TextSet {
 public:
  explicit TextSet(const Value& list);
  [[nodiscard]] bool contains(std::string_view text) const;

 private:
  std::vector<const Value*> slots_;
  std::vector<Value> texts_;
};

struct ProgramCode {
  std::vector<Instruction> instructions{};
  std::vector<Value> constants{};
  std::vector<const Field*> fields{};
  std::vector<std::unique_ptr<re2::RE2>> patterns{};
  std::vector<TextSet> sets{};
  std::vector<std::unique_ptr<std::byte[]>> memory{};  // what constants point to
  std::string type_name{};
  std::vector<Attribute> attributes{};
  std::vector<Guard> guards{};
  size_t variable_count = 0;
  size_t stack_values = 0;

  // A copy of `value` that lives as long as this.
  Value keep(const Value& value);
};

// Instructions from `begin` on, which need no variables.
Value run_constant(const ProgramCode& code, size_t begin, Scratch& scratch);

// A part of a checked tree that stands in no loop, without attributes and guards.
tl::expected<Program, CompileError> compile_node(const Ast& ast, NodeId id, const Schema& schema);

// Whether a value is anything but what "not known" looks like.
bool is_set(const Value& value);

// Fills in `attributes` and `guards` from a checked tree.
void find_guards(const Ast& ast, const Schema& schema, ProgramCode& code);

}  // namespace gatehouse::rules::cel
