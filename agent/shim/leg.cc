// SPDX-License-Identifier: Apache-2.0
#include "agent/shim/leg.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>

namespace gatehouse::shim {

// TLS reads from the leg's socket, and writes to the worker's staging: what is written in one call leaves in one
// write(2), and TLS itself never waits for the peer to read.
struct LegBio {
  static int read(BIO* bio, char* data, int size) {
    BIO_clear_retry_flags(bio);
    Leg& leg = *static_cast<Leg*>(BIO_get_data(bio));
    if (leg.is_drained_) return 0;
    if (!leg.is_readable_ || size <= 0) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const ssize_t got = leg.receive(std::as_writable_bytes(std::span{data, static_cast<size_t>(size)}));
    if (got < 0) BIO_set_retry_read(bio);
    return static_cast<int>(got);
  }
  static int write(BIO* bio, const char* data, int size) {
    BIO_clear_retry_flags(bio);
    if (size <= 0) return 0;
    Leg& leg = *static_cast<Leg*>(BIO_get_data(bio));
    const auto bytes = std::as_bytes(std::span{data, static_cast<size_t>(size)});
    leg.staging_.insert(leg.staging_.end(), bytes.begin(), bytes.end());
    return size;
  }
  static long control(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
    return command == BIO_CTRL_FLUSH ? 1 : 0;
  }
  // Made once, kept for the life of the process.
  static const BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {
      BIO_METHOD* fresh = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "leg");
      BIO_meth_set_read(fresh, read);
      BIO_meth_set_write(fresh, write);
      BIO_meth_set_ctrl(fresh, control);
      return fresh;
    }();
    return made;
  }
};

Status Leg::open(UniqueFd socket, int epoll) {
  epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data = {.ptr = static_cast<Pollable*>(this)}};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, socket.get(), &event) != 0) return Error::system("polling a socket");
  socket_ = std::move(socket);
  return {};
}

void Leg::close() {
  ssl_.reset();
  out_.clear();
  socket_.reset();
  is_readable_ = may_hold_more_ = false;
  at_end_ = is_deaf_ = is_writing_ended_ = true;
}

void Leg::on_events(uint32_t events) {
  if (!is_open()) return;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) is_hung_up_ = true;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) is_readable_ = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) is_settled_ = true;
  if ((events & EPOLLOUT) != 0 && (!out_.empty() || is_ending_)) flush();
  owner_.on_leg();
}

ssize_t Leg::receive(std::span<std::byte> bytes, int flags) {
  ssize_t got = 0;
  do got = ::recv(socket_.get(), bytes.data(), bytes.size(), flags);
  while (got < 0 && errno == EINTR);
  if (got > 0) {
    // Less than was asked for: the kernel has no more, and says so again when it has. A FIN behind it is told with it.
    if (static_cast<size_t>(got) < bytes.size() && !is_hung_up_ && (flags & MSG_PEEK) == 0) is_readable_ = false;
    return got;
  }
  is_readable_ = false;
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return -1;
  is_drained_ = true;
  is_broken_ = is_broken_ || got < 0;
  return 0;
}

bool Leg::peek(std::byte& first) {
  if (!is_readable_) return false;
  const ssize_t got = receive({&first, 1}, MSG_PEEK);
  at_end_ = got == 0;
  return got > 0;
}

size_t Leg::read(std::span<std::byte> bytes) {
  if (!is_open() || at_end_) return 0;
  return ssl_ ? read_tls(bytes) : read_plain(bytes);
}

size_t Leg::read_plain(std::span<std::byte> bytes) {
  if (!is_readable_) return 0;
  const ssize_t got = receive(bytes);
  at_end_ = got == 0;
  return got > 0 ? static_cast<size_t>(got) : 0;
}

