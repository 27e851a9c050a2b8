// SPDX-License-Identifier: Apache-2.0
#include "cli/output.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <vector>

#include "common/file.h"

namespace gatehouse::cli {
namespace {

constexpr size_t kBufferBytes = 64U << 10;
constexpr size_t kFallbackWidth = 80;  // a terminal that does not tell

std::string wanted_pager() {
  if (const char* pager = std::getenv("PAGER"); pager != nullptr) return pager == std::string_view("cat") ? "" : pager;
  return "less -FRX";
}

}  // namespace

bool FdOutput::write(std::string_view text) {
  if (!open_) return false;
  buffer_ += text;
  return buffer_.size() < kBufferBytes || flush();
}

bool FdOutput::flush() {
  if (open_ && !buffer_.empty()) open_ = write_all(fd_, as_bytes(buffer_)).has_value();
  buffer_.clear();
  return open_;
}

Pager::Pager() {
  const std::string command = wanted_pager();
  int ends[2];
  if (command.empty() || pipe2(ends, O_CLOEXEC) != 0) return;
  // A pager that is not installed must not swallow the answer.
  const std::string name = command.substr(0, command.find(' '));
  const std::string script = "command -v \"$0\" >/dev/null || { cat; exit; }; " + command;
  setenv("LESS", "FRX", 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
  // The pager gets the default disposition of the signals that this process ignores.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t defaults;
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
  const char* arguments[] = {"sh", "-c", script.c_str(), name.c_str(), nullptr};
  if (posix_spawn(&pid_, "/bin/sh", &actions, &attributes, const_cast<char* const*>(arguments), environ) != 0)
    pid_ = -1;
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(ends[0]);
  if (pid_ <= 0) {
    close(ends[1]);
    return;
  }
  fd_ = ends[1];
  pipe_ = FdOutput(fd_);
  // Ctrl-C belongs to the pager, which stays on the screen: dying under it would leave two readers of the terminal.
  signal(SIGINT, SIG_IGN);
}

Pager::~Pager() {
  if (!started()) return;
  pipe_.flush();
  close(fd_);
  int status = 0;
  while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  signal(SIGINT, SIG_DFL);
}

size_t terminal_width(int fd) {
  if (isatty(fd) == 0) return 0;
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kFallbackWidth;
  return size.ws_col;
}

}  // namespace gatehouse::cli
