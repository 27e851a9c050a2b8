// SPDX-License-Identifier: Apache-2.0
#include "common/file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace gatehouse {

void UniqueFd::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<UniqueFd> open_file(const std::string& path, int flags, unsigned mode) {
  const int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) return Error::system(path);
  return UniqueFd(fd);
}

Result<std::string> read_file(const std::string& path, size_t bytes_max) {
  GH_ASSIGN(const UniqueFd fd, open_file(path, O_RDONLY));
  std::string content;
  char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::system(path);
    if (got == 0) return content;
    content.append(buffer, static_cast<size_t>(got));
    if (content.size() > bytes_max) return Error(path + ": larger than " + std::to_string(bytes_max) + " bytes");
  }
}

Status write_all(int fd, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return Error::system("write");
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
  return {};
}

Status sync_data(int fd) {
  if (::fdatasync(fd) != 0) return Error::system("fdatasync");
  return {};
}

Status sync_directory(const std::string& path) {
  GH_ASSIGN(const UniqueFd fd, open_file(path, O_RDONLY | O_DIRECTORY));
  if (::fsync(fd.get()) != 0) return Error::system("fsync " + path);
  return {};
}

Status make_directories(const std::string& path, unsigned mode) {
  std::error_code error;
  const bool existed = std::filesystem::exists(path, error);
  std::filesystem::create_directories(path, error);
  if (error) return Error(path + ": " + error.message());
  if (!existed && ::chmod(path.c_str(), mode) != 0) return Error::system(path);
  return {};
}

Status write_file_atomically(const std::string& path, std::string_view content, unsigned mode) {
  const std::string temporary = path + ".tmp";
  {
    GH_ASSIGN(const UniqueFd fd, open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode));
    GH_TRY(write_all(fd.get(), as_bytes(content)).context(temporary));
    if (::fsync(fd.get()) != 0) return Error::system("fsync " + temporary);
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return Error::system(path);
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return sync_directory(folder.empty() ? "." : folder);
}

Result<UniqueFd> lock_file(const std::string& path) {
  GH_ASSIGN(UniqueFd fd, open_file(path, O_RDWR | O_CREAT));
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return Error(path + ": held by another running process; stop it first");
    return Error::system(path);
  }
  return fd;
}

}  // namespace gatehouse
