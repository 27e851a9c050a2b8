// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/proc_reader.h"

#include <gtest/gtest.h>

#include "agent/identity/made_proc.h"
#include "agent/identity/names.h"

namespace gatehouse::identity {
namespace {

TEST(ProcReader, StatOfANameWithSpacesAndParentheses) {
  const auto stat = parse_proc_stat("42 (a) S 7 (x) S 11 2 3 34819 5 6 7 8 9 10 1 2 3 4 20 0 1 0 777 0 0\n");
  ASSERT_TRUE(stat.has_value());
  EXPECT_EQ(stat->parent_pid, 11U);
  EXPECT_EQ(tty_name(stat->tty), "pts/3");
  EXPECT_EQ(stat->start_ticks, 777U);
}

TEST(ProcReader, StatCutAnywhereIsRefusedOrWhole) {
  const std::string whole = "42 (name) S 11 2 3 34819 5 6 7 8 9 10 1 2 3 4 20 0 1 0 777 ";
  for (size_t size = 0; size + 4 < whole.size(); ++size)
    EXPECT_FALSE(parse_proc_stat(whole.substr(0, size)).has_value()) << size;
  EXPECT_TRUE(parse_proc_stat(whole).has_value());
  EXPECT_FALSE(parse_proc_stat("42 (name) S x 2 3 34819 5 6 7 8 9 10 1 2 3 4 20 0 1 0 777 ").has_value());
}

TEST(ProcReader, ReadsAProcess) {
  const MadeProc proc;
  proc.add({.pid = 42, .parent_pid = 1, .start_ticks = 1234, .name = "Uid:\t0"});
  const auto found = read_process(proc.root(), 42);
  ASSERT_TRUE(found.has_value());
  const Process& process = found->process;
  EXPECT_EQ(process.key, (ProcessKey{42, 12'340'000'000}));
  EXPECT_EQ(found->parent_pid, 1U);
  EXPECT_EQ(process.exe, proc.file("exe42"));
  EXPECT_NE(process.exe_inode, 0U);
  EXPECT_FALSE(process.exe_deleted);
  EXPECT_EQ(process.arguments, (std::vector<std::string>{"prog", "-x"}));
  EXPECT_EQ(process.cwd, "/srv");
  EXPECT_EQ(process.uid, 1000U);
  EXPECT_EQ(process.gid, 100U);
  EXPECT_EQ(process.loginuid, 1001U);
  EXPECT_EQ(process.audit_session, 7U);
  EXPECT_EQ(process.tty, "pts/3");
  EXPECT_EQ(process.systemd_unit, "cron.service");
  EXPECT_EQ(process.pid_namespace, 4026531836U);
  EXPECT_EQ(process.net_namespace, 4026531840U);
  EXPECT_TRUE(process.snapshot);
}

TEST(ProcReader, ADeletedExecutable) {
  const MadeProc proc;
  proc.add({.pid = 42, .exe = "/gone/prog (deleted)"});
  const auto found = read_process(proc.root(), 42);
  ASSERT_TRUE(found.has_value());
  EXPECT_TRUE(found->process.exe_deleted);
  EXPECT_EQ(found->process.exe, "/gone/prog");
}

TEST(ProcReader, WhatCannotBeReadIsUnknown) {
  const MadeProc proc;
  EXPECT_FALSE(read_process(proc.root(), 42).has_value());
  proc.add({.pid = 42, .loginuid = "4294967295", .session = "x"});
  std::filesystem::remove(proc.root() + "/42/status");
  const auto found = read_process(proc.root(), 42);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->process.uid, UINT32_MAX);  // and not root
  EXPECT_EQ(found->process.loginuid, UINT32_MAX);
  EXPECT_EQ(found->process.audit_session, UINT32_MAX);
}

}  // namespace
}  // namespace gatehouse::identity
