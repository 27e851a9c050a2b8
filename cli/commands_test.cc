// SPDX-License-Identifier: Apache-2.0
// Whole commands, from words to text and exit code, against a collector in this process.
#include "cli/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <mutex>
#include <thread>

#include "cli/fake_collector.h"
#include "cli/tail_cursor.h"

namespace gatehouse::cli {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

constexpr uint64_t kNow = 1'795'568'523'000'000'000;
constexpr uint64_t kSecond = 1'000'000'000;

// What a command wrote; a test of `tail` waits for it from another thread.
class Text : public Output {
 public:
  bool write(std::string_view text) override {
    const std::lock_guard lock(mutex_);
    text_ += text;
    changed_.notify_all();
    return open_;
  }
  bool flush() override {
    const std::lock_guard lock(mutex_);
    return open_;
  }
  // As when the reader of a pipe leaves.
  void close() {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }
  std::string text() const {
    const std::lock_guard lock(mutex_);
    return text_;
  }
  bool wait_for(const std::string& part) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, seconds(20), [&] { return text_.find(part) != std::string::npos; });
  }

 private:
  mutable std::mutex mutex_{};
  std::condition_variable changed_{};
  std::string text_{};
  bool open_ = true;
};

v1::Row row(uint64_t number, const std::string& text) {
  v1::Row out;
  out.set_id("a/b/" + std::to_string(number));
  out.set_time_ns(kNow + number * kSecond);
  out.set_kind("statement");
  out.set_outcome("ok");
  out.set_session("a/b/" + std::to_string(number % 2 + 1));
  out.set_session_user("app");
  out.set_statement_text(text);
  out.set_result_rows(number);
  return out;
}

class Commands : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/gatehouse_cli_XXXXXX";
    directory_ = mkdtemp(pattern);
    collector_ = std::make_unique<FakeCollector>(directory_ + "/operator");
    collector_->start();
  }
  void TearDown() override {
    collector_.reset();
    std::filesystem::remove_all(directory_);
  }

  // The exit code; out_ and problems_ hold the text.
  int command(std::vector<std::string> words, std::stop_token stop = {}) {
    words.insert(words.end(), {"--collector", collector_->address()});
    if (std::ranges::find(words, "--credentials") == words.end())
      words.insert(words.end(), {"--credentials", collector_->credentials()});
    const auto options = parse_options(words, [](const char*) { return std::nullopt; }, kNow);
    if (!options) {
      (options.error().exit_code == 0 ? out_ : problems_).write(options.error().text);
      return options.error().exit_code;
    }
    return run(*options, {.out = out_, .problems = problems_, .style = {}, .now_ns = kNow, .stop = std::move(stop)});
  }

  std::string directory_{};
  std::unique_ptr<FakeCollector> collector_{};
  Text out_{};
  Text problems_{};
};

TEST_F(Commands, PartialAnswersSaySo) {
  collector_->add(row(1, "SELECT 1"));
  collector_->set_index("43 120");
  EXPECT_EQ(command({"query", "--since", "1h"}), 0);
  EXPECT_EQ(problems_.text(),
            "gatehouse: this answer is partial: the collector is building its index and has 43 % of "
            "what it keeps, about 120 s to go\n");
  EXPECT_THAT(out_.text(), Not(HasSubstr("partial")));
  EXPECT_EQ(command({"query", "--since", "1h", "--output", "json"}), 0);
  EXPECT_THAT(out_.text(), HasSubstr(",\"partial\":43}\n"));
  collector_->set_index("nonsense");  // what cannot be read is partial all the same
  EXPECT_EQ(command({"session", "2"}), 0);
  EXPECT_THAT(problems_.text(), HasSubstr("has 0 % of what it keeps\n"));
}

TEST_F(Commands, WhatRetentionRemovedIsSaid) {
  const std::string said = "is no longer there: its retention has removed it\n";
  collector_->add(row(1, "SELECT 1"));
  collector_->set_kept_since(std::to_string(kNow));
  EXPECT_EQ(command({"query", "--since", "1h", "--limit", "1"}), 0);
  EXPECT_EQ(problems_.text(), "") << "as many as were asked for are there";
  EXPECT_EQ(command({"query", "--since", "1h", "--limit", "1", "--oldest-first"}), 0);
  EXPECT_THAT(problems_.text(), HasSubstr(said));
  EXPECT_EQ(command({"query", "--since", "1h", "--limit", "2"}), 0);
  EXPECT_NE(problems_.text().find(said), problems_.text().rfind(said)) << "said again";
}

TEST_F(Commands, TheBeginningOfASessionMayBeGone) {
  v1::Row first = row(1, "SELECT 1");
  collector_->add(first);
  collector_->set_kept_since(std::to_string(kNow));
  EXPECT_EQ(command({"session", "2"}), 0);
  EXPECT_THAT(problems_.text(), HasSubstr("is no longer there"));
}

