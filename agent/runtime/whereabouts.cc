// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/whereabouts.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

namespace gatehouse::runtime {
namespace {

constexpr size_t kAddressesMax = 16;  // of one name

bool has_address(const ListenAddress& listen) {
  return listen.kind == ListenAddress::Kind::kTcp4 || listen.kind == ListenAddress::Kind::kTcp6;
}

bool is_any(const ListenAddress& listen) {
  return std::ranges::all_of(listen.address, [](uint8_t byte) { return byte == 0; });
}

sockaddr_storage socket_address(const ListenAddress& listen) {
  sockaddr_storage storage{};
  if (listen.kind == ListenAddress::Kind::kTcp4) {
    auto& in = reinterpret_cast<sockaddr_in&>(storage);
    in.sin_family = AF_INET;
    in.sin_port = htons(listen.port);
    std::memcpy(&in.sin_addr, listen.address.data(), sizeof in.sin_addr);
  } else {
    auto& in = reinterpret_cast<sockaddr_in6&>(storage);
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(listen.port);
    std::memcpy(&in.sin6_addr, listen.address.data(), sizeof in.sin6_addr);
  }
  return storage;
}

ListenAddress listen_address(const sockaddr& address) {
  ListenAddress listen;
  if (address.sa_family == AF_INET) {
    listen.kind = ListenAddress::Kind::kTcp4;
    std::memcpy(listen.address.data(), &reinterpret_cast<const sockaddr_in&>(address).sin_addr, 4);
  } else {
    listen.kind = ListenAddress::Kind::kTcp6;
    std::memcpy(listen.address.data(), &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, 16);
  }
  return listen;
}

// Who sends to an address of his own does so from that very address. No packet is sent for this.
bool is_of_this_host(const ListenAddress& listen) {
  if (is_any(listen) || (listen.kind == ListenAddress::Kind::kTcp4 && listen.address[0] == 127)) return true;
  const sockaddr_storage to = socket_address(listen);
  const UniqueFd probe(::socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!probe.valid() || ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) return false;
  sockaddr_storage own{};
  socklen_t bytes = sizeof own;
  if (::getsockname(probe.get(), reinterpret_cast<sockaddr*>(&own), &bytes) != 0) return false;
  return listen_address(reinterpret_cast<const sockaddr&>(own)).address == listen.address;
}

// Of each interface another one.
bool is_link_local(const sockaddr& address) {
  const auto& in = reinterpret_cast<const sockaddr_in6&>(address);
  return address.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&in.sin6_addr);
}

Result<std::vector<ListenAddress>> resolve_by_host(const std::string& host) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0)
    return Error(host + ": " + ::gai_strerror(error));
  std::vector<ListenAddress> addresses;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next)
    if (each->ai_family == AF_INET || (each->ai_family == AF_INET6 && !is_link_local(*each->ai_addr)))
      addresses.push_back(listen_address(*each->ai_addr));
  ::freeaddrinfo(found);
  return addresses;
}

}  // namespace

class Whereabouts::Looker {
 public:
  Looker(std::span<const AgentConfig::Database> databases, Options options) : options_(std::move(options)) {
    for (const AgentConfig::Database& database : databases)
      for (const ListenAddress& listen : database.listen)
        if (listen.kind == ListenAddress::Kind::kHost || has_address(listen))
          places_.push_back({.listen = listen, .database = database.name});
  }

  [[nodiscard]] bool has_places() const { return !places_.empty(); }

  void run() {
    std::unique_lock lock(mutex_);
    while (!is_ending_) {
      lock.unlock();
      std::vector<LocatedEntry> found = look();
      lock.lock();
      const bool is_first = !has_looked_;
      has_looked_ = true;
      if (found != entries_ && !is_ending_) {
        // What a name service says beside addresses changes nothing.
        const bool is_moved =
            !std::ranges::equal(found, entries_, {}, &LocatedEntry::addresses, &LocatedEntry::addresses);
        entries_ = std::move(found);
        has_changed_ = has_changed_ || (is_moved && (!is_first || is_late_));
        say(lock);
      }
      looked_.notify_all();
      end_.wait_for(lock, options_.every, [this] { return is_ending_; });
    }
  }

  void await_first() {
    std::unique_lock lock(mutex_);
    if (looked_.wait_for(lock, options_.first_max, [this] { return has_looked_; })) return;
    is_late_ = true;
    // Addresses need no name service.
    if (entries_.empty()) entries_ = literals();
  }

  void end() {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
    end_.notify_all();
  }

  std::vector<LocatedEntry> entries() {
    const std::lock_guard lock(mutex_);
    return entries_;
  }

  bool take_change() {
    const std::lock_guard lock(mutex_);
    return std::exchange(has_changed_, false);
  }

 private:
  struct Place {
    ListenAddress listen;
    std::string database;
    struct Seen {
      ListenAddress address;
      uint64_t last_ns = 0;
    };
    std::vector<Seen> seen{};  // of a name; the looking thread's
  };

