// SPDX-License-Identifier: Apache-2.0
#include "common/check.h"
#include "rules/engine/cel_code.h"
#include "rules/engine/cel_functions.h"

namespace gatehouse::rules::cel {
namespace {

bool has_field(const Value& record, const Field* field) {
  if (!record.is(Kind::kRecord)) return false;
  const auto fields = record.record_type()->fields;
  return field >= fields.data() && field < fields.data() + fields.size();
}

bool finds_one_value(Macro macro) {
  return macro == Macro::kAll || macro == Macro::kExists || macro == Macro::kExistsOne;
}

class Machine {
 public:
  Machine(const ProgramCode& code, std::span<const Value> variables, Scratch& scratch)
      : code_(code), variables_(variables), scratch_(scratch), top_(scratch.stack()), loop_(scratch.loops()) {}

  Value run(size_t begin) {
    const Instruction* const instructions = code_.instructions.data();
    const size_t end = code_.instructions.size();
    for (size_t at = begin; at < end;) {
      const Instruction& instruction = instructions[at++];
      switch (instruction.op) {
        case Op::kConstant:
          *top_++ = code_.constants[instruction.index];
          break;
        case Op::kVariable:
          *top_++ = variables_[instruction.index];
          break;
        case Op::kField:
          top_[-1] = field(top_[-1], code_.fields[instruction.index], instruction);
          break;
        case Op::kCall:
          call(instruction);
          break;
        case Op::kLogic:
        case Op::kLogicNext:
          if (decides(instruction)) at = instruction.index;
          break;
        case Op::kBranch:
          at = branch(instruction, at);
          break;
        case Op::kJump:
          at = instruction.index;
          break;
        case Op::kLoop:
        case Op::kNext:
        case Op::kKeep:
        case Op::kStep:
        case Op::kLoopEnd:
          at = loop(instruction, at);
          break;
        default:
          rest(instruction);
          break;
      }
      if (halted_) return top_[-1];
    }
    return top_[-1];
  }

 private:
  // An error that a function returns does not know where it was.
  Value placed(const Value& result, const Instruction& instruction) {
    if (!result.is_error()) return result;
    if (is_final(result.error_code())) halted_ = true;
    return Value::error(result.error_code(), instruction.offset);
  }
  Value error(ErrorCode code, const Instruction& instruction) { return placed(Value::error(code), instruction); }

  Value field(const Value& record, const Field* wanted, const Instruction& instruction) {
    if (record.is_error()) return record;
    if (!has_field(record, wanted)) return error(ErrorCode::kNoField, instruction);
    return wanted->get(record.pointer());
  }

  void call(const Instruction& instruction) {
    Value* const args = top_ - instruction.count;
    for (const Value* arg = args; arg < top_; ++arg) {
      if (!arg->is_error()) continue;
      top_ = args;
      *top_++ = *arg;
      return;
    }
    const Value result = functions()[instruction.index].call({args, instruction.count}, scratch_);
    top_ = args;
    *top_++ = placed(result, instruction);
  }

  // Whether the operand on top decides a chain of && or ||. The value below it says what is known so far: true for &&
  // and false for ||, or an error, which only an operand that decides outweighs.
  bool decides(const Instruction& instruction) {
    const bool deciding = instruction.flag != 0;
    Value operand = top_[-1];
    const bool decided = deciding ? operand.is_true() : operand.is_false();
    if (!operand.is_error() && !operand.is(Kind::kBool)) operand = error(ErrorCode::kNoOverload, instruction);
    if (instruction.op == Op::kLogicNext) {
      --top_;
      if (!decided && top_[-1].is_error()) return false;
    }
    top_[-1] = operand;
    return decided;
  }

  size_t branch(const Instruction& instruction, size_t next) {
    const Value condition = *--top_;
    if (condition.is_true()) return next;
    if (condition.is_false()) return instruction.index;
    *top_++ = condition.is_error() ? condition : error(ErrorCode::kNoOverload, instruction);
    return code_.instructions[instruction.index - 1].index;
  }

  void rest(const Instruction& instruction) {
    Value& a = top_[-1];
    switch (instruction.op) {
      case Op::kLocal: {
        const Loop& of = *(loop_ - 1 - instruction.index);
        *top_++ = instruction.flag != 0 ? of.second : of.first;
        return;
      }
      case Op::kHasField:
        if (!a.is_error())
          a = Value::boolean(has_field(a, code_.fields[instruction.index]) &&
                             is_set(code_.fields[instruction.index]->get(a.pointer())));
        return;
      case Op::kHasValue:
        if (!a.is_error()) a = Value::boolean(is_set(a));
        return;
      case Op::kKey:
      case Op::kHasKey:
        a = key(instruction);
        return;
      case Op::kMatches:
        a = matched(instruction);
        return;
      case Op::kInSet:
        if (!a.is_error())
          a = Value::boolean(a.is(Kind::kString) && code_.sets[instruction.index].contains(a.as_text()));
        return;
      default:
        literal(instruction);
        return;
    }
  }

