// SPDX-License-Identifier: Apache-2.0
#include "agent/protocol/postgres/framer.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/postgres_wire.h"

namespace gatehouse::postgres {
namespace {

using namespace gatehouse::test;

constexpr auto kRequest = Direction::kRequest;
constexpr auto kResponse = Direction::kResponse;

// tag/body bytes, "." complete; "!" and the reason where the framer is poisoned; "~" something is under way; "*"
// opaque. An untagged frame has the tag "-".
std::string transcript(std::string_view wire, Direction direction, Mode mode, size_t chunk_bytes) {
  Framer framer{direction, mode};
  std::string out;
  size_t body_bytes = 0;
  while (!wire.empty()) {
    const Step step = framer.push(bytes_of(wire.substr(0, chunk_bytes)));
    EXPECT_GT(step.consumed, 0U);
    wire.remove_prefix(step.consumed);
    body_bytes = step.kind == Step::Kind::kBody ? body_bytes + step.body.size() : 0;
    if (step.kind == Step::Kind::kDesync) return out + "!" + std::to_string(static_cast<int>(step.reason));
    if (step.kind == Step::Kind::kOpaque) return out + "*";
    if (!step.end) continue;
    EXPECT_EQ(body_bytes, step.frame.body_size);
    out += (step.frame.tag != 0 ? static_cast<char>(step.frame.tag) : '-') + std::to_string(body_bytes) + ".";
  }
  return framer.at_boundary() ? out : out + "~";
}

std::string reason(Reason reason) {
  return "!" + std::to_string(static_cast<int>(reason));
}

// Bytes made by hand; those of real sessions are replayed in agent/replay.
TEST(PostgresFramer, SameTranscriptForEveryChunkSize) {
  struct Case {
    std::string_view name;
    Direction direction;
    Mode mode;
    std::string wire, want;
  };
  const Case cases[] = {
      {"nothing", kRequest, Mode::kRegular, "", ""},
      {"query", kRequest, Mode::kRegular, query("SELECT 1"), "Q9."},
      {"two without body", kRequest, Mode::kRegular, frame('S') + frame('X'), "S0.X0."},
      {"header cut", kRequest, Mode::kRegular, query("SELECT 1").substr(0, 3), "~"},
      {"body cut", kRequest, Mode::kRegular, query("SELECT 1").substr(0, 7), "~"},
      {"length below itself", kRequest, Mode::kRegular, "Q" + be32(3), reason(Reason::kLengthTooSmall)},
      {"length zero", kRequest, Mode::kRegular, "Q" + be32(0), reason(Reason::kLengthTooSmall)},
      {"largest query", kRequest, Mode::kRegular, "Q" + be32(0x3fffffff), "~"},
      {"longer than that", kRequest, Mode::kRegular, "Q" + be32(0x40000000), reason(Reason::kLengthTooLarge)},
      {"length with the sign bit", kResponse, Mode::kRegular, "D" + be32(0xffffffff), reason(Reason::kLengthTooLarge)},
      {"sync with a body", kRequest, Mode::kRegular, frame('S', "x"), reason(Reason::kLengthTooLarge)},
      {"long describe", kRequest, Mode::kRegular, "D" + be32(10005), reason(Reason::kLengthTooLarge)},
      {"long row", kResponse, Mode::kRegular, "D" + be32(10005), "~"},
      {"the client's letter", kResponse, Mode::kRegular, "Q", reason(Reason::kUnknownTag)},
      {"the server's letter", kRequest, Mode::kRegular, ready(), reason(Reason::kUnknownTag)},
      {"after a good frame", kResponse, Mode::kRegular, ready() + "\x16\x03", "Z1." + reason(Reason::kUnknownTag)},
      {"startup", kRequest, Mode::kStartup, startup({"user", "u"}), "-12."},
      {"ssl request", kRequest, Mode::kStartup, ssl_request(), "-4."},
      {"largest startup", kRequest, Mode::kStartup, be32(10000), "~"},
      {"longer than that", kRequest, Mode::kStartup, be32(10001), reason(Reason::kLengthTooLarge)},
      {"startup below itself", kRequest, Mode::kStartup, be32(3), reason(Reason::kLengthTooSmall)},
      {"yes", kResponse, Mode::kAnswer, "S", "S0."},
      {"yes to gss", kResponse, Mode::kAnswer, "G", "G0."},
      {"no, then frames", kResponse, Mode::kAnswer, "N" + ready(), "N0.Z1."},
      {"old server", kResponse, Mode::kAnswer, frame('E', "x"), "E1."},
      {"neither", kResponse, Mode::kAnswer, "X", reason(Reason::kUnexpectedAnswer)},
      {"opaque", kResponse, Mode::kOpaque, "anything", "*"},
  };
  for (const Case& c : cases)
    for (size_t chunk = 1; chunk <= c.wire.size() + 1; ++chunk)
      EXPECT_EQ(transcript(c.wire, c.direction, c.mode, chunk), c.want) << c.name << ", chunk " << chunk;
}

TEST(PostgresFramer, EveryTagIsKnownInItsDirectionOnly) {
  constexpr std::string_view kRequestTags = "BCdcfDEHFPpQSX";
  constexpr std::string_view kResponseTags = "RK23CWdcGHDIEVvnNAtS1sZT";
  for (int tag = 0; tag < 256; ++tag)
    for (const Direction direction : {kRequest, kResponse}) {
      const bool is_known =
          (direction == kRequest ? kRequestTags : kResponseTags).find(static_cast<char>(tag)) != std::string_view::npos;
      Framer framer{direction, Mode::kRegular};
      const Step step = framer.push(bytes_of(std::string(1, static_cast<char>(tag))));
      EXPECT_EQ(step.kind, is_known ? Step::Kind::kMore : Step::Kind::kDesync) << tag;
      EXPECT_EQ(step.hint, is_known ? 4U : 0U);
    }
}

TEST(PostgresFramer, PoisonIsForEver) {
  Framer framer{kRequest, Mode::kRegular};
  EXPECT_EQ(framer.push(bytes_of("?")).reason, Reason::kUnknownTag);
  const std::string good = query("SELECT 1");
  const Step step = framer.push(bytes_of(good));
  EXPECT_EQ(step.kind, Step::Kind::kDesync);
  EXPECT_EQ(step.reason, Reason::kUnknownTag);
  EXPECT_EQ(step.consumed, good.size());
  EXPECT_EQ(framer.skip_gap(1).kind, Step::Kind::kDesync);
  EXPECT_EQ(framer.skip_rows('D').kind, Step::Kind::kDesync);
}

// A gap of any size at any place: inside the body it costs that frame only; elsewhere the framer is poisoned.
TEST(PostgresFramer, GapAnywhere) {
  const std::string wire = query("SELECT 1");
  for (size_t at = 0; at <= wire.size(); ++at)
    for (size_t size = 1; size <= wire.size(); ++size) {
      Framer framer{kRequest, Mode::kRegular};
      for (size_t i = 0; i < at; ++i) framer.push(bytes_of(wire.substr(i, 1)));
      const Step step = framer.skip_gap(size);
      const bool is_inside = at >= kHeaderSize && at + size <= wire.size();
      ASSERT_EQ(step.kind, is_inside ? Step::Kind::kBody : Step::Kind::kDesync) << at << '+' << size;
      if (!is_inside) {
        ASSERT_EQ(step.reason, Reason::kGapInHeader);
        continue;
      }
      ASSERT_EQ(step.end, at + size == wire.size());
      for (size_t i = at + size; i < wire.size(); ++i) framer.push(bytes_of(wire.substr(i, 1)));
      ASSERT_TRUE(framer.at_boundary());
      ASSERT_FALSE(framer.is_poisoned());
    }
}

TEST(PostgresFramer, RowsLeftOutAnywhere) {
  const std::string row = data_row("value"), other = complete("SELECT 1");
  for (size_t at = 0; at <= row.size(); ++at) {
    Framer framer{kResponse, Mode::kRegular};
    for (size_t i = 0; i < at; ++i) framer.push(bytes_of(row.substr(i, 1)));
    const Step step = framer.skip_rows('D');
    ASSERT_EQ(step.kind, Step::Kind::kBody) << at;
    ASSERT_TRUE(framer.at_boundary());
    ASSERT_EQ(step.end, at > 0 && at < row.size()) << at;
    ASSERT_EQ(step.consumed + step.hint, step.end ? at : 0U);
    ASSERT_EQ(framer.push(bytes_of(other)).frame.tag, 'C');
  }
  for (size_t at = 1; at < other.size(); ++at) {
    Framer framer{kResponse, Mode::kRegular};
    for (size_t i = 0; i < at; ++i) framer.push(bytes_of(other.substr(i, 1)));
    ASSERT_EQ(framer.skip_rows('D').reason, Reason::kElision) << at;
  }
}

}  // namespace
}  // namespace gatehouse::postgres
