// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/session_state.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <system_error>

#include "agent/sql/catalog.h"
#include "agent/sql/name_path.h"

namespace gatehouse::sql {
namespace {

char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), to_lower);
  return out;
}

// guc.c's parse_bool: on, off, and what true, false, yes and no begin with.
bool is_true(std::string_view text) {
  const std::string word = lower(text);
  if (word.empty()) return false;
  return word == "on" || word == "1" || std::string_view("true").starts_with(word) ||
         std::string_view("yes").starts_with(word);
}

// PostgreSQL's name of an encoding whose later bytes may look like ASCII, and of UTF-8; others as they are
// (encnames.c).
std::string encoding_name(std::string_view text) {
  struct Entry {
    std::string_view alias, name;
  };
  static constexpr Entry kEntries[] = {
      {"sjis", "SJIS"},
      {"mskanji", "SJIS"},
      {"shiftjis", "SJIS"},
      {"win932", "SJIS"},
      {"windows932", "SJIS"},
      {"big5", "BIG5"},
      {"win950", "BIG5"},
      {"windows950", "BIG5"},
      {"gbk", "GBK"},
      {"win936", "GBK"},
      {"windows936", "GBK"},
      {"uhc", "UHC"},
      {"win949", "UHC"},
      {"windows949", "UHC"},
      {"gb18030", "GB18030"},
      {"johab", "JOHAB"},
      {"utf8", "UTF8"},
      {"unicode", "UTF8"},
      {"shiftjis2004", "SHIFT_JIS_2004"},
  };
  std::string key;
  for (const char c : text)
    if ((c >= '0' && c <= '9') || (to_lower(c) >= 'a' && to_lower(c) <= 'z')) key += to_lower(c);
  const auto* found = std::ranges::find(kEntries, key, &Entry::alias);
  return std::string(found == std::end(kEntries) ? text : found->name);
}

// "-c name=value", "--name=value"; a backslash keeps a blank.
std::vector<std::pair<std::string, std::string>> option_settings(std::string_view text) {
  std::vector<std::string> words;
  bool in_word = false;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    const bool is_escaped = c == '\\' && i + 1 < text.size();
    if (is_escaped) c = text[++i];
    const bool is_blank = !is_escaped && (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f');
    if (is_blank) {
      in_word = false;
      continue;
    }
    if (!in_word) words.emplace_back();
    in_word = true;
    words.back() += c;
  }
  std::vector<std::pair<std::string, std::string>> out;
  for (size_t i = 0; i < words.size(); ++i) {
    std::string setting;
    if (words[i] == "-c" && i + 1 < words.size())
      setting = words[++i];
    else if (words[i].starts_with("-c") || words[i].starts_with("--"))
      setting = words[i].substr(2);
    const size_t equals = setting.find('=');
    if (equals == setting.npos) continue;
    std::string name = lower(std::string_view(setting).substr(0, equals));
    std::ranges::replace(name, '-', '_');
    out.emplace_back(std::move(name), setting.substr(equals + 1));
  }
  return out;
}

// guc.c's parse_int with units of time, of what it accepts: "1500", "1.5 s", "2min".
uint64_t milliseconds_of(std::string_view text) {
  struct Unit {
    std::string_view name;
    double milliseconds;
  };
  static constexpr Unit kUnits[] = {{"us", 0.001},   {"ms", 1},        {"s", 1000},
                                    {"min", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
  const auto trim = [](std::string_view& rest) {
    while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
    while (!rest.empty() && rest.back() == ' ') rest.remove_suffix(1);
  };
  trim(text);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || number <= 0) return 0;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  trim(text);
  double unit = 1;
  if (!text.empty()) {
    const auto* const found = std::ranges::find(kUnits, text, &Unit::name);
    if (found == std::end(kUnits)) return 0;
    unit = found->milliseconds;
  }
  constexpr double kMost = INT32_MAX;
  return static_cast<uint64_t>(std::min(std::round(number * unit), kMost));
}

bool makes_plain_tables(const Statement& statement) {
  static constexpr std::string_view kCommands[] = {"CREATE TABLE", "CREATE TABLE AS", "SELECT INTO",
                                                   "CREATE INDEX", "CREATE SEQUENCE", "CREATE MATERIALIZED VIEW"};
  return std::ranges::find(kCommands, statement.command) != std::end(kCommands);
}

}  // namespace

