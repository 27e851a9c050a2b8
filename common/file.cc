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

namespace {

std::string temporary_of(const std::string& path) {
  return path + ".tmp";
}

// What cannot be written whole takes no room.
Status write_temporary(const std::string& path, std::string_view content, unsigned mode) {
  const std::string temporary = temporary_of(path);
  GH_ASSIGN(const UniqueFd fd, open_file(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode));
  Status written = write_all(fd.get(), as_bytes(content)).context(temporary);
  if (written && ::fsync(fd.get()) != 0) written = Error::system("fsync " + temporary);
  if (!written) ::unlink(temporary.c_str());
  return written;
}

}  // namespace

Status write_file_atomically(const std::string& path, std::string_view content, unsigned mode) {
  const FileContent one{.path = path, .content = content};
  return write_files({&one, 1}, mode);
}

Status write_files(std::span<const FileContent> files, unsigned mode) {
  for (size_t i = 0; i < files.size(); ++i) {
    Status written = write_temporary(files[i].path, files[i].content, mode);
    if (written) continue;
    for (const FileContent& before : files.first(i)) ::unlink(temporary_of(before.path).c_str());
    return written;
  }
  for (const FileContent& file : files)
    if (::rename(temporary_of(file.path).c_str(), file.path.c_str()) != 0) return Error::system(file.path);
  for (const FileContent& file : files) {
    const std::string folder = std::filesystem::path(file.path).parent_path().string();
    GH_TRY(sync_directory(folder.empty() ? "." : folder));
  }
  return {};
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
