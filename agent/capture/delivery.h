// SPDX-License-Identifier: Apache-2.0
// Delivery: turns the kernel side's records (bpf/gatehouse_abi.h) into calls of a RecordSink. No I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/capture/watched_list.h"
#include "agent/stream/records.h"
#include "bpf/gatehouse_abi.h"

namespace gatehouse::capture {

// What could not be delivered although the kernel side handed it over. Zero unless the two sides disagree.
struct DeliveryCounters {
  uint64_t malformed = 0;        // record whose sizes contradict each other
  uint64_t held = 0;             // request chunks that had to wait for their writer or for the end of a blocked send
  uint64_t closings_missed = 0;  // connections that went without a closing record
};

class Delivery {
 public:
  // `record` is as it stands in the ring. Records of one poll come in the order of their times.
  void deliver(std::span<const std::byte> record, RecordSink& sink);
  // What the kernel side kept of a session whose records found no room: `opened` if that was lost, too; else empty.
  void deliver_late(std::span<const std::byte> opened, std::span<const std::byte> closed, RecordSink& sink);
  // Gives up waiting for what no record came to confirm, and for the end of Unix sessions whose server has exited.
  // Every record from before `now_ns` has been delivered.
  void expire(uint64_t now_ns, RecordSink& sink);
  // What began at this time or later may not be told yet, though all records of it were delivered: it is held back, or
  // is of a Unix session one of whose ends has exited, which shows only later that it has ended. UINT64_MAX: nothing.
  [[nodiscard]] uint64_t unsettled_ns(uint64_t now_ns) const;
  // Open ones, by the records so far.
  [[nodiscard]] size_t unix_sessions() const { return unix_count_; }
  // The network namespaces of the open TCP connections.
  [[nodiscard]] std::vector<Network> networks() const;
  // Ends what is gone without a closing record. Every record from before the list has been delivered. A list can leave
  // one out that moves while it is made, so it takes two lists in a row.
  void reconcile(const WatchedList& list, RecordSink& sink);
  // The same for Unix sessions that began before `before_ns`; `alive`, sorted, is from `listed_ns`. False: none did.
  bool reconcile_unix(std::span<const SocketId> alive, uint64_t before_ns, uint64_t listed_ns, RecordSink& sink);
  [[nodiscard]] const DeliveryCounters& counters() const { return counters_; }

 private:
  struct Held {
    uint64_t since_ns;
    std::vector<std::byte> record;
  };
  struct Writer {
    ProcessKey process{};
    uint32_t uid = UINT32_MAX;
  };
  struct Turn {
    uint64_t since = 0;
    Writer writer{};
  };
  // What is remembered of a connection from its first record to its last.
  struct Socket {
    bool is_unix = false;
    bool is_missed = false;  // by the last list of what is alive
    uint64_t opened_ns = 0;
    uint32_t netns = 0;
    Writer client_opener{};
    ProcessKey server{};     // Unix: last reader of requests; TCP: first reader, if it is on this host
    bool is_orphan = false;  // Unix: its server has exited
    uint64_t ending_ns = 0;  // Unix: when one of its ends exited, the server's if both did
    uint64_t last_ns = 0;    // Unix: of its last chunk
    // Unix requests: up to `sent` the writers are known, each from where its turn begins; oldest first.
    uint64_t sent = 0;
    std::vector<Turn> turns;
    std::array<uint64_t, kDirections> end{};
    std::vector<Held> held;
  };

  // Who serves a connection whose opening is not told yet: its server may have read before its client's send returned.
  struct EarlyPeer {
    SocketId socket;
    uint64_t time_ns;
    ProcessKey server;
  };

  void on_opened(std::span<const std::byte> record, RecordSink& sink);
  void on_chunk(std::span<const std::byte> record, RecordSink& sink);
  void on_peer(std::span<const std::byte> record);
  void on_sent(std::span<const std::byte> record, RecordSink& sink);
  void on_closed(std::span<const std::byte> record, RecordSink& sink);
  void on_exec(std::span<const std::byte> record, RecordSink& sink);
  void on_exit(std::span<const std::byte> record, RecordSink& sink);
  // A part of the stream that a chunk is reduced to.
  struct Part {
    uint64_t begin = 0;
    uint64_t end = UINT64_MAX;
  };
  // `writer` replaces an unknown one.
  void emit_chunk(std::span<const std::byte> record, Part part, Writer writer, RecordSink& sink);
  // A Unix request, up to `end`: several writers may have written what was read at once.
  void emit_by_turns(std::span<const std::byte> record, uint64_t end, Socket& socket, RecordSink& sink);
  static Writer writer_at(Socket& socket, uint64_t offset);
  static bool is_unsettled(const Socket& socket, uint64_t now_ns);
  void set_server(SocketId id, Socket& socket, const ProcessKey& server);
  void release_all(Socket& socket, RecordSink& sink);

  using Sockets = std::unordered_map<SocketId, Socket>;
  // Delivers what is held of it. Returns the next one.
  Sockets::iterator forget(Sockets::iterator at, RecordSink& sink);
  // A list has come that it should stand in. Returns the next one.
  Sockets::iterator look_up(Sockets::iterator at, bool is_missing, uint64_t listed_ns, RecordSink& sink);

  Sockets sockets_;
  // Unix sessions by the processes at their ends, so that an exit costs what ends with it.
  std::set<std::pair<ProcessKey, SocketId>> unix_ends_;
  // Those that hold something back or are ending, and some that did; expire() takes these out.
  std::set<SocketId> unsettled_;
  std::vector<EarlyPeer> early_peers_;  // oldest first
  size_t held_count_ = 0;
  size_t unix_count_ = 0;
  uint64_t settled_ns_ = 0;  // all that were ending have ended by then
  std::vector<Piece> pieces_;
  std::string exe_, cwd_, cgroup_;
  DeliveryCounters counters_;
};

}  // namespace gatehouse::capture
