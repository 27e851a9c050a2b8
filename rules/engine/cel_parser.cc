// SPDX-License-Identifier: Apache-2.0
// Recursive descent, one function per level of precedence but for the binary operators, which climb. Every function
// returns a node and leaves the cursor behind what it read, or sets `error_` once and returns kNoNode.
#include "rules/engine/cel_parser.h"

#include <algorithm>
#include <limits>
#include <optional>

#include "common/utf8.h"
#include "rules/engine/lexer.h"

namespace gatehouse::rules::cel {
namespace {

constexpr uint64_t kIntMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());

struct BinaryOperator {
  std::string_view text;
  std::string_view function;
  int precedence;
};
constexpr BinaryOperator kBinary[] = {
    {"==", "_==_", 1}, {"!=", "_!=_", 1}, {"<=", "_<=_", 1}, {">=", "_>=_", 1}, {"<", "_<_", 1}, {">", "_>_", 1},
    {"in", "@in", 1},  {"+", "_+_", 2},   {"-", "_-_", 2},   {"*", "_*_", 3},   {"/", "_/_", 3}, {"%", "_%_", 3},
};

// Words of other languages that CEL keeps for itself: no variables, but fields may be called so.
constexpr std::string_view kReserved[] = {"as",        "break",  "const",  "continue", "else", "for",
                                          "function",  "if",     "import", "let",      "loop", "package",
                                          "namespace", "return", "var",    "void",     "while"};
constexpr std::string_view kWords[] = {"true", "false", "null", "in"};

struct MacroName {
  std::string_view name;
  Macro macro;
  size_t variables;
  size_t expressions;
};
constexpr MacroName kMacros[] = {
    {"all", Macro::kAll, 1, 1},
    {"exists", Macro::kExists, 1, 1},
    {"exists_one", Macro::kExistsOne, 1, 1},
    {"existsOne", Macro::kExistsOne, 1, 1},
    {"filter", Macro::kFilter, 1, 1},
    {"map", Macro::kMap, 1, 1},
    {"map", Macro::kMap, 1, 2},
    {"all", Macro::kAll, 2, 1},
    {"exists", Macro::kExists, 2, 1},
    {"exists_one", Macro::kExistsOne, 2, 1},
    {"existsOne", Macro::kExistsOne, 2, 1},
    {"transformList", Macro::kTransformList, 2, 1},
    {"transformList", Macro::kTransformList, 2, 2},
    {"transformMap", Macro::kTransformMap, 2, 1},
    {"transformMap", Macro::kTransformMap, 2, 2},
};

bool contains(std::span<const std::string_view> words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text), lexer_(text) { advance(); }

  tl::expected<Ast, CompileError> run() {
    ast_.root = expression();
    if (!error_ && token_.kind != TokenKind::kEnd) unexpected();
    if (error_) return tl::unexpected(std::move(*error_));
    return std::move(ast_);
  }

 private:
  void advance() {
    last_end_ = token_.offset + token_.text.size();
    token_ = lexer_.next();
  }
  [[nodiscard]] bool at(std::string_view text) const { return token_.is(text); }
  bool accept(std::string_view text) {
    if (!at(text)) return false;
    advance();
    return true;
  }
  NodeId fail(size_t offset, std::string message) {
    if (!error_) error_ = CompileError{offset, std::move(message)};
    return kNoNode;
  }

  // The token at hand has no place here.
  NodeId unexpected() {
    const size_t offset = token_.offset;
    const std::string word = "`" + std::string(token_.text) + "`";
    switch (token_.kind) {
      case TokenKind::kError:
        return fail(offset, token_.string);
      case TokenKind::kEnd:
        return fail(offset, "the expression ends too early: a value is missing here");
      case TokenKind::kIdentifier:
        if (token_.text == "and" || token_.text == "AND") return fail(offset, "conditions are joined by && and ||");
        if (token_.text == "or" || token_.text == "OR") return fail(offset, "conditions are joined by && and ||");
        if (token_.text == "not" || token_.text == "NOT") return fail(offset, "`not` is written !");
        if (token_.text == "in") return fail(offset, "`in` needs a value before it");
        return fail(offset, word + " stands here without an operator before it");
      case TokenKind::kString:
      case TokenKind::kBytes:
      case TokenKind::kInteger:
      case TokenKind::kDouble:
        return fail(offset, "a value stands here without an operator before it");
      case TokenKind::kQuotedIdentifier:
        return fail(offset, "a name in backquotes follows a dot");
      case TokenKind::kPunctuation:
        break;
    }
    return fail(offset, word + " has no place here: a value is expected");
  }

