// SPDX-License-Identifier: Apache-2.0
#include "agent/spool/spool.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <utility>

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

namespace gatehouse::spool {
namespace {

constexpr std::string_view kComponent = "spool";
constexpr std::string_view kSuffix = ".spool";
constexpr size_t kNameDigits = 16;
constexpr uint64_t kSegmentBytesMin = 64U << 10;
constexpr uint64_t kBytesMin = 4 * kSegmentBytesMin;
// Boots whose acknowledgements are remembered. Only those with batches in the spool matter; it rarely holds two.
constexpr size_t kBootsMax = 64;
// How stale `acknowledged` may be: what it misses is delivered again after a crash, and found to be there already.
constexpr uint64_t kSaveIntervalNs = 1'000'000'000;
constexpr size_t kAcknowledgedFileBytesMax = 256;

std::optional<uint64_t> segment_number(std::string_view name) {
  if (name.size() != kNameDigits + kSuffix.size() || !name.ends_with(kSuffix)) return std::nullopt;
  uint64_t number = 0;
  const auto [stop, fault] = std::from_chars(name.data(), name.data() + kNameDigits, number, 16);
  if (fault != std::errc{} || stop != name.data() + kNameDigits || number == 0) return std::nullopt;
  return number;
}

// Up to `bytes` from `offset`; fewer only at the end of the file.
Result<size_t> read_at(int fd, char* out, size_t bytes, uint64_t offset) {
  size_t total = 0;
  while (total < bytes) {
    const ssize_t got = ::pread(fd, out + total, bytes - total, static_cast<off_t>(offset + total));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::system("read");
    if (got == 0) break;
    total += static_cast<size_t>(got);
  }
  return total;
}

}  // namespace

std::string_view to_string(AppendOutcome outcome) {
  switch (outcome) {
    case AppendOutcome::kStored:
      return "stored";
    case AppendOutcome::kFull:
      return "spool-full";
    case AppendOutcome::kDiskError:
      return "disk-error";
    case AppendOutcome::kTooLarge:
      return "too-large";
  }
  GH_CHECK(false);
}

std::string Spool::path(uint64_t number) const {
  std::array<char, kNameDigits> digits{};
  const auto [stop, fault] = std::to_chars(digits.data(), digits.data() + digits.size(), number, 16);
  GH_CHECK(fault == std::errc{});
  const auto used = static_cast<size_t>(stop - digits.data());
  return options_.folder + '/' + std::string(kNameDigits - used, '0') + std::string(digits.data(), used) +
         std::string(kSuffix);
}

Result<std::unique_ptr<Spool>> Spool::open(Options options) {
  options.bytes_max = std::max(options.bytes_max, kBytesMin);
  options.segment_bytes = std::clamp(options.segment_bytes, kSegmentBytesMin, options.bytes_max / 4);
  std::unique_ptr<Spool> spool(new Spool(std::move(options)));
  GH_TRY(spool->load().context("opening spool"));
  return spool;
}

Status Spool::load() {
  const std::string& folder = options_.folder;
  GH_TRY(make_directories(folder));
  GH_ASSIGN(lock_, lock_file(folder + "/lock"));
  std::vector<uint64_t> numbers;
  std::error_code error;
  for (auto entry = std::filesystem::directory_iterator(folder, error); !error && entry != end(entry);
       entry.increment(error)) {
    if (const auto number = segment_number(entry->path().filename().native())) numbers.push_back(*number);
  }
  if (error) return Error(folder + ": " + error.message());
  std::ranges::sort(numbers);

  SpoolPosition done{.segment = 1};
  if (const auto content = read_file(folder + "/acknowledged", kAcknowledgedFileBytesMax))
    done = parse_acknowledged(*content).value_or(done);
  for (const uint64_t number : numbers) {
    if (number < done.segment) {
      ::unlink(path(number).c_str());
    } else {
      GH_TRY(load_segment(number, number == numbers.back()));
    }
  }
  next_number_ = std::max(done.segment, numbers.empty() ? 0 : numbers.back()) + 1;
  first_unacknowledged_ = cursor_ = saved_ = done;
  open_report_.segments = segments_.size();
  open_report_.bytes = bytes_on_disk_;
  std::vector<uint64_t> unneeded;
  settle_locked(unneeded);
  delete_segments(unneeded);
  return {};
}

// Only the newest segment can have a torn end: the others were synced to their last byte before it was begun.
Status Spool::load_segment(uint64_t number, bool is_newest) {
  GH_ASSIGN(const UniqueFd fd, open_file(path(number), is_newest ? O_RDWR : O_RDONLY));
  const off_t size = ::lseek(fd.get(), 0, SEEK_END);
  if (size < 0) return Error::system(path(number));
  auto bytes = static_cast<uint64_t>(size);
  if (is_newest) {
    std::string content(bytes, '\0');
    GH_ASSIGN(const size_t got, read_at(fd.get(), content.data(), bytes, 0));
    const auto in = as_bytes(content).first(got);
    uint64_t good = 0;
    if (decode_segment_header(in) == number) {
      good = kSegmentHeaderBytes;
      SealedBatch batch;
      size_t record_bytes = 0;
      while (decode_record(in.subspan(good), batch, record_bytes) == RecordFault::kNone) good += record_bytes;
    }
    if (good < bytes) {
      open_report_.torn_bytes = bytes - good;
      if (::ftruncate(fd.get(), static_cast<off_t>(good)) != 0) return Error::system(path(number));
      bytes = good;
    }
    if (good <= kSegmentHeaderBytes) {
      ::unlink(path(number).c_str());
      return {};
    }
  }
  segments_.push_back({.number = number, .bytes = bytes});
  bytes_on_disk_ += bytes;
  return {};
}

Spool::~Spool() {
  sync();
  save_acknowledged(true);
}

// ---- the appending thread

AppendOutcome Spool::append(const SealedBatch& batch, const Dropped* carried) {
  const AppendOutcome outcome = store(batch);
  is_refusing_ = outcome != AppendOutcome::kStored;
  if (is_refusing_) {
    note_dropped(batch, carried, outcome);
    return outcome;
  }
  const std::lock_guard lock(mutex_);
  ++counters_.batches_appended;
  counters_.bytes_appended += record_.size();
  is_changed_ = true;
  changed_.notify_all();
  return outcome;
}

AppendOutcome Spool::store(const SealedBatch& batch) {
  record_.clear();
  if (batch.payload_zstd.size() > kSpoolPayloadBytesMax || batch.boot_id.size() > kBootIdBytesMax)
    return AppendOutcome::kTooLarge;
  append_record(record_, batch);
  if (!make_room(record_.size())) return AppendOutcome::kFull;
  Status written = ensure_open_segment(record_.size());
  if (written) written = write_record();
  if (written) return AppendOutcome::kStored;
  // Repeats are told by the caller's counters; the first of a row is told here, with its reason.
  if (!is_refusing_) log::error(kComponent, "cannot write", {{"reason", written.error().message()}});
  return AppendOutcome::kDiskError;
}

void Spool::sync_if_due() {
  if (!is_unsynced_) return;
  const uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
  if (now_ns - looked_ns_ < static_cast<uint64_t>(std::chrono::nanoseconds(kSyncEvery).count())) return;
  looked_ns_ = now_ns;
  bool is_waited_for = false;
  {
    const std::lock_guard lock(mutex_);
    const SpoolPosition end{.segment = segments_.back().number, .offset = segments_.back().bytes};
    is_waited_for = first_unacknowledged_ < looked_at_;
    if (!is_waited_for && first_unacknowledged_ >= end) is_unsynced_ = false;
    looked_at_ = end;
  }
  if (is_waited_for) sync();
}

// A disk that fails here has taken what it now may not have; the records can still be read and sent while we run.
void Spool::sync() {
  if (!is_unsynced_ || !writer_.valid()) return;
  is_unsynced_ = false;
  const Status synced = sync_data(writer_.get());
  const std::lock_guard lock(mutex_);
  ++counters_.syncs;
  if (!synced) log::error(kComponent, "cannot sync", {{"reason", synced.error().message()}});
}

// Room for one more record. The open segment is given up if that helps and nobody needs it.
bool Spool::make_room(size_t record_bytes) {
  const auto fits = [&] {
    const uint64_t header = writer_.valid() ? 0 : kSegmentHeaderBytes;
    return bytes_on_disk_ + header + record_bytes <= options_.bytes_max;
  };
  std::vector<uint64_t> unneeded;
  {
    const std::lock_guard lock(mutex_);
    if (fits()) return true;
  }
  if (writer_.valid()) {
    sync();
    const std::lock_guard lock(mutex_);
    close_open_segment();
    settle_locked(unneeded);
  }
  delete_segments(unneeded);
  const std::lock_guard lock(mutex_);
  return fits();
}

// Caller holds mutex_.
void Spool::close_open_segment() {
  writer_.reset();
  if (!segments_.empty()) segments_.back().is_open = false;
}

Status Spool::ensure_open_segment(size_t record_bytes) {
  if (writer_.valid()) {
    std::unique_lock lock(mutex_);
    const uint64_t bytes = segments_.back().bytes;
    if (bytes + record_bytes <= options_.segment_bytes || bytes == kSegmentHeaderBytes) return {};
    lock.unlock();
    sync();
    lock.lock();
    close_open_segment();
  }
  const uint64_t number = next_number_;
  std::string header;
  append_segment_header(header, number);
  auto fd = open_file(path(number), O_WRONLY | O_CREAT | O_TRUNC);
  Status made = fd ? write_all(fd->get(), as_bytes(header)).context(path(number)) : Status(fd.error());
  if (made) made = sync_directory(options_.folder);
  if (!made) {
    ::unlink(path(number).c_str());
    return made;
  }
  ++next_number_;
  writer_ = std::move(*fd);
  std::vector<uint64_t> unneeded;
  {
    const std::lock_guard lock(mutex_);
    segments_.push_back({.number = number, .bytes = kSegmentHeaderBytes, .is_open = true});
    bytes_on_disk_ += kSegmentHeaderBytes;
    settle_locked(unneeded);
  }
  delete_segments(unneeded);
  return {};
}

// Appends record_ to the open segment. On an error the segment ends before it, in the file too if the disk lets us;
// if not, the reader stops there by the size it is told, and a later open() by the checksums.
Status Spool::write_record() {
  uint64_t end = 0;
  {
    const std::lock_guard lock(mutex_);
    end = segments_.back().bytes;
  }
  Status written = write_all(writer_.get(), as_bytes(record_));
  if (!written) sync();
  const std::lock_guard lock(mutex_);
  if (written) {
    is_unsynced_ = true;
    segments_.back().bytes += record_.size();
    bytes_on_disk_ += record_.size();
    return written;
  }
  if (::ftruncate(writer_.get(), static_cast<off_t>(end)) != 0)
    log::error(kComponent, "cannot cut an unfinished record", {{"path", path(segments_.back().number)}});
  close_open_segment();
  return std::move(written).context(path(segments_.back().number));
}

void Spool::note_dropped(const SealedBatch& batch, const Dropped* carried, AppendOutcome why) {
  refused_bytes_ = record_.size();
  Dropped lost{.first_sequence = batch.first_sequence,
               .last_sequence = batch.last_sequence(),
               .events = batch.event_count,
               .batches = 1,
               .why = why};
  if (carried != nullptr) lost.add(*carried);
  if (dropped_) lost.add(*dropped_);
  dropped_ = lost;
  const std::lock_guard lock(mutex_);
  counters_.events_dropped += batch.event_count;
}

void Dropped::add(const Dropped& earlier) {
  first_sequence = std::min(first_sequence, earlier.first_sequence);
  last_sequence = std::max(last_sequence, earlier.last_sequence);
  events += earlier.events;
  batches += earlier.batches;
}

std::optional<Dropped> Spool::take_dropped() {
  if (!dropped_) return std::nullopt;
  if (dropped_->why == AppendOutcome::kFull && !make_room(refused_bytes_)) return std::nullopt;
  if (dropped_->why == AppendOutcome::kDiskError && is_refusing_) return std::nullopt;
  return std::exchange(dropped_, std::nullopt);
}

// ---- the reading thread

// Where the cursor stands and up to where there are records; moves it over ends of segments.
std::optional<Spool::Readable> Spool::readable_locked() {
  for (const Segment& segment : segments_) {
    if (segment.number < cursor_.segment) continue;
    if (segment.number > cursor_.segment) cursor_ = {.segment = segment.number};
    if (cursor_.offset < segment.bytes) return Readable{.at = cursor_, .end_offset = segment.bytes};
    if (segment.is_open) return std::nullopt;
    cursor_ = {.segment = segment.number + 1};
  }
  return std::nullopt;
}

Status Spool::open_reader(uint64_t number) {
  if (reader_.valid() && reader_number_ == number) return {};
  GH_ASSIGN(reader_, open_file(path(number), O_RDONLY));
  reader_number_ = number;
  std::array<char, kSegmentHeaderBytes> header{};
  GH_ASSIGN(const size_t got, read_at(reader_.get(), header.data(), header.size(), 0));
  if (decode_segment_header(std::as_bytes(std::span{header}.first(got))) == number) return {};
  reader_.reset();
  return Error(path(number) + ": not a spool segment");
}

// kMagic also stands for "cannot be read at all". record_bytes is 0 unless the next record can be found.
RecordFault Spool::read_record(const Readable& from, SealedBatch& batch, size_t& record_bytes) {
  record_bytes = 0;
  if (const Status opened = open_reader(from.at.segment); !opened) {
    log::error(kComponent, "cannot read", {{"reason", opened.error().message()}});
    return RecordFault::kMagic;
  }
  const uint64_t left = from.end_offset - from.at.offset;
  std::array<char, kRecordHeaderBytesMax> head{};
  const auto got = read_at(reader_.get(), head.data(), std::min<uint64_t>(head.size(), left), from.at.offset);
  if (!got) return RecordFault::kMagic;
  RecordHeader header;
  const RecordFault fault = decode_record_header(std::as_bytes(std::span{head}.first(*got)), header);
  if (fault != RecordFault::kNone) return fault;
  if (header.record_bytes() > left) return RecordFault::kShort;
  payload_.resize(header.payload_bytes);
  const auto body = read_at(reader_.get(), payload_.data(), payload_.size(), from.at.offset + header.header_bytes);
  if (!body) return RecordFault::kMagic;
  record_bytes = header.record_bytes();
  return decode_payload(header, as_bytes(payload_).first(*body), batch);
}

// False if it was met before rewind() already.
bool Spool::note_damage_locked(const SpoolPosition& from, uint64_t end_offset) {
  const SpoolPosition end{.segment = from.segment, .offset = end_offset};
  if (end <= damage_counted_) return false;
  damage_counted_ = end;
  counters_.bytes_damaged += end_offset - from.offset;
  return true;
}

std::optional<SealedBatch> Spool::next() {
  std::unique_lock lock(mutex_);
  while (const auto from = readable_locked()) {
    lock.unlock();
    SealedBatch batch;
    size_t record_bytes = 0;
    const RecordFault fault = read_record(*from, batch, record_bytes);
    lock.lock();
    // Beyond a damaged header the next record cannot be told from bytes that only look like one.
    const uint64_t end_offset = record_bytes > 0 ? from->at.offset + record_bytes : from->end_offset;
    cursor_.offset = end_offset;
    if (fault != RecordFault::kNone) {
      if (note_damage_locked(from->at, end_offset)) {
        log::error(kComponent, "damaged, passed over",
                   {{"path", path(from->at.segment)},
                    {"offset", from->at.offset},
                    {"bytes", end_offset - from->at.offset},
                    {"fault", to_string(fault)}});
      }
      passed_.push_back({.end = cursor_, .is_done = true});
      continue;
    }
    const auto known = acknowledged_.find(batch.boot_id);
    const bool is_done = known != acknowledged_.end() && batch.last_sequence() <= known->second;
    passed_.push_back(
        {.boot_id = batch.boot_id, .last_sequence = batch.last_sequence(), .end = cursor_, .is_done = is_done});
    if (!is_done) return batch;
    ++counters_.batches_acknowledged;
  }
  return std::nullopt;
}

void Spool::rewind() {
  const std::lock_guard lock(mutex_);
  cursor_ = first_unacknowledged_;
  passed_.clear();
}

void Spool::acknowledge(std::string_view boot_id, uint64_t sequence) {
  std::vector<uint64_t> unneeded;
  {
    const std::lock_guard lock(mutex_);
    auto known = acknowledged_.find(boot_id);
    if (known == acknowledged_.end()) {
      if (acknowledged_.size() >= kBootsMax) acknowledged_.clear();
      known = acknowledged_.emplace(boot_id, 0).first;
    }
    known->second = std::max(known->second, sequence);
    for (Passed& passed : passed_) {
      if (passed.is_done || passed.boot_id != boot_id || passed.last_sequence > sequence) continue;
      passed.is_done = true;
      ++counters_.batches_acknowledged;
    }
    settle_locked(unneeded);
  }
  delete_segments(unneeded);
  save_acknowledged(false);
}

bool Spool::discard_first() {
  rewind();
  const auto batch = next();
  if (!batch) return false;
  std::vector<uint64_t> unneeded;
  {
    const std::lock_guard lock(mutex_);
    passed_.back().is_done = true;
    ++counters_.batches_discarded;
    settle_locked(unneeded);
  }
  delete_segments(unneeded);
  save_acknowledged(false);
  return true;
}

// Moves the first unacknowledged position over what is done; takes out closed segments that lie before it.
void Spool::settle_locked(std::vector<uint64_t>& unneeded) {
  while (!passed_.empty() && passed_.front().is_done) {
    first_unacknowledged_ = passed_.front().end;
    passed_.pop_front();
  }
  while (!segments_.empty() && !segments_.front().is_open) {
    const Segment& oldest = segments_.front();
    const bool is_done =
        oldest.number < first_unacknowledged_.segment ||
        (oldest.number == first_unacknowledged_.segment && oldest.bytes <= first_unacknowledged_.offset);
    if (!is_done) break;
    unneeded.push_back(oldest.number);
    bytes_on_disk_ -= oldest.bytes;
    segments_.pop_front();
  }
}

void Spool::delete_segments(const std::vector<uint64_t>& numbers) {
  for (const uint64_t number : numbers) {
    if (::unlink(path(number).c_str()) != 0 && errno != ENOENT)
      log::warn(kComponent, "cannot delete a delivered segment", {{"path", path(number)}});
  }
}

// Not synced: see kSaveIntervalNs.
void Spool::save_acknowledged(bool is_last) {
  const std::lock_guard save_lock(save_mutex_);
  SpoolPosition position;
  {
    const std::lock_guard lock(mutex_);
    position = first_unacknowledged_;
  }
  const uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
  if (position == saved_ || (!is_last && now_ns - saved_ns_ < kSaveIntervalNs)) return;
  saved_ns_ = now_ns;
  const std::string target = options_.folder + "/acknowledged";
  const std::string temporary = target + ".tmp";
  auto fd = open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC);
  if (!fd || !write_all(fd->get(), as_bytes(format_acknowledged(position)))) return;
  if (::rename(temporary.c_str(), target.c_str()) == 0) saved_ = position;
}

void Spool::wait(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, timeout, [this] { return is_changed_; });
  is_changed_ = false;
}

void Spool::wake() {
  const std::lock_guard lock(mutex_);
  is_changed_ = true;
  changed_.notify_all();
}

Spool::Counters Spool::counters() const {
  const std::lock_guard lock(mutex_);
  Counters counters = counters_;
  counters.bytes_on_disk = bytes_on_disk_;
  for (const Segment& segment : segments_) {
    const uint64_t from =
        segment.number == first_unacknowledged_.segment ? first_unacknowledged_.offset : kSegmentHeaderBytes;
    if (segment.number >= first_unacknowledged_.segment && segment.bytes > from)
      counters.bytes_pending += segment.bytes - from;
  }
  return counters;
}

}  // namespace gatehouse::spool
