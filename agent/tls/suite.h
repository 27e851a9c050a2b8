// SPDX-License-Identifier: Apache-2.0
// Cipher suites, by the numbers of IANA's registry: what opens their records.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gatehouse::tls {

enum class Version : uint16_t { kTls12 = 0x0303, kTls13 = 0x0304 };
enum class Hash : uint8_t { kSha1, kSha256, kSha384 };
enum class Cipher : uint8_t { kAes128Gcm, kAes256Gcm, kChaCha20Poly1305, kAes128Cbc, kAes256Cbc };

struct Suite {
  uint16_t id = 0;
  Version version = Version::kTls13;
  Cipher cipher = Cipher::kAes128Gcm;
  Hash hash = Hash::kSha256;  // of the key schedule
  Hash mac = Hash::kSha256;   // of the records, with CBC

  [[nodiscard]] bool is_cbc() const { return cipher == Cipher::kAes128Cbc || cipher == Cipher::kAes256Cbc; }
  [[nodiscard]] size_t key_bytes() const {
    return cipher == Cipher::kAes128Gcm || cipher == Cipher::kAes128Cbc ? 16 : 32;
  }
};

constexpr size_t hash_bytes(Hash hash) {
  return hash == Hash::kSha1 ? 20 : hash == Hash::kSha256 ? 32 : 48;
}

// Null if there is none that can be opened.
const Suite* find_suite(uint16_t id);

}  // namespace gatehouse::tls
