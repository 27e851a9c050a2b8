// SPDX-License-Identifier: Apache-2.0
#include "collector/ledger/segment_log.h"

#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <tuple>

#include "collector/ledger/segment_files.h"
#include "collector/ledger/segment_log_state.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/log.h"

namespace gatehouse::ledger {
namespace {

using Kind = AppendOutcome::Kind;

// Names end up in event ids, joined by '/', and in people's terminals.
bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax &&
         std::ranges::all_of(name, [](char c) { return c > ' ' && c < '\x7f' && c != '/'; });
}

bool is_well_formed(const Batch& batch) {
  return is_name(batch.agent_id) && is_name(batch.boot_id) && batch.first_sequence > 0 && batch.event_count > 0 &&
         batch.first_sequence <= UINT64_MAX - batch.event_count && !batch.payload_zstd.empty() &&
         batch.payload_zstd.size() <= kPayloadBytesMax &&
         (batch.previous_sha256.empty() || batch.previous_sha256.size() == sizeof(Digest));
}

Status write_vectors_at(int fd, std::vector<iovec> vectors, uint64_t offset) {
  size_t at = 0;
  while (at < vectors.size()) {
    const int count = static_cast<int>(std::min<size_t>(vectors.size() - at, IOV_MAX));
    const ssize_t put = ::pwritev(fd, &vectors[at], count, static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return Error::system("write");
    offset += static_cast<uint64_t>(put);
    auto left = static_cast<size_t>(put);
    while (at < vectors.size() && left >= vectors[at].iov_len) left -= vectors[at++].iov_len;
    if (left > 0) {
      vectors[at].iov_base = static_cast<char*>(vectors[at].iov_base) + left;
      vectors[at].iov_len -= left;
    }
  }
  return {};
}

iovec vector_of(std::string_view bytes) {
  return {const_cast<char*>(bytes.data()), bytes.size()};
}

}  // namespace

std::string SegmentLog::State::path_of(uint64_t number) const {
  return segment_file(options_.folder, number, kSegmentSuffix);
}

// Decides about one batch; queues it if it is to be written. mutex_ held.
void SegmentLog::State::admit(const Batch& batch, AppendOutcome& outcome, Call& call) {
  if (!is_well_formed(batch)) return;
  KnownSource& known = sources_[{std::string(batch.agent_id), std::string(batch.boot_id)}];
  if (known.info.agent_id.empty()) {
    known.info.agent_id = batch.agent_id;
    known.info.boot_id = batch.boot_id;
  }
  switch (known.source.classify(batch.first_sequence, batch.event_count, batch.payload_sha256)) {
    case Source::Admission::kNew:
      outcome.kind = Kind::kAppended;
      if (!known.source.is_chained(batch.first_sequence, batch.previous_sha256)) ++known.info.unchained;
      known.source.admit(batch.first_sequence, batch.event_count, batch.payload_sha256);
      queue_.push_back({&batch, &known, &call});
      ++call.waiting;
      return;
    case Source::Admission::kSame:
      outcome.kind = Kind::kDuplicate;
      // It may still be in the queue or being written for another caller: done when all of that is.
      queue_.push_back({nullptr, &known, &call});
      ++call.waiting;
      return;
    case Source::Admission::kChanged:
      outcome.kind = Kind::kChanged;
      ++known.info.changed;
      return;
    case Source::Admission::kOverlap:
      outcome.kind = Kind::kOverlap;
      return;
    case Source::Admission::kMalformed:
      return;  // is_well_formed() has said so before
  }
}

Result<std::vector<AppendOutcome>> SegmentLog::State::append(std::span<const Batch> batches) {
  std::vector<AppendOutcome> outcomes(batches.size());
  Call call;
  std::unique_lock lock(mutex_);
  if (failed_) return *failed_;
  for (size_t i = 0; i < batches.size(); ++i) admit(batches[i], outcomes[i], call);
  while (call.waiting > 0) {
    if (has_leader_) {
      done_.wait(lock);
    } else {
      lead(lock);
    }
  }
  if (call.error) return *std::move(call.error);
  for (size_t i = 0; i < batches.size(); ++i) {
    const auto known = sources_.find({std::string(batches[i].agent_id), std::string(batches[i].boot_id)});
    if (known != sources_.end()) outcomes[i].acknowledged_sequence = known->second.info.acknowledged_sequence;
  }
  return outcomes;
}

// Writes one group. Entered and left with the mutex; held without it while the disk works.
void SegmentLog::State::lead(std::unique_lock<std::mutex>& lock) {
  has_leader_ = true;
  std::vector<Pending> group;
  while (!queue_.empty() && group.size() < kGroupRecordsMax) {
    group.push_back(queue_.front());
    queue_.pop_front();
  }
  SegmentInfo segment = segments_.back();
  lock.unlock();
  const bool has_records = std::ranges::any_of(group, [](const Pending& pending) { return pending.batch != nullptr; });
  const bool is_to_start = segment.is_sealed && has_records;  // its successor could not be made at the time
  Status status = is_to_start ? create_segment(segment.number + 1, segment.chain_head, segment) : Status{};
  if (status) {
    if (is_to_start) {
      lock.lock();
      segments_.push_back(segment);
      lock.unlock();
    }
    status = commit(group, segment);
  }
  lock.lock();
  if (!status) {
    fail_queue(std::move(group), std::move(status).error());
  } else {
    settle(group, segment);
    if (!segment.is_sealed && segment.durable_bytes >= options_.segment_bytes_max) {
      done_.notify_all();  // what is durable need not wait for this
      lock.unlock();
      const Status sealed = write_footer_and_next(segment);
      lock.lock();
      note_seal(sealed);
    }
  }
  has_leader_ = false;
  done_.notify_all();
}

// Writes and syncs the group's records at the end of the open segment; `segment` is what it is afterwards. Leader.
Status SegmentLog::State::commit(const std::vector<Pending>& group, SegmentInfo& segment) {
  std::vector<std::string> headers;
  headers.reserve(group.size());
  std::vector<iovec> vectors;
  SegmentInfo grown = segment;
  const uint64_t now_ns = unix_ns();
  const size_t entries_before = footer_.entries.size();
  for (const Pending& pending : group) {
    if (pending.batch == nullptr) continue;
    const Batch& batch = *pending.batch;
    RecordHeader header{.payload_bytes = static_cast<uint32_t>(batch.payload_zstd.size()),
                        .event_count = batch.event_count,
                        .first_sequence = batch.first_sequence,
                        .received_ns = now_ns,
                        .payload_sha256 = batch.payload_sha256,
                        .has_previous = !batch.previous_sha256.empty(),
                        .chain_previous = grown.chain_head,
                        .agent_id = batch.agent_id,
                        .boot_id = batch.boot_id};
    std::ranges::copy(std::as_bytes(std::span{batch.previous_sha256}), header.previous_sha256.begin());
    append_record_header(headers.emplace_back(), header);
    vectors.push_back(vector_of(headers.back()));
    vectors.push_back(vector_of(batch.payload_zstd));

    const auto [source, is_new] = footer_sources_.try_emplace({std::string(batch.agent_id), std::string(batch.boot_id)},
                                                              static_cast<uint32_t>(footer_.sources.size()));
    if (is_new) footer_.sources.push_back({std::string(batch.agent_id), std::string(batch.boot_id)});
    footer_.entries.push_back(
        {grown.durable_bytes, batch.first_sequence, now_ns, batch.event_count, source->second, batch.payload_sha256});
    grown.chain_head = header.hash;
    grown.durable_bytes += header.record_bytes();
    grown.events += batch.event_count;
    if (grown.records++ == 0) grown.first_received_ns = now_ns;
    grown.last_received_ns = now_ns;
  }
  if (vectors.empty()) return {};
  if (Status written = write_vectors_at(file_.get(), std::move(vectors), segment.durable_bytes); !written) {
    footer_.entries.resize(entries_before);
    if (::ftruncate(file_.get(), static_cast<off_t>(segment.durable_bytes)) != 0) {
      const std::lock_guard lock(mutex_);
      failed_ = Error::system("undoing a failed write to " + segment.path);
    }
    return std::move(written).context(segment.path);
  }
  if (Status synced = sync_data(file_.get()); !synced) {
    Error error =
        std::move(synced)
            .error()
            .with_context(segment.path)
            .with_context("the ledger stops: what is on disk is unknown; restart the collector when the disk is well");
    const std::lock_guard lock(mutex_);
    failed_ = error;
    return error;
  }
  segment = grown;
  return {};
}

// Tells everyone that `group` is durable. mutex_ held.
void SegmentLog::State::settle(const std::vector<Pending>& group, const SegmentInfo& segment) {
  const bool has_grown = segment.records != segments_.back().records;
  segments_.back() = segment;
  for (const Pending& pending : group) {
    --pending.call->waiting;
    if (pending.batch == nullptr) continue;
    SourceInfo& info = pending.source->info;
    if (info.events == 0) info.first_received_ns = segment.last_received_ns;
    info.last_received_ns = segment.last_received_ns;
    info.events += pending.batch->event_count;
    info.acknowledged_sequence =
        std::max(info.acknowledged_sequence, pending.batch->first_sequence + pending.batch->event_count - 1);
    info.missing = info.acknowledged_sequence - info.events;
  }
  if (has_grown) more_.notify_all();
}

// The group could not be written. Whatever was queued behind it may repeat its batches, so all of it fails alike and
// is taken back, latest first. mutex_ held.
void SegmentLog::State::fail_queue(std::vector<Pending> group, const Error& error) {
  group.insert(group.end(), queue_.begin(), queue_.end());
  queue_.clear();
  for (auto pending = group.rbegin(); pending != group.rend(); ++pending) {
    if (pending->batch != nullptr) pending->source->source.withdraw(pending->batch->first_sequence);
    --pending->call->waiting;
    pending->call->error = error;
  }
}

// Ends the open segment and starts the next. The footer is durable before the next file exists, so only the last
// segment of a log can be without one. Leader; `segment` is the open one.
Status SegmentLog::State::write_footer_and_next(SegmentInfo& segment) {
  footer_.records_bytes = segment.durable_bytes;
  footer_.events = segment.events;
  footer_.first_received_ns = segment.first_received_ns;
  footer_.last_received_ns = segment.last_received_ns;
  footer_.chain_head = segment.chain_head;
  std::string bytes;
  append_footer(bytes, footer_);
  at_step("sealing");
  Status status = write_vectors_at(file_.get(), {vector_of(bytes)}, segment.durable_bytes);
  at_step("footer-written");
  if (status) status = sync_data(file_.get());
  if (!status) {
    // A part of a footer after good records is what a crash leaves too: cut it, go on with this segment.
    if (::ftruncate(file_.get(), static_cast<off_t>(segment.durable_bytes)) != 0) {
      const std::lock_guard lock(mutex_);
      failed_ = Error::system("undoing a failed write to " + segment.path);
    }
    return std::move(status).context(segment.path);
  }
  segment.is_sealed = true;
  {
    const std::lock_guard lock(mutex_);
    segments_.back() = segment;
  }
  at_step("sealed");
  SegmentInfo next;
  GH_TRY(create_segment(segment.number + 1, segment.chain_head, next));
  const std::lock_guard lock(mutex_);
  segments_.push_back(next);
  more_.notify_all();
  return {};
}

// Told once, however often it is tried. mutex_ held.
void SegmentLog::State::note_seal(const Status& status) {
  if (status) {
    if (!seal_failure_.empty()) log::info("ledger", "segments are sealed again");
    seal_failure_.clear();
  } else if (seal_failure_ != status.error().message()) {
    seal_failure_ = status.error().message();
    log::warn("ledger", "segment not sealed; tried again", {{"error", seal_failure_}});
  }
}

// Makes the file and its header durable. Leader, or recovery.
Status SegmentLog::State::create_segment(uint64_t number, const Digest& previous_head, SegmentInfo& segment) {
  std::string bytes;
  append_segment_header(bytes, {.number = number, .created_ns = unix_ns(), .previous_head = previous_head});
  SegmentInfo made{
      .number = number, .path = path_of(number), .durable_bytes = bytes.size(), .chain_head = sha256(as_bytes(bytes))};
  GH_ASSIGN(UniqueFd file, open_file(made.path, O_RDWR | O_CREAT | O_TRUNC));
  at_step("file-made");
  Status status = write_all(file.get(), as_bytes(bytes)).context(made.path);
  if (status) status = sync_data(file.get()).context(made.path);
  at_step("header-written");
  if (status) status = sync_directory(options_.folder);
  if (!status) {
    ::unlink(made.path.c_str());
    return status;
  }
  file_ = std::move(file);
  footer_ = {};
  footer_sources_.clear();
  segment = std::move(made);
  return {};
}

Status SegmentLog::State::seal(uint64_t older_than_ns) {
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return !has_leader_; });
  if (failed_) return *failed_;
  SegmentInfo segment = segments_.back();
  if (segment.is_sealed || segment.records == 0 || segment.first_received_ns > older_than_ns) return {};
  has_leader_ = true;
  lock.unlock();
  Status status = write_footer_and_next(segment);
  lock.lock();
  has_leader_ = false;
  note_seal(status);
  done_.notify_all();
  return status;
}

