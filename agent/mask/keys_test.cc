// SPDX-License-Identifier: Apache-2.0
// Keys against OpenSSL's own interfaces; FF1 against the samples of NIST SP 800-38G.
#include "agent/mask/keys.h"

#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "agent/mask/ff1.h"

namespace gatehouse::mask {
namespace {

std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  return bytes;
}
std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span{text});
}
const unsigned char* raw(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string hkdf(std::string_view secret, std::string_view info) {
  EVP_KDF* kdf = EVP_KDF_fetch(nullptr, "HKDF", nullptr);
  EVP_KDF_CTX* context = EVP_KDF_CTX_new(kdf);
  std::string key(secret), text(info), digest = "SHA256", out(32, 0);
  OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), 0),
                             OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, key.data(), key.size()),
                             OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, text.data(), text.size()),
                             OSSL_PARAM_construct_end()};
  EXPECT_EQ(EVP_KDF_derive(context, reinterpret_cast<unsigned char*>(out.data()), out.size(), parameters), 1);
  EVP_KDF_CTX_free(context);
  EVP_KDF_free(kdf);
  return out;
}

BlockCipher aes(const std::string& key) {
  const EVP_CIPHER* cipher = key.size() == 16   ? EVP_aes_128_ecb()
                             : key.size() == 24 ? EVP_aes_192_ecb()
                                                : EVP_aes_256_ecb();
  std::shared_ptr<EVP_CIPHER_CTX> context(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free);
  EVP_EncryptInit_ex(context.get(), cipher, nullptr, raw(key), nullptr);
  EVP_CIPHER_CTX_set_padding(context.get(), 0);
  return [context](MaskKey::Block& block) {
    int size = 0;
    auto* bytes = reinterpret_cast<unsigned char*>(block.data());
    ASSERT_EQ(EVP_EncryptUpdate(context.get(), bytes, &size, bytes, 16), 1);
  };
}

std::vector<uint16_t> numerals_of(std::string_view text) {
  std::vector<uint16_t> numerals;
  for (const char c : text) numerals.push_back(static_cast<uint16_t>(c <= '9' ? c - '0' : c - 'a' + 10));
  return numerals;
}
std::string text_of(std::span<const uint16_t> numerals) {
  std::string text;
  for (const uint16_t n : numerals) text.push_back("0123456789abcdefghijklmnopqrstuvwxyz"[n]);
  return text;
}

constexpr std::string_view kSecret = "0123456789abcdef0123456789ABCDEF";

TEST(MaskKeys, AreWhatOpensslDerives) {
  const auto master = MasterKey::parse(kSecret);
  ASSERT_TRUE(master);
  for (const std::string id : {"customer-contact", "", "x"}) {
    const MaskKey key = master->derive(id);
    const std::string of_mac = hkdf(kSecret, std::string("gatehouse mask hmac") + '\0' + id);
    const std::string of_cipher = hkdf(kSecret, std::string("gatehouse mask cipher") + '\0' + id);
    for (const size_t size : {0u, 1u, 54u, 55u, 56u, 63u, 64u, 200u}) {
      const std::string value(size, 'v');
      const auto got = key.hmac(7, bytes_of(value));
      const std::string text = "\x07" + value;
      unsigned char want[32];
      unsigned want_size = 0;
      HMAC(EVP_sha256(), of_mac.data(), 32, raw(text), text.size(), want, &want_size);
      EXPECT_TRUE(std::equal(got.begin(), got.end(), reinterpret_cast<std::byte*>(want))) << size;
    }
    MaskKey::Block got{}, want{};
    for (int i = 0; i < 100; ++i) {
      key.encrypt(got);
      aes(of_cipher)(want);
      ASSERT_EQ(got, want) << i;
    }
  }
}

TEST(MaskKeys, FilesHoldBytesOrDigits) {
  const std::string digits = "000102030405060708090a0b0c0d0e0f101112131415161718191a1B1C1D1E1F";
  const auto a = MasterKey::parse(digits), b = MasterKey::parse(digits + "\n"), c = MasterKey::parse(from_hex(digits));
  ASSERT_TRUE(a && b && c);
  EXPECT_EQ(a->derive("m").hmac(0, {}), c->derive("m").hmac(0, {}));
  EXPECT_EQ(a->derive("m").hmac(0, {}), b->derive("m").hmac(0, {}));
  EXPECT_NE(a->derive("m").hmac(0, {}), a->derive("n").hmac(0, {}));
  for (const std::string bad : {"", "short", "000102030405060708090a0b0c0d0e0f101112131415161718191a1B1C1D1E1",
                                "33 bytes are one too many, are they"})
    EXPECT_FALSE(MasterKey::parse(bad)) << bad;
  EXPECT_FALSE(MasterKey::parse(std::string(64, 'g')));
}

