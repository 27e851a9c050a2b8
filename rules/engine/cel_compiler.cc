// SPDX-License-Identifier: Apache-2.0
// Checked tree to instructions. What is made of constants only is computed here.
#include <algorithm>
#include <cstring>
#include <limits>

#include "rules/engine/cel_checker.h"
#include "rules/engine/cel_code.h"
#include "rules/engine/cel_expand.h"
#include "rules/engine/cel_functions.h"
#include "rules/engine/cel_parser.h"

namespace gatehouse::rules::cel {
namespace {

// Enough for what constants are put together to; what needs more is left to the evaluation.
constexpr size_t kFoldBytes = 64U << 10;
constexpr uint64_t kFoldSteps = 100'000;
// A turn of a loop costs one step, and one for so many instructions of it.
constexpr size_t kInstructionsPerStep = 16;
// Operands of one list, map or call; bounded by the length of an expression in any case.
constexpr size_t kOperandsMax = std::numeric_limits<uint16_t>::max();

class Compiler {
 public:
  Compiler(const Ast& ast, const Schema& schema, ProgramCode& code)
      : ast_(ast), schema_(schema), code_(code), scratch_(kFoldBytes, kFoldSteps) {}

  std::optional<CompileError> run(NodeId root) {
    emit(root);
    return std::move(error_);
  }

 private:
  [[nodiscard]] const Node& node(NodeId id) const { return ast_.nodes[id]; }
  [[nodiscard]] size_t here() const { return code_.instructions.size(); }
  void fail(size_t offset, std::string message) {
    if (!error_) error_ = CompileError{offset, std::move(message)};
  }

  void add(Op op, const Node& of, size_t index = 0, size_t count = 0, uint8_t flag = 0) {
    code_.instructions.push_back({.op = op,
                                  .flag = flag,
                                  .count = static_cast<uint16_t>(count),
                                  .index = static_cast<uint32_t>(index),
                                  .offset = of.offset});
  }
  void pushed(size_t values = 1) {
    depth_ += values;
    code_.stack_values = std::max(code_.stack_values, depth_);
    if (code_.stack_values > kStackValuesMax)
      fail(0, "more than " + std::to_string(kStackValuesMax) + " values are needed at a time; long lists are named");
  }
  void popped(size_t values) { depth_ -= values; }

  // The instruction at `jump` goes to the one that comes next.
  void land(size_t jump) { code_.instructions[jump].index = static_cast<uint32_t>(here()); }

  void constant(const Node& of, const Value& value) {
    add(Op::kConstant, of, code_.constants.size());
    code_.constants.push_back(value);
    pushed();
  }

  void emit(NodeId id) {
    if (error_) return;
    const Node& of = node(id);
    if (of.meaning != Meaning::kNone) return emit_name(of);
    switch (of.kind) {
      case NodeKind::kConstant:
        return constant(of, code_.keep(of.constant));
      case NodeKind::kAnd:
      case NodeKind::kOr:
        return emit_logic(of);
      case NodeKind::kChoice:
        return emit_choice(of);
      case NodeKind::kCall:
        return emit_call(of);
      case NodeKind::kList:
      case NodeKind::kMap:
        return emit_literal(of);
      case NodeKind::kLoop:
        return emit_loop(of);
      case NodeKind::kName:
      case NodeKind::kSelect:
      case NodeKind::kHas:
        break;  // these have a meaning
    }
  }

  void emit_name(const Node& of) {
    const bool has = of.kind == NodeKind::kHas;
    switch (of.meaning) {
      case Meaning::kLoopVariable:
        add(Op::kLocal, of, of.index, 0, of.is_second ? 1 : 0);
        pushed();
        return;
      case Meaning::kVariable:
        add(Op::kVariable, of, static_cast<size_t>(of.variable - schema_.variables.data()));
        pushed();
        if (has) add(Op::kHasValue, of);
        return;
      case Meaning::kConstant:
        // The schema outlives the program.
        constant(of, of.constant);
        if (has) add(Op::kHasValue, of);
        return;
      case Meaning::kField:
        emit(of.args[0]);
        add(has ? Op::kHasField : Op::kField, of, code_.fields.size());
        code_.fields.push_back(of.field);
        return;
      case Meaning::kKey:
        emit_key(of);
        return;
      case Meaning::kNone:
        return;
    }
  }

  void emit_key(const Node& of) {
    const size_t begin = here();
    emit(of.args[0]);
    const bool is_constant = is_constants(begin, 1);
    add(of.kind == NodeKind::kHas ? Op::kHasKey : Op::kKey, of, code_.constants.size());
    code_.constants.push_back(code_.keep(Value::string(of.text)));
    if (is_constant) fold(begin, of);
  }

  void emit_logic(const Node& of) {
    const uint8_t flag = of.kind == NodeKind::kOr ? 1 : 0;
    std::vector<size_t> jumps;
    for (const NodeId arg : of.args) {
      emit(arg);
      jumps.push_back(here());
      add(jumps.size() == 1 ? Op::kLogic : Op::kLogicNext, node(arg), 0, 0, flag);
      if (jumps.size() > 1) popped(1);
    }
    for (const size_t jump : jumps) land(jump);
  }

