// SPDX-License-Identifier: Apache-2.0
// Parser by recursive descent: every function leaves the cursor behind what it read, or sets `error_` once.
#include "rules/engine/filter.h"

#include <array>
#include <limits>
#include <optional>

#include "common/utf8.h"
#include "rules/engine/lexer.h"
#include "rules/engine/time_text.h"

namespace gatehouse::rules {
namespace {

// A literal, before a field says what it should have been. Durations and times are ns.
enum class LiteralKind : uint8_t { kString, kNumber, kBool, kDuration, kTimestamp };

struct Literal {
  LiteralKind kind;
  std::variant<std::string, uint64_t, bool> value;
};

// What an expression turned out to be.
struct Operand {
  size_t offset = 0;
  std::variant<Literal, const FieldSpec*, std::vector<Comparison>> is{};

  [[nodiscard]] const Literal* literal() const { return std::get_if<Literal>(&is); }
  [[nodiscard]] const FieldSpec* field() const {
    const auto* pointer = std::get_if<const FieldSpec*>(&is);
    return pointer == nullptr ? nullptr : *pointer;
  }
  [[nodiscard]] const std::vector<Comparison>* conditions() const { return std::get_if<std::vector<Comparison>>(&is); }
};

struct OperatorText {
  std::string_view text;
  CompareOp op;
  CompareOp mirrored;  // the same with sides exchanged
};
constexpr OperatorText kOperators[] = {
    {"==", CompareOp::kEqual, CompareOp::kEqual}, {"!=", CompareOp::kNotEqual, CompareOp::kNotEqual},
    {"<", CompareOp::kLess, CompareOp::kGreater}, {"<=", CompareOp::kLessEqual, CompareOp::kGreaterEqual},
    {">", CompareOp::kGreater, CompareOp::kLess}, {">=", CompareOp::kGreaterEqual, CompareOp::kLessEqual},
};

struct MethodText {
  std::string_view name;
  CompareOp op;
};
constexpr MethodText kMethods[] = {
    {"contains", CompareOp::kContains},
    {"startsWith", CompareOp::kStartsWith},
    {"endsWith", CompareOp::kEndsWith},
};

std::string_view literal_name(LiteralKind kind) {
  switch (kind) {
    case LiteralKind::kString:
      return "a string";
    case LiteralKind::kNumber:
      return "a number";
    case LiteralKind::kBool:
      return "a bool";
    case LiteralKind::kDuration:
      return "a duration";
    case LiteralKind::kTimestamp:
      return "a timestamp";
  }
  return "";
}

LiteralKind wanted_literal(const FieldSpec& field) {
  switch (field.type) {
    case FieldType::kString:
    case FieldType::kList:
      return LiteralKind::kString;
    case FieldType::kUint32:
      return LiteralKind::kNumber;
    case FieldType::kUint64:
      return holds_duration(field) ? LiteralKind::kDuration : LiteralKind::kNumber;
    case FieldType::kBool:
      return LiteralKind::kBool;
    case FieldType::kTime:
      return LiteralKind::kTimestamp;
  }
  return LiteralKind::kString;
}

std::string_view example_of(LiteralKind kind) {
  switch (kind) {
    case LiteralKind::kString:
      return "\"text\"";
    case LiteralKind::kNumber:
      return "42";
    case LiteralKind::kBool:
      return "true or false";
    case LiteralKind::kDuration:
      return "duration(\"5ms\")";
    case LiteralKind::kTimestamp:
      return "timestamp(\"2026-11-25T01:02:03Z\")";
  }
  return "";
}

std::string later(std::string_view what) {
  return std::string(what) + " comes with the full rule language; a filter is comparisons joined by &&";
}

class Parser {
 public:
  explicit Parser(std::string_view text) : lexer_(text) { advance(); }

