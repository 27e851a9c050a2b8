// SPDX-License-Identifier: Apache-2.0
// What a session remembers by name: prepared statements and portals. SQL-level PREPARE and DECLARE use the same name
// spaces as protocol-level Parse and Bind.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/protocol/activity.h"
#include "agent/protocol/postgres/ref_pool.h"

namespace gatehouse::postgres {

inline constexpr size_t kIdleBufferBytesMax = 16U << 10;  // a recycled buffer larger than this goes back to the heap

// Text of a statement, shared by its name and by every portal and activity that still runs it.
struct PreparedText {
  std::string text;
  std::vector<uint32_t> type_oids;
  uint64_t text_bytes = 0;  // full length
  Fidelity fidelity = Fidelity::kComplete;

  void recycle() {
    if (text.capacity() > kIdleBufferBytesMax) std::string().swap(text);
    text.clear();
    type_oids.clear();
    text_bytes = 0;
    fidelity = Fidelity::kComplete;
  }
  [[nodiscard]] size_t heap_bytes() const { return text.capacity() + type_oids.capacity() * sizeof(uint32_t); }
};
using TextRef = RefPool<PreparedText>::Ref;

struct PortalData {
  TextRef statement;  // empty: not known
  std::string bind;   // body of the Bind that made it; empty for a cursor made by DECLARE
  bool is_cut = false;
  bool is_cursor = false;
  bool is_hold = false;       // DECLARE … WITH HOLD
  bool is_committed = false;  // its transaction has ended well: only CLOSE ends it
  Fidelity fidelity = Fidelity::kComplete;

  void recycle() {
    statement.reset();
    if (bind.capacity() > kIdleBufferBytesMax) std::string().swap(bind);
    bind.clear();
    is_cut = is_cursor = is_hold = is_committed = false;
    fidelity = Fidelity::kComplete;
  }
  // Counts the text as well: its name may be gone.
  [[nodiscard]] size_t heap_bytes() const { return bind.capacity() + (statement ? statement->heap_bytes() : 0); }
};
using PortalRef = RefPool<PortalData>::Ref;

// Name to value, least recently used first out. The unnamed one has a place of its own and is never evicted.
template <typename RefT>
class NameTable {
 public:
  // nullptr: no such name. Valid until the next call that is not find().
  RefT* find(std::string_view name) {
    if (name.empty()) return unnamed_ ? &unnamed_ : nullptr;
    const auto found = index_.find(name);
    if (found == index_.end()) return nullptr;
    if (found->second != entries_.begin()) entries_.splice(entries_.begin(), entries_, found->second);
    return &found->second->value;
  }
  void put(std::string_view name, RefT value) {
    if (name.empty()) {
      unnamed_ = std::move(value);
      return;
    }
    if (find(name) != nullptr) {
      Entry& entry = entries_.front();
      bytes_ -= entry.bytes;
      entry.bytes = entry_bytes(name.size(), value);
      bytes_ += entry.bytes;
      entry.value = std::move(value);
      return;
    }
    const size_t bytes = entry_bytes(name.size(), value);
    bytes_ += bytes;
    entries_.push_front({std::string(name), std::move(value), bytes});
    index_.emplace(entries_.front().name, entries_.begin());
  }
  void erase(std::string_view name) {
    if (name.empty()) {
      unnamed_.reset();
      return;
    }
    if (const auto found = index_.find(name); found != index_.end()) remove(found->second);
  }
  void evict_oldest() {
    if (!entries_.empty()) remove(std::prev(entries_.end()));
  }
  void clear() {
    unnamed_.reset();
    if (entries_.empty()) return;
    index_.clear();
    entries_.clear();
    bytes_ = 0;
  }
  template <typename Predicate>
  void erase_if(Predicate predicate) {
    if (unnamed_ && predicate(*unnamed_)) unnamed_.reset();
    for (auto entry = entries_.begin(); entry != entries_.end();) {
      const auto current = entry++;
      if (predicate(*current->value)) remove(current);
    }
  }
  [[nodiscard]] size_t size() const { return entries_.size(); }
  [[nodiscard]] bool empty() const { return entries_.empty() && !unnamed_; }
  [[nodiscard]] size_t heap_bytes() const { return bytes_ + (unnamed_ ? unnamed_->heap_bytes() : 0); }

 private:
  struct Entry {
    std::string name;
    RefT value;
    size_t bytes;  // what it counts for, as of put()
  };
  using Iterator = typename std::list<Entry>::iterator;

  // Node and index overhead, measured at about this much with libstdc++ on 64 bits.
  static constexpr size_t kEntryOverheadBytes = 192;
  static size_t entry_bytes(size_t name_size, const RefT& value) {
    return kEntryOverheadBytes + name_size + value->heap_bytes();
  }
  void remove(Iterator entry) {
    bytes_ -= entry->bytes;
    index_.erase(entry->name);
    entries_.erase(entry);
  }

  RefT unnamed_;
  std::list<Entry> entries_;
  std::unordered_map<std::string_view, Iterator> index_;
  size_t bytes_ = 0;
};

}  // namespace gatehouse::postgres
