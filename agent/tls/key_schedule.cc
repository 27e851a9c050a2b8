// SPDX-License-Identifier: Apache-2.0
#include "agent/tls/key_schedule.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/check.h"

namespace gatehouse::tls {
namespace {

constexpr size_t kHashBytesMax = 48;
constexpr size_t kLabelBytesMax = 64;

const EVP_MD* digest_of(Hash hash) {
  switch (hash) {
    case Hash::kSha1:
      return EVP_sha1();
    case Hash::kSha256:
      return EVP_sha256();
    case Hash::kSha384:
      return EVP_sha384();
  }
  return nullptr;
}

const unsigned char* raw(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}

void hmac(Hash hash, std::span<const std::byte> key, std::span<const std::byte> data, std::byte* out) {
  unsigned int bytes = 0;
  const unsigned char* const done = HMAC(digest_of(hash), key.data(), static_cast<int>(key.size()), raw(data),
                                         data.size(), reinterpret_cast<unsigned char*>(out), &bytes);
  GH_CHECK(done != nullptr && bytes == hash_bytes(hash));
}

void append(std::vector<std::byte>& to, std::span<const std::byte> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

void append(std::vector<std::byte>& to, std::string_view text) {
  append(to, std::as_bytes(std::span{text}));
}

}  // namespace

RecordKeys::~RecordKeys() {
  OPENSSL_cleanse(key.data(), key.size());
  OPENSSL_cleanse(iv.data(), iv.size());
  OPENSSL_cleanse(mac.data(), mac.size());
}

void expand_label(Hash hash, std::span<const std::byte> secret, std::string_view label, std::span<std::byte> out) {
  GH_CHECK(out.size() <= hash_bytes(hash) && label.size() <= kLabelBytesMax);
  // struct HkdfLabel { uint16 length; opaque label<7..255>; opaque context<0..255>; }, then HKDF's counter.
  static constexpr std::string_view kPrefix = "tls13 ";
  std::vector<std::byte> info{static_cast<std::byte>(out.size() >> 8), static_cast<std::byte>(out.size()),
                              static_cast<std::byte>(kPrefix.size() + label.size())};
  append(info, kPrefix);
  append(info, label);
  info.push_back(std::byte{0});
  info.push_back(std::byte{1});
  std::array<std::byte, kHashBytesMax> block{};
  hmac(hash, secret, info, block.data());
  std::copy_n(block.begin(), out.size(), out.begin());
  OPENSSL_cleanse(block.data(), block.size());
}

void prf(Hash hash, std::span<const std::byte> secret, std::string_view label, std::span<const std::byte> seed,
         std::span<std::byte> out) {
  const size_t size = hash_bytes(hash);
  std::vector<std::byte> first;
  append(first, label);
  append(first, seed);
  // A(i), then the label and seed.
  std::vector<std::byte> input(size);
  hmac(hash, secret, first, input.data());
  append(input, first);
  std::array<std::byte, kHashBytesMax> block{};
  while (!out.empty()) {
    hmac(hash, secret, input, block.data());
    const size_t take = std::min(size, out.size());
    std::copy_n(block.begin(), take, out.begin());
    out = out.subspan(take);
    hmac(hash, secret, std::span{input}.first(size), block.data());
    std::copy_n(block.begin(), size, input.begin());
  }
  OPENSSL_cleanse(block.data(), block.size());
  OPENSSL_cleanse(input.data(), input.size());
}

void derive_keys(const Suite& suite, std::span<const std::byte> traffic_secret, RecordKeys& keys) {
  expand_label(suite.hash, traffic_secret, "key", std::span{keys.key}.first(suite.key_bytes()));
  expand_label(suite.hash, traffic_secret, "iv", keys.iv);
}

void update_secret(const Suite& suite, std::span<std::byte> traffic_secret) {
  std::array<std::byte, kSecretBytesMax> next{};
  const auto out = std::span{next}.first(hash_bytes(suite.hash));
  expand_label(suite.hash, traffic_secret.first(out.size()), "traffic upd", out);
  std::ranges::copy(out, traffic_secret.begin());
  OPENSSL_cleanse(next.data(), next.size());
}

void derive_keys(const Suite& suite, std::span<const std::byte> master_secret, const Random& client,
                 const Random& server, RecordKeys& client_keys, RecordKeys& server_keys) {
  std::array<std::byte, 2 * kRandomBytes> seed{};
  std::ranges::copy(server, seed.begin());
  std::ranges::copy(client, seed.begin() + kRandomBytes);
  const size_t mac = suite.is_cbc() ? hash_bytes(suite.mac) : 0;
  const size_t key = suite.key_bytes();
  const size_t iv = suite.is_cbc() ? 0 : suite.cipher == Cipher::kChaCha20Poly1305 ? 12 : 4;
  std::array<std::byte, 2 * (48 + 32 + 12)> block{};
  prf(suite.hash, master_secret, "key expansion", seed, std::span{block}.first(2 * (mac + key + iv)));
  std::span<const std::byte> rest{block};
  const auto take = [&rest](size_t bytes, std::byte* to) {
    std::copy_n(rest.begin(), bytes, to);
    rest = rest.subspan(bytes);
  };
  take(mac, client_keys.mac.data());
  take(mac, server_keys.mac.data());
  take(key, client_keys.key.data());
  take(key, server_keys.key.data());
  take(iv, client_keys.iv.data());
  take(iv, server_keys.iv.data());
  OPENSSL_cleanse(block.data(), block.size());
}

}  // namespace gatehouse::tls
