// SPDX-License-Identifier: Apache-2.0
#include "tests/bpf/ways.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <linux/errqueue.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <vector>

#include "common/file.h"
#include "tests/bpf/wire.h"

namespace gatehouse::capture::test {
namespace {

// Kernels with IORING_OP_SEND_ZC and the like take a socket's short send as final; MSG_WAITALL asks for all of it.
constexpr unsigned kRingEntries = 8;
constexpr size_t kPageBytes = 4096;

// --- plain system calls

void send_by_write(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::write(fd, bytes.data(), bytes.size());
    ASSERT_GT(sent, 0) << std::strerror(errno);
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
}

std::string receive_by_read(int fd, size_t bytes) {
  std::string result(bytes, '\0');
  for (size_t done = 0; done < bytes;) {
    const ssize_t got = ::read(fd, result.data() + done, bytes - done);
    if (got <= 0) {
      ADD_FAILURE() << "read: " << std::strerror(errno);
      break;
    }
    done += static_cast<size_t>(got);
  }
  return result;
}

// As many one-byte buffers as a call takes.
template <typename Call>
void by_single_bytes(char* data, size_t bytes, Call call) {
  for (size_t done = 0; done < bytes;) {
    std::vector<iovec> buffers(std::min<size_t>(bytes - done, 1024));
    for (size_t i = 0; i < buffers.size(); ++i) buffers[i] = {data + done + i, 1};
    const ssize_t moved = call(buffers);
    ASSERT_GT(moved, 0) << std::strerror(errno);
    done += static_cast<size_t>(moved);
  }
}

void send_single_bytes(int fd, std::string_view bytes) {
  std::string copy(bytes);
  by_single_bytes(copy.data(), copy.size(), [fd](std::vector<iovec>& buffers) {
    return ::writev(fd, buffers.data(), static_cast<int>(buffers.size()));
  });
}

std::string receive_single_bytes(int fd, size_t bytes) {
  std::string result(bytes, '\0');
  by_single_bytes(result.data(), bytes, [fd](std::vector<iovec>& buffers) {
    return ::readv(fd, buffers.data(), static_cast<int>(buffers.size()));
  });
  return result;
}

// Cut into `count` messages, each of two buffers.
struct Messages {
  static constexpr size_t kCount = 6;
  Messages(char* data, size_t bytes) {
    const size_t part = bytes / kCount;
    for (size_t i = 0; i < kCount; ++i) {
      const size_t length = i + 1 == kCount ? bytes - i * part : part;
      char* const at = data + i * part;
      buffers[2 * i] = {at, length / 3};
      buffers[2 * i + 1] = {at + length / 3, length - length / 3};
      list[i].msg_hdr.msg_iov = &buffers[2 * i];
      list[i].msg_hdr.msg_iovlen = 2;
    }
  }
  std::array<iovec, 2 * kCount> buffers{};
  std::array<mmsghdr, kCount> list{};
};

void send_by_sendmmsg(int fd, std::string_view bytes) {
  std::string copy(bytes);
  Messages messages(copy.data(), copy.size());
  ASSERT_EQ(::sendmmsg(fd, messages.list.data(), Messages::kCount, 0), static_cast<int>(Messages::kCount));
  size_t sent = 0;
  for (const mmsghdr& message : messages.list) sent += message.msg_len;
  ASSERT_EQ(sent, bytes.size());
}

std::string receive_by_recvmmsg(int fd, size_t bytes) {
  std::string result(bytes, '\0');
  Messages messages(result.data(), bytes);
  EXPECT_EQ(::recvmmsg(fd, messages.list.data(), Messages::kCount, MSG_WAITALL, nullptr),
            static_cast<int>(Messages::kCount));
  return result;
}

void send_in_two_halves(int fd, std::string_view bytes) {
  ASSERT_EQ(::send(fd, bytes.data(), bytes.size() / 2, MSG_MORE), static_cast<ssize_t>(bytes.size() / 2));
  send_exactly(fd, bytes.substr(bytes.size() / 2));
}

// Looks ahead again and again, at less and at more than there is, before it takes.
std::string receive_after_peeking(int fd, size_t bytes) {
  std::string ahead(bytes + 100, '\0');
  std::string result;
  while (result.size() < bytes) {
    const size_t left = bytes - result.size();
    for (const size_t look : {size_t{1}, left / 2 + 1, left})
      EXPECT_GT(::recv(fd, ahead.data(), look, MSG_PEEK), 0) << std::strerror(errno);
    const ssize_t seen = ::recv(fd, ahead.data(), left, MSG_PEEK);
    if (seen <= 0) break;
    const std::string part = read_exactly(fd, std::min<size_t>(static_cast<size_t>(seen), 1000));
    EXPECT_EQ(part, ahead.substr(0, part.size()));
    result += part;
  }
  return result;
}

bool is_unix(int fd) {
  int domain = 0;
  socklen_t bytes = sizeof(domain);
  EXPECT_EQ(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes), 0);
  return domain == AF_UNIX;
}

void send_zerocopy(int fd, std::string_view bytes) {
  if (is_unix(fd)) return send_by_write(fd, bytes);  // it cannot
  const int on = 1;
  ASSERT_EQ(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof(on)), 0);
  int calls = 0;
  for (std::string_view left = bytes; !left.empty(); ++calls) {
    const ssize_t sent = ::send(fd, left.data(), left.size(), MSG_ZEROCOPY);
    ASSERT_GT(sent, 0) << std::strerror(errno);
    left.remove_prefix(static_cast<size_t>(sent));
  }
  // The buffer is the kernel's until it says so on the error queue, which it does when the peer has acknowledged; on
  // loopback it copies and says so at once.
  for (int done = 0; done < calls;) {
    pollfd wait{.fd = fd, .events = 0, .revents = 0};
    ASSERT_EQ(::poll(&wait, 1, 5000), 1);
    std::array<char, 256> control{};
    msghdr message{};
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ASSERT_GE(::recvmsg(fd, &message, MSG_ERRQUEUE), 0) << std::strerror(errno);
    const cmsghdr* const header = CMSG_FIRSTHDR(&message);
    ASSERT_NE(header, nullptr);
    const auto* const note = reinterpret_cast<const sock_extended_err*>(CMSG_DATA(header));
    done = static_cast<int>(note->ee_data) + 1;
    if (note->ee_data + 1 >= static_cast<uint32_t>(calls)) break;
  }
}

