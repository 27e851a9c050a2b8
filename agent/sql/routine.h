// SPDX-License-Identifier: Apache-2.0
// RoutineReader: the body of a function, procedure or DO to what it does, all branches together.
//
// PL/pgSQL is cut into its statements and expressions by its own key words, each of which the server's grammar reads;
// what is cut in a way that neither understands is UnknownReason::kCode, EXECUTE of more than one constant
// kComputedText.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "agent/sql/facts.h"
#include "agent/sql/lexer.h"

namespace gatehouse::sql {

class Analyzer;

class RoutineReader {
 public:
  // `depth`: of routines whose text stands in routines.
  explicit RoutineReader(size_t depth = 0);
  ~RoutineReader();
  RoutineReader(const RoutineReader&) = delete;
  RoutineReader& operator=(const RoutineReader&) = delete;

  // False: not a language that is read here. Adds to `into`.
  bool read(std::string_view language, std::string_view body, Statement& into);
  // What pg_get_function_sqlbody prints: RETURN …, or BEGIN ATOMIC … END.
  void read_sql_body(std::string_view body, Statement& into);
  // Statements, or one expression, as the server prints it.
  void read_statements(std::string_view text, Statement& into);
  void read_expression(std::string_view text, Statement& into);

 private:
  [[nodiscard]] bool differs_by_mode(std::string_view text, Statement& into) const;
  bool read_in(std::string_view text, LexicalMode mode, bool is_expression, Statement& into);

  size_t depth_;
  std::unique_ptr<Analyzer> analyzer_;  // made when it is needed
};

// What pg_get_function_sqlbody prints as the statements that it stands for; empty: it is not understood.
std::string statements_of_sql_body(std::string_view body);

// Beyond these a routine is UnknownReason::kCode.
inline constexpr size_t kRoutineDepthMax = 4;
inline constexpr size_t kRoutineBlocksMax = 100;   // within each other
inline constexpr size_t kRoutinePiecesMax = 2000;  // some 10 to 50 ms

}  // namespace gatehouse::sql
