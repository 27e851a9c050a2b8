// SPDX-License-Identifier: Apache-2.0
// FF1 of NIST SP 800-38G: a permutation of the strings of one length over one alphabet, by key and tweak.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "agent/mask/keys.h"

namespace gatehouse::mask {

// The standard (revision 1) demands at least a million strings; below, a table of all of them is quickly made.
inline constexpr uint64_t kFf1DomainMin = 1'000'000;
// Numerals of one string that are taken. Twice what the longest number that people write has.
inline constexpr size_t kFf1NumeralsMax = 256;
inline constexpr unsigned kFf1RadixMax = 256;

// Whether radix^count reaches kFf1DomainMin and the count is taken.
bool ff1_takes(unsigned radix, size_t count);

// `numerals`: each below `radix`, 2 to kFf1RadixMax; encrypted in place. ff1_takes() must hold. `Cipher`: AES with the
// key. The tweak is at most 16 bytes.
void ff1_encrypt(const MaskKey& key, unsigned radix, std::span<const std::byte> tweak, std::span<uint16_t> numerals);

// The same with any block cipher, and the other way: what the tests do with the standard's samples.
using BlockCipher = std::function<void(MaskKey::Block&)>;
void ff1_encrypt(const BlockCipher& cipher, unsigned radix, std::span<const std::byte> tweak,
                 std::span<uint16_t> numerals);
void ff1_decrypt(const BlockCipher& cipher, unsigned radix, std::span<const std::byte> tweak,
                 std::span<uint16_t> numerals);

}  // namespace gatehouse::mask
