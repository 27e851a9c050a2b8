// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/status_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "common/file.h"

namespace gatehouse::runtime {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kName = "agent.sock";
constexpr milliseconds kAnswerWait{5000};  // for the owner; it may be in the middle of its last flush
constexpr milliseconds kSendWait{5000};    // for an asker that does not read
constexpr size_t kAnswerBytesMax = 64U << 20;

// A path of a socket has at most 108 bytes, a folder's may be longer: it is reached through its descriptor.
struct Place {
  UniqueFd folder;
  sockaddr_un address{};
};

Result<Place> place_in(const std::string& folder) {
  Place place;
  GH_ASSIGN(place.folder, open_file(folder, O_PATH | O_DIRECTORY));
  place.address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(place.folder.get()) + "/" + std::string(kName);
  path.copy(place.address.sun_path, sizeof(place.address.sun_path) - 1);
  return place;
}

const sockaddr* generic(const Place& place) {
  return reinterpret_cast<const sockaddr*>(&place.address);
}

void limit_waits(int fd, milliseconds wait) {
  const timeval limit{.tv_sec = wait.count() / 1000, .tv_usec = wait.count() % 1000 * 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

void send_all(int fd, const std::string& bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const ssize_t sent = ::send(fd, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return;  // the asker is gone or asleep; it notices that the answer is not whole
    at += static_cast<size_t>(sent);
  }
}

}  // namespace

struct StatusSocket::State {
  void serve();
  void serve_one(int asker);

  Place place;
  UniqueFd listener, stop;
  std::atomic<bool> asked = false;
  std::mutex mutex;
  std::condition_variable answered;
  std::string answer;
  bool has_answer = false;
  bool is_stopping = false;
  std::thread thread;
};

void StatusSocket::State::serve() {
  for (;;) {
    std::array<pollfd, 2> fds{pollfd{listener.get(), POLLIN, 0}, pollfd{stop.get(), POLLIN, 0}};
    if (::poll(fds.data(), fds.size(), -1) < 0 && errno != EINTR) return;
    if (fds[1].revents != 0) return;
    if (fds[0].revents == 0) continue;
    const UniqueFd asker(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (asker.valid()) serve_one(asker.get());
  }
}

void StatusSocket::State::serve_one(int asker) {
  std::string bytes;
  {
    std::unique_lock lock(mutex);
    has_answer = false;
    asked.store(true, std::memory_order_release);
    answered.wait_for(lock, kAnswerWait, [&] { return has_answer || is_stopping; });
    asked.store(false, std::memory_order_release);
    if (!has_answer) return;
    bytes = std::move(answer);
  }
  limit_waits(asker, kSendWait);
  send_all(asker, bytes);
}

StatusSocket::StatusSocket(std::unique_ptr<State> state) : state_(std::move(state)) {}

Result<std::unique_ptr<StatusSocket>> StatusSocket::open(const std::string& folder) {
  auto state = std::make_unique<State>();
  GH_ASSIGN(state->place, place_in(folder));
  state->listener = UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  state->stop = UniqueFd(::eventfd(0, EFD_CLOEXEC));
  if (!state->listener.valid() || !state->stop.valid()) return Error::system("making a socket");
  ::unlink(state->place.address.sun_path);  // left by a run that was killed: the folder's lock says there is no other
  if (::bind(state->listener.get(), generic(state->place), sizeof(state->place.address)) != 0 ||
      ::chmod(state->place.address.sun_path, 0600) != 0 || ::listen(state->listener.get(), 4) != 0)
    return Error::system(folder + "/" + std::string(kName));
  state->thread = std::thread([&inner = *state] { inner.serve(); });
  return std::unique_ptr<StatusSocket>(new StatusSocket(std::move(state)));
}

StatusSocket::~StatusSocket() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->is_stopping = true;
  }
  state_->answered.notify_all();
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(state_->stop.get(), &one, sizeof(one));
  state_->thread.join();
  ::unlink(state_->place.address.sun_path);
}

bool StatusSocket::is_asked() const {
  return state_->asked.load(std::memory_order_acquire);
}

void StatusSocket::answer(std::string bytes) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->answer = std::move(bytes);
    state_->has_answer = true;
    state_->asked.store(false, std::memory_order_release);
  }
  state_->answered.notify_all();
}

Result<std::string> ask_status(const std::string& folder, milliseconds wait_max) {
  GH_ASSIGN(const Place place, place_in(folder));
  const UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return Error::system("making a socket");
  limit_waits(fd.get(), wait_max);
  if (::connect(fd.get(), generic(place), sizeof(place.address)) != 0)
    return Error::system(folder + "/" + std::string(kName));
  std::string bytes;
  std::array<char, 64U << 10> part{};
  for (;;) {
    const ssize_t got = ::recv(fd.get(), part.data(), part.size(), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::system("waiting for the agent's status");
    if (got == 0) break;
    bytes.append(part.data(), static_cast<size_t>(got));
    if (bytes.size() > kAnswerBytesMax) return Error("the agent's status is too large");
  }
  if (bytes.empty()) return Error("the agent does not answer");
  return bytes;
}

}  // namespace gatehouse::runtime
