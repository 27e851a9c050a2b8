// SPDX-License-Identifier: Apache-2.0
// Windows against a list of everything that happened.
#include "rules/engine/window.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

namespace gatehouse::rules {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kMinute = 60 * kSecond;
constexpr uint64_t kStart = 1'795'568'523 * kSecond;

struct Happened {
  uint64_t key;
  uint64_t value;
  uint64_t unix_ns;
};

std::vector<Happened> made(uint32_t seed, uint64_t keys, uint64_t values, size_t count) {
  std::mt19937_64 random(seed);
  std::vector<Happened> all;
  uint64_t now = kStart;
  for (size_t i = 0; i < count; ++i) {
    now += random() % (2 * kSecond);
    all.push_back({1 + random() % keys, random() % values, now});
  }
  return all;
}

double sum_since(const std::vector<Happened>& all, size_t end, uint64_t since) {
  double sum = 0;
  for (size_t i = 0; i <= end; ++i)
    if (all[i].key == all[end].key && all[i].unix_ns > since) sum += static_cast<double>(all[i].value);
  return sum;
}

uint64_t key_of(uint64_t number) {
  KeyHash hash;
  hash.add(number);
  return hash.value();
}

TEST(SumWindow, IsExactUpToAPane) {
  const std::vector<Happened> all = made(1, 20, 100, 3000);
  SumWindow window(5 * kMinute);
  for (size_t i = 0; i < all.size(); ++i) {
    const double found = window.add(key_of(all[i].key), static_cast<double>(all[i].value), all[i].unix_ns);
    ASSERT_GE(found, sum_since(all, i, all[i].unix_ns - 5 * kMinute));
    ASSERT_LE(found, sum_since(all, i, all[i].unix_ns - 5 * kMinute - 5 * kMinute / kPanes));
  }
}

// With far more keys than places: never less, and on average not much more.
TEST(SumWindow, NeverCountsLessHoweverManyKeysThereAre) {
  SumWindow window(5 * kMinute);
  std::map<uint64_t, double> truth;
  double over = 0;
  constexpr uint64_t kKeys = 20'000;
  constexpr size_t kEvents = 60'000;
  std::mt19937_64 random(2);
  for (size_t i = 0; i < kEvents; ++i) {
    const uint64_t key = random() % kKeys;
    const double found = window.add(key_of(key), 1, kStart + i * 1'000'000);
    truth[key] += 1;
    ASSERT_GE(found, truth[key]);
    over += found - truth[key];
  }
  // A cell of the sketch is shared by one in 256 of the keys, and of four cells the least counts.
  EXPECT_LT(over / kEvents, 2.0 * kEvents / kSketchCells);
  // All of it is over some time later, and the places are free again.
  EXPECT_EQ(window.add(key_of(kKeys + 1), 1, kStart + 10 * kMinute), 1);
}

TEST(SumWindow, TimeDoesNotGoBack) {
  SumWindow window(kMinute);
  EXPECT_EQ(window.add(7, 1, kStart), 1);
  EXPECT_EQ(window.add(7, 1, kStart - 10 * kMinute), 2);
  EXPECT_EQ(window.add(7, 1, 0), 3);
  EXPECT_EQ(window.add(7, 1, UINT64_MAX), 1);
  SumWindow early(kMinute);
  EXPECT_EQ(early.add(7, 1, 0), 1);
  EXPECT_EQ(early.add(7, 1, 1), 2);
}

TEST(DistinctWindow, IsExact) {
  for (const size_t at_least : {1U, 3U, 20U}) {
    const std::vector<Happened> all = made(3, 5, 30, 3000);
    DistinctWindow window(kMinute, at_least);
    for (size_t i = 0; i < all.size(); ++i) {
      std::set<uint64_t> truth;
      for (size_t j = 0; j <= i; ++j)
        if (all[j].key == all[i].key && all[i].unix_ns - all[j].unix_ns < kMinute) truth.insert(all[j].value);
      ASSERT_EQ(window.add(key_of(all[i].key), key_of(all[i].value), all[i].unix_ns), std::min(truth.size(), at_least));
    }
  }
}

TEST(DistinctWindow, NeverCountsLessHoweverManyKeysThereAre) {
  DistinctWindow window(kMinute, 8);
  std::map<uint64_t, std::set<uint64_t>> truth;
  std::mt19937_64 random(4);
  for (size_t i = 0; i < 30'000; ++i) {
    const uint64_t key = random() % 10'000;
    const uint64_t value = random() % 10;
    truth[key].insert(value);
    ASSERT_GE(window.add(key_of(key), key_of(value), kStart + i * 1'000'000), std::min<size_t>(truth[key].size(), 8));
  }
}

TEST(FirstSeen, LearnsForATimeAndThenTellsWhatIsNew) {
  FirstSeenTable table(kMinute);
  EXPECT_FALSE(table.is_new(1, kStart, true));
  EXPECT_FALSE(table.is_new(2, kStart + kMinute - 1, true));
  EXPECT_FALSE(table.is_new(1, kStart + kMinute, true));
  EXPECT_TRUE(table.is_new(3, kStart + kMinute, true));
  EXPECT_FALSE(table.is_new(3, kStart + kMinute, true));
  EXPECT_TRUE(table.is_new(4, kStart + kMinute, false));
  EXPECT_TRUE(table.is_new(4, kStart + kMinute, false));
}

TEST(FirstSeen, ForgetsWhatWasNotSeenForTheLongestTime) {
  FirstSeenTable table(0);
  const size_t buckets = kSeenKeysMax / 8;
  const auto key = [&](uint64_t n) { return 5 + n * buckets; };  // all in one place
  for (uint64_t n = 0; n < 8; ++n) table.is_new(key(n), kStart + n, true);
  EXPECT_FALSE(table.is_new(key(0), kStart + 100, true));
  EXPECT_TRUE(table.is_new(key(8), kStart + 101, true));
  EXPECT_FALSE(table.is_new(key(0), kStart + 102, true));
  EXPECT_TRUE(table.is_new(key(1), kStart + 103, false));
}

// Half of the events, the state as bytes, and the other half give what all of them give.
template <typename Window, typename Add>
void check_state(const Window& fresh, Add add) {
  for (const uint64_t keys : {10U, 20'000U}) {
    const std::vector<Happened> all = made(5, keys, 50, 12'000);
    Window whole = fresh;
    Window first = fresh;
    for (size_t i = 0; i < all.size() / 2; ++i) {
      add(whole, all[i]);
      add(first, all[i]);
    }
    std::string bytes;
    first.write(bytes);
    Window second = fresh;
    ASSERT_TRUE(second.read(bytes));
    for (size_t i = all.size() / 2; i < all.size(); ++i) ASSERT_EQ(add(whole, all[i]), add(second, all[i]));
    // What was cut or is of another window is refused, and changes nothing.
    Window other = fresh;
    EXPECT_FALSE(other.read(std::string_view(bytes).substr(0, bytes.size() - 3)));
    EXPECT_FALSE(other.read("x"));
    std::string again, of_fresh;
    other.write(again);
    fresh.write(of_fresh);
    EXPECT_EQ(again, of_fresh);
  }
}

TEST(WindowState, GoesOnWhereItStopped) {
  check_state(SumWindow(20 * kMinute), [](SumWindow& window, const Happened& event) {
    return window.add(key_of(event.key), static_cast<double>(event.value), event.unix_ns);
  });
  check_state(DistinctWindow(20 * kMinute, 16), [](DistinctWindow& window, const Happened& event) {
    return window.add(key_of(event.key), key_of(event.value), event.unix_ns);
  });
  check_state(FirstSeenTable(kMinute), [](FirstSeenTable& table, const Happened& event) {
    return table.is_new(key_of(event.key), event.unix_ns, true);
  });
  std::string bytes;
  SumWindow(kMinute).write(bytes);
  EXPECT_FALSE(SumWindow(2 * kMinute).read(bytes));
}

TEST(KeyHash, TellsApart) {
  const auto of = [](std::initializer_list<std::string_view> texts) {
    KeyHash hash;
    for (const std::string_view text : texts) hash.add(text);
    return hash.value();
  };
  const std::set<uint64_t> all = {
      of({}),         of({""}),         of({"a"}),         of({"a", ""}),        of({"", "a"}),       of({"ab"}),
      of({"a", "b"}), of({"abcdefgh"}), of({"abcdefghi"}), of({"abcdefg", "h"}), of({"abcdefgh", ""})};
  EXPECT_EQ(all.size(), 11U);
  // Kept in state files: it may not change.
  EXPECT_EQ(of({"gatehouse", "state"}), 14'731'093'975'587'873'456U);
}

}  // namespace
}  // namespace gatehouse::rules
