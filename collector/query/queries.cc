// SPDX-License-Identifier: Apache-2.0
#include "collector/query/queries.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <string_view>
#include <thread>
#include <utility>

#include "collector/ledger/log_reader.h"
#include "collector/query/duckdb_sql.h"
#include "collector/store/batch_reader.h"
#include "common/clock.h"
#include "rules/engine/match_row.h"

namespace gatehouse::query {
namespace {

using std::chrono::milliseconds;

// How long a tail waits for the store to have what was durable when it began.
constexpr milliseconds kCatchUpStep{200};
constexpr uint32_t kTailWaitMs = 200;  // between looks at whether the client is still there

// Searching for the newest rows. Who wants more than so many wants most of them, which takes long in any case.
constexpr uint32_t kNewestRowsMax = 10'000;
// A busy collector has a million events of so long, which take it some 20 ms.
constexpr uint64_t kFirstWindowNs = 60'000'000'000;
// A step costs some milliseconds even if it finds little, so there must be few, and none that reads most of what is
// asked for.
constexpr size_t kWindowGrowthMin = 4;
constexpr size_t kWindowGrowthMax = 16;
constexpr uint64_t kWindowNsMax = 30ULL * 86'400 * 1'000'000'000;

// Sums beyond 64 bits read as the largest number.
uint64_t number_of(std::string_view text) {
  uint64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  return parsed.ec == std::errc::result_out_of_range ? UINT64_MAX : number;
}

// `name=value` words of an agent's status row, as flatten.cc writes them.
void read_status(std::string_view detail, v1::Agent& agent) {
  while (!detail.empty()) {
    const size_t end = std::min(detail.find(' '), detail.size());
    const std::string_view word = detail.substr(0, end);
    detail.remove_prefix(std::min(end + 1, detail.size()));
    const size_t equals = word.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = word.substr(0, equals);
    const std::string_view value = word.substr(equals + 1);
    if (name == "version") {
      agent.set_version(std::string(value));
    } else if (name == "plane") {
      agent.set_plane(std::string(value));
    } else if (name == "policy") {
      agent.set_policy(std::string(value));
    } else if (name != "phase" && name != "kernel") {
      (*agent.mutable_counters())[std::string(name)] = number_of(value);
    }
  }
}

// Rows of the log from `reader` on, to its end. False if `on_row` had enough.
Result<bool> read_to_end(ledger::LogReader& reader, const rules::Filter& filter, const Queries::OnRow& on_row,
                         const Queries::IsCancelled& is_cancelled) {
  store::BatchReader batch_reader;
  ledger::Record record;
  for (;;) {
    if (is_cancelled && is_cancelled()) return Error("cancelled");
    GH_ASSIGN(const auto outcome, reader.next(record));
    if (outcome == ledger::LogReader::Outcome::kEnd) return true;
    if (outcome == ledger::LogReader::Outcome::kDamaged || !batch_reader.read(record)) continue;
    const store::Flattener flattener(batch_reader.batch(), store::BatchReader::origin_of(record));
    for (size_t i = 0; i < flattener.row_count(); ++i) {
      v1::Row row;
      flattener.flatten(i, row);
      if (rules::matches(filter, row) && !on_row(std::move(row))) return false;
    }
  }
}

// Which agent's last status stands in which record of the log.
using StatusPlaces = std::map<std::pair<uint64_t, uint64_t>, v1::Agent*>;

// What is not there any more, or cannot be read, is left out.
Status read_sockets(ledger::SegmentLog& log, const StatusPlaces& places, const Queries::IsCancelled& is_cancelled) {
  store::BatchReader batch_reader;
  ledger::Record record;
  for (auto place = places.begin(); place != places.end();) {
    const uint64_t segment = place->first.first;
    ledger::LogReader reader(log, {.segment = segment});
    while (place != places.end() && place->first.first == segment) {
      if (is_cancelled && is_cancelled()) return Error("cancelled");
      GH_ASSIGN(const auto outcome, reader.next(record));
      if (outcome != ledger::LogReader::Outcome::kRecord || record.position.segment != segment) break;
      if (record.position.record != place->first.second) continue;
      v1::Agent& agent = *place->second;
      ++place;
      if (!batch_reader.read(record)) continue;
      for (const v1::Event& event : batch_reader.batch().events())
        if (event.has_agent_status() && event.agent_status().has_sockets())
          *agent.mutable_sockets() = event.agent_status().sockets();
    }
    while (place != places.end() && place->first.first == segment) ++place;
  }
  return {};
}

}  // namespace

// The newest of everything would be found by reading everything. So ever longer ends of the time that is asked for are
// searched, until one has as many as are wanted: all of those are then newer than what was not searched.
Status Queries::newest(const Search& search, const OnRow& on_row, const IsCancelled& is_cancelled) {
  const uint64_t since_ns = search.selection.since_ns;
  const uint64_t now_ns = unix_ns();
  // Clocks of agents may be ahead: what is later than now is in every window.
  const uint64_t end_ns = search.selection.until_ns == 0 ? now_ns : std::min(search.selection.until_ns, now_ns);
  const uint64_t all_ns = end_ns - std::min(since_ns, end_ns);
  uint64_t window_ns = kFirstWindowNs;
  for (bool is_last = false; !is_last;) {
    const bool is_all = window_ns > kWindowNsMax || window_ns > all_ns / kWindowGrowthMin;
    Search part = search;
    if (!is_all) part.selection.since_ns = end_ns - window_ns;
    store::SqlQuery query = to_sql(part);
    query.on_keys = [&](size_t found) {
      is_last = is_all || found >= search.limit;
      // As much longer as it takes if they are as frequent further back.
      window_ns *=
          found == 0 ? kWindowGrowthMax : std::clamp(2 * search.limit / found, kWindowGrowthMin, kWindowGrowthMax);
      return is_last;
    };
    GH_TRY(pipeline_.store().rows(query, on_row, is_cancelled));
  }
  return {};
}

Status Queries::search(const Search& search, const OnRow& on_row, const IsCancelled& is_cancelled) {
  if (search.limit > 0 && search.limit <= kNewestRowsMax && !search.oldest_first)
    return newest(search, on_row, is_cancelled);
  return pipeline_.store().rows(to_sql(search), on_row, is_cancelled);
}

Result<std::vector<std::string>> Queries::find_sessions(const std::string& text, uint32_t limit,
                                                        const IsCancelled& is_cancelled) {
  std::vector<std::string> found;
  GH_TRY(pipeline_.store().values(
      to_sql(FindSessions{.text = text, .limit = limit}),
      [&](std::vector<std::string>&& values) {
        found.push_back(std::move(values[0]));
        return true;
      },
      is_cancelled));
  const auto is_exact = [&](const std::string& session) {
    return session == text || session.substr(session.rfind('/') + 1) == text;
  };
  // An id that is meant exactly is not made ambiguous by those it is a prefix of.
  if (std::ranges::find(found, text) != found.end()) return std::vector{text};
  if (std::ranges::any_of(found, is_exact)) std::erase_if(found, [&](const auto& one) { return !is_exact(one); });
  return found;
}

Status Queries::session(const OneSession& session, const OnRow& on_row, const IsCancelled& is_cancelled) {
  return pipeline_.store().rows(to_sql(session), on_row, is_cancelled);
}

Result<v1::TopResponse> Queries::top(const Top& top, const IsCancelled& is_cancelled) {
  v1::TopResponse response;
  GH_TRY(pipeline_.store().values(
      to_sql(top),
      [&](std::vector<std::string>&& values) {
        v1::TopGroup& group = *response.add_groups();
        group.set_value(std::move(values[0]));
        group.set_events(number_of(values[1]));
        group.set_errors(number_of(values[2]));
        group.set_rows(number_of(values[3]));
        group.set_duration_ns(number_of(values[4]));
        group.set_last_time_ns(number_of(values[5]));
        return true;
      },
      is_cancelled));
  return response;
}

std::optional<uint64_t> Queries::kept_since_ns() const {
  const ledger::SegmentLog& log = pipeline_.log();
  const uint64_t first = log.first_segment();
  if (first == ledger::kFirstSegment) return std::nullopt;
  const auto segment = log.segment_at(first);
  // Gone meanwhile, or without a record so far: then nothing is there that was received before now.
  return segment && segment->records > 0 ? segment->first_received_ns : unix_ns();
}

Result<v1::AgentsResponse> Queries::agents(bool with_sockets, const IsCancelled& is_cancelled) {
  std::map<std::string, v1::Agent, std::less<>> agents;
  // By first receipt within an agent, so the last boot's id stays.
  for (const ledger::SourceInfo& source : pipeline_.log().sources()) {
    v1::Agent& agent = agents[source.agent_id];
    if (agent.agent_id().empty()) agent.set_first_seen_ns(source.first_received_ns);
    agent.set_agent_id(source.agent_id);
    agent.set_boot_id(source.boot_id);
    agent.set_last_seen_ns(std::max(agent.last_seen_ns(), source.last_received_ns));
    agent.set_events(agent.events() + source.events);
    agent.set_missing(agent.missing() + source.missing);
  }
  StatusPlaces places;
  GH_TRY(pipeline_.store().values(
      to_sql(LastStatus{}),
      [&](std::vector<std::string>&& values) {
        const auto agent = agents.find(values[0]);
        if (agent == agents.end()) return true;
        agent->second.set_host(values[1]);
        read_status(values[2], agent->second);
        places.emplace(std::pair(number_of(values[3]), number_of(values[4])), &agent->second);
        return true;
      },
      is_cancelled));
  if (with_sockets) GH_TRY(read_sockets(pipeline_.log(), places, is_cancelled));
  v1::AgentsResponse response;
  for (auto& [id, agent] : agents) {
    agent.set_connected(pipeline_.is_connected(id));
    *response.add_agents() = std::move(agent);
  }
  return response;
}

Status Queries::tail(const rules::Filter& filter, uint64_t since_ns, const ledger::Position& start, const OnRow& on_row,
                     const IsCancelled& is_cancelled) {
  if (since_ns != 0) {
    while (!pipeline_.store().wait_indexed(start, kCatchUpStep))
      if (is_cancelled && is_cancelled()) return Error("cancelled");
    bool has_enough = false;
    GH_TRY(search(
        {.selection = {.filter = filter, .since_ns = since_ns, .before = start}, .oldest_first = true},
        [&](v1::Row&& row) {
          has_enough = !on_row(std::move(row));
          return !has_enough;
        },
        is_cancelled));
    if (has_enough) return {};
  }
  // The search took its time: what came meanwhile is read from the log, until the hub can take over without a seam.
  ledger::LogReader reader(pipeline_.log(), start);
  std::unique_ptr<store::TailHub::Subscription> subscription;
  for (;;) {
    GH_ASSIGN(const bool goes_on, read_to_end(reader, filter, on_row, is_cancelled));
    if (!goes_on) return {};
    subscription = pipeline_.tail_hub().subscribe_at(reader.position(), filter);
    if (subscription) break;
    std::this_thread::sleep_for(milliseconds(1));
  }
  while (!subscription->is_closed()) {
    if (is_cancelled && is_cancelled()) return Error("cancelled");
    auto row = subscription->next(kTailWaitMs);
    if (row && !on_row(*std::move(row))) return {};
  }
  return {};
}

}  // namespace gatehouse::query