// --- pages

UniqueFd file_with(std::string_view bytes) {
  UniqueFd file(memfd_create("bytes", MFD_CLOEXEC));
  EXPECT_EQ(::write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  return file;
}

void send_by_sendfile(int fd, std::string_view bytes) {
  // Not at the start of a page, nor of the file.
  const UniqueFd file = file_with(std::string(1234, '-') + std::string(bytes));
  off_t from = 1234;
  for (size_t left = bytes.size(); left > 0;) {
    const ssize_t sent = ::sendfile(fd, file.get(), &from, left);
    ASSERT_GT(sent, 0) << std::strerror(errno);
    left -= static_cast<size_t>(sent);
  }
}

struct Pipe {
  Pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    out = UniqueFd(ends[0]);
    in = UniqueFd(ends[1]);
  }
  UniqueFd out, in;
};

void drain_pipe_into(const Pipe& pipe, int fd, size_t bytes) {
  while (bytes > 0) {
    const ssize_t sent = ::splice(pipe.out.get(), nullptr, fd, nullptr, bytes, SPLICE_F_MOVE);
    ASSERT_GT(sent, 0) << std::strerror(errno);
    bytes -= static_cast<size_t>(sent);
  }
}

// Through a pipe that copies them into pages of its own.
void send_by_splice(int fd, std::string_view bytes) {
  const Pipe pipe;
  while (!bytes.empty()) {
    const ssize_t filled = ::write(pipe.in.get(), bytes.data(), std::min<size_t>(bytes.size(), 16U << 10));
    ASSERT_GT(filled, 0);
    drain_pipe_into(pipe, fd, static_cast<size_t>(filled));
    bytes.remove_prefix(static_cast<size_t>(filled));
  }
}

