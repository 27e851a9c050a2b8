// SPDX-License-Identifier: Apache-2.0
// Arrays, rows and ranges in binary format, as the server's *_send write them.
#include <algorithm>

#include "agent/mask/value.h"

namespace gatehouse::mask {
namespace {

constexpr int32_t kDimensionsMax = 6;  // MAXDIM of the server
constexpr uint32_t kInt2Oid = 21;
constexpr int32_t kNullSize = -1;
constexpr size_t kBytesMax = size_t{1} << 30;  // of a value, as the server has it

constexpr uint8_t kRangeEmpty = 0x01, kLowerInfinite = 0x08, kUpperInfinite = 0x10;

// Cursor over a value; the first short read fails it for good.
class Bytes {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool done() const { return ok_ && bytes_.empty(); }
  std::string_view take(size_t count) {
    if (count > bytes_.size()) {
      ok_ = false;
      bytes_ = {};
      return {};
    }
    const auto head = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return head;
  }
  template <typename T>
  T be() {
    const auto head = take(sizeof(T));
    return head.size() == sizeof(T) ? load_be<T>(head) : T{};
  }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace

// ndim:i32 flags:i32 element:oid {length:i32 lower:i32}[ndim] {size:i32 bytes}[…]
Done ValueMasker::array_binary(const Type& type, const Wish& wish, std::string_view value, std::string& out,
                               unsigned depth) {
  const size_t begin = out.size();
  const auto refuse = [&] {
    out.resize(begin);
    return Done::kNull;
  };
  Bytes in(value);
  const auto dimensions = in.be<int32_t>();
  in.be<int32_t>();
  const auto element_oid = in.be<uint32_t>();
  if (!in.ok() || dimensions < 0 || dimensions > kDimensionsMax) return refuse();
  if (wish.act != nullptr && wish.whole && type.kind == Kind::kVector) {
    // Without an element it would not be one.
    append_be<int32_t>(out, 1);
    append_be<int32_t>(out, 0);
    append_be(out, element_oid);
    append_be<int32_t>(out, 1);
    append_be<int32_t>(out, 0);
    const int32_t size = element_oid == kInt2Oid ? 2 : 4;
    append_be(out, size);
    out.append(static_cast<size_t>(size), '\0');
    return Done::kChanged;
  }
  if (wish.act != nullptr && wish.whole) {
    append_be<int32_t>(out, 0);
    append_be<int32_t>(out, 0);
    append_be(out, element_oid);
    return Done::kChanged;
  }
  uint64_t count = dimensions == 0 ? 0 : 1;
  for (int32_t i = 0; i < dimensions; ++i) {
    const auto length = in.be<int32_t>();
    in.be<int32_t>();
    if (length < 0) return refuse();
    count *= static_cast<uint64_t>(length);
    if (count > kBytesMax) return refuse();
  }
  if (!in.ok()) return refuse();
  out += value.substr(0, 12 + 8 * static_cast<size_t>(dimensions));
  bool has_null = load_be<int32_t>(value.substr(4)) != 0;
  bool changed = wish.act != nullptr;
  // The value says what its elements are; a declared type that differs is not what the client decodes by.
  const Type element_type = resolve({element_oid, type.typmod});
  for (; count > 0; --count) {
    const auto size = in.be<int32_t>();
    if (!in.ok()) return refuse();
    if (size == kNullSize) {
      append_be(out, kNullSize);
      continue;
    }
    if (size < 0) return refuse();
    const std::string_view element = in.take(static_cast<size_t>(size));
    if (!in.ok()) return refuse();
    const size_t at = out.size();
    out.append(4, '\0');
    switch (binary(element_type, wish, element, out, depth + 1)) {
      case Done::kUnchanged:
        out += element;
        break;
      case Done::kChanged:
        changed = true;
        break;
      case Done::kNull:
        store_be(out.data() + at, kNullSize);
        changed = has_null = true;
        continue;
    }
    if (out.size() - at - 4 > kBytesMax) return refuse();
    store_be(out.data() + at, static_cast<int32_t>(out.size() - at - 4));
  }
  if (!in.done()) return refuse();
  if (!changed) {
    out.resize(begin);
    return Done::kUnchanged;
  }
  store_be<int32_t>(out.data() + begin + 4, has_null ? 1 : 0);
  return Done::kChanged;
}

// fields:i32 {type:oid size:i32 bytes}[fields]
Done ValueMasker::row_binary(const Type& type, const Wish& wish, std::string_view value, std::string& out,
                             unsigned depth) {
  const size_t begin = out.size();
  const auto refuse = [&] {
    out.resize(begin);
    return Done::kNull;
  };
  Bytes in(value);
  const auto count = in.be<int32_t>();
  if (!in.ok() || count < 0) return refuse();
  append_be(out, count);
  bool changed = wish.act != nullptr;
  for (int32_t i = 0; i < count; ++i) {
    const auto oid = in.be<uint32_t>();
    const auto size = in.be<int32_t>();
    if (!in.ok() || size < kNullSize) return refuse();
    append_be(out, oid);
    if (size == kNullSize) {
      append_be(out, kNullSize);
      continue;
    }
    const std::string_view field = in.take(static_cast<size_t>(size));
    if (!in.ok()) return refuse();
    const size_t at = out.size();
    out.append(4, '\0');
    const auto index = static_cast<size_t>(i);
    const bool is_declared =
        type.shape != nullptr && index < type.shape->fields.size() && type.shape->fields[index].oid == oid;
    const TypeRef ref = is_declared ? type.shape->fields[index] : TypeRef{oid, -1};
    switch (binary(resolve(ref), wish, field, out, depth + 1)) {
      case Done::kUnchanged:
        out += field;
        break;
      case Done::kChanged:
        changed = true;
        break;
      case Done::kNull:
        store_be(out.data() + at, kNullSize);
        changed = true;
        continue;
    }
    if (out.size() - at - 4 > kBytesMax) return refuse();
    store_be(out.data() + at, static_cast<int32_t>(out.size() - at - 4));
  }
  if (!in.done()) return refuse();
  if (changed) return Done::kChanged;
  out.resize(begin);
  return Done::kUnchanged;
}

// flags:u8 {size:i32 bytes}[bounds that are there]
Done ValueMasker::range_binary(const Type& type, const Wish& wish, std::string_view value, std::string& out,
                               unsigned depth) {
  const size_t begin = out.size();
  const auto refuse = [&] {
    out.resize(begin);
    return Done::kNull;
  };
  const Type subtype = resolve({type.of, -1});
  Bytes in(value);
  const auto flags = in.be<uint8_t>();
  if (!in.ok()) return refuse();
  if (wish.whole || (flags & kRangeEmpty) != 0 || !keeps_order(subtype.kind, wish.act->method)) {
    out.push_back(static_cast<char>(kRangeEmpty));
    return Done::kChanged;
  }
  out.push_back(value[0]);
  for (const uint8_t infinite : {kLowerInfinite, kUpperInfinite}) {
    if ((flags & infinite) != 0) continue;
    const auto size = in.be<int32_t>();
    if (!in.ok() || size < 0) return refuse();
    const std::string_view bound = in.take(static_cast<size_t>(size));
    const size_t at = out.size();
    out.append(4, '\0');
    if (!in.ok() || binary(subtype, wish, bound, out, depth + 1) != Done::kChanged) return refuse();
    store_be(out.data() + at, static_cast<int32_t>(out.size() - at - 4));
  }
  return in.done() ? Done::kChanged : refuse();
}

}  // namespace gatehouse::mask
