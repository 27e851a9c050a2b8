// SPDX-License-Identifier: Apache-2.0
// The memory of evaluations: made once by the caller, one for each thread, used again by every evaluation. Nothing
// grows: what does not fit ends the evaluation with ErrorCode::kTooLarge. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "rules/engine/cel_ast.h"
#include "rules/engine/cel_value.h"

namespace gatehouse::rules::cel {

// What one evaluation may make: texts that are put together, lists that are mapped. Twice kRequestBytesMax, so that
// the largest statement can be changed once.
inline constexpr size_t kScratchBytesDefault = 2U << 20;
// Values at a time that one expression may need; a compiled program says how many it does.
inline constexpr size_t kStackValuesMax = 4096;
// One step is an element that a loop visits or a comparison looks at, or so many bytes of text that are read; to match
// a pattern costs so many times that. An evaluation that needs more ends with ErrorCode::kTooManySteps, after some
// milliseconds, and some tens of them for text that is made to be searched slowly: tests/bench/cel_bench.cc.
inline constexpr uint64_t kEvaluationStepsMax = 100'000;
inline constexpr size_t kBytesPerStep = 128;
inline constexpr size_t kPatternCost = 4;

// Hands out memory from one block; nothing is destroyed, and all of it is free again after reset().
class Arena {
 public:
  explicit Arena(size_t bytes) : memory_(std::make_unique_for_overwrite<std::byte[]>(bytes)), size_(bytes) {}

  // Null when it does not fit.
  [[nodiscard]] void* take(size_t bytes, size_t alignment) {
    const size_t start = (used_ + alignment - 1) & ~(alignment - 1);
    if (start > size_ || bytes > size_ - start) return nullptr;
    used_ = start + bytes;
    return memory_.get() + start;
  }
  template <typename T>
  [[nodiscard]] T* take_array(size_t count) {
    if (count > size_ / sizeof(T)) return nullptr;
    return static_cast<T*>(take(count * sizeof(T), alignof(T)));
  }
  [[nodiscard]] size_t mark() const { return used_; }
  void reset(size_t mark = 0) { used_ = mark; }

 private:
  std::unique_ptr<std::byte[]> memory_;
  size_t size_;
  size_t used_ = 0;
};

// Loops within loops.
inline constexpr size_t kLoopDepthMax = 8;

// One that runs.
struct Loop {
  Value range{};
  Value first{};  // its variables
  Value second{};
  Value result{};         // of those that find one value; of the others, an error if there was one
  void* found = nullptr;  // elements or entries, `count` of them by now
  size_t count = 0;
  size_t next = 0;
  size_t mark = 0;
  Macro macro = Macro::kAll;
  uint32_t variables = 1;
};

class Scratch {
 public:
  explicit Scratch(size_t bytes = kScratchBytesDefault, uint64_t steps = kEvaluationStepsMax)
      : arena_(bytes),
        stack_(std::make_unique_for_overwrite<Value[]>(kStackValuesMax)),
        loops_(std::make_unique<Loop[]>(kLoopDepthMax)),
        steps_max_(steps) {}

  // For the evaluator.
  void begin() {
    arena_.reset();
    steps_left_ = steps_max_;
  }
  [[nodiscard]] bool spend(uint64_t steps) {
    if (steps > steps_left_) {
      steps_left_ = 0;
      return false;
    }
    steps_left_ -= steps;
    return true;
  }
  [[nodiscard]] bool spend_bytes(size_t bytes) { return spend(bytes / kBytesPerStep); }
  [[nodiscard]] Arena& arena() { return arena_; }
  [[nodiscard]] Value* stack() { return stack_.get(); }
  [[nodiscard]] Loop* loops() { return loops_.get(); }
  // Steps that the last evaluation took.
  [[nodiscard]] uint64_t steps() const { return steps_max_ - steps_left_; }

 private:
  Arena arena_;
  std::unique_ptr<Value[]> stack_;
  std::unique_ptr<Loop[]> loops_;
  uint64_t steps_max_;
  uint64_t steps_left_ = 0;
};

}  // namespace gatehouse::rules::cel
