// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/process_table.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <chrono>
#include <thread>

#include "agent/identity/made_proc.h"
#include "common/clock.h"
#include "common/digest.h"
#include "common/file.h"

namespace gatehouse::identity {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

class ProcessTableTest : public ::testing::Test {
 protected:
  ProcessTable make(size_t processes_max = kProcessesMax) {
    return ProcessTable({.proc_root = proc_.root(),
                         .passwd_path = proc_.file("passwd"),
                         .processes_max = processes_max,
                         .exited_kept_ns = 60 * kSecond});
  }
  void SetUp() override {
    MadeProc::write(proc_.file("passwd"), "root:x:0:0::/:/\napp:x:1000:100::/:/\nalice:x:1001:100::/:/\n");
    time_ = boottime_ns();
  }
  ProcessExec exec(const ProcessKey& process, const ProcessKey& parent, std::string_view exe) {
    return {.process = process,
            .parent = parent,
            .time_ns = ++time_,
            .uid = 1000,
            .gid = 100,
            .euid = 1000,
            .loginuid = 1001,
            .exe_inode = 77,
            .exe = exe,
            .arguments = std::string_view("a\0b\0", 4),
            .cwd = "/tmp",
            .cgroup_path = "/system.slice/cron.service"};
  }
  ProcessFork fork(const ProcessKey& parent, const ProcessKey& child) { return {parent, child, ++time_}; }
  ProcessExit exit(const ProcessKey& process) { return {process, ++time_, 0}; }
  // Waits for the background thread.
  std::vector<ProcessKey> settle(ProcessTable& table) {
    std::vector<ProcessKey> changed;
    for (int i = 0; i < 5000 && table.pending() > 0; ++i) {
      table.poll(time_, changed);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return changed;
  }
  static std::vector<std::string> ancestors(ProcessTable& table, const ProcessKey& key) {
    std::vector<ProcessRef> out;
    table.ancestry(key, out);
    std::vector<std::string> exes;
    for (const ProcessRef& process : out) exes.push_back(process->exe);
    return exes;
  }
  using Exes = std::vector<std::string>;

  MadeProc proc_;
  uint64_t time_ = 0;
};

constexpr ProcessKey kInit{1, 10}, kShell{100, 1'000'000'001}, kPsql{101, 2'000'000'002};

TEST_F(ProcessTableTest, ExecSaysItAll) {
  ProcessTable table = make();
  table.on_exec(exec(kPsql, kShell, "/usr/bin/psql"));
  const ProcessRef process = table.find(kPsql);
  ASSERT_NE(process, nullptr);
  EXPECT_EQ(process->key, kPsql);
  EXPECT_EQ(process->parent, kShell);
  EXPECT_EQ(process->exec_number, 1U);
  EXPECT_EQ(process->exe, "/usr/bin/psql");
  EXPECT_EQ(process->arguments, (Exes{"a", "b"}));
  EXPECT_EQ(process->user, "app");
  EXPECT_EQ(process->login_user, "alice");
  EXPECT_EQ(process->systemd_unit, "cron.service");
  EXPECT_FALSE(process->snapshot);
  EXPECT_EQ(table.find({}), nullptr);
}

TEST_F(ProcessTableTest, ExecMakesANewImageAndTheOldOneStaysWithItsHolder) {
  ProcessTable table = make();
  table.on_exec(exec(kShell, kInit, "/bin/sh"));
  const ProcessRef shell = table.find(kShell);
  table.on_exec(exec(kShell, kInit, "/usr/bin/psql"));
  const ProcessRef psql = table.find(kShell);
  EXPECT_EQ(shell->exe, "/bin/sh");
  EXPECT_EQ(psql->exe, "/usr/bin/psql");
  EXPECT_EQ(psql->exec_number, 2U);
}

// A statement that the server still works on was written by the image that ran then.
TEST_F(ProcessTableTest, FormerImagesAreFoundByTheirNumber) {
  ProcessTable table = make();
  table.on_exec(exec(kShell, kInit, "/bin/sh"));
  const uint32_t shell = table.find(kShell)->image_number;
  table.on_exec(exec(kShell, kInit, "/usr/bin/psql"));
  EXPECT_EQ(table.image({kShell, shell})->exe, "/bin/sh");
  EXPECT_EQ(table.image({kShell, 0})->exe, "/usr/bin/psql");
  for (int i = 0; i < 10; ++i) table.on_exec(exec(kShell, kInit, "/usr/bin/psql"));
  EXPECT_EQ(table.image({kShell, shell})->exe, "/usr/bin/psql") << "only the latest few are kept";
  EXPECT_EQ(table.image({kPsql, 1}), nullptr);
}

// The kernel says as whom a process wrote; no record tells of setuid().
TEST_F(ProcessTableTest, AWriterWithAnotherUserHasANewImage) {
  ProcessTable table = make();
  ProcessExec record = exec(kShell, kInit, "/usr/sbin/daemon");
  record.uid = record.euid = 0;
  table.on_exec(record);
  const ProcessRef root = table.writer(kShell, 0);
  EXPECT_EQ(root->uid, 0U);
  EXPECT_EQ(table.writer(kShell, UINT32_MAX), root);
  const ProcessRef worker = table.writer(kShell, 1000);
  EXPECT_EQ(worker->uid, 1000U);
  EXPECT_EQ(worker->euid, 1000U);
  EXPECT_EQ(worker->user, "app");
  EXPECT_EQ(worker->exe, "/usr/sbin/daemon");
  EXPECT_EQ(worker->exec_number, root->exec_number);
  EXPECT_NE(worker->image_number, root->image_number);
  EXPECT_EQ(table.image({kShell, root->image_number})->uid, 0U);
  EXPECT_EQ(table.writer(kShell, 1000), worker);
  EXPECT_EQ(table.find(kShell), worker);
}

// Its exit may have been read before anybody asked for it, and /proc has it no more.
TEST_F(ProcessTableTest, AForkedChildThatIsGoneIsWhoItWasWhenItWrote) {
  ProcessTable table = make();
  ProcessExec record = exec(kShell, kInit, "/usr/sbin/daemon");
  record.uid = record.euid = 0;
  table.on_exec(record);
  table.on_fork(fork(kShell, kPsql));
  EXPECT_EQ(table.writer(kPsql, 1000)->uid, 1000U);
  EXPECT_EQ(table.find(kShell)->uid, 0U);
}

TEST_F(ProcessTableTest, AForkedChildSharesTheImageUnderItsOwnKey) {
  ProcessTable table = make();
  table.on_exec(exec(kShell, kInit, "/bin/sh"));
  table.on_fork(fork(kShell, kPsql));
  const ProcessRef child = table.find(kPsql);
  ASSERT_NE(child, nullptr);
  EXPECT_EQ(child->key, kPsql);
  EXPECT_EQ(child->parent, kShell);
  EXPECT_EQ(child->exec_number, 0U);
  EXPECT_EQ(child->exe, "/bin/sh");
  EXPECT_EQ(ancestors(table, kPsql), (Exes{"/bin/sh"}));
  // A grandchild, forked before anybody asked for the child.
  const ProcessKey middle{200, 5}, last{201, 6};
  table.on_fork(fork(kShell, middle));
  table.on_fork(fork(middle, last));
  std::vector<ProcessRef> out;
  table.ancestry(last, out);
  ASSERT_EQ(out.size(), 2U);
  EXPECT_EQ(out[0]->key, middle);
  EXPECT_EQ(out[1]->key, kShell);
  table.on_exec(exec(last, middle, "/usr/bin/psql"));
  EXPECT_EQ(table.find(last)->exec_number, 1U);
}

TEST_F(ProcessTableTest, AForkedChildThatChangedItsUserShowsIt) {
  ProcessTable table = make();
  table.on_exec(exec(kShell, kInit, "/usr/sbin/daemon"));
  table.on_fork(fork(kShell, kPsql));
  proc_.add(
      {.pid = kPsql.pid, .parent_pid = kShell.pid, .start_ticks = kPsql.start_ns / 10'000'000, .uid = 0, .euid = 0});
  EXPECT_EQ(table.find(kPsql)->uid, 0U);
  EXPECT_EQ(table.find(kPsql)->user, "root");
  EXPECT_EQ(table.find(kShell)->uid, 1000U);
}

TEST_F(ProcessTableTest, AncestryIsOfForkTime) {
  ProcessTable table = make();
  table.on_exec(exec(kInit, {}, "/sbin/init"));
  table.on_fork(fork(kInit, kShell));
  table.on_exec(exec(kShell, kInit, "/bin/sh"));
  table.on_fork(fork(kShell, kPsql));
  // Reparented to init, as its exec record shows.
  table.on_exit(exit(kShell));
  table.on_exec(exec(kPsql, kInit, "/usr/bin/psql"));
  EXPECT_EQ(table.find(kPsql)->parent, kShell);
  EXPECT_EQ(ancestors(table, kPsql), (Exes{"/bin/sh", "/sbin/init"}));
  // Long after.
  std::vector<ProcessKey> changed;
  table.poll(time_ + 3600 * kSecond, changed);
  EXPECT_EQ(ancestors(table, kPsql), (Exes{"/bin/sh", "/sbin/init"}));
}

TEST_F(ProcessTableTest, AParentThatRunsSomethingElseLater) {
  ProcessTable table = make();
  table.on_exec(exec(kShell, {}, "/usr/bin/ssh-session"));
  table.on_fork(fork(kShell, kPsql));
  table.on_exec(exec(kShell, {}, "/usr/bin/innocent"));
  EXPECT_EQ(ancestors(table, kPsql), (Exes{"/usr/bin/ssh-session"}));
}

TEST_F(ProcessTableTest, TheExitedAreForgottenInTime) {
  ProcessTable table = make();
  table.on_exec(exec(kShell, kInit, "/bin/sh"));
  table.on_fork(fork(kShell, kPsql));
  table.on_exec(exec(kPsql, kShell, "/usr/bin/psql"));
  table.on_exit(exit(kShell));
  table.on_exit(exit(kPsql));
  EXPECT_NE(table.find(kPsql), nullptr);  // late records
  std::vector<ProcessKey> changed;
  table.poll(time_ + 59 * kSecond, changed);
  EXPECT_NE(table.find(kPsql), nullptr);  // used, so it stays once more
  table.poll(time_ + 61 * kSecond, changed);
  EXPECT_NE(table.find(kPsql), nullptr);
  table.poll(time_ + 300 * kSecond, changed);  // the child goes, the parent follows
  table.poll(time_ + 300 * kSecond, changed);
  EXPECT_EQ(table.size(), 0U);
  EXPECT_EQ(table.counters().evicted, 0U);
}

TEST_F(ProcessTableTest, APidUsedAgainIsAnotherProcess) {
  ProcessTable table = make();
  const ProcessKey again{kPsql.pid, kPsql.start_ns + 5 * kSecond};
  table.on_exec(exec(kPsql, kShell, "/usr/bin/psql"));
  table.on_fork(fork(kShell, again));  // the exit record was lost
  table.on_exec(exec(again, kShell, "/usr/bin/curl"));
  EXPECT_EQ(table.find(kPsql)->exe, "/usr/bin/psql");
  EXPECT_EQ(table.find(again)->exe, "/usr/bin/curl");
  EXPECT_EQ(table.find(again)->exec_number, 1U);
  std::vector<ProcessKey> changed;
  table.poll(time_ + 200 * kSecond, changed);
  table.poll(time_ + 400 * kSecond, changed);
  EXPECT_EQ(table.size(), 1U);
}

TEST_F(ProcessTableTest, SnapshotLinksWhatRunsAndExactKeysFindIt) {
  proc_.add({.pid = 1, .start_ticks = 1});
  proc_.add({.pid = 100, .parent_pid = 1, .start_ticks = 100});
  proc_.add({.pid = 101, .parent_pid = 100, .start_ticks = 200});
  ProcessTable table = make();
  ASSERT_TRUE(table.snapshot().has_value());
  EXPECT_EQ(table.size(), 3U);
  // The kernel knows the start to the nanosecond.
  const ProcessRef process = table.find(kPsql);
  ASSERT_NE(process, nullptr);
  EXPECT_TRUE(process->snapshot);
  EXPECT_EQ(process->key, kPsql);
  EXPECT_EQ(ancestors(table, kPsql), (Exes{proc_.file("exe100"), proc_.file("exe1")}));
  // A child learns its parent's exact key too.
  ASSERT_NE(table.find(kShell), nullptr);
  EXPECT_EQ(table.find(kPsql)->parent, kShell);
  EXPECT_EQ(table.size(), 3U);
  // Another process with that pid is not it.
  EXPECT_EQ(table.find({101, 2'010'000'000}), nullptr);
  EXPECT_EQ(table.find({101, 2'010'000'000}), nullptr);
  EXPECT_EQ(table.counters().unknown, 1U);
}

TEST_F(ProcessTableTest, ALostForkIsMadeUpForFromProc) {
  ProcessTable table = make();
  proc_.add({.pid = 100, .parent_pid = 0, .start_ticks = 100});
  proc_.add({.pid = 101, .parent_pid = 100, .start_ticks = 200});
  const ProcessRef process = table.find(kPsql);
  ASSERT_NE(process, nullptr);
  EXPECT_TRUE(process->snapshot);
  EXPECT_EQ(process->user, "app");
  EXPECT_EQ(ancestors(table, kPsql), (Exes{proc_.file("exe100")}));
  EXPECT_EQ(table.counters().filled, 2U);
}

TEST_F(ProcessTableTest, AskedBeforeItsRecordCame) {
  ProcessTable table = make();
  EXPECT_EQ(table.find(kPsql), nullptr);
  table.on_fork(fork(kShell, kPsql));  // of a parent that nobody knows
  EXPECT_EQ(table.find(kPsql), nullptr);
  table.on_exec(exec(kPsql, kShell, "/usr/bin/psql"));
  ASSERT_NE(table.find(kPsql), nullptr);
  EXPECT_EQ(table.find(kPsql)->exe, "/usr/bin/psql");
}

TEST_F(ProcessTableTest, StaysWithinItsLimit) {
  ProcessTable table = make(100);
  table.on_exec(exec(kShell, kInit, "/bin/sh"));
  for (uint32_t pid = 1000; pid < 2000; ++pid) {
    table.on_fork(fork(kShell, {pid, pid}));
    EXPECT_LE(table.size(), 100U);
  }
  EXPECT_EQ(table.counters().evicted, 901U);
  EXPECT_EQ(table.find(kShell)->exe, "/bin/sh");  // somebody's parent is kept longest
  EXPECT_EQ(table.find({1999, 1999})->exe, "/bin/sh");
  for (uint32_t pid = 1900; pid < 2000; ++pid) table.on_exit(exit({pid, pid}));
  for (uint32_t pid = 3000; pid < 3050; ++pid) table.on_fork(fork(kShell, {pid, pid}));
  EXPECT_LE(table.size(), 100U);
  EXPECT_NE(table.find({3000, 3000}), nullptr);
}

TEST_F(ProcessTableTest, DeepChainsEndWithinTheLimit) {
  ProcessTable table = make();
  table.on_exec(exec({10, 10}, {}, "/bin/sh"));
  for (uint32_t pid = 11; pid < 2000; ++pid) table.on_fork(fork({pid - 1, pid - 1}, {pid, pid}));
  EXPECT_EQ(ancestors(table, {1999, 1999}).size(), kAncestorsMax);
}

TEST_F(ProcessTableTest, DigestsArriveLater) {
  ProcessTable table = make();
  proc_.add({.pid = 101, .start_ticks = 200, .content = "program"});
  struct stat status{};
  ASSERT_EQ(::stat(proc_.file("exe101").c_str(), &status), 0);
  ProcessExec record = exec(kPsql, kShell, "/elsewhere/psql");
  record.exe_inode = status.st_ino;
  table.on_exec(record);
  table.on_fork(fork(kPsql, {102, 3 * kSecond}));
  EXPECT_EQ(settle(table), (std::vector<ProcessKey>{kPsql}));
  const std::string want = to_hex(sha256(as_bytes("program")));
  EXPECT_EQ(table.find(kPsql)->exe_sha256, want);
  EXPECT_EQ(table.find({102, 3 * kSecond})->exe_sha256, want);  // shares the image
  std::vector<ProcessRef> out;
  table.ancestry({102, 3 * kSecond}, out);
  ASSERT_EQ(out.size(), 1U);
  EXPECT_EQ(out[0]->exe_sha256, want);
}

TEST_F(ProcessTableTest, ADigestIsNeverOfAnotherFile) {
  ProcessTable table = make();
  proc_.add({.pid = 101, .start_ticks = 200});
  table.on_exec(exec(kPsql, kShell, proc_.file("exe101")));  // inode 77 is not that file's
  EXPECT_TRUE(settle(table).empty());
  EXPECT_EQ(table.find(kPsql)->exe_sha256, "");
  EXPECT_EQ(table.counters().digests_missing, 1U);
}

TEST_F(ProcessTableTest, UnknownUsersAreLookedUpInTheBackground) {
  ProcessTable table = make();
  ProcessExec record = exec(kPsql, kShell, "/usr/bin/psql");
  record.uid = 2;  // "bin" in Debian's own passwd file, not in the made one
  record.exe_inode = 0;
  table.on_exec(record);
  EXPECT_EQ(table.find(kPsql)->user, "");
  EXPECT_EQ(settle(table).size(), 1U);
  EXPECT_EQ(table.find(kPsql)->user, look_up_user(2));
}

}  // namespace
}  // namespace gatehouse::identity
