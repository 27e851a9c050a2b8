// SPDX-License-Identifier: Apache-2.0
#include "collector/query/query_service.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "common/log.h"
#include "rules/engine/filter.h"

namespace gatehouse::query {
namespace {

constexpr uint32_t kTopGroupsDefault = 20;
constexpr uint32_t kTopGroupsMax = 10'000;
constexpr uint32_t kSessionCandidatesMax = 5;
constexpr uint32_t kTokenSecondsDefault = 3600;
constexpr const char* kOffsetKey = "gatehouse-filter-offset";
constexpr const char* kPartialKey = "gatehouse-index";
constexpr const char* kKeptSinceKey = "gatehouse-kept-since";

grpc::Status denied() {
  return {grpc::StatusCode::PERMISSION_DENIED, "an operator's certificate is needed"};
}
grpc::Status refused(std::string message) {
  return {grpc::StatusCode::INVALID_ARGUMENT, std::move(message)};
}

// The filter, or the status that says what is wrong with it.
std::optional<grpc::Status> parse(grpc::ServerContext& context, const std::string& text, rules::Filter& filter) {
  auto parsed = rules::parse_filter(text);
  if (!parsed) {
    context.AddTrailingMetadata(kOffsetKey, std::to_string(parsed.error().offset));
    return refused("filter, byte " + std::to_string(parsed.error().offset) + ": " + parsed.error().message);
  }
  filter = *std::move(parsed);
  return std::nullopt;
}

grpc::Status status_of(const grpc::ServerContext& context, const Status& status) {
  if (context.IsCancelled()) return grpc::Status::CANCELLED;
  if (status) return grpc::Status::OK;
  if (status.error().message() == "cancelled") return {grpc::StatusCode::UNAVAILABLE, "the collector is closing"};
  log::error("query", "question not answered", {{"error", status.error().message()}});
  return {grpc::StatusCode::INTERNAL, "the store could not answer; the collector's log says why"};
}

}  // namespace

// Said before the answer: what it is made from is not all there yet.
void QueryService::say_if_partial(grpc::ServerContext& context) const {
  if (const auto behind = queries_.progress())
    context.AddInitialMetadata(kPartialKey,
                               std::to_string(behind->percent) + " " + std::to_string(behind->seconds_left));
}

// Said before the answer: some of what is asked for is not there any more. An event is received after its action began.
void QueryService::say_if_removed(grpc::ServerContext& context, uint64_t since_ns) const {
  if (const auto kept_since = queries_.kept_since_ns(); kept_since && since_ns < *kept_since)
    context.AddInitialMetadata(kKeptSinceKey, std::to_string(*kept_since));
}

grpc::Status QueryService::Search(grpc::ServerContext* context, const v1::SearchRequest* request,
                                  grpc::ServerWriter<v1::Row>* writer) {
  if (!options_.is_operator(*context)) return denied();
  say_if_partial(*context);
  say_if_removed(*context, request->since_ns());
  query::Search search{.selection = {.since_ns = request->since_ns(), .until_ns = request->until_ns()},
                       .limit = request->limit(),
                       .oldest_first = request->oldest_first()};
  if (auto wrong = parse(*context, request->filter(), search.selection.filter)) return *std::move(wrong);
  return status_of(
      *context, queries_.search(
                    search, [&](v1::Row&& row) { return writer->Write(row); }, [&] { return context->IsCancelled(); }));
}

grpc::Status QueryService::Tail(grpc::ServerContext* context, const v1::TailRequest* request,
                                grpc::ServerWriter<v1::Row>* writer) {
  if (!options_.is_operator(*context)) return denied();
  rules::Filter filter;
  if (auto wrong = parse(*context, request->filter(), filter)) return *std::move(wrong);
  // The client knows that it is connected before there is a row, and from then on misses nothing.
  if (request->since_ns() != 0) say_if_removed(*context, request->since_ns());
  const ledger::Position start = queries_.now();
  writer->SendInitialMetadata();
  return status_of(*context, queries_.tail(
                                 filter, request->since_ns(), start, [&](v1::Row&& row) { return writer->Write(row); },
                                 [&] { return context->IsCancelled(); }));
}

grpc::Status QueryService::Session(grpc::ServerContext* context, const v1::SessionRequest* request,
                                   grpc::ServerWriter<v1::Row>* writer) {
  if (!options_.is_operator(*context)) return denied();
  say_if_partial(*context);
  say_if_removed(*context, 0);
  if (request->session().empty()) return refused("session: its id, or the start of its last part");
  const auto is_cancelled = [&] { return context->IsCancelled(); };
  const auto found = queries_.find_sessions(request->session(), kSessionCandidatesMax, is_cancelled);
  if (!found) return status_of(*context, Status(found.error()));
  if (found->empty()) return grpc::Status::OK;
  if (found->size() > 1) {
    std::string message = "session " + request->session() + " may be";
    for (const std::string& candidate : *found) message += " " + candidate;
    return refused(message + (found->size() == kSessionCandidatesMax ? " and others" : ""));
  }
  return status_of(*context, queries_.session(
                                 {.session = found->front(), .limit = request->limit()},
                                 [&](v1::Row&& row) { return writer->Write(row); }, is_cancelled));
}

grpc::Status QueryService::Top(grpc::ServerContext* context, const v1::TopRequest* request, v1::TopResponse* response) {
  if (!options_.is_operator(*context)) return denied();
  say_if_partial(*context);
  say_if_removed(*context, request->since_ns());
  query::Top top{.selection = {.since_ns = request->since_ns(), .until_ns = request->until_ns()},
                 .by = rules::find_field(request->by()),
                 .limit = request->limit() == 0 ? kTopGroupsDefault : std::min(request->limit(), kTopGroupsMax)};
  if (top.by == nullptr)
    return refused("by: there is no field \"" + request->by() + "\"; did you mean " +
                   std::string(rules::nearest_field(request->by())->name) + "?");
  if (auto wrong = parse(*context, request->filter(), top.selection.filter)) return *std::move(wrong);
  auto answered = queries_.top(top, [&] { return context->IsCancelled(); });
  if (!answered) return status_of(*context, Status(answered.error()));
  *response = *std::move(answered);
  return grpc::Status::OK;
}

grpc::Status QueryService::Agents(grpc::ServerContext* context, const v1::AgentsRequest* request,
                                  v1::AgentsResponse* response) {
  if (!options_.is_operator(*context)) return denied();
  say_if_partial(*context);
  auto answered = queries_.agents(request->sockets(), [&] { return context->IsCancelled(); });
  if (!answered) return status_of(*context, Status(answered.error()));
  *response = *std::move(answered);
  return grpc::Status::OK;
}

grpc::Status QueryService::CreateToken(grpc::ServerContext* context, const v1::CreateTokenRequest* request,
                                       v1::CreateTokenResponse* response) {
  if (!options_.is_operator(*context)) return denied();
  const uint32_t seconds = request->valid_seconds() == 0 ? kTokenSecondsDefault : request->valid_seconds();
  const auto made = options_.create_token(seconds);
  if (!made) {
    log::error("query", "no enrolment token made", {{"error", made.error().message()}});
    return {grpc::StatusCode::INTERNAL, "no token could be made; the collector's log says why"};
  }
  response->set_token(made->token);
  response->set_expires_ns(made->expires_ns);
  return grpc::Status::OK;
}

}  // namespace gatehouse::query
