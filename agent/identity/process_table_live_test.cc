// SPDX-License-Identifier: Apache-2.0
// The table against the real /proc: processes made here, records made from what /proc says of them.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>
#include <utility>

#include "agent/identity/proc_reader.h"
#include "agent/identity/process_table.h"
#include "common/clock.h"
#include "common/digest.h"
#include "common/file.h"

namespace gatehouse::identity {
namespace {

// A child that runs `body`, which calls tell() when it is done, and then waits for its end.
class Child {
 public:
  template <typename Body>
  explicit Child(Body body) {
    std::array<int, 2> up{};
    if (::pipe(up.data()) != 0) return;
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      body(up[1]);
      for (;;) ::pause();
    }
    char byte = 0;
    [[maybe_unused]] const ssize_t got = ::read(up[0], &byte, 1);
    ::close(up[0]);
    ::close(up[1]);
  }
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  Child(const Child&) = delete;
  ~Child() { finish(); }
  void finish() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  [[nodiscard]] uint32_t pid() const { return static_cast<uint32_t>(pid_); }
  [[nodiscard]] ProcessKey key() const { return {pid(), read_start_ticks("/proc", pid()).value_or(0) * kTickNs}; }

 private:
  pid_t pid_ = 0;
};

void tell(int fd) {
  [[maybe_unused]] const ssize_t put = ::write(fd, "x", 1);
}

std::string own_exe() {
  std::array<char, 4096> path{};
  const ssize_t size = ::readlink("/proc/self/exe", path.data(), path.size());
  return {path.data(), static_cast<size_t>(size)};
}

// The key as the kernel would give it: any nanosecond of the tick.
ProcessKey exact(ProcessKey key) {
  key.start_ns += 1'234'567;
  return key;
}

void settle(ProcessTable& table) {
  std::vector<ProcessKey> changed;
  for (int i = 0; i < 20'000 && table.pending() > 0; ++i) {
    table.poll(boottime_ns(), changed);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST(ProcessTableLive, SnapshotKnowsThisProcessAndItsParents) {
  ProcessTable table;
  ASSERT_TRUE(table.snapshot().has_value());
  const auto pid = static_cast<uint32_t>(::getpid());
  const ProcessKey key = exact({pid, read_start_ticks("/proc", pid).value_or(0) * kTickNs});
  const ProcessRef process = table.find(key);
  ASSERT_NE(process, nullptr);
  EXPECT_EQ(process->exe, own_exe());
  EXPECT_EQ(process->uid, ::getuid());
  EXPECT_EQ(process->user, look_up_user(::getuid()));
  std::vector<ProcessRef> ancestors;
  table.ancestry(key, ancestors);
  ASSERT_FALSE(ancestors.empty());
  EXPECT_EQ(ancestors[0]->key.pid, static_cast<uint32_t>(::getppid()));
}

TEST(ProcessTableLive, TheNameAProcessGivesItselfDoesNotMatter) {
  ProcessTable table;
  const Child child([](int up) {
    ::prctl(PR_SET_NAME, ") R 1 (x");
    tell(up);
  });
  const ProcessRef process = table.find(exact(child.key()));
  ASSERT_NE(process, nullptr);
  EXPECT_EQ(process->exe, own_exe());
  EXPECT_EQ(process->parent.pid, static_cast<uint32_t>(::getpid()));
}

TEST(ProcessTableLive, TwoHundredForkedChildren) {
  ProcessTable table;
  ASSERT_TRUE(table.snapshot().has_value());
  const auto pid = static_cast<uint32_t>(::getpid());
  const ProcessKey parent = exact({pid, read_start_ticks("/proc", pid).value_or(0) * kTickNs});
  std::vector<Child> children;
  children.reserve(200);
  for (int i = 0; i < 200; ++i) {
    children.emplace_back([](int up) { tell(up); });
    table.on_fork({parent, exact(children.back().key()), boottime_ns()});
  }
  for (const Child& child : children) {
    const ProcessRef process = table.find(exact(child.key()));
    ASSERT_NE(process, nullptr);
    EXPECT_EQ(process->parent, parent);
    EXPECT_EQ(process->exe, own_exe());
    EXPECT_EQ(process->exec_number, 0U);
  }
  for (Child& child : children) {
    const ProcessKey key = exact(child.key());
    child.finish();
    table.on_exit({key, boottime_ns(), 0});
    EXPECT_NE(table.find(key), nullptr);
  }
}

TEST(ProcessTableLive, DigestOfARunningAndOfADeletedProgram) {
  ProcessTable table;
  const Child child([](int up) { tell(up); });
  ASSERT_NE(table.find(exact(child.key())), nullptr);

  // A copy of this program in memory, which runs without ever having had a path.
  const UniqueFd memory(::memfd_create("hidden", 0));
  const auto content = read_file("/bin/sleep", 16U << 20);
  ASSERT_TRUE(content.has_value());
  ASSERT_TRUE(write_all(memory.get(), as_bytes(*content)).has_value());
  const pid_t hidden = ::fork();
  if (hidden == 0) {
    const char* const arguments[] = {"sleep", "60", nullptr};
    ::fexecve(memory.get(), const_cast<char* const*>(arguments), environ);
    ::_exit(1);
  }
  const auto hidden_pid = static_cast<uint32_t>(hidden);
  ProcessRef process;
  for (int i = 0; i < 5000; ++i) {
    const auto found = read_process("/proc", hidden_pid);
    if (found && found->process.exe.starts_with("/memfd:hidden")) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  const ProcessKey key = exact({hidden_pid, read_start_ticks("/proc", hidden_pid).value_or(0) * kTickNs});
  process = table.find(key);
  ASSERT_NE(process, nullptr);
  EXPECT_EQ(process->exe, "/memfd:hidden");
  EXPECT_TRUE(process->exe_deleted);
  settle(table);
  EXPECT_EQ(table.find(key)->exe_sha256, to_hex(sha256(as_bytes(*content))));
  const auto own = sha256_file(own_exe(), 1U << 30);
  ASSERT_TRUE(own.has_value());
  EXPECT_EQ(table.find(exact(child.key()))->exe_sha256, to_hex(*own));
  ::kill(hidden, SIGKILL);
  ::waitpid(hidden, nullptr, 0);
}

TEST(ProcessTableLive, AnotherStartTimeIsAnotherProcess) {
  ProcessTable table;
  const Child child([](int up) { tell(up); });
  ProcessKey key = exact(child.key());
  key.start_ns -= kTickNs;
  EXPECT_EQ(table.find(key), nullptr);
}

}  // namespace
}  // namespace gatehouse::identity