  tl::expected<Filter, FilterError> run() {
    Filter filter;
    if (token_.kind != TokenKind::kEnd) {
      auto operand = all_of();
      if (operand && token_.kind != TokenKind::kEnd) unexpected();
      if (!error_ && operand) {
        if (auto conditions = as_conditions(*operand)) filter.all_of = std::move(*conditions);
      }
    } else if (token_.kind == TokenKind::kError) {
      unexpected();
    }
    if (error_) return tl::unexpected(std::move(*error_));
    return filter;
  }

 private:
  void advance() { token_ = lexer_.next(); }
  bool accept(std::string_view text) {
    if (!token_.is(text)) return false;
    advance();
    return true;
  }
  std::nullopt_t fail(size_t offset, std::string message) {
    if (!error_) error_ = FilterError{offset, std::move(message)};
    return std::nullopt;
  }

  // The token at hand has no place here: say why in the words of CEL where CEL would go on.
  std::nullopt_t unexpected() {
    const size_t at = token_.offset;
    switch (token_.kind) {
      case TokenKind::kError:
        return fail(at, token_.string);
      case TokenKind::kEnd:
        return fail(at, "the filter ends too early: a field or a value is missing here");
      case TokenKind::kDouble:
        return fail(at, later("a number with decimals"));
      case TokenKind::kBytes:
        return fail(at, later("a bytes literal"));
      case TokenKind::kQuotedIdentifier:
        return fail(at, later("a name in backquotes"));
      case TokenKind::kString:
      case TokenKind::kInteger:
        return fail(at, "a value stands here without an operator before it");
      case TokenKind::kIdentifier:
        if (token_.text == "null") return fail(at, later("null"));
        if (token_.text == "and" || token_.text == "AND") return fail(at, "conditions are joined by &&");
        if (token_.text == "in") return fail(at, "`in` needs a string before it: \"text\" in statement.parameters");
        return fail(at, "`" + std::string(token_.text) + "` stands here without an operator before it");
      case TokenKind::kPunctuation:
        break;
    }
    for (const std::string_view part : {"||", "!", "+", "-", "*", "/", "%", "?", ":", "[", "{"}) {
      if (token_.text == part) return fail(at, later("`" + std::string(part) + "`"));
    }
    return fail(at, "`" + std::string(token_.text) + "` has no place here");
  }

  std::optional<Operand> all_of() {
    if (++depth_ > kFilterDepthMax)
      return fail(token_.offset, "more than " + std::to_string(kFilterDepthMax) + " parentheses within each other");
    auto first = condition();
    if (!first || !token_.is("&&")) {
      --depth_;
      return error_ ? std::nullopt : std::move(first);
    }
    Operand joined{.offset = first->offset, .is = std::vector<Comparison>{}};
    auto& all = std::get<std::vector<Comparison>>(joined.is);
    for (auto next = std::move(first);; next = condition()) {
      if (!next) return std::nullopt;
      auto conditions = as_conditions(*next);
      if (!conditions) return std::nullopt;
      if (all.size() + conditions->size() > kFilterComparisonsMax)
        return fail(next->offset, "more than " + std::to_string(kFilterComparisonsMax) + " comparisons");
      std::move(conditions->begin(), conditions->end(), std::back_inserter(all));
      if (!accept("&&")) break;
    }
    --depth_;
    return joined;
  }

  // operand [ compare operand ]
  std::optional<Operand> condition() {
    auto left = operand();
    if (!left) return std::nullopt;
    const size_t at = token_.offset;
    if (token_.is("in")) {
      advance();
      if (token_.is("[")) return fail(token_.offset, later("`in` with a list that is written out"));
      auto right = operand();
      return right ? member(*left, *right, at) : std::nullopt;
    }
    const OperatorText* found = find_operator(token_);
    if (found == nullptr) {
      const bool ends = token_.kind == TokenKind::kEnd || token_.is("&&") || token_.is(")");
      return ends ? std::move(left) : unexpected();
    }
    advance();
    auto right = operand();
    if (!right) return std::nullopt;
    if (find_operator(token_) != nullptr) return fail(token_.offset, "comparisons cannot be chained: join them by &&");
    return compare(*left, *found, *right, at);
  }

