// SPDX-License-Identifier: Apache-2.0
#include "common/config.h"

#include <gtest/gtest.h>

#include <array>

namespace gatehouse::config {
namespace {

using std::chrono::milliseconds;

std::optional<std::string> check_path(std::string_view value) {
  if (value.starts_with('/')) return std::nullopt;
  return "an absolute path";
}

constexpr std::array kSchema{
    Key{.path = "store", .type = Type::kSection, .why = "w"},
    Key{.path = "store.dir", .fallback = "/var/x", .why = "w", .check = check_path},
    Key{.path = "store.bytes_max",
        .type = Type::kBytes,
        .fallback = "1GiB",
        .min = 1U << 20,
        .max = 1ULL << 40,
        .power_of_two = true,
        .why = "w"},
    Key{.path = "store.age_max", .type = Type::kDuration, .fallback = "1h", .min = 1000, .max = 86'400'000, .why = "w"},
    Key{.path = "store.poll_ms_max", .type = Type::kDuration, .fallback = "5ms", .min = 1, .max = 1000, .why = "w"},
    Key{.path = "store.threads", .type = Type::kCount, .fallback = "2", .min = 1, .max = 64, .why = "w"},
    Key{.path = "peers", .type = Type::kSections, .why = "w"},
    Key{.path = "peers[].name", .required = true, .why = "how it is called."},
    Key{.path = "peers[].address", .type = Type::kAddress, .fallback = "127.0.0.1:1", .why = "w"},
    Key{.path = "peers[].hosts", .type = Type::kTexts, .max = 10, .why = "w"},
    Key{.path = "peers[].labels", .type = Type::kLabels, .why = "w"},
    Key{.path = "level", .type = Type::kChoice, .fallback = "info", .choices = "debug|info|warn", .why = "w"},
};

TEST(Config, TheTableItselfIsSound) {
  EXPECT_TRUE(problems(kSchema).empty());
  constexpr std::array kBad{
      Key{.path = "a.b", .type = Type::kCount, .fallback = "7", .min = 1, .max = 3, .why = "w"},
      Key{.path = "a.b", .type = Type::kCount, .max = 3},
  };
  EXPECT_EQ(problems(kBad).size(), 6U);
}

TEST(Config, DefaultsComeFromTheTable) {
  const auto settings = Settings::parse("", "f", kSchema);
  ASSERT_TRUE(settings.has_value()) << settings.error().message();
  EXPECT_FALSE(settings->has("store.dir"));
  EXPECT_EQ(settings->text("store.dir"), "/var/x");
  EXPECT_EQ(settings->bytes("store.bytes_max"), 1ULL << 30);
  EXPECT_EQ(settings->duration("store.age_max"), milliseconds(3'600'000));
  EXPECT_EQ(settings->count("store.threads"), 2U);
  EXPECT_EQ(settings->text("level"), "info");
  EXPECT_TRUE(settings->sections("peers").empty());
}

TEST(Config, AllThatIsWrongIsTold) {
  std::vector<Problem> found;
  const auto settings =
      Settings::check("store:\n  thread: 4\n  age_max: x\npeers:\n- name: one\n- address: a:1\n- 5\nlevel: loud\n", "f",
                      kSchema, 100, found);
  ASSERT_TRUE(settings.has_value());
  std::string told;
  for (const Problem& p : found) told += std::to_string(p.line) + ":" + std::to_string(p.column) + " " + p.key + "\n";
  EXPECT_EQ(told, "2:3 store.thread\n3:12 store.age_max\n6:3 peers[1].name\n7:3 peers[2]\n8:8 level\n");
  EXPECT_FALSE(settings->sound());
  const std::vector<Settings> peers = settings->sections("peers");
  ASSERT_EQ(peers.size(), 3U);
  EXPECT_TRUE(peers[0].sound());
  EXPECT_EQ(peers[0].text("name"), "one");
  EXPECT_FALSE(peers[1].sound());
  EXPECT_FALSE(peers[2].sound());
  const auto map = Settings::check("peers: {a: {name: x}}\n", "f", kSchema, 100, found);
  EXPECT_TRUE(map && !map->sound() && map->sections("peers").empty());
  found.clear();
  EXPECT_FALSE(Settings::check("a: [", "f", kSchema, 100, found).has_value());
  EXPECT_EQ(found.size(), 1U);
}

TEST(Config, ReadsEveryType) {
  const auto settings = Settings::parse(
      "store:\n  dir: /data\n  bytes_max: 64MiB\n  age_max: 90s\n  poll_ms_max: 20\n  threads: 4\n"
      "peers:\n- name: one\n  address: '[::1]:7443'\n  hosts: [a, b]\n  labels: {env: prod, n: 1}\n- {name: two}\n",
      "f", kSchema);
  ASSERT_TRUE(settings.has_value()) << settings.error().message();
  EXPECT_TRUE(settings->has("store.dir"));
  EXPECT_EQ(settings->text("store.dir"), "/data");
  EXPECT_EQ(settings->bytes("store.bytes_max"), 64U << 20);
  EXPECT_EQ(settings->duration("store.age_max"), milliseconds(90'000));
  EXPECT_EQ(settings->duration("store.poll_ms_max"), milliseconds(20));
  EXPECT_EQ(settings->count("store.threads"), 4U);
  const auto peers = settings->sections("peers");
  ASSERT_EQ(peers.size(), 2U);
  EXPECT_EQ(peers[0].text("name"), "one");
  EXPECT_EQ(peers[0].address("address"), (Address{"::1", 7443}));
  EXPECT_EQ(peers[0].texts("hosts"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(peers[0].labels("labels").size(), 2U);
  EXPECT_EQ(peers[0].labels("labels")[1], (std::pair<std::string, std::string>{"n", "1"}));
  EXPECT_EQ(peers[1].address("address"), (Address{"127.0.0.1", 1}));
  EXPECT_EQ(peers[1].error_at("name", "another one").message(), "f:12:10: peers[].name: another one");
}

struct Case {
  std::string_view text, want;
};
constexpr Case kWrong[] = {
    {"stor:\n  dir: /x\n", "f:1:1: stor: unknown key; did you mean store?"},
    {"store:\n  dri: /x\n", "f:2:3: store.dri: unknown key; did you mean dir?"},
    {"store:\n  level: info\n", "f:2:3: store.level: unknown key; did you mean level?"},
    {"zzzzzz: 1\n", "f:1:1: zzzzzz: unknown key; known here: store, peers, level"},
    {"store.dir: /x\n", "f:1:1: store.dir: unknown key; known here: store, peers, level"},
    {"store: 3\n", "f:1:8: store: expected keys with values"},
    {"- a\n", "f:1:1: expected keys with values"},
    {"store:\n  dir: x\n", "f:2:8: store.dir: expected an absolute path, found \"x\""},
    {"store:\n  dir:\n", "f:2:3: store.dir: expected text of 1 to 4096 bytes, found nothing"},
    {"store:\n  dir: [x]\n", "f:2:8: store.dir: expected one value, found a list"},
    {"store:\n  bytes_max: 65MiB\n",
     "f:2:14: store.bytes_max: expected a size such as 64MiB (1MiB to 1TiB, a power of two), found \"65MiB\""},
    {"store:\n  bytes_max: 64MB\n",
     "f:2:14: store.bytes_max: expected a size such as 64MiB (1MiB to 1TiB, a power of two), found \"64MB\""},
    {"store:\n  age_max: 90\n",
     "f:2:12: store.age_max: expected a duration such as 100ms, 2s or 1h (1s to 1d), found \"90\""},
    {"store:\n  threads: -1\n", "f:2:12: store.threads: expected a whole number (1 to 64), found \"-1\""},
    {"store:\n  threads: 65\n", "f:2:12: store.threads: expected a whole number (1 to 64), found \"65\""},
    {"level: trace\n", "f:1:8: level: expected one of debug, info, warn, found \"trace\""},
    {"level: inf\n", "f:1:8: level: expected one of debug, info, warn, found \"inf\""},
    {"peers: {name: x}\n", "f:1:8: peers: expected a list: lines that begin with \"- \""},
    {"peers:\n- address: a:1\n", "f:2:3: peers[0].name: missing; how it is called."},
    {"peers:\n- name: a\n- name: b\n  address: b\n",
     "f:4:12: peers[1].address: expected an address such as 127.0.0.1:7443, db.example.org:7443 or [::1]:7443, "
     "found \"b\""},
    {"peers:\n- name: a\n  hosts: x\n", "f:3:10: peers[0].hosts: expected a list, such as [a, b]"},
    {"peers:\n- name: a\n  hosts: [abcdefghijk]\n",
     "f:3:11: peers[0].hosts: expected text of 1 to 10 bytes, found \"abcdefghijk\""},
    {"peers:\n- name: a\n  labels: [x]\n",
     "f:3:11: peers[0].labels: expected names with values, such as {env: production}"},
};

TEST(Config, EveryErrorNamesItsPlaceAndWhatWasExpected) {
  for (const Case& c : kWrong) {
    const auto settings = Settings::parse(c.text, "f", kSchema);
    ASSERT_FALSE(settings.has_value()) << c.text;
    EXPECT_EQ(settings.error().message(), c.want) << c.text;
    EXPECT_EQ(settings.error().kind(), ErrorKind::kConfiguration);
  }
}

TEST(Config, AMissingFileIsAConfigurationError) {
  const auto settings = Settings::load("/nonexistent/agent.yaml", kSchema);
  ASSERT_FALSE(settings.has_value());
  EXPECT_EQ(settings.error().message(), "/nonexistent/agent.yaml: No such file or directory");
  EXPECT_EQ(settings.error().kind(), ErrorKind::kConfiguration);
}

TEST(Config, Values) {
  EXPECT_EQ(parse_bytes("0"), 0U);
  EXPECT_EQ(parse_bytes("3 KiB"), 3072U);
  EXPECT_EQ(parse_bytes("17592186044416TiB"), std::nullopt);
  EXPECT_EQ(parse_bytes("99999999999999999999"), std::nullopt);
  EXPECT_EQ(parse_bytes("KiB"), std::nullopt);
  EXPECT_EQ(parse_bytes("1.5GiB"), std::nullopt);
  EXPECT_EQ(parse_duration("2min"), milliseconds(120'000));
  EXPECT_EQ(parse_duration("2"), std::nullopt);
  EXPECT_EQ(parse_duration("2", true), milliseconds(2));
  EXPECT_EQ(parse_duration("18446744073709551615ms"), std::nullopt);
  EXPECT_EQ(parse_address("db.example.org:5432"), (Address{"db.example.org", 5432}));
  for (const std::string_view bad :
       {"", ":", "a", "a:", "a:0", "a:65536", ":5432", "::1:5432", "[]:1", "[x]:1", "a b:1", "a:+1", "a:1 "})
    EXPECT_EQ(parse_address(bad), std::nullopt) << bad;
  EXPECT_EQ(format_bytes(1536), "1536B");
  EXPECT_EQ(format_bytes(3U << 20), "3MiB");
  EXPECT_EQ(format_duration(milliseconds(90'000)), "90s");
  EXPECT_EQ(format_duration(milliseconds(0)), "0ms");
}

}  // namespace
}  // namespace gatehouse::config
