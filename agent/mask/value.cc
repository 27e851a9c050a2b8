// SPDX-License-Identifier: Apache-2.0
#include "agent/mask/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "agent/mask/numbers.h"
#include "agent/mask/octets.h"
#include "agent/mask/texts.h"
#include "agent/mask/times.h"

namespace gatehouse::mask {
namespace {

constexpr uint32_t kVarcharOid = 1043, kBoxOid = 603;
constexpr int32_t kTypmodBase = 4;
constexpr size_t kMoneyMax = 48;
constexpr ptrdiff_t kCurrencyMax = 4;

// What a type without a method of its own is redacted to. Binary forms as the server's *_recv read them.
struct Constant {
  Kind kind;
  std::string_view text;
  std::string_view binary;
};
using namespace std::string_view_literals;
#define GH_8 "\0\0\0\0\0\0\0\0"
constexpr Constant kConstants[] = {
    {Kind::kOneChar, "*"sv, "*"sv},
    {Kind::kBool, "f"sv, "\0"sv},
    {Kind::kReg, "-"sv, "\0\0\0\0"sv},
    {Kind::kJsonPath, "$"sv, "\1$"sv},
    {Kind::kXml, "<masked/>"sv, "<masked/>"sv},
    {Kind::kPoint, "(0,0)"sv, GH_8 GH_8 ""sv},
    {Kind::kLine, "{0,1,0}"sv, GH_8 "\x3f\xf0\0\0\0\0\0\0" GH_8 ""sv},
    {Kind::kLseg, "[(0,0),(0,0)]"sv, GH_8 GH_8 GH_8 GH_8 ""sv},
    {Kind::kBox, "(0,0),(0,0)"sv, GH_8 GH_8 GH_8 GH_8 ""sv},
    {Kind::kPath, "((0,0))"sv, "\1\0\0\0\1" GH_8 GH_8 ""sv},
    {Kind::kPolygon, "((0,0))"sv, "\0\0\0\1" GH_8 GH_8 ""sv},
    {Kind::kCircle, "<(0,0),0>"sv, GH_8 GH_8 GH_8 ""sv},
    {Kind::kTsvector, ""sv, "\0\0\0\0"sv},
    // One lexeme: an empty query has no binary form.
    {Kind::kTsquery, "'masked'"sv, "\0\0\0\1\1\0\0masked\0"sv},
    {Kind::kTid, "(0,0)"sv, "\0\0\0\0\0\0"sv},
    {Kind::kSnapshot, "1:1:"sv, "\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\1"sv},
};
#undef GH_8

const Constant* constant_of(Kind kind) {
  const auto* found = std::ranges::find(kConstants, kind, &Constant::kind);
  return found == std::end(kConstants) ? nullptr : found;
}

int64_t max_of(Kind kind) {
  return kind == Kind::kInt2 ? INT16_MAX : kind == Kind::kInt4 ? INT32_MAX : INT64_MAX;
}

template <typename T>
void append_decimal(std::string& out, T value) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  out.append(text.data(), static_cast<size_t>(end - text.data()));
}

template <typename T>
bool read_number(std::string_view text, T& value) {
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  return read.ec == std::errc{} && read.ptr == text.data() + text.size();
}

size_t characters(std::string_view text) {
  return static_cast<size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

// Money is written as the locale has it: its sign, separators and currency stay, digits become 0 (or one leading
// digit is kept).
void append_money(const Act& act, std::string_view value, std::string& out) {
  size_t seen = 0;
  const auto digits = static_cast<size_t>(std::ranges::count_if(value, is_digit));
  for (const char c : value) {
    const bool kept = act.method == Method::kBucket && digits > 3 && is_digit(c) && seen == 0;
    if (is_digit(c)) ++seen;
    if (c == '-' && act.method != Method::kBucket) continue;
    out.push_back(is_digit(c) && !kept ? '0' : c);
  }
}
int64_t masked_money(const Act& act, int64_t cents) {
  return act.method == Method::kBucket && (cents > 99 || cents < -99) ? mask_integer(act, cents, INT64_MAX) : 0;
}

}  // namespace

bool keeps_order(Kind subtype, Method method) {
  const bool is_time = subtype == Kind::kDate || subtype == Kind::kTimestamp || subtype == Kind::kTimestampTz;
  if (method == Method::kPartial) return is_time;
  return method == Method::kBucket &&
         (is_time || subtype == Kind::kInt4 || subtype == Kind::kInt8 || subtype == Kind::kNumeric);
}

ValueMasker::ValueMasker(const TypeBook* types, const ResultPlan& plan, MaskCounts& counts)
    : types_(types), counts_(counts) {
  for (size_t i = plan.detect.size(); i-- > 0;) {
    const DetectPlan& detect = plan.detect[i];
    const bool is_known = detect.mask < plan.keys.size();
    acts_.push_back({.method = detect.method,
                     .key = is_known ? plan.keys[detect.mask].get() : nullptr,
                     .counts = is_known ? &counts.masks[detect.mask] : nullptr});
    for (size_t k = 0; k < kDetectorCount; ++k)
      if (detect.what.has(static_cast<Detector>(k))) act_of_[k] = static_cast<uint8_t>(acts_.size() - 1);
    detects_ = detects_ | detect.what;
  }
}

const Act& ValueMasker::act_of(Detector detector) const {
  return acts_[act_of_[static_cast<size_t>(detector)]];
}

Type ValueMasker::resolve(TypeRef ref) const {
  for (unsigned step = 0; step < kNestingMax; ++step) {
    Type type{.oid = ref.oid, .typmod = ref.typmod};
    if (ref.oid == 0) {
      type.kind = Kind::kLooks;
      return type;
    }
    if (const BuiltIn* known = built_in(ref.oid)) {
      type.kind = known->kind;
      type.of = known->of;
      if (known->of == kBoxOid) type.delimiter = ';';
      return type;
    }
    const TypeShape* shape = types_ == nullptr ? nullptr : types_->find(ref.oid);
    if (shape == nullptr) return type;
    if (shape->kind == Kind::kDomain) {
      // A domain over char(n) has its length in the type, not in the column.
      ref = {shape->of.oid, shape->of.typmod};
      continue;
    }
    type.kind = shape->kind;
    type.shape = shape;
    type.of = shape->of.oid;
    type.delimiter = shape->delimiter;
    return type;
  }
  return {};
}

Done ValueMasker::text(const Type& type, const Wish& wish, std::string_view value, std::string& out, unsigned depth) {
  if (depth > kNestingMax) return Done::kNull;
  if (wish.act == nullptr) return detect_text(type, wish, value, out, depth);
  if (wish.act->method == Method::kNull) return Done::kNull;
  switch (type.kind) {
    case Kind::kUnknown:
      return Done::kNull;
    case Kind::kLooks:
      return looks(wish, value, out, depth);
    case Kind::kArray:
      return array_text(type, wish, value, out, depth);
    case Kind::kVector:
      return vector_text(type, wish, value, out, depth);
    case Kind::kComposite:
    case Kind::kRecord:
      return row_text(type, wish, value, out, depth);
    case Kind::kRange:
      return range_text(type, wish, value, out, depth);
    case Kind::kMultirange:
      out += "{}";
      return Done::kChanged;
    case Kind::kJson:
    case Kind::kJsonb:
      return json(wish, value, out);
    default:
      return scalar_text(type, *wish.act, value, out);
  }
}

Done ValueMasker::binary(const Type& type, const Wish& wish, std::string_view value, std::string& out, unsigned depth) {
  if (depth > kNestingMax) return Done::kNull;
  if (wish.act == nullptr) return detect_binary(type, wish, value, out, depth);
  if (wish.act->method == Method::kNull) return Done::kNull;
  switch (type.kind) {
    case Kind::kUnknown:
    case Kind::kLooks:
      return Done::kNull;
    case Kind::kArray:
    case Kind::kVector:
      return array_binary(type, wish, value, out, depth);
    case Kind::kComposite:
    case Kind::kRecord:
      return row_binary(type, wish, value, out, depth);
    case Kind::kRange:
      return range_binary(type, wish, value, out, depth);
    case Kind::kMultirange:
      append_be<int32_t>(out, 0);
      return Done::kChanged;
    case Kind::kJson:
      return json(wish, value, out);
    case Kind::kJsonb: {
      if (value.empty() || value[0] != 1) return Done::kNull;
      out.push_back(1);
      const Done done = json(wish, value.substr(1), out);
      if (done != Done::kChanged) out.pop_back();
      return done;
    }
    default:
      return scalar_binary(type, *wish.act, value, out);
  }
}

// Cuts or pads what stands in `out` from `begin` to what varchar(n) and char(n) hold.
void ValueMasker::fit(const Type& type, size_t begin, std::string& out) {
  const bool bounded = type.typmod > kTypmodBase && (type.oid == kVarcharOid || type.kind == Kind::kBpchar);
  if (!bounded) return;
  const auto room = static_cast<size_t>(type.typmod - kTypmodBase);
  size_t count = characters(std::string_view(out).substr(begin));
  if (count > room) {
    size_t end = begin, left = room;
    for (; end < out.size(); ++end)
      if ((static_cast<unsigned char>(out[end]) & 0xc0) != 0x80 && left-- == 0) break;
    out.resize(end);
    count = room;
  }
  if (type.kind == Kind::kBpchar) out.append(room - count, ' ');
}

void ValueMasker::text_value(const Type& type, const Act& act, std::string_view value, std::string& out) {
  const size_t begin = out.size();
  if (type.kind == Kind::kBpchar) {
    const size_t length = characters(value);
    while (value.ends_with(' ')) value.remove_suffix(1);
    mask_text(act, value, out);
    if (type.typmod <= kTypmodBase && out.size() - begin < length) out.append(length - (out.size() - begin), ' ');
  } else {
    mask_text(act, value, out);
  }
  fit(type, begin, out);
}

Done ValueMasker::enum_label(const Type& type, const Act& act, std::string_view value, std::string& out) {
  if (type.shape == nullptr || type.shape->labels.empty()) return Done::kNull;
  const auto& labels = type.shape->labels;
  size_t index = 0;
  if ((act.method == Method::kHash || act.method == Method::kTokenise) && act.key != nullptr)
    index = number_of(act.key->hmac(static_cast<uint8_t>(Domain::kEnum), bytes_of(value))) % labels.size();
  out += labels[index];
  return Done::kChanged;
}

Done ValueMasker::number_text(const Type& type, const Act& act, std::string_view value, std::string& out) {
  switch (type.kind) {
    case Kind::kInt2:
    case Kind::kInt4:
    case Kind::kInt8: {
      int64_t number = 0;
      if (!read_number(value, number)) return Done::kNull;
      append_decimal(out, mask_integer(act, number, max_of(type.kind)));
      return Done::kChanged;
    }
    case Kind::kUnsigned4:
    case Kind::kUnsigned8: {
      uint64_t number = 0;
      if (!read_number(value, number)) return Done::kNull;
      append_decimal(out, mask_unsigned(act, number, type.kind == Kind::kUnsigned4 ? UINT32_MAX : UINT64_MAX));
      return Done::kChanged;
    }
    case Kind::kFloat4:
    case Kind::kFloat8: {
      double number = 0;
      if (type.kind == Kind::kFloat4) {
        float single = 0;
        if (!read_number(value, single)) return Done::kNull;
        number = single;
      } else if (!read_number(value, number)) {
        return Done::kNull;
      }
      append_decimal(out, mask_float(act, number, type.kind == Kind::kFloat4));
      return Done::kChanged;
    }
    case Kind::kNumeric:
      return mask_decimal(act, value, type.typmod, out) ? Done::kChanged : Done::kNull;
    default:
      return Done::kNull;
  }
}

Done ValueMasker::scalar_text(const Type& type, const Act& act, std::string_view value, std::string& out) {
  switch (type.kind) {
    case Kind::kText:
    case Kind::kBpchar:
      text_value(type, act, value, out);
      return Done::kChanged;
    case Kind::kInt2:
    case Kind::kInt4:
    case Kind::kInt8:
    case Kind::kUnsigned4:
    case Kind::kUnsigned8:
    case Kind::kFloat4:
    case Kind::kFloat8:
    case Kind::kNumeric:
      return number_text(type, act, value, out);
    case Kind::kMoney:
      // A sign, a currency's short name, digits and what parts them.
      if (value.size() > kMoneyMax || std::ranges::count_if(value, is_letter) > kCurrencyMax) return Done::kNull;
      append_money(act, value, out);
      return Done::kChanged;
    case Kind::kDate:
    case Kind::kTime:
    case Kind::kTimeTz:
    case Kind::kTimestamp:
    case Kind::kTimestampTz:
    case Kind::kInterval: {
      const size_t begin = out.size();
      if (mask_time_text(act, type.kind, value, out)) return Done::kChanged;
      out.resize(begin);
      return Done::kNull;
    }
    case Kind::kBytea: {
      std::string bytes;
      if (!decode_bytea(value, bytes)) return Done::kNull;
      std::string masked;
      mask_bytes(act, bytes, masked);
      append_bytea(masked, value.starts_with("\\x"), out);
      return Done::kChanged;
    }
    case Kind::kEnum:
      return enum_label(type, act, value, out);
    case Kind::kVoid:
      return Done::kUnchanged;
    default:
      break;
  }
  if (const Constant* constant = constant_of(type.kind)) {
    out += constant->text;
    return Done::kChanged;
  }
  return octets_text(type, act, value, out);
}

Done ValueMasker::scalar_binary(const Type& type, const Act& act, std::string_view value, std::string& out) {
  const size_t size = value.size();
  switch (type.kind) {
    case Kind::kText:
    case Kind::kBpchar:
      text_value(type, act, value, out);
      return Done::kChanged;
    case Kind::kInt2:
      if (size != 2) return Done::kNull;
      append_be(out, static_cast<int16_t>(mask_integer(act, load_be<int16_t>(value), INT16_MAX)));
      return Done::kChanged;
    case Kind::kInt4:
      if (size != 4) return Done::kNull;
      append_be(out, static_cast<int32_t>(mask_integer(act, load_be<int32_t>(value), INT32_MAX)));
      return Done::kChanged;
    case Kind::kInt8:
      if (size != 8) return Done::kNull;
      append_be(out, mask_integer(act, load_be<int64_t>(value), INT64_MAX));
      return Done::kChanged;
    case Kind::kUnsigned4:
      if (size != 4) return Done::kNull;
      append_be(out, static_cast<uint32_t>(mask_unsigned(act, load_be<uint32_t>(value), UINT32_MAX)));
      return Done::kChanged;
    case Kind::kUnsigned8:
    case Kind::kLsn:
      if (size != 8) return Done::kNull;
      append_be(out, mask_unsigned(act, load_be<uint64_t>(value), UINT64_MAX));
      return Done::kChanged;
    case Kind::kFloat4:
      if (size != 4) return Done::kNull;
      append_be(out, std::bit_cast<uint32_t>(
                         static_cast<float>(mask_float(act, std::bit_cast<float>(load_be<uint32_t>(value)), true))));
      return Done::kChanged;
    case Kind::kFloat8:
      if (size != 8) return Done::kNull;
      append_be(out, std::bit_cast<uint64_t>(mask_float(act, std::bit_cast<double>(load_be<uint64_t>(value)), false)));
      return Done::kChanged;
    case Kind::kNumeric: {
      std::string before, after;
      const bool is_sound = append_numeric_text(value, before) && mask_decimal(act, before, type.typmod, after) &&
                            append_numeric_binary(after, out);
      return is_sound ? Done::kChanged : Done::kNull;
    }
    case Kind::kMoney:
      if (size != 8) return Done::kNull;
      append_be(out, masked_money(act, load_be<int64_t>(value)));
      return Done::kChanged;
    case Kind::kDate:
      if (size != 4) return Done::kNull;
      append_be(out, mask_date(act, load_be<int32_t>(value)));
      return Done::kChanged;
    case Kind::kTimestamp:
    case Kind::kTimestampTz:
      if (size != 8) return Done::kNull;
      append_be(out, mask_timestamp(act, load_be<int64_t>(value)));
      return Done::kChanged;
    case Kind::kTime:
    case Kind::kTimeTz:
      if (size != (type.kind == Kind::kTime ? 8 : 12)) return Done::kNull;
      append_be(out, mask_time(act, load_be<int64_t>(value)));
      out += value.substr(8);
      return Done::kChanged;
    case Kind::kInterval:
      out.append(16, '\0');
      return Done::kChanged;
    case Kind::kBytea:
      mask_bytes(act, value, out);
      return Done::kChanged;
    case Kind::kEnum:
      return enum_label(type, act, value, out);
    case Kind::kVoid:
      return Done::kUnchanged;
    default:
      break;
  }
  if (const Constant* constant = constant_of(type.kind)) {
    out += constant->binary;
    return Done::kChanged;
  }
  return octets_binary(type, act, value, out);
}

}  // namespace gatehouse::mask
