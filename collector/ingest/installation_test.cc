// SPDX-License-Identifier: Apache-2.0
#include "collector/ingest/installation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

#include "common/log.h"
#include "common/testing.h"

namespace gatehouse::ingest {
namespace {

using Names = std::vector<std::string>;

std::string content_of(const std::string& path) {
  std::ostringstream content;
  content << std::ifstream(path).rdbuf();
  return content.str();
}

class InstallationTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { log::set_level(log::Level::kError); }

  Result<Installation> open(const Names& names) const { return Installation::open(folder_.path(), "test", names); }
  // As the next start finds it.
  [[nodiscard]] pki::Identity saved() const {
    return {.certificate_pem = content_of(folder_.path() + "/server/cert.pem"),
            .key_pem = content_of(folder_.path() + "/server/key.pem")};
  }

  test::TemporaryFolder folder_;
};

bool has_name(const pki::Identity& identity, const std::string& name) {
  const auto info = pki::inspect(identity.certificate_pem);
  return info && std::ranges::find(info->names, name) != info->names.end();
}

TEST_F(InstallationTest, IsMadeOnceAndRenewedForANewName) {
  const auto first = open({"a.example"});
  ASSERT_TRUE(first);
  EXPECT_TRUE(first->is_new);
  const auto again = open({"a.example"});
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->is_new);
  EXPECT_EQ(again->server.certificate_pem, first->server.certificate_pem);
  const auto renewed = open({"b.example"});
  ASSERT_TRUE(renewed);
  EXPECT_TRUE(has_name(renewed->server, "b.example"));
  EXPECT_EQ(renewed->authority.certificate_pem(), first->authority.certificate_pem());
  EXPECT_TRUE(pki::is_pair(saved()));
  EXPECT_EQ(saved().certificate_pem, renewed->server.certificate_pem);
}

// As a crash leaves it between the two files of a renewal.
TEST_F(InstallationTest, AKeyWithoutItsCertificateIsRenewed) {
  ASSERT_TRUE(open({"a.example"}));
  std::ofstream(folder_.path() + "/server/key.pem") << *pki::create_key();
  EXPECT_FALSE(pki::is_pair(saved()));
  const auto opened = open({"a.example"});
  ASSERT_TRUE(opened);
  EXPECT_TRUE(pki::is_pair(opened->server));
  EXPECT_TRUE(pki::is_pair(saved()));
}

// However little room there is: what is saved stays a pair, what serves has the new name, and later both are the same.
TEST_F(InstallationTest, IsRenewedOnAFullDisk) {
  constexpr size_t kPage = 4096;
  for (size_t free_pages = 0; free_pages < 6; ++free_pages) {
    SCOPED_TRACE(free_pages);
    const auto outcome = test::on_small_disk(folder_.path(), 1U << 20, [&] {
      if (!open({"a.example"})) return 1;
      const std::string ballast = test::fill_disk(folder_.path());
      std::filesystem::resize_file(ballast, std::filesystem::file_size(ballast) - free_pages * kPage);
      const pki::Identity before = saved();
      const auto renewed = open({"b.example"});
      if (!renewed || !pki::is_pair(renewed->server) || !has_name(renewed->server, "b.example")) return 2;
      if (!pki::is_pair(saved())) return 3;
      if (free_pages == 0 && saved().certificate_pem != before.certificate_pem) return 4;
      for (const auto& file : std::filesystem::recursive_directory_iterator(folder_.path()))
        if (file.path().extension() == ".tmp") return 5;
      std::filesystem::remove(ballast);
      const auto later = open({"b.example"});
      if (!later || saved().certificate_pem != later->server.certificate_pem) return 6;
      return pki::is_pair(saved()) && has_name(saved(), "b.example") ? 0 : 7;
    });
    ASSERT_TRUE(outcome) << "this process may not mount a file system: run it as root";
    EXPECT_EQ(*outcome, 0);
  }
}

// Nothing that says it is there and is not.
TEST_F(InstallationTest, IsNotBegunOnAFullDisk) {
  const auto outcome = test::on_small_disk(folder_.path(), 1U << 20, [&] {
    const std::string ballast = test::fill_disk(folder_.path());
    if (open({"a.example"})) return 1;
    std::filesystem::remove(ballast);
    const auto opened = open({"a.example"});
    return opened && opened->is_new && pki::is_pair(saved()) ? 0 : 2;
  });
  ASSERT_TRUE(outcome) << "this process may not mount a file system: run it as root";
  EXPECT_EQ(*outcome, 0);
}

}  // namespace
}  // namespace gatehouse::ingest
