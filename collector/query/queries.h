// SPDX-License-Identifier: Apache-2.0
// Queries: questions answered from a pipeline's log and store.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "collector/query/question.h"
#include "collector/store/pipeline.h"

namespace gatehouse::query {

// Thread-safe; the pipeline must outlive it.
class Queries {
 public:
  using OnRow = store::Store::OnRow;
  using IsCancelled = store::Store::IsCancelled;

  explicit Queries(store::Pipeline& pipeline) : pipeline_(pipeline) {}

  Status search(const Search& search, const OnRow& on_row, const IsCancelled& is_cancelled);

  // Sessions that `text` may mean: the one it names, else all it is a prefix of; at most `limit`.
  Result<std::vector<std::string>> find_sessions(const std::string& text, uint32_t limit,
                                                 const IsCancelled& is_cancelled);
  Status session(const OneSession& session, const OnRow& on_row, const IsCancelled& is_cancelled);
  Result<v1::TopResponse> top(const Top& top, const IsCancelled& is_cancelled);
  // `with_sockets`: also what each agent's last status says of its host's sockets, which is read from the log.
  Result<v1::AgentsResponse> agents(bool with_sockets, const IsCancelled& is_cancelled);

  // If `since_ns` is not 0 what matches and was durable at `start`, oldest first; then what became durable since, in
  // that order, until `on_row` says no, the caller cancels or the pipeline closes. Nothing twice; what is lost to
  // slowness is told by a gap row.
  Status tail(const rules::Filter& filter, uint64_t since_ns, const ledger::Position& start, const OnRow& on_row,
              const IsCancelled& is_cancelled);
  // Where a tail that begins now starts.
  [[nodiscard]] ledger::Position now() const { return pipeline_.log().end(); }
  // None if answers are made from all that the log held when the collector started.
  [[nodiscard]] std::optional<store::Store::Progress> progress() const { return pipeline_.store().progress(); }
  // What was received before this (Unix time) has been removed by retention. None if nothing has.
  [[nodiscard]] std::optional<uint64_t> kept_since_ns() const;

 private:
  Status newest(const Search& search, const OnRow& on_row, const IsCancelled& is_cancelled);

  store::Pipeline& pipeline_;
};

}  // namespace gatehouse::query
