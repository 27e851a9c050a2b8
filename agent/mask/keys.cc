// SPDX-License-Identifier: Apache-2.0
// A context of OpenSSL's cannot be shared between threads, and costs more to set up than a block to encrypt. So the
// states that a key gives are made once and only read: SHA-256's after the padded key (the low-level interface has
// them as plain structures), and AES's round keys.
#define OPENSSL_API_COMPAT 0x10100000L
#define OPENSSL_SUPPRESS_DEPRECATED
#include "agent/mask/keys.h"

#include <openssl/aes.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"

namespace gatehouse::mask {
namespace {

constexpr size_t kHashBlockBytes = 64;
constexpr unsigned kRounds = 14;  // of AES-256

const unsigned char* raw(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}

struct Hmac {
  SHA256_CTX inner, outer;

  void begin(std::span<const std::byte> key) {
    std::array<unsigned char, kHashBlockBytes> pad{};
    GH_CHECK(key.size() <= pad.size());
    std::memcpy(pad.data(), key.data(), key.size());
    for (unsigned char& c : pad) c ^= 0x36;
    SHA256_Init(&inner);
    SHA256_Update(&inner, pad.data(), pad.size());
    for (unsigned char& c : pad) c ^= 0x36 ^ 0x5c;
    SHA256_Init(&outer);
    SHA256_Update(&outer, pad.data(), pad.size());
    OPENSSL_cleanse(pad.data(), pad.size());
  }
  [[nodiscard]] MaskKey::Digest finish(SHA256_CTX context) const {
    MaskKey::Digest digest{};
    auto* bytes = reinterpret_cast<unsigned char*>(digest.data());
    SHA256_Final(bytes, &context);
    SHA256_CTX last = outer;
    SHA256_Update(&last, bytes, digest.size());
    SHA256_Final(bytes, &last);
    return digest;
  }
};

#if defined(__x86_64__)
bool has_aes() {
  static const bool has = __builtin_cpu_supports("aes") != 0;
  return has;
}
__attribute__((target("aes,sse2"))) void encrypt_by_instruction(const std::byte* keys, MaskKey::Block& block) {
  __m128i state = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block.data()));
  const auto key = [&](unsigned round) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(keys + size_t{round} * 16));
  };
  state = _mm_xor_si128(state, key(0));
  for (unsigned round = 1; round < kRounds; ++round) state = _mm_aesenc_si128(state, key(round));
  state = _mm_aesenclast_si128(state, key(kRounds));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(block.data()), state);
}
#endif

}  // namespace

struct MaskKey::State {
  Hmac mac{};
  AES_KEY aes{};
  std::array<std::byte, size_t{kRounds + 1} * 16> round_keys{};  // FIPS 197's w, as bytes

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { OPENSSL_cleanse(this, sizeof *this); }

  void schedule(std::span<const std::byte> key) {
    GH_CHECK(AES_set_encrypt_key(raw(key.data()), 256, &aes) == 0);
    expand(key);
  }

 private:
  // FIPS 197, 5.2; the library's own schedule has no layout that could be relied on.
  void expand(std::span<const std::byte> key) {
    const auto& box = substitution();
    std::copy(key.begin(), key.end(), round_keys.begin());
    uint8_t constant = 1;
    for (size_t at = 32; at < round_keys.size(); at += 4) {
      std::array<uint8_t, 4> word;
      for (size_t i = 0; i < 4; ++i) word[i] = std::to_integer<uint8_t>(round_keys[at - 4 + i]);
      if (at % 32 == 0) {
        word = {box[word[1]], box[word[2]], box[word[3]], box[word[0]]};
        word[0] ^= constant;
        constant = twice(constant);
      } else if (at % 32 == 16) {
        for (uint8_t& c : word) c = box[c];
      }
      for (size_t i = 0; i < 4; ++i) round_keys[at + i] = round_keys[at - 32 + i] ^ std::byte{word[i]};
      OPENSSL_cleanse(word.data(), word.size());
    }
  }
  static constexpr uint8_t twice(uint8_t a) { return static_cast<uint8_t>((a << 1) ^ ((a & 0x80) != 0 ? 0x1b : 0)); }
  static const std::array<uint8_t, 256>& substitution() {
    static const std::array<uint8_t, 256> kBox = [] {
      std::array<uint8_t, 256> box{};
      // p runs through the field as powers of 3, q through their inverses.
      uint8_t p = 1, q = 1;
      const auto turn = [](uint8_t v, unsigned n) { return static_cast<uint8_t>((v << n) | (v >> (8 - n))); };
      do {
        p = static_cast<uint8_t>(p ^ twice(p));
        q = static_cast<uint8_t>(q ^ (q << 1));
        q = static_cast<uint8_t>(q ^ (q << 2));
        q = static_cast<uint8_t>(q ^ (q << 4));
        if ((q & 0x80) != 0) q ^= 0x09;
        box[p] = static_cast<uint8_t>(q ^ turn(q, 1) ^ turn(q, 2) ^ turn(q, 3) ^ turn(q, 4) ^ 0x63);
      } while (p != 1);
      box[0] = 0x63;
      return box;
    }();
    return kBox;
  }
};

