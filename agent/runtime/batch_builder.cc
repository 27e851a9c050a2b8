// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/batch_builder.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/utf8.h"
#include "gatehouse/v1/event.pb.h"

namespace gatehouse::runtime {
namespace {

// A batch is closed beyond this, which leaves room for the largest event (text, parameters and resolved text of the
// request limit each) and for what its processes and sessions take when it is written out.
constexpr size_t kBatchFullBytes = kBatchBytesMax / 8;
static_assert(3 * kRequestBytesMax + 2 * kBatchFullBytes <= kBatchBytesMax);

// About what a process with its ancestry takes in a batch. Bytes that are not UTF-8 are rare, so no room is kept for
// writing all of them as \xNN: the collector takes twice kBatchBytesMax.
size_t written_bytes(const identity::Process& process) {
  constexpr size_t kAncestryBytes = 4096;
  size_t bytes = kAncestryBytes + process.exe.size() + process.cwd.size() + process.cgroup.size();
  for (const std::string& argument : process.arguments) bytes += argument.size() + 3;
  return bytes;
}

// Began before the watch and was gone before it could be looked up: its number is all that is known.
std::shared_ptr<const identity::Process> nameless(const ImageKey& key) {
  constexpr uint32_t kUnknown = UINT32_MAX;
  auto process = std::make_shared<identity::Process>();
  process->key = key.process;
  process->image_number = std::max(key.image, 1U);
  process->uid = process->gid = process->euid = kUnknown;
  return process;
}

// A batch may wait this many times its normal delay for the hash of a program file first seen in it.
constexpr uint64_t kHashPatience = 3;

std::string write_header(const BatchBuilder::Options& options) {
  WireBuffer header(0);
  std::string scratch;
  WireWriter writer(header);
  const auto put = [&](int field, const std::string& value) {
    const std::string_view text = as_utf8(value, scratch);
    writer.add_string(static_cast<protozero::pbf_tag_type>(field), text.data(), text.size());
  };
  put(v1::Batch::kAgentIdFieldNumber, options.agent_id);
  put(v1::Batch::kBootIdFieldNumber, options.boot_id);
  put(v1::Batch::kHostFieldNumber, options.host);
  put(v1::Batch::kAgentVersionFieldNumber, options.agent_version);
  return std::string(header.view());
}

}  // namespace

BatchBuilder::BatchBuilder(Options options, ProcessDirectory& processes)
    : options_(std::move(options)), processes_(processes), header_(write_header(options_)), out_(kBatchFullBytes) {}

uint64_t BatchBuilder::name_process(const ImageKey& key) {
  if (!key.known()) return 0;
  std::shared_ptr<const identity::Process> process = processes_.find(key);
  if (!process) process = nameless(key);
  const uint64_t id = process_id(process->key, process->image_number);
  const auto [at, is_new] = named_.try_emplace(id, std::move(process));
  if (is_new) named_bytes_ += written_bytes(*at->second);
  return id;
}

EventHead BatchBuilder::head_for(const std::shared_ptr<SessionEntry>& session, const ImageKey& told_writer) {
  if (!session) return {};
  SessionEntry& entry = *session;
  // What nobody wrote, such as a disconnect or a notification, is put down to who opened the connection.
  const ImageKey& writer = told_writer.known() ? told_writer : entry.opener;
  if (entry.batch_mark != mark_) {
    entry.batch_mark = mark_;
    sessions_.push_back(session);
    if (entry.opener.known()) entry.facts.opener_process = name_process(entry.opener);
  }
  if (entry.writer_mark != writers_mark_ || entry.writer != writer) {
    entry.writer = writer;
    entry.writer_mark = writers_mark_;
    entry.writer_id = writer.known() ? name_process(writer) : 0;
  }
  return {.session = entry.facts.id, .process = entry.writer_id};
}

void BatchBuilder::count_event(uint64_t time_boottime_ns) {
  if (event_count_ == 0) {
    first_sequence_ = next_sequence_;
    opened_boottime_ns_ = time_boottime_ns;
  }
  ++event_count_;
  ++next_sequence_;
}

void BatchBuilder::add_activity(const std::shared_ptr<SessionEntry>& session, const Activity& activity,
                                const Judged& judged) {
  const EventHead head = head_for(session, activity.writer);
  write_activity(out_, head, activity, time_.to_unix(activity.start_ns), scratch_, judged);
  count_event(std::max(activity.end_ns, activity.start_ns));
}

void BatchBuilder::add_disconnect(const std::shared_ptr<SessionEntry>& session, const Activity& activity,
                                  const CoverageReport& coverage, const Judged& judged) {
  const EventHead head = head_for(session, activity.writer);
  write_disconnect(out_, head, activity, time_.to_unix(activity.start_ns), session->totals, coverage, judged);
  count_event(std::max(activity.end_ns, activity.start_ns));
}

void BatchBuilder::add_gap(const std::shared_ptr<SessionEntry>& session, const GapReport& gap, uint64_t now_boottime_ns,
                           const Judged& judged) {
  const EventHead head = head_for(session, session ? session->opener : ImageKey{});
  write_gap(out_, head, gap, time_.to_unix(now_boottime_ns), judged);
  count_event(now_boottime_ns);
}

GapReport BatchBuilder::gap_of(const spool::Dropped& dropped) {
  const char* reason = dropped.why == spool::AppendOutcome::kFull ? "spool-full" : "spool-disk-error";
  return {.offset = dropped.first_sequence, .events = dropped.events, .reason = reason};
}

void BatchBuilder::add_dropped(const spool::Dropped& dropped, uint64_t now_boottime_ns, const Judged& judged) {
  add_gap(nullptr, gap_of(dropped), now_boottime_ns, judged);
  if (carries_)
    carries_->add(dropped);
  else
    carries_ = dropped;
}

void BatchBuilder::add_approval(const std::shared_ptr<SessionEntry>& session, std::string_view approval,
                                uint64_t time_boottime_ns) {
  const EventHead head = head_for(session, session ? session->opener : ImageKey{});
  write_approval(out_, head, approval, time_.to_unix(time_boottime_ns));
  count_event(time_boottime_ns);
}

void BatchBuilder::add_status(const StatusReport& status, uint64_t now_boottime_ns) {
  write_status(out_, status, time_.to_unix(now_boottime_ns));
  count_event(now_boottime_ns);
}

uint32_t BatchBuilder::find_facts(uint64_t key) const {
  const auto found = facts_.find(key);
  return found == facts_.end() ? 0 : found->second;
}

uint32_t BatchBuilder::add_facts(uint64_t key, const judge::FactsSummary& facts) {
  write_facts(out_, facts);
  const auto number = static_cast<uint32_t>(facts_.size() + 1);
  facts_.emplace(key, number);
  return number;
}

void BatchBuilder::set_policy(std::string version) {
  GH_CHECK(empty());
  policy_ = std::move(version);
}

bool BatchBuilder::full() const {
  return event_count_ >= options_.events_max || out_.size() + named_bytes_ >= kBatchFullBytes;
}

bool BatchBuilder::due(uint64_t now_boottime_ns) const {
  if (event_count_ == 0) return false;
  if (full()) return true;
  const uint64_t age_ns = now_boottime_ns > opened_boottime_ns_ ? now_boottime_ns - opened_boottime_ns_ : 0;
  if (age_ns < options_.delay_ns_max) return false;
  if (age_ns >= options_.delay_ns_max * kHashPatience) return true;
  return std::ranges::none_of(named_, [&](const auto& named) { return processes_.hash_pending(*named.second); });
}

EncodedBatch BatchBuilder::take() {
  GH_CHECK(event_count_ > 0);
  EncodedBatch batch{.bytes = {},
                     .first_sequence = first_sequence_,
                     .event_count = event_count_,
                     .carries = std::exchange(carries_, std::nullopt)};
  {
    WireWriter writer(out_);
    writer.add_uint64(v1::Batch::kFirstSequenceFieldNumber, first_sequence_);
    if (!policy_.empty()) writer.add_string(v1::Batch::kPolicyFieldNumber, policy_);
  }
  out_.append(header_);
  for (const auto& session : sessions_) {
    // Who serves the session may be learned from its first answer only.
    if (session->server.known()) session->facts.server_process = name_process(session->server);
    write_session(out_, session->facts);
  }
  for (auto& [id, process] : named_) {
    // The same image, with its hash if that has come since.
    if (process->exe_sha256.empty()) {
      auto current = processes_.find({.process = process->key, .image = process->image_number});
      if (current && current->image_number == process->image_number) process = std::move(current);
    }
    const auto ancestors = processes_.ancestors(*process);
    std::vector<const identity::Process*> views;
    views.reserve(ancestors.size());
    for (const auto& ancestor : ancestors) views.push_back(ancestor.get());
    write_process(out_, *process, views, time_);
  }
  batch.bytes = out_.view();
  out_.clear();
  sessions_.clear();
  facts_.clear();
  named_.clear();
  named_bytes_ = 0;
  event_count_ = 0;
  ++mark_;
  forget_writers();
  return batch;
}

}  // namespace gatehouse::runtime
