// SPDX-License-Identifier: Apache-2.0
// Masks what COPY … TO STDOUT sends: text, csv and binary, however the server cuts it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "agent/mask/plan.h"
#include "agent/mask/types.h"

namespace gatehouse::mask {

enum class CopyFormat : uint8_t { kText, kCsv, kBinary };

// As the statement's options have it; the defaults are the server's.
struct CopyOptions {
  CopyFormat format = CopyFormat::kText;
  char delimiter = '\t';  // ',' is csv's
  char quote = '"';
  char escape = '"';
  std::string null = "\\N";  // empty is csv's
  bool has_header = false;
  // A byte of a character of these encodings can be an ASCII character: SJIS, BIG5, GBK, UHC, GB18030, JOHAB,
  // SHIFT_JIS_2004. Rows are then cut at characters, not bytes. Such a client_encoding is told by its name.
  std::string encoding{};
  size_t row_bytes_max = size_t{64} << 20;  // held until a row is whole

  static CopyOptions of(CopyFormat format);
};

enum class CopyOutcome : uint8_t {
  kOk,
  kMalformed,  // not what the options say; nothing more may pass
  kTooLong,    // a row above row_bytes_max; nothing more may pass
};

// One per COPY; not shared between threads.
class CopyMasker {
 public:
  // `fields`: the columns in the order of the statement; is_binary is the format's. `types` may be null and outlives
  // it.
  CopyMasker(ResultPlan plan, CopyOptions options, std::span<const FieldType> fields, const TypeBook* types);
  ~CopyMasker();
  CopyMasker(CopyMasker&&) noexcept;
  CopyMasker& operator=(CopyMasker&&) noexcept;

  // `body`: of one CopyData, without tag and length. Appends CopyData messages (tags and lengths included) of whole
  // rows to `out`; what is not yet a row is kept. After an outcome that is not kOk every further call gives it again.
  CopyOutcome push(std::span<const std::byte> body, std::string& out);
  // At CopyDone: what is left.
  CopyOutcome finish(std::string& out);
  [[nodiscard]] const MaskCounts& counts() const;
  // Bytes that wait for the rest of their row.
  [[nodiscard]] size_t held_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gatehouse::mask
