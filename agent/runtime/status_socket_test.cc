// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/status_socket.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

namespace gatehouse::runtime {
namespace {

constexpr std::chrono::milliseconds kWait{20'000};

class StatusSocketTest : public testing::Test {
 protected:
  StatusSocketTest() {
    // Longer than a socket's path may be.
    folder =
        std::filesystem::temp_directory_path() / ("gh-status-" + std::to_string(::getpid())) / std::string(120, 'f');
    std::filesystem::create_directories(folder);
  }
  ~StatusSocketTest() override { std::filesystem::remove_all(folder.parent_path()); }

  std::filesystem::path folder;
};

TEST_F(StatusSocketTest, EachAskerGetsAnAnswerOfItsTime) {
  auto socket = StatusSocket::open(folder);
  ASSERT_TRUE(socket);
  EXPECT_FALSE((*socket)->is_asked());
  for (const std::string& said : {std::string("one"), std::string(3U << 20, 'x')}) {
    Result<std::string> heard = Error("nothing");
    std::thread asker([&] { heard = ask_status(folder, kWait); });
    while (!(*socket)->is_asked()) std::this_thread::yield();
    (*socket)->answer(said);
    asker.join();
    ASSERT_TRUE(heard) << heard.error().message();
    EXPECT_EQ(*heard, said);
  }
}

TEST_F(StatusSocketTest, NobodyThere) {
  EXPECT_FALSE(ask_status(folder, kWait));
  EXPECT_FALSE(ask_status(folder / "missing", kWait));
}

// One that was killed leaves its socket behind.
TEST_F(StatusSocketTest, OpensAgain) {
  auto first = StatusSocket::open(folder);
  ASSERT_TRUE(first);
  auto second = StatusSocket::open(folder);
  ASSERT_TRUE(second);
  Result<std::string> heard = Error("nothing");
  std::thread asker([&] { heard = ask_status(folder, kWait); });
  while (!(*second)->is_asked()) std::this_thread::yield();
  (*second)->answer("second");
  asker.join();
  EXPECT_EQ(heard ? *heard : heard.error().message(), "second");
}

// An owner that ends while somebody waits.
TEST_F(StatusSocketTest, EndsWithAnAskerWaiting) {
  auto socket = StatusSocket::open(folder);
  ASSERT_TRUE(socket);
  Result<std::string> heard = std::string("something");
  std::thread asker([&] { heard = ask_status(folder, kWait); });
  while (!(*socket)->is_asked()) std::this_thread::yield();
  socket->reset();
  asker.join();
  EXPECT_FALSE(heard);
}

}  // namespace
}  // namespace gatehouse::runtime
