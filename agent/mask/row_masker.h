// SPDX-License-Identifier: Apache-2.0
// Masks the rows of one result: DataRow messages of PostgreSQL's protocol.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "agent/mask/plan.h"
#include "agent/mask/types.h"

namespace gatehouse::mask {

enum class RowOutcome : uint8_t {
  kUnchanged,  // nothing was appended: forward the message as it came
  kMasked,     // a whole DataRow message, tag and length included, was appended
  kMalformed,  // not the body of a DataRow, or a value is not of its type: nothing was appended, and nothing may pass
  kTooLong,    // masked, it would be longer than a message can be
};

// One per result; not shared between threads. Keeps nothing of a row but counts.
class RowMasker {
 public:
  // `fields`: one per column, of RowDescription. Where nobody described the result, as many as are known; a column
  // behind them is of unknown type and in text. `types` may be null and outlives the masker.
  RowMasker(ResultPlan plan, std::span<const FieldType> fields, const TypeBook* types);
  ~RowMasker();
  RowMasker(RowMasker&&) noexcept;
  RowMasker& operator=(RowMasker&&) noexcept;

  // `body`: of one DataRow, without tag and length. Appends to `out`.
  RowOutcome mask_row(std::span<const std::byte> body, std::string& out);
  // One value, where there is no row: FunctionCallResponse, ParameterStatus, a notification's payload. Appends the new
  // value. kUnchanged: nothing was appended. `is_null`: it is NULL now.
  RowOutcome mask_value(size_t column, std::span<const std::byte> value, std::string& out, bool& is_null);
  // Of what passed since it was made.
  [[nodiscard]] const MaskCounts& counts() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gatehouse::mask
