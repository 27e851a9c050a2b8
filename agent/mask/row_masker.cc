// SPDX-License-Identifier: Apache-2.0
#include "agent/mask/row_masker.h"

#include <utility>

#include "agent/mask/columns.h"

namespace gatehouse::mask {
namespace {

constexpr char kDataRow = 'D';
constexpr size_t kHeaderBytes = 5;                       // tag:u8 length:i32, which counts itself
constexpr size_t kBodyBytesMax = (size_t{1} << 30) - 1;  // as the server's own
constexpr int32_t kNullSize = -1;

}  // namespace

struct RowMasker::Impl {
  Impl(ResultPlan plan, std::span<const FieldType> fields, const TypeBook* types)
      : columns(std::move(plan), fields, types) {}
  Columns columns;
};

RowMasker::RowMasker(ResultPlan plan, std::span<const FieldType> fields, const TypeBook* types)
    : impl_(std::make_unique<Impl>(std::move(plan), fields, types)) {}
RowMasker::~RowMasker() = default;
RowMasker::RowMasker(RowMasker&&) noexcept = default;
RowMasker& RowMasker::operator=(RowMasker&&) noexcept = default;

// count:i16 {size:i32 bytes}[count]; a size of -1 is NULL.
RowOutcome RowMasker::mask_row(std::span<const std::byte> body, std::string& out) {
  Columns& columns = impl_->columns;
  const std::string_view row = text_of(body);
  if (row.size() < 2) return RowOutcome::kMalformed;
  const auto count = load_be<uint16_t>(row);
  // So that a count that a peer invents makes no columns.
  if (2 + 4 * size_t{count} > row.size()) return RowOutcome::kMalformed;
  const bool is_idle = columns.is_idle(count) || columns.is_clean(count, row);
  const size_t begin = out.size();
  size_t at = 2, copied = 0;
  bool changed = false;
  const auto malformed = [&] {
    out.resize(begin);
    return RowOutcome::kMalformed;
  };
  for (size_t i = 0; i < count; ++i) {
    if (row.size() - at < 4) return malformed();
    const auto size = load_be<int32_t>(row.substr(at));
    if (size < kNullSize || (size > 0 && static_cast<size_t>(size) > row.size() - at - 4)) return malformed();
    const size_t end = at + 4 + (size > 0 ? static_cast<size_t>(size) : 0);
    if (!is_idle) {
      // The value goes where it will stand; what comes before it is put there once it is known to change.
      const size_t before = out.size();
      const size_t header = changed ? 0 : kHeaderBytes;
      const size_t gap = header + (at - copied) + 4;
      out.resize(before + gap);
      const Done done = size == kNullSize ? columns.mask_null(i, out)
                                          : columns.mask(i, row.substr(at + 4, static_cast<size_t>(size)), out);
      if (done == Done::kUnchanged) {
        out.resize(before);
      } else {
        const int32_t new_size = done == Done::kNull ? kNullSize : static_cast<int32_t>(out.size() - before - gap);
        std::memcpy(out.data() + before + header, row.data() + copied, at - copied);
        store_be(out.data() + before + gap - 4, new_size);
        copied = end;
        changed = true;
      }
    }
    at = end;
  }
  if (at != row.size()) return malformed();
  ++columns.counts().rows;
  if (!changed) return RowOutcome::kUnchanged;
  out += row.substr(copied);
  const size_t length = out.size() - begin - 1;
  if (length > kBodyBytesMax) {
    out.resize(begin);
    return RowOutcome::kTooLong;
  }
  out[begin] = kDataRow;
  store_be(out.data() + begin + 1, static_cast<uint32_t>(length));
  ++columns.counts().rows_changed;
  return RowOutcome::kMasked;
}

RowOutcome RowMasker::mask_value(size_t column, std::span<const std::byte> value, std::string& out, bool& is_null) {
  is_null = false;
  const Done done = impl_->columns.mask(column, text_of(value), out);
  is_null = done == Done::kNull;
  return done == Done::kUnchanged ? RowOutcome::kUnchanged : RowOutcome::kMasked;
}

const MaskCounts& RowMasker::counts() const {
  return impl_->columns.counts();
}

}  // namespace gatehouse::mask
