// SPDX-License-Identifier: Apache-2.0
// Compiled expressions. A Program is made once, never changes, and is evaluated by any number of threads at a time,
// each with a Scratch of its own. docs/cel.md says which parts of CEL are in. Pure.
//
//   const Schema schema{kVariables};
//   auto program = compile(R"(statement.verb == "DELETE" && !statement.filters_rows)", schema, kBool);
//   Scratch scratch;                                                  // one for each thread
//   const Value values[] = {Value::record(&kStatementType, &statement)};  // in the order of kVariables
//   if (evaluate(*program, values, scratch).is_true()) …
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <tl/expected.hpp>

#include "rules/engine/cel_ast.h"
#include "rules/engine/cel_schema.h"
#include "rules/engine/cel_scratch.h"
#include "rules/engine/cel_value.h"

namespace gatehouse::rules::cel {

// One regular expression, compiled. What RE2 allows by default is eight times as much.
inline constexpr int64_t kPatternBytesMax = 1 << 20;
// Lists of at least so many texts, written out or constants of the schema, are looked into by hash.
inline constexpr size_t kHashedListMin = 8;

// Guards that allow more values are not kept: an index would outweigh what it saves.
inline constexpr size_t kGuardValuesMax = 256;
// Attributes of one guard: each is looked up for every event.
inline constexpr size_t kGuardAttributesMax = 4;

// A variable of the schema, or a field of one however deep, that an expression looks at. Of a guard, also the value of
// a map's key, or each element of a list, or a field of those.
struct Attribute {
  std::string name;                    // "statement.verb", "database.labels.env", "statement.objects[].name"
  size_t variable = 0;                 // its number in the schema
  std::vector<const Field*> fields{};  // from the variable inwards; empty for the variable itself
  std::optional<std::string> key{};    // of the map there
  bool is_element = false;             // of the list there
  std::vector<const Field*> element_fields{};

  friend bool operator==(const Attribute&, const Attribute&) = default;
};

// An attribute, or one of its elements, equals one of the values. They are borrowed from the program.
struct Equality {
  Attribute attribute;
  std::vector<Value> values;
};
// A necessary condition: unless one of these holds, the expression is not true (it may be an error then). What an index
// over many programs is built from. Never empty; several attributes come from `a == 1 || b == 2`.
struct Guard {
  std::vector<Equality> any_of;
};

// Follows fields from a record; an error where there is none.
Value value_of(const Value& from, std::span<const Field* const> fields);
// An attribute's value, of an element's the list; an error where there is none. Allocates nothing.
Value value_of(const Attribute& attribute, std::span<const Value> variables);

struct ProgramCode;

class Program {
 public:
  explicit Program(std::unique_ptr<ProgramCode> code);
  Program(Program&&) noexcept;
  Program& operator=(Program&&) noexcept;
  ~Program();

  // "bool", "list(string)".
  [[nodiscard]] const std::string& type_name() const;
  // Each attribute once, in the order of the text.
  [[nodiscard]] std::span<const Attribute> attributes() const;
  [[nodiscard]] std::span<const Guard> guards() const;
  // What it always gives, if that was known when it was compiled; else null.
  [[nodiscard]] const Value* constant() const;

  [[nodiscard]] const ProgramCode& code() const { return *code_; }  // for the evaluator

 private:
  friend tl::expected<Program, CompileError> compile(std::string_view text, const Schema& schema, const Type& wanted,
                                                     std::span<const Definition> definitions);
  std::unique_ptr<ProgramCode> code_;
};

// `schema`, and all that it points to, outlives the program. The expression's type must be `wanted`; kDyn: any.
tl::expected<Program, CompileError> compile(std::string_view text, const Schema& schema, const Type& wanted,
                                            std::span<const Definition> definitions = {});

// `variables`: a value for each variable of the schema, in its order, of its type. The result borrows from them, from
// the program and from `scratch`: it is good until the next evaluation with that. Allocates nothing; errors are values.
Value evaluate(const Program& program, std::span<const Value> variables, Scratch& scratch);

}  // namespace gatehouse::rules::cel
