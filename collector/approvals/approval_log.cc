// SPDX-License-Identifier: Apache-2.0
#include "collector/approvals/approval_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "common/clock.h"
#include "common/digest.h"
#include "common/pki.h"

namespace gatehouse::approvals {
namespace {

constexpr size_t kLogBytesMax = 1U << 30;
constexpr size_t kIdBytes = 16;
constexpr size_t kSumBytes = 8;

std::string path_of(const std::string& folder) {
  return folder + "/log";
}

v1::ApprovalRecord first_record(const std::string& id, uint64_t now_ns) {
  v1::ApprovalRecord record;
  record.set_time_ns(now_ns);
  record.set_log_id(id);
  return record;
}

// Readable entries stand somewhere behind a damaged one: it was not cut short by a crash.
bool has_entry_behind(std::string_view bytes) {
  for (size_t at = 1; at + kEntryHeadBytes < bytes.size(); ++at)
    if (decode_entry(bytes.substr(at)).kind == DecodedEntry::Kind::kWhole) return true;
  return false;
}

}  // namespace

std::string encode_entry(const v1::ApprovalRecord& record) {
  const std::string payload = record.SerializeAsString();
  std::string out;
  const auto length = static_cast<uint32_t>(payload.size());
  for (size_t i = 0; i < 4; ++i) out += static_cast<char>(length >> (8 * i));
  const Sha256 sum = sha256(as_bytes(payload));
  out.append(reinterpret_cast<const char*>(sum.data()), kSumBytes);
  return out + payload;
}

DecodedEntry decode_entry(std::string_view bytes) {
  DecodedEntry entry;
  if (bytes.size() < kEntryHeadBytes) return {.kind = DecodedEntry::Kind::kCut};
  uint32_t length = 0;
  for (size_t i = 0; i < 4; ++i) length |= static_cast<uint32_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  if (length > kEntryBytesMax) return entry;
  if (bytes.size() - kEntryHeadBytes < length) return {.kind = DecodedEntry::Kind::kCut};
  const std::string_view payload = bytes.substr(kEntryHeadBytes, length);
  const Sha256 sum = sha256(as_bytes(payload));
  if (std::memcmp(sum.data(), bytes.data() + 4, kSumBytes) != 0) return entry;
  if (!entry.record.ParseFromArray(payload.data(), static_cast<int>(payload.size()))) return entry;
  entry.kind = DecodedEntry::Kind::kWhole;
  entry.bytes = kEntryHeadBytes + length;
  return entry;
}

Result<ApprovalLog::Opened> ApprovalLog::open(const std::string& folder) {
  GH_TRY(make_directories(folder));
  const std::string path = path_of(folder);
  if (::access(path.c_str(), F_OK) != 0) return replace(folder, {}, unix_ns());
  GH_ASSIGN(const std::string content, read_file(path, kLogBytesMax));
  Opened opened;
  std::string id;
  uint64_t next = 1;
  size_t at = 0;
  while (at < content.size()) {
    DecodedEntry entry = decode_entry(std::string_view(content).substr(at));
    // The sequence is part of what is checked: an entry at another's place is none.
    if (entry.kind != DecodedEntry::Kind::kWhole || entry.record.sequence() != next) break;
    if (next == 1) {
      id = entry.record.log_id();
      if (id.empty()) break;
    } else {
      opened.records.push_back(std::move(entry.record));
    }
    ++next;
    at += entry.bytes;
  }
  const std::string_view rest = std::string_view(content).substr(at);
  if (!rest.empty() || id.empty()) {
    const bool is_torn = !id.empty() && !has_entry_behind(rest);
    if (!is_torn) {
      // It goes on under another id: sequences that were told are not told again with another content.
      opened.damaged_bytes = rest.size();
      opened.damaged_path = path + ".damaged-" + std::to_string(unix_ns());
      GH_TRY(write_file_atomically(opened.damaged_path, content));
      return opened;
    }
    opened.torn_bytes = rest.size();
  }
  GH_ASSIGN(UniqueFd file, open_file(path, O_RDWR));
  if (::ftruncate(file.get(), static_cast<off_t>(at)) != 0 || ::lseek(file.get(), 0, SEEK_END) < 0)
    return Error::system(path);
  GH_TRY(sync_data(file.get()));
  opened.log = std::unique_ptr<ApprovalLog>(new ApprovalLog(std::move(file), std::move(id), at, next));
  return opened;
}

Result<ApprovalLog::Opened> ApprovalLog::replace(const std::string& folder, const std::vector<v1::ApprovalView>& kept,
                                                 uint64_t now_ns) {
  const std::string path = path_of(folder);
  const std::string id = pki::random_hex(kIdBytes);
  Opened opened;
  uint64_t next = 1;
  std::string content;
  const auto add = [&](v1::ApprovalRecord& record) {
    record.set_sequence(next++);
    content += encode_entry(record);
  };
  v1::ApprovalRecord first = first_record(id, now_ns);
  add(first);
  for (const v1::ApprovalView& view : kept) {
    v1::ApprovalRecord& record = opened.records.emplace_back();
    record.set_time_ns(now_ns);
    *record.mutable_kept() = view;
    add(record);
  }
  GH_TRY(write_file_atomically(path, content));
  GH_ASSIGN(UniqueFd file, open_file(path, O_RDWR));
  if (::lseek(file.get(), 0, SEEK_END) < 0) return Error::system(path);
  opened.log = std::unique_ptr<ApprovalLog>(new ApprovalLog(std::move(file), id, content.size(), next));
  return opened;
}

Status ApprovalLog::append(std::vector<v1::ApprovalRecord>& records) {
  std::string bytes;
  uint64_t next = next_sequence_;
  for (v1::ApprovalRecord& record : records) {
    record.set_sequence(next++);
    bytes += encode_entry(record);
  }
  // What an append before this one left is written over.
  if (::lseek(file_.get(), static_cast<off_t>(bytes_), SEEK_SET) < 0) return Error::system("approvals log");
  const auto written = write_all(file_.get(), as_bytes(bytes));
  const auto synced = written ? sync_data(file_.get()) : written;
  if (!synced) {
    [[maybe_unused]] const int cut = ::ftruncate(file_.get(), static_cast<off_t>(bytes_));
    return synced.error();
  }
  bytes_ += bytes.size();
  next_sequence_ = next;
  return {};
}

}  // namespace gatehouse::approvals