// Through a pipe that borrows the process's own pages, cut into small buffers.
void send_by_vmsplice(int fd, std::string_view bytes) {
  const Pipe pipe;
  while (!bytes.empty()) {
    std::array<iovec, 8> buffers{};
    size_t count = 0, filled = 0;
    for (; count < buffers.size() && filled < bytes.size(); ++count) {
      const size_t part = std::min<size_t>(bytes.size() - filled, 700);
      buffers[count] = {const_cast<char*>(bytes.data()) + filled, part};
      filled += part;
    }
    ASSERT_EQ(::vmsplice(pipe.in.get(), buffers.data(), count, 0), static_cast<ssize_t>(filled));
    drain_pipe_into(pipe, fd, filled);
    bytes.remove_prefix(filled);
  }
}

std::string receive_by_splice(int fd, size_t bytes) {
  const Pipe pipe;
  std::string result;
  while (result.size() < bytes) {
    const ssize_t got =
        ::splice(fd, nullptr, pipe.in.get(), nullptr, std::min<size_t>(bytes - result.size(), 16U << 10), 0);
    if (got <= 0) {
      ADD_FAILURE() << "splice: " << std::strerror(errno);
      break;
    }
    result += receive_by_read(pipe.out.get(), static_cast<size_t>(got));
  }
  return result;
}

// --- io_uring

class Uring {
 public:
  explicit Uring(unsigned setup_flags = 0) {
    io_uring_params parameters{};
    parameters.flags = setup_flags;
    parameters.sq_thread_idle = 50;
    const int error = io_uring_queue_init_params(kRingEntries, &ring_, &parameters);
    EXPECT_EQ(error, 0) << std::strerror(-error);
    ok_ = error == 0;
  }
  ~Uring() {
    if (ok_) io_uring_queue_exit(&ring_);
  }
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;

  // Prepares one operation, waits for it, and says what it gave.
  template <typename Prepare>
  int run(Prepare prepare, unsigned sqe_flags = 0) {
    io_uring_sqe* const entry = io_uring_get_sqe(&ring_);
    prepare(entry);
    entry->flags |= static_cast<uint8_t>(sqe_flags);
    int result = -ECANCELED;
    io_uring_submit(&ring_);
    for (bool more = true; more;) {
      io_uring_cqe* completion = nullptr;
      if (io_uring_wait_cqe(&ring_, &completion) != 0) return -EIO;
      // A send without copying completes twice: with its result, and when the buffer is free.
      if ((completion->flags & IORING_CQE_F_NOTIF) == 0) result = completion->res;
      more = (completion->flags & IORING_CQE_F_MORE) != 0;
      io_uring_cqe_seen(&ring_, completion);
    }
    return result;
  }
  io_uring* get() { return &ring_; }

 private:
  io_uring ring_{};
  bool ok_ = false;
};

enum class Op { kSend, kWrite, kMessage, kVector, kZeroCopy, kFixed };

void prepare_send(Op op, io_uring_sqe* entry, int fd, iovec* buffer, msghdr* message) {
  const auto bytes = static_cast<unsigned>(buffer->iov_len);
  switch (op) {
    case Op::kSend:
      return io_uring_prep_send(entry, fd, buffer->iov_base, bytes, MSG_WAITALL);
    case Op::kWrite:
      return io_uring_prep_write(entry, fd, buffer->iov_base, bytes, 0);
    case Op::kMessage:
      return io_uring_prep_sendmsg(entry, fd, message, MSG_WAITALL);
    case Op::kVector:
      return io_uring_prep_writev(entry, fd, buffer, 1, 0);
    case Op::kZeroCopy:
      return io_uring_prep_send_zc(entry, fd, buffer->iov_base, bytes, MSG_WAITALL, 0);
    case Op::kFixed:
      return io_uring_prep_write_fixed(entry, fd, buffer->iov_base, bytes, 0, 0);
  }
}

