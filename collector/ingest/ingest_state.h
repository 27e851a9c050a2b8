// SPDX-License-Identifier: Apache-2.0
// Inside of IngestService: what its streams and workers share.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <vector>

#include "collector/ingest/ingest_service.h"
#include "gatehouse/v1/ingest.grpc.pb.h"

namespace gatehouse::ingest {

class PublishStream;

struct IngestService::State final : public v1::Ingest::CallbackService {
  State(BatchSink& batch_sink, const TokenStore& token_store, const pki::Authority& its_authority);
  ~State() override;

  grpc::ServerUnaryReactor* Enrol(grpc::CallbackServerContext* context, const v1::EnrolRequest* request,
                                  v1::EnrolResponse* response) override;
  grpc::ServerBidiReactor<v1::PublishRequest, v1::PublishResponse>* Publish(
      grpc::CallbackServerContext* context) override;

  grpc::Status enrol(const grpc::CallbackServerContext& context, const v1::EnrolRequest& request,
                     v1::EnrolResponse& response);
  grpc::Status sign(const pki::Subject& subject, const v1::EnrolRequest& request, v1::EnrolResponse& response,
                    uint64_t Counters::* counter);

  // A worker will process the stream. It stands in `ready` at most once.
  void schedule(std::shared_ptr<PublishStream> stream);
  void work();
  bool admit(const std::shared_ptr<PublishStream>& stream);  // false: stopping
  void forget(PublishStream& stream);
  void stop();
  // What an append came to. The first failure and the first success after it are told, and not what lies between.
  void note_append(const Status& status);
  bool is_writing();

  BatchSink& sink;
  const TokenStore& tokens;
  const pki::Authority& authority;

  mutable std::mutex mutex;
  std::condition_variable has_work;
  std::deque<std::shared_ptr<PublishStream>> ready;
  std::unordered_set<std::shared_ptr<PublishStream>> streams;  // until OnDone
  bool is_stopping = false;                                    // streams end
  bool is_over = false;                                        // workers end
  Counters counters;
  std::string append_failure;        // why nothing can be written now; empty: it can
  uint64_t append_failures = 0;      // in a row
  uint64_t append_failed_ns = 0;     // CLOCK_BOOTTIME, of the first
  std::vector<std::thread> workers;  // started last
};

}  // namespace gatehouse::ingest
