// SPDX-License-Identifier: Apache-2.0
#include "collector/ledger/log_check.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "collector/ledger/segment_files.h"
#include "common/file.h"

namespace gatehouse::ledger {
namespace {

// More of them tell nothing new.
constexpr size_t kProblemsMax = 100;

struct BatchSeen {
  uint64_t first_sequence = 0;
  uint32_t event_count = 0;
  Digest payload_sha256{};
  std::optional<Digest> previous_sha256{};
};

class Checker {
 public:
  explicit Checker(std::string folder) : folder_(std::move(folder)) {}

  Result<FolderCheck> run() {
    GH_ASSIGN(const auto sealed, list_segment_files(folder_, kSegmentSuffix));
    GH_ASSIGN(const auto removed, list_segment_files(folder_, kHeadsSuffix));
    std::set<uint64_t> numbers(sealed.begin(), sealed.end());
    numbers.insert(removed.begin(), removed.end());
    if (numbers.empty())
      return Error(folder_ + ": holds no segments; a collector's are in the folder `ledger` of its state_dir");
    uint64_t expected = 1;
    for (const uint64_t number : numbers) {
      if (number != expected)
        problem(number == expected + 1
                    ? name_of(expected) + " is missing"
                    : "segments " + std::to_string(expected) + " to " + std::to_string(number - 1) + " are missing");
      // Retention writes the heads first: what has both is still whole.
      GH_TRY(check(number, std::ranges::binary_search(sealed, number), number == *numbers.rbegin()));
      expected = number + 1;
    }
    check_sources();
    return std::move(result_);
  }

 private:
  static std::string name_of(uint64_t number) { return "segment " + std::to_string(number); }
  void problem(std::string text) {
    if (result_.problems.size() < kProblemsMax) result_.problems.push_back(std::move(text));
  }

  Status check(uint64_t number, bool is_there, bool is_last) {
    if (is_there) {
      const std::string path = segment_file(folder_, number, kSegmentSuffix);
      auto content = read_file(path, SIZE_MAX - 1);
      if (content) {
        check_segment(number, as_bytes(*content), is_last);
        return {};
      }
      // Removed since the folder was listed?
      if (std::filesystem::exists(path)) return std::move(content).error();
    }
    GH_ASSIGN(const std::string heads, read_file(segment_file(folder_, number, kHeadsSuffix), SIZE_MAX - 1));
    check_heads(number, as_bytes(heads));
    return {};
  }

  // Whether it follows what came before; the first that is there after missing ones begins anew.
  void check_header(uint64_t number, const SegmentHeader& header) {
    if (header.number != number)
      problem(name_of(number) + ": says of itself that it is segment " + std::to_string(header.number));
    const bool is_next = number == last_number_ + 1;
    if (is_next && header.previous_head != result_.chain_head)
      problem(name_of(number) + ": does not follow the segment before");
    last_number_ = number;
  }

  void check_segment(uint64_t number, std::span<const std::byte> content, bool is_last) {
    const SegmentScan scan = scan_segment(content);
    if (scan.good_bytes == 0) {
      result_.segments += 1;
      last_number_ = 0;
      if (is_last && content.size() < kSegmentHeaderBytes) {
        result_.is_open = true;
        result_.tail_bytes = content.size();
        return;
      }
      return problem(name_of(number) + ": its header is wrong: " + std::string(to_string(scan.fault)));
    }
    check_header(number, scan.header);
    result_.segments += 1;
    result_.records += scan.records.size();
    result_.events += scan.events;
    result_.bytes += content.size();
    result_.chain_head = scan.chain_head;
    for (const ScannedRecord& record : scan.records) {
      const RecordHeader& header = record.header;
      BatchSeen batch{header.first_sequence, header.event_count, header.payload_sha256};
      if (header.has_previous) batch.previous_sha256 = header.previous_sha256;
      sources_[{std::string(header.agent_id), std::string(header.boot_id)}].push_back(batch);
    }
    const auto tail = content.subspan(scan.good_bytes);
    if (is_last && !scan.is_sealed) {
      result_.is_open = true;
      result_.tail_bytes = tail.size();
      if (!has_record_within(tail)) return;
    }
    if (scan.fault != FormatFault::kNone)
      return problem(name_of(number) + ", record " + std::to_string(scan.records.size()) + " at byte " +
                     std::to_string(scan.good_bytes) + ": " + std::string(to_string(scan.fault)));
    if (!scan.is_sealed) problem(name_of(number) + ": ends without a footer, and is not the last");
  }

  void check_heads(uint64_t number, std::span<const std::byte> content) {
    SegmentHeader header;
    SegmentFooter footer;
    if (!decode_heads(content, header, footer)) {
      last_number_ = 0;
      return problem(name_of(number) + ": was removed, and what was kept of it is wrong");
    }
    check_header(number, header);
    if (result_.segments > 0) problem(name_of(number) + ": was removed, though an older one is there");
    result_.chain_head = footer.chain_head;
    result_.removed_segments += 1;
    result_.removed_records += footer.entries.size();
    result_.removed_events += footer.events;
    if (result_.removed_first_ns == 0) result_.removed_first_ns = footer.first_received_ns;
    result_.removed_last_ns = footer.last_received_ns;
    for (const FooterEntry& entry : footer.entries) {
      const FooterSource& source = footer.sources[entry.source];
      sources_[{source.agent_id, source.boot_id}].push_back(
          {entry.first_sequence, entry.event_count, entry.payload_sha256});
    }
  }

  void check_sources() {
    for (auto& [key, batches] : sources_) {
      std::ranges::sort(batches, {}, &BatchSeen::first_sequence);
      check_source({.agent_id = key.first, .boot_id = key.second, .first_sequence = batches.front().first_sequence},
                   batches);
    }
  }

  void check_source(SourceCheck source, const std::vector<BatchSeen>& batches) {
    const std::string who = "agent " + source.agent_id + ", boot " + source.boot_id + ": ";
    uint64_t next = 1;
    const BatchSeen* before = nullptr;
    for (const BatchSeen& batch : batches) {
      const uint64_t first = batch.first_sequence;
      if (first > next) {
        source.missing += first - next;
        problem(who + "sequences " + std::to_string(next) + " to " + std::to_string(first - 1) + " never came");
      } else if (first < next) {
        problem(who + "sequence " + std::to_string(first) + " is there twice");
      } else if (before != nullptr && batch.previous_sha256 && *batch.previous_sha256 != before->payload_sha256) {
        source.unchained += 1;
        problem(who + "the batch at sequence " + std::to_string(first) + " was sent after another one than is here");
      }
      source.batches += 1;
      source.events += batch.event_count;
      next = std::max(next, first + batch.event_count);
      before = &batch;
    }
    source.last_sequence = next - 1;
    result_.sources.push_back(std::move(source));
  }

  const std::string folder_;
  FolderCheck result_;
  uint64_t last_number_ = 0;  // whose head chain_head is
  std::map<std::pair<std::string, std::string>, std::vector<BatchSeen>> sources_;
};

}  // namespace

Result<FolderCheck> check_folder(const std::string& folder) {
  return Checker(folder).run();
}

}  // namespace gatehouse::ledger
