// SPDX-License-Identifier: Apache-2.0
// The corpus: real sessions with PostgreSQL 15, recorded by scripts/capture.py. Each file must give its transcript
// (NAME.want), and tell of exactly the statements that the server itself logged (NAME.log).
// GATEHOUSE_WRITE_WANT=1 writes the transcripts anew; read the difference before committing it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>

#include "agent/replay/ghcap.h"
#include "tests/support/postgres_wire.h"

namespace gatehouse::replay {
namespace {

const std::filesystem::path kCorpus = std::filesystem::path(GH_SOURCE_DIR) / "tests/corpus/postgres";

// A Query with all its statements, or one Execute.
struct Request {
  StatementProtocol protocol = StatementProtocol::kNone;
  std::vector<std::string> texts;
  bool has_failed = false;
  bool was_skipped = false;
  bool is_matched = false;
};

class Player final : public RecordSink, public ConnectionObserver {
 public:
  void on_activity(const Activity& activity) override {
    transcript[socket_] += test::describe_activity(activity) + '\n';
    if (activity.kind != ActivityKind::kStatement) return;
    if (activity.statement_index == 0) requests.push_back({.protocol = activity.protocol});
    Request& request = requests.back();
    request.texts.emplace_back(activity.text);
    request.has_failed =
        request.has_failed || activity.outcome == Outcome::kError || activity.outcome == Outcome::kAborted;
    request.was_skipped = activity.outcome == Outcome::kSkipped && activity.statement_index == 0;
  }
  void on_gap(const Gap&) override { ADD_FAILURE() << "a gap in the corpus"; }

  void on_socket_opened(const SocketOpened& record) override {
    connections_[record.socket] = std::make_unique<Connection>(record);
  }
  void on_chunk(const Chunk& record) override {
    socket_ = record.socket;
    connections_.at(record.socket)->on_chunk(record, *this);
  }
  void on_socket_opaque(const SocketOpaque&) override {}
  void on_socket_closed(const SocketClosed& record) override {
    socket_ = record.socket;
    connections_.at(record.socket)->on_closed(record, *this);
  }
  void on_process_exec(const ProcessExec&) override {}
  void on_process_fork(const ProcessFork&) override {}
  void on_process_exit(const ProcessExit&) override {}

  std::map<SocketId, std::string> transcript;
  std::vector<Request> requests;

 private:
  SocketId socket_ = 0;
  std::map<SocketId, std::unique_ptr<Connection>> connections_;
};

std::string text_of(const std::filesystem::path& path) {
  auto content = read_file(path.string(), 1 << 20);
  EXPECT_TRUE(content.has_value()) << path;
  return content ? *content : std::string();
}

std::vector<std::filesystem::path> captures() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(kCorpus))
    if (entry.path().extension() == ".ghcap") paths.push_back(entry.path());
  std::ranges::sort(paths);
  return paths;
}

// The volatile parts of a transcript: addresses in the log, process numbers.
void play(const std::filesystem::path& path, Player& player) {
  auto source = FileSource::open(path.string());
  ASSERT_TRUE(source.has_value()) << path;
  while (!(*source)->at_end()) (*source)->poll(player, 64);
  ASSERT_EQ((*source)->parser().outcome(), ReadOutcome::kEnd) << path;
}

TEST(PostgresCorpus, GivesItsTranscripts) {
  ASSERT_FALSE(captures().empty());
  for (auto path : captures()) {
    Player player;
    play(path, player);
    std::string got;
    for (const auto& [socket, lines] : player.transcript)
      got += "# connection " + std::to_string(socket) + '\n' + lines;
    path.replace_extension(".want");
    if (std::getenv("GATEHOUSE_WRITE_WANT") != nullptr) {
      ASSERT_TRUE(write_file_atomically(path.string(), got, 0644).has_value());
    }
    EXPECT_EQ(got, text_of(path)) << path;
  }
}

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

// As capture.py escapes.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\')
      out += "\\\\";
    else if (c == '\n')
      out += "\\n";
    else
      out += c;
  }
  return out;
}

// The statements of a Query, in order, are all there is in the text that the server logged for it.
bool makes_up(const std::vector<std::string>& texts, std::string_view logged) {
  size_t at = 0;
  for (const std::string& text : texts) {
    const std::string piece = escaped(text);
    const size_t found = logged.find(piece, at);
    if (found == logged.npos) return false;
    at = found + piece.size();
  }
  return true;
}

TEST(PostgresCorpus, AgreesWithTheServersLog) {
  for (auto path : captures()) {
    Player player;
    play(path, player);
    path.replace_extension(".log");
    std::string_view log;
    const std::string content = text_of(path);
    for (log = content; !log.empty(); log.remove_prefix(log.find('\n') + 1)) {
      const std::string_view line = log.substr(0, log.find('\n'));
      const std::string_view kind = line.substr(0, line.find('\t')), text = line.substr(line.find('\t') + 1);
      // The server logs in its own encoding.
      if (!is_ascii(text)) continue;
      const auto found = std::ranges::find_if(player.requests, [&](const Request& r) {
        if (r.is_matched || r.was_skipped) return false;
        if (kind == "fastpath") return r.protocol == StatementProtocol::kFunctionCall;
        if (kind == "execute" || kind == "fetch")
          return r.protocol == StatementProtocol::kExtended && escaped(r.texts[0]) == text;
        return (r.protocol == StatementProtocol::kSimple || r.protocol == StatementProtocol::kReplication) &&
               makes_up(r.texts, text);
      });
      ASSERT_NE(found, player.requests.end()) << path << ": the server ran and nobody said: " << line;
      found->is_matched = true;
    }
    // The server does not log what it could not parse or bind, nor an empty query.
    for (const Request& request : player.requests)
      EXPECT_TRUE(request.is_matched || request.has_failed || request.was_skipped || !is_ascii(request.texts[0]) ||
                  request.texts[0].find_first_not_of("; ") == std::string::npos)
          << path << ": said, and not logged: " << request.texts[0];
  }
}

}  // namespace
}  // namespace gatehouse::replay
