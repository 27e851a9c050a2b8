// SPDX-License-Identifier: Apache-2.0
#include "collector/ingest/batch_check.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include "common/digest.h"
#include "common/file.h"
#include "common/limits.h"

namespace gatehouse::ingest {
namespace {

std::string compress(std::string_view content) {
  std::string out(ZSTD_compressBound(content.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), content.data(), content.size(), 1));
  return out;
}

void set_payload(v1::PublishRequest& request, std::string payload) {
  const Sha256 digest = sha256(as_bytes(payload));
  request.set_payload_sha256(digest.data(), digest.size());
  request.set_payload_zstd(std::move(payload));
}

v1::Batch batch() {
  v1::Batch made;
  made.set_agent_id("a");
  made.set_boot_id("0a");
  made.set_first_sequence(7);
  made.add_events()->mutable_statement()->set_text("SELECT 1");
  made.add_events();
  return made;
}

v1::PublishRequest request_of(const v1::Batch& made) {
  v1::PublishRequest request;
  request.set_boot_id("0a");
  request.set_first_sequence(7);
  request.set_event_count(2);
  set_payload(request, compress(made.SerializeAsString()));
  return request;
}

Refusal check(const v1::PublishRequest& request) {
  return BatchChecker().check(request, "a");
}

TEST(BatchCheck, GoodOneIsTaken) {
  EXPECT_EQ(check(request_of(batch())), Refusal::kNone);
}

TEST(BatchCheck, EveryLieHasItsName) {
  const v1::PublishRequest good = request_of(batch());
  v1::PublishRequest bad = good;
  bad.clear_payload_zstd();
  EXPECT_EQ(check(bad), Refusal::kSize);
  bad = good;
  bad.set_payload_zstd(std::string(5 << 20, 'x'));
  EXPECT_EQ(check(bad), Refusal::kSize);
  for (const char* boot_id : {"", "A", "../x", "a b"}) {
    bad = good;
    bad.set_boot_id(boot_id);
    EXPECT_EQ(check(bad), Refusal::kBootId) << boot_id;
  }
  bad = good;
  bad.set_first_sequence(0);
  EXPECT_EQ(check(bad), Refusal::kSequence);
  bad.set_first_sequence(UINT64_MAX);
  EXPECT_EQ(check(bad), Refusal::kSequence);
  bad = good;
  bad.mutable_payload_sha256()->back() ^= 1;
  EXPECT_EQ(check(bad), Refusal::kDigest);
  bad = good;
  bad.set_previous_sha256("short");
  EXPECT_EQ(check(bad), Refusal::kDigest);
  bad = good;
  bad.set_event_count(3);
  EXPECT_EQ(check(bad), Refusal::kMismatch);
  bad = good;
  bad.set_boot_id("0b");
  EXPECT_EQ(check(bad), Refusal::kMismatch);
  EXPECT_EQ(BatchChecker().check(good, "b"), Refusal::kAgent);
}

TEST(BatchCheck, PayloadsThatAreNotOneHonestFrame) {
  v1::PublishRequest request = request_of(batch());
  const std::string frame = request.payload_zstd();
  for (const std::string& payload : {frame + frame, frame + "x", frame.substr(0, frame.size() - 1), std::string("x")}) {
    set_payload(request, payload);
    EXPECT_EQ(check(request), Refusal::kCompression);
  }
  // A bomb: a few hundred bytes that hold 64 MiB.
  set_payload(request, compress(std::string(64 << 20, '\0')));
  EXPECT_LT(request.payload_zstd().size(), 16'384U);
  EXPECT_EQ(check(request), Refusal::kInflation);
  set_payload(request, compress("\xFF\xFF\xFF"));
  EXPECT_EQ(check(request), Refusal::kParse);
}

TEST(BatchCheck, NoFlippedBitIsTakenOrCrashes) {
  const v1::PublishRequest good = request_of(batch());
  BatchChecker checker;
  for (size_t bit = 0; bit < good.payload_zstd().size() * 8; ++bit) {
    std::string payload = good.payload_zstd();
    payload[bit / 8] = static_cast<char>(payload[bit / 8] ^ (1 << (bit % 8)));
    v1::PublishRequest bad = good;
    bad.set_payload_zstd(payload);
    EXPECT_EQ(checker.check(bad, "a"), Refusal::kDigest);
    set_payload(bad, payload);  // a liar makes the digest fit; what is inside still parses or is refused
    (void)checker.check(bad, "a");
  }
}

}  // namespace
}  // namespace gatehouse::ingest
