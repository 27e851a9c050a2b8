// SPDX-License-Identifier: Apache-2.0
// Forwarder: a shim that moves bytes and nothing else, so that what is tested is how clients come to it.
#pragma once

#include <atomic>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "agent/shim/redirect.h"
#include "common/file.h"

namespace gatehouse::capture::test {

// A place that is gated: as listening() names it.
shim::Place place_at(const std::string& where, uint16_t port, shim::OnFailure on_failure = shim::OnFailure::kOpen);

// A place of another host.
shim::Place far_place(const std::string& where, uint16_t port, shim::OnFailure on_failure = shim::OnFailure::kOpen);

struct Forwarded {
  shim::Opener opener;
  std::string client, asked_for;  // the accepted socket's peer and its own address; asked_for of a far place: its own
};

class Forwarder {
 public:
  // Leads the clients of all places to itself, and beats until the end.
  Forwarder(shim::Redirect& redirect, const std::vector<shim::Place>& places, const std::string& unix_folder);
  ~Forwarder();
  Forwarder(const Forwarder&) = delete;
  Forwarder& operator=(const Forwarder&) = delete;

  // Stops its heart, and waits until that is noticed; starts it again.
  void play_dead();
  void revive();
  std::vector<Forwarded> sessions();
  // Takes clients of the far `place` in a network namespace, too.
  void listen_there(const shim::Place& place, size_t index, int netns);

 private:
  void accept_from(int listener, shim::Place place);
  void forward(UniqueFd client, const shim::Place& place);
  UniqueFd reach_server(int client, const shim::Place& place);
  UniqueFd reach_far(const shim::Place& place);

  shim::Redirect& redirect_;
  std::atomic<bool> is_beating_{true}, is_ending_{false};
  std::list<UniqueFd> listeners_;
  std::mutex mutex_;
  std::vector<Forwarded> sessions_;
  std::atomic<size_t> forwarding_{0};  // threads, which end by themselves
  std::vector<std::thread> acceptors_;
  std::thread heart_;
};

}  // namespace gatehouse::capture::test
