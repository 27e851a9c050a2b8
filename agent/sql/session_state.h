// SPDX-License-Identifier: Apache-2.0
// SessionState: what a PostgreSQL session has set that changes what its texts mean: standard_conforming_strings,
// client_encoding, search_path, role, session authorization. It follows the server's own rules (guc.c): SET, SET LOCAL,
// RESET, DISCARD, set_config; COMMIT, ROLLBACK, savepoints.
//
// A value, cheap to copy, so that what is only sent can be applied to a copy:
//
//   passive   on_finished() at each statement's end; the state before it is what its text was read in.
//   inline    keep two: `confirmed` as above, and `ahead`, to which on_finished(…, kOk) is applied when a statement is
//             sent: the server runs what follows in a pipeline only if all before it did well. After an error (and the
//             Sync or the end of the Query that follows it) `ahead = confirmed`.
//
// A simple Query's text is read whole in the state before it, but its statements look names up one by one: take
// lexical() once per text, names() before each statement. Of the extended protocol, Parse reads the text, and names are
// looked up anew at Execute.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/sql/encoding.h"
#include "agent/sql/facts.h"

namespace gatehouse::sql {

class Catalog;

// By what names are looked up.
struct NameContext {
  // As the parameter is written: '"$user", public'. Nothing: not known; then a name may be that of any schema.
  std::optional<std::string> search_path;
  std::string role;  // current_user; empty: not known
  // Temporary tables of the session, which hide others of their names and which no catalog knows.
  std::vector<std::string> temporary_tables;
  bool has_other_temporaries = false;  // views, or too many tables: any unqualified name may be one
  // The transaction has changed what a catalog, which sees what is committed, still tells otherwise.
  bool has_changed_schema = false;
  bool operator==(const NameContext&) const = default;
};

enum class StatementOutcome : uint8_t {
  kOk,
  kError,     // in a transaction block, that is failed from here on
  kNotKnown,  // lost: what it sets is not known afterwards
};

class SessionState {
 public:
  // As the StartupMessage has them: user, database, options ("-c search_path=x"), and parameters by name.
  void on_startup(const std::vector<std::pair<std::string, std::string>>& parameters);
  // The session was open before: nothing is known but what ParameterStatus tells later.
  void on_joined();
  // What ALTER ROLE, ALTER DATABASE and the server's own configuration say. Ask again when the catalog changes; a
  // session keeps what it began with, so only what is not known yet is taken.
  void apply_defaults(const Catalog& catalog);
  void on_parameter_status(std::string_view name, std::string_view value);
  // Of each statement, in order, when it is done. `effects`: with what it reaches, if there is a catalog: what may run
  // unknown code may set anything.
  void on_finished(const Statement& statement, Effects effects, StatementOutcome outcome);
  // ReadyForQuery's: 'I' idle, 'T' in a block, 'E' in a failed one. The server's word on whether a block is open.
  void on_ready(char transaction_status);

  [[nodiscard]] const LexicalState& lexical() const { return lexical_; }
  [[nodiscard]] const NameContext& names() const { return names_; }
  [[nodiscard]] const std::string& database() const { return database_; }
  [[nodiscard]] const std::string& session_user() const { return session_user_; }

 private:
  // Parameters that are followed. Their value is text as SHOW prints it; nothing: not known.
  enum class Parameter : uint8_t {
    kStandardConformingStrings,
    kClientEncoding,
    kSearchPath,
    kRole,  // "none": the session's user
    kSessionAuthorization,
  };
  static constexpr size_t kParameters = 5;
  using Value = std::optional<std::string>;
  // What is to be restored when a transaction or savepoint ends, as guc.c's GucStack.
  struct Saved {
    enum class State : uint8_t { kSet, kLocal, kSetLocal };
    size_t level = 0;
    State state = State::kSet;
    Value prior;   // before this level
    Value masked;  // kSetLocal: what SET said before SET LOCAL
  };
  struct Variable {
    Value value, reset;
    std::vector<Saved> stack;
  };

  static std::optional<Parameter> parameter_of(std::string_view name);
  Variable& at(Parameter parameter) { return variables_[static_cast<size_t>(parameter)]; }
  void set(Parameter parameter, Value value, bool is_local);
  void reset_all();
  void forget_all();
  void apply(const SessionChange& change);
  void end_level(bool commits);
  void end_transaction(bool commits);
  void on_transaction_command(const Statement& statement);
  void fail();
  void refresh();

  std::array<Variable, kParameters> variables_{};
  std::vector<std::string> savepoints_;  // level 1 is the transaction, 2 the first savepoint
  bool in_block_ = false;
  bool is_failed_ = false;
  std::string database_, session_user_;
  LexicalState lexical_;
  NameContext names_;
};

// A block with more savepoints is followed no further: what is set is not known until it ends.
inline constexpr size_t kSavepointsMax = 1024;
inline constexpr size_t kTemporaryTablesMax = 64;

}  // namespace gatehouse::sql
