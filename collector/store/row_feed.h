// SPDX-License-Identifier: Apache-2.0
// RowFeed: ledger records of one segment as rows of the store's three tables. Private to collector/store.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "collector/ledger/log_reader.h"
#include "collector/store/batch_reader.h"
#include "collector/store/batch_view.h"
#include "collector/store/columns.h"
#include "collector/store/duck.h"

namespace gatehouse::store {

// Where full chunks go.
class ChunkSink {
 public:
  virtual ~ChunkSink() = default;
  virtual Status take(Table table, std::shared_ptr<duck::Chunk> chunk, size_t rows) = 0;
};

// Not thread-safe; each thread has one.
class RowFeed {
 public:
  RowFeed();
  // Numbers of contexts and shapes are a segment's own.
  void start_segment(uint64_t segment);
  // What is added goes to `to` with the chunk that it fills, or with finish().
  Status add(const ledger::Record& record, ChunkSink& to);
  // The row that says that a part of the log cannot be read.
  Status add_damage(const ledger::Position& position, std::string_view damage, ChunkSink& to);
  Status finish(ChunkSink& to);
  [[nodiscard]] const ChunkWriter& writer(Table table) const { return writers_[static_cast<size_t>(table)]; }

  // Since start_segment().
  [[nodiscard]] uint64_t rows() const { return rows_; }
  [[nodiscard]] uint64_t unreadable() const { return unreadable_; }

 private:
  using Dictionary = std::unordered_map<std::string, uint64_t>;
  struct PairHash {
    size_t operator()(const std::pair<uint64_t, uint64_t>& pair) const {
      return static_cast<size_t>((pair.first ^ (pair.second >> 7)) * 0x9E37'79B9'7F4A'7C15ULL);
    }
  };

  Result<bool> add_view(const ledger::Record& record, std::string_view plain, ChunkSink& to);
  bool read_others();
  Status add_row(const v1::Row& row, std::string_view id_prefix, const EventPlace& place, ChunkSink& to);
  ChunkWriter& writer_of(Table table) { return writers_[static_cast<size_t>(table)]; }
  Status end_row(Table table, ChunkSink& to);
  Status put(RowView& row, EventPlace place, ChunkSink& to);
  Result<bool> find_context(const EventView& event, const Flattener::Origin& origin, ChunkSink& to);
  Status number_context(std::string_view id_prefix, const RowView& row, ChunkSink& to, uint64_t& number);
  Status number_shape(RowView& row, ChunkSink& to, uint64_t& number);
  bool is_seen(std::string_view text);
  void fill(const EventView& event, RowView& row);
  void fill_judgement(const EventView& event, RowView& row);
  std::string& scratch();  // empty or old; good until the next event

  BatchReader reader_;
  BatchView view_;
  std::array<ChunkWriter, kTableCount> writers_;
  v1::Row row_;
  std::vector<std::string_view> texts_;  // of row_

  uint64_t segment_ = 0;
  uint64_t rows_ = 0;
  uint64_t unreadable_ = 0;
  // By content. Emptied when they grow beyond their limit: the same content then gets another number, which is no harm.
  Dictionary context_numbers_, shape_numbers_;
  uint64_t contexts_made_ = 0;
  uint64_t shapes_made_ = 0;
  std::vector<uint64_t> seen_texts_;  // hashes, by their low bits
  std::string key_;

  // Of the batch at hand.
  std::string id_prefix_;
  std::unordered_map<std::pair<uint64_t, uint64_t>, uint64_t, PairHash> batch_contexts_;  // by session and process
  v1::Batch mini_;  // one session with its processes
  v1::Event other_;
  std::vector<v1::Row> others_;  // of events that are no statements
  std::vector<std::string_view> parameters_, findings_, finding_messages_, masked_;
  std::deque<std::string> shown_;  // parameters and texts that are not as they came
  size_t shown_count_ = 0;
};

}  // namespace gatehouse::store