TEST_F(Commands, ASessionWithItsBeginningIsWhole) {
  v1::Row first = row(1, "");
  first.set_kind("connect");
  collector_->add(first);
  collector_->set_kept_since(std::to_string(kNow));
  EXPECT_EQ(command({"session", "2"}), 0);
  EXPECT_THAT(problems_.text(), Not(HasSubstr("is no longer there")));
}

TEST_F(Commands, QueryAsksAndPrints) {
  collector_->add(row(1, "SELECT 1"));
  collector_->add(row(2, "SELECT 2"));
  EXPECT_EQ(command({"query", "result.rows > 1", "--since", "1h", "--until", "now", "--limit", "7", "--oldest-first"}),
            0);
  EXPECT_THAT(out_.text(), HasSubstr("SELECT 2"));
  EXPECT_THAT(out_.text(), Not(HasSubstr("SELECT 1")));
  EXPECT_EQ(problems_.text(), "");
  const v1::SearchRequest asked = collector_->last_search();
  EXPECT_EQ(asked.filter(), "result.rows > 1");
  EXPECT_EQ(asked.since_ns(), kNow - 3600 * kSecond);
  EXPECT_EQ(asked.until_ns(), kNow);
  EXPECT_EQ(asked.limit(), 7U);
  EXPECT_TRUE(asked.oldest_first());
}

TEST_F(Commands, QueryPrintsColumnsAndJson) {
  collector_->add(row(1, "SELECT 1"));
  EXPECT_EQ(command({"query", "--columns", "session.user, rows,statement.text"}), 0);
  EXPECT_EQ(out_.text(), "session.user  rows  statement.text\napp              1  SELECT 1\n");
  EXPECT_EQ(collector_->last_search().limit(), kQueryRowsDefault);
  EXPECT_EQ(command({"query", "--json"}), 0);
  EXPECT_THAT(out_.text(), HasSubstr("\"statement\":{\"text\":\"SELECT 1\",\"index\":0}"));
}

TEST_F(Commands, QueryStreamsPastTheSample) {
  for (uint64_t i = 1; i <= 500; ++i) collector_->add(row(i, "SELECT " + std::to_string(i) + ";"));
  EXPECT_EQ(command({"query", "--limit", "0"}), 0);
  const std::string text = out_.text();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 501);
  EXPECT_THAT(text, HasSubstr("SELECT 500;"));
}

TEST_F(Commands, ReaderThatLeavesEndsQuietly) {
  for (uint64_t i = 1; i <= 500; ++i) collector_->add(row(i, "SELECT 1"));
  out_.close();
  EXPECT_EQ(command({"query", "--json", "--limit", "0"}), 0);
  EXPECT_EQ(command({"tail", "--json", "--since", "1h"}), 0);
  EXPECT_EQ(problems_.text(), "");
}

TEST_F(Commands, SessionHasAHeadTotalsAndEvents) {
  for (uint64_t i = 1; i <= 5; ++i) collector_->add(row(i, "SELECT " + std::to_string(i)));
  EXPECT_EQ(command({"session", "2"}), 0);
  EXPECT_THAT(out_.text(), HasSubstr("session     a/b/2\n"));
  EXPECT_THAT(out_.text(), HasSubstr("totals      3 statements, 0 errors, 9 rows"));
  EXPECT_THAT(out_.text(), HasSubstr("\ncoverage    full so far: every byte was seen\n"));
  EXPECT_THAT(out_.text(), HasSubstr("SELECT 5"));
  EXPECT_THAT(out_.text(), Not(HasSubstr("SELECT 4")));
  EXPECT_EQ(command({"session", "99"}), 1);
  EXPECT_THAT(problems_.text(), HasSubstr("there is no session `99`"));
  EXPECT_EQ(command({"session", "2", "--limit", "2"}), 0);
  EXPECT_THAT(problems_.text(), HasSubstr("its first 2 events; --limit 0 shows all"));
}

TEST_F(Commands, TopAgentsTokenFieldsVersion) {
  EXPECT_EQ(command({"top", "--by", "actor.exe"}), 0);
  EXPECT_THAT(out_.text(), HasSubstr("/usr/bin/psql"));
  EXPECT_EQ(command({"agents"}), 0);
  EXPECT_THAT(out_.text(), HasSubstr("db1"));
  EXPECT_EQ(command({"token", "create", "--valid", "15m"}), 0);
  EXPECT_THAT(out_.text(), HasSubstr("\ntoken-for-900\n"));
  EXPECT_THAT(problems_.text(), HasSubstr("enrols one agent until"));
  EXPECT_EQ(command({"fields"}), 0);
  EXPECT_THAT(out_.text(), HasSubstr("statement.text"));
  EXPECT_EQ(command({"version"}), 0);
  EXPECT_THAT(out_.text(), HasSubstr("gatehouse 0."));
}

