// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/whereabouts.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

namespace gatehouse::runtime {
namespace {

using std::chrono::milliseconds;

ListenAddress at(std::string_view text) {
  return parse_listen_address(text).value();
}

AgentConfig::Database database(const std::string& name, std::initializer_list<std::string_view> listen) {
  AgentConfig::Database database;
  database.name = name;
  for (const std::string_view text : listen) database.listen.push_back(at(text));
  return database;
}

// A name service and routes that say what they are told to.
class Places {
 public:
  Whereabouts::Options options(milliseconds every = milliseconds(5)) {
    return {.resolve = [this](const std::string& host) { return resolve(host); },
            .is_here = [this](const ListenAddress& address) { return is_here(address); },
            .every = every,
            .first_max = milliseconds(500),
            .keep_ns = 1000,
            .now_ns = [this] { return now_ns.load(); }};
  }
  void say(std::vector<std::string_view> addresses) {
    const std::lock_guard lock(mutex);
    named.clear();
    for (const std::string_view text : addresses) named.push_back(at(text));
  }
  std::atomic<uint64_t> now_ns{1};
  std::atomic<bool> fails{false}, hangs{false};
  std::atomic<int> asked{0};

 private:
  Result<std::vector<ListenAddress>> resolve(const std::string& host) {
    while (hangs) std::this_thread::sleep_for(milliseconds(1));
    ++asked;
    if (fails) return Error(host + ": nobody knows");
    const std::lock_guard lock(mutex);
    return named;
  }
  bool is_here(const ListenAddress& address) { return address.address[0] == 127; }

  std::mutex mutex;
  std::vector<ListenAddress> named;
};

std::string text_of(const Whereabouts& whereabouts) {
  std::string text;
  for (const LocatedEntry& entry : whereabouts.entries()) {
    text += entry.database + " " + entry.entry + ":";
    for (const Located& located : entry.addresses)
      text += " " + to_text(located.address) + (located.is_here ? "!" : "");
    if (!entry.error.empty()) text += " (" + entry.error + ")";
    text += "\n";
  }
  return text;
}

bool until_changed(Whereabouts& whereabouts) {
  for (int i = 0; i < 2000; ++i) {
    if (whereabouts.take_change()) return true;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return false;
}

// A few looks more.
void let_look(Places& places) {
  const int now = places.asked;
  for (int i = 0; i < 2000 && places.asked < now + 3; ++i) std::this_thread::sleep_for(milliseconds(1));
}

TEST(Whereabouts, AddressesAndNames) {
  Places places;
  places.say({"10.0.0.6:1", "[fd00::5]:1", "10.0.0.5:1", "10.0.0.5:1"});
  const std::vector<AgentConfig::Database> databases{
      database("a", {"5432", "unix:/run/s", "127.0.0.1:5432", "10.1.1.1:5433"}),
      database("b", {"db.example.net:5432"})};
  Whereabouts whereabouts(databases, places.options());
  EXPECT_EQ(text_of(whereabouts),
            "a 127.0.0.1:5432: 127.0.0.1:5432!\n"
            "a 10.1.1.1:5433: 10.1.1.1:5433\n"
            "b db.example.net:5432: 10.0.0.5:5432 10.0.0.6:5432 [fd00::5]:5432\n");
  EXPECT_FALSE(whereabouts.take_change());
  const auto entries = whereabouts.entries();
  const auto located = with_addresses(databases, entries);
  EXPECT_EQ(located[0].listen, databases[0].listen);
  EXPECT_EQ(located[1].listen, (std::vector<ListenAddress>{at("db.example.net:5432"), at("10.0.0.5:5432"),
                                                           at("10.0.0.6:5432"), at("[fd00::5]:5432")}));
  EXPECT_TRUE(is_elsewhere(at("10.0.0.6:5432"), entries));
  EXPECT_TRUE(is_elsewhere(at("10.1.1.1:5433"), entries));
  for (const std::string_view other : {"127.0.0.1:5432", "10.0.0.6:5433", "5432", "unix:/run/s"})
    EXPECT_FALSE(is_elsewhere(at(other), entries)) << other;
}

TEST(Whereabouts, ANameThatMovesKeepsItsAddressForAWhile) {
  Places places;
  places.say({"10.0.0.5:1"});
  Whereabouts whereabouts(std::vector{database("b", {"db:5432"})}, places.options());
  places.now_ns = 500;
  places.say({"10.0.0.6:1"});
  ASSERT_TRUE(until_changed(whereabouts));
  EXPECT_EQ(text_of(whereabouts), "b db:5432: 10.0.0.5:5432 10.0.0.6:5432\n");
  let_look(places);
  EXPECT_FALSE(whereabouts.take_change());
  places.now_ns = 1400;
  ASSERT_TRUE(until_changed(whereabouts));
  EXPECT_EQ(text_of(whereabouts), "b db:5432: 10.0.0.6:5432\n");
  // What cannot be asked stays, however long.
  places.fails = true;
  let_look(places);
  places.now_ns = 100'000;
  let_look(places);
  EXPECT_FALSE(whereabouts.take_change());
  EXPECT_EQ(text_of(whereabouts), "b db:5432: 10.0.0.6:5432 (db: nobody knows)\n");
}

TEST(Whereabouts, ANameServiceThatHangs) {
  Places places;
  places.hangs = true;
  places.say({"10.0.0.5:1"});
  auto options = places.options();
  options.first_max = milliseconds(20);
  Whereabouts whereabouts(std::vector{database("b", {"db:5432", "10.1.1.1:5432"})}, options);
  EXPECT_EQ(text_of(whereabouts),
            "b db:5432: (the name service has not answered yet)\nb 10.1.1.1:5432: 10.1.1.1:5432\n");
  places.hangs = false;
  ASSERT_TRUE(until_changed(whereabouts));
  EXPECT_EQ(text_of(whereabouts), "b db:5432: 10.0.0.5:5432\nb 10.1.1.1:5432: 10.1.1.1:5432\n");
}

TEST(Whereabouts, ManyAddresses) {
  Places places;
  std::vector<std::string> texts;
  std::vector<std::string_view> many;
  for (int i = 0; i < 40; ++i) texts.push_back("10.0.1." + std::to_string(i) + ":1");
  many.assign(texts.begin(), texts.end());
  places.say(many);
  Whereabouts whereabouts(std::vector{database("b", {"db:5432"})}, places.options());
  EXPECT_EQ(whereabouts.entries().at(0).addresses.size(), 16U);
  let_look(places);
  EXPECT_FALSE(whereabouts.take_change());
}

TEST(Whereabouts, OfThisHost) {
  const Whereabouts::Options options = Whereabouts::of_host();
  for (const std::string_view here : {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "0.0.0.0:1", "[::]:1"})
    EXPECT_TRUE(options.is_here(at(here))) << here;
  for (const std::string_view elsewhere : {"192.0.2.1:1", "[2001:db8::1]:1"})
    EXPECT_FALSE(options.is_here(at(elsewhere))) << elsewhere;
  const auto found = options.resolve("localhost");
  ASSERT_TRUE(found);
  EXPECT_FALSE(found->empty());
  for (const ListenAddress& address : *found) EXPECT_TRUE(options.is_here(address));
  EXPECT_FALSE(options.resolve("no-such-host.invalid"));
}

}  // namespace
}  // namespace gatehouse::runtime
