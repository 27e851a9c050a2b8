// SPDX-License-Identifier: Apache-2.0
// What becomes of values that are bytes: addresses, uuid, bytea, bit strings. In place, in their binary form.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "agent/mask/act.h"

namespace gatehouse::mask {

struct Network {
  bool is_v6 = false;
  bool is_cidr = false;
  uint8_t bits = 0;
  std::array<unsigned char, 16> address{};
};
std::optional<Network> parse_network(std::string_view text, bool is_cidr);
void append_network(const Network& network, std::string& out);
void mask_network(const Act& act, Network& network);

void mask_uuid(const Act& act, std::span<unsigned char, 16> uuid);
// 6 or 8 bytes: partial and bucket leave the maker's half.
void mask_mac(const Act& act, std::span<unsigned char> mac);
// bytea; may change its length.
void mask_bytes(const Act& act, std::string_view value, std::string& out);
// bytea's text: "\\x6f6b" or octal escapes ("o\\001k"). False: neither.
bool decode_bytea(std::string_view text, std::string& out);
void append_bytea(std::string_view bytes, bool as_hex, std::string& out);
// `bits` of `bytes`, which keep their number; what is behind them in the last byte stays 0.
void mask_bits(const Act& act, std::span<unsigned char> bytes, size_t bits);

}  // namespace gatehouse::mask
