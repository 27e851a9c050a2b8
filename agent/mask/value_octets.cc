// SPDX-License-Identifier: Apache-2.0
// Values that are bytes, in text and in binary.
#include <algorithm>
#include <charconv>

#include "agent/mask/numbers.h"
#include "agent/mask/octets.h"
#include "agent/mask/value.h"

namespace gatehouse::mask {
namespace {

void append_upper_hex(std::string& out, uint64_t number) {
  std::array<char, 16> hex;
  const auto end = std::to_chars(hex.data(), hex.data() + hex.size(), number, 16).ptr;
  for (const char* c = hex.data(); c != end; ++c) out.push_back(is_lower(*c) ? static_cast<char>(*c - 32) : *c);
}

size_t size_of(Kind kind) {
  return kind == Kind::kUuid ? 16 : kind == Kind::kMacaddr ? 6 : 8;
}

void mask_fixed(const Act& act, Kind kind, std::array<unsigned char, 16>& bytes) {
  if (kind == Kind::kUuid) {
    mask_uuid(act, bytes);
  } else {
    mask_mac(act, std::span{bytes}.first(size_of(kind)));
  }
}

// uuid and macaddr, whatever stands between their digits.
Done fixed_text(const Act& act, Kind kind, std::string_view value, std::string& out) {
  std::array<unsigned char, 16> bytes{};
  const size_t count = size_of(kind);
  size_t nibbles = 0;
  for (const char c : value) {
    const int nibble = hex_value(c);
    if (nibble < 0) continue;
    if (nibbles == 2 * count) return Done::kNull;
    bytes[nibbles / 2] = static_cast<unsigned char>(bytes[nibbles / 2] << 4 | nibble);
    ++nibbles;
  }
  if (nibbles != 2 * count) return Done::kNull;
  mask_fixed(act, kind, bytes);
  for (size_t i = 0; i < count; ++i) {
    if (kind != Kind::kUuid && i > 0) out.push_back(':');
    if (kind == Kind::kUuid && (i == 4 || i == 6 || i == 8 || i == 10)) out.push_back('-');
    out.push_back(kHexDigits[bytes[i] >> 4]);
    out.push_back(kHexDigits[bytes[i] & 15]);
  }
  return Done::kChanged;
}

}  // namespace

Done ValueMasker::octets_text(const Type& type, const Act& act, std::string_view value, std::string& out) {
  switch (type.kind) {
    case Kind::kUuid:
    case Kind::kMacaddr:
    case Kind::kMacaddr8:
      return fixed_text(act, type.kind, value, out);
    case Kind::kInet:
    case Kind::kCidr: {
      auto network = parse_network(value, type.kind == Kind::kCidr);
      if (!network) return Done::kNull;
      mask_network(act, *network);
      append_network(*network, out);
      return Done::kChanged;
    }
    case Kind::kLsn: {
      uint32_t high = 0, low = 0;
      const size_t slash = value.find('/');
      if (slash == std::string_view::npos ||
          std::from_chars(value.data(), value.data() + slash, high, 16).ec != std::errc{} ||
          std::from_chars(value.data() + slash + 1, value.data() + value.size(), low, 16).ec != std::errc{})
        return Done::kNull;
      const uint64_t masked = mask_unsigned(act, uint64_t{high} << 32 | low, UINT64_MAX);
      append_upper_hex(out, masked >> 32);
      out.push_back('/');
      append_upper_hex(out, masked & 0xffffffff);
      return Done::kChanged;
    }
    case Kind::kBit:
    case Kind::kVarbit: {
      std::vector<unsigned char> bits((value.size() + 7) / 8, 0);
      for (size_t i = 0; i < value.size(); ++i) {
        if (value[i] != '0' && value[i] != '1') return Done::kNull;
        if (value[i] == '1') bits[i / 8] = static_cast<unsigned char>(bits[i / 8] | 0x80 >> i % 8);
      }
      mask_bits(act, bits, value.size());
      for (size_t i = 0; i < value.size(); ++i) out.push_back((bits[i / 8] << i % 8 & 0x80) != 0 ? '1' : '0');
      return Done::kChanged;
    }
    default:
      return Done::kNull;
  }
}

Done ValueMasker::octets_binary(const Type& type, const Act& act, std::string_view value, std::string& out) {
  std::array<unsigned char, 16> bytes{};
  switch (type.kind) {
    case Kind::kUuid:
    case Kind::kMacaddr:
    case Kind::kMacaddr8: {
      const size_t count = size_of(type.kind);
      if (value.size() != count) return Done::kNull;
      std::ranges::copy(value, bytes.begin());
      mask_fixed(act, type.kind, bytes);
      out.append(reinterpret_cast<const char*>(bytes.data()), count);
      return Done::kChanged;
    }
    case Kind::kInet:
    case Kind::kCidr: {
      // family:u8 (2, 3) bits:u8 is_cidr:u8 bytes:u8 address
      const size_t count = value.size() < 4 ? 0 : static_cast<unsigned char>(value[3]);
      if (value.size() != 4 + count || (count != 4 && count != 16)) return Done::kNull;
      Network network{.is_v6 = count == 16, .is_cidr = value[2] != 0, .bits = static_cast<uint8_t>(value[1])};
      std::copy_n(value.begin() + 4, count, network.address.begin());
      mask_network(act, network);
      out += value.substr(0, 4);
      out.append(reinterpret_cast<const char*>(network.address.data()), count);
      return Done::kChanged;
    }
    case Kind::kBit:
    case Kind::kVarbit: {
      if (value.size() < 4) return Done::kNull;
      const auto count = load_be<uint32_t>(value);
      if (value.size() - 4 != (size_t{count} + 7) / 8) return Done::kNull;
      std::vector<unsigned char> bits(value.begin() + 4, value.end());
      mask_bits(act, bits, count);
      out += value.substr(0, 4);
      out.append(reinterpret_cast<const char*>(bits.data()), bits.size());
      return Done::kChanged;
    }
    default:
      return Done::kNull;
  }
}

}  // namespace gatehouse::mask