void prepare_receive(Op op, io_uring_sqe* entry, int fd, iovec* buffer, msghdr* message) {
  const auto bytes = static_cast<unsigned>(buffer->iov_len);
  switch (op) {
    case Op::kSend:
    case Op::kZeroCopy:
      return io_uring_prep_recv(entry, fd, buffer->iov_base, bytes, 0);
    case Op::kWrite:
      return io_uring_prep_read(entry, fd, buffer->iov_base, bytes, 0);
    case Op::kMessage:
      return io_uring_prep_recvmsg(entry, fd, message, 0);
    case Op::kVector:
      return io_uring_prep_readv(entry, fd, buffer, 1, 0);
    case Op::kFixed:
      return io_uring_prep_read_fixed(entry, fd, buffer->iov_base, bytes, 0, 0);
  }
}

// Moves `bytes` at `data` with one operation after the other. `register_all`: as a buffer that the kernel keeps.
template <typename Prepare>
void move_by_uring(Uring& ring, Op op, char* data, size_t bytes, unsigned sqe_flags, Prepare prepare) {
  iovec whole{data, bytes};
  if (op == Op::kFixed) {
    ASSERT_EQ(io_uring_register_buffers(ring.get(), &whole, 1), 0);
  }
  for (size_t done = 0; done < bytes;) {
    iovec buffer{data + done, bytes - done};
    msghdr message{};
    message.msg_iov = &buffer;
    message.msg_iovlen = 1;
    const int moved = ring.run([&](io_uring_sqe* entry) { prepare(entry, &buffer, &message); }, sqe_flags);
    ASSERT_GT(moved, 0) << std::strerror(-moved);
    done += static_cast<size_t>(moved);
  }
  if (op == Op::kFixed) io_uring_unregister_buffers(ring.get());
}

template <Op kOp, unsigned kSetup = 0, unsigned kSqeFlags = 0>
void send_by_uring(int fd, std::string_view bytes) {
  Uring ring(kSetup);
  std::string copy(bytes);
  move_by_uring(
      ring, kOp, copy.data(), copy.size(), kSqeFlags,
      [fd](io_uring_sqe* entry, iovec* buffer, msghdr* message) { prepare_send(kOp, entry, fd, buffer, message); });
}

template <Op kOp, unsigned kSetup = 0, unsigned kSqeFlags = 0>
std::string receive_by_uring(int fd, size_t bytes) {
  Uring ring(kSetup);
  std::string result(bytes, '\0');
  move_by_uring(ring, kOp, result.data(), bytes, kSqeFlags, [fd](io_uring_sqe* entry, iovec* buffer, msghdr* message) {
    prepare_receive(kOp, entry, fd, buffer, message);
  });
  return result;
}

void send_by_uring_zerocopy(int fd, std::string_view bytes) {
  // A Unix socket cannot.
  is_unix(fd) ? send_by_uring<Op::kSend>(fd, bytes) : send_by_uring<Op::kZeroCopy>(fd, bytes);
}

// The kernel picks the buffers, and one submission receives until there is no more.
std::string receive_by_provided_buffers(int fd, size_t bytes) {
  constexpr size_t kBuffers = 64;
  constexpr int kGroup = 7;
  Uring ring;
  std::string storage(kBuffers * kPageBytes, '\0');
  EXPECT_GE(ring.run([&](io_uring_sqe* entry) {
    io_uring_prep_provide_buffers(entry, storage.data(), kPageBytes, kBuffers, kGroup, 0);
  }),
            0);
  std::string result;
  io_uring_sqe* const entry = io_uring_get_sqe(ring.get());
  io_uring_prep_recv_multishot(entry, fd, nullptr, 0, 0);
  entry->flags |= IOSQE_BUFFER_SELECT;
  entry->buf_group = kGroup;
  io_uring_submit(ring.get());
  while (result.size() < bytes) {
    io_uring_cqe* completion = nullptr;
    if (io_uring_wait_cqe(ring.get(), &completion) != 0 || completion->res <= 0) {
      ADD_FAILURE() << "recv multishot: " << (completion == nullptr ? "" : std::strerror(-completion->res));
      break;
    }
    const size_t buffer = completion->flags >> IORING_CQE_BUFFER_SHIFT;
    result += storage.substr(buffer * kPageBytes, static_cast<size_t>(completion->res));
    io_uring_cqe_seen(ring.get(), completion);
  }
  return result;
}

