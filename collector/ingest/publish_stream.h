// SPDX-License-Identifier: Apache-2.0
// PublishStream: one agent's open Publish call. gRPC's threads put requests into its queue, a worker takes all that
// wait and appends them together. No thread belongs to a stream.
#pragma once

#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "collector/ingest/ingest_state.h"

namespace gatehouse::ingest {

// gRPC runs callbacks inside the calls that start operations, so no operation is started with mutex_ held: what to do
// is decided under it, noted in a field, and done after it is released. Finish() waits until no operation is being
// started.
class PublishStream final : public grpc::ServerBidiReactor<v1::PublishRequest, v1::PublishResponse>,
                            public std::enable_shared_from_this<PublishStream> {
 public:
  PublishStream(IngestService::State& service, std::string agent_id);
  ~PublishStream() override;

  void start();  // once, after the service knows the stream
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  // One worker at a time: checks and appends what waits. False: nothing is left to do until it is scheduled again.
  bool process(BatchChecker& checker);
  // Ends the stream with UNAVAILABLE when its queue is durable.
  void end_for_stop();

 private:
  struct Round {
    std::vector<v1::PublishResponse> acknowledgements;  // one a boot
    std::optional<grpc::Status> end;
  };
  Round append(std::vector<v1::PublishRequest>& requests, BatchChecker& checker);
  void count_and_settle(std::span<const v1::PublishRequest> requests, std::span<const AppendOutcome> outcomes,
                        Round& round);
  [[nodiscard]] grpc::Status refuse(const v1::PublishRequest& request, grpc::StatusCode code, std::string_view reason);
  void read_next();  // after ++starting_
  void advance();

  IngestService::State& service_;
  const std::string agent_id_;
  std::unique_ptr<BatchSink::Presence> presence_;
  v1::PublishRequest incoming_;
  v1::PublishResponse outgoing_;

  std::mutex mutex_;
  std::deque<v1::PublishRequest> queue_;
  size_t queue_bytes_ = 0;
  unsigned starting_ = 0;       // StartRead calls that have not returned
  bool is_paused_ = false;      // the queue is full: no read is outstanding
  bool is_input_over_ = false;  // the agent has closed its side, or is gone
  bool is_stopping_ = false;    // the collector is
  bool is_scheduled_ = false;   // in `ready`, or with a worker
  bool is_writing_ = false;
  bool is_finished_ = false;                          // Finish() was or is being called: nothing is started any more
  std::deque<v1::PublishResponse> acknowledgements_;  // to be written, one a boot
  std::optional<grpc::Status> end_;                   // to finish with
};

}  // namespace gatehouse::ingest