TEST_F(Commands, NobodyListens) {
  collector_->stop();
  for (const char* name : {"query", "agents", "tail", "top"}) {
    EXPECT_EQ(command({name}), kExitEnvironment) << name;
    EXPECT_THAT(problems_.text(),
                HasSubstr("no collector answers at " + collector_->address() + " (Connection refused)"));
  }
  const std::string problems = problems_.text();
  EXPECT_EQ(std::count(problems.begin(), problems.end(), '\n'), 4);  // one line each
}

TEST_F(Commands, CertificateOfAnotherInstallation) {
  for (const char* name : {"query", "tail"}) {
    EXPECT_EQ(command({name, "--credentials", collector_->foreign_credentials()}), kExitEnvironment);
    EXPECT_THAT(problems_.text(), HasSubstr("do not belong together"));
  }
}

// The collector's authority is trusted, but the collector does not know the client: TLS 1.3 tells the client late.
TEST_F(Commands, CertificateThatTheCollectorRefuses) {
  const std::string mixed = collector_->foreign_credentials();
  std::filesystem::copy_file(collector_->credentials() + "/ca.pem", mixed + "/ca.pem",
                             std::filesystem::copy_options::overwrite_existing);
  const int code = command({"query", "--credentials", mixed});
  EXPECT_EQ(code, kExitEnvironment);
  EXPECT_THAT(problems_.text(), HasSubstr("certificate"));
}

TEST_F(Commands, CredentialsThatAreNotThere) {
  EXPECT_EQ(command({"agents", "--credentials", "/nonexistent"}), kExitConfiguration);
  EXPECT_THAT(problems_.text(), HasSubstr("/nonexistent/ca.pem"));
}

TEST_F(Commands, QuestionThatTheCollectorRefuses) {
  EXPECT_EQ(command({"query", "session.user == \"refuse-me\""}), kExitUsage);
  EXPECT_THAT(problems_.text(), HasSubstr("this filter is refused"));
}

TEST_F(Commands, TailGoesOnAfterARestartWithoutAHoleOrARepetition) {
  collector_->add(row(1, "one;"));
  std::stop_source stop;
  std::thread tail([&] { EXPECT_EQ(command({"tail", "--since", "1h"}, stop.get_token()), 0); });
  EXPECT_TRUE(out_.wait_for("one;"));
  collector_->add(row(2, "two;"));
  EXPECT_TRUE(out_.wait_for("two;"));
  collector_->stop();
  EXPECT_TRUE(problems_.wait_for("lost the collector"));
  collector_->add(row(3, "three;"));
  collector_->start();
  EXPECT_TRUE(problems_.wait_for("again"));
  EXPECT_TRUE(out_.wait_for("three;"));
  stop.request_stop();
  tail.join();
  const std::string text = out_.text();
  EXPECT_EQ(text.find("one;"), text.rfind("one;"));
  EXPECT_EQ(text.find("two;"), text.rfind("two;"));
  EXPECT_GE(collector_->tails().size(), 2U);
  EXPECT_EQ(collector_->tails()[0].since_ns(), kNow - 3600 * kSecond);
}

TEST_F(Commands, TailEndsWhileItWaits) {
  std::stop_source stop;
  std::thread tail([&] { EXPECT_EQ(command({"tail"}, stop.get_token()), 0); });
  EXPECT_TRUE(out_.wait_for("what"));  // its header
  stop.request_stop();
  tail.join();
  EXPECT_EQ(problems_.text(), "");
}

TEST(TailCursor, ResumesWithoutHoleOrRepetition) {
  TailCursor fresh(0, kNow);
  EXPECT_EQ(fresh.resume_ns(), kNow);  // what happened since the start, though nothing came yet
  EXPECT_EQ(TailCursor(5, kNow).resume_ns(), 5U);

  TailCursor cursor(kNow, kNow);
  EXPECT_TRUE(cursor.admit("a", kNow + 100 * kSecond));
  EXPECT_TRUE(cursor.admit("late", kNow + 90 * kSecond));
  EXPECT_FALSE(cursor.admit("a", kNow + 100 * kSecond));
  EXPECT_EQ(cursor.resume_ns(), kNow + 100 * kSecond - kTailOverlapNs);

  // More rows than are remembered: what would come twice is not asked for.
  TailCursor busy(kNow, kNow);
  for (uint64_t i = 0; i <= kTailIdsMax; ++i) EXPECT_TRUE(busy.admit(std::to_string(i), kNow + i));
  EXPECT_EQ(busy.resume_ns(), kNow + 1);
}

}  // namespace
}  // namespace gatehouse::cli
