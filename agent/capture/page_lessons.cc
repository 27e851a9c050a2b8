// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/page_lessons.h"

#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>

#include <bpf/libbpf.h>

#include "agent/capture/programs.h"
#include "bpf/gatehouse_abi.h"
#include "common/file.h"

namespace gatehouse::capture {
namespace {

constexpr size_t kPageBytes = 4096;
// One finds the place and all prove it. They come from all over the memory, so that a kernel which does not keep it in
// one row is noticed.
constexpr size_t kLessons = 64;

struct Connection {
  UniqueFd from, to;
};

Connection connect_to_self() {
  Connection connection;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof(address);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener.valid() || ::bind(listener.get(), generic, bytes) != 0 || ::listen(listener.get(), 1) != 0 ||
      ::getsockname(listener.get(), generic, &bytes) != 0)
    return connection;
  UniqueFd from(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!from.valid() || ::connect(from.get(), generic, bytes) != 0) return connection;
  connection.to = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (connection.to.valid()) connection.from = std::move(from);
  return connection;
}

using Marker = std::array<uint64_t, GH_MARKER_WORDS>;

// A file of pages, each with other random bytes at its beginning, which `markers` gets.
UniqueFd make_pages(std::array<Marker, kLessons>& markers) {
  UniqueFd file(::memfd_create("gatehouse-pages", MFD_CLOEXEC));
  for (size_t i = 0; file.valid() && i < kLessons; ++i) {
    Marker& marker = markers[i];
    if (::getrandom(marker.data(), sizeof(marker), 0) != static_cast<ssize_t>(sizeof(marker)) ||
        ::pwrite(file.get(), marker.data(), sizeof(marker), static_cast<off_t>(i * kPageBytes)) !=
            static_cast<ssize_t>(sizeof(marker)) ||
        ::ftruncate(file.get(), static_cast<off_t>((i + 1) * kPageBytes)) != 0)
      file.reset();
  }
  return file;
}

bool send_page(const Connection& connection, int file, size_t number) {
  std::array<char, kPageBytes> received{};
  auto from = static_cast<off_t>(number * kPageBytes);
  if (::sendfile(connection.from.get(), file, &from, kPageBytes) != static_cast<ssize_t>(kPageBytes)) return false;
  return ::recv(connection.to.get(), received.data(), kPageBytes, MSG_WAITALL) == static_cast<ssize_t>(kPageBytes);
}

// Memory need not be in one row: there are holes for devices.
uint32_t address_space_gigabytes() {
  const auto bytes = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * kPageBytes;
  return static_cast<uint32_t>(2 * (bytes >> 30) + 16);
}

}  // namespace

uint64_t learn_page_origin(const Programs& programs) {
  if (::sysconf(_SC_PAGESIZE) != static_cast<long>(kPageBytes)) return 0;
  const SharedVariables& shared = programs.shared();
  const Connection connection = connect_to_self();
  std::array<Marker, kLessons> markers;
  const UniqueFd file = make_pages(markers);
  uint64_t cookie = 0;
  socklen_t bytes = sizeof(cookie);
  if (!connection.from.valid() || !file.valid() ||
      ::getsockopt(connection.from.get(), SOL_SOCKET, SO_COOKIE, &cookie, &bytes) != 0)
    return 0;
  *shared.lesson_socket = cookie;
  *shared.lesson_gigabytes = address_space_gigabytes();
  bpf_link* const link = bpf_program__attach(programs.program("learn_pages"));
  if (link == nullptr) return 0;
  size_t right = 0;
  for (; right < kLessons; ++right) {
    const uint32_t before = *shared.lessons_right;
    std::memcpy(shared.lesson_marker, markers[right].data(), sizeof(Marker));
    // The program, which runs in the call that follows, shares this memory.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (!send_page(connection, file.get(), right) || std::atomic_ref(*shared.lessons_right).load() == before) break;
  }
  bpf_link__destroy(link);
  return right == kLessons ? *shared.lesson_origin : 0;
}

}  // namespace gatehouse::capture
