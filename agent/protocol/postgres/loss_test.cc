// SPDX-License-Identifier: Apache-2.0
// Properties of a session that misses bytes: whatever it says without a mark is what a session that saw everything
// says, in the same order.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "common/limits.h"
#include "tests/support/postgres_wire.h"

namespace gatehouse::test {
namespace {

// A conversation with everything that remembers: named statements, portals, cursors, pipelines, COPY, errors.
Script conversation() {
  using namespace std::string_literals;
  return {
      client(startup({"user", "ann", "database", "shop"})),
      server(welcome()),
      client(query("SELECT 1")),
      server(row_description() + data_row("1") + complete("SELECT 1") + ready()),
      client(parse("s", "SELECT s1") + describe('S', "s") + sync()),
      server(parse_complete() + parameter_description({}) + no_data() + ready()),
      client(bind("", "s", {"7"}) + execute() + sync()),
      server(bind_complete() + data_row("7") + complete("SELECT 1") + ready()),
      client(close('S', "s") + parse("s", "SELECT s2") + sync()),
      server(close_complete() + parse_complete() + ready()),
      client(bind("", "s", {"8"}) + execute() + sync()),
      server(bind_complete() + data_row("Z\0\0\0\5I"s) + data_row("8") + complete("SELECT 2") + ready()),
      client(query("PREPARE q AS SELECT q1")),
      server(complete("PREPARE") + ready()),
      client(query("EXECUTE q")),
      server(row_description() + complete("SELECT 0") + ready()),
      client(query("DEALLOCATE q")),
      server(complete("DEALLOCATE") + ready()),
      client(query("PREPARE q AS SELECT q2; EXECUTE q")),
      server(complete("PREPARE") + row_description() + complete("SELECT 0") + ready()),
      client(query("EXECUTE q")),
      server(row_description() + complete("SELECT 0") + ready()),
      client(parse("", "INSERT 1") + bind("", "", {"a"}) + execute() + parse("", "INSERT 2") + bind("", "", {"b"}) +
             execute() + sync()),
      server(parse_complete() + bind_complete() + complete("INSERT 0 1") + error("23505") + ready()),
      client(query("BEGIN; DECLARE c CURSOR FOR SELECT c1; SELECT 'it''s'")),
      server(complete("BEGIN") + complete("DECLARE CURSOR") + row_description() + data_row("x") + complete("SELECT 1") +
             ready('T')),
      client(query("FETCH 1 FROM c")),
      server(row_description() + data_row("1") + complete("FETCH 1") + ready('T')),
      client(parse("", "SELECT p") + bind("p", "") + execute("p", 1) + flush()),
      server(parse_complete() + bind_complete() + data_row("1") + frame('s')),
      client(execute("p", 0) + sync()),
      server(data_row("2") + complete("SELECT 1") + ready('T')),
      client(query("COPY t FROM STDIN")),
      server(copy_response('G')),
      client(copy_data("1\n") + copy_data("Q\0\0\0\x0dSELECT 9\0"s) + copy_done()),
      server(complete("COPY 2") + ready('T')),
      client(query("COMMIT")),
      server(complete("COMMIT") + ready()),
      client(query("SET standard_conforming_strings = off")),
      server(complete("SET") + parameter_status("standard_conforming_strings", "off") + ready()),
      client(query("SELECT '\\'; SELECT '; SELECT 3")),
      server(complete("SELECT 1") + complete("SELECT 1") + ready()),
      client(query("SELECT 'last'")),
      server(row_description() + data_row("l") + complete("SELECT 1") + ready()),
      client(terminate()),
  };
}

bool is_marked(const std::string& line) {
  return line.ends_with(']');
}

// Plays `script` in writes of at most `chunk_bytes`, without the bytes [from, from + size) of one direction.
std::vector<std::string> play(const Script& script, size_t chunk_bytes, Direction lost, size_t from, size_t size,
                              bool joined = false) {
  Feeder feeder(joined);
  std::array<size_t, kDirections> at{};
  for (const Write& write : script) {
    for (size_t i = 0; i < write.bytes.size(); i += chunk_bytes) {
      std::string_view bytes = std::string_view(write.bytes).substr(i, chunk_bytes);
      size_t& position = at[static_cast<size_t>(write.direction)];
      const size_t begin = position, end = position + bytes.size();
      position = end;
      const size_t gap_begin = std::clamp(from, begin, end), gap_end = std::clamp(from + size, begin, end);
      if (write.direction != lost || gap_begin == gap_end) {
        feeder.data(write.direction, bytes);
        continue;
      }
      feeder.data(write.direction, bytes.substr(0, gap_begin - begin));
      feeder.lose(write.direction, gap_end - gap_begin);
      feeder.data(write.direction, bytes.substr(gap_end - begin));
    }
  }
  feeder.close();
  for (const Direction direction : {Direction::kRequest, Direction::kResponse}) {
    const StreamLedger& ledger = feeder.connection().ledger(direction);
    EXPECT_EQ(ledger.total(), feeder.connection().position(direction) - feeder.connection().origin(direction));
  }
  EXPECT_LE(feeder.connection().session().memory_bytes(), kSessionBytesMax);
  return feeder.recorder.lines;
}

// The unmarked lines of `got` are lines of `all`, in order. The end of a session may differ: it is not a statement.
::testing::AssertionResult says_only_truth(const std::vector<std::string>& got, const std::vector<std::string>& all) {
  auto from = all.begin();
  for (const std::string& line : got) {
    if (is_marked(line) || line.starts_with("disconnect")) continue;
    // Which transaction state a statement left may be unknown, and says so.
    const bool is_open = line.ends_with("tx=?");
    const std::string known = is_open ? line.substr(0, line.size() - 1) : line;
    from = std::find_if(from, all.end(),
                        [&](const std::string& l) { return is_open ? l.starts_with(known) : l == known; });
    if (from == all.end()) return ::testing::AssertionFailure() << "said: " << line;
    ++from;
  }
  return ::testing::AssertionSuccess();
}

size_t bytes_in(const Script& script, Direction direction) {
  size_t bytes = 0;
  for (const Write& write : script)
    if (write.direction == direction) bytes += write.bytes.size();
  return bytes;
}

TEST(PostgresLoss, AGapAnywhereNeverYieldsAWrongStatement) {
  const Script script = conversation();
  const auto all = play(script, 1 << 20, Direction::kRequest, 0, 0);
  for (const Direction direction : {Direction::kRequest, Direction::kResponse})
    for (size_t size : {1, 2, 3, 5, 7, 10, 17, 23, 40, 64, 100, 150, 333})
      for (size_t from = 0; from < bytes_in(script, direction); ++from)
        for (const size_t chunk : {size_t{1} << 20, size_t{13}})
          ASSERT_TRUE(says_only_truth(play(script, chunk, direction, from, size), all))
              << (direction == Direction::kRequest ? "request " : "response ") << from << '+' << size << ", chunk "
              << chunk;
}

std::string text_of(const std::string& line) {
  const size_t begin = line.find('{');
  return begin == line.npos ? "" : line.substr(begin, line.find('}', begin) - begin);
}

TEST(PostgresLoss, NoStatementIsToldTwiceWhateverOfTheAnswersIsLost) {
  const Script script = conversation();
  std::map<std::string, int> told;
  for (const std::string& line : play(script, 1 << 20, Direction::kRequest, 0, 0)) ++told[text_of(line)];
  for (size_t from = 0; from < bytes_in(script, Direction::kResponse); ++from)
    for (const size_t size : {1, 5, 6, 11, 40}) {
      std::map<std::string, int> got;
      for (const std::string& line : play(script, 1 << 20, Direction::kResponse, from, size)) ++got[text_of(line)];
      for (const auto& [text, times] : told) {
        if (text.empty()) continue;
        ASSERT_LE(got[text], times) << text << ", lost " << from << '+' << size;
      }
    }
}

TEST(PostgresLoss, FindsItsWayBack) {
  const Script script = conversation();
  const auto all = play(script, 1 << 20, Direction::kRequest, 0, 0);
  for (const Direction direction : {Direction::kRequest, Direction::kResponse})
    for (size_t from = 0; from < 300; ++from) {
      const auto got = play(script, 1 << 20, direction, from, 10);
      const std::string last = "simple ok {SELECT 'last'} tag=SELECT 1 rows=1 tx=I";
      const bool knows_startup = from >= 32 || direction == Direction::kResponse;
      ASSERT_THAT(got, ::testing::Contains(knows_startup ? ::testing::Eq(last) : ::testing::Eq(last + " [after-gap]")))
          << "from " << from;
    }
}

TEST(PostgresLoss, EveryTruncationSaysOnlyTruth) {
  const Script script = conversation();
  const auto all = play(script, 1 << 20, Direction::kRequest, 0, 0);
  for (size_t writes = 0; writes <= script.size(); ++writes) {
    const Script head(script.begin(), script.begin() + static_cast<ptrdiff_t>(writes));
    for (const std::string& line : play(head, 1 << 20, Direction::kRequest, 0, 0)) {
      if (line.find(" aborted") != line.npos || line.starts_with("disconnect")) continue;
      const std::string without_state = line.substr(0, line.rfind(" tx="));
      EXPECT_TRUE(std::ranges::any_of(all, [&](const std::string& known) { return known.starts_with(without_state); }))
          << line;
    }
  }
}

TEST(PostgresLoss, JoinsMidStream) {
  const Script script = conversation();
  const auto all = play(script, 1 << 20, Direction::kRequest, 0, 0);
  for (size_t skipped = 1; skipped < script.size(); ++skipped) {
    const Script tail(script.begin() + static_cast<ptrdiff_t>(skipped), script.end());
    for (const size_t chunk : {size_t{1} << 20, size_t{11}}) {
      const auto got = play(tail, chunk, Direction::kRequest, 0, 0, true);
      for (const std::string& line : got) {
        EXPECT_TRUE(line.ends_with("[joined-mid-stream]")) << line;
        std::string known = line.substr(0, line.find(" ["));
        const bool is_text_known = known.find("{}") == known.npos;
        if (!is_text_known || known.find(" unknown ") != known.npos || known.starts_with("disconnect")) continue;
        known = known.substr(known.find('{'), known.find('}') - known.find('{'));
        EXPECT_TRUE(std::ranges::any_of(all, [&](const std::string& l) { return l.find(known) != l.npos; }) ||
                    known.find(';') != known.npos)
            << line;
      }
      if (skipped + 6 < script.size() && chunk > 100) {
        EXPECT_THAT(got, ::testing::Contains("simple ok {SELECT 'last'} tag=SELECT 1 rows=1 tx=I [joined-mid-stream]"))
            << skipped;
      }
    }
  }
}

TEST(PostgresLoss, BitFlipsNeitherCrashNorGrow) {
  const Script script = conversation();
  for (size_t w = 0; w < script.size(); ++w)
    for (size_t bit = 0; bit < script[w].bytes.size() * 8; ++bit) {
      Script flipped = script;
      flipped[w].bytes[bit / 8] = static_cast<char>(flipped[w].bytes[bit / 8] ^ (1 << (bit % 8)));
      play(flipped, 1 << 20, Direction::kRequest, 0, 0);
    }
}

TEST(PostgresLoss, RowsLeftOutAreCounted) {
  Feeder feeder;
  feeder.data(Direction::kRequest, startup({"user", "ann"}));
  feeder.data(Direction::kResponse, welcome());
  feeder.data(Direction::kRequest, query("SELECT g"));
  const std::string head = row_description(), row = data_row("0123456789"), tail = complete("SELECT 4") + ready();
  // One row as bytes but for its end; then the rest of it and two whole rows; then one whole row and the end.
  const std::string row_head = row.substr(0, 7), row_tail = row.substr(7);
  const Piece first[] = {
      {.bytes = static_cast<uint32_t>(head.size()), .data = bytes_of(head)},
      {.bytes = 7, .data = bytes_of(row_head)},
      {.kind = Piece::Kind::kRows, .bytes = static_cast<uint32_t>(row_tail.size() + 2 * row.size()), .rows = 2}};
  feeder.pieces(Direction::kResponse, first);
  const Piece second[] = {{.kind = Piece::Kind::kRows, .bytes = static_cast<uint32_t>(row.size()), .rows = 1},
                          {.bytes = static_cast<uint32_t>(tail.size()), .data = bytes_of(tail)}};
  feeder.pieces(Direction::kResponse, second);
  // Without a tag that counts, the frames do.
  feeder.data(Direction::kRequest, parse("", "SELECT g") + bind("", "") + execute("", 3) + sync());
  const std::string answer = parse_complete() + bind_complete(), end = frame('s') + ready();
  const Piece third[] = {{.bytes = static_cast<uint32_t>(answer.size()), .data = bytes_of(answer)},
                         {.bytes = 3, .data = bytes_of(row_head).first(3)},
                         {.kind = Piece::Kind::kRows, .bytes = static_cast<uint32_t>(3 * row.size() - 3), .rows = 2},
                         {.bytes = static_cast<uint32_t>(end.size()), .data = bytes_of(end)}};
  feeder.pieces(Direction::kResponse, third);
  EXPECT_THAT(feeder.recorder.lines, ::testing::ElementsAre("connect 3.0 ann@ann", "authenticate none ok",
                                                            "simple ok {SELECT g} tag=SELECT 4 rows=4 tx=I",
                                                            "extended suspended {SELECT g} rows=3 tx=I"));
}

TEST(PostgresLoss, CutRequestsAreTruncated) {
  Feeder feeder;
  feeder.data(Direction::kRequest, startup({"user", "ann"}));
  feeder.data(Direction::kResponse, welcome());
  const std::string long_query = query("SELECT 'aaaaaaaaaaaaaaaaaaaa'");
  const Piece cut[] = {{.bytes = 15, .data = bytes_of(long_query).first(15)},
                       {.kind = Piece::Kind::kCut, .bytes = static_cast<uint32_t>(long_query.size() - 15)}};
  feeder.pieces(Direction::kRequest, cut);
  feeder.data(Direction::kResponse, complete("SELECT 1") + ready());
  const std::string long_bind = bind("", "s", {"12345", "67890"}), rest = execute() + sync();
  feeder.data(Direction::kRequest, parse("s", "SELECT $1") + sync());
  feeder.data(Direction::kResponse, parse_complete() + ready());
  const size_t kept = long_bind.size() - 5;
  const Piece cut_bind[] = {{.bytes = static_cast<uint32_t>(kept), .data = bytes_of(long_bind).first(kept)},
                            {.kind = Piece::Kind::kCut, .bytes = 5},
                            {.bytes = static_cast<uint32_t>(rest.size()), .data = bytes_of(rest)}};
  feeder.pieces(Direction::kRequest, cut_bind);
  feeder.data(Direction::kResponse, bind_complete() + complete("SELECT 1") + ready());
  EXPECT_THAT(
      feeder.recorder.lines,
      ::testing::ElementsAre(
          "connect 3.0 ann@ann", "authenticate none ok", "simple ok {SELECT 'aa} tag=SELECT 1 rows=1 tx=I [truncated]",
          "extended ok {SELECT $1} statement=s '12345' '67'... tag=SELECT 1 rows=1 tx=I [truncated]"));
}

TEST(PostgresLoss, AHostilePipelineStaysUnderTheCeiling) {
  Feeder feeder;
  feeder.data(Direction::kRequest, startup({"user", "ann"}));
  feeder.data(Direction::kResponse, welcome());
  const std::string text(100'000, 'x');
  for (int i = 0; i < 500; ++i) {
    feeder.data(Direction::kRequest, parse(std::to_string(i), text));
    ASSERT_LE(feeder.connection().session().memory_bytes(), kSessionBytesMax);
  }
  for (int i = 0; i < 500; ++i) feeder.data(Direction::kResponse, parse_complete());
  EXPECT_LE(feeder.connection().session().memory_bytes(), kSessionBytesMax);
  for (int i = 0; i < 70'000; ++i) feeder.data(Direction::kRequest, describe('S', "x"));
  EXPECT_LE(feeder.connection().session().memory_bytes(), kSessionBytesMax);
}

// A thousand sessions that each said something long once must not hold it for ever.
TEST(PostgresLoss, AnIdleSessionGivesItsBuffersBack) {
  const std::string text = "SELECT " + std::string(200'000, '1');
  for (const std::string& request : {query(text), parse("", "SELECT $1") + bind("", "", {text}) + execute() + sync()}) {
    Feeder feeder;
    feeder.data(Direction::kRequest, startup({"user", "ann"}));
    feeder.data(Direction::kResponse, welcome());
    const bool is_simple = request[0] == 'Q';
    const auto answer = [&] {
      feeder.data(Direction::kResponse,
                  (is_simple ? "" : parse_complete() + bind_complete()) + complete("SELECT 1") + ready());
    };
    // In parts, as long ones come.
    for (size_t at = 0; at < request.size(); at += 65'536)
      feeder.data(Direction::kRequest, std::string_view(request).substr(at, 65'536));
    answer();
    // The unnamed portal lives until the next Bind, or Query.
    feeder.data(Direction::kRequest, query("SELECT 2"));
    feeder.data(Direction::kResponse, complete("SELECT 1") + ready());
    EXPECT_LE(feeder.connection().session().memory_bytes(), size_t{32} << 10) << request.substr(0, 20);
  }
}

TEST(PostgresLoss, DuplicateChunksAreDropped) {
  Recorder recorder;
  Connection connection({.socket = 1});
  const std::string login = startup({"user", "ann"}), first = query("SELECT 1");
  const auto send = [&](uint64_t offset, std::string_view bytes) {
    const Piece piece{.bytes = static_cast<uint32_t>(bytes.size()), .data = bytes_of(bytes)};
    connection.on_chunk({.socket = 1, .offset = offset, .pieces = {&piece, 1}}, recorder);
  };
  send(0, login);
  send(0, login);
  send(login.size() - 4, login.substr(login.size() - 4) + first);
  EXPECT_EQ(connection.position(Direction::kRequest), login.size() + first.size());
  EXPECT_EQ(connection.duplicate_bytes(), login.size() + 4);
  const std::string answers = welcome() + complete("SELECT 1") + ready();
  const Piece piece{.bytes = static_cast<uint32_t>(answers.size()), .data = bytes_of(answers)};
  connection.on_chunk({.socket = 1, .direction = Direction::kResponse, .pieces = {&piece, 1}}, recorder);
  EXPECT_EQ(recorder.texts, std::vector<std::string>{"SELECT 1"});
  EXPECT_EQ(recorder.gap_bytes, 0U);
}

TEST(PostgresLoss, TheTailThatNeverCameIsAGap) {
  Recorder recorder;
  Connection connection({.socket = 1});
  SocketClosed closed{.socket = 1, .stream_bytes = {100, 200}};
  closed.lost_bytes[1][static_cast<size_t>(LostReason::kFault)] = 200;
  connection.on_closed(closed, recorder);
  EXPECT_EQ(recorder.gap_bytes, 300U);
  EXPECT_EQ(connection.ledger(Direction::kResponse).lost[static_cast<size_t>(LostReason::kFault)], 200U);
}

}  // namespace
}  // namespace gatehouse::test
