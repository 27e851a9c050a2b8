// SPDX-License-Identifier: Apache-2.0
// What stands where a NULL was that must not be told from other values.
#include <array>
#include <string_view>

#include "agent/mask/value.h"

namespace gatehouse::mask {

using namespace std::string_view_literals;

// Made of a value of the type that has nothing in it.
Done ValueMasker::redacted(const Type& type, bool is_binary, std::string& out) {
  const Act act{};
  const Wish wish{.act = &act, .whole = true};
  if (!is_binary) {
    switch (type.kind) {
      case Kind::kArray:
        return text(type, wish, "{}", out);
      case Kind::kComposite:
      case Kind::kRecord:
        return Done::kNull;
      case Kind::kVector:
      case Kind::kBit:
      case Kind::kVarbit:
      case Kind::kText:
      case Kind::kBpchar:
      case Kind::kEnum:
      case Kind::kBytea:
      case Kind::kRange:
        return text(type, wish, "", out);
      case Kind::kMoney:
        return Done::kNull;
      case Kind::kJson:
      case Kind::kJsonb:
        out += "null";
        return Done::kChanged;
      case Kind::kUuid:
        return text(type, wish, "00000000-0000-0000-0000-000000000000", out);
      case Kind::kMacaddr:
        return text(type, wish, "00:00:00:00:00:00", out);
      case Kind::kMacaddr8:
        return text(type, wish, "00:00:00:00:00:00:00:00", out);
      case Kind::kInet:
      case Kind::kCidr:
        return text(type, wish, "0.0.0.0/32", out);
      case Kind::kLsn:
        return text(type, wish, "0/0", out);
      case Kind::kDate:
        return text(type, wish, "2000-01-01", out);
      case Kind::kTime:
        return text(type, wish, "00:00:00", out);
      case Kind::kTimeTz:
        return text(type, wish, "00:00:00+00", out);
      case Kind::kTimestamp:
        return text(type, wish, "2000-01-01 00:00:00", out);
      case Kind::kTimestampTz:
        return text(type, wish, "2000-01-01 00:00:00+00", out);
      default:
        return text(type, wish, "0", out);
    }
  }
  // Each fixed size is tried; a type that takes none of them is known by its own empty form.
  switch (type.kind) {
    case Kind::kJson:
      out += "null";
      return Done::kChanged;
    case Kind::kJsonb:
      out += std::string_view("\1null");
      return Done::kChanged;
    case Kind::kInet:
    case Kind::kCidr:
      out += type.kind == Kind::kInet ? "\2\x20\0\4\0\0\0\0"sv : "\2\x20\1\4\0\0\0\0"sv;
      return Done::kChanged;
    case Kind::kBit:
    case Kind::kVarbit:
    case Kind::kMultirange:
      append_be<int32_t>(out, 0);
      return Done::kChanged;
    case Kind::kArray:
    case Kind::kVector:
      append_be<int32_t>(out, 0);
      append_be<int32_t>(out, 0);
      append_be(out, type.of);
      return Done::kChanged;
    case Kind::kRange:
      out.push_back(1);
      return Done::kChanged;
    case Kind::kText:
    case Kind::kBpchar:
    case Kind::kEnum:
    case Kind::kBytea:
      return binary(type, wish, "", out);
    case Kind::kRecord:
    case Kind::kComposite:
      return Done::kNull;
    default:
      break;
  }
  static constexpr std::string_view kZeros = "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"sv;
  for (const size_t size : {8u, 4u, 2u, 12u, 16u, 6u})
    if (binary(type, wish, kZeros.substr(0, size), out) == Done::kChanged) return Done::kChanged;
  return Done::kNull;
}

}  // namespace gatehouse::mask
