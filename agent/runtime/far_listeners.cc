// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/far_listeners.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "agent/shim/networks.h"
#include "common/log.h"

namespace gatehouse::runtime {
namespace {

constexpr const char* kProc = "/proc";
constexpr auto kMissedEvery = std::chrono::milliseconds(50);  // what a client waits that tries again
constexpr size_t kLooksPerScan = 100;                         // five seconds: what a namespace outlives its processes
constexpr size_t kHintsMax = 1024;

}  // namespace

FarListeners::FarListeners(std::vector<Place> places, shim::Redirect& redirect, shim::Worker& worker)
    : places_(std::move(places)),
      redirect_(redirect),
      worker_(worker),
      own_(shim::network_of_process(kProc, static_cast<uint32_t>(::getpid()))) {
  look();  // those that are there have theirs before the first client is led
  thread_ = std::thread([this] { run(); });
}

FarListeners::~FarListeners() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void FarListeners::hint(uint32_t pid) {
  {
    const std::lock_guard lock(mutex_);
    if (hints_.size() < kHintsMax) hints_.push_back(pid);
  }
  changed_.notify_all();
}

void FarListeners::run() {
  std::unique_lock lock(mutex_);
  for (size_t turn = 1; !is_ending_; ++turn) {
    changed_.wait_for(lock, kMissedEvery, [this] { return is_ending_ || !hints_.empty(); });
    std::vector<uint32_t> pids = std::exchange(hints_, {});
    lock.unlock();
    const std::vector<uint32_t> missed = redirect_.take_missed();
    pids.insert(pids.end(), missed.begin(), missed.end());
    for (const uint32_t pid : pids)
      if (const uint64_t inode = shim::network_of_process(kProc, pid); inode != 0) serve(inode, pid);
    if (turn % kLooksPerScan == 0) look();
    lock.lock();
  }
}

void FarListeners::look() {
  const std::map<uint64_t, uint32_t> found = shim::networks_of_processes(kProc);
  std::erase_if(networks_, [&](const auto& entry) {
    if (found.contains(entry.first)) return false;
    for (const UniqueFd& listener : entry.second.listeners)
      if (listener.valid()) ::shutdown(listener.get(), SHUT_RDWR);  // the worker's own one, which it then closes
    return true;
  });
  for (const auto& [inode, pid] : found) serve(inode, pid);
  count_.store(networks_.size() + 1, std::memory_order_relaxed);
}

void FarListeners::serve(uint64_t inode, uint32_t pid) {
  if (inode == own_) return;
  const auto known = networks_.find(inode);
  if (known == networks_.end() && networks_.size() >= kNetworksMax) {
    if (!std::exchange(is_full_told_, true))
      log::warn("shim", "clients in more network namespaces than can be served are not led",
                {{"served", kNetworksMax}});
    return;
  }
  Network network =
      known == networks_.end() ? Network{.listeners = std::vector<UniqueFd>(places_.size())} : std::move(known->second);
  bool has_any = false;
  for (size_t i = 0; i < places_.size(); ++i) {
    UniqueFd& kept = network.listeners[i];
    if (!kept.valid()) {
      // Loopback may be down there, or without IPv6: then nobody can be led, and it is tried again later.
      auto listener = shim::listen_on_loopback_of(kProc, pid, places_[i].transport);
      if (!listener) continue;
      kept = UniqueFd(::fcntl(listener->get(), F_DUPFD_CLOEXEC, 0));
      worker_.add_listener(places_[i].index, std::move(*listener));
      if (const Status led = redirect_.lead_there(places_[i].index, kept.get()); !led)
        log::warn("shim", "clients of a network namespace are not led", {{"reason", led.error().message()}});
    }
    has_any = has_any || kept.valid();
  }
  if (has_any) networks_.insert_or_assign(inode, std::move(network));
  count_.store(networks_.size() + 1, std::memory_order_relaxed);
}

}  // namespace gatehouse::runtime
