// SPDX-License-Identifier: Apache-2.0
// Makes SQL statements from a seed: mostly right, about the tables that tests/sql makes on a server, nested in ways
// that nobody writes down. And mutates texts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gatehouse::test {

// xorshift; the same everywhere.
class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed * 2 + 1) {
    for (int i = 0; i < 8; ++i) next();
  }
  uint64_t next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_;
  }
  size_t below(size_t count) { return static_cast<size_t>((next() >> 11) % count); }
  bool one_in(size_t count) { return below(count) == 0; }
  std::string_view pick(std::span<const std::string_view> words) { return words[below(words.size())]; }

 private:
  uint64_t state_;
};

class StatementMaker {
 public:
  explicit StatementMaker(uint64_t seed) : dice_(seed) {}

  std::string statement();
  // Another of the same shape, mostly: other values, and where a value means something (1 = 1, LIMIT, '%'), such
  // values.
  std::string with_other_values(std::string_view text);
  // A byte, a token or a part of it changed, moved, doubled or gone.
  std::string mutated(std::string text);

 private:
  std::string query(size_t depth);
  std::string select(size_t depth);
  std::string from(size_t depth);
  std::string condition(size_t depth);
  std::string expression(size_t depth);
  std::string constant();
  std::string insert(size_t depth);
  std::string update(size_t depth);
  std::string erase(size_t depth);
  std::string merge(size_t depth);
  std::string change(size_t depth);
  std::string with(size_t depth, const std::string& body);
  std::string utility();
  std::string table();
  std::string column();
  std::string returning();

  Dice dice_;
  size_t alias_ = 0;
};

}  // namespace gatehouse::test
