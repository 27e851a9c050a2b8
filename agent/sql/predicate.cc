// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/predicate.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "agent/sql/facts.h"

namespace gatehouse::sql {
namespace {

using Kind = TreeNode::Kind;

class Judge {
 public:
  Judge(const Tree& tree, Consulted& consulted) : tree_(tree), consulted_(consulted) {}

  Truth judge(const TreeNode& node);

 private:
  Truth judge_bool(const TreeNode& node);
  Truth judge_or(const TreeNode& node);
  Truth judge_operator(const TreeNode& node);
  Truth judge_constant(const TreeNode& node);
  Truth judge_comparison(std::string_view op, const TreeNode& left, const TreeNode& right);
  Truth judge_case(const TreeNode& node);
  Truth judge_coalesce(const TreeNode& node);
  Truth judge_test(const TreeNode& node);
  // Some column stands in it that may be the row's.
  bool looks_at_rows(const TreeNode& node);
  bool are_same(const TreeNode& a, const TreeNode& b);
  bool are_complements(const TreeNode& a, const TreeNode& b);
  const TreeNode* side(const TreeNode& node, Key key) { return tree_.child(node, key); }
  std::string operator_name(const TreeNode& node);
  void consult_constant(const TreeNode& node) {
    consulted_.value_at(static_cast<size_t>(tree_.number(node, Key::k_location)));
  }
  std::optional<double> number_of(const TreeNode& node);
  std::optional<std::string> string_of(const TreeNode& node);

