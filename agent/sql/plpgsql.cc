// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/plpgsql.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

namespace gatehouse::sql {
namespace {

using Kind = Token::Kind;
using Words = std::initializer_list<std::string_view>;

// What a constant says; nothing where that takes more than doubled quotes.
std::optional<std::string> constant_of(const Token& token) {
  if (token.kind != Kind::kString) return std::nullopt;
  std::string_view text = token.text;
  if (text.front() == '$') {
    const size_t tag = text.find('$', 1) + 1;
    return std::string(text.substr(tag, text.size() - 2 * tag));
  }
  if (text.front() != '\'' || text.find('\\') != text.npos) return std::nullopt;
  text = text.substr(1, text.size() - 2);
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    out += text[i];
    if (text[i] != '\'') continue;
    if (i + 1 == text.size() || text[i + 1] != '\'') return std::nullopt;  // 'a'<line end>'b'
    ++i;
  }
  return out;
}

class Reader {
 public:
  Reader(std::string_view body, LexicalMode mode, RoutineReader& reader, Statement& into)
      : body_(body), reader_(reader), into_(into) {
    Lexer lexer(body, mode);
    do tokens_.push_back(lexer.next());
    while (tokens_.back().kind != Kind::kEnd && tokens_.back().kind != Kind::kBroken);
  }

  bool read() {
    skip_options();
    if (!read_block(0)) return false;
    if (at().kind == Kind::kSemicolon) ++at_;
    return at().kind == Kind::kEnd;
  }

