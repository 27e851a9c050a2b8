// SPDX-License-Identifier: Apache-2.0
// Opening a log: what sealed segments say of themselves in their footers, and what a crash left of the last one.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "collector/ledger/segment_files.h"
#include "collector/ledger/segment_log_state.h"
#include "common/log.h"

namespace gatehouse::ledger {
namespace {

Result<std::string> read_at(int fd, const std::string& path, uint64_t offset, uint64_t bytes) {
  std::string content(bytes, '\0');
  size_t got = 0;
  while (got < bytes) {
    const ssize_t n = ::pread(fd, content.data() + got, bytes - got, static_cast<off_t>(offset + got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Error::system(path);
    if (n == 0) break;
    got += static_cast<size_t>(n);
  }
  content.resize(got);
  return content;
}

Result<uint64_t> size_of(const UniqueFd& file, const std::string& path) {
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return Error::system(path);
  return static_cast<uint64_t>(status.st_size);
}

// Header and footer of a sealed segment without reading what is between them; false if they do not say so.
Result<bool> read_ends(const std::string& path, SegmentHeader& header, SegmentFooter& footer) {
  GH_ASSIGN(const UniqueFd file, open_file(path, O_RDONLY));
  GH_ASSIGN(const uint64_t bytes, size_of(file, path));
  GH_ASSIGN(const std::string first, read_at(file.get(), path, 0, kSegmentHeaderBytes));
  if (decode_segment_header(as_bytes(first), header) != FormatFault::kNone) return false;
  if (bytes < kSegmentHeaderBytes + kTrailerBytes) return false;
  GH_ASSIGN(const std::string last, read_at(file.get(), path, bytes - kTrailerBytes, kTrailerBytes));
  const uint64_t footer_bytes = decode_trailer(as_bytes(last));
  if (footer_bytes == 0 || footer_bytes > bytes - kSegmentHeaderBytes) return false;
  GH_ASSIGN(const std::string tail, read_at(file.get(), path, bytes - footer_bytes, footer_bytes));
  return decode_footer(as_bytes(tail), footer) == FormatFault::kNone && footer.records_bytes == bytes - footer_bytes;
}

}  // namespace

void SegmentLog::State::remember(const SourceKey& key, uint64_t first_sequence, uint32_t event_count,
                                 uint64_t received_ns, const Digest& payload_sha256) {
  KnownSource& known = sources_[key];
  known.info.agent_id = key.first;
  known.info.boot_id = key.second;
  // Only a damaged or edited log holds a sequence twice; the first one stands.
  if (known.source.classify(first_sequence, event_count, payload_sha256) != Source::Admission::kNew) return;
  known.source.admit(first_sequence, event_count, payload_sha256);
  if (known.info.events == 0) known.info.first_received_ns = received_ns;
  known.info.last_received_ns = std::max(known.info.last_received_ns, received_ns);
  known.info.events += event_count;
  known.info.acknowledged_sequence = known.source.next_sequence() - 1;
  known.info.missing = known.info.acknowledged_sequence - known.info.events;
}

void SegmentLog::State::remember(const SegmentFooter& footer) {
  for (const FooterEntry& entry : footer.entries) {
    const FooterSource& source = footer.sources[entry.source];
    remember({source.agent_id, source.boot_id}, entry.first_sequence, entry.event_count, entry.received_ns,
             entry.payload_sha256);
  }
}

void SegmentLog::State::remember(const SegmentFooter& footer, SegmentInfo& segment) {
  segment.is_sealed = true;
  segment.records = static_cast<uint32_t>(footer.entries.size());
  segment.events = footer.events;
  segment.durable_bytes = footer.records_bytes;
  segment.first_received_ns = footer.first_received_ns;
  segment.last_received_ns = footer.last_received_ns;
  segment.chain_head = footer.chain_head;
  remember(footer);
}

void SegmentLog::State::remember(const SegmentScan& scan, SegmentInfo& segment) {
  segment.records = static_cast<uint32_t>(scan.records.size());
  segment.events = scan.events;
  segment.durable_bytes = scan.good_bytes;
  segment.chain_head = scan.chain_head;
  for (const ScannedRecord& record : scan.records) {
    const RecordHeader& header = record.header;
    if (segment.first_received_ns == 0) segment.first_received_ns = header.received_ns;
    segment.last_received_ns = header.received_ns;
    remember({std::string(header.agent_id), std::string(header.boot_id)}, header.first_sequence, header.event_count,
             header.received_ns, header.payload_sha256);
  }
}

Status SegmentLog::State::recover_sealed(SegmentInfo& segment, bool is_last,
                                         const std::optional<Digest>& removed_head) {
  SegmentHeader header;
  SegmentFooter footer;
  GH_ASSIGN(const bool is_sealed, read_ends(segment.path, header, footer));
  if (is_sealed && header.number == segment.number) {
    const std::optional<Digest> before = segments_.empty() ? removed_head : segments_.back().chain_head;
    if (before && header.previous_head != *before) report_.damaged_segments.push_back(segment.number);
    remember(footer, segment);
    return {};
  }
  if (is_last) return recover_open(segment);
  // Something happened to it since: use what is whole, leave the file as it is for `gatehouse verify` and for people.
  report_.damaged_segments.push_back(segment.number);
  GH_ASSIGN(const std::string content, read_file(segment.path, SIZE_MAX - 1));
  const SegmentScan scan = scan_segment(as_bytes(content));
  remember(scan, segment);
  segment.is_sealed = true;
  return {};
}

// The bytes go to a file beside the log before they are cut: they may be records that were acknowledged.
Status SegmentLog::State::set_tail_aside(const SegmentInfo& segment, std::span<const std::byte> tail) {
  report_.damaged_bytes = tail.size();
  report_.damaged_path = segment.path + ".damaged-at-" + std::to_string(segment.durable_bytes);
  return write_file_atomically(report_.damaged_path, {reinterpret_cast<const char*>(tail.data()), tail.size()});
}

// The segment that was being written: keeps the records that are whole and cuts what follows them. It stays without
// durable bytes if it does not have its header: the writer died, or the disk was full, while it was made.
Status SegmentLog::State::recover_open(SegmentInfo& segment) {
  GH_ASSIGN(const std::string content, read_file(segment.path, SIZE_MAX - 1));
  const SegmentScan scan = scan_segment(as_bytes(content));
  const bool has_header = scan.good_bytes > 0 && scan.header.number == segment.number;
  const auto tail = as_bytes(content).subspan(has_header ? scan.good_bytes : 0);
  if (has_header) remember(scan, segment);
  if (!tail.empty()) {
    report_.torn_bytes = tail.size();
    if (has_record_within(tail)) GH_TRY(set_tail_aside(segment, tail));
  }
  if (!has_header) return {};
  GH_ASSIGN(file_, open_file(segment.path, O_RDWR));
  if (!tail.empty()) {
    if (::ftruncate(file_.get(), static_cast<off_t>(segment.durable_bytes)) != 0) return Error::system(segment.path);
  }
  // A killed process leaves records that were written but not synced, and never acknowledged: now they count.
  GH_TRY(sync_data(file_.get()).context(segment.path));
  for (const ScannedRecord& record : scan.records) {
    const RecordHeader& header = record.header;
    SourceKey key{std::string(header.agent_id), std::string(header.boot_id)};
    const auto [source, is_new] = footer_sources_.try_emplace(key, static_cast<uint32_t>(footer_.sources.size()));
    if (is_new) footer_.sources.push_back({key.first, key.second});
    footer_.entries.push_back({record.offset, header.first_sequence, header.received_ns, header.event_count,
                               source->second, header.payload_sha256});
  }
  return {};
}

// What retention left of segments before `before`: the chain head of the last one. What cannot be read is reported, and
// its batches are not known any more.
Result<std::optional<Digest>> SegmentLog::State::recover_heads(uint64_t before) {
  std::optional<Digest> head;
  GH_ASSIGN(const std::vector<uint64_t> numbers, list_segment_files(options_.folder, kHeadsSuffix));
  for (const uint64_t number : numbers) {
    if (number >= before) break;  // its segment is still there: a crash came between the two
    const std::string path = segment_file(options_.folder, number, kHeadsSuffix);
    GH_ASSIGN(const std::string content, read_file(path, SIZE_MAX - 1));
    SegmentHeader header;
    SegmentFooter footer;
    head.reset();
    if (!decode_heads(as_bytes(content), header, footer)) {
      log::error("ledger", "what was kept of a removed segment is damaged; run gatehouse verify", {{"file", path}});
      continue;
    }
    remember(footer);
    if (number + 1 == before) head = footer.chain_head;
  }
  return head;
}

Status SegmentLog::State::recover() {
  GH_TRY(make_directories(options_.folder));
  GH_ASSIGN(lock_, lock_file(options_.folder + "/lock"));
  GH_ASSIGN(const std::vector<uint64_t> numbers, list_segment_files(options_.folder, kSegmentSuffix));
  GH_ASSIGN(const auto removed_head, recover_heads(numbers.empty() ? UINT64_MAX : numbers.front()));
  for (const uint64_t number : numbers) {
    SegmentInfo segment;
    segment.number = number;
    segment.path = path_of(number);
    if (!segments_.empty() && number != segments_.back().number + 1)
      return Error(path_of(segments_.back().number + 1) + ": missing, though " + segment.path +
                   " is there; restore it, or move the later ones away");
    GH_TRY(recover_sealed(segment, number == numbers.back(), removed_head));
    if (segment.is_sealed || segment.durable_bytes > 0) segments_.push_back(std::move(segment));
  }
  if (segments_.empty()) {
    SegmentInfo segment;
    GH_TRY(create_segment(numbers.empty() ? kFirstSegment : numbers.back(), removed_head.value_or(Digest{}), segment));
    segments_.push_back(std::move(segment));
  } else if (segments_.back().is_sealed) {
    SegmentInfo segment;
    const Status made = create_segment(segments_.back().number + 1, segments_.back().chain_head, segment);
    if (made) segments_.push_back(std::move(segment));
    // What is there can be read and verified; whoever leads the next append tries again.
    if (!made)
      log::error("ledger", "no segment to write to; tried again with each batch", {{"error", made.error().message()}});
  }
  reserve_.refill();
  report_.segments = segments_.size();
  for (const SegmentInfo& segment : segments_) {
    report_.records += segment.records;
    report_.events += segment.events;
  }
  if (report_.torn_bytes > 0)
    log::warn("ledger", "unfinished write cut from the end; it was not acknowledged",
              {{"segment", segments_.back().number}, {"bytes", report_.torn_bytes}});
  if (report_.damaged_bytes > 0)
    log::error("ledger", "damaged records set aside; run gatehouse verify",
               {{"file", report_.damaged_path}, {"bytes", report_.damaged_bytes}});
  for (const uint64_t number : report_.damaged_segments)
    log::error("ledger", "sealed segment does not verify; run gatehouse verify", {{"file", path_of(number)}});
  return {};
}

Result<VerifyReport> SegmentLog::verify() const {
  VerifyReport report;
  for (const SegmentInfo& segment : segments()) {
    const std::string name = "segment " + std::to_string(segment.number);
    auto read = read_file(segment.path, SIZE_MAX - 1);
    if (!read && segment.number < first_segment()) continue;  // removed since
    if (!read) return std::move(read).error();
    std::string content = *std::move(read);
    // Beyond what was durable when we started, a writer may be at work.
    if (!segment.is_sealed) content.resize(std::min<size_t>(content.size(), segment.durable_bytes));
    const SegmentScan scan = scan_segment(as_bytes(content));
    if (scan.fault == FormatFault::kNone && report.segments > 0 && scan.header.previous_head != report.chain_head)
      report.first_bad = name + ": does not follow the segment before";
    report.segments += 1;
    report.records += scan.records.size();
    report.events += scan.events;
    report.chain_head = scan.chain_head;
    if (scan.fault != FormatFault::kNone)
      report.first_bad = name + ", record " + std::to_string(scan.records.size()) + " at byte " +
                         std::to_string(scan.good_bytes) + ": " + std::string(to_string(scan.fault));
    else if (report.first_bad.empty() &&
             (scan.chain_head != segment.chain_head || scan.records.size() != segment.records))
      report.first_bad = name + ": holds " + std::to_string(scan.records.size()) + " records, not the " +
                         std::to_string(segment.records) + " written to it";
    if (!report.first_bad.empty()) return report;
  }
  return report;
}

}  // namespace gatehouse::ledger