std::optional<SessionState::Parameter> SessionState::parameter_of(std::string_view name) {
  struct Entry {
    std::string_view name;
    Parameter parameter;
  };
  static constexpr Entry kEntries[] = {
      {"standard_conforming_strings", Parameter::kStandardConformingStrings},
      {"client_encoding", Parameter::kClientEncoding},
      {"search_path", Parameter::kSearchPath},
      {"role", Parameter::kRole},
      {"session_authorization", Parameter::kSessionAuthorization},
      {"statement_timeout", Parameter::kStatementTimeout},
  };
  for (const Entry& entry : kEntries)
    if (std::ranges::equal(name, entry.name, {}, to_lower)) return entry.parameter;
  return std::nullopt;
}

SessionState::Value SessionState::normalized(Parameter parameter, std::string value) {
  if (parameter == Parameter::kStandardConformingStrings) return is_true(value) ? "on" : "off";
  if (parameter == Parameter::kClientEncoding) return encoding_name(value);
  return value;
}

void SessionState::begin_with(Parameter parameter, Value value) {
  Variable& variable = at(parameter);
  variable.value = variable.reset = std::move(value);
  variable.has_begun = true;
}

void SessionState::on_startup(const std::vector<std::pair<std::string, std::string>>& parameters) {
  *this = {};
  std::string user;
  for (const auto& [name, value] : parameters) {
    if (name == "user") user = value;
    if (name == "database") database_ = value;
    if (name != "options") continue;
    for (auto& [option, text] : option_settings(value))
      if (const auto parameter = parameter_of(option)) begin_with(*parameter, normalized(*parameter, text));
  }
  for (const auto& [name, value] : parameters)
    if (const auto parameter = parameter_of(name)) begin_with(*parameter, normalized(*parameter, value));
  if (database_.empty()) database_ = user;
  begin_with(Parameter::kSessionAuthorization, user);
  refresh();
}

void SessionState::on_joined() {
  *this = {};
  for (Variable& variable : variables_) variable.has_begun = true;
  is_started_ = true;
  refresh();
}

void SessionState::apply_defaults(const Catalog& catalog) {
  struct Entry {
    Parameter parameter;
    std::string_view name;
  };
  static constexpr Entry kEntries[] = {{Parameter::kStandardConformingStrings, "standard_conforming_strings"},
                                       {Parameter::kClientEncoding, "client_encoding"},
                                       {Parameter::kSearchPath, "search_path"},
                                       {Parameter::kStatementTimeout, "statement_timeout"},
                                       {Parameter::kRole, "role"}};
  const std::string user(session_user());
  if (user.empty()) return;
  for (const Entry& entry : kEntries) {
    Variable& variable = at(entry.parameter);
    if (variable.reset) continue;
    Value value = catalog.default_setting(user, entry.name);
    if (!value && entry.parameter == Parameter::kRole) value = "none";
    if (!value) continue;
    variable.reset = normalized(entry.parameter, *value);
    if (variable.has_begun) continue;
    // What was set since stands above it.
    if (variable.stack.empty())
      variable.value = variable.reset;
    else
      variable.stack.front().prior = variable.reset;
    variable.has_begun = true;
  }
  refresh();
}

// The server's word on what is now. That it was a SET LOCAL it does not say, but it will say when that ends.
void SessionState::on_parameter_status(std::string_view name, std::string_view value) {
  const auto parameter = parameter_of(name);
  if (!parameter) return;
  Variable& variable = at(*parameter);
  if (!is_started_) {
    begin_with(*parameter, std::string(value));
  } else if (variable.value != value) {
    set(*parameter, std::string(value), Scope::kSession);
  }
  refresh();
}

// guc.c, push_old_value.
void SessionState::set(Parameter parameter, Value value, Scope scope, bool is_reset) {
  Variable& variable = at(parameter);
  const Saved::State state = scope == Scope::kLocal ? Saved::State::kLocal : Saved::State::kSet;
  if (!variable.stack.empty() && variable.stack.back().level >= level()) {
    Saved& saved = variable.stack.back();
    if (scope == Scope::kSession) {
      saved.masked.reset();
      saved.state = Saved::State::kSet;
    } else if (saved.state == Saved::State::kSet) {
      saved.masked = variable.value;
      saved.is_masked_reset = variable.is_reset;
      saved.state = Saved::State::kSetLocal;
    }
  } else {
    variable.stack.push_back(
        {.level = level(), .state = state, .prior = variable.value, .masked = {}, .is_prior_reset = variable.is_reset});
  }
  variable.value = std::move(value);
  variable.is_reset = is_reset;
}

// SET SESSION AUTHORIZATION takes SET ROLE back, by the same word. (Since 15.9 and its like; before, the role was off
// without a word, and came back later in some cases.)
void SessionState::set_as_server_does(Parameter parameter, Value value, bool is_reset, Scope scope) {
  set(parameter, is_reset ? at(parameter).reset : std::move(value), scope, is_reset);
  if (parameter != Parameter::kSessionAuthorization) return;
  set(Parameter::kRole, is_reset ? at(Parameter::kRole).reset : Value("none"), scope, is_reset);
}