SegmentLog::SegmentLog(std::unique_ptr<State> state) : state_(std::move(state)) {}
SegmentLog::~SegmentLog() = default;

Result<std::unique_ptr<SegmentLog>> SegmentLog::open(Options options) {
  auto state = std::make_unique<State>(std::move(options));
  GH_TRY(state->recover().context("opening the ledger"));
  return std::unique_ptr<SegmentLog>(new SegmentLog(std::move(state)));
}

Result<std::vector<AppendOutcome>> SegmentLog::append(std::span<const Batch> batches) {
  return state_->append(batches);
}

Status SegmentLog::seal() {
  return state_->seal(UINT64_MAX);
}

Status SegmentLog::seal_if_due() {
  const uint64_t now_ns = unix_ns();
  return state_->seal(now_ns - std::min(now_ns, state_->options_.segment_age_ns_max));
}

Result<Removed> SegmentLog::remove_old(uint64_t now_ns) {
  return state_->remove_old(now_ns);
}

const OpenReport& SegmentLog::open_report() const {
  return state_->report_;
}

std::vector<SegmentInfo> SegmentLog::segments() const {
  const std::lock_guard lock(state_->mutex_);
  return state_->segments_;
}

uint64_t SegmentLog::first_segment() const {
  const std::lock_guard lock(state_->mutex_);
  return state_->segments_.front().number;
}

