// SPDX-License-Identifier: Apache-2.0
#include "collector/ledger/reserve.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "common/file.h"

namespace gatehouse::ledger {

// A file of the full length has the room: what is cut short by a crash is shorter, and without room there is no file.
void Reserve::refill() const {
  struct stat now{};
  const bool is_there = ::stat(path_.c_str(), &now) == 0;
  if (bytes_ == 0) {
    if (is_there) ::unlink(path_.c_str());
    return;
  }
  if (is_there && static_cast<uint64_t>(now.st_size) == bytes_) return;
  const auto fd = open_file(path_, O_WRONLY | O_CREAT);
  if (!fd) return;
  const auto bytes = static_cast<off_t>(bytes_);
  if (::posix_fallocate(fd->get(), 0, bytes) != 0 || ::ftruncate(fd->get(), bytes) != 0) ::unlink(path_.c_str());
}

Status Reserve::write_file(const std::string& path, std::string_view content) const {
  Status written = write_file_atomically(path, content);
  if (written || content.size() > bytes_) return written;
  if (write_in_place(path, content)) return {};
  return written;
}

Status Reserve::write_in_place(const std::string& path, std::string_view content) const {
  GH_ASSIGN(const UniqueFd fd, open_file(path_, O_WRONLY));
  GH_TRY(write_all(fd.get(), as_bytes(content)));
  if (::ftruncate(fd.get(), static_cast<off_t>(content.size())) != 0 || ::fsync(fd.get()) != 0)
    return Error::system(path_);
  if (::rename(path_.c_str(), path.c_str()) != 0) return Error::system(path);
  return sync_directory(std::filesystem::path(path).parent_path().string());
}

}  // namespace gatehouse::ledger
