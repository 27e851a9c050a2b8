// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/names.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include <filesystem>
#include <fstream>

namespace gatehouse::identity {
namespace {

constexpr uint32_t device(uint32_t major_number, uint32_t minor_number) {
  return major_number << 20 | minor_number;
}

TEST(Names, Terminals) {
  EXPECT_EQ(tty_name(0), "");
  EXPECT_EQ(tty_name(device(136, 3)), "pts/3");
  EXPECT_EQ(tty_name(device(136, 300)), "pts/300");
  EXPECT_EQ(tty_name(device(137, 1)), "pts/257");
  EXPECT_EQ(tty_name(device(4, 1)), "tty1");
  EXPECT_EQ(tty_name(device(4, 64)), "ttyS0");
  EXPECT_EQ(tty_name(device(5, 1)), "console");
  EXPECT_EQ(tty_name(device(204, 64)), "ttyAMA0");
  EXPECT_EQ(tty_name(device(188, 2)), "ttyUSB2");
  EXPECT_EQ(tty_name(device(229, 0)), "char 229:0");
}

TEST(Names, DevicesOfUserSpaceAndKernel) {
  EXPECT_EQ(kernel_device(0x8803), device(136, 3));  // /proc/PID/stat of a process on pts/3
  EXPECT_EQ(kernel_device(0x10882c), device(136, 300));
  EXPECT_EQ(kernel_device(makedev(259, 70000)), device(259, 70000));
}

TEST(Names, RootHasAName) {
  EXPECT_EQ(look_up_user(0), "root");
  EXPECT_EQ(look_up_user(3'999'999'999U), "");
}

TEST(Names, KeptForATime) {
  UserNames names(2, 100);
  EXPECT_TRUE(names.is_due(5, 0));
  EXPECT_EQ(names.find(5), "");
  names.put(5, "five", 0);
  names.put(6, "", 0);
  EXPECT_FALSE(names.is_due(5, 100));
  EXPECT_FALSE(names.is_due(6, 100));
  EXPECT_TRUE(names.is_due(5, 101));
  EXPECT_EQ(names.find(5), "five");  // until it is renewed
  names.put(5, "cinq", 101);
  EXPECT_EQ(names.find(5), "cinq");
  names.put(7, "seven", 101);  // a third pushes one out
  EXPECT_EQ(names.find(7), "seven");
  EXPECT_TRUE(names.is_due(5, 101) || names.is_due(6, 101));
}

TEST(Names, PreloadsLocalUsers) {
  std::string path = std::filesystem::temp_directory_path() / "passwd_XXXXXX";
  ASSERT_GE(::mkstemp(path.data()), 0);
  std::ofstream(path) << "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\napp:x:999:999::/:/bin/false\n";
  UserNames names(10, 100);
  names.preload(path, 0);
  EXPECT_EQ(names.find(0), "root");
  EXPECT_EQ(names.find(999), "app");
  EXPECT_TRUE(names.is_due(1, 0));
  std::filesystem::remove(path);
  names.preload(path, 0);
}

}  // namespace
}  // namespace gatehouse::identity
