// SPDX-License-Identifier: Apache-2.0
// Leg: one socket of a session, in the clear or in TLS. Non-blocking and edge-triggered: it remembers whether the
// kernel has more to read, and keeps what the kernel does not take at once.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "agent/shim/buffer.h"
#include "agent/shim/tls.h"
#include "common/file.h"

namespace gatehouse::shim {

// What the loop tells of a descriptor.
class Pollable {
 public:
  virtual ~Pollable() = default;
  virtual void on_events(uint32_t events) = 0;
};

class LegOwner {
 public:
  virtual ~LegOwner() = default;
  // Something has changed at one of its legs.
  virtual void on_leg() = 0;
};

class Leg final : public Pollable {
 public:
  // `staging`: the worker's, where TLS records stand until they are written; empty between calls. Both outlive the leg.
  Leg(LegOwner& owner, std::vector<std::byte>& staging) : owner_(owner), staging_(staging) {}

  // Polled by `epoll` from now on.
  Status open(UniqueFd socket, int epoll);
  // Drops what is queued. The descriptor leaves epoll with it.
  void close();
  [[nodiscard]] bool is_open() const { return socket_.valid(); }
  [[nodiscard]] int fd() const { return socket_.get(); }

  void on_events(uint32_t events) override;

  // Up to bytes.size() of what the peer said; 0: nothing now, or at_end(). Fills `bytes` as far as there is anything.
  size_t read(std::span<std::byte> bytes);
  // The first byte in the clear, left where it is; false: none yet, or at_end().
  bool peek(std::byte& first);
  // There may be something to read; also: the end.
  [[nodiscard]] bool is_readable() const { return is_readable_ || may_hold_more_; }
  // What connect(2) began has ended, one way or the other.
  [[nodiscard]] bool is_settled() const { return is_settled_; }
  // Nothing more will be read: the peer closed in order, or the connection broke.
  [[nodiscard]] bool at_end() const { return at_end_; }
  [[nodiscard]] bool is_broken() const { return is_broken_; }
  // The peer has closed its side; some of what it said before may not be read yet.
  [[nodiscard]] bool has_hung_up() const { return is_hung_up_ || at_end_; }

  // Written at once or queued; dropped where the peer cannot be written to.
  void write(std::span<const std::byte> bytes);
  [[nodiscard]] size_t backlog() const { return out_.size(); }
  // Nothing of what is written reaches the peer.
  [[nodiscard]] bool is_deaf() const { return is_deaf_; }
  // After what is queued: close_notify where TLS is spoken, and FIN.
  void end_writing();
  [[nodiscard]] bool has_ended_writing() const { return is_writing_ended_; }

  // The bytes that follow, both ways, are TLS.
  Status start_tls(SSL_CTX* context, bool is_server, const std::string& server_name = {});
  [[nodiscard]] bool is_tls() const { return ssl_ != nullptr; }
  [[nodiscard]] const SSL* ssl() const { return ssl_.get(); }
  enum class Handshake : uint8_t { kDone, kPending, kFailed };
  Handshake handshake();

  [[nodiscard]] size_t held_bytes() const { return out_.capacity(); }

 private:
  friend struct LegBio;
  size_t read_plain(std::span<std::byte> bytes);
  size_t read_tls(std::span<std::byte> bytes);
  // recv(2), and what it means for the leg. -1: nothing now.
  ssize_t receive(std::span<std::byte> bytes, int flags = 0);
  void put(std::span<const std::byte> bytes);
  // As much as the kernel takes.
  size_t push(std::span<const std::byte> bytes);
  void flush();
  void unstage();
  void fail_writing();

  LegOwner& owner_;
  std::vector<std::byte>& staging_;
  UniqueFd socket_;
  Ssl ssl_;
  Buffer out_;  // as the wire has it
  bool is_settled_ = false, is_readable_ = false, is_hung_up_ = false;
  bool is_drained_ = false;     // the socket's own end: TLS may still hold what came before it
  bool may_hold_more_ = false;  // TLS has read more from the socket than was asked of it
  bool at_end_ = false, is_broken_ = false;
  bool is_deaf_ = false, is_ending_ = false, is_writing_ended_ = false;
};

}  // namespace gatehouse::shim