  // A key's value, or whether there is one. Of a record that came by way of dyn, a field by its name.
  Value key(const Instruction& instruction) {
    const Value& of = top_[-1];
    const Value& key = code_.constants[instruction.index];
    const bool has = instruction.op == Op::kHasKey;
    if (of.is_error()) return of;
    if (of.is(Kind::kMap)) {
      const Value found = find_key(of, key, scratch_);
      const bool missing = found.is_error() && found.error_code() == ErrorCode::kNoField;
      return has && (missing || !found.is_error()) ? Value::boolean(!missing) : placed(found, instruction);
    }
    if (!of.is(Kind::kRecord)) return error(ErrorCode::kNoOverload, instruction);
    const Field* field = of.record_type()->find(key.as_text());
    if (field == nullptr) return error(ErrorCode::kNoField, instruction);
    const Value found = field->get(of.pointer());
    return has ? Value::boolean(is_set(found)) : found;
  }

  Value matched(const Instruction& instruction) {
    const Value& a = top_[-1];
    if (a.is_error()) return a;
    if (!a.is(Kind::kString)) return error(ErrorCode::kNoOverload, instruction);
    const std::string_view text = a.as_text();
    if (!scratch_.spend_bytes(kPatternCost * text.size())) return error(ErrorCode::kTooManySteps, instruction);
    return Value::boolean(code_.patterns[instruction.index]->Match({text.data(), text.size()}, 0, text.size(),
                                                                   re2::RE2::UNANCHORED, nullptr, 0));
  }

  // Lists and maps that are written out.
  void literal(const Instruction& instruction) {
    Value* const parts = top_ - instruction.count;
    Value result;
    for (const Value* part = parts; part < top_ && !result.is_error(); ++part) {
      if (part->is_error()) result = *part;
    }
    if (!result.is_error())
      result = instruction.op == Op::kList ? list({parts, instruction.count}) : map({parts, instruction.count});
    if (result.is_error() && result.error_offset() == 0) result = placed(result, instruction);
    top_ = parts;
    *top_++ = result;
  }
  Value list(std::span<const Value> parts) {
    auto* elements = scratch_.arena().take_array<Value>(parts.size());
    if (elements == nullptr) return Value::error(ErrorCode::kTooLarge);
    std::copy(parts.begin(), parts.end(), elements);
    return Value::list(elements, parts.size());
  }
  Value map(std::span<const Value> parts) {
    const size_t count = parts.size() / 2;
    auto* entries = scratch_.arena().take_array<Entry>(count);
    if (entries == nullptr) return Value::error(ErrorCode::kTooLarge);
    for (size_t i = 0; i < count; ++i) entries[i] = {parts[2 * i], parts[2 * i + 1]};
    const Value error = check_keys({entries, count}, scratch_);
    return error.is_error() ? error : Value::map(entries, count);
  }

  size_t loop(const Instruction& instruction, size_t next) {
    switch (instruction.op) {
      case Op::kLoop:
        return begin_loop(instruction) ? next : instruction.index;
      case Op::kNext:
        return next_element(instruction) ? next : instruction.index;
      case Op::kKeep: {
        const Value keeps = *--top_;
        if (keeps.is_true()) return next;
        if (!keeps.is_false()) return end_early(keeps, instruction);
        return instruction.index;
      }
      case Op::kStep:
        return step(instruction);
      default:
        end_loop(static_cast<Macro>(instruction.flag));
        return next;
    }
  }

  bool begin_loop(const Instruction& instruction) {
    const Value range = top_[-1];
    const auto macro = static_cast<Macro>(instruction.flag);
    if (!range.is(Kind::kList) && !range.is(Kind::kMap)) {
      if (!range.is_error()) top_[-1] = error(ErrorCode::kNoOverload, instruction);
      return false;
    }
    Loop fresh{.range = range, .macro = macro, .variables = instruction.count};
    if (!finds_one_value(macro)) {
      const size_t size = range.count() * (macro == Macro::kTransformMap ? sizeof(Entry) : sizeof(Value));
      fresh.found = scratch_.arena().take(size, alignof(Entry));
      if (fresh.found == nullptr) {
        top_[-1] = error(ErrorCode::kTooLarge, instruction);
        return false;
      }
    }
    fresh.result = Value::boolean(macro == Macro::kAll);
    fresh.mark = scratch_.arena().mark();
    --top_;
    *loop_++ = fresh;
    return true;
  }

