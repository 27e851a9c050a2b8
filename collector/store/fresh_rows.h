// SPDX-License-Identifier: Apache-2.0
// Rows of segments that are not in the store's file yet, in memory, in the engine's own vectors: questions read them in
// place, and nothing is written twice. Private to collector/store.
//
//   FreshRows   one segment's; the indexer adds to it
//   FreshView   what of several of them one question sees
//   FreshTables how SQL reads a view: FROM fresh_events(7), fresh_contexts(7), fresh_shapes(7)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "collector/store/columns.h"
#include "collector/store/duck.h"
#include "collector/store/row_feed.h"

namespace gatehouse::store {

class FreshRows final : public ChunkSink {
 public:
  // Holds off readers of the chunks that are being filled; to be held while `feed` adds.
  [[nodiscard]] std::mutex& filling() { return filling_; }
  Status take(Table table, std::shared_ptr<duck::Chunk> chunk, size_t rows) override;
  // What `feed` has added so far may be shown.
  void publish(const RowFeed& feed);
  // What was taken may be.
  void publish_full();
  // Of full chunks, about.
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  friend class FreshView;
  struct Part {
    std::shared_ptr<duck::Chunk> chunk;
    size_t rows = 0;
  };
  void show_full();  // published_mutex_ held

  std::mutex filling_;
  std::array<std::vector<Part>, kTableCount> full_;
  uint64_t bytes_ = 0;

  std::mutex published_mutex_;
  std::array<std::vector<Part>, kTableCount> published_;
  std::array<Part, kTableCount> open_;
};

class FreshView {
 public:
  explicit FreshView(std::span<const std::shared_ptr<FreshRows>> segments);

  struct Part {
    std::shared_ptr<duck::Chunk> chunk;
    size_t rows = 0;
    uint64_t first_row = 0;
    std::mutex* filling = nullptr;  // to be held to read it: more rows are being added to it
  };
  [[nodiscard]] const std::vector<Part>& parts(Table table) const { return parts_[static_cast<size_t>(table)]; }
  [[nodiscard]] uint64_t rows(Table table) const;

 private:
  std::vector<std::shared_ptr<FreshRows>> segments_;
  std::array<std::vector<Part>, kTableCount> parts_;
};

class FreshTables {
 public:
  FreshTables();
  ~FreshTables();
  FreshTables(const FreshTables&) = delete;
  FreshTables& operator=(const FreshTables&) = delete;

  // Makes the functions known to the database. It must be closed before this object goes.
  Status open(const duck::Connection& connection);

  // Gives `view` a number for as long as the returned object lives.
  class Shown {
   public:
    Shown(FreshTables& tables, std::shared_ptr<const FreshView> view);
    ~Shown();
    Shown(const Shown&) = delete;
    Shown& operator=(const Shown&) = delete;
    [[nodiscard]] TableNames names() const;

   private:
    FreshTables& tables_;
    uint64_t number_ = 0;
  };

  struct Function;  // of the engine's callbacks
  [[nodiscard]] std::shared_ptr<const FreshView> find(uint64_t number);

 private:
  std::array<std::unique_ptr<Function>, kTableCount> functions_;
  std::mutex mutex_;
  std::map<uint64_t, std::shared_ptr<const FreshView>> shown_;
  uint64_t shown_ever_ = 0;
};

}  // namespace gatehouse::store
