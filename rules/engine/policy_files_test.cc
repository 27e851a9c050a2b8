// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/policy_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "common/testing.h"

namespace gatehouse::rules {
namespace {

std::vector<std::string> names(const std::vector<PolicyFile>& files, const std::string& folder) {
  std::vector<std::string> out;
  for (const PolicyFile& file : files) out.push_back(file.name.substr(folder.size() + 1));
  return out;
}

TEST(PolicyFiles, FoldersAreReadInOrder) {
  const test::TemporaryFolder folder;
  const std::string root = folder.path();
  std::filesystem::create_directories(root + "/b/.git");
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(root + "/" + name) << text;
  };
  write("c.yaml", "rules: []\n");
  write("b/a.yml", "lists:\n  - {name: n, file: n.txt}\n  - {name: m, file: missing.txt}\n");
  write("b/n.txt", "x\n");
  write("b/other.txt", "x\n");
  write("b/cases.yaml", "cases: []\n");
  write("b/.hidden.yaml", "");
  write("b/.git/x.yaml", "");
  const auto files = read_policy_files(std::vector{root, root + "/c.yaml"});
  ASSERT_TRUE(files) << files.error().message();
  EXPECT_THAT(names(files->rules, root), testing::ElementsAre("b/a.yml", "c.yaml", "b/n.txt"));
  EXPECT_THAT(names(files->cases, root), testing::ElementsAre("b/cases.yaml"));
  EXPECT_EQ(files->rules[2].text, "x\n");
  EXPECT_FALSE(read_policy_files(std::vector{root + "/none"}));
}

}  // namespace
}  // namespace gatehouse::rules
