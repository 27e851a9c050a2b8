// SPDX-License-Identifier: Apache-2.0
// What rules remember: how much happened within a time, by key, and which keys were seen before. Driven by the events'
// own times, so that the same events give the same answers. Memory is taken when one is made, and does not grow. Pure.
//
// Keys and values are 64-bit hashes (KeyHash). Two with the same hash are taken for one.
//
// A window knows the amounts of some thousands of keys exactly. What happens for further keys while those are in use
// goes into a count-min sketch, whose cells they share: an amount is never less than the true one, and may be more.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gatehouse::rules {

// A hash that does not differ between runs and machines. Never 0.
class KeyHash {
 public:
  void add(std::string_view text);
  void add(uint64_t number);
  [[nodiscard]] uint64_t value() const { return state_ == 0 ? 1 : state_; }

 private:
  uint64_t state_ = 0x6A09E667F3BCC908ULL;
};

// Keys by place. A place is free for another key when what it was used for is over.
class KeyTable {
 public:
  explicit KeyTable(size_t places) : heads_(places) {}

  // The key's place, which is marked as used at `time`; taken anew (`fresh`) if the key has none. None: all that it
  // could have are used by keys that were there since `expired`.
  struct Place {
    size_t index;
    bool fresh;
  };
  std::optional<Place> place(uint64_t key, uint64_t time, uint64_t expired);

  struct Head {
    uint64_t key = 0;  // 0: was never used
    uint64_t time = 0;
  };
  [[nodiscard]] const std::vector<Head>& heads() const { return heads_; }
  void restore(size_t index, const Head& head) { heads_[index] = head; }

 private:
  std::vector<Head> heads_;
};

// A window is cut into so many panes. What happened counts for the window's length, and at most a pane longer.
inline constexpr size_t kPanes = 15;
inline constexpr size_t kWindowKeysMax = 4096;
inline constexpr size_t kSketchRows = 4;
inline constexpr size_t kSketchCells = 256;  // of a row

// Amounts by key over a sliding window.
class SumWindow {
 public:
  explicit SumWindow(uint64_t length_ns);

  // Adds an amount, which is not negative, to a key's, and returns what it has within the window. An event of a time
  // before the last one's counts as of that.
  double add(uint64_t key, double amount, uint64_t unix_ns);

  // The state as bytes. read() gives false, and the window is as good as new, if they are none of such a window.
  void write(std::string& out) const;
  bool read(std::string_view bytes);

 private:
  struct Cell {
    uint64_t pane = 0;  // the latest one that was added to
    std::array<double, kPanes + 1> amounts{};
  };
  static double within(const Cell& cell, uint64_t pane);
  static double add(Cell& cell, double amount, uint64_t pane);
  double sketch(uint64_t key, double amount);

  uint64_t pane_ns_;
  uint64_t pane_ = 0;      // that of the latest event
  uint64_t sketched_ = 0;  // the latest one that the sketch was added to; 0: never
  KeyTable keys_;
  std::vector<Cell> cells_;
  std::vector<Cell> sketch_;
};

// The most different values that can be waited for, and what all keys together have room for.
inline constexpr size_t kDistinctMax = 256;
inline constexpr size_t kDistinctValuesMax = 65'536;

// How many different values a key had within a sliding window, up to `at_least`: that many latest ones are kept.
class DistinctWindow {
 public:
  DistinctWindow(uint64_t length_ns, size_t at_least);

  size_t add(uint64_t key, uint64_t value, uint64_t unix_ns);

  void write(std::string& out) const;
  bool read(std::string_view bytes);

 private:
  struct Seen {
    uint64_t value = 0;
    uint64_t unix_ns = 0;  // 0: none
  };
  size_t within(size_t row) const;
  size_t add_to(size_t row, uint64_t value);

  uint64_t length_ns_;
  size_t at_least_;
  uint64_t now_ = 0;
  uint64_t sketched_ = 0;
  KeyTable keys_;
  std::vector<Seen> seen_;  // `at_least_` for each key and then for each cell of the sketch, latest first
};

inline constexpr size_t kSeenKeysMax = 65'536;

// Keys that were seen before. Where more are in use than there is room for, those go that were not seen for the longest
// time, and are new when they come again.
class FirstSeenTable {
 public:
  explicit FirstSeenTable(uint64_t learn_ns);

  // Whether the key is new, and the time of learning, which begins with the first event, is over. `keep`: remember it
  // even so; what comes while learning is remembered in any case.
  bool is_new(uint64_t key, uint64_t unix_ns, bool keep);

  void write(std::string& out) const;
  bool read(std::string_view bytes);

 private:
  uint64_t learn_ns_;
  std::optional<uint64_t> begun_ns_{};
  std::vector<KeyTable::Head> known_;
};

}  // namespace gatehouse::rules