// Whole records, as long as they fit and the kernel has them.
size_t Leg::read_tls(std::span<std::byte> bytes) {
  size_t filled = 0;
  may_hold_more_ = true;
  while (filled < bytes.size()) {
    ERR_clear_error();
    size_t got = 0;
    if (SSL_read_ex(ssl_.get(), bytes.data() + filled, bytes.size() - filled, &got) == 1) {
      filled += got;
      continue;
    }
    const int reason = SSL_get_error(ssl_.get(), 0);
    may_hold_more_ = false;
    if (reason == SSL_ERROR_WANT_READ) break;
    at_end_ = true;
    is_readable_ = false;
    is_broken_ = is_broken_ || reason != SSL_ERROR_ZERO_RETURN;
    break;
  }
  unstage();
  return filled;
}

void Leg::write(std::span<const std::byte> bytes) {
  if (is_deaf_ || is_ending_ || bytes.empty() || !is_open()) return;
  if (!ssl_) return put(bytes);
  ERR_clear_error();
  size_t taken = 0;
  while (!bytes.empty() && SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &taken) == 1)
    bytes = bytes.subspan(taken);
  unstage();
  if (!bytes.empty()) fail_writing();
}

void Leg::put(std::span<const std::byte> bytes) {
  if (out_.empty()) bytes = bytes.subspan(push(bytes));
  if (!is_deaf_) out_.append(bytes);
}

size_t Leg::push(std::span<const std::byte> bytes) {
  size_t pushed = 0;
  while (pushed < bytes.size()) {
    const ssize_t sent = ::send(socket_.get(), bytes.data() + pushed, bytes.size() - pushed, MSG_NOSIGNAL);
    if (sent >= 0) {
      pushed += static_cast<size_t>(sent);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOTCONN) {
      break;
    } else if (errno != EINTR) {
      fail_writing();
      return bytes.size();
    }
  }
  return pushed;
}

void Leg::flush() {
  if (!out_.empty()) {
    const size_t pushed = push(out_.view());
    if (!is_deaf_) out_.consume(pushed);
  }
  if (out_.empty() && is_ending_ && !is_writing_ended_) {
    is_writing_ended_ = true;
    ::shutdown(socket_.get(), SHUT_WR);
  }
}

void Leg::unstage() {
  if (staging_.empty()) return;
  if (!is_deaf_) put(staging_);
  staging_.clear();
}

void Leg::fail_writing() {
  is_deaf_ = true;
  out_.clear();
}

void Leg::end_writing() {
  if (is_ending_ || !is_open()) return;
  if (ssl_ && SSL_is_init_finished(ssl_.get()) == 1 && !is_broken_) {
    ERR_clear_error();
    SSL_shutdown(ssl_.get());
    unstage();
  }
  is_ending_ = true;
  flush();
}

Status Leg::start_tls(SSL_CTX* context, bool is_server, const std::string& server_name) {
  ERR_clear_error();
  Ssl ssl(SSL_new(context));
  BIO* bio = BIO_new(LegBio::method());
  if (!ssl || bio == nullptr) {
    BIO_free(bio);
    return Error("TLS: " + take_tls_reason());
  }
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl.get(), bio, bio);
  if (is_server)
    SSL_set_accept_state(ssl.get());
  else
    SSL_set_connect_state(ssl.get());
  // What SSL_set_tlsext_host_name() is.
  if (!server_name.empty())
    SSL_ctrl(ssl.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
             const_cast<char*>(server_name.c_str()));
  ssl_ = std::move(ssl);
  return {};
}

Leg::Handshake Leg::handshake() {
  ERR_clear_error();
  const int outcome = SSL_do_handshake(ssl_.get());
  const int reason = outcome == 1 ? SSL_ERROR_NONE : SSL_get_error(ssl_.get(), outcome);
  unstage();  // also the alert that tells the peer why not
  may_hold_more_ = outcome == 1;
  if (outcome == 1) return Handshake::kDone;
  return reason == SSL_ERROR_WANT_READ ? Handshake::kPending : Handshake::kFailed;
}

}  // namespace gatehouse::shim