  bool expect(std::string_view closing, size_t opened) {
    if (accept(closing)) return true;
    if (token_.kind == TokenKind::kEnd) {
      fail(opened, "this is never closed: `" + std::string(closing) + "` is missing");
    } else if (token_.kind == TokenKind::kPunctuation) {
      fail(token_.offset, "`" + std::string(token_.text) + "` has no place here: `" + std::string(closing) +
                              "` is expected, which closes what opened before");
    } else {
      unexpected();
    }
    return false;
  }

  // Adds `node`, whose text ends where the cursor stands.
  NodeId add(Node node) {
    for (const NodeId arg : node.args) {
      if (arg == kNoNode) return kNoNode;
      node.depth = std::max(node.depth, ast_.nodes[arg].depth + 1);
    }
    if (node.depth > kExpressionDepthMax) return too_deep(node.offset);
    node.end = static_cast<uint32_t>(last_end_);
    ast_.nodes.push_back(std::move(node));
    return static_cast<NodeId>(ast_.nodes.size() - 1);
  }
  static Node at_place(NodeKind kind, size_t offset, size_t begin) {
    return {.kind = kind, .offset = static_cast<uint32_t>(offset), .begin = static_cast<uint32_t>(begin)};
  }
  NodeId too_deep(size_t offset) {
    return fail(offset, "more than " + std::to_string(kExpressionDepthMax) + " operations within each other");
  }
  NodeId call(std::string_view function, size_t offset, size_t begin, std::vector<NodeId> args) {
    Node node = at_place(NodeKind::kCall, offset, begin);
    node.text = function;
    node.args = std::move(args);
    return add(std::move(node));
  }
  [[nodiscard]] size_t begin_of(NodeId node) const { return node == kNoNode ? 0 : ast_.nodes[node].begin; }

  // condition ? expression : expression
  NodeId expression() {
    if (++depth_ > kExpressionDepthMax) return too_deep(token_.offset);
    const NodeId result = choice();
    --depth_;
    return result;
  }
  NodeId choice() {
    const NodeId condition = chain("||", NodeKind::kOr);
    if (condition == kNoNode || !at("?")) return condition;
    const size_t offset = token_.offset;
    advance();
    const NodeId yes = chain("||", NodeKind::kOr);
    if (yes == kNoNode) return kNoNode;
    if (!accept(":")) {
      if (token_.kind == TokenKind::kError) return unexpected();
      return fail(token_.offset, "`:` is expected, and what holds otherwise");
    }
    const NodeId no = expression();
    Node node = at_place(NodeKind::kChoice, offset, begin_of(condition));
    node.args = {condition, yes, no};
    return add(std::move(node));
  }

  // Operands of && or ||, all in one node.
  NodeId chain(std::string_view sign, NodeKind kind) {
    const auto operand = [&] { return kind == NodeKind::kOr ? chain("&&", NodeKind::kAnd) : binary(1); };
    const NodeId first = operand();
    if (first == kNoNode || !at(sign)) return first;
    Node node = at_place(kind, token_.offset, begin_of(first));
    node.args.push_back(first);
    while (accept(sign)) {
      node.args.push_back(operand());
      if (node.args.back() == kNoNode) return kNoNode;
    }
    return add(std::move(node));
  }

  [[nodiscard]] const BinaryOperator* binary_operator() const {
    if (token_.kind != TokenKind::kPunctuation && token_.text != "in") return nullptr;
    const auto found = std::ranges::find(kBinary, token_.text, &BinaryOperator::text);
    return found == std::end(kBinary) ? nullptr : found;
  }

  NodeId binary(int precedence) {
    NodeId left = unary();
    while (left != kNoNode) {
      const BinaryOperator* found = binary_operator();
      if (found == nullptr || found->precedence < precedence) return left;
      const size_t offset = token_.offset;
      advance();
      const NodeId right = binary(found->precedence + 1);
      left = call(found->function, offset, begin_of(left), {left, right});
    }
    return kNoNode;
  }

