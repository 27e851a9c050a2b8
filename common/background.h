// SPDX-License-Identifier: Apache-2.0
// Background: one thread of low priority that turns jobs into results, for work that may block (files, name services)
// and that its owner can do without for a while. The only thing shared is the two queues below.
#pragma once

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace gatehouse {

// `Job` and `Done` are movable. push() and take() belong to one thread, the owner's.
template <typename Job, typename Done>
class Background {
 public:
  // `work` runs on the thread, one job at a time, in the order of push(). At most `jobs_max` jobs wait.
  Background(size_t jobs_max, std::function<Done(Job)> work)
      : jobs_max_(jobs_max), work_(std::move(work)), thread_([this] { run(); }) {}
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;
  // Waits for the job that is running and drops those that wait.
  ~Background() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  // False: too many jobs wait; the job is dropped.
  [[nodiscard]] bool push(Job job) {
    {
      const std::lock_guard lock(mutex_);
      if (jobs_.size() >= jobs_max_) return false;
      jobs_.push_back(std::move(job));
      pending_.fetch_add(1, std::memory_order_relaxed);
    }
    wake_.notify_one();
    return true;
  }

  // Appends what is finished. Without a lock when nothing is.
  void take(std::vector<Done>& out) {
    if (finished_.load(std::memory_order_acquire) == 0) return;
    const std::lock_guard lock(mutex_);
    for (Done& done : done_) out.push_back(std::move(done));
    pending_.fetch_sub(done_.size(), std::memory_order_relaxed);
    done_.clear();
    finished_.store(0, std::memory_order_relaxed);
  }

  // Jobs whose results have not been taken.
  [[nodiscard]] size_t pending() const { return pending_.load(std::memory_order_relaxed); }

 private:
  void run() {
    constexpr int kNice = 10;  // behind everything that somebody waits for
    ::setpriority(PRIO_PROCESS, static_cast<id_t>(::syscall(SYS_gettid)), kNice);
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
      if (stopping_) return;
      Job job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      Done done = work_(std::move(job));
      lock.lock();
      done_.push_back(std::move(done));
      finished_.store(done_.size(), std::memory_order_release);
    }
  }

  const size_t jobs_max_;
  const std::function<Done(Job)> work_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;    // under mutex_
  std::vector<Done> done_;  // under mutex_
  bool stopping_ = false;   // under mutex_
  std::atomic<size_t> finished_{0};
  std::atomic<size_t> pending_{0};
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace gatehouse