MaskKey::MaskKey(std::unique_ptr<State> state) : state_(std::move(state)) {}
MaskKey::~MaskKey() = default;
MaskKey::MaskKey(MaskKey&&) noexcept = default;
MaskKey& MaskKey::operator=(MaskKey&&) noexcept = default;

MaskKey::Digest MaskKey::hmac(uint8_t domain, std::span<const std::byte> bytes) const {
  SHA256_CTX context = state_->mac.inner;
  SHA256_Update(&context, &domain, 1);
  SHA256_Update(&context, bytes.data(), bytes.size());
  return state_->mac.finish(context);
}

void MaskKey::encrypt(Block& block) const {
#if defined(__x86_64__)
  if (has_aes()) return encrypt_by_instruction(state_->round_keys.data(), block);
#endif
  auto* bytes = reinterpret_cast<unsigned char*>(block.data());
  AES_encrypt(bytes, bytes, &state_->aes);
}

std::optional<MasterKey> MasterKey::parse(std::string_view content) {
  MasterKey key;
  if (content.size() == kBytes) {
    std::memcpy(key.secret_.data(), content.data(), kBytes);
    return key;
  }
  while (content.ends_with('\n') || content.ends_with('\r')) content.remove_suffix(1);
  if (content.size() != 2 * kBytes) return std::nullopt;
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  for (size_t i = 0; i < kBytes; ++i) {
    const int high = digit(content[2 * i]), low = digit(content[2 * i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    key.secret_[i] = static_cast<std::byte>(high * 16 + low);
  }
  return key;
}

MasterKey::~MasterKey() {
  OPENSSL_cleanse(secret_.data(), secret_.size());
}
MasterKey::MasterKey(MasterKey&& other) noexcept : secret_(other.secret_) {
  OPENSSL_cleanse(other.secret_.data(), other.secret_.size());
}
MasterKey& MasterKey::operator=(MasterKey&& other) noexcept {
  if (this != &other) {
    secret_ = other.secret_;
    OPENSSL_cleanse(other.secret_.data(), other.secret_.size());
  }
  return *this;
}

// RFC 5869: extract with a salt of zeros, expand with "gatehouse mask <purpose>\0<id>".
MaskKey MasterKey::derive(std::string_view mask_id) const {
  Hmac extract{};
  extract.begin(std::array<std::byte, MaskKey::kDigestBytes>{});
  SHA256_CTX context = extract.inner;
  SHA256_Update(&context, secret_.data(), secret_.size());
  MaskKey::Digest pseudorandom = extract.finish(context);
  Hmac expand{};
  expand.begin(pseudorandom);
  const auto key_for = [&](std::string_view purpose) {
    SHA256_CTX info = expand.inner;
    SHA256_Update(&info, purpose.data(), purpose.size());
    const unsigned char end_of_purpose = 0, counter = 1;
    SHA256_Update(&info, &end_of_purpose, 1);
    SHA256_Update(&info, mask_id.data(), mask_id.size());
    SHA256_Update(&info, &counter, 1);
    return expand.finish(info);
  };
  auto state = std::make_unique<MaskKey::State>();
  MaskKey::Digest of_mac = key_for("gatehouse mask hmac");
  MaskKey::Digest of_cipher = key_for("gatehouse mask cipher");
  state->mac.begin(of_mac);
  state->schedule(of_cipher);
  for (MaskKey::Digest* secret : {&pseudorandom, &of_mac, &of_cipher}) OPENSSL_cleanse(secret->data(), secret->size());
  for (Hmac* mac : {&extract, &expand}) OPENSSL_cleanse(mac, sizeof *mac);
  return MaskKey(std::move(state));
}

}  // namespace gatehouse::mask