  // Signs before a value: pairs cancel each other, and a minus belongs to the number behind it.
  NodeId unary() {
    const size_t begin = token_.offset;
    if (!at("!") && !at("-")) return member();
    const std::string sign(token_.text);
    size_t count = 0;
    size_t offset = begin;
    for (; at(sign); ++count) {
      offset = token_.offset;
      advance();
    }
    if (at("!") || at("-")) return unexpected();
    const bool number = token_.kind == TokenKind::kInteger || token_.kind == TokenKind::kDouble;
    negative_ = sign == "-" && number;
    if (negative_) --count;
    negative_begin_ = offset;
    NodeId operand = member();
    // `- -x` is x unless the type is wrong, which one sign is enough to see; an even number leaves two.
    for (size_t signs = count == 0 ? 0 : 2 - count % 2; signs > 0; --signs)
      operand = call(sign == "!" ? "!_" : "-_", offset, begin, {operand});
    return operand;
  }

  NodeId member() {
    NodeId result = primary();
    while (result != kNoNode) {
      const size_t begin = begin_of(result);
      if (at(".")) {
        result = dotted(result, begin);
      } else if (at("[")) {
        const size_t offset = token_.offset;
        advance();
        const NodeId index = expression();
        if (index == kNoNode || !expect("]", offset)) return kNoNode;
        result = call("_[_]", offset, begin, {result, index});
      } else if (at("{")) {
        return fail(token_.offset, "messages cannot be constructed here; a map begins with its own {");
      } else {
        return result;
      }
    }
    return kNoNode;
  }

  // .field, .method(…), .macro(…)
  NodeId dotted(NodeId operand, size_t begin) {
    const size_t dot = token_.offset;
    advance();
    if (token_.kind == TokenKind::kError) return unexpected();
    const bool quoted = token_.kind == TokenKind::kQuotedIdentifier;
    const bool word = token_.kind == TokenKind::kIdentifier && !contains(kWords, token_.text);
    if (!quoted && !word) return fail(dot, "a dot without a name after it");
    Node node = at_place(NodeKind::kSelect, token_.offset, begin);
    node.text = quoted ? token_.string : std::string(token_.text);
    node.args.push_back(operand);
    advance();
    if (!quoted && at("(")) return method(std::move(node));
    return add(std::move(node));
  }

  NodeId method(Node node) {
    const size_t opened = token_.offset;
    advance();
    std::vector<NodeId> args;
    if (!arguments(args, ")", opened)) return kNoNode;
    bool named = false;
    for (const MacroName& candidate : kMacros) {
      if (candidate.name != node.text) continue;
      named = true;
      if (args.size() == candidate.variables + candidate.expressions) return loop(candidate, node, args);
    }
    if (named) return fail(node.offset, "`" + node.text + "` takes a variable's name and an expression");
    node.kind = NodeKind::kCall;
    node.is_method = true;
    node.args.insert(node.args.end(), args.begin(), args.end());
    return add(std::move(node));
  }

  NodeId loop(const MacroName& macro, const Node& call_node, const std::vector<NodeId>& args) {
    Node node = at_place(NodeKind::kLoop, call_node.offset, call_node.begin);
    node.macro = macro.macro;
    for (size_t i = 0; i < macro.variables; ++i) {
      const Node& name = ast_.nodes[args[i]];
      if (name.kind != NodeKind::kName || name.is_rooted)
        return fail(name.begin, "`" + call_node.text + "` takes a variable's name here");
      (i == 0 ? node.text : node.second) = name.text;
    }
    if (node.text == node.second)
      return fail(call_node.offset, "`" + call_node.text + "` takes two variables of different names");
    node.args = {call_node.args[0]};
    node.args.insert(node.args.end(), args.begin() + static_cast<ptrdiff_t>(macro.variables), args.end());
    return add(std::move(node));
  }

  // Expressions up to `closing`, which is read. Lists and maps may end with a comma, calls may not.
  bool arguments(std::vector<NodeId>& args, std::string_view closing, size_t opened) {
    if (accept(closing)) return true;
    while (true) {
      const NodeId arg = expression();
      if (arg == kNoNode) return false;
      args.push_back(arg);
      if (closing == "}") {
        const size_t parity = args.size() % 2;
        if (parity == 1 && !accept(":")) {
          unexpected_separator("`:` and a value are expected after a map's key");
          return false;
        }
        if (parity == 1) continue;
      }
      if (!accept(",")) return expect(closing, opened);
      if (closing != ")" && accept(closing)) return true;
    }
  }
  void unexpected_separator(std::string message) {
    if (token_.kind == TokenKind::kError) {
      unexpected();
    } else {
      fail(token_.offset, std::move(message));
    }
  }

