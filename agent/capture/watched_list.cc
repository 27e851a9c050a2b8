// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/watched_list.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "common/check.h"
#include "common/clock.h"

namespace gatehouse::capture {
namespace {

uint32_t inode_of(int fd) {
  struct stat status{};
  return ::fstat(fd, &status) == 0 ? static_cast<uint32_t>(status.st_ino) : 0;
}

}  // namespace

void WatchedLister::LinkDeleter::operator()(bpf_link* link) const {
  bpf_link__destroy(link);
}

WatchedLister::WatchedLister() = default;
WatchedLister::WatchedLister(WatchedLister&&) noexcept = default;
WatchedLister& WatchedLister::operator=(WatchedLister&&) noexcept = default;
WatchedLister::~WatchedLister() = default;

Result<WatchedLister> WatchedLister::open(const Programs& programs) {
  WatchedLister lister;
  lister.link_.reset(bpf_program__attach_iter(programs.program("list_watched"), nullptr));
  if (!lister.link_) return Error::system("capture: listing what is watched");
  GH_ASSIGN(lister.own_network_, open_file("/proc/self/ns/net", O_RDONLY));
  lister.own_inode_ = inode_of(lister.own_network_.get());
  return lister;
}

Status WatchedLister::list_here(std::vector<SocketId>& alive) {
  const UniqueFd run(bpf_iter_create(bpf_link__fd(link_.get())));
  if (!run.valid()) return Error::system("capture: listing what is watched");
  std::array<SocketId, 512> ids{};
  ssize_t bytes = 0;
  while ((bytes = read(run.get(), ids.data(), sizeof(ids))) > 0) {
    const size_t count = static_cast<size_t>(bytes) / sizeof(SocketId);
    alive.insert(alive.end(), ids.begin(), ids.begin() + static_cast<ptrdiff_t>(count));
  }
  if (bytes < 0) return Error::system("capture: listing what is watched");
  return {};
}

Status WatchedLister::list(std::span<const Network> others, WatchedList& out) {
  out.listed_ns = boottime_ns();
  out.alive.clear();
  out.networks.assign(1, own_inode_);
  GH_TRY(list_here(out.alive));
  for (const Network& other : others) {
    if (other.inode == own_inode_) continue;
    const auto network = open_file("/proc/" + std::to_string(other.pid) + "/ns/net", O_RDONLY);
    // The pid may be another process's by now.
    if (!network || inode_of(network->get()) != other.inode || ::setns(network->get(), CLONE_NEWNET) != 0) continue;
    const Status status = list_here(out.alive);
    GH_CHECK(::setns(own_network_.get(), CLONE_NEWNET) == 0);
    GH_TRY(Status(status));
    out.networks.push_back(other.inode);
  }
  std::ranges::sort(out.alive);
  return {};
}

}  // namespace gatehouse::capture
