// SPDX-License-Identifier: Apache-2.0
// SHA-256 of running programs, each file read once. Blocks on files: belongs to the background thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <tuple>

#include "common/process_key.h"

namespace gatehouse::identity {

struct Executable {
  ProcessKey process{};
  std::string path;
  uint64_t inode = 0;
  uint32_t device = 0;  // kernel's dev_t
};

class ExecutableDigests {
 public:
  ExecutableDigests(std::string proc_root, size_t digests_max) : proc_root_(std::move(proc_root)), max_(digests_max) {}

  // Lower-case hex; "" if the file that the process was started from cannot be had any more. Reads
  // /proc/PID/exe while it is that process and that inode (a deleted file or memfd too), else the path while inode
  // and device are the same.
  std::string digest(const Executable& executable);
  [[nodiscard]] size_t files_read() const { return files_read_; }

 private:
  // A file's content is taken to be the same while these are. The change time, unlike the modification time, cannot be
  // set back.
  using FileKey = std::tuple<uint64_t /*device*/, uint64_t /*inode*/, uint64_t /*size*/, int64_t, int64_t /*ctime*/>;
  std::string digest_of(int fd);

  std::string proc_root_;
  size_t max_;
  size_t files_read_ = 0;
  std::map<FileKey, std::string> known_;
  std::deque<FileKey> oldest_;
};

}  // namespace gatehouse::identity
