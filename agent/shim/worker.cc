// SPDX-License-Identifier: Apache-2.0
#include "agent/shim/worker.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <thread>
#include <utility>

#include "agent/protocol/postgres/wire.h"
#include "agent/shim/listener.h"
#include "agent/shim/loop.h"
#include "agent/shim/session.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

namespace gatehouse::shim {
namespace {

constexpr size_t kEventsPerTurnMax = 256;
constexpr int kTurnMsMax = 250;  // on_turn() is promised four times a second
// How long what must wait for others waits before it is tried again.
constexpr int kLaterMs = 2;
constexpr uint64_t kDeadlineCheckNs = 250'000'000;

// A descriptor whose events say no more than that there are some.
class Bell final : public Pollable {
 public:
  void on_events(uint32_t /*events*/) override { has_rung = true; }
  bool has_rung = false;
};

uint32_t own_network_namespace() {
  struct stat info{};
  return stat("/proc/thread-self/ns/net", &info) == 0 ? static_cast<uint32_t>(info.st_ino) : 0;
}

}  // namespace

void Loop::add(std::unique_ptr<Session> session) {
  session->slot = sessions.size();
  sessions.push_back(std::move(session));
  deadlines.push_back(UINT64_MAX);
  counters.sessions.store(sessions.size(), std::memory_order_relaxed);
}

void Loop::remove(Session& session) {
  const size_t slot = session.slot;
  GH_CHECK(slot < sessions.size() && sessions[slot].get() == &session);
  if (session.is_listed) {
    std::erase(again, &session);
    std::erase(later, &session);
  }
  ended.push_back(std::move(sessions[slot]));
  if (slot + 1 != sessions.size()) {
    sessions[slot] = std::move(sessions.back());
    sessions[slot]->slot = slot;
    deadlines[slot] = deadlines.back();
  }
  sessions.pop_back();
  deadlines.pop_back();
  counters.sessions.store(sessions.size(), std::memory_order_relaxed);
}

class Worker::Impl {
 public:
  Impl(Options options, Redirect* redirect, WorkerHost& host)
      : options_(std::move(options)), loop_(options_, redirect, host, counters_) {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    is_stopping_.store(true, std::memory_order_relaxed);
    if (!thread_.joinable()) return;
    const uint64_t one = 1;
    // An eventfd takes any number that it can count to.
    [[maybe_unused]] const ssize_t written = write(wake_fd_.get(), &one, sizeof(one));
    thread_.join();
  }

  Status open() {
    loop_.scratch.resize(std::max<size_t>(options_.buffer_bytes, postgres::kStartupFrameBytesMax));
    loop_.netns = own_network_namespace();
    // Listeners first: whatever fails, they are owned.
    doors_.reserve(options_.gated.size());
    for (size_t i = 0; i < options_.gated.size(); ++i) doors_.push_back({.gated = &options_.gated[i], .index = i});
    for (const Door& door : doors_) listeners_.push_back(std::make_unique<Listener>(loop_, door));
    epoll_ = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
    wake_fd_ = UniqueFd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (!epoll_.valid() || !wake_fd_.valid()) return Error::system("making an event loop");
    loop_.epoll = epoll_.get();
    for (Door& door : doors_) {
      GH_ASSIGN(door.tls, TlsContexts::load(*door.gated).context("database " + door.gated->label));
    }
    GH_TRY(poll_level(wake_fd_.get(), wake_));
    if (loop_.host.mail_fd() >= 0) GH_TRY(poll_level(loop_.host.mail_fd(), mail_));
    for (const auto& listener : listeners_) GH_TRY(listener->open());
    thread_ = std::thread([this] { run(); });
    return {};
  }

  [[nodiscard]] const WorkerCounters& counters() const { return counters_; }

  void add_listener(size_t index, UniqueFd listener) {
    {
      const std::lock_guard lock(mutex_);
      arrivals_.emplace_back(index, std::move(listener));
    }
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake_fd_.get(), &one, sizeof(one));
  }

 private:
  Status poll_level(int fd, Pollable& pollable) {
    epoll_event event{.events = EPOLLIN, .data = {.ptr = &pollable}};
    if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return Error::system("polling a descriptor");
    return {};
  }

