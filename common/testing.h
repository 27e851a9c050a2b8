// SPDX-License-Identifier: Apache-2.0
// For tests: a folder that goes away, files that cannot grow, and disks that are full.
#pragma once

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "common/check.h"

namespace gatehouse::test {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "gatehouse-test-XXXXXX").string();
    GH_CHECK(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// No file of this process grows beyond `bytes`, as on a full disk; RLIM_INFINITY: there is room again.
inline void limit_files(rlim_t bytes) {
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{bytes, RLIM_INFINITY};
  GH_CHECK(::setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

// Runs `body` in a process of its own, which has a file system of `bytes` at `folder`, and nobody else has. Returns
// what `body` does, or nothing where such a process may not be made.
inline std::optional<int> on_small_disk(const std::string& folder, size_t bytes, const std::function<int()>& body) {
  constexpr int kMayNot = 255;
  std::fflush(nullptr);
  const pid_t child = ::fork();
  GH_CHECK(child >= 0);
  if (child == 0) {
    const std::string options = "mode=0700,size=" + std::to_string(bytes);
    const int spaces = CLONE_NEWNS | (::geteuid() == 0 ? 0 : CLONE_NEWUSER);
    if (::unshare(spaces) != 0 || ::mount("none", "/", "none", MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", folder.c_str(), "tmpfs", 0, options.c_str()) != 0)
      ::_exit(kMayNot);
    ::_exit(body());
  }
  int status = 0;
  GH_CHECK(::waitpid(child, &status, 0) == child);
  if (!WIFEXITED(status)) return -1;
  return WEXITSTATUS(status) == kMayNot ? std::nullopt : std::optional(WEXITSTATUS(status));
}

// Leaves not a byte on the disk of `folder`. Returns the file that took them.
inline std::string fill_disk(const std::string& folder) {
  const std::string path = folder + "/ballast";
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  GH_CHECK(fd >= 0);
  const std::string block(4096, '.');
  for (size_t bytes = block.size(); bytes > 0;)
    if (::write(fd, block.data(), bytes) < 0) bytes /= 2;
  ::close(fd);
  return path;
}

}  // namespace gatehouse::test
