// SPDX-License-Identifier: Apache-2.0
// The oracle is RFC 8448, section 3.
#include "agent/tls/key_schedule.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "agent/tls/record_opener.h"

namespace gatehouse::tls {
namespace {

std::vector<std::byte> from_hex(std::string_view text) {
  std::vector<std::byte> bytes;
  std::string digits;
  for (const char c : text) {
    if (c == ' ') continue;
    digits += c;
    if (digits.size() < 2) continue;
    bytes.push_back(static_cast<std::byte>(std::stoi(digits, nullptr, 16)));
    digits.clear();
  }
  return bytes;
}

constexpr std::string_view kServerSecret =
    "a1 1a f9 f0 55 31 f8 56 ad 47 11 6b 45 a9 50 32 82 04 b4 f4 4b fb 6b 3a 4b 4f 1f 3f cb 63 16 43";
constexpr std::string_view kClientSecret =
    "9e 40 64 6c e7 9a 7f 9d c0 5a f8 88 9b ce 65 52 87 5a fa 0b 06 df 00 87 f7 92 eb b7 c1 75 04 a5";
constexpr std::string_view kClientRecord =
    "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b 98 19 a8 a5 b4 "
    "6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4";

TEST(TlsKeySchedule, DerivesTheKeysOfTheRfc) {
  const Suite& suite = *find_suite(0x1301);
  RecordKeys keys;
  derive_keys(suite, from_hex(kServerSecret), keys);
  EXPECT_EQ(std::vector(keys.key.begin(), keys.key.begin() + 16),
            from_hex("9f 02 28 3b 6c 9c 07 ef c2 6b b9 f2 ac 92 e3 56"));
  EXPECT_EQ(std::vector(keys.iv.begin(), keys.iv.end()), from_hex("cf 78 2b 88 dd 83 54 9a ad f1 e9 84"));
}

TEST(TlsKeySchedule, OpensTheRecordOfTheRfc) {
  const Suite& suite = *find_suite(0x1301);
  RecordKeys keys;
  derive_keys(suite, from_hex(kClientSecret), keys);
  auto opener = RecordOpener::make(suite, keys, false);
  ASSERT_TRUE(opener);
  const std::vector<std::byte> record = from_hex(kClientRecord);
  std::vector<std::byte> out(kRecordBodyBytesMax);
  const auto header = std::span<const std::byte>(record).first<5>();
  const auto body = std::span<const std::byte>(record).subspan(5);
  const auto opened = opener->open(0, header, body, out);
  ASSERT_TRUE(opened);
  EXPECT_EQ(opened->type, ContentType::kApplicationData);
  ASSERT_EQ(opened->plain.size(), 50U);
  for (size_t i = 0; i < 50; ++i) EXPECT_EQ(opened->plain[i], static_cast<std::byte>(i));
  EXPECT_FALSE(opener->open(1, header, body, out));
}

// RFC 5246's PRF with SHA-256, as its authors published it (IETF TLS mailing list; not in the RFC).
TEST(TlsKeySchedule, PrfOfTls12) {
  std::vector<std::byte> out(100);
  const std::string label = "test label";
  prf(Hash::kSha256, from_hex("9b be 43 6b a9 40 f0 17 b1 76 52 84 9a 71 db 35"), label,
      from_hex("a0 ba 9f 93 6c da 31 18 27 a6 f7 96 ff d5 19 8c"), out);
  EXPECT_EQ(std::vector(out.begin(), out.begin() + 16), from_hex("e3 f2 29 ba 72 7b e1 7b 8d 12 26 20 55 7c d4 53"));
  EXPECT_EQ(std::vector(out.end() - 4, out.end()), from_hex("87 34 7b 66"));
}

}  // namespace
}  // namespace gatehouse::tls