void SessionState::apply(const SessionChange& change, bool is_known) {
  using Kind = SessionChange::Kind;
  const auto parameter = parameter_of(change.name);
  switch (change.kind) {
    case Kind::kSet:
    case Kind::kSetLocal: {
      if (change.name.empty()) return forget_unreported();  // set_config of a computed name
      if (!parameter) return;
      const Scope scope = change.kind == Kind::kSet ? Scope::kSession : Scope::kLocal;
      Value value;
      if (is_known && change.is_value_known) value = normalized(*parameter, change.value);
      set_as_server_does(*parameter, std::move(value), false, scope);
      return;
    }
    case Kind::kReset:
    case Kind::kResetLocal: {
      if (!parameter) return;
      const Scope scope = change.kind == Kind::kReset ? Scope::kSession : Scope::kLocal;
      if (is_known)
        set_as_server_does(*parameter, {}, true, scope);
      else
        set(*parameter, {}, scope);
      return;
    }
    case Kind::kResetAll:
      return is_known ? reset_all() : forget_unreported();
    case Kind::kDiscard:
      if (change.name == "temp" || change.name == "all") {
        names_.temporary_tables.clear();
        names_.has_other_temporaries = false;
      }
      if (change.name != "all") return;
      if (!is_known) return forget_unreported();
      set_as_server_does(Parameter::kSessionAuthorization, {}, true, Scope::kSession);
      reset_all();
      return;
  }
}

// All but who the session is. What SET LOCAL … TO DEFAULT has reset is not set, so it is left, and what it hides comes
// back (guc.c, ResetAllOptions).
void SessionState::reset_all() {
  for (const Parameter parameter : {Parameter::kStandardConformingStrings, Parameter::kClientEncoding,
                                    Parameter::kSearchPath, Parameter::kStatementTimeout})
    if (!at(parameter).is_reset) set(parameter, at(parameter).reset, Scope::kSession, true);
}

// Of the others ParameterStatus tells.
void SessionState::forget_unreported() {
  set(Parameter::kSearchPath, {}, Scope::kSession);
  set(Parameter::kRole, {}, Scope::kSession);
}

// guc.c, AtEOXact_GUC, of one saved value; false: it stays, one level further out.
bool SessionState::end_saved(Variable& variable, bool commits) {
  Saved& saved = variable.stack.back();
  const bool is_innermost_left = saved.level == 1;
  const bool is_prior = !commits || (is_innermost_left && saved.state == Saved::State::kLocal);
  if (is_prior) {
    variable.value = std::move(saved.prior);
    variable.is_reset = saved.is_prior_reset;
  } else if (is_innermost_left) {
    if (saved.state == Saved::State::kSetLocal) {
      variable.value = std::move(saved.masked);
      variable.is_reset = saved.is_masked_reset;
    }
  } else if (variable.stack.size() == 1 || variable.stack[variable.stack.size() - 2].level < saved.level - 1) {
    --saved.level;
    return false;
  } else {
    Saved& outer = variable.stack[variable.stack.size() - 2];
    switch (saved.state) {
      case Saved::State::kSet:
        outer.masked.reset();
        outer.state = Saved::State::kSet;
        break;
      case Saved::State::kLocal:
        if (outer.state == Saved::State::kSet) {
          outer.masked = std::move(saved.prior);
          outer.is_masked_reset = saved.is_prior_reset;
          outer.state = Saved::State::kSetLocal;
        }
        break;
      case Saved::State::kSetLocal:
        outer.masked = std::move(saved.masked);
        outer.is_masked_reset = saved.is_masked_reset;
        outer.state = Saved::State::kSetLocal;
        break;
    }
  }
  variable.stack.pop_back();
  return true;
}

// Ends the innermost levels down to `last`, one by one.
void SessionState::end_levels(size_t last, bool commits) {
  for (Variable& variable : variables_)
    for (size_t ending = level(); ending >= last; --ending)
      while (!variable.stack.empty() && variable.stack.back().level >= ending && end_saved(variable, commits)) {
      }
}

void SessionState::end_transaction(bool commits) {
  end_levels(1, commits);
  savepoints_.clear();
  in_block_ = is_failed_ = false;
  names_.has_changed_schema = false;
  if (has_lost_levels_) forget_unreported();
  if (has_lost_levels_) end_levels(1, true);
  has_lost_levels_ = false;
}

// The server rolls the innermost level back at once, and refuses all but the end of it.
void SessionState::fail() {
  is_failed_ = true;
  end_levels(level(), false);
}

