// SPDX-License-Identifier: Apache-2.0
#include "agent/tls/record_opener.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <vector>

namespace gatehouse::tls {
namespace {

constexpr size_t kTagBytes = 16;
constexpr size_t kExplicitNonceBytes = 8;  // TLS 1.2, GCM
constexpr size_t kBlockBytes = 16;         // CBC

const EVP_CIPHER* cipher_of(Cipher cipher) {
  switch (cipher) {
    case Cipher::kAes128Gcm:
      return EVP_aes_128_gcm();
    case Cipher::kAes256Gcm:
      return EVP_aes_256_gcm();
    case Cipher::kChaCha20Poly1305:
      return EVP_chacha20_poly1305();
    case Cipher::kAes128Cbc:
      return EVP_aes_128_cbc();
    case Cipher::kAes256Cbc:
      return EVP_aes_256_cbc();
  }
  return nullptr;
}

const unsigned char* raw(std::span<const std::byte> bytes) {
  return reinterpret_cast<const unsigned char*>(bytes.data());
}
unsigned char* raw(std::span<std::byte> bytes) {
  return reinterpret_cast<unsigned char*>(bytes.data());
}

std::array<std::byte, 8> big_endian(uint64_t number) {
  std::array<std::byte, 8> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(number >> (56 - 8 * i));
  return bytes;
}

// TLS 1.2: seq_num + type + version + length.
std::array<std::byte, 13> associated_data(uint64_t number, std::span<const std::byte, kRecordHeaderBytes> header,
                                          size_t length) {
  std::array<std::byte, 13> data{};
  std::ranges::copy(big_endian(number), data.begin());
  std::copy_n(header.begin(), 3, data.begin() + 8);
  data[11] = static_cast<std::byte>(length >> 8);
  data[12] = static_cast<std::byte>(length);
  return data;
}

}  // namespace

void RecordOpener::Free::operator()(evp_cipher_ctx_st* context) const {
  EVP_CIPHER_CTX_free(context);
}

std::optional<RecordOpener> RecordOpener::make(const Suite& suite, const RecordKeys& keys, bool encrypts_then_macs) {
  RecordOpener opener;
  opener.suite_ = &suite;
  opener.encrypts_then_macs_ = encrypts_then_macs;
  opener.iv_ = keys.iv;
  opener.context_.reset(EVP_CIPHER_CTX_new());
  if (!opener.context_ || EVP_DecryptInit_ex(opener.context_.get(), cipher_of(suite.cipher), nullptr,
                                             raw(std::span<const std::byte>{keys.key}), nullptr) != 1)
    return std::nullopt;
  if (suite.is_cbc()) {
    EVP_CIPHER_CTX_set_padding(opener.context_.get(), 0);
    opener.mac_key_ = std::make_unique<RecordKeys>();
    opener.mac_key_->mac = keys.mac;
  }
  return opener;
}

std::optional<size_t> RecordOpener::overhead() const {
  if (suite_->is_cbc()) return std::nullopt;
  if (suite_->version == Version::kTls13) return kTagBytes + 1;
  return suite_->cipher == Cipher::kChaCha20Poly1305 ? kTagBytes : kTagBytes + kExplicitNonceBytes;
}

std::optional<RecordOpener::Opened> RecordOpener::open(uint64_t number,
                                                       std::span<const std::byte, kRecordHeaderBytes> header,
                                                       std::span<const std::byte> body, std::span<std::byte> out) {
  if (body.size() > out.size()) return std::nullopt;
  return suite_->is_cbc() ? open_cbc(number, header, body, out) : open_aead(number, header, body, out);
}

std::optional<RecordOpener::Opened> RecordOpener::open_aead(uint64_t number,
                                                            std::span<const std::byte, kRecordHeaderBytes> header,
                                                            std::span<const std::byte> body, std::span<std::byte> out) {
  const bool is_13 = suite_->version == Version::kTls13;
  const size_t skipped = !is_13 && suite_->cipher != Cipher::kChaCha20Poly1305 ? kExplicitNonceBytes : 0;
  if (body.size() < skipped + kTagBytes) return std::nullopt;
  std::array<std::byte, 12> nonce = iv_;
  if (skipped > 0) {
    std::copy_n(body.begin(), kExplicitNonceBytes, nonce.begin() + 4);
  } else {
    const auto bytes = big_endian(number);
    for (size_t i = 0; i < bytes.size(); ++i) nonce[4 + i] ^= bytes[i];
  }
  const auto sealed = body.subspan(skipped, body.size() - skipped - kTagBytes);
  std::array<unsigned char, kTagBytes> tag{};
  std::copy_n(raw(body.last(kTagBytes)), kTagBytes, tag.begin());

  EVP_CIPHER_CTX* const context = context_.get();
  int bytes = 0, more = 0;
  if (EVP_DecryptInit_ex(context, nullptr, nullptr, nullptr, raw(std::span<const std::byte>{nonce})) != 1 ||
      EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag.data()) != 1)
    return std::nullopt;
  const auto legacy = associated_data(number, header, sealed.size());
  const std::span<const std::byte> data = is_13 ? std::span<const std::byte>{header} : std::span{legacy};
  if (EVP_DecryptUpdate(context, nullptr, &bytes, raw(data), static_cast<int>(data.size())) != 1 ||
      EVP_DecryptUpdate(context, raw(out), &bytes, raw(sealed), static_cast<int>(sealed.size())) != 1 ||
      EVP_DecryptFinal_ex(context, raw(out) + bytes, &more) != 1)
    return std::nullopt;