  static const OperatorText* find_operator(const Token& token) {
    if (token.kind != TokenKind::kPunctuation) return nullptr;
    for (const OperatorText& candidate : kOperators) {
      if (candidate.text == token.text) return &candidate;
    }
    return nullptr;
  }

  std::optional<Operand> operand() {
    const size_t at = token_.offset;
    switch (token_.kind) {
      case TokenKind::kString: {
        Operand text{.offset = at, .is = Literal{LiteralKind::kString, std::move(token_.string)}};
        advance();
        if (token_.is(".")) return fail(token_.offset, later("a method of a literal"));
        return text;
      }
      case TokenKind::kInteger: {
        if (!token_.is_unsigned && token_.integer > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
          return fail(at, "a number above 2^63 - 1: write it with the suffix u");
        Operand number{.offset = at, .is = Literal{LiteralKind::kNumber, token_.integer}};
        advance();
        return number;
      }
      case TokenKind::kIdentifier:
        return name();
      default:
        break;
    }
    if (!token_.is("(")) {
      if (token_.is("-")) return fail(at, "no field of a filter is ever negative");
      return unexpected();
    }
    advance();
    auto inner = all_of();
    if (!inner) return std::nullopt;
    if (!accept(")")) {
      if (token_.kind == TokenKind::kEnd) return fail(at, "a parenthesis that is never closed");
      return unexpected();
    }
    if (token_.is(".") && inner->field() != nullptr) return method_after(*inner->field(), at);
    inner->offset = at;
    return inner;
  }

  // true, false, duration("…"), timestamp("…"), or a field, perhaps with a method.
  std::optional<Operand> name() {
    const size_t at = token_.offset;
    std::string path(token_.text);
    if (path == "null" || path == "in") return unexpected();
    advance();
    if (path == "true" || path == "false")
      return Operand{.offset = at, .is = Literal{LiteralKind::kBool, path == "true"}};
    if (token_.is("(")) return function(path, at);
    while (token_.is(".")) {
      const size_t dot = token_.offset;
      advance();
      if (token_.kind != TokenKind::kIdentifier) {
        if (token_.kind == TokenKind::kError) return unexpected();
        return fail(dot, "a dot without a name after it");
      }
      const std::string part(token_.text);
      const size_t part_at = token_.offset;
      advance();
      if (token_.is("(")) {
        const FieldSpec* field = known(path, at);
        return field == nullptr ? std::nullopt : method(*field, part, part_at, at);
      }
      path += '.' + part;
    }
    const FieldSpec* field = known(path, at);
    if (field == nullptr) return std::nullopt;
    return Operand{.offset = at, .is = field};
  }

  const FieldSpec* known(const std::string& path, size_t at) {
    const FieldSpec* field = find_field(path);
    if (field == nullptr)
      fail(at, "there is no field `" + path + "`; did you mean `" + std::string(nearest_field(path)->name) + "`?");
    return field;
  }

  // "(field)" stands before the cursor, which is at the dot.
  std::optional<Operand> method_after(const FieldSpec& field, size_t at) {
    advance();
    const std::string part(token_.text);
    const size_t part_at = token_.offset;
    if (token_.kind != TokenKind::kIdentifier) return unexpected();
    advance();
    if (!token_.is("(")) return fail(part_at, "a field cannot be taken out of a field in parentheses");
    return method(field, part, part_at, at);
  }

  std::optional<Operand> method(const FieldSpec& field, const std::string& name, size_t name_at, size_t at) {
    const MethodText* found = nullptr;
    for (const MethodText& candidate : kMethods) {
      if (candidate.name == name) found = &candidate;
    }
    if (found == nullptr) {
      return fail(name_at,
                  "the method `" + name +
                      "` is not one of contains, startsWith, endsWith; others come with the full rule language");
    }
    if (field.type == FieldType::kList)
      return fail(name_at, quoted_type(field) + ": write \"text\" in " + std::string(field.name));
    if (field.type != FieldType::kString)
      return fail(name_at, quoted_type(field) + " and has no method `" + name + "`");
    advance();
    auto argument = operand();
    if (!argument) return std::nullopt;
    if (!accept(")")) return unexpected();
    const Literal* literal = argument->literal();
    if (literal == nullptr) return fail(argument->offset, "`" + name + "` takes a string literal here");
    if (literal->kind != LiteralKind::kString)
      return fail(argument->offset, "`" + name + "` takes a string, not " + std::string(literal_name(literal->kind)));
    return comparison(at, field, found->op, literal->value);
  }

  std::optional<Operand> function(const std::string& name, size_t at) {
    const bool is_duration = name == "duration";
    if (!is_duration && name != "timestamp") {
      return fail(
          at, "the function `" + name + "` is not one of duration, timestamp; others come with the full rule language");
    }
    advance();
    const size_t argument_at = token_.offset;
    if (token_.kind != TokenKind::kString) {
      if (token_.kind == TokenKind::kError) return unexpected();
      return fail(argument_at, "`" + name + "` takes one string literal");
    }
    const std::string text = std::move(token_.string);
    advance();
    if (!accept(")")) return unexpected();
    const auto ns = is_duration ? parse_duration(text) : parse_timestamp(text);
    if (!ns) {
      return fail(argument_at, is_duration
                                   ? "not a duration from 0 on in h, m, s, ms, us, ns: \"5ms\", \"1h30m\", \"0.5s\""
                                   : "not an RFC 3339 time since 1970: \"2026-11-25T01:02:03Z\"");
    }
    return Operand{.offset = at, .is = Literal{is_duration ? LiteralKind::kDuration : LiteralKind::kTimestamp, *ns}};
  }

  std::optional<Operand> compare(const Operand& left, const OperatorText& op, const Operand& right, size_t at) {
    if (left.conditions() != nullptr || right.conditions() != nullptr)
      return fail(at, later("comparing the results of comparisons"));
    if (left.field() != nullptr && right.field() != nullptr) return fail(at, later("comparing two fields"));
    if (left.literal() != nullptr && right.literal() != nullptr)
      return fail(at, "one side of a comparison must be a field; `gatehouse fields` lists them");
    const bool mirrored = left.literal() != nullptr;
    const FieldSpec& field = mirrored ? *right.field() : *left.field();
    const Literal& literal = mirrored ? *left.literal() : *right.literal();
    const size_t literal_at = mirrored ? left.offset : right.offset;
    const CompareOp compare_op = mirrored ? op.mirrored : op.op;
    if (field.type == FieldType::kList)
      return fail(at, quoted_type(field) + ": write \"text\" in " + std::string(field.name));
    const LiteralKind want = wanted_literal(field);
    if (literal.kind != want) {
      return fail(literal_at, quoted_type(field) + ", but is compared with " + std::string(literal_name(literal.kind)) +
                                  ": write " + std::string(example_of(want)));
    }
    if (field.type == FieldType::kBool && compare_op != CompareOp::kEqual && compare_op != CompareOp::kNotEqual)
      return fail(at, quoted_type(field) + " and knows == and != only");
    return comparison(left.offset, field, compare_op, literal.value);
  }

  std::optional<Operand> member(const Operand& element, const Operand& list, size_t at) {
    const FieldSpec* field = list.field();
    if (field == nullptr) return fail(list.offset, "`in` takes a list field after it, such as statement.parameters");
    if (field->type != FieldType::kList)
      return fail(list.offset, quoted_type(*field) + ", but `in` takes a list: write " + std::string(field->name) +
                                   ".contains(\"text\") or ==");
    const Literal* literal = element.literal();
    if (literal == nullptr) return fail(at, later("`in` after anything but a string literal"));
    if (literal->kind != LiteralKind::kString)
      return fail(element.offset,
                  quoted_type(*field) + ", but is asked for " + std::string(literal_name(literal->kind)));
    return comparison(element.offset, *field, CompareOp::kEqual, literal->value);
  }

  static std::string quoted_type(const FieldSpec& field) {
    return "`" + std::string(field.name) + "` is a " + std::string(type_name(field));
  }

  static Operand comparison(size_t at, const FieldSpec& field, CompareOp op,
                            const std::variant<std::string, uint64_t, bool>& value) {
    return {.offset = at, .is = std::vector<Comparison>{{.field = &field, .op = op, .value = value}}};
  }

  // What stands where a condition must: comparisons as they are, a bool field alone means that it is true.
  std::optional<std::vector<Comparison>> as_conditions(const Operand& operand) {
    if (const auto* conditions = operand.conditions()) return *conditions;
    if (const FieldSpec* field = operand.field()) {
      if (field->type == FieldType::kBool)
        return std::vector<Comparison>{{.field = field, .op = CompareOp::kEqual, .value = true}};
      return fail(operand.offset, quoted_type(*field) + " and alone no condition: compare it, such as " +
                                      std::string(field->name) +
                                      " == " + std::string(example_of(wanted_literal(*field))));
    }
    return fail(operand.offset, "a value alone is no condition: compare a field with it");
  }

  Lexer lexer_;
  Token token_{};
  size_t depth_ = 0;
  std::optional<FilterError> error_{};
};

void append_quoted(std::string& out, std::string_view text) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 0xF];
    } else {
      out += c;
    }
  }
  out += '"';
}

