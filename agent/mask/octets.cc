// SPDX-License-Identifier: Apache-2.0
#include "agent/mask/octets.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>

#include "agent/mask/ff1.h"

namespace gatehouse::mask {
namespace {

bool needs_key(const Act& act) {
  return act.method == Method::kHash || act.method == Method::kTokenise;
}

// As many pseudorandom bytes as asked for, from all of `value`.
void fill(const MaskKey& key, Domain domain, std::string_view value, std::span<unsigned char> out) {
  const MaskKey::Digest digest = key.hmac(static_cast<uint8_t>(domain), bytes_of(value));
  MaskKey::Block block{};
  for (size_t i = 0; i < out.size(); ++i) {
    if (i % 16 == 0) {
      std::copy_n(digest.begin(), 16, block.begin());
      for (size_t k = 0; k < 8; ++k) block[k] ^= static_cast<std::byte>((i / 16) >> (8 * k) & 0xff);
      key.encrypt(block);
    }
    out[i] = std::to_integer<unsigned char>(block[i % 16]);
  }
}

std::string_view as_text(std::span<const unsigned char> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// FF1 over the half bytes `from` to the end; false if it does not take so many.
bool tokenise_nibbles(const Act& act, std::span<unsigned char> bytes, size_t from = 0) {
  const size_t count = bytes.size() * 2 - from;
  if (!ff1_takes(16, count)) return false;
  std::array<uint16_t, kFf1NumeralsMax> numerals;
  const auto used = std::span{numerals}.first(count);
  for (size_t i = 0; i < count; ++i) {
    const unsigned char byte = bytes[(from + i) / 2];
    used[i] = (from + i) % 2 == 0 ? byte >> 4 : byte & 15;
  }
  ff1_encrypt(*act.key, 16, {}, used);
  for (size_t i = 0; i < count; ++i) {
    unsigned char& byte = bytes[(from + i) / 2];
    byte = static_cast<unsigned char>((from + i) % 2 == 0 ? (byte & 0x0f) | used[i] << 4 : (byte & 0xf0) | used[i]);
  }
  return true;
}

void clear_behind(std::span<unsigned char> bytes, size_t bits) {
  for (size_t i = 0; i < bytes.size(); ++i) {
    const size_t left = bits > 8 * i ? bits - 8 * i : 0;
    if (left < 8) bytes[i] = static_cast<unsigned char>(bytes[i] & (0xff00 >> left));
  }
}

}  // namespace

std::optional<Network> parse_network(std::string_view text, bool is_cidr) {
  Network network{.is_cidr = is_cidr};
  const size_t slash = text.find('/');
  const std::string host(text.substr(0, slash));
  if (host.size() > 64) return std::nullopt;
  network.is_v6 = host.find(':') != std::string::npos;
  if (inet_pton(network.is_v6 ? AF_INET6 : AF_INET, host.c_str(), network.address.data()) != 1) return std::nullopt;
  network.bits = network.is_v6 ? 128 : 32;
  if (slash == std::string_view::npos) return network;
  const std::string_view bits = text.substr(slash + 1);
  const auto parsed = std::from_chars(bits.data(), bits.data() + bits.size(), network.bits);
  if (parsed.ec != std::errc{} || network.bits > (network.is_v6 ? 128 : 32)) return std::nullopt;
  return network;
}

void append_network(const Network& network, std::string& out) {
  std::array<char, 64> text{};
  inet_ntop(network.is_v6 ? AF_INET6 : AF_INET, network.address.data(), text.data(), text.size());
  out += text.data();
  if (network.is_cidr || network.bits != (network.is_v6 ? 128 : 32)) out += "/" + std::to_string(network.bits);
}

void mask_network(const Act& act, Network& network) {
  const auto address = std::span{network.address}.first(network.is_v6 ? 16 : 4);
  const auto bytes = std::span<unsigned char>(address);
  if (needs_key(act) && act.key == nullptr) {
    std::ranges::fill(bytes, 0);
  } else if (act.method == Method::kPartial || act.method == Method::kBucket) {
    const bool coarse = act.method == Method::kBucket;
    clear_behind(bytes, network.is_v6 ? (coarse ? 32 : 48) : (coarse ? 16 : 24));
  } else if (act.method == Method::kHash) {
    std::array<unsigned char, 16> hashed{};
    fill(*act.key, Domain::kInet, as_text(bytes), hashed);
    std::copy_n(hashed.begin(), bytes.size(), bytes.begin());
    bytes[0] = network.is_v6 ? 0xfd : 10;  // private ones: nobody's address
  } else if (act.method == Method::kTokenise) {
    tokenise_nibbles(act, bytes);
  } else {
    std::ranges::fill(bytes, 0);
  }
  if (network.is_cidr) clear_behind(bytes, network.bits);
}

void mask_uuid(const Act& act, std::span<unsigned char, 16> uuid) {
  if (needs_key(act) && act.key != nullptr) {
    const unsigned char version = uuid[6] & 0xf0, variant = uuid[8] & 0xc0;
    if (act.method == Method::kHash) {
      std::array<unsigned char, 16> hashed{};
      fill(*act.key, Domain::kUuid, as_text(uuid), hashed);
      std::ranges::copy(hashed, uuid.begin());
      uuid[6] = static_cast<unsigned char>((uuid[6] & 0x0f) | 0x80);  // version 8: by the maker's own rule
      uuid[8] = static_cast<unsigned char>((uuid[8] & 0x3f) | 0x80);
    } else {
      // The two half bytes that tell version and variant keep their place; FF1 runs over the other thirty.
      std::array<unsigned char, 15> rest{};
      for (size_t i = 0, to = 0; i < 32; ++i) {
        if (i == 12 || i == 16) continue;
        const unsigned nibble = i % 2 == 0 ? uuid[i / 2] >> 4 : uuid[i / 2] & 15u;
        rest[to / 2] = static_cast<unsigned char>(rest[to / 2] | (to % 2 == 0 ? nibble << 4 : nibble));
        ++to;
      }
      const unsigned kept = uuid[8] & 0x30u;
      tokenise_nibbles(act, rest);
      std::ranges::fill(uuid, 0);
      for (size_t i = 0, from = 0; i < 32; ++i) {
        if (i == 12 || i == 16) continue;
        const unsigned nibble = from % 2 == 0 ? rest[from / 2] >> 4 : rest[from / 2] & 15u;
        uuid[i / 2] = static_cast<unsigned char>(uuid[i / 2] | (i % 2 == 0 ? nibble << 4 : nibble));
        ++from;
      }
      uuid[6] = static_cast<unsigned char>((uuid[6] & 0x0f) | version);
      uuid[8] = static_cast<unsigned char>((uuid[8] & 0x0f) | variant | kept);
    }
    return;
  }
  std::fill_n(uuid.begin(), act.method == Method::kPartial ? 14 : 16, static_cast<unsigned char>(0));
}

void mask_mac(const Act& act, std::span<unsigned char> mac) {
  if (act.method == Method::kPartial || act.method == Method::kBucket) {
    std::fill(mac.begin() + 3, mac.end(), static_cast<unsigned char>(0));
  } else if (needs_key(act) && act.key != nullptr) {
    if (act.method == Method::kTokenise) {
      tokenise_nibbles(act, mac);
      return;
    }
    std::array<unsigned char, 8> hashed{};
    fill(*act.key, Domain::kMac, as_text(mac), hashed);
    std::copy_n(hashed.begin(), mac.size(), mac.begin());
    mac[0] = static_cast<unsigned char>((mac[0] & 0xfc) | 0x02);  // locally administered
  } else {
    std::ranges::fill(mac, static_cast<unsigned char>(0));
  }
}

void mask_bytes(const Act& act, std::string_view value, std::string& out) {
  if (!needs_key(act) || act.key == nullptr) return;
  std::array<unsigned char, kFf1NumeralsMax / 2> bytes{};
  if (act.method == Method::kTokenise && value.size() <= bytes.size()) {
    const auto used = std::span{bytes}.first(value.size());
    std::copy(value.begin(), value.end(), used.begin());
    if (tokenise_nibbles(act, used)) {
      out += as_text(used);
      return;
    }
  }
  if (act.method == Method::kTokenise) act.count_fallback();
  const auto used = std::span{bytes}.first(16);
  fill(*act.key, Domain::kBytes, value, used);
  out += as_text(used);
}

bool decode_bytea(std::string_view text, std::string& out) {
  if (text.starts_with("\\x")) {
    text.remove_prefix(2);
    if (text.size() % 2 != 0) return false;
    for (size_t i = 0; i < text.size(); i += 2) {
      const int high = hex_value(text[i]), low = hex_value(text[i + 1]);
      if (high < 0 || low < 0) return false;
      out.push_back(static_cast<char>(high << 4 | low));
    }
    return true;
  }
  const auto is_octal = [](char c) { return c >= '0' && c <= '7'; };
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      out.push_back(text[i]);
    } else if (text.substr(i + 1).starts_with('\\')) {
      out.push_back(text[i++]);
    } else if (i + 3 < text.size() && is_octal(text[i + 1]) && is_octal(text[i + 2]) && is_octal(text[i + 3])) {
      out.push_back(static_cast<char>((text[i + 1] - '0') << 6 | (text[i + 2] - '0') << 3 | (text[i + 3] - '0')));
      i += 3;
    } else {
      return false;
    }
  }
  return true;
}

