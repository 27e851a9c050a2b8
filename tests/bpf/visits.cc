// SPDX-License-Identifier: Apache-2.0
#include "tests/bpf/visits.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

#include "tests/bpf/wire.h"

namespace gatehouse::capture::test {
namespace {

constexpr size_t kReplyBytesMax = 256;

SocketAddress ask(int fd, int (*what)(int, sockaddr*, socklen_t*)) {
  SocketAddress address;
  address.bytes = sizeof(address.storage);
  if (what(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.bytes) != 0) address.bytes = 0;
  return address;
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  for (ssize_t bytes; (bytes = ::read(fd, buffer.data(), buffer.size())) > 0;)
    text.append(buffer.data(), static_cast<size_t>(bytes));
  return text;
}

// The first bytes with the SYN.
int open_with(int fd, const SocketAddress& to, const std::string& hello) {
  return ::sendto(fd, hello.data(), hello.size(), MSG_FASTOPEN, to.generic(), to.bytes) < 0 ? errno : 0;
}

int open_then(int fd, const SocketAddress& to, const std::string& hello, const VisitOptions& options) {
  if (!options.is_prompt) ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  if (::connect(fd, to.generic(), to.bytes) != 0) {
    if (errno != EINPROGRESS) return errno;
    pollfd done{.fd = fd, .events = POLLOUT, .revents = 0};
    if (::poll(&done, 1, 5000) != 1) return ETIMEDOUT;
    int error = 0;
    socklen_t bytes = sizeof(error);
    ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
    if (error != 0) return error;
  }
  if (!options.is_prompt) ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_NONBLOCK);
  return ::write(fd, hello.data(), hello.size()) < 0 ? errno : 0;
}

// Lines: error, local, peer, what the server said.
std::string go(const std::string& where, uint16_t port, const VisitOptions& options) {
  if (options.netns >= 0 && ::setns(options.netns, CLONE_NEWNET) != 0) return std::to_string(errno) + "\n\n\n";
  if (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0) return std::to_string(errno) + "\n\n\n";
  if (options.uid != 0 && ::setuid(options.uid) != 0) return std::to_string(errno) + "\n\n\n";
  const SocketAddress to = address_of(where, port);
  const UniqueFd fd(::socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, options.protocol));
  if (options.from_port != 0) {
    const int on = 1;
    const linger reset{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    const SocketAddress from = address_of(options.local.empty() ? where : options.local, options.from_port);
    if (::bind(fd.get(), from.generic(), from.bytes) != 0) return std::to_string(errno) + "\n\n\n";
  }
  if (options.from_port == 0 && !options.local.empty()) {
    const SocketAddress from = address_of(options.local);
    if (::bind(fd.get(), from.generic(), from.bytes) != 0) return std::to_string(errno) + "\n\n\n";
  }
  if (!options.device.empty() && ::setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, options.device.data(),
                                              static_cast<socklen_t>(options.device.size())) != 0)
    return std::to_string(errno) + "\n\n\n";
  const std::string hello = startup();
  if (const int error = options.is_fast ? open_with(fd.get(), to, hello) : open_then(fd.get(), to, hello, options);
      error != 0)
    return std::to_string(error) + "\n\n\n";
  std::array<char, kReplyBytesMax> reply{};
  const ssize_t bytes = ::read(fd.get(), reply.data(), reply.size());
  return "0\n" + local_of(fd.get()) + "\n" + peer_of(fd.get()) + "\n" +
         std::string(reply.data(), bytes > 0 ? static_cast<size_t>(bytes) : 0);
}

}  // namespace

SocketAddress address_of(const std::string& where, uint16_t port) {
  SocketAddress address;
  auto* const in = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* const in6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  auto* const un = reinterpret_cast<sockaddr_un*>(&address.storage);
  if (::inet_pton(AF_INET, where.c_str(), &in->sin_addr) == 1) {
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    address.bytes = sizeof(*in);
  } else if (::inet_pton(AF_INET6, where.c_str(), &in6->sin6_addr) == 1) {
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    address.bytes = sizeof(*in6);
  } else {
    const bool is_abstract = where.starts_with('@');
    un->sun_family = AF_UNIX;
    std::copy_n(where.begin(), std::min(where.size(), sizeof(un->sun_path)), un->sun_path);
    if (is_abstract) un->sun_path[0] = '\0';
    address.bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + where.size() + (is_abstract ? 0 : 1));
  }
  return address;
}