  void run() {
    while (!is_stopping_.load(std::memory_order_relaxed)) turn();
    while (!loop_.sessions.empty()) loop_.sessions.back()->abandon();
    loop_.ended.clear();
  }

  void turn() {
    std::array<epoll_event, kEventsPerTurnMax> events;
    const int count = epoll_wait(epoll_.get(), events.data(), int{kEventsPerTurnMax}, wait_ms());
    GH_CHECK(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; ++i)
      static_cast<Pollable*>(events[static_cast<size_t>(i)].data.ptr)->on_events(events[static_cast<size_t>(i)].events);
    if (std::exchange(wake_.has_rung, false)) take_arrivals();
    if (std::exchange(mail_.has_rung, false)) loop_.host.on_mail();
    for (const auto& listener : listeners_)
      if (listener->is_due()) listener->accept_some();
    const uint64_t now_ns = boottime_ns();
    run_listed(loop_.again);
    if (now_ns >= later_ns_) {
      run_listed(loop_.later);
      later_ns_ = now_ns + kLaterMs * 1'000'000ULL;
    }
    if (now_ns >= next_check_ns_) check_deadlines(now_ns);
    loop_.host.on_turn(now_ns);
    loop_.ended.clear();
    std::erase_if(listeners_, [](const auto& listener) { return listener->is_over(); });
  }

  void take_arrivals() {
    uint64_t rings = 0;
    [[maybe_unused]] const ssize_t got = read(wake_fd_.get(), &rings, sizeof(rings));
    std::vector<std::pair<size_t, UniqueFd>> arrivals;
    {
      const std::lock_guard lock(mutex_);
      arrivals.swap(arrivals_);
    }
    for (auto& [index, socket] : arrivals) {
      auto listener = std::make_unique<Listener>(loop_, doors_[index], std::move(socket));
      if (const auto opened = listener->open(); !opened) {
        log::error("shim", "cannot listen for more clients", {{"reason", opened.error().message()}});
        continue;
      }
      listeners_.push_back(std::move(listener));
    }
  }

  [[nodiscard]] int wait_ms() const {
    if (!loop_.again.empty()) return 0;
    const bool is_due = std::ranges::any_of(listeners_, [](const auto& listener) { return listener->is_due(); });
    return is_due || !loop_.later.empty() ? kLaterMs : kTurnMsMax;
  }

  // Those that are listed again while this runs have their turn in the next.
  void run_listed(std::vector<Session*>& listed) {
    listed_.swap(listed);
    for (Session* session : listed_) {
      session->is_listed = false;
      session->run();
    }
    listed_.clear();
  }

  void check_deadlines(uint64_t now_ns) {
    next_check_ns_ = now_ns + kDeadlineCheckNs;
    // From the end: one that goes gives its place to the last.
    for (size_t slot = loop_.deadlines.size(); slot-- > 0;)
      if (slot < loop_.deadlines.size() && loop_.deadlines[slot] <= now_ns) loop_.sessions[slot]->on_deadline();
  }

  Options options_;
  WorkerCounters counters_;
  Loop loop_;
  std::vector<Door> doors_;
  UniqueFd epoll_, wake_fd_;
  Bell wake_, mail_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<Session*> listed_;
  uint64_t later_ns_ = 0, next_check_ns_ = 0;
  std::mutex mutex_;  // of arrivals_
  std::vector<std::pair<size_t, UniqueFd>> arrivals_;
  std::atomic<bool> is_stopping_{false};
  std::thread thread_;
};

Result<std::unique_ptr<Worker>> Worker::start(Options options, Redirect* redirect, WorkerHost& host) {
  std::unique_ptr<Worker> worker(new Worker);
  worker->impl_ = std::make_unique<Impl>(std::move(options), redirect, host);
  GH_TRY(worker->impl_->open());
  return worker;
}

Status Worker::check(const Gated& gated) {
  const UniqueFd listener(gated.listener);
  GH_ASSIGN(const auto contexts, TlsContexts::load(gated));
  return {};
}

Worker::~Worker() = default;

void Worker::add_listener(size_t index, UniqueFd listener) {
  impl_->add_listener(index, std::move(listener));
}

const WorkerCounters& Worker::counters() const {
  return impl_->counters();
}

}  // namespace gatehouse::shim