std::optional<SegmentInfo> SegmentLog::segment_at(uint64_t number) const {
  const std::lock_guard lock(state_->mutex_);
  const auto found = std::ranges::lower_bound(state_->segments_, number, {}, &SegmentInfo::number);
  if (found == state_->segments_.end()) return std::nullopt;
  return *found;
}

std::vector<SourceInfo> SegmentLog::sources() const {
  std::vector<SourceInfo> sources;
  {
    const std::lock_guard lock(state_->mutex_);
    for (const auto& [key, known] : state_->sources_)
      if (known.info.events > 0) sources.push_back(known.info);
  }
  std::ranges::sort(sources, {}, [](const SourceInfo& source) {
    return std::tie(source.agent_id, source.first_received_ns, source.boot_id);
  });
  return sources;
}

Position SegmentLog::end() const {
  const std::lock_guard lock(state_->mutex_);
  const SegmentInfo& last = state_->segments_.back();
  return {last.number, last.records, last.durable_bytes};
}

bool SegmentLog::wait_beyond(const Position& position, uint32_t timeout_ms) {
  std::unique_lock lock(state_->mutex_);
  const auto has_more = [&] {
    const SegmentInfo& last = state_->segments_.back();
    return Position{last.number, last.records, last.durable_bytes} > position;
  };
  const uint64_t wakes = state_->wakes_;
  state_->more_.wait_for(lock, std::chrono::milliseconds(timeout_ms),
                         [&] { return has_more() || state_->wakes_ != wakes; });
  return has_more();
}

void SegmentLog::wake() {
  const std::lock_guard lock(state_->mutex_);
  ++state_->wakes_;
  state_->more_.notify_all();
}

}  // namespace gatehouse::ledger
