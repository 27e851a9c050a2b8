// SPDX-License-Identifier: Apache-2.0
#include "agent/shim/networks.h"

#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <charconv>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>

namespace gatehouse::shim {
namespace {

constexpr int kBacklog = 4096;

std::string network_file(const std::string& proc, uint32_t pid) {
  return proc + "/" + std::to_string(pid) + "/ns/net";
}

}  // namespace

uint64_t network_of_process(const std::string& proc, uint32_t pid) {
  struct stat found{};
  return ::stat(network_file(proc, pid).c_str(), &found) == 0 ? found.st_ino : 0;
}

std::map<uint64_t, uint32_t> networks_of_processes(const std::string& proc) {
  std::map<uint64_t, uint32_t> networks;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(proc.c_str()), ::closedir);
  if (!folder) return networks;
  while (const dirent* const entry = ::readdir(folder.get())) {
    const char* const end = entry->d_name + std::strlen(entry->d_name);
    uint32_t pid = 0;
    if (const auto parsed = std::from_chars(entry->d_name, end, pid); parsed.ec != std::errc{} || parsed.ptr != end)
      continue;
    if (const uint64_t inode = network_of_process(proc, pid); inode != 0) networks.try_emplace(inode, pid);
  }
  return networks;
}

Result<UniqueFd> listen_on_loopback(Transport transport) {
  const int family = transport == Transport::kTcp4 ? AF_INET : AF_INET6;
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return Error::system("socket");
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_addr = in6addr_loopback;
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int yes = 1;
  // Who is accepted has the server's own port. Without this, which they inherit, a server that is started again could
  // not have it as long as one of them is open, or waits for its last packets.
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (family == AF_INET6) ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes);
  const auto* const address =
      family == AF_INET ? reinterpret_cast<const sockaddr*>(&v4) : reinterpret_cast<const sockaddr*>(&v6);
  const socklen_t bytes = family == AF_INET ? sizeof v4 : sizeof v6;
  if (::bind(fd.get(), address, bytes) != 0 || ::listen(fd.get(), kBacklog) != 0) return Error::system("listening");
  return fd;
}

Result<UniqueFd> listen_on_loopback_of(const std::string& proc, uint32_t pid, Transport transport) {
  const UniqueFd network(::open(network_file(proc, pid).c_str(), O_RDONLY | O_CLOEXEC));
  if (!network.valid()) return Error::system("a process's network namespace");
  std::optional<Result<UniqueFd>> listener;
  // A thread of its own: it need not find its way back.
  std::thread([&] {
    if (::setns(network.get(), CLONE_NEWNET) != 0)
      listener = tl::unexpected(Error::system("entering a network namespace"));
    else
      listener = listen_on_loopback(transport);
  }).join();
  return std::move(*listener);
}

}  // namespace gatehouse::shim