std::string text_of(const SocketAddress& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.storage.ss_family == AF_INET) {
    const auto* const in = reinterpret_cast<const sockaddr_in*>(&address.storage);
    ::inet_ntop(AF_INET, &in->sin_addr, text.data(), text.size());
    return std::string(text.data()) + " " + std::to_string(ntohs(in->sin_port));
  }
  if (address.storage.ss_family == AF_INET6) {
    const auto* const in = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr))
      ::inet_ntop(AF_INET, in->sin6_addr.s6_addr + 12, text.data(), text.size());
    else
      ::inet_ntop(AF_INET6, &in->sin6_addr, text.data(), text.size());
    return std::string(text.data()) + " " + std::to_string(ntohs(in->sin6_port));
  }
  const auto* const un = reinterpret_cast<const sockaddr_un*>(&address.storage);
  if (address.bytes <= offsetof(sockaddr_un, sun_path)) return "";
  std::string path(un->sun_path, address.bytes - offsetof(sockaddr_un, sun_path));
  if (path[0] == '\0')
    path[0] = '@';
  else
    path = path.c_str();
  return path;
}

std::string local_of(int fd) {
  return text_of(ask(fd, ::getsockname));
}
std::string peer_of(int fd) {
  return text_of(ask(fd, ::getpeername));
}

Visit visit(const std::string& where, uint16_t port, const VisitOptions& options) {
  std::array<int, 2> ends{};
  Visit found;
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return {.error = errno, .local = {}, .peer = {}, .seen_as = {}};
  found.pid = ::fork();
  if (found.pid == 0) {
    const std::string told = go(where, port, options);
    ::_exit(::write(ends[1], told.data(), told.size()) < 0);
  }
  ::close(ends[1]);
  std::string text = read_all(ends[0]);
  ::close(ends[0]);
  ::waitpid(found.pid, nullptr, 0);
  std::array<std::string*, 2> lines{&found.local, &found.peer};
  const auto line = [&text] {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string one = text.substr(0, end);
    text.erase(0, end + 1);
    return one;
  };
  found.error = std::atoi(line().c_str());
  for (std::string* one : lines) *one = line();
  found.seen_as = text;
  return found;
}

Output run(const std::string& command) {
  Output output;
  FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return output;
  output.text = read_all(::fileno(pipe));
  output.status = ::pclose(pipe);
  return output;
}

UniqueFd listening(const std::string& where, uint16_t port) {
  const SocketAddress address = address_of(where, port);
  UniqueFd fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (address.storage.ss_family == AF_INET6 && where != "::")
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
  if (where.starts_with('/')) ::unlink(where.c_str());
  EXPECT_EQ(::bind(fd.get(), address.generic(), address.bytes), 0) << where << ": " << std::strerror(errno);
  if (where.starts_with('/')) ::chmod(where.c_str(), 0777);
  EXPECT_EQ(::listen(fd.get(), 128), 0) << std::strerror(errno);
  return fd;
}

void Host::listen_at(const std::string& where, uint16_t port, int netns) {
  std::thread([&] {
    EXPECT_TRUE(netns < 0 || ::setns(netns, CLONE_NEWNET) == 0);
    listeners_.push_back(listening(where, port));
  }).join();
  threads_.emplace_back([this, fd = listeners_.back().get()] { serve(fd); });
}

Host::~Host() {
  for (const UniqueFd& listener : listeners_) ::shutdown(listener.get(), SHUT_RDWR);
  for (std::thread& thread : threads_) thread.join();
}

void Host::serve(int listener) {
  while (true) {
    SocketAddress client;
    client.bytes = sizeof(client.storage);
    const UniqueFd fd(::accept4(listener, reinterpret_cast<sockaddr*>(&client.storage), &client.bytes, SOCK_CLOEXEC));
    if (!fd.valid()) {
      if (errno == ECONNABORTED || errno == EINTR) continue;
      return;
    }
    ucred credentials{};
    socklen_t bytes = sizeof(credentials);
    ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &bytes);
    last_pid = credentials.pid;
    last_uid = credentials.uid;
    ++accepted;
    std::array<char, kReplyBytesMax> buffer{};
    if (::read(fd.get(), buffer.data(), buffer.size()) <= 0) continue;
    const std::string reply = text_of(client) + "\n" + peer_of(fd.get());
    if (::write(fd.get(), reply.data(), reply.size()) > 0) read_all(fd.get());
  }
}

}  // namespace gatehouse::capture::test