void append_value(std::string& out, const Comparison& comparison) {
  if (const auto* text = std::get_if<std::string>(&comparison.value)) return append_quoted(out, *text);
  if (const auto* flag = std::get_if<bool>(&comparison.value)) {
    out += *flag ? "true" : "false";
    return;
  }
  const uint64_t number = *std::get_if<uint64_t>(&comparison.value);
  if (comparison.field->type == FieldType::kTime) {
    out += "timestamp(\"" + format_timestamp(number) + "\")";
  } else if (holds_duration(*comparison.field)) {
    out += "duration(\"" + format_duration(number) + "\")";
  } else {
    out += std::to_string(number);
    if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) out += 'u';
  }
}

void append_comparison(std::string& out, const Comparison& comparison) {
  if (comparison.field->type == FieldType::kList) {
    append_value(out, comparison);
    out += " in ";
    out += comparison.field->name;
    return;
  }
  out += comparison.field->name;
  for (const MethodText& method : kMethods) {
    if (method.op != comparison.op) continue;
    out += '.';
    out += method.name;
    out += '(';
    append_value(out, comparison);
    out += ')';
    return;
  }
  for (const OperatorText& op : kOperators) {
    if (op.op != comparison.op) continue;
    out += ' ';
    out += op.text;
    out += ' ';
  }
  append_value(out, comparison);
}

}  // namespace

tl::expected<Filter, FilterError> parse_filter(std::string_view text) {
  if (text.size() > kFilterBytesMax)
    return tl::unexpected(
        FilterError{kFilterBytesMax, "a filter of more than " + std::to_string(kFilterBytesMax) + " bytes"});
  if (const size_t valid = valid_utf8_prefix(text); valid != text.size())
    return tl::unexpected(FilterError{valid, "a byte that is not UTF-8"});
  return Parser(text).run();
}

std::string to_string(const Filter& filter) {
  std::string out;
  for (const Comparison& comparison : filter.all_of) {
    if (!out.empty()) out += " && ";
    append_comparison(out, comparison);
  }
  return out;
}

}  // namespace gatehouse::rules