  bool next_element(const Instruction& instruction) {
    Loop& of = loop_[-1];
    if (of.next == of.range.count()) return false;
    if (!scratch_.spend(1 + instruction.count)) {
      *top_++ = error(ErrorCode::kTooManySteps, instruction);
      return true;
    }
    // What a turn made is not needed any more once it is known whether it held.
    if (finds_one_value(of.macro)) scratch_.arena().reset(of.mark);
    const size_t index = of.next++;
    if (of.range.is(Kind::kMap)) {
      const Entry entry = of.range.entry(index);
      of.first = entry.key;
      of.second = entry.value;
    } else if (of.variables == 1) {
      of.first = of.range.element(index);
    } else {
      of.first = Value::integer(static_cast<int64_t>(index));
      of.second = of.range.element(index);
    }
    return true;
  }

  // `problem` is no bool where one is needed.
  size_t end_early(const Value& problem, const Instruction& instruction) {
    Loop& of = loop_[-1];
    of.result = problem.is_error() ? problem : error(ErrorCode::kNoOverload, instruction);
    return code_.instructions[instruction.index].index;
  }

  // Returns where to go on: the next element, or the end.
  size_t step(const Instruction& instruction) {
    Loop& of = loop_[-1];
    const Value found = *--top_;
    const size_t next = instruction.index;
    const size_t done = code_.instructions[next].index;
    const bool transforms =
        of.macro == Macro::kMap || of.macro == Macro::kTransformList || of.macro == Macro::kTransformMap;
    if (transforms ? found.is_error() : !found.is(Kind::kBool)) {
      const bool absorbs = of.macro == Macro::kAll || of.macro == Macro::kExists;
      const size_t end = end_early(found, instruction);
      return absorbs ? next : end;
    }
    switch (of.macro) {
      case Macro::kAll:
      case Macro::kExists:
        if (found.as_bool() == (of.macro == Macro::kAll)) return next;
        of.result = found;
        return done;
      case Macro::kExistsOne:
        of.count += found.as_bool() ? 1 : 0;
        return next;
      case Macro::kFilter:
        if (found.as_bool()) static_cast<Value*>(of.found)[of.count++] = of.first;
        return next;
      case Macro::kMap:
      case Macro::kTransformList:
        static_cast<Value*>(of.found)[of.count++] = found;
        return next;
      case Macro::kTransformMap:
        static_cast<Entry*>(of.found)[of.count++] = {of.first, found};
        return next;
    }
    return done;
  }

  void end_loop(Macro macro) {
    const Loop& of = *--loop_;
    Value result = of.result;
    if (!result.is_error() && macro == Macro::kExistsOne) {
      result = Value::boolean(of.count == 1);
    } else if (!result.is_error() && macro == Macro::kTransformMap) {
      result = Value::map(static_cast<const Entry*>(of.found), of.count);
    } else if (!result.is_error() && !finds_one_value(macro)) {
      result = Value::list(static_cast<const Value*>(of.found), of.count);
    }
    *top_++ = result;
  }

  const ProgramCode& code_;
  std::span<const Value> variables_;
  Scratch& scratch_;
  Value* top_;
  Loop* loop_;
  bool halted_ = false;
};

}  // namespace

bool is_set(const Value& value) {
  switch (value.kind()) {
    case Kind::kNull:
    case Kind::kError:
      return false;
    case Kind::kString:
    case Kind::kBytes:
      return !value.as_text().empty();
    case Kind::kList:
    case Kind::kMap:
      return value.count() > 0;
    case Kind::kDouble:
      return value.as_double() != 0;
    case Kind::kTimestamp:
      return value.as_timestamp() != Timestamp{};
    case Kind::kRecord:
    case Kind::kType:
      return true;
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kUint:
    case Kind::kDuration:
      return value.as_int() != 0;
  }
  return false;
}

Value run_constant(const ProgramCode& code, size_t begin, Scratch& scratch) {
  scratch.begin();
  return Machine(code, {}, scratch).run(begin);
}

Value evaluate(const Program& program, std::span<const Value> variables, Scratch& scratch) {
  const ProgramCode& code = program.code();
  GH_CHECK(variables.size() == code.variable_count);
  scratch.begin();
  return Machine(code, variables, scratch).run(0);
}

}  // namespace gatehouse::rules::cel
