// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/window.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace gatehouse::rules {
namespace {

// Places that a key may have: one after another from where its hash points to.
constexpr size_t kProbesMax = 64;
// Places of a key among those that were seen.
constexpr size_t kWays = 8;
constexpr size_t kDistinctRows = 2;
constexpr size_t kDistinctCells = 64;  // of a row

constexpr uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 32)) * 0xFF51AFD7ED558CCDULL;
  x = (x ^ (x >> 29)) * 0xC4CEB9FE1A85EC53ULL;
  return x ^ (x >> 32);
}

size_t cell_of(uint64_t key, size_t row, size_t cells) {
  return row * cells + mix(key + row * 0x9E3779B97F4A7C15ULL) % cells;
}

// Little-endian numbers, one after another.
void put(std::string& out, uint64_t number) {
  for (size_t i = 0; i < sizeof number; ++i) out += static_cast<char>(number >> (8 * i) & 0xFF);
}

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  uint64_t take() {
    if (bytes_.size() < sizeof(uint64_t)) {
      ok_ = false;
      return 0;
    }
    uint64_t number = 0;
    for (size_t i = 0; i < sizeof number; ++i)
      number |= static_cast<uint64_t>(static_cast<unsigned char>(bytes_[i])) << (8 * i);
    bytes_.remove_prefix(sizeof number);
    return number;
  }
  // A number below `end`.
  size_t take_index(size_t end) {
    const uint64_t number = take();
    if (number >= end) ok_ = false;
    return number >= end ? 0 : static_cast<size_t>(number);
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool at_end() const { return ok_ && bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace

void KeyHash::add(uint64_t number) {
  state_ = mix(std::rotl(state_, 23) + number);
}

void KeyHash::add(std::string_view text) {
  add(text.size());
  for (; text.size() >= sizeof(uint64_t); text.remove_prefix(sizeof(uint64_t))) {
    uint64_t chunk = 0;
    std::memcpy(&chunk, text.data(), sizeof chunk);
    add(chunk);
  }
  uint64_t rest = 0;
  if (!text.empty()) std::memcpy(&rest, text.data(), text.size());
  add(rest);
}

std::optional<KeyTable::Place> KeyTable::place(uint64_t key, uint64_t time, uint64_t expired) {
  std::optional<size_t> free;
  for (size_t i = 0; i < kProbesMax; ++i) {
    const size_t index = (key + i) % heads_.size();
    Head& head = heads_[index];
    if (head.key == key) {
      const bool fresh = head.time < expired;
      head.time = time;
      return Place{index, fresh};
    }
    if (!free && (head.key == 0 || head.time < expired)) free = index;
    if (head.key == 0) break;  // the key was never put further away
  }
  if (!free) return std::nullopt;
  heads_[*free] = {.key = key, .time = time};
  return Place{*free, true};
}

SumWindow::SumWindow(uint64_t length_ns)
    : pane_ns_(std::max<uint64_t>(length_ns / kPanes, 1)),
      keys_(kWindowKeysMax),
      cells_(kWindowKeysMax),
      sketch_(kSketchRows * kSketchCells) {}

// The panes of a cell are used in turn. Those that were not reached since they were last used are empty.
double SumWindow::within(const Cell& cell, uint64_t pane) {
  double sum = 0;
  for (uint64_t back = pane - cell.pane; back <= kPanes; ++back) {
    const uint64_t of = pane - back;
    sum += cell.amounts[of % cell.amounts.size()];
    if (of == 0) break;
  }
  return sum;
}

double SumWindow::add(Cell& cell, double amount, uint64_t pane) {
  if (pane - cell.pane > kPanes) {
    cell.amounts.fill(0);
  } else {
    for (uint64_t fresh = cell.pane + 1; fresh <= pane; ++fresh) cell.amounts[fresh % cell.amounts.size()] = 0;
  }
  cell.pane = pane;
  double& now = cell.amounts[pane % cell.amounts.size()];
  now = std::min(now + amount, std::numeric_limits<double>::max());
  return within(cell, pane);
}

// What the key has in the sketch after `amount` was added there.
double SumWindow::sketch(uint64_t key, double amount) {
  double least = std::numeric_limits<double>::infinity();
  for (size_t row = 0; row < kSketchRows; ++row)
    least = std::min(least, add(sketch_[cell_of(key, row, kSketchCells)], amount, pane_));
  return least;
}

double SumWindow::add(uint64_t key, double amount, uint64_t unix_ns) {
  pane_ = std::max(pane_, unix_ns / pane_ns_);
  const auto place = keys_.place(key, pane_, pane_ > kPanes ? pane_ - kPanes : 0);
  double sum = 0;
  if (place) {
    if (place->fresh) cells_[place->index] = Cell{.pane = pane_};
    sum = add(cells_[place->index], amount, pane_);
  } else {
    sketched_ = pane_;
  }
  // A key may have been without a place before.
  if (!place || (sketched_ != 0 && pane_ - sketched_ <= kPanes)) sum += sketch(key, place ? 0 : amount);
  return sum;
}

void SumWindow::write(std::string& out) const {
  put(out, pane_ns_);
  put(out, pane_);
  put(out, sketched_);
  const auto put_cell = [&](const Cell& cell) {
    put(out, cell.pane);
    for (const double amount : cell.amounts) put(out, std::bit_cast<uint64_t>(amount));
  };
  const auto& heads = keys_.heads();
  put(out, static_cast<uint64_t>(std::ranges::count_if(heads, [](const auto& head) { return head.key != 0; })));
  for (size_t i = 0; i < heads.size(); ++i) {
    if (heads[i].key == 0) continue;
    put(out, i);
    put(out, heads[i].key);
    put(out, heads[i].time);
    put_cell(cells_[i]);
  }
  if (sketched_ == 0) return;
  for (const Cell& cell : sketch_) put_cell(cell);
}

bool SumWindow::read(std::string_view bytes) {
  Reader reader(bytes);
  SumWindow fresh(pane_ns_ * kPanes);
  bool sound = reader.take() == pane_ns_;
  fresh.pane_ = reader.take();
  fresh.sketched_ = reader.take();
  const auto take_cell = [&](Cell& cell) {
    cell.pane = reader.take();
    sound = sound && cell.pane <= fresh.pane_;
    for (double& amount : cell.amounts) {
      amount = std::bit_cast<double>(reader.take());
      sound = sound && std::isfinite(amount) && amount >= 0;
    }
  };
  for (size_t count = reader.take_index(kWindowKeysMax + 1); count > 0 && reader.ok(); --count) {
    const size_t index = reader.take_index(kWindowKeysMax);
    const KeyTable::Head head{.key = reader.take(), .time = reader.take()};
    sound = sound && head.time <= fresh.pane_;
    fresh.keys_.restore(index, head);
    take_cell(fresh.cells_[index]);
  }
  sound = sound && fresh.sketched_ <= fresh.pane_;
  if (fresh.sketched_ != 0)
    for (Cell& cell : fresh.sketch_) take_cell(cell);
  sound = sound && reader.at_end();
  if (sound) *this = std::move(fresh);
  return sound;
}

DistinctWindow::DistinctWindow(uint64_t length_ns, size_t at_least)
    : length_ns_(length_ns),
      at_least_(std::clamp<size_t>(at_least, 1, kDistinctMax)),
      keys_(std::min(kWindowKeysMax, kDistinctValuesMax / at_least_)),
      seen_((keys_.heads().size() + kDistinctRows * kDistinctCells) * at_least_) {}

size_t DistinctWindow::within(size_t row) const {
  const Seen* const values = &seen_[row * at_least_];
  size_t count = 0;
  while (count < at_least_ && values[count].unix_ns != 0 && now_ - values[count].unix_ns < length_ns_) ++count;
  return count;
}

// The value goes to the front; the last one falls out.
size_t DistinctWindow::add_to(size_t row, uint64_t value) {
  Seen* const values = &seen_[row * at_least_];
  Seen* const end = values + at_least_;
  Seen* place = std::find_if(values, end, [&](const Seen& seen) { return seen.unix_ns == 0 || seen.value == value; });
  if (place == end) --place;
  std::move_backward(values, place, place + 1);
  *values = {.value = value, .unix_ns = now_};
  return within(row);
}

size_t DistinctWindow::add(uint64_t key, uint64_t value, uint64_t unix_ns) {
  now_ = std::max({now_, unix_ns, uint64_t{1}});
  const auto place = keys_.place(key, now_, now_ > length_ns_ ? now_ - length_ns_ : 0);
  size_t count = 0;
  if (place) {
    const size_t row = place->index;
    if (place->fresh) std::fill_n(&seen_[row * at_least_], at_least_, Seen{});
    count = add_to(row, value);
  } else {
    sketched_ = now_;
  }
  if (!place || (sketched_ != 0 && now_ - sketched_ < length_ns_)) {
    size_t least = at_least_;
    for (size_t i = 0; i < kDistinctRows; ++i) {
      const size_t row = keys_.heads().size() + cell_of(key, i, kDistinctCells);
      least = std::min(least, place ? within(row) : add_to(row, value));
    }
    count += least;
  }
  return std::min(count, at_least_);
}

void DistinctWindow::write(std::string& out) const {
  put(out, length_ns_);
  put(out, at_least_);
  put(out, now_);
  put(out, sketched_);
  const auto put_row = [&](size_t row) {
    for (size_t i = 0; i < at_least_; ++i) {
      put(out, seen_[row * at_least_ + i].value);
      put(out, seen_[row * at_least_ + i].unix_ns);
    }
  };
  const auto& heads = keys_.heads();
  put(out, static_cast<uint64_t>(std::ranges::count_if(heads, [](const auto& head) { return head.key != 0; })));
  for (size_t i = 0; i < heads.size(); ++i) {
    if (heads[i].key == 0) continue;
    put(out, i);
    put(out, heads[i].key);
    put(out, heads[i].time);
    put_row(i);
  }
  if (sketched_ == 0) return;
  for (size_t i = 0; i < kDistinctRows * kDistinctCells; ++i) put_row(heads.size() + i);
}

bool DistinctWindow::read(std::string_view bytes) {
  Reader reader(bytes);
  DistinctWindow fresh(length_ns_, at_least_);
  bool sound = reader.take() == length_ns_;
  sound = reader.take() == at_least_ && sound;
  fresh.now_ = reader.take();
  fresh.sketched_ = reader.take();
  sound = sound && fresh.sketched_ <= fresh.now_;
  const auto take_row = [&](size_t row) {
    for (size_t i = 0; i < at_least_; ++i) {
      Seen& seen = fresh.seen_[row * at_least_ + i];
      seen = {.value = reader.take(), .unix_ns = reader.take()};
      sound = sound && seen.unix_ns <= fresh.now_;
    }
  };
  const size_t places = keys_.heads().size();
  for (size_t count = reader.take_index(places + 1); count > 0 && reader.ok(); --count) {
    const size_t index = reader.take_index(places);
    const KeyTable::Head head{.key = reader.take(), .time = reader.take()};
    sound = sound && head.time <= fresh.now_;
    fresh.keys_.restore(index, head);
    take_row(index);
  }
  for (size_t i = 0; i < kDistinctRows * kDistinctCells && fresh.sketched_ != 0; ++i) take_row(places + i);
  sound = sound && reader.at_end();
  if (sound) *this = std::move(fresh);
  return sound;
}

FirstSeenTable::FirstSeenTable(uint64_t learn_ns) : learn_ns_(learn_ns), known_(kSeenKeysMax) {}

bool FirstSeenTable::is_new(uint64_t key, uint64_t unix_ns, bool keep) {
  if (!begun_ns_) begun_ns_ = unix_ns;
  const bool learning = unix_ns < *begun_ns_ || unix_ns - *begun_ns_ < learn_ns_;
  KeyTable::Head* const ways = &known_[key % (known_.size() / kWays) * kWays];
  KeyTable::Head* oldest = ways;
  for (KeyTable::Head* way = ways; way < ways + kWays; ++way) {
    if (way->key == key) {
      way->time = std::max(way->time, unix_ns);
      return false;
    }
    if (way->key == 0 ? oldest->key != 0 : oldest->key != 0 && way->time < oldest->time) oldest = way;
  }
  if (learning || keep) *oldest = {.key = key, .time = unix_ns};
  return !learning;
}

void FirstSeenTable::write(std::string& out) const {
  put(out, begun_ns_ ? 1 : 0);
  put(out, begun_ns_.value_or(0));
  for (size_t i = 0; i < known_.size(); ++i) {
    if (known_[i].key == 0) continue;
    put(out, known_[i].key);
    put(out, known_[i].time);
  }
}

bool FirstSeenTable::read(std::string_view bytes) {
  Reader reader(bytes);
  FirstSeenTable fresh(learn_ns_);
  const bool begun = reader.take_index(2) == 1;
  const uint64_t begun_ns = reader.take();
  while (reader.ok() && !reader.at_end()) {
    const uint64_t key = reader.take();
    const uint64_t time = reader.take();
    // Within the time of learning, so that each is kept.
    fresh.begun_ns_.reset();
    if (reader.ok() && key != 0) fresh.is_new(key, time, true);
  }
  fresh.begun_ns_.reset();
  if (begun) fresh.begun_ns_ = begun_ns;
  if (!reader.ok()) return false;
  *this = std::move(fresh);
  return true;
}

}  // namespace gatehouse::rules