  void emit_choice(const Node& of) {
    emit(of.args[0]);
    const size_t branch = here();
    add(Op::kBranch, node(of.args[0]));
    popped(1);
    emit(of.args[1]);
    popped(1);
    const size_t jump = here();
    add(Op::kJump, of);
    land(branch);
    emit(of.args[2]);
    land(jump);
  }

  // The instructions from `begin` on are `count` constants.
  [[nodiscard]] bool is_constants(size_t begin, size_t count) const {
    return here() - begin == count &&
           std::all_of(code_.instructions.begin() + static_cast<ptrdiff_t>(begin), code_.instructions.end(),
                       [](const Instruction& instruction) { return instruction.op == Op::kConstant; });
  }

  // Replaces the instructions from `begin` on, which need no variables, by what they give; errors stay for the
  // evaluation, where an operator may absorb them. False if it was an error.
  bool fold(size_t begin, const Node& of) {
    if (error_) return false;
    const Value result = run_constant(code_, begin, scratch_);
    if (result.is_error()) return false;
    code_.instructions.resize(begin);
    const Value kept = code_.keep(result);
    popped(1);
    constant(of, kept);
    return true;
  }

  [[nodiscard]] const Value* constant_at(size_t instruction) const {
    const Instruction& found = code_.instructions[instruction];
    return found.op == Op::kConstant ? &code_.constants[found.index] : nullptr;
  }

  void emit_operands(const Node& of) {
    if (of.args.size() > kOperandsMax) fail(of.offset, "more than " + std::to_string(kOperandsMax) + " operands");
    for (const NodeId arg : of.args) emit(arg);
  }

  void emit_call(const Node& of) {
    const size_t begin = here();
    emit_operands(of);
    if (error_) return;
    if (of.function->call == matches) return emit_pattern(of);
    if (of.function->call == in && emit_set(of)) return;
    const bool constants = is_constants(begin, of.args.size());
    add(Op::kCall, of, static_cast<size_t>(of.function - functions().data()), of.args.size());
    popped(of.args.size());
    pushed();
    if (!constants || fold(begin, of)) return;
    const Node& argument = node(of.args[0]);
    if (of.function->call == to_duration)
      fail(argument.offset, "not a duration in h, m, s, ms, us, ns: \"5ms\", \"1h30m\", \"-0.5s\"");
    if (of.function->call == to_timestamp)
      fail(argument.offset, "not a time of the years 1 to 9999 as RFC 3339 writes it: \"2026-11-25T01:02:03Z\"");
  }

  // A pattern is compiled here, so that no evaluation has to.
  void emit_pattern(const Node& of) {
    const Node& pattern_node = node(of.args[1]);
    const Value* pattern = constant_at(here() - 1);
    if (pattern == nullptr || !pattern->is(Kind::kString))
      return fail(pattern_node.offset, "the pattern of `matches` must be a constant: it is compiled with the rule");
    re2::RE2::Options options(re2::RE2::Quiet);
    options.set_max_mem(kPatternBytesMax);
    const std::string_view text = pattern->as_text();
    auto compiled = std::make_unique<re2::RE2>(re2::StringPiece(text.data(), text.size()), options);
    if (!compiled->ok()) return fail(pattern_node.offset, "not a regular expression of RE2: " + compiled->error());
    code_.instructions.pop_back();
    popped(1);
    add(Op::kMatches, of, code_.patterns.size());
    code_.patterns.push_back(std::move(compiled));
  }

  // `x in [texts]`; false if it is not that.
  bool emit_set(const Node& of) {
    const Value* list = constant_at(here() - 1);
    if (list == nullptr || !list->is(Kind::kList) || list->count() < kHashedListMin) return false;
    for (size_t i = 0; i < list->count(); ++i) {
      if (!list->element(i).is(Kind::kString)) return false;
    }
    code_.sets.emplace_back(*list);
    code_.instructions.pop_back();
    popped(1);
    add(Op::kInSet, of, code_.sets.size() - 1);
    return true;
  }

  void emit_literal(const Node& of) {
    const size_t begin = here();
    emit_operands(of);
    if (error_) return;
    const bool constants = is_constants(begin, of.args.size());
    add(of.kind == NodeKind::kList ? Op::kList : Op::kMap, of, 0, of.args.size());
    popped(of.args.size());
    pushed();
    if (constants) fold(begin, of);
  }