struct Sample {
  std::string_view key, tweak;
  unsigned radix;
  std::string_view plain, cipher;
};
// SP 800-38G, the nine FF1 samples.
constexpr std::string_view kKey = "2B7E151628AED2A6ABF7158809CF4F3CEF4359D8D580AA4F7F036D6F04FC6A94";
constexpr Sample kSamples[] = {
    {kKey.substr(0, 32), "", 10, "0123456789", "2433477484"},
    {kKey.substr(0, 32), "39383736353433323130", 10, "0123456789", "6124200773"},
    {kKey.substr(0, 32), "3737373770717273373737", 36, "0123456789abcdefghi", "a9tv40mll9kdu509eum"},
    {kKey.substr(0, 48), "", 10, "0123456789", "2830668132"},
    {kKey.substr(0, 48), "39383736353433323130", 10, "0123456789", "2496655549"},
    {kKey.substr(0, 48), "3737373770717273373737", 36, "0123456789abcdefghi", "xbj3kv35jrawxv32ysr"},
    {kKey, "", 10, "0123456789", "6657667009"},
    {kKey, "39383736353433323130", 10, "0123456789", "1001623463"},
    {kKey, "3737373770717273373737", 36, "0123456789abcdefghi", "xs8a0azh2avyalyzuwd"},
};

TEST(Ff1, IsTheStandardsOnItsSamples) {
  for (const Sample& sample : kSamples) {
    const BlockCipher cipher = aes(from_hex(sample.key));
    const std::string tweak = from_hex(sample.tweak);
    auto numerals = numerals_of(sample.plain);
    ff1_encrypt(cipher, sample.radix, bytes_of(tweak), numerals);
    EXPECT_EQ(text_of(numerals), sample.cipher);
    ff1_decrypt(cipher, sample.radix, bytes_of(tweak), numerals);
    EXPECT_EQ(text_of(numerals), sample.plain);
  }
}

// Made by a plain implementation of the standard with big integers (Python): key as in sample 9, tweak "gh".
struct Long {
  unsigned radix;
  size_t count;  // of numerals: i * 7 + 3 modulo the radix
  std::string_view cipher;
};
#include "agent/mask/ff1_long_samples.def"

TEST(Ff1, LongStrings) {
  const BlockCipher cipher = aes(from_hex(kKey));
  for (const Long& sample : kLong) {
    std::vector<uint16_t> plain;
    for (size_t i = 0; i < sample.count; ++i) plain.push_back(static_cast<uint16_t>((i * 7 + 3) % sample.radix));
    auto numerals = plain;
    ff1_encrypt(cipher, sample.radix, bytes_of("gh"), numerals);
    std::string got;
    for (const uint16_t n : numerals) got += (got.empty() ? "" : " ") + std::to_string(n);
    EXPECT_EQ(got, sample.cipher) << sample.radix << "^" << sample.count;
    ff1_decrypt(cipher, sample.radix, bytes_of("gh"), numerals);
    EXPECT_EQ(numerals, plain);
  }
}

// The way for short strings against the general one, which the samples hold.
TEST(Ff1, ShortStringsToo) {
  const MaskKey key = MasterKey::parse(kSecret)->derive("m");
  const BlockCipher cipher = [&key](MaskKey::Block& block) { key.encrypt(block); };
  for (const unsigned radix : {2u, 10u, 16u, 26u, 36u}) {
    for (size_t count = 2; count <= 80; ++count) {
      if (!ff1_takes(radix, count)) continue;
      for (const std::string_view tweak : {"", "digits", "letters", "sixteen bytes it"}) {
        std::vector<uint16_t> a, b;
        for (size_t i = 0; i < count; ++i) a.push_back(static_cast<uint16_t>((i * 11 + count) % radix));
        b = a;
        ff1_encrypt(key, radix, bytes_of(tweak), a);
        ff1_encrypt(cipher, radix, bytes_of(tweak), b);
        ASSERT_EQ(a, b) << radix << "^" << count << " " << tweak;
      }
    }
  }
}

TEST(Ff1, IsAPermutation) {
  const MaskKey key = MasterKey::parse(kSecret)->derive("m");
  std::set<std::vector<uint16_t>> seen;
  for (uint32_t i = 0; i < 1000; ++i) {
    std::vector<uint16_t> numerals;
    for (uint32_t k = 0, rest = i; k < 7; ++k, rest /= 10) numerals.push_back(static_cast<uint16_t>(rest % 10));
    ff1_encrypt(key, 10, {}, numerals);
    EXPECT_TRUE(seen.insert(numerals).second);
    EXPECT_TRUE(std::ranges::all_of(numerals, [](uint16_t n) { return n < 10; }));
  }
  EXPECT_FALSE(ff1_takes(10, 5));
  EXPECT_TRUE(ff1_takes(10, 6));
  EXPECT_FALSE(ff1_takes(26, 4));
  EXPECT_TRUE(ff1_takes(26, 5));
  EXPECT_FALSE(ff1_takes(10, 257));
}

}  // namespace
}  // namespace gatehouse::mask