void send_by_uring_splice(int fd, std::string_view bytes) {
  const Pipe pipe;
  Uring ring;
  while (!bytes.empty()) {
    const ssize_t filled = ::write(pipe.in.get(), bytes.data(), std::min<size_t>(bytes.size(), 16U << 10));
    ASSERT_GT(filled, 0);
    for (auto left = static_cast<unsigned>(filled); left > 0;) {
      const int sent =
          ring.run([&](io_uring_sqe* entry) { io_uring_prep_splice(entry, pipe.out.get(), -1, fd, -1, left, 0); });
      ASSERT_GT(sent, 0) << std::strerror(-sent);
      left -= static_cast<unsigned>(sent);
    }
    bytes.remove_prefix(static_cast<size_t>(filled));
  }
}

constexpr auto kSqpoll = static_cast<unsigned>(IORING_SETUP_SQPOLL);
constexpr auto kAsync = static_cast<unsigned>(IOSQE_ASYNC);

constexpr Way kWays[] = {
    {"Write", send_by_write, receive_by_read},
    {"SingleBytes", send_single_bytes, receive_single_bytes},
    {"Mmsg", send_by_sendmmsg, receive_by_recvmmsg, By::kMessages, By::kMessages},
    {"MoreAndPeek", send_in_two_halves, receive_after_peeking},
    {"ZeroCopy", send_zerocopy, receive_by_read},
    {"Sendfile", send_by_sendfile, receive_by_read, By::kPages},
    {"Splice", send_by_splice, receive_by_read, By::kPages},
    {"Vmsplice", send_by_vmsplice, receive_by_read, By::kPages},
    {"ReceiveBySplice", send_by_write, receive_by_splice, By::kCall, By::kSplice},
    {"UringSend", send_by_uring<Op::kSend>, receive_by_uring<Op::kSend>, By::kUring, By::kUring},
    {"UringWrite", send_by_uring<Op::kWrite>, receive_by_uring<Op::kWrite>, By::kUring, By::kUring},
    {"UringSendmsg", send_by_uring<Op::kMessage>, receive_by_uring<Op::kMessage>, By::kUring, By::kUring},
    {"UringWritev", send_by_uring<Op::kVector>, receive_by_uring<Op::kVector>, By::kUring, By::kUring},
    {"UringSendZeroCopy", send_by_uring_zerocopy, receive_by_provided_buffers, By::kUring, By::kUring},
    {"UringFixed", send_by_uring<Op::kFixed>, receive_by_uring<Op::kFixed>, By::kUring, By::kUring},
    {"UringSplice", send_by_uring_splice, receive_by_read, By::kUring},
    {"UringWorkerSend", send_by_uring<Op::kSend, 0, kAsync>, receive_by_uring<Op::kSend, 0, kAsync>, By::kUring,
     By::kUring},
    {"UringWorkerWrite", send_by_uring<Op::kWrite, 0, kAsync>, receive_by_uring<Op::kWrite, 0, kAsync>, By::kUring,
     By::kUring},
    {"UringSqpollSend", send_by_uring<Op::kSend, kSqpoll>, receive_by_uring<Op::kSend, kSqpoll>, By::kUring,
     By::kUring},
    {"UringSqpollWrite", send_by_uring<Op::kWrite, kSqpoll>, receive_by_uring<Op::kWrite, kSqpoll>, By::kUring,
     By::kUring},
    {"UringSqpollWorker", send_by_uring<Op::kSend, kSqpoll, kAsync>, receive_by_uring<Op::kSend, kSqpoll, kAsync>,
     By::kUring, By::kUring},
};

}  // namespace

std::span<const Way> all_ways() {
  return kWays;
}

}  // namespace gatehouse::capture::test