  std::span<const std::byte> plain = out.first(sealed.size());
  if (!is_13) return Opened{.type = static_cast<ContentType>(header[0]), .plain = plain, .skipped = skipped};
  // TLSInnerPlaintext: the content, its type, zeros.
  while (!plain.empty() && plain.back() == std::byte{0}) plain = plain.first(plain.size() - 1);
  if (plain.empty()) return std::nullopt;
  return Opened{.type = static_cast<ContentType>(plain.back()), .plain = plain.first(plain.size() - 1)};
}

bool RecordOpener::is_mac_of(uint64_t number, std::span<const std::byte, kRecordHeaderBytes> header,
                             std::span<const std::byte> content, std::span<const std::byte> mac) const {
  const auto head = associated_data(number, header, content.size());
  std::vector<std::byte> input(head.begin(), head.end());
  input.insert(input.end(), content.begin(), content.end());
  const EVP_MD* const digest = suite_->mac == Hash::kSha1     ? EVP_sha1()
                               : suite_->mac == Hash::kSha256 ? EVP_sha256()
                                                              : EVP_sha384();
  std::array<unsigned char, kSecretBytesMax> want{};
  unsigned int bytes = 0;
  return HMAC(digest, mac_key_->mac.data(), static_cast<int>(hash_bytes(suite_->mac)),
              raw(std::span<const std::byte>{input}), input.size(), want.data(), &bytes) != nullptr &&
         CRYPTO_memcmp(want.data(), mac.data(), mac.size()) == 0;
}

std::optional<RecordOpener::Opened> RecordOpener::open_cbc(uint64_t number,
                                                           std::span<const std::byte, kRecordHeaderBytes> header,
                                                           std::span<const std::byte> body, std::span<std::byte> out) {
  const size_t mac_bytes = hash_bytes(suite_->mac);
  std::span<const std::byte> sealed = body;
  if (encrypts_then_macs_) {
    if (body.size() < mac_bytes) return std::nullopt;
    sealed = body.first(body.size() - mac_bytes);
    if (!is_mac_of(number, header, sealed, body.last(mac_bytes))) return std::nullopt;
  }
  if (sealed.size() < 2 * kBlockBytes || sealed.size() % kBlockBytes != 0) return std::nullopt;
  const auto blocks = sealed.subspan(kBlockBytes);
  int bytes = 0;
  if (EVP_DecryptInit_ex(context_.get(), nullptr, nullptr, nullptr, raw(sealed.first(kBlockBytes))) != 1 ||
      EVP_DecryptUpdate(context_.get(), raw(out), &bytes, raw(blocks), static_cast<int>(blocks.size())) != 1)
    return std::nullopt;
  std::span<const std::byte> plain = out.first(blocks.size());
  // Each byte of the padding, and the one after it, is its length.
  const auto padding = std::to_integer<size_t>(plain.back()) + 1;
  if (padding > plain.size() ||
      std::ranges::any_of(plain.last(padding), [&](std::byte b) { return b != plain.back(); }))
    return std::nullopt;
  plain = plain.first(plain.size() - padding);
  if (!encrypts_then_macs_) {
    if (plain.size() < mac_bytes) return std::nullopt;
    const auto content = plain.first(plain.size() - mac_bytes);
    if (!is_mac_of(number, header, content, plain.last(mac_bytes))) return std::nullopt;
    plain = content;
  }
  return Opened{.type = static_cast<ContentType>(header[0]), .plain = plain, .skipped = kBlockBytes};
}

}  // namespace gatehouse::tls