 private:
  [[nodiscard]] const Token& at(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  [[nodiscard]] bool is(std::string_view word, size_t ahead = 0) const { return at(ahead).is_word(word); }
  [[nodiscard]] bool is_any(Words words, size_t ahead = 0) const {
    return std::ranges::any_of(words, [&](std::string_view word) { return is(word, ahead); });
  }
  [[nodiscard]] bool is_sign(char c, size_t ahead = 0) const {
    return at(ahead).kind == Kind::kOther && at(ahead).text[0] == c;
  }
  [[nodiscard]] bool is_end(const Token& token) const {
    return token.kind == Kind::kEnd || token.kind == Kind::kBroken;
  }
  [[nodiscard]] bool is_name(size_t ahead = 0) const {
    return at(ahead).kind == Kind::kWord || at(ahead).kind == Kind::kQuotedIdentifier;
  }
  bool take(std::string_view word) {
    if (!is(word)) return false;
    ++at_;
    return true;
  }
  bool take_semicolon() {
    if (at().kind != Kind::kSemicolon) return false;
    ++at_;
    return true;
  }
  bool skip_semicolon() {  // with what stands before it
    while (at().kind != Kind::kSemicolon && !is_end(at())) ++at_;
    return take_semicolon();
  }

  // A run of tokens, [first, last).
  struct Run {
    size_t first = 0, last = 0;
    [[nodiscard]] bool empty() const { return first == last; }
  };
  // Up to one of the words outside parentheses, or a semicolon; stands on it.
  Run run_until(Words words) {
    Run run{.first = at_};
    size_t depth = 0;
    for (; !is_end(at()); ++at_) {
      if (depth == 0 && (at().kind == Kind::kSemicolon || is_any(words))) break;
      if (at().kind == Kind::kOpen) ++depth;
      if (at().kind == Kind::kClose && depth > 0) --depth;
    }
    run.last = at_;
    return run;
  }
  [[nodiscard]] std::string_view text(Run run) const {
    if (run.empty()) return {};
    const size_t start = tokens_[run.first].offset;
    const Token& last = tokens_[run.last - 1];
    return body_.substr(start, last.offset + last.text.size() - start);
  }
  // Parts between commas outside parentheses.
  [[nodiscard]] std::vector<Run> parts(Run run) const {
    std::vector<Run> out{{.first = run.first}};
    size_t depth = 0;
    for (size_t i = run.first; i < run.last; ++i) {
      const Token& token = tokens_[i];
      if (token.kind == Kind::kOpen) ++depth;
      if (token.kind == Kind::kClose && depth > 0) --depth;
      if (depth > 0 || token.kind != Kind::kOther || token.text != ",") continue;
      out.back().last = i;
      out.push_back({.first = i + 1});
    }
    out.back().last = run.last;
    return out;
  }

  bool expression(Run run) {
    if (run.empty() || ++pieces_ > kRoutinePiecesMax) return false;
    reader_.read_expression(text(run), into_);
    return true;
  }
  bool expression_until(Words words) { return expression(run_until(words)); }
  bool expressions(Run run) { return run.empty() || expression(run); }
  bool statement(std::string_view sql) {
    if (++pieces_ > kRoutinePiecesMax) return false;
    reader_.read_statements(sql, into_);
    return true;
  }
  // A query's text: one constant is read, anything else is computed.
  bool dynamic(Run run) {
    if (run.empty()) return false;
    const std::optional<std::string> constant =
        run.last - run.first == 1 ? constant_of(tokens_[run.first]) : std::nullopt;
    if (constant) return statement(*constant);
    into_.effects.add({Effect::kRunText, Effect::kUnknown});
    into_.unknown.add(UnknownReason::kComputedText);
    return expression(run);
  }

  void skip_options();
  bool skip_label();
  bool read_block(size_t depth);
  bool read_declarations();
  bool read_declaration();
  bool read_type(Run run);
  bool read_statements(size_t depth);
  bool read_statement(size_t depth);
  bool read_if(size_t depth);
  bool read_case(size_t depth);
  bool read_loop(size_t depth);
  bool read_for(size_t depth);
  bool read_for_source(Run run);
  bool read_return();
  bool read_raise();
  enum class EndsAt : uint8_t { kSemicolon, kLoop };
  bool read_execute(EndsAt end);
  bool read_open();
  bool read_sql();
  [[nodiscard]] bool is_assignment() const;
  bool read_assignment();
  [[nodiscard]] bool is_query(size_t token) const;
  [[nodiscard]] size_t target_end(size_t token) const;
  bool read_cursor_arguments(Run run);

  std::string_view body_;
  RoutineReader& reader_;
  Statement& into_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
  size_t pieces_ = 0;
};

// #variable_conflict use_column, each on a line of its own.
void Reader::skip_options() {
  while (is_sign('#')) {
    const size_t line_end = body_.find('\n', at().offset);
    while (!is_end(at()) && at().offset < line_end) ++at_;
  }
}

// <<name>>. False: it is not one.
bool Reader::skip_label() {
  if (!is_sign('<') || !is_sign('<', 1)) return false;
  while (!is_end(at()) && !is_sign('>')) ++at_;
  at_ += 2;
  return true;
}

bool Reader::read_block(size_t depth) {
  if (depth > kRoutineBlocksMax) return false;
  skip_label();
  if (take("declare") && !read_declarations()) return false;
  if (!take("begin") || !read_statements(depth)) return false;
  if (take("exception")) {
    while (take("when")) {
      run_until({"then"});
      if (!take("then") || !read_statements(depth)) return false;
    }
  }
  if (!take("end")) return false;
  if (is_name()) ++at_;
  return true;
}

bool Reader::read_declarations() {
  while (!is("begin")) {
    if (take("declare") || skip_label()) continue;
    if (!read_declaration()) return false;
  }
  return true;
}

bool Reader::read_declaration() {
  if (!is_name()) return false;
  ++at_;
  if (is("alias")) return skip_semicolon();
  if (is("no") && is("scroll", 1)) ++at_;
  if (is("scroll") && is("cursor", 1)) ++at_;
  if (take("cursor")) {
    run_until({"for", "is"});
    if (is_end(at()) || at().kind == Kind::kSemicolon) return false;
    ++at_;
    return statement(text(run_until({}))) && take_semicolon();
  }
  take("constant");
  Run type{.first = at_};
  while (!is_end(at()) && at().kind != Kind::kSemicolon && !is_any({"not", "default", "collate"}) && !is_sign(':') &&
         !is_sign('='))
    ++at_;
  type.last = at_;
  if (type.empty() || !read_type(type)) return false;
  while (!is_end(at()) && at().kind != Kind::kSemicolon && !is("default") && !is_sign(':') && !is_sign('=')) ++at_;
  if (take_semicolon()) return true;
  if (is_sign(':')) ++at_;
  ++at_;
  return expression_until({}) && take_semicolon();
}

// A domain's checks run when something is assigned. Of t.a%TYPE and t%ROWTYPE, any column of t may have one.
bool Reader::read_type(Run run) {
  const auto percent = std::find_if(tokens_.begin() + static_cast<std::ptrdiff_t>(run.first),
                                    tokens_.begin() + static_cast<std::ptrdiff_t>(run.last),
                                    [](const Token& token) { return token.text == "%"; });
  size_t end = static_cast<size_t>(percent - tokens_.begin());
  if (end < run.last && tokens_[end + 1].is_word("type")) end = end < run.first + 3 ? run.first : end - 2;
  if (end == run.first) return true;  // another variable's
  std::string cast = "NULL::";
  cast += text({.first = run.first, .last = end});
  if (++pieces_ > kRoutinePiecesMax) return false;
  reader_.read_expression(cast, into_);
  return true;
}

bool Reader::read_statements(size_t depth) {
  while (!is_any({"end", "exception", "else", "elsif", "elseif", "when"})) {
    if (is_end(at()) || !read_statement(depth)) return false;
  }
  return true;
}

bool Reader::is_assignment() const {
  size_t i = 0;
  if (!is_name(i) && at(i).kind != Kind::kNumber) return false;  // $1 := …
  for (++i;;) {
    if (is_sign('.', i) && is_name(i + 1)) {
      i += 2;
    } else if (at(i).kind == Kind::kOpen && at(i).text == "[") {
      size_t depth = 0;
      do {
        if (at(i).kind == Kind::kOpen) ++depth;
        if (at(i).kind == Kind::kClose) --depth;
        if (is_end(at(i))) return false;
        ++i;
      } while (depth > 0);
    } else {
      return is_sign('=', i) || (is_sign(':', i) && is_sign('=', i + 1));
    }
  }
}

bool Reader::read_assignment() {
  // What stands in a subscript is an expression too.
  const Run target{.first = at_, .last = target_end(at_)};
  at_ = target.last;
  while (!is_sign('=')) ++at_;
  for (size_t i = target.first; i < target.last; ++i)
    if (tokens_[i].kind == Kind::kOpen && !expression({.first = target.first, .last = target.last})) return false;
  ++at_;
  return expression_until({}) && take_semicolon();
}

bool Reader::read_statement(size_t depth) {
  if (skip_label()) return true;
  if (is_assignment()) return read_assignment();
  if (is_any({"declare", "begin"})) return read_block(depth + 1) && take_semicolon();
  if (depth > kRoutineBlocksMax) return false;
  if (take("if")) return read_if(depth + 1);
  if (take("case")) return read_case(depth + 1);
  if (take("while")) return expression_until({"loop"}) && read_loop(depth + 1);
  if (is("loop")) return read_loop(depth + 1);
  if (is_any({"for", "foreach"})) return read_for(depth + 1);
  if (is_any({"exit", "continue"})) {
    run_until({"when"});
    return take("when") ? expression_until({}) && take_semicolon() : take_semicolon();
  }
  if (take("return")) return read_return();
  if (take("raise")) return read_raise();
  if (take("assert")) return expression_until({}) && take_semicolon();
  if (take("perform")) return expression_until({}) && take_semicolon();
  if (take("execute")) return read_execute(EndsAt::kSemicolon);
  if (is("open")) return read_open();
  // A cursor's query counts where it is opened or declared.
  if (is_any({"get", "fetch", "move", "close", "null"})) return skip_semicolon();
  return read_sql();
}

bool Reader::read_if(size_t depth) {
  do {
    if (!expression_until({"then"}) || !take("then") || !read_statements(depth)) return false;
  } while (take("elsif") || take("elseif"));
  if (take("else") && !read_statements(depth)) return false;
  return take("end") && take("if") && take_semicolon();
}

bool Reader::read_case(size_t depth) {
  if (!is("when") && !expression_until({"when"})) return false;
  while (take("when"))
    if (!expression_until({"then"}) || !take("then") || !read_statements(depth)) return false;
  if (take("else") && !read_statements(depth)) return false;
  return take("end") && take("case") && take_semicolon();
}

bool Reader::read_loop(size_t depth) {
  return take("loop") && read_statements(depth) && take("end") && take("loop") && skip_semicolon();
}

bool Reader::read_for(size_t depth) {
  const bool is_each = is("foreach");
  ++at_;
  run_until({"in"});
  if (!take("in")) return false;
  if (is_each) {
    if (!take("array")) return false;
    return expression_until({"loop"}) && read_loop(depth);
  }
  if (take("execute")) return read_execute(EndsAt::kLoop) && read_loop(depth);
  return read_for_source(run_until({"loop"})) && read_loop(depth);
}

bool Reader::is_query(size_t token) const {
  static constexpr std::string_view kVerbs[] = {"select", "with",   "values",  "table", "insert",
                                                "update", "delete", "explain", "show",  "merge"};
  return std::ranges::any_of(kVerbs, [&](std::string_view verb) { return tokens_[token].is_word(verb); });
}

// A range, a query or a cursor.
bool Reader::read_for_source(Run run) {
  if (run.empty()) return false;
  if (is_query(run.first)) return statement(text(run));
  std::string bounds;
  bool is_range = false;
  size_t depth = 0;
  if (tokens_[run.first].is_word("reverse")) ++run.first;
  for (size_t i = run.first; i < run.last; ++i) {
    const Token& token = tokens_[i];
    if (token.kind == Kind::kOpen) ++depth;
    if (token.kind == Kind::kClose && depth > 0) --depth;
    std::string word(token.text);
    if (depth == 0 && token.kind == Kind::kNumber) {
      if (const size_t points = word.find(".."); points != word.npos) {
        word.replace(points, 2, " , ");
        is_range = true;
      }
    } else if (depth == 0 && i + 1 < run.last && token.text == "." && tokens_[i + 1].text == ".") {
      word = ",";
      ++i;
      is_range = true;
    } else if (is_range && depth == 0 && token.is_word("by")) {
      word = ",";
    }
    const bool is_joined = i + 1 < run.last && tokens_[i + 1].offset == token.offset + token.text.size();
    bounds += is_joined ? word : word + " ";
  }
  if (is_range) {
    if (++pieces_ > kRoutinePiecesMax) return false;
    // FOR i IN 1.. : a bound that is missing here is none to the grammar either.
    reader_.read_expression(bounds, into_);
    return true;
  }
  if (tokens_[run.first].kind == Kind::kOpen) return statement(text(run));
  return read_cursor_arguments(run);
}

// name [(arguments)]; the name is a cursor's.
bool Reader::read_cursor_arguments(Run run) {
  if (tokens_[run.first].kind != Kind::kWord && tokens_[run.first].kind != Kind::kQuotedIdentifier) return false;
  if (run.last - run.first == 1) return true;
  if (tokens_[run.first + 1].text != "(" || tokens_[run.last - 1].text != ")") return false;
  if (run.last - run.first == 3) return true;
  // Named ones have := in them, which calls understand.
  const std::string call =
      "pg_catalog.concat(" + std::string(text({.first = run.first + 2, .last = run.last - 1})) + ")";
  if (++pieces_ > kRoutinePiecesMax) return false;
  reader_.read_expression(call, into_);
  return true;
}

bool Reader::read_return() {
  if (take("query")) {
    if (take("execute")) return read_execute(EndsAt::kSemicolon);
    return statement(text(run_until({}))) && take_semicolon();
  }
  take("next");
  return expressions(run_until({})) && take_semicolon();
}

// RAISE [level] 'format' [, expression …] [USING option = expression, …]; RAISE condition …; RAISE.
bool Reader::read_raise() {
  const Run message = run_until({"using"});
  const std::vector<Run> arguments = parts(message);
  for (size_t i = 1; i < arguments.size(); ++i)
    if (!expression(arguments[i])) return false;
  if (take("using")) {
    for (Run option : parts(run_until({}))) {
      while (option.first < option.last && tokens_[option.first].text != "=") ++option.first;
      if (option.empty()) return false;
      ++option.first;
      if (!expression(option)) return false;
    }
  }
  return take_semicolon();
}

// EXECUTE text [INTO target] [USING expression, …]; the two in any order.
bool Reader::read_execute(EndsAt end) {
  const std::string_view last = end == EndsAt::kLoop ? "loop" : "into";
  if (!dynamic(run_until({"into", "using", last}))) return false;
  for (;;) {
    if (take("into")) {
      run_until({"using"});
    } else if (take("using")) {
      if (!expression_until({"into", last})) return false;
    } else {
      return end == EndsAt::kLoop ? is("loop") : take_semicolon();
    }
  }
}

bool Reader::read_open() {
  ++at_;
  if (!is_name()) return false;
  const size_t name = at_++;
  if (is("no")) ++at_;
  take("scroll");
  if (take("for")) {
    if (take("execute")) return read_execute(EndsAt::kSemicolon);
    return statement(text(run_until({}))) && take_semicolon();
  }
  run_until({});
  return read_cursor_arguments({.first = name, .last = at_}) && take_semicolon();
}

// Behind a variable's name with its fields and subscripts.
size_t Reader::target_end(size_t token) const {
  for (++token; token < tokens_.size(); ++token) {
    if (tokens_[token].text == "." && token + 1 < tokens_.size()) {
      ++token;
    } else if (tokens_[token].text == "[") {
      size_t depth = 0;
      for (; token < tokens_.size(); ++token) {
        if (tokens_[token].kind == Kind::kOpen) ++depth;
        if (tokens_[token].kind == Kind::kClose && --depth == 0) break;
      }
    } else {
      break;
    }
  }
  return token;
}

// Any other statement is SQL's, in which INTO says where the row goes: it is taken out.
bool Reader::read_sql() {
  if (!is_name() && at().kind != Kind::kOpen) return false;
  const bool is_import = is("import");
  std::string sql;
  bool has_into = false;
  size_t start = at().offset;
  size_t depth = 0;
  const size_t first = at_;
  for (; !is_end(at()); ++at_) {
    if (at().kind == Kind::kOpen) ++depth;
    if (at().kind == Kind::kClose && depth > 0) --depth;
    if (depth == 0 && at().kind == Kind::kSemicolon) break;
    const bool follows_verb = at_ > first && (tokens_[at_ - 1].is_word("insert") || tokens_[at_ - 1].is_word("merge"));
    if (has_into || is_import || follows_verb || !is("into")) continue;
    has_into = true;
    sql += body_.substr(start, at().offset - start);
    ++at_;
    take("strict");
    if (!is_name() && at().kind != Kind::kNumber) return false;
    at_ = target_end(at_);
    while (is_sign(',')) at_ = target_end(at_ + 1);
    start = at().offset;
    --at_;
  }
  if (at().kind != Kind::kSemicolon) return false;
  sql += body_.substr(start, at().offset - start);
  ++at_;
  return statement(sql);
}

}  // namespace

bool read_plpgsql(std::string_view body, LexicalMode mode, RoutineReader& reader, Statement& into) {
  return Reader(body, mode, reader, into).read();
}

}  // namespace gatehouse::sql