  NodeId primary() {
    const size_t begin = token_.offset;
    switch (token_.kind) {
      case TokenKind::kString:
      case TokenKind::kBytes:
        return text_literal();
      case TokenKind::kInteger:
      case TokenKind::kDouble:
        return number();
      case TokenKind::kIdentifier:
        return name(false);
      default:
        break;
    }
    if (at("(")) {
      advance();
      const NodeId inner = expression();
      if (inner == kNoNode || !expect(")", begin)) return kNoNode;
      ast_.nodes[inner].begin = static_cast<uint32_t>(begin);
      ast_.nodes[inner].end = static_cast<uint32_t>(last_end_);
      return inner;
    }
    if (at("[") || at("{")) {
      Node node = at_place(at("[") ? NodeKind::kList : NodeKind::kMap, begin, begin);
      advance();
      if (!arguments(node.args, node.kind == NodeKind::kList ? "]" : "}", begin)) return kNoNode;
      return add(std::move(node));
    }
    if (at(".")) {
      advance();
      return token_.kind == TokenKind::kIdentifier ? name(true) : fail(begin, "a dot without a name after it");
    }
    return unexpected();
  }

  NodeId text_literal() {
    Node node = at_place(NodeKind::kConstant, token_.offset, token_.offset);
    const std::string& kept = *ast_.literals.emplace_back(std::make_unique<std::string>(std::move(token_.string)));
    node.constant = token_.kind == TokenKind::kString ? Value::string(kept) : Value::bytes(kept);
    advance();
    return add(std::move(node));
  }

  NodeId number() {
    const bool negative = std::exchange(negative_, false);
    const size_t begin = negative ? negative_begin_ : token_.offset;
    Node node = at_place(NodeKind::kConstant, begin, begin);
    const uint64_t integer = token_.integer;
    if (token_.kind == TokenKind::kDouble) {
      node.constant = Value::real(negative ? -token_.real : token_.real);
    } else if (token_.is_unsigned) {
      if (negative) return fail(begin, "a number with the suffix u is never negative");
      node.constant = Value::uint(integer);
    } else if (integer > kIntMax && !negative) {
      return fail(begin, "a number above 2^63 - 1: write it with the suffix u");
    } else {
      node.constant = Value::integer(static_cast<int64_t>(negative ? 0 - integer : integer));
    }
    advance();
    return add(std::move(node));
  }

  // true, false, null, a variable, has(…), or a function's call.
  NodeId name(bool rooted) {
    const size_t begin = token_.offset;
    Node node = at_place(NodeKind::kName, begin, begin);
    node.text = token_.text;
    node.is_rooted = rooted;
    if (node.text == "in") return unexpected();
    if (contains(kReserved, node.text))
      return fail(begin, "`" + node.text + "` is a word that CEL keeps for itself: no variable is called so");
    advance();
    if (!rooted && contains(kWords, node.text)) {
      node.kind = NodeKind::kConstant;
      if (node.text != "null") node.constant = Value::boolean(node.text == "true");
      return add(std::move(node));
    }
    if (!at("(")) return add(std::move(node));
    const size_t opened = token_.offset;
    advance();
    if (!arguments(node.args, ")", opened)) return kNoNode;
    node.kind = NodeKind::kCall;
    return node.text == "has" && !rooted ? has(node) : add(std::move(node));
  }

  NodeId has(const Node& call_node) {
    if (call_node.args.size() != 1 || ast_.nodes[call_node.args[0]].kind != NodeKind::kSelect)
      return fail(call_node.offset, "`has` takes a field: has(statement.verb)");
    Node& select = ast_.nodes[call_node.args[0]];
    select.kind = NodeKind::kHas;
    select.begin = call_node.begin;
    select.end = static_cast<uint32_t>(last_end_);
    return call_node.args[0];
  }

  std::string_view text_;
  Lexer lexer_;
  Token token_{};
  size_t last_end_ = 0;
  size_t depth_ = 0;
  bool negative_ = false;  // a minus stands before the number at hand
  size_t negative_begin_ = 0;
  Ast ast_{};
  std::optional<CompileError> error_{};
};

}  // namespace

tl::expected<Ast, CompileError> parse(std::string_view text) {
  if (text.size() > kExpressionBytesMax) {
    return tl::unexpected(CompileError{kExpressionBytesMax,
                                       "an expression of more than " + std::to_string(kExpressionBytesMax) + " bytes"});
  }
  if (const size_t valid = valid_utf8_prefix(text); valid != text.size())
    return tl::unexpected(CompileError{valid, "a byte that is not UTF-8"});
  return Parser(text).run();
}

}  // namespace gatehouse::rules::cel
