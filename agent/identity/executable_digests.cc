// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/executable_digests.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/identity/names.h"
#include "agent/identity/proc_reader.h"
#include "common/digest.h"
#include "common/file.h"
#include "common/limits.h"

namespace gatehouse::identity {
namespace {

// O_NONBLOCK: a path may have become a FIFO, which would never open.
UniqueFd open_regular(const std::string& path, struct stat& status) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (fd.valid() && (::fstat(fd.get(), &status) != 0 || !S_ISREG(status.st_mode))) fd.reset();
  return fd;
}

}  // namespace

std::string ExecutableDigests::digest(const Executable& executable) {
  struct stat status{};
  const uint32_t pid = executable.process.pid;
  UniqueFd fd = open_regular(proc_root_ + "/" + std::to_string(pid) + "/exe", status);
  // The start time is read after opening: what is open then belongs to this process. The inode tells its images apart.
  // The device is not compared here: overlay and btrfs show user space another one than the kernel's own.
  const bool same_process = fd.valid() && read_start_ticks(proc_root_, pid) == executable.process.start_ns / kTickNs;
  if (same_process && status.st_ino == executable.inode) return digest_of(fd.get());
  if (executable.path.empty() || executable.path.front() != '/') return "";
  fd = open_regular(executable.path, status);
  if (!fd.valid() || status.st_ino != executable.inode || kernel_device(status.st_dev) != executable.device) return "";
  return digest_of(fd.get());
}

std::string ExecutableDigests::digest_of(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return "";
  const FileKey key{status.st_dev, status.st_ino, static_cast<uint64_t>(status.st_size), status.st_ctim.tv_sec,
                    status.st_ctim.tv_nsec};
  if (const auto known = known_.find(key); known != known_.end()) return known->second;
  const Result<Sha256> digest = sha256_descriptor(fd, kExecutableBytesMax);
  if (!digest) return "";
  ++files_read_;
  if (known_.size() >= max_) {
    known_.erase(oldest_.front());
    oldest_.pop_front();
  }
  oldest_.push_back(key);
  return known_[key] = to_hex(*digest);
}

}  // namespace gatehouse::identity
