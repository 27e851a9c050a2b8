// SPDX-License-Identifier: Apache-2.0
// Files: an owned descriptor and the few durable operations that spool, ledger and key store need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/result.h"

namespace gatehouse {

// Owns a file descriptor; closes it. Movable, not copyable.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  void reset();

 private:
  int fd_ = -1;
};

// open(2) with O_CLOEXEC added; the error names the path.
Result<UniqueFd> open_file(const std::string& path, int flags, unsigned mode = 0600);
// Whole file, refused above `bytes_max`.
Result<std::string> read_file(const std::string& path, size_t bytes_max);
// All of `bytes`, through short writes and EINTR. Partial on error.
Status write_all(int fd, std::span<const std::byte> bytes);
Status sync_data(int fd);                        // fdatasync
Status sync_directory(const std::string& path);  // fsync of a directory: makes create, rename and unlink durable
Status make_directories(const std::string& path, unsigned mode = 0700);
// Temporary file, fsync, rename, fsync of the folder: readers see the old or the new content, never a part.
Status write_file_atomically(const std::string& path, std::string_view content, unsigned mode = 0600);
struct FileContent {
  std::string path;
  std::string_view content;
};
// Each of them so, in this order, but none is replaced before there is room for all. A crash may come between two.
Status write_files(std::span<const FileContent> files, unsigned mode = 0600);
// Exclusive advisory lock for the life of the returned descriptor; an error that names `path` if another holds it.
Result<UniqueFd> lock_file(const std::string& path);

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span{text.data(), text.size()});
}

}  // namespace gatehouse
