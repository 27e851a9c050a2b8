// SPDX-License-Identifier: Apache-2.0
// The columns of one result with what is to become of each: what maskers of rows and of COPY share.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/mask/plan.h"
#include "agent/mask/types.h"
#include "agent/mask/value.h"

namespace gatehouse::mask {

class Columns {
 public:
  Columns(ResultPlan plan, std::span<const FieldType> fields, const TypeBook* types);
  Columns(const Columns&) = delete;
  Columns& operator=(const Columns&) = delete;

  // A value, not NULL; appends as Done says. `is_binary` where the caller knows better than the description.
  Done mask(size_t column, std::string_view value, std::string& out, std::optional<bool> is_binary = {});
  // A NULL: kUnchanged, or what was appended in its place.
  Done mask_null(size_t column, std::string& out, std::optional<bool> is_binary = {});

  // Nothing is to be done with any value of the first `count` columns.
  [[nodiscard]] bool is_idle(size_t count);
  // Bytes of a row (with what separates its values) in which detectors, the only ones that are to act on it, see
  // nothing. False where that cannot be told so.
  [[nodiscard]] bool is_clean(size_t count, std::string_view row);
  [[nodiscard]] MaskCounts& counts() { return counts_; }

 private:
  struct Column {
    Type type{};
    bool is_binary = false;
    bool is_scanned = false;   // by detectors
    bool shows_as_is = false;  // to may_have() of a whole row
    bool nulls_too = false;
    std::optional<Act> act{};
    Wish wish{};
  };
  Column& at(size_t index);
  void add(size_t index);
  Done mask_as(Column& column, size_t index, bool is_binary, std::string_view value, std::string& out);

  ResultPlan plan_;
  std::vector<FieldType> fields_;
  MaskCounts counts_{};
  ValueMasker values_;
  std::vector<std::unique_ptr<Column>> columns_{};
  // Of the first columns_.size() columns.
  bool has_acts_ = false, has_hidden_ = false, has_scanned_ = false;
};

}  // namespace gatehouse::mask
