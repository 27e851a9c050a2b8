// SPDX-License-Identifier: Apache-2.0
#include "agent/tls/suite.h"

#include <algorithm>
#include <array>

namespace gatehouse::tls {
namespace {

using enum Cipher;
using enum Hash;

constexpr Suite modern(uint16_t id, Cipher cipher, Hash hash) {
  return {.id = id, .version = Version::kTls13, .cipher = cipher, .hash = hash, .mac = hash};
}
constexpr Suite aead(uint16_t id, Cipher cipher, Hash hash) {
  return {.id = id, .version = Version::kTls12, .cipher = cipher, .hash = hash, .mac = hash};
}
// The key schedule's hash is SHA-256 unless the suite names a longer one.
constexpr Suite cbc(uint16_t id, Cipher cipher, Hash mac) {
  return {
      .id = id, .version = Version::kTls12, .cipher = cipher, .hash = mac == kSha384 ? kSha384 : kSha256, .mac = mac};
}

constexpr std::array kSuites{
    modern(0x1301, kAes128Gcm, kSha256), modern(0x1302, kAes256Gcm, kSha384),
    modern(0x1303, kChaCha20Poly1305, kSha256),
    // TLS_{RSA,DHE_RSA,DHE_DSS,DH_anon,PSK,DHE_PSK,RSA_PSK}_WITH_AES_…_GCM
    aead(0x009c, kAes128Gcm, kSha256), aead(0x009d, kAes256Gcm, kSha384), aead(0x009e, kAes128Gcm, kSha256),
    aead(0x009f, kAes256Gcm, kSha384), aead(0x00a2, kAes128Gcm, kSha256), aead(0x00a3, kAes256Gcm, kSha384),
    aead(0x00a6, kAes128Gcm, kSha256), aead(0x00a7, kAes256Gcm, kSha384), aead(0x00a8, kAes128Gcm, kSha256),
    aead(0x00a9, kAes256Gcm, kSha384), aead(0x00aa, kAes128Gcm, kSha256), aead(0x00ab, kAes256Gcm, kSha384),
    aead(0x00ac, kAes128Gcm, kSha256), aead(0x00ad, kAes256Gcm, kSha384),
    // TLS_ECDHE_{ECDSA,RSA}_WITH_AES_…_GCM, TLS_{ECDHE_RSA,ECDHE_ECDSA,DHE_RSA,PSK,ECDHE_PSK,DHE_PSK}_WITH_CHACHA20…
    aead(0xc02b, kAes128Gcm, kSha256), aead(0xc02c, kAes256Gcm, kSha384), aead(0xc02f, kAes128Gcm, kSha256),
    aead(0xc030, kAes256Gcm, kSha384), aead(0xcca8, kChaCha20Poly1305, kSha256),
    aead(0xcca9, kChaCha20Poly1305, kSha256), aead(0xccaa, kChaCha20Poly1305, kSha256),
    aead(0xccab, kChaCha20Poly1305, kSha256), aead(0xccac, kChaCha20Poly1305, kSha256),
    aead(0xccad, kChaCha20Poly1305, kSha256),
    // TLS_{RSA,DHE_DSS,DHE_RSA,DH_anon}_WITH_AES_…_CBC_…
    cbc(0x002f, kAes128Cbc, kSha1), cbc(0x0032, kAes128Cbc, kSha1), cbc(0x0033, kAes128Cbc, kSha1),
    cbc(0x0034, kAes128Cbc, kSha1), cbc(0x0035, kAes256Cbc, kSha1), cbc(0x0038, kAes256Cbc, kSha1),
    cbc(0x0039, kAes256Cbc, kSha1), cbc(0x003a, kAes256Cbc, kSha1), cbc(0x003c, kAes128Cbc, kSha256),
    cbc(0x003d, kAes256Cbc, kSha256), cbc(0x0040, kAes128Cbc, kSha256), cbc(0x0067, kAes128Cbc, kSha256),
    cbc(0x006a, kAes256Cbc, kSha256), cbc(0x006b, kAes256Cbc, kSha256),
    // TLS_ECDHE_{ECDSA,RSA}_WITH_AES_…_CBC_…
    cbc(0xc009, kAes128Cbc, kSha1), cbc(0xc00a, kAes256Cbc, kSha1), cbc(0xc013, kAes128Cbc, kSha1),
    cbc(0xc014, kAes256Cbc, kSha1), cbc(0xc023, kAes128Cbc, kSha256), cbc(0xc024, kAes256Cbc, kSha384),
    cbc(0xc027, kAes128Cbc, kSha256), cbc(0xc028, kAes256Cbc, kSha384)};

}  // namespace

const Suite* find_suite(uint16_t id) {
  const auto* const found = std::ranges::find(kSuites, id, &Suite::id);
  return found == kSuites.end() ? nullptr : found;
}

}  // namespace gatehouse::tls
