// SPDX-License-Identifier: Apache-2.0
#include "agent/shim/places.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

namespace gatehouse::shim {
namespace {

std::string text_of(const abi::gh_path& path) {
  std::string text(path.name, path.bytes);
  if (!text.empty() && text[0] == '\0') text[0] = '@';
  return text;
}

TEST(Places, PathsAreComparedWithoutWhatMeansNothing) {
  constexpr std::pair<const char*, const char*> kCases[] = {
      {"/run/postgresql/.s.PGSQL.5432", "/run/postgresql/.s.PGSQL.5432"},
      {"/run//postgresql/./.s.PGSQL.5432", "/run/postgresql/.s.PGSQL.5432"},
      {"/./././a", "/a"},
      {"//a/.b/..c", "/a/.b/..c"},
      {"/a/.", "/a/."},
      {"@abstract//name", "@abstract//name"},
  };
  for (const auto& [given, want] : kCases) {
    abi::gh_path path{};
    EXPECT_TRUE(to_path(given, path)) << given;
    EXPECT_EQ(text_of(path), want);
  }
}

TEST(Places, WhatIsNoAddressIsNone) {
  abi::gh_path path{};
  for (const std::string& given : {std::string(), std::string("/"), std::string("@"), std::string("relative/path"),
                                   "/" + std::string(107, 'a'), "@" + std::string(108, 'a')})
    EXPECT_FALSE(to_path(given, path)) << given;
  EXPECT_TRUE(to_path("/" + std::string(106, 'a'), path));
  EXPECT_TRUE(to_path("@" + std::string(107, 'a'), path));
}

TEST(Places, LinksAreOtherNames) {
  std::string folder = "/tmp/gatehouse-places-XXXXXX";
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  ASSERT_EQ(mkdir((folder + "/real").c_str(), 0700), 0);
  ASSERT_EQ(symlink("real", (folder + "/link").c_str()), 0);
  const auto names = path_names(folder + "/link/.s.PGSQL.5432");
  ASSERT_EQ(names.size(), 2U);
  EXPECT_EQ(text_of(names[0]), folder + "/link/.s.PGSQL.5432");
  EXPECT_EQ(text_of(names[1]), folder + "/real/.s.PGSQL.5432");
  EXPECT_EQ(path_names(folder + "/real/.s.PGSQL.5432").size(), 1U);
  EXPECT_EQ(path_names("@link").size(), 1U);
  EXPECT_TRUE(path_names("link").empty());
  unlink((folder + "/link").c_str());
  rmdir((folder + "/real").c_str());
  rmdir(folder.c_str());
}

TEST(Places, CgroupV2IsFoundAmongTheMounts) {
  EXPECT_EQ(cgroup2_mount("proc /proc proc rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"
                          "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"),
            "/sys/fs/cgroup/unified");
  EXPECT_EQ(cgroup2_mount("none /mnt/a\\040b cgroup2 rw 0 0\n"), "/mnt/a b");
  EXPECT_EQ(cgroup2_mount("proc /proc proc rw 0 0\n"), "");
}

TEST(Places, ByItsFolder) {
  abi::gh_path_in there{}, again{}, other{};
  ASSERT_TRUE(to_path_in("/usr//./bin/env", there));
  ASSERT_TRUE(to_path_in("/usr/bin/../bin/env", again));
  EXPECT_EQ(std::memcmp(&there, &again, sizeof(there)), 0);
  EXPECT_EQ(std::string(there.name, there.bytes), "env");
  struct stat folder{};
  ASSERT_EQ(stat("/usr/bin", &folder), 0);
  EXPECT_EQ(there.folder_inode, folder.st_ino);
  ASSERT_TRUE(to_path_in("/usr/env", other));
  EXPECT_NE(std::memcmp(&there, &other, sizeof(there)), 0);
  for (const char* const bad : {"", "env", "@abstract", "/no/such/folder/env", "/usr/bin/"})
    EXPECT_FALSE(to_path_in(bad, other)) << bad;
}

}  // namespace
}  // namespace gatehouse::shim
