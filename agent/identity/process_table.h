// SPDX-License-Identifier: Apache-2.0
// ProcessTable: every process of the host that matters, by key, with its ancestry as it was at fork time.
//
// Fed by the kernel's records and, for what ran before, by /proc. Shard-local; one thread of its own reads executables
// and asks name services, and what it finds arrives through poll(). Bounded: see kProcessesMax.
//
// Identity is never taken from a process's name (comm), which a process sets at will.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/identity/executable_digests.h"
#include "agent/identity/names.h"
#include "agent/identity/process.h"
#include "agent/stream/records.h"
#include "common/background.h"
#include "common/limits.h"
#include "common/result.h"

namespace gatehouse::identity {

struct ProcessTableOptions {
  std::string proc_root = "/proc";          // empty: nothing of this host is looked at, as in a replay
  std::string passwd_path = "/etc/passwd";  // local users; others through the name services
  size_t processes_max = kProcessesMax;
  uint64_t exited_kept_ns = kExitedKeptNs;
};

struct ProcessTableCounters {
  uint64_t execs = 0, forks = 0, exits = 0;  // records
  uint64_t filled = 0;                       // read from /proc because no record told of them
  uint64_t images_lost = 0;                  // new images of which no record told
  uint64_t unknown = 0;                      // asked for, and neither a record nor /proc knows them
  uint64_t evicted = 0;                      // forgotten for want of room before their time
  uint64_t jobs_dropped = 0;                 // digests or names not asked for because too many wait
  uint64_t digests_missing = 0;              // the executable could not be read
};

using ProcessRef = std::shared_ptr<const Process>;

class ProcessTable {
 public:
  explicit ProcessTable(ProcessTableOptions options = {});
  ~ProcessTable();
  ProcessTable(const ProcessTable&) = delete;
  ProcessTable& operator=(const ProcessTable&) = delete;

  // Adds what runs now. Call it once the records flow, so that nothing starts unseen in between.
  Status snapshot();

  void on_exec(const ProcessExec& record);
  void on_fork(const ProcessFork& record);
  void on_exit(const ProcessExit& record);
  // A process runs something else and no record says what: /proc tells, or it is unknown from here on.
  void on_image_lost(const ProcessImageLost& loss);

  // The image that the process runs now; null if nobody knows it. The reference is good until the next call that is
  // not const; copy it to keep it. A known key costs no allocation. An unknown one is looked for in /proc once.
  const ProcessRef& find(const ProcessKey& key);

  // The same for a process that has just written as `uid`, which the kernel attests (UINT32_MAX: it does not). Where
  // that is not the user known so far, the process has changed it since, and has a new image.
  const ProcessRef& writer(const ProcessKey& key, uint32_t uid);

  // The image with that number, also if the process has another by now; the latest few are kept.
  const ProcessRef& image(const ImageKey& key);

  // What the process calls itself now, as `ps` shows it; empty if it has ended or cannot be asked. Reads /proc.
  [[nodiscard]] std::string title(const ProcessKey& key) const;

  // Parent, its parent, …, each with the image it ran when it forked. At most kAncestorsMax; `out` is overwritten.
  void ancestry(const ProcessKey& key, std::vector<ProcessRef>& out);

  // Takes what the background thread has found and forgets what is old. Appends to `changed` the processes whose
  // digest or user name has become known: find() gives the new object. Call it about every second or oftener.
  void poll(uint64_t now_ns, std::vector<ProcessKey>& changed);

  // Executables and names still being looked for.
  [[nodiscard]] size_t pending() const { return background_->pending(); }
  [[nodiscard]] size_t size() const { return by_key_.size(); }
  [[nodiscard]] const ProcessTableCounters& counters() const { return counters_; }

 private:
  struct Entry;
  struct Job;
  struct Done;
  using EntryList = std::list<Entry*>;

  Entry* lookup(const ProcessKey& key);
  Entry& obtain(const ProcessKey& key);
  Entry* obtain_known(const ProcessKey& key);
  Entry& insert(const ProcessKey& key);
  Entry& insert_from_proc(Process process);
  void claim_pid(Entry& entry);
  void replace_image(Entry& entry, std::shared_ptr<Process> image);
  Entry* fill(uint32_t pid, uint64_t ticks);
  void fill_ancestors(Entry& entry, uint32_t parent_pid);
  const ProcessRef& prepare(Entry& entry);
  void own_image(Entry& entry);
  void refresh_credentials(Entry& entry);
  void rekey(Entry& entry, const ProcessKey& key);
  void adopt(Entry& child, Entry* parent);
  void leave_parent(Entry& entry);
  void retire(Entry& entry, uint64_t time_ns);
  void erase(Entry& entry);
  void trim();
  void forget_old();
  void fill_cgroup(const ProcessExec& record, Process& process);
  void fill_user_names(Process& process);
  void ask(Entry& entry);
  bool apply(const Done& done);

  ProcessTableOptions options_;
  ProcessTableCounters counters_;
  uint64_t now_ns_ = 0;  // of the latest record or poll()
  std::unordered_map<ProcessKey, std::unique_ptr<Entry>> by_key_;
  std::unordered_map<uint32_t, Entry*> by_pid_;             // the newest of each pid
  EntryList kept_;                                          // running, or exited with children; oldest first
  EntryList retired_;                                       // exited without children; first to go first
  std::unordered_map<uint64_t, std::string> cgroup_paths_;  // by cgroup id
  bool unified_cgroups_only_ = false;
  UserNames users_;
  std::vector<Done> done_;
  std::unique_ptr<Background<Job, Done>> background_;
};

}  // namespace gatehouse::identity