void SessionState::apply_transaction_command(const Statement& statement) {
  const std::string_view command = statement.command;
  if (command == "BEGIN" || command == "START TRANSACTION") {
    in_block_ = true;
  } else if (command == "COMMIT" || command == "ROLLBACK" || command == "PREPARE TRANSACTION") {
    end_transaction(command != "ROLLBACK" && !is_failed_);
  } else if (command == "SAVEPOINT") {
    if (savepoints_.size() == kSavepointsMax)
      has_lost_levels_ = true;
    else
      savepoints_.push_back(statement.handle);
  } else if (command == "RELEASE" || command == "ROLLBACK TO") {
    const auto found = std::ranges::find(savepoints_.rbegin(), savepoints_.rend(), statement.handle);
    if (found == savepoints_.rend()) return;
    const auto index = static_cast<size_t>(savepoints_.rend() - found) - 1;
    const bool releases = command == "RELEASE";
    end_levels(index + 2, releases);
    savepoints_.resize(index + (releases ? 0 : 1));
    is_failed_ = false;
  }
}

void SessionState::note_objects(const Statement& statement, Effects reached) {
  if (!reached.has_any({Effect::kCreate, Effect::kAlter})) return;
  const bool is_temporary = std::ranges::find(statement.details, "temporary") != statement.details.end();
  const bool is_path_temporary = names_.search_path && names_.search_path->starts_with("pg_temp");
  const auto hides = [&](const std::string& name) {
    return std::ranges::find(names_.temporary_tables, name) != names_.temporary_tables.end();
  };
  bool is_plain = makes_plain_tables(statement);
  for (const Object& object : statement.objects) {
    if (object.uses.has(Effect::kCreate) &&
        (is_temporary || object.schema == "pg_temp" || (object.schema.empty() && is_path_temporary))) {
      if (is_plain && names_.temporary_tables.size() < kTemporaryTablesMax) {
        if (!hides(object.name)) names_.temporary_tables.push_back(object.name);
      } else {
        names_.has_other_temporaries = true;
      }
    }
    // A view of a temporary table is one, and a table that is altered is no plain one any more.
    if (!is_plain && hides(object.name)) names_.has_other_temporaries = true;
  }
  if (!is_plain) names_.has_changed_schema = true;
}

void SessionState::on_finished(const Statement& statement, Effects reached, StatementOutcome outcome) {
  constexpr Effects kOfInterest{Effect::kSession, Effect::kTransaction, Effect::kUnknown, Effect::kCreate,
                                Effect::kAlter};
  if (outcome == StatementOutcome::kError) {
    fail();
    refresh();
    return;
  }
  if (statement.session_changes.empty() && !reached.has_any(kOfInterest) && !statement.effects.has_any(kOfInterest))
    return;
  const bool is_known = outcome == StatementOutcome::kOk;
  if (statement.effects.has(Effect::kTransaction)) {
    apply_transaction_command(statement);
    if (!is_known) forget_unreported();
  }
  for (const SessionChange& change : statement.session_changes) apply(change, is_known);
  const bool sets_unseen = reached.has(Effect::kSession) && !statement.effects.has(Effect::kSession);
  if (reached.has(Effect::kUnknown) || sets_unseen) forget_unreported();
  note_objects(statement, reached);
  refresh();
}

void SessionState::on_ready(char transaction_status) {
  is_started_ = true;
  switch (transaction_status) {
    case 'I': {
      // A block whose end was not seen: how it ended is not known.
      const bool is_end_missing = in_block_ && !is_failed_;
      if (is_end_missing) forget_unreported();
      end_transaction(!is_failed_);
      break;
    }
    case 'T':
      in_block_ = true;
      is_failed_ = false;
      break;
    default:
      in_block_ = true;
      if (!is_failed_) fail();
      break;
  }
  refresh();
}

std::string_view SessionState::session_user() const {
  const Variable& user = at(Parameter::kSessionAuthorization);
  return user.value ? std::string_view(*user.value) : std::string_view{};
}

uint64_t SessionState::statement_timeout_ms() const {
  const Value& timeout = at(Parameter::kStatementTimeout).value;
  return timeout ? milliseconds_of(*timeout) : 0;
}

void SessionState::refresh() {
  const Value& strings = at(Parameter::kStandardConformingStrings).value;
  const Value& encoding = at(Parameter::kClientEncoding).value;
  lexical_ = lexical_state(encoding ? std::string_view(*encoding) : "UTF8", !strings || *strings == "on");
  names_.search_path = at(Parameter::kSearchPath).value;
  const Value& role = at(Parameter::kRole).value;
  if (!role)
    names_.role.clear();
  else
    names_.role = *role == "none" ? session_user() : std::string_view(*role);
}

}  // namespace gatehouse::sql
