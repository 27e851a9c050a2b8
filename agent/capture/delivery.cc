// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/delivery.h"

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "common/check.h"

namespace gatehouse::capture {
namespace {

// What one connection may hold back while a blocked send is undecided: the kernel looks at most 64 KiB ahead of what
// is sent, so this is never reached unless a record went missing.
constexpr size_t kHeldRecordsMax = 64;
// Processes that wrote on one Unix socket before anybody read: a socket's buffer holds a few hundred small writes.
constexpr size_t kTurnsMax = 1024;
// After this long a chunk is delivered with what is known. A send that blocks for longer goes on looking unsent.
constexpr uint64_t kHeldNsMax = 200'000'000;

// The client of a Unix socket may read on after its server exited, and its end of file then ends the session. If the
// client is gone too, nobody reads it.
constexpr uint64_t kOrphanNsMax = 1'000'000'000;
// A server's read comes at most this long before the end of its client's send. More of them than that are no sessions.
constexpr uint64_t kEarlyPeerNsMax = 1'000'000'000;
constexpr size_t kEarlyPeersMax = 1024;
// An exit of one end is followed by the other's, if at all, within the same time again.
constexpr uint64_t kEndingNsMax = 2 * kOrphanNsMax;

template <typename T>
const T* as(std::span<const std::byte> record) {
  return record.size() >= sizeof(T) ? reinterpret_cast<const T*>(record.data()) : nullptr;
}

ProcessKey key(const abi::gh_process& process) {
  return {.pid = process.pid, .start_ns = process.start_ns};
}

bool is_mapped_v4(const abi::__u8* address) {
  static constexpr std::array<uint8_t, 12> kPrefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return std::equal(kPrefix.begin(), kPrefix.end(), address);
}

Endpoint endpoint(const abi::__u8* address, uint16_t port, Transport transport, bool was_mapped) {
  Endpoint result{.port = port};
  if (was_mapped)
    std::copy_n(address + 12, 4, result.address.begin());
  else
    std::copy_n(address, transport == Transport::kTcp4 ? 4 : 16, result.address.begin());
  return result;
}

uint64_t end_of(std::span<const std::byte> record) {
  const auto& chunk = *as<abi::gh_chunk>(record);
  const auto* table = reinterpret_cast<const abi::gh_piece*>(record.data() + sizeof(chunk));
  uint64_t end = chunk.offset;
  for (const abi::gh_piece& piece : std::span{table, chunk.piece_count}) end += piece.bytes;
  return end;
}

// The kernel side names a path from its leaf up.
void join_path(std::string_view names, std::string& path) {
  path.clear();
  while (!names.empty()) {
    names.remove_suffix(1);
    const size_t nul = names.rfind('\0');
    const size_t start = nul == std::string_view::npos ? 0 : nul + 1;
    path += '/';
    path += names.substr(start);
    names = names.substr(0, start);
  }
  if (path.empty()) path = "/";
}

}  // namespace

void Delivery::deliver(std::span<const std::byte> record, RecordSink& sink) {
  const auto* head = as<abi::gh_head>(record);
  if (head == nullptr) {
    ++counters_.malformed;
    return;
  }
  switch (head->kind) {
    case abi::GH_RECORD_CHUNK:
      return on_chunk(record, sink);
    case abi::GH_RECORD_OPENED:
      return on_opened(record, sink);
    case abi::GH_RECORD_SENT:
      return on_sent(record, sink);
    case abi::GH_RECORD_PEER:
      return on_peer(record);
    case abi::GH_RECORD_CLOSED:
      return on_closed(record, sink);
    case abi::GH_RECORD_EXEC:
      return on_exec(record, sink);
    case abi::GH_RECORD_EXIT:
      return on_exit(record, sink);
    case abi::GH_RECORD_OPAQUE:
      if (const auto* r = as<abi::gh_opaque_record>(record); r != nullptr)
        return sink.on_socket_opaque({.socket = r->head.socket,
                                      .time_ns = r->head.time_ns,
                                      .reason = static_cast<SocketOpaque::Reason>(r->reason)});
      break;
    case abi::GH_RECORD_FORK:
      if (const auto* r = as<abi::gh_fork>(record); r != nullptr)
        return sink.on_process_fork({.parent = key(r->parent), .child = key(r->child), .time_ns = r->head.time_ns});
      break;
    default:
      break;
  }
  ++counters_.malformed;
}

void Delivery::deliver_late(std::span<const std::byte> opened, std::span<const std::byte> closed, RecordSink& sink) {
  if (!opened.empty()) on_opened(opened, sink);
  on_closed(closed, sink);
}

void Delivery::on_opened(std::span<const std::byte> record, RecordSink& sink) {
  const auto* r = as<abi::gh_opened>(record);
  if (r == nullptr || r->path_bytes > sizeof(r->path)) {
    ++counters_.malformed;
    return;
  }
  SocketOpened opened{.socket = r->head.socket,
                      .time_ns = r->head.time_ns,
                      .transport = static_cast<Transport>(r->transport),
                      .captured_at_client = (r->head.flags & GH_OPENED_AT_CLIENT) != 0,
                      .joined = (r->head.flags & GH_OPENED_JOINED) != 0,
                      .netns = r->netns,
                      .client_opener = key(r->client_opener),
                      .server_opener = key(r->server_opener),
                      .client_uid = r->client_uid,
                      .origin = {r->request_offset, r->response_offset}};
  std::string path;
  if (opened.transport == Transport::kUnix) {
    path.assign(r->path, r->path_bytes);
    if (!path.empty() && path[0] == '\0')
      path[0] = '@';
    else
      path.resize(std::min(path.size(), path.find('\0')));
    opened.server.path = path;
  } else {
    const bool mapped =
        opened.transport == Transport::kTcp6 && (is_mapped_v4(r->client_address) || is_mapped_v4(r->server_address));
    if (mapped) opened.transport = Transport::kTcp4;
    opened.client = endpoint(r->client_address, r->client_port, opened.transport, mapped);
    opened.server = endpoint(r->server_address, r->server_port, opened.transport, mapped);
  }
  if (const auto before = sockets_.find(opened.socket); before != sockets_.end()) forget(before, sink);
  if (opened.transport == Transport::kUnix) ++unix_count_;
  Socket& socket = sockets_[opened.socket] = {.is_unix = opened.transport == Transport::kUnix,
                                              .opened_ns = opened.time_ns,
                                              .netns = opened.netns,
                                              .client_opener = {.process = opened.client_opener}};
  if (socket.is_unix) unix_ends_.emplace(opened.client_opener, opened.socket);
  // Who listens is not who serves; of a session that was open already the kernel side tells who serves.
  if (opened.joined) set_server(opened.socket, socket, opened.server_opener);
  if (const auto early = std::ranges::find(early_peers_, opened.socket, &EarlyPeer::socket);
      early != early_peers_.end()) {
    set_server(opened.socket, socket, early->server);
    early_peers_.erase(early);
  }
  sink.on_socket_opened(opened);
}

void Delivery::set_server(SocketId id, Socket& socket, const ProcessKey& server) {
  if (socket.server == server) return;
  if (socket.is_unix) {
    if (socket.server != socket.client_opener.process) unix_ends_.erase({socket.server, id});
    unix_ends_.emplace(server, id);
  }
  socket.server = server;
}

void Delivery::on_peer(std::span<const std::byte> record) {
  const auto* r = as<abi::gh_peer>(record);
  if (r == nullptr) {
    ++counters_.malformed;
    return;
  }
  if (const auto found = sockets_.find(r->head.socket); found != sockets_.end()) {
    set_server(found->first, found->second, key(r->server));
    return;
  }
  const uint64_t now_ns = r->head.time_ns;
  std::erase_if(early_peers_, [&](const EarlyPeer& p) { return p.time_ns + kEarlyPeerNsMax < now_ns; });
  if (early_peers_.size() == kEarlyPeersMax) early_peers_.erase(early_peers_.begin());
  early_peers_.push_back({.socket = r->head.socket, .time_ns = now_ns, .server = key(r->server)});
}

void Delivery::on_chunk(std::span<const std::byte> record, RecordSink& sink) {
  const auto* r = as<abi::gh_chunk>(record);
  if (r == nullptr || r->direction >= kDirections ||
      (record.size() - sizeof(*r)) / sizeof(abi::gh_piece) < r->piece_count) {
    ++counters_.malformed;
    return;
  }
  const bool unconfirmed = (r->head.flags & GH_CHUNK_UNCONFIRMED) != 0;
  const bool is_request = r->direction == static_cast<uint32_t>(Direction::kRequest);
  const bool is_unix_id = (r->head.socket >> 63) != 0;
  if (is_request && held_count_ == 0 && !unconfirmed && !is_unix_id) [[likely]]
    return emit_chunk(record, {}, {}, sink);

  Socket& socket = sockets_[r->head.socket];
  socket.last_ns = r->head.time_ns;
  if (socket.is_unix && is_request) set_server(r->head.socket, socket, key(r->process));
  if (is_request && unconfirmed && socket.is_unix && socket.held.empty() && end_of(record) <= socket.sent)
    return emit_by_turns(record, UINT64_MAX, socket, sink);
  if (is_request && unconfirmed && socket.held.size() < kHeldRecordsMax) {
    socket.held.push_back({.since_ns = r->head.time_ns, .record = {record.begin(), record.end()}});
    unsettled_.insert(r->head.socket);
    ++held_count_;
    ++counters_.held;
    return;
  }
  // What comes after a held chunk, or answers it, proves that it was sent.
  if (!socket.held.empty()) release_all(socket, sink);
  if (is_request && socket.is_unix) return emit_by_turns(record, UINT64_MAX, socket, sink);
  emit_chunk(record, {}, is_request ? Writer{} : Writer{.process = socket.server}, sink);
}

void Delivery::emit_by_turns(std::span<const std::byte> record, uint64_t end, Socket& socket, RecordSink& sink) {
  const auto& r = *as<abi::gh_chunk>(record);
  if (r.writer.pid != 0) return emit_chunk(record, {.end = end}, {}, sink);
  end = std::min(end, end_of(record));
  for (uint64_t begin = r.offset; begin < end;) {
    const Writer writer = writer_at(socket, begin);
    const auto next = std::ranges::upper_bound(socket.turns, begin, {}, &Turn::since);
    const uint64_t turn_end = next == socket.turns.end() ? end : std::min(end, next->since);
    emit_chunk(record, {.begin = begin, .end = turn_end}, writer, sink);
    begin = turn_end;
  }
}

void Delivery::emit_chunk(std::span<const std::byte> record, Part part, Writer writer, RecordSink& sink) {
  const auto& r = *as<abi::gh_chunk>(record);
  const auto* table = reinterpret_cast<const abi::gh_piece*>(record.data() + sizeof(r));
  auto data = record.subspan(sizeof(r) + r.piece_count * sizeof(abi::gh_piece));
  if (r.writer.pid != 0) writer = {.process = key(r.writer), .uid = r.writer.uid};
  Chunk chunk{.socket = r.head.socket,
              .direction = static_cast<Direction>(r.direction),
              .offset = std::max(r.offset, part.begin),
              .time_ns = r.head.time_ns,
              .process = key(r.process),
              .writer = writer.process,
              .writer_uid = writer.uid,
              .tid = r.process.tid,
              .lost_reasons = part.begin > r.offset ? 0U : r.lost_reasons};
  pieces_.clear();
  uint64_t position = r.offset;
  for (const abi::gh_piece& from : std::span{table, r.piece_count}) {
    if (position >= part.end) break;
    Piece piece{.kind = static_cast<Piece::Kind>(+from.kind), .bytes = from.bytes, .rows = from.rows};
    if (from.kind == abi::GH_PIECE_DATA) {
      if (from.bytes > data.size()) {
        ++counters_.malformed;
        return;
      }
      piece.data = data.first(from.bytes);
      data = data.subspan(from.bytes);
    }
    const uint64_t begin = std::max(position, part.begin);
    const uint64_t end = std::min(position + piece.bytes, part.end);
    position += piece.bytes;
    if (begin >= end) continue;
    if (begin > position - piece.bytes) piece.rows = 0;  // its rows were told with its beginning
    if (!piece.data.empty()) piece.data = piece.data.subspan(begin - (position - piece.bytes), end - begin);
    piece.bytes = static_cast<uint32_t>(end - begin);
    pieces_.push_back(piece);
  }
  if (pieces_.empty()) return;
  chunk.pieces = pieces_;
  if ((chunk.socket >> 63) != 0) sockets_[chunk.socket].end[r.direction] = std::min(position, part.end);
  sink.on_chunk(chunk);
}

// Positions only grow: turns that are over are forgotten.
Delivery::Writer Delivery::writer_at(Socket& socket, uint64_t offset) {
  auto next = std::ranges::upper_bound(socket.turns, offset, {}, &Turn::since);
  if (next == socket.turns.begin()) return socket.client_opener;
  socket.turns.erase(socket.turns.begin(), next - 1);
  return socket.turns.front().writer;
}

void Delivery::release_all(Socket& socket, RecordSink& sink) {
  for (const Held& held : socket.held) emit_chunk(held.record, {}, socket.client_opener, sink);
  held_count_ -= socket.held.size();
  socket.held.clear();
}

Delivery::Sockets::iterator Delivery::forget(Sockets::iterator at, RecordSink& sink) {
  release_all(at->second, sink);
  if (at->second.is_unix) {
    --unix_count_;
    unix_ends_.erase({at->second.client_opener.process, at->first});
    unix_ends_.erase({at->second.server, at->first});
  }
  return sockets_.erase(at);
}

void Delivery::on_sent(std::span<const std::byte> record, RecordSink& sink) {
  const auto* r = as<abi::gh_sent>(record);
  if (r == nullptr) {
    ++counters_.malformed;
    return;
  }
  const auto found = sockets_.find(r->head.socket);
  if (found == sockets_.end()) return;
  Socket& socket = found->second;
  const bool cut = (r->head.flags & GH_SENT_CUT) != 0;
  socket.sent = r->sent;
  if (!cut && (socket.turns.empty() || socket.turns.back().since < r->since)) {
    if (socket.turns.size() == kTurnsMax) socket.turns.erase(socket.turns.begin());
    socket.turns.push_back({.since = r->since, .writer = {.process = key(r->writer), .uid = r->writer.uid}});
  }
  size_t done = 0;
  for (; done < socket.held.size(); ++done) {
    const Held& held = socket.held[done];
    // A Unix chunk that goes beyond awaits its own writer; a TCP one was never sent from there on.
    if (end_of(held.record) > r->sent && !cut) break;
    if (socket.is_unix)
      emit_by_turns(held.record, r->sent, socket, sink);
    else
      emit_chunk(held.record, {.end = r->sent}, socket.client_opener, sink);
  }
  held_count_ -= done;
  socket.held.erase(socket.held.begin(), socket.held.begin() + static_cast<ptrdiff_t>(done));
}

void Delivery::on_closed(std::span<const std::byte> record, RecordSink& sink) {
  const auto* r = as<abi::gh_closed>(record);
  if (r == nullptr) {
    ++counters_.malformed;
    return;
  }
  if (const auto found = sockets_.find(r->head.socket); found != sockets_.end()) forget(found, sink);
  SocketClosed closed{.socket = r->head.socket, .time_ns = r->head.time_ns};
  for (size_t d = 0; d < kDirections; ++d) {
    closed.stream_bytes[d] = r->stream_bytes[d];
    std::copy_n(r->lost_bytes[d], kLostReasons, closed.lost_bytes[d].begin());
  }
  sink.on_socket_closed(closed);
}

void Delivery::on_exec(std::span<const std::byte> record, RecordSink& sink) {
  const auto* r = as<abi::gh_exec>(record);
  if (r == nullptr ||
      record.size() - sizeof(*r) < size_t{r->exe_bytes} + r->cwd_bytes + r->cgroup_bytes + r->argument_bytes) {
    ++counters_.malformed;
    return;
  }
  std::string_view text{reinterpret_cast<const char*>(record.data() + sizeof(*r)), record.size() - sizeof(*r)};
  const auto take = [&text](size_t bytes) {
    const std::string_view part = text.substr(0, bytes);
    text.remove_prefix(bytes);
    return part;
  };
  join_path(take(r->exe_bytes), exe_);
  join_path(take(r->cwd_bytes), cwd_);
  join_path(take(r->cgroup_bytes), cgroup_);
  std::string_view arguments = take(r->argument_bytes);
  if (!arguments.empty() && arguments.back() == '\0') arguments.remove_suffix(1);
  sink.on_process_exec({.process = key(r->process),
                        .parent = key(r->parent),
                        .time_ns = r->head.time_ns,
                        .uid = r->uid,
                        .gid = r->gid,
                        .euid = r->euid,
                        .egid = r->egid,
                        .loginuid = r->loginuid,
                        .audit_session = r->audit_session,
                        .tty = r->tty,
                        .cgroup_id = r->cgroup_id,
                        .exe_inode = r->exe_inode,
                        .exe_device = r->exe_device,
                        .exe_links = r->exe_links,
                        .pid_namespace = r->pid_namespace,
                        .mount_namespace = r->mount_namespace,
                        .net_namespace = r->net_namespace,
                        .exe = exe_,
                        .arguments = arguments,
                        .arguments_cut = (r->head.flags & GH_EXEC_ARGUMENTS_CUT) != 0,
                        .cwd = cwd_,
                        .cgroup_path = cgroup_});
}

void Delivery::on_exit(std::span<const std::byte> record, RecordSink& sink) {
  const auto* r = as<abi::gh_exit>(record);
  if (r == nullptr) {
    ++counters_.malformed;
    return;
  }
  const ProcessKey process = key(r->process);
  for (auto at = unix_ends_.lower_bound({process, 0}); at != unix_ends_.end() && at->first == process; ++at) {
    const auto found = sockets_.find(at->second);
    GH_CHECK(found != sockets_.end());
    Socket& socket = found->second;
    if (socket.is_orphan) continue;
    if (socket.server == process) socket.is_orphan = true;
    socket.ending_ns = r->head.time_ns;
    settled_ns_ = r->head.time_ns + kEndingNsMax;
    unsettled_.insert(at->second);
  }
  sink.on_process_exit({.process = key(r->process), .time_ns = r->head.time_ns, .status = r->status});
}

void Delivery::expire(uint64_t now_ns, RecordSink& sink) {
  for (auto it = unsettled_.begin(); it != unsettled_.end();) {
    const auto found = sockets_.find(*it);
    if (found == sockets_.end()) {
      it = unsettled_.erase(it);
      continue;
    }
    Socket& socket = found->second;
    if (socket.is_unix && !socket.held.empty() && socket.held.front().since_ns + kHeldNsMax < now_ns)
      release_all(socket, sink);
    if (socket.is_orphan && socket.ending_ns + kOrphanNsMax <= now_ns) {
      release_all(socket, sink);
      sink.on_socket_closed({.socket = *it, .time_ns = socket.ending_ns, .stream_bytes = socket.end});
      forget(found, sink);
      it = unsettled_.erase(it);
      continue;
    }
    it = is_unsettled(socket, now_ns) || socket.is_orphan ? std::next(it) : unsettled_.erase(it);
  }
}

bool Delivery::is_unsettled(const Socket& socket, uint64_t now_ns) {
  return !socket.held.empty() || (socket.ending_ns != 0 && socket.ending_ns + kEndingNsMax > now_ns);
}

uint64_t Delivery::unsettled_ns(uint64_t now_ns) const {
  uint64_t first_ns = UINT64_MAX;
  if (held_count_ == 0 && settled_ns_ <= now_ns) return first_ns;
  for (const SocketId id : unsettled_) {
    const auto found = sockets_.find(id);
    if (found == sockets_.end()) continue;
    const Socket& socket = found->second;
    if (!socket.held.empty()) first_ns = std::min(first_ns, socket.held.front().since_ns);
    if (socket.ending_ns != 0 && socket.ending_ns + kEndingNsMax > now_ns)
      first_ns = std::min(first_ns, socket.last_ns);
  }
  return first_ns;
}

std::vector<Network> Delivery::networks() const {
  std::vector<Network> networks;
  for (const auto& [id, socket] : sockets_) {
    // Of the captured end: the client's where that is on this host.
    const ProcessKey& process = socket.client_opener.process.known() ? socket.client_opener.process : socket.server;
    if (socket.is_unix || socket.netns == 0 || !process.known()) continue;
    if (std::ranges::find(networks, socket.netns, &Network::inode) == networks.end())
      networks.push_back({.inode = socket.netns, .pid = process.pid});
  }
  return networks;
}

Delivery::Sockets::iterator Delivery::look_up(Sockets::iterator at, bool is_missing, uint64_t listed_ns,
                                              RecordSink& sink) {
  const bool was_missing = std::exchange(at->second.is_missed, is_missing);
  if (!was_missing || !is_missing) return ++at;
  release_all(at->second, sink);
  ++counters_.closings_missed;
  sink.on_socket_closed({.socket = at->first, .time_ns = listed_ns, .witnessed = false});
  return forget(at, sink);
}

void Delivery::reconcile(const WatchedList& list, RecordSink& sink) {
  for (auto it = sockets_.begin(); it != sockets_.end();) {
    const Socket& socket = it->second;
    if (socket.is_unix) {
      ++it;
      continue;
    }
    // A connection of which only later records are known has no opening record; its chunks say nothing of its life.
    const bool is_missing = socket.opened_ns != 0 && socket.opened_ns < list.listed_ns &&
                            std::ranges::find(list.networks, socket.netns) != list.networks.end() &&
                            !std::ranges::binary_search(list.alive, it->first);
    it = look_up(it, is_missing, list.listed_ns, sink);
  }
}

bool Delivery::reconcile_unix(std::span<const SocketId> alive, uint64_t before_ns, uint64_t listed_ns,
                              RecordSink& sink) {
  bool is_any = false;
  for (auto it = sockets_.begin(); it != sockets_.end();) {
    if (!it->second.is_unix || it->second.opened_ns >= before_ns) {
      ++it;
      continue;
    }
    is_any = true;
    it = look_up(it, !std::ranges::binary_search(alive, it->first), listed_ns, sink);
  }
  return is_any;
}

}  // namespace gatehouse::capture
