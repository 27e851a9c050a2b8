// SPDX-License-Identifier: Apache-2.0
// SessionState: what a PostgreSQL session has set that changes what its texts mean: standard_conforming_strings,
// client_encoding, search_path, role, session authorization; and statement_timeout, which is kept elsewhere while a
// statement is held before the server. It follows the server's own rules (guc.c): SET, SET LOCAL,
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
  // The session was open before: nothing is known but what ParameterStatus and statements tell later.
  void on_joined();
  // What ALTER ROLE, ALTER DATABASE and the server's own configuration say a session begins with. To be called when
  // there is a catalog, any number of times: what is known already stays.
  void apply_defaults(const Catalog& catalog);
  void on_parameter_status(std::string_view name, std::string_view value);
  // Of each statement that the server has begun, in order, when it is done; not of those that it skips after an error.
  // `reached`: what it does with all that it reaches, if there is a catalog; else its own effects. What may run unknown
  // code may set anything that the server does not report.
  void on_finished(const Statement& statement, Effects reached, StatementOutcome outcome);
  // ReadyForQuery's: 'I' idle, 'T' in a block, 'E' in a failed one. Ends what was not in a block.
  void on_ready(char transaction_status);

  // Until something is known: UTF-8, standard_conforming_strings on.
  [[nodiscard]] const LexicalState& lexical() const { return lexical_; }
  [[nodiscard]] const NameContext& names() const { return names_; }
  [[nodiscard]] const std::string& database() const { return database_; }
  // SESSION_USER; empty: not known.
  [[nodiscard]] std::string_view session_user() const;
  // Milliseconds; 0: none, or not known.
  [[nodiscard]] uint64_t statement_timeout_ms() const;

 private:
  // Parameters that are followed. Their value is text as SHOW prints it; nothing: not known.
  enum class Parameter : uint8_t {
    kStandardConformingStrings,
    kClientEncoding,
    kSearchPath,
    kRole,  // "none": the session's user
    kSessionAuthorization,
    kStatementTimeout,
  };
  static constexpr size_t kParameters = 6;
  using Value = std::optional<std::string>;
  enum class Scope : uint8_t { kSession, kLocal };
  // What is to be restored when a transaction or savepoint ends, as guc.c's GucStack.
  struct Saved {
    enum class State : uint8_t { kSet, kLocal, kSetLocal };
    size_t level = 0;  // 1 is the transaction, 2 its first savepoint
    State state = State::kSet;
    Value prior;                                          // before this level
    Value masked;                                         // kSetLocal: what SET said before SET LOCAL
    bool is_prior_reset = true, is_masked_reset = false;  // as Variable::is_reset, of each
  };
  struct Variable {
    Value value, reset;
    bool is_reset = true;    // it has the value by RESET or TO DEFAULT, or from the start: RESET ALL leaves it alone
    bool has_begun = false;  // it is what the session began with, or was set since; else apply_defaults may tell
    std::vector<Saved> stack;
  };

  static std::optional<Parameter> parameter_of(std::string_view name);
  static Value normalized(Parameter parameter, std::string value);
  Variable& at(Parameter parameter) { return variables_[static_cast<size_t>(parameter)]; }
  [[nodiscard]] const Variable& at(Parameter parameter) const { return variables_[static_cast<size_t>(parameter)]; }
  void begin_with(Parameter parameter, Value value);
  void set(Parameter parameter, Value value, Scope scope, bool is_reset = false);
  void set_as_server_does(Parameter parameter, Value value, bool is_reset, Scope scope);
  void apply(const SessionChange& change, bool is_known);
  void reset_all();
  void forget_unreported();
  [[nodiscard]] size_t level() const { return 1 + savepoints_.size(); }
  void end_levels(size_t level, bool commits);
  static bool end_saved(Variable& variable, bool commits);
  void end_transaction(bool commits);
  void apply_transaction_command(const Statement& statement);
  void fail();
  void note_objects(const Statement& statement, Effects reached);
  void refresh();

  std::array<Variable, kParameters> variables_{};
  std::vector<std::string> savepoints_;
  bool is_started_ = false;  // the first ReadyForQuery has come
  bool in_block_ = false;
  bool is_failed_ = false;
  bool has_lost_levels_ = false;  // more savepoints than are followed
  std::string database_;
  LexicalState lexical_;
  NameContext names_;
};

// A block with more savepoints is followed no further: what is set is not known afterwards.
inline constexpr size_t kSavepointsMax = 1024;
inline constexpr size_t kTemporaryTablesMax = 64;

}  // namespace gatehouse::sql