void append_bytea(std::string_view bytes, bool as_hex, std::string& out) {
  if (as_hex) out += "\\x";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (as_hex) {
      out.push_back(kHexDigits[byte >> 4]);
      out.push_back(kHexDigits[byte & 15]);
    } else if (c == '\\') {
      out += "\\\\";
    } else if (byte < 0x20 || byte > 0x7e) {
      out.push_back('\\');
      for (const int shift : {6, 3, 0}) out.push_back(static_cast<char>('0' + (byte >> shift & 7)));
    } else {
      out.push_back(c);
    }
  }
}

void mask_bits(const Act& act, std::span<unsigned char> bytes, size_t bits) {
  if (needs_key(act) && act.key != nullptr) {
    if (act.method == Method::kTokenise && ff1_takes(2, bits)) {
      std::array<uint16_t, kFf1NumeralsMax> numerals;
      const auto used = std::span{numerals}.first(bits);
      for (size_t i = 0; i < bits; ++i) used[i] = bytes[i / 8] >> (7 - i % 8) & 1;
      ff1_encrypt(*act.key, 2, {}, used);
      std::ranges::fill(bytes, static_cast<unsigned char>(0));
      for (size_t i = 0; i < bits; ++i)
        bytes[i / 8] = static_cast<unsigned char>(bytes[i / 8] | used[i] << (7 - i % 8));
      return;
    }
    // So few values cannot be told from each other's hash: each could be tried.
    if (bits >= 20) {
      if (act.method == Method::kTokenise) act.count_fallback();
      const std::string value(as_text(bytes));
      fill(*act.key, Domain::kBits, value, bytes);
      clear_behind(bytes, bits);
      return;
    }
  }
  std::ranges::fill(bytes, static_cast<unsigned char>(0));
}

}  // namespace gatehouse::mask
