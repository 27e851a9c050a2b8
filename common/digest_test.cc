// SPDX-License-Identifier: Apache-2.0
#include "common/digest.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "common/file.h"

namespace gatehouse {
namespace {

// FIPS 180-4 examples.
constexpr std::string_view kEmpty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr std::string_view kAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr std::string_view kMillionA = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

TEST(Digest, MatchesThePublishedExamples) {
  EXPECT_EQ(to_hex(sha256({})), kEmpty);
  EXPECT_EQ(to_hex(sha256(as_bytes("abc"))), kAbc);
  EXPECT_EQ(to_hex(sha256(as_bytes(std::string(1'000'000, 'a')))), kMillionA);
}

TEST(Digest, PiecesDoNotMatterAndAStreamStartsAnew) {
  const std::string text(1'000'000, 'a');
  Sha256Stream stream;
  for (size_t at = 0; at < text.size(); at += 999) stream.update(as_bytes(std::string_view(text).substr(at, 999)));
  EXPECT_EQ(to_hex(stream.finish()), kMillionA);
  stream.update(as_bytes("abc"));
  EXPECT_EQ(to_hex(stream.finish()), kAbc);
}

TEST(Digest, OfAFileWithinItsBound) {
  std::string path = ::testing::TempDir() + "digest_XXXXXX";
  const UniqueFd fd(::mkstemp(path.data()));
  ASSERT_TRUE(fd.valid());
  ASSERT_TRUE(write_all(fd.get(), as_bytes(std::string(1'000'000, 'a'))));
  const auto whole = sha256_file(path, 1'000'000);
  ASSERT_TRUE(whole.has_value());
  EXPECT_EQ(to_hex(*whole), kMillionA);
  const auto refused = sha256_file(path, 999'999);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().message(), path + ": larger than 999999 bytes");
  ::unlink(path.c_str());
  EXPECT_FALSE(sha256_file(path, 1).has_value());
}

}  // namespace
}  // namespace gatehouse
