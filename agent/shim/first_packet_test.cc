// SPDX-License-Identifier: Apache-2.0
#include "agent/shim/first_packet.h"

#include <gtest/gtest.h>

#include "agent/protocol/postgres/response_messages.h"
#include "tests/support/postgres_wire.h"

namespace gatehouse::shim {
namespace {

using Kind = FirstPacket::Kind;
using namespace test;

struct Case {
  const char* name;
  std::string wire;
  Kind want;
};
const std::vector<Case>& cases() {
  static const std::vector<Case> kCases{
      {"SSLRequest", ssl_request(), Kind::kSslRequest},
      {"GSSENCRequest", gss_request(), Kind::kGssRequest},
      {"startup 3.0", startup({"user", "u"}), Kind::kStartup},
      {"startup 3.2", startup({"user", "u"}, 2), Kind::kStartup},
      {"cancel", cancel_request(7), Kind::kCancel},
      {"cancel with the longest key", cancel_request(7, 256), Kind::kCancel},
      {"cancel with a key too long", cancel_request(7, 257), Kind::kMalformed},
      {"cancel without a key", cancel_request(7, 0), Kind::kMalformed},
      {"length below a code", be32(7) + "abc", Kind::kMalformed},
      {"length above the server's bound", be32(10001) + std::string(9997, 'x'), Kind::kMalformed},
      {"SSLRequest with a tail", be32(9) + be32(80877103) + "x", Kind::kUnsupported},
      {"protocol 4", be32(8) + be32(4U << 16), Kind::kUnsupported},
      {"http", "GET / HTTP/1.1\r\n", Kind::kMalformed},
  };
  return kCases;
}

TEST(FirstPacket, IsKnownWhenItIsWholeAndNotBefore) {
  for (const Case& c : cases()) {
    for (size_t size = 0; size <= c.wire.size(); ++size) {
      const FirstPacket packet = read_first_packet(bytes_of(c.wire).first(size));
      if (packet.kind == Kind::kMore) continue;
      EXPECT_EQ(packet.kind, c.want) << c.name << ", " << size << " bytes";
      // A length that is none is told as soon as it is there, everything else with the last byte.
      if (packet.kind != Kind::kMalformed) {
        EXPECT_EQ(size, c.wire.size()) << c.name;
      }
    }
    EXPECT_EQ(read_first_packet(bytes_of(c.wire)).kind, c.want) << c.name;
    // What follows does not matter.
    const std::string longer = c.wire + "more";
    EXPECT_EQ(read_first_packet(bytes_of(longer)).kind, c.want) << c.name;
  }
}

TEST(ErrorResponse, IsOneThatTheDecoderReads) {
  const std::string wire = error_response({.sqlstate = "57P03", .message = "no", .hint = "later"});
  ASSERT_EQ(wire[0], 'E');
  const auto fields = postgres::decode_error(bytes_of(wire).subspan(5), postgres::Body::kWhole);
  ASSERT_TRUE(fields);
  EXPECT_EQ(fields->severity, "FATAL");
  EXPECT_EQ(fields->sqlstate, "57P03");
  EXPECT_EQ(fields->message, "no");
}

}  // namespace
}  // namespace gatehouse::shim
