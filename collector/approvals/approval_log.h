// SPDX-License-Identifier: Apache-2.0
// ApprovalLog: the file that the collector's approvals live in. Entries are appended and synced before anybody is told
// of them; docs/formats/approvals-log.md has the bytes. One process at a time; not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/file.h"
#include "common/result.h"
#include "gatehouse/v1/approvals.pb.h"

namespace gatehouse::approvals {

class ApprovalLog {
 public:
  struct Opened {
    std::unique_ptr<ApprovalLog> log;
    std::vector<v1::ApprovalRecord> records;  // in order, the first one aside
    uint64_t torn_bytes = 0;                  // cut from the end: never acknowledged
    uint64_t damaged_bytes = 0;               // … unreadable, with readable ones behind; kept in `damaged_path`
    std::string damaged_path;
  };
  // <folder>/log, made if it is not there. What follows a damaged entry is not read: who was told of it is told anew.
  static Result<Opened> open(const std::string& folder);
  // A log of its own id in the place of this one, which begins with what `kept` are. All of it or nothing.
  static Result<Opened> replace(const std::string& folder, const std::vector<v1::ApprovalView>& kept, uint64_t now_ns);

  // 32 hexadecimal digits; entries of one id have their sequences once.
  [[nodiscard]] const std::string& id() const { return id_; }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  [[nodiscard]] uint64_t next_sequence() const { return next_sequence_; }
  // Sets the entries' sequences. They are durable when it returns; after an error none of them counts, and the next
  // call takes their place.
  Status append(std::vector<v1::ApprovalRecord>& records);

 private:
  ApprovalLog(UniqueFd file, std::string id, uint64_t bytes, uint64_t next_sequence)
      : file_(std::move(file)), id_(std::move(id)), bytes_(bytes), next_sequence_(next_sequence) {}
  UniqueFd file_;
  std::string id_;
  uint64_t bytes_;
  uint64_t next_sequence_;
};

// An entry: 4 bytes of length and the first 8 of the payload's SHA-256 before it.
inline constexpr size_t kEntryHeadBytes = 12;
inline constexpr size_t kEntryBytesMax = 8U << 20;
std::string encode_entry(const v1::ApprovalRecord& record);
// The entry at the head of `bytes`; null payload: it is cut short, or damaged.
struct DecodedEntry {
  enum class Kind : uint8_t { kWhole, kCut, kDamaged };
  Kind kind = Kind::kDamaged;
  size_t bytes = 0;
  v1::ApprovalRecord record{};
};
DecodedEntry decode_entry(std::string_view bytes);

}  // namespace gatehouse::approvals