  //   range; kLoop; next: kNext; [filter; kKeep;] expression; kStep; done: kLoopEnd
  void emit_loop(const Node& of) {
    if (++loops_ > kLoopDepthMax)
      return fail(of.offset, "more than " + std::to_string(kLoopDepthMax) + " loops within each other");
    emit(of.args[0]);
    const size_t loop = here();
    const auto macro = static_cast<uint8_t>(of.macro);
    add(Op::kLoop, of, 0, of.second.empty() ? 1 : 2, macro);
    popped(1);
    const size_t next = here();
    add(Op::kNext, of);
    if (of.args.size() > 2) {
      emit(of.args[1]);
      add(Op::kKeep, node(of.args[1]), next);
      popped(1);
    }
    emit(of.args.back());
    add(Op::kStep, node(of.args.back()), next, 0, macro);
    popped(1);
    const size_t cost = std::min((here() - next) / kInstructionsPerStep, kOperandsMax);
    code_.instructions[next].count = static_cast<uint16_t>(cost);
    land(next);
    add(Op::kLoopEnd, of, 0, 0, macro);
    land(loop);
    pushed();
    --loops_;
  }

  const Ast& ast_;
  const Schema& schema_;
  ProgramCode& code_;
  Scratch scratch_;
  size_t depth_ = 0;
  size_t loops_ = 0;
  std::optional<CompileError> error_{};
};

}  // namespace

Value ProgramCode::keep(const Value& value) {
  const auto room = [&](size_t bytes) {
    memory.push_back(std::make_unique_for_overwrite<std::byte[]>(bytes));
    return memory.back().get();
  };
  switch (value.kind()) {
    case Kind::kString:
    case Kind::kBytes: {
      const std::string_view text = value.as_text();
      auto* copy = reinterpret_cast<char*>(room(text.size()));
      std::copy(text.begin(), text.end(), copy);
      const std::string_view kept{copy, text.size()};
      return value.is(Kind::kString) ? Value::string(kept) : Value::bytes(kept);
    }
    case Kind::kList: {
      auto* elements = reinterpret_cast<Value*>(room(value.count() * sizeof(Value)));
      for (size_t i = 0; i < value.count(); ++i) new (elements + i) Value(keep(value.element(i)));
      return Value::list(elements, value.count());
    }
    case Kind::kMap: {
      auto* entries = reinterpret_cast<Entry*>(room(value.count() * sizeof(Entry)));
      for (size_t i = 0; i < value.count(); ++i) {
        const Entry entry = value.entry(i);
        new (entries + i) Entry{keep(entry.key), keep(entry.value)};
      }
      return Value::map(entries, value.count());
    }
    default:
      return value;
  }
}

TextSet::TextSet(const Value& list) {
  size_t size = 1;
  while (size < 2 * list.count()) size *= 2;
  slots_.resize(size);
  texts_.reserve(list.count());
  for (size_t i = 0; i < list.count(); ++i) {
    texts_.push_back(list.element(i));
    size_t slot = std::hash<std::string_view>{}(texts_.back().as_text()) & (size - 1);
    while (slots_[slot] != nullptr) slot = (slot + 1) & (size - 1);
    slots_[slot] = &texts_.back();
  }
}

bool TextSet::contains(std::string_view text) const {
  const size_t mask = slots_.size() - 1;
  for (size_t slot = std::hash<std::string_view>{}(text)&mask; slots_[slot] != nullptr; slot = (slot + 1) & mask) {
    if (slots_[slot]->as_text() == text) return true;
  }
  return false;
}

Program::Program(std::unique_ptr<ProgramCode> code) : code_(std::move(code)) {}
Program::Program(Program&&) noexcept = default;
Program& Program::operator=(Program&&) noexcept = default;
Program::~Program() = default;

const std::string& Program::type_name() const {
  return code_->type_name;
}
std::span<const Attribute> Program::attributes() const {
  return code_->attributes;
}
std::span<const Guard> Program::guards() const {
  return code_->guards;
}

const Value* Program::constant() const {
  const auto& all = code_->instructions;
  return all.size() == 1 && all[0].op == Op::kConstant ? &code_->constants[all[0].index] : nullptr;
}

tl::expected<Program, CompileError> compile_node(const Ast& ast, NodeId id, const Schema& schema) {
  auto code = std::make_unique<ProgramCode>();
  code->type_name = to_string(*ast.nodes[id].type);
  code->variable_count = schema.variables.size();
  if (auto error = Compiler(ast, schema, *code).run(id)) return tl::unexpected(std::move(*error));
  return Program(std::move(code));
}

tl::expected<Program, CompileError> compile(std::string_view text, const Schema& schema, const Type& wanted,
                                            std::span<const Definition> definitions) {
  auto ast = parse(text);
  if (!ast) return tl::unexpected(std::move(ast).error());
  if (auto error = expand(*ast, definitions)) return tl::unexpected(std::move(*error));
  TypeTable types;
  if (auto error = check(*ast, schema, types)) return tl::unexpected(std::move(*error));
  const Node& root = ast->nodes[ast->root];
  if (!types.assign(&wanted, root.type))
    return tl::unexpected(
        CompileError{root.begin, "this is " + to_string(*root.type) + ", and must be " + to_string(wanted)});
  auto program = compile_node(*ast, ast->root, schema);
  if (program) find_guards(*ast, schema, *program->code_);
  return program;
}

}  // namespace gatehouse::rules::cel
