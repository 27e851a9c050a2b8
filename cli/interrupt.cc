// SPDX-License-Identifier: Apache-2.0
#include "cli/interrupt.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <iterator>

#include "common/check.h"

namespace gatehouse::cli {

Interrupt::Interrupt() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signals_ = UniqueFd(signalfd(-1, &set, SFD_CLOEXEC));
  quit_ = UniqueFd(eventfd(0, EFD_CLOEXEC));
  GH_CHECK(signals_.valid() && quit_.valid());
  watcher_ = std::thread([this] { watch(); });
}

Interrupt::~Interrupt() {
  GH_CHECK(eventfd_write(quit_.get(), 1) == 0);
  watcher_.join();
}

void Interrupt::watch() {
  // Standard output is asked for no event: POLLERR and POLLHUP, which tell that its reader left, always come.
  pollfd fds[] = {{signals_.get(), POLLIN, 0}, {quit_.get(), POLLIN, 0}, {STDOUT_FILENO, 0, 0}};
  while (poll(fds, std::size(fds), -1) < 0 && errno == EINTR) {
  }
  if ((fds[1].revents & POLLIN) == 0) source_.request_stop();
}

}  // namespace gatehouse::cli