  const Tree& tree_;
  Consulted& consulted_;
};

bool Judge::looks_at_rows(const TreeNode& node) {
  if (node.type == Key::k_ColumnRef) return true;
  return std::ranges::any_of(tree_.children(node), [this](const TreeNode& child) { return looks_at_rows(child); });
}

std::string Judge::operator_name(const TreeNode& node) {
  std::string name;
  for (const TreeNode& part : tree_.items(node, Key::k_name)) name = tree_.text(part, Key::k_sval);
  return name;
}

Truth Judge::judge(const TreeNode& node) {
  switch (node.type) {
    case Key::k_BoolExpr:
      return judge_bool(node);
    case Key::k_A_Expr:
      return judge_operator(node);
    case Key::k_A_Const:
      return judge_constant(node);
    case Key::k_TypeCast:
      if (const TreeNode* arg = side(node, Key::k_arg)) return judge(*arg);
      break;
    case Key::k_CaseExpr:
      return judge_case(node);
    case Key::k_CoalesceExpr:
      return judge_coalesce(node);
    case Key::k_BooleanTest:
      return judge_test(node);
    default:
      break;
  }
  // WHERE CURRENT OF names a row without naming a column.
  return looks_at_rows(node) || node.type == Key::k_CurrentOfExpr ? Truth::kUnknown : Truth::kTrue;
}

Truth Judge::judge_constant(const TreeNode& node) {
  if (tree_.has(node, Key::k_isnull)) return Truth::kFalse;
  if (const TreeNode* value = tree_.child(node, Key::k_boolval))
    return tree_.has(*value, Key::k_boolval) ? Truth::kTrue : Truth::kFalse;
  const TreeNode* value = tree_.child(node, Key::k_sval);
  if (value == nullptr) return Truth::kTrue;  // an error for the server, but 1::bool is none
  consult_constant(node);
  const std::string text = tree_.text(*value, Key::k_sval);
  static constexpr std::array<std::string_view, 6> kFalse{"f", "false", "n", "no", "off", "0"};
  return std::ranges::find(kFalse, text) == kFalse.end() ? Truth::kTrue : Truth::kFalse;
}

Truth Judge::judge_bool(const TreeNode& node) {
  const std::string_view op = tree_.raw_text(node, Key::k_boolop);
  if (op == "OR_EXPR") return judge_or(node);
  Truth all = Truth::kTrue;
  for (const TreeNode& arg : tree_.items(node, Key::k_args)) {
    const Truth truth = judge(arg);
    if (op == "NOT_EXPR") {
      if (truth == Truth::kUnknown) return truth;
      // What does not look at rows is kTrue without being known to be true.
      return truth == Truth::kFalse || !looks_at_rows(arg) ? Truth::kTrue : Truth::kFalse;
    }
    if (truth == Truth::kFalse) return truth;
    if (truth == Truth::kUnknown) all = truth;
  }
  return all;
}

Truth Judge::judge_or(const TreeNode& node) {
  Truth any = Truth::kFalse;
  size_t count = 0;
  for (const TreeNode& arg : tree_.items(node, Key::k_args)) {
    const Truth truth = judge(arg);
    if (truth == Truth::kTrue || ++count > kAlternativesMax) return Truth::kTrue;
    if (truth == Truth::kUnknown) any = truth;
  }
  for (const TreeNode& a : tree_.items(node, Key::k_args))
    for (const TreeNode& b : tree_.items(node, Key::k_args))
      if (&a < &b && are_complements(a, b)) return Truth::kTrue;
  return any;
}

Truth Judge::judge_operator(const TreeNode& node) {
  const std::string_view kind = tree_.raw_text(node, Key::k_kind);
  const TreeNode* left = side(node, Key::k_lexpr);
  const TreeNode* right = side(node, Key::k_rexpr);
  if (left == nullptr || right == nullptr) return looks_at_rows(node) ? Truth::kUnknown : Truth::kTrue;
  const bool is_plain = kind == "AEXPR_OP";
  if (is_plain && !looks_at_rows(node)) return judge_comparison(operator_name(node), *left, *right);
  if (!looks_at_rows(node)) return Truth::kTrue;
  const std::string op = operator_name(node);
  if (kind == "AEXPR_IN" || kind == "AEXPR_BETWEEN" || kind == "AEXPR_BETWEEN_SYM") {
    if (op == "<>" || right->kind != Kind::kObject) return Truth::kUnknown;
    bool any = false, all = true;
    for (const TreeNode& item : tree_.items(*right, Key::k_items)) {
      const bool is_same = are_same(*left, item);
      any = any || is_same;
      all = all && is_same;
    }
    return kind == "AEXPR_IN" ? (any ? Truth::kTrue : Truth::kUnknown) : (all ? Truth::kTrue : Truth::kUnknown);
  }
  static constexpr std::array<std::string_view, 9> kReflexive{"=", "<=", ">=", "~~", "~~*", "@>", "<@", "~", "~*"};
  const bool is_reflexive = kind == "AEXPR_NOT_DISTINCT" || std::ranges::find(kReflexive, op) != kReflexive.end();
  if (kind != "AEXPR_DISTINCT" && is_reflexive && are_same(*left, *right)) return Truth::kTrue;
  const bool is_pattern = kind == "AEXPR_LIKE" || kind == "AEXPR_ILIKE" || op == "~" || op == "~*";
  if (is_pattern && (op == "~~" || op == "~~*" || op == "~" || op == "~*") && right->type == Key::k_A_Const &&
      tree_.has(*right, Key::k_sval)) {
    const auto offset = static_cast<size_t>(tree_.number(*right, Key::k_location));
    if (consulted_.matches_everything_at(offset)) return Truth::kTrue;
  }
  return Truth::kUnknown;
}

// Neither side looks at rows.
Truth Judge::judge_comparison(std::string_view op, const TreeNode& left, const TreeNode& right) {
  std::optional<int> order;
  if (left.type == Key::k_A_Const && right.type == Key::k_A_Const) {
    const auto a = number_of(left), b = number_of(right);
    if (a && b) order = *a < *b ? -1 : *a > *b ? 1 : 0;
    const auto s = string_of(left), t = string_of(right);
    if (s && t && (op == "=" || op == "<>")) order = *s == *t ? 0 : 1;
  }
  if (!order) return Truth::kTrue;
  const bool holds = op == "="                  ? *order == 0
                     : op == "<>" || op == "!=" ? *order != 0
                     : op == "<"                ? *order < 0
                     : op == ">"                ? *order > 0
                     : op == "<="               ? *order <= 0
                     : op == ">="               ? *order >= 0
                                                : true;
  return holds ? Truth::kTrue : Truth::kFalse;
}

std::optional<double> Judge::number_of(const TreeNode& node) {
  std::string_view text;
  if (const TreeNode* value = tree_.child(node, Key::k_ival)) {
    text = tree_.has(*value, Key::k_ival) ? tree_.raw_text(*value, Key::k_ival) : "0";
  } else if (const TreeNode* decimal = tree_.child(node, Key::k_fval)) {
    text = tree_.raw_text(*decimal, Key::k_fval);
  } else {
    return std::nullopt;
  }
  consult_constant(node);
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  // Beyond what a double tells apart, nothing is known.
  constexpr double kExact = 9007199254740992.0;
  if (error != std::errc{} || end != text.data() + text.size() || number > kExact || number < -kExact)
    return std::nullopt;
  return number;
}

std::optional<std::string> Judge::string_of(const TreeNode& node) {
  const TreeNode* value = tree_.child(node, Key::k_sval);
  if (value == nullptr) return std::nullopt;
  consult_constant(node);
  return tree_.text(*value, Key::k_sval);
}

Truth Judge::judge_case(const TreeNode& node) {
  Truth common = Truth::kFalse;  // without ELSE: null
  if (const TreeNode* otherwise = side(node, Key::k_defresult)) common = judge(*otherwise);
  for (const TreeNode& when : tree_.items(node, Key::k_args)) {
    const TreeNode* result = side(when, Key::k_result);
    if (result == nullptr || judge(*result) != common) return looks_at_rows(node) ? Truth::kUnknown : Truth::kTrue;
  }
  return common;
}

Truth Judge::judge_coalesce(const TreeNode& node) {
  for (const TreeNode& arg : tree_.items(node, Key::k_args)) {
    const Truth truth = judge(arg);
    if (truth != Truth::kFalse) return truth;
    return looks_at_rows(node) ? Truth::kUnknown : Truth::kTrue;
  }
  return Truth::kUnknown;
}

Truth Judge::judge_test(const TreeNode& node) {
  const TreeNode* arg = side(node, Key::k_arg);
  if (arg == nullptr || !looks_at_rows(node)) return Truth::kTrue;
  const std::string_view test = tree_.raw_text(node, Key::k_booltesttype);
  const Truth truth = judge(*arg);
  if (truth == Truth::kUnknown) return truth;
  if (test == "IS_TRUE" || test == "IS_NOT_FALSE") return truth;
  if (test == "IS_NOT_UNKNOWN") return Truth::kTrue;
  return truth == Truth::kTrue ? Truth::kFalse : Truth::kTrue;
}

bool Judge::are_same(const TreeNode& a, const TreeNode& b) {
  if (a.key != b.key && a.key != Key::k_lexpr && a.key != Key::k_rexpr && a.key != Key::k_arg && a.key != Key::kNone)
    return false;
  if (a.type != b.type || a.kind != b.kind || a.type_name != b.type_name) return false;
  if (a.text != b.text) {
    if (a.key == Key::k_location) return true;
    return false;
  }
  if (a.type == Key::k_FuncCall || a.type == Key::k_SubLink) return false;  // may be another value each time
  if (a.type == Key::k_A_Const && !tree_.has(a, Key::k_boolval)) {
    consult_constant(a);
    consult_constant(b);
  }
  const auto left = tree_.children(a), right = tree_.children(b);
  auto i = left.begin(), j = right.begin();
  for (; i != left.end() && j != right.end(); ++i, ++j)
    if ((*i).key != (*j).key || !are_same(*i, *j)) return false;
  return i == left.end() && j == right.end();
}

// One of the two holds for each value: x IS NULL and x IS NOT NULL, a = 1 and a <> 1, p and NOT p.
bool Judge::are_complements(const TreeNode& a, const TreeNode& b) {
  if (a.type == Key::k_NullTest && b.type == Key::k_NullTest) {
    const TreeNode* x = side(a, Key::k_arg);
    const TreeNode* y = side(b, Key::k_arg);
    return tree_.raw_text(a, Key::k_nulltesttype) != tree_.raw_text(b, Key::k_nulltesttype) && x != nullptr &&
           y != nullptr && are_same(*x, *y);
  }
  const auto is_not_of = [this](const TreeNode& negation, const TreeNode& plain) {
    if (negation.type != Key::k_BoolExpr || tree_.raw_text(negation, Key::k_boolop) != "NOT_EXPR") return false;
    const auto args = tree_.items(negation, Key::k_args);
    return !args.empty() && are_same(*args.begin(), plain);
  };
  if (is_not_of(a, b) || is_not_of(b, a)) return true;
  if (a.type != Key::k_A_Expr || b.type != Key::k_A_Expr) return false;
  struct Pair {
    std::string_view one, other;
  };
  static constexpr std::array<Pair, 12> kPairs{{{"=", "<>"},
                                                {"<", ">="},
                                                {">", "<="},
                                                {"<=", ">"},
                                                {">=", "<"},
                                                {"<>", "="},
                                                {"~~", "!~~"},
                                                {"!~~", "~~"},
                                                {"<=", ">="},
                                                {">=", "<="},
                                                {"~", "!~"},
                                                {"!~", "~"}}};
  const std::string p = operator_name(a), q = operator_name(b);
  if (std::ranges::none_of(kPairs, [&](const Pair& pair) { return pair.one == p && pair.other == q; })) return false;
  const TreeNode* a_left = side(a, Key::k_lexpr);
  const TreeNode* b_left = side(b, Key::k_lexpr);
  const TreeNode* a_right = side(a, Key::k_rexpr);
  const TreeNode* b_right = side(b, Key::k_rexpr);
  return a_left != nullptr && b_left != nullptr && a_right != nullptr && b_right != nullptr &&
         are_same(*a_left, *b_left) && are_same(*a_right, *b_right);
}

}  // namespace

Truth truth_of(const Tree& tree, const TreeNode& expression, Consulted& consulted) {
  return Judge(tree, consulted).judge(expression);
}

}  // namespace gatehouse::sql