  Located locate(const ListenAddress& address) const {
    return {.address = address, .is_here = options_.is_here(address)};
  }

  std::vector<LocatedEntry> literals() const {
    std::vector<LocatedEntry> entries;
    for (const Place& place : places_) {
      LocatedEntry& entry = entries.emplace_back();
      entry.database = place.database;
      entry.entry = to_text(place.listen);
      if (has_address(place.listen))
        entry.addresses.push_back(locate(place.listen));
      else
        entry.error = "the name service has not answered yet";
    }
    return entries;
  }

  std::vector<LocatedEntry> look() {
    std::vector<LocatedEntry> entries;
    for (Place& place : places_) {
      LocatedEntry entry{.database = place.database, .entry = to_text(place.listen), .addresses = {}, .error = {}};
      if (place.listen.kind == ListenAddress::Kind::kHost)
        resolve(place, entry);
      else
        entry.addresses.push_back(locate(place.listen));
      entries.push_back(std::move(entry));
    }
    return entries;
  }

  // Servers behind a name come and go, and some name services tell but a few of many: an address stays for a while.
  void resolve(Place& place, LocatedEntry& entry) const {
    const uint64_t now_ns = options_.now_ns();
    if (const auto found = options_.resolve(place.listen.host); found) {
      for (ListenAddress address : *found) {
        address.port = place.listen.port;
        const auto is_it = [&](const Place::Seen& seen) { return seen.address == address; };
        if (const auto known = std::ranges::find_if(place.seen, is_it); known != place.seen.end())
          known->last_ns = now_ns;
        else
          place.seen.push_back({.address = address, .last_ns = now_ns});
      }
      std::erase_if(place.seen, [&](const Place::Seen& seen) { return seen.last_ns + options_.keep_ns < now_ns; });
      // Of too many, those that were named last.
      std::ranges::stable_sort(place.seen, std::ranges::greater{}, &Place::Seen::last_ns);
      if (place.seen.size() > kAddressesMax) place.seen.resize(kAddressesMax);
      if (place.seen.empty()) entry.error = "the name has no address";
    } else {
      entry.error = found.error().message();
    }
    for (const Place::Seen& seen : place.seen) entry.addresses.push_back(locate(seen.address));
    std::ranges::sort(entry.addresses, {}, [](const Located& l) { return to_text(l.address); });
  }

  void say(std::unique_lock<std::mutex>& lock) {
    const std::vector<LocatedEntry> entries = entries_;
    lock.unlock();
    for (const LocatedEntry& entry : entries) {
      std::string addresses;
      for (const Located& located : entry.addresses)
        addresses += (addresses.empty() ? "" : " ") + to_text(located.address) + (located.is_here ? " (here)" : "");
      if (entry.error.empty())
        log::info("databases", "found", {{"database", entry.database}, {"listen", entry.entry}, {"at", addresses}});
      else
        log::warn("databases", "not found",
                  {{"database", entry.database}, {"listen", entry.entry}, {"at", addresses}, {"reason", entry.error}});
    }
    lock.lock();
  }

  Options options_;
  std::vector<Place> places_;
  std::mutex mutex_;
  std::condition_variable looked_, end_;
  std::vector<LocatedEntry> entries_;
  bool has_looked_ = false, has_changed_ = false, is_late_ = false, is_ending_ = false;
};

Whereabouts::Options Whereabouts::of_host() {
  return {.resolve = resolve_by_host, .is_here = is_of_this_host, .now_ns = boottime_ns};
}

Whereabouts::Whereabouts(std::span<const AgentConfig::Database> databases, Options options)
    : looker_(std::make_shared<Looker>(databases, std::move(options))) {
  if (!looker_->has_places()) return;
  std::thread([looker = looker_] { looker->run(); }).detach();
  looker_->await_first();
}

Whereabouts::~Whereabouts() {
  looker_->end();
}

std::vector<LocatedEntry> Whereabouts::entries() const {
  return looker_->entries();
}

bool Whereabouts::take_change() {
  return looker_->take_change();
}

std::vector<AgentConfig::Database> with_addresses(std::vector<AgentConfig::Database> databases,
                                                  std::span<const LocatedEntry> entries) {
  for (AgentConfig::Database& database : databases) {
    const std::vector<ListenAddress> configured = database.listen;
    for (const ListenAddress& listen : configured) {
      if (listen.kind != ListenAddress::Kind::kHost) continue;
      for (const LocatedEntry& entry : entries) {
        if (entry.database != database.name || entry.entry != to_text(listen)) continue;
        for (const Located& located : entry.addresses)
          if (std::ranges::find(database.listen, located.address) == database.listen.end())
            database.listen.push_back(located.address);
      }
    }
  }
  return databases;
}

bool is_elsewhere(const ListenAddress& address, std::span<const LocatedEntry> entries) {
  for (const LocatedEntry& entry : entries)
    for (const Located& located : entry.addresses)
      if (located.address == address) return !located.is_here;
  return false;
}

}  // namespace gatehouse::runtime
