// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/process_table.h"

#include <algorithm>

#include "agent/identity/arguments.h"
#include "agent/identity/cgroup.h"
#include "agent/identity/proc_reader.h"
#include "common/check.h"
#include "common/clock.h"

namespace gatehouse::identity {
namespace {

const ProcessRef kNobody;

// Cgroup paths remembered by id; a path read again costs one small file.
constexpr size_t kCgroupPathsMax = 4096;
// Entries looked at per call when old ones are forgotten, so that no call takes long.
constexpr size_t kForgottenPerCallMax = 256;
// Images that a process had before, kept for statements that are still running. A chain of programs that exec one
// another while the server answers is short.
constexpr size_t kFormerImagesMax = 4;

bool same_image(const Process& a, const Process& b) {
  return a.key == b.key && a.image_number == b.image_number;
}

}  // namespace

struct ProcessTable::Entry {
  ProcessKey key{};
  ProcessKey parent_key{};         // at fork time
  ProcessRef image;                // of this process, or of the ancestor that ran it until somebody asks; null: unknown
  ProcessRef parent_image;         // that the parent ran when it forked
  std::vector<ProcessRef> former;  // of this process, oldest first
  bool shares_credentials = false;  // `image` was copied from the parent's and shows the parent's user
  bool ready = false;               // `image` is this process's own, and what it lacks has been asked for
  bool rounded = false;             // the start time is known to the tick only
  bool exited = false;
  uint64_t exited_ns = 0;
  uint64_t used_ns = 0;

  Entry* parent = nullptr;
  Entry* first_child = nullptr;
  Entry* next_sibling = nullptr;
  Entry* previous_sibling = nullptr;
  EntryList::iterator place{};  // in kept_ or retired_
  bool retired = false;         // which of the two
};

struct ProcessTable::Job {
  Executable executable;
  uint32_t exec_number = 0;
  bool digest = false;
  std::vector<uint32_t> users;
};

struct ProcessTable::Done {
  ProcessKey process{};
  uint32_t exec_number = 0;
  bool digest = false;
  std::string sha256;
  std::vector<std::pair<uint32_t, std::string>> users;
};

ProcessTable::ProcessTable(ProcessTableOptions options)
    : options_(std::move(options)), now_ns_(boottime_ns()), users_(kUserNamesMax, kUserNameKeptNs) {
  users_.preload(options_.passwd_path, now_ns_);
  auto digests = std::make_shared<ExecutableDigests>(options_.proc_root, kExecutableDigestsMax);
  background_ = std::make_unique<Background<Job, Done>>(kIdentityJobsMax, [digests](const Job& job) {
    Done done{.process = job.executable.process, .exec_number = job.exec_number, .digest = job.digest};
    for (const uint32_t uid : job.users) done.users.emplace_back(uid, look_up_user(uid));
    if (job.digest) done.sha256 = digests->digest(job.executable);
    return done;
  });
}

ProcessTable::~ProcessTable() = default;

Status ProcessTable::snapshot() {
  const std::vector<uint32_t> pids = list_pids(options_.proc_root);
  if (pids.empty()) return Error(options_.proc_root + ": shows no processes; is it mounted?");
  for (const uint32_t pid : pids) {
    const auto known = by_pid_.find(pid);
    Entry* const entry = known != by_pid_.end() ? known->second : fill(pid, UINT64_MAX);
    if (entry != nullptr) prepare(*entry);
  }
  trim();
  return {};
}

void ProcessTable::on_exec(const ProcessExec& record) {
  ++counters_.execs;
  now_ns_ = std::max(now_ns_, record.time_ns);
  Entry& entry = obtain(record.process);
  if (entry.parent == nullptr && !entry.parent_key.known() && record.parent.known()) {
    entry.parent_key = record.parent;
    adopt(entry, obtain_known(record.parent));
  }
  auto process = std::make_shared<Process>();
  process->key = record.process;
  process->parent = entry.parent_key;
  // A child that shares its parent's image has none of its own to count from.
  const bool counts = entry.image != nullptr && entry.image->key == record.process;
  process->exec_number = (counts ? entry.image->exec_number : 0) + 1;
  process->exe = record.exe;
  process->exe_inode = record.exe_inode;
  process->exe_device = record.exe_device;
  process->exe_deleted = record.exe_links == 0;
  process->arguments = split_arguments(record.arguments);
  process->cwd = record.cwd;
  process->uid = record.uid;
  process->gid = record.gid;
  process->euid = record.euid;
  process->loginuid = record.loginuid;
  process->audit_session = record.audit_session;
  process->tty = tty_name(record.tty);
  process->pid_namespace = record.pid_namespace;
  process->mount_namespace = record.mount_namespace;
  process->net_namespace = record.net_namespace;
  process->exec_ns = record.time_ns;
  fill_cgroup(record, *process);
  fill_user_names(*process);
  if (counts)
    replace_image(entry, std::move(process));
  else
    entry.image = std::move(process);
  entry.shares_credentials = entry.ready = false;
  prepare(entry);
  trim();
}

void ProcessTable::on_fork(const ProcessFork& record) {
  if (record.child.pid == record.parent.pid) return;
  ++counters_.forks;
  now_ns_ = std::max(now_ns_, record.time_ns);
  Entry& child = obtain(record.child);
  child.parent_key = record.parent;
  adopt(child, obtain_known(record.parent));
  if (child.image == nullptr) child.image = child.parent_image;
  trim();
}

void ProcessTable::on_exit(const ProcessExit& record) {
  ++counters_.exits;
  now_ns_ = std::max(now_ns_, record.time_ns);
  if (Entry* const entry = lookup(record.process); entry != nullptr) retire(*entry, record.time_ns);
}

void ProcessTable::on_image_lost(const ProcessImageLost& loss) {
  ++counters_.images_lost;
  now_ns_ = std::max(now_ns_, loss.time_ns);
  Entry& entry = obtain(loss.process);
  const bool counts = entry.image != nullptr && entry.image->key == loss.process;
  const uint32_t exec_number = (counts ? entry.image->exec_number : 0) + 1;
  std::optional<ProcProcess> found = read_process(options_.proc_root, loss.process.pid);
  entry.shares_credentials = false;
  if (!found || found->process.key.start_ns / kTickNs != loss.process.start_ns / kTickNs) {
    entry.image = nullptr;
    entry.ready = true;  // nobody will know: it has exited
    return;
  }
  auto process = std::make_shared<Process>(std::move(found->process));
  process->key = loss.process;
  process->parent = entry.parent_key;
  process->exec_number = exec_number;
  fill_user_names(*process);
  if (counts)
    replace_image(entry, std::move(process));
  else
    entry.image = std::move(process);
  entry.ready = false;
  prepare(entry);
  trim();
}

const ProcessRef& ProcessTable::find(const ProcessKey& key) {
  if (const auto found = by_key_.find(key); found != by_key_.end()) [[likely]] {
    Entry& entry = *found->second;
    entry.used_ns = now_ns_;
    if (entry.ready) [[likely]]
      return entry.image;
    return prepare(entry);
  }
  if (!key.known()) return kNobody;
  trim();  // before, so that what is returned stays
  Entry* entry = obtain_known(key);
  if (entry == nullptr) {
    // Remembered as unknown, so that the next question costs a look-up. A late record still fills it in.
    ++counters_.unknown;
    entry = &insert(key);
    entry->ready = true;
    retire(*entry, now_ns_);
  }
  entry->used_ns = now_ns_;
  return prepare(*entry);
}

const ProcessRef& ProcessTable::writer(const ProcessKey& key, uint32_t uid) {
  const ProcessRef& known = find(key);
  if (known == nullptr || uid == UINT32_MAX || known->uid == uid) return known;
  Entry* const entry = lookup(key);
  GH_CHECK(entry != nullptr);
  auto process = std::make_shared<Process>(*known);
  process->uid = process->euid = uid;
  // The others change with it, mostly; what they are now is only true if it still is that user.
  const auto credentials = entry->exited ? std::nullopt : read_credentials(options_.proc_root, key.pid);
  if (credentials && credentials->uid == uid &&
      read_start_ticks(options_.proc_root, key.pid) == key.start_ns / kTickNs) {
    process->euid = credentials->euid;
    process->gid = credentials->gid;
  }
  fill_user_names(*process);
  replace_image(*entry, std::move(process));
  entry->ready = false;
  return prepare(*entry);
}

const ProcessRef& ProcessTable::image(const ImageKey& key) {
  const ProcessRef& present = find(key.process);
  if (present == nullptr || key.image == 0 || present->image_number == key.image) return present;
  const Entry* const entry = lookup(key.process);
  GH_CHECK(entry != nullptr);
  const auto former = std::ranges::find(entry->former, key.image, [](const ProcessRef& p) { return p->image_number; });
  return former != entry->former.end() ? *former : present;
}

std::string ProcessTable::title(const ProcessKey& key) const {
  if (options_.proc_root.empty() || !key.known()) return "";
  std::optional<std::string> text = read_title(options_.proc_root, key.pid);
  // Read before it is compared: the pid may have gone to another process meanwhile.
  if (!text || read_start_ticks(options_.proc_root, key.pid) != key.start_ns / kTickNs) return "";
  return *std::move(text);
}

void ProcessTable::ancestry(const ProcessKey& key, std::vector<ProcessRef>& out) {
  out.clear();
  if (!find(key)) return;
  for (const Entry* entry = lookup(key); entry != nullptr && out.size() < kAncestorsMax; entry = entry->parent) {
    if (entry->parent_image == nullptr) return;
    Entry* const parent = entry->parent;
    if (parent != nullptr) {
      parent->used_ns = now_ns_;
      // The parent's present object knows more of the same image.
      const ProcessRef& present = prepare(*parent);
      if (present != nullptr && same_image(*present, *entry->parent_image)) {
        out.push_back(present);
        continue;
      }
    }
    out.push_back(entry->parent_image);
  }
}

void ProcessTable::poll(uint64_t now_ns, std::vector<ProcessKey>& changed) {
  now_ns_ = std::max(now_ns_, now_ns);
  done_.clear();
  background_->take(done_);
  for (const Done& done : done_)
    if (apply(done)) changed.push_back(done.process);
  forget_old();
}

// By key, or by pid where the start time is known to the tick only and agrees.
ProcessTable::Entry* ProcessTable::lookup(const ProcessKey& key) {
  if (const auto found = by_key_.find(key); found != by_key_.end()) return found->second.get();
  const auto found = by_pid_.find(key.pid);
  if (found == by_pid_.end()) return nullptr;
  Entry* const entry = found->second;
  return entry->rounded && entry->key.start_ns / kTickNs == key.start_ns / kTickNs ? entry : nullptr;
}

// The entry of a process that a record says is alive.
ProcessTable::Entry& ProcessTable::obtain(const ProcessKey& key) {
  Entry* const known = lookup(key);
  Entry& entry = known != nullptr ? *known : insert(key);
  if (entry.rounded) rekey(entry, key);
  if (known == nullptr || (entry.exited && entry.image == nullptr)) claim_pid(entry);
  return entry;
}

// The entry of a process that a record or /proc knows, else null.
ProcessTable::Entry* ProcessTable::obtain_known(const ProcessKey& key) {
  if (!key.known()) return nullptr;
  Entry* entry = lookup(key);
  if (entry == nullptr) entry = fill(key.pid, key.start_ns / kTickNs);
  if (entry != nullptr && entry->rounded) rekey(*entry, key);
  return entry;
}

ProcessTable::Entry& ProcessTable::insert(const ProcessKey& key) {
  const auto [place, is_new] = by_key_.try_emplace(key);
  if (!is_new) return *place->second;
  place->second = std::make_unique<Entry>();
  Entry& entry = *place->second;
  entry.key = key;
  entry.used_ns = now_ns_;
  entry.place = kept_.insert(kept_.end(), &entry);
  return entry;
}

// The process is alive, so the pid is its own. A former owner has exited, whether a record said so or not.
void ProcessTable::claim_pid(Entry& entry) {
  entry.exited = false;
  if (entry.image == nullptr) entry.ready = false;
  if (entry.retired) kept_.splice(kept_.end(), retired_, entry.place);
  entry.retired = false;
  const auto [newest, is_free] = by_pid_.try_emplace(entry.key.pid, &entry);
  if (is_free || newest->second == &entry || newest->second->key.start_ns > entry.key.start_ns) return;
  Entry& former = *newest->second;
  newest->second = &entry;
  retire(former, now_ns_);
}

// Gives the process its next image and keeps the one it had.
void ProcessTable::replace_image(Entry& entry, std::shared_ptr<Process> image) {
  image->image_number = entry.image->image_number + 1;
  if (entry.former.size() == kFormerImagesMax) entry.former.erase(entry.former.begin());
  entry.former.push_back(std::move(entry.image));
  entry.image = std::move(image);
}

// Adds a process from /proc if it started in that tick (UINT64_MAX: any), with its ancestors.
ProcessTable::Entry* ProcessTable::fill(uint32_t pid, uint64_t ticks) {
  std::optional<ProcProcess> found = read_process(options_.proc_root, pid);
  if (!found || (ticks != UINT64_MAX && found->process.key.start_ns / kTickNs != ticks)) return nullptr;
  Entry& entry = insert_from_proc(std::move(found->process));
  fill_ancestors(entry, found->parent_pid);
  return &entry;
}

ProcessTable::Entry& ProcessTable::insert_from_proc(Process process) {
  ++counters_.filled;
  fill_user_names(process);
  Entry& entry = insert(process.key);
  entry.rounded = true;
  entry.ready = false;
  entry.image = std::make_shared<Process>(std::move(process));
  claim_pid(entry);
  return entry;
}

// Links a process from /proc to its parents there. They are who they are now: who reparented it cannot be told.
void ProcessTable::fill_ancestors(Entry& entry, uint32_t parent_pid) {
  Entry* child = &entry;
  for (size_t depth = 0; parent_pid != 0 && depth < kAncestorsMax; ++depth) {
    const auto known = by_pid_.find(parent_pid);
    Entry* parent = known == by_pid_.end() ? nullptr : known->second;
    const bool is_new = parent == nullptr;
    uint32_t grandparent_pid = 0;
    if (is_new) {
      std::optional<ProcProcess> found = read_process(options_.proc_root, parent_pid);
      if (!found) return;
      grandparent_pid = found->parent_pid;
      parent = &insert_from_proc(std::move(found->process));
    }
    if (parent == child || parent->key.start_ns / kTickNs > child->key.start_ns / kTickNs) return;
    child->parent_key = parent->key;
    adopt(*child, parent);
    if (!is_new) return;
    child = parent;
    parent_pid = grandparent_pid;
  }
}

// Makes an entry fit to be handed out: its image carries its own key, and what it lacks has been asked for.
const ProcessRef& ProcessTable::prepare(Entry& entry) {
  if (entry.ready) return entry.image;
  own_image(entry);
  if (entry.shares_credentials) refresh_credentials(entry);
  entry.ready = true;
  if (entry.image != nullptr) ask(entry);
  return entry.image;
}

// Gives a process that shares its parent's image, or lacks one, its own object.
void ProcessTable::own_image(Entry& entry) {
  if (entry.image == nullptr) {
    // Its fork was recorded, its parent is unknown: only /proc can tell.
    auto found = entry.exited ? std::nullopt : read_process(options_.proc_root, entry.key.pid);
    if (!found || found->process.key.start_ns / kTickNs != entry.key.start_ns / kTickNs) {
      ++counters_.unknown;
      return;
    }
    ++counters_.filled;
    fill_user_names(found->process);
    found->process.key = entry.key;
    found->process.parent = entry.parent_key;
    entry.image = std::make_shared<Process>(std::move(found->process));
    return;
  }
  if (entry.image->key == entry.key && entry.image->parent == entry.parent_key) return;
  const bool shared = entry.image->key != entry.key;
  const ProcessRef& newer = entry.parent != nullptr ? entry.parent->image : entry.image;
  const Process& base = shared && newer != nullptr && same_image(*newer, *entry.image) ? *newer : *entry.image;
  auto process = std::make_shared<Process>(base);
  process->key = entry.key;
  process->parent = entry.parent_key;
  if (shared) {
    process->exec_number = 0;
    process->image_number = 1;
    entry.shares_credentials = true;
  }
  entry.image = std::move(process);
}

// A forked child may have changed its user since: daemons fork as root and then let go of it.
void ProcessTable::refresh_credentials(Entry& entry) {
  entry.shares_credentials = false;
  if (entry.exited) return;
  const auto credentials = read_credentials(options_.proc_root, entry.key.pid);
  if (!credentials || read_start_ticks(options_.proc_root, entry.key.pid) != entry.key.start_ns / kTickNs) return;
  auto process = std::make_shared<Process>(*entry.image);
  process->uid = credentials->uid;
  process->euid = credentials->euid;
  process->gid = credentials->gid;
  fill_user_names(*process);
  entry.image = std::move(process);
}

// A record has told the exact start time of a process that /proc showed to the tick.
void ProcessTable::rekey(Entry& entry, const ProcessKey& key) {
  const auto node = by_key_.find(entry.key);
  GH_CHECK(node != by_key_.end());
  std::unique_ptr<Entry> owned = std::move(node->second);
  by_key_.erase(node);
  entry.key = key;
  entry.rounded = false;
  by_key_.emplace(key, std::move(owned));
  if (entry.image != nullptr) {
    auto process = std::make_shared<Process>(*entry.image);
    process->key = key;
    entry.image = std::move(process);
    entry.ready = false;
  }
  for (Entry* child = entry.first_child; child != nullptr; child = child->next_sibling) {
    child->parent_key = key;
    child->parent_image = entry.image;
    child->ready = false;  // its image names the parent
  }
}

void ProcessTable::adopt(Entry& child, Entry* parent) {
  leave_parent(child);
  child.parent = parent;
  if (parent == nullptr) return;
  own_image(*parent);
  child.parent_image = parent->image;
  child.next_sibling = parent->first_child;
  if (child.next_sibling != nullptr) child.next_sibling->previous_sibling = &child;
  parent->first_child = &child;
  if (parent->retired) {
    kept_.splice(kept_.end(), retired_, parent->place);
    parent->retired = false;
  }
}

void ProcessTable::leave_parent(Entry& entry) {
  Entry* const parent = entry.parent;
  if (parent == nullptr) return;
  if (entry.previous_sibling != nullptr)
    entry.previous_sibling->next_sibling = entry.next_sibling;
  else
    parent->first_child = entry.next_sibling;
  if (entry.next_sibling != nullptr) entry.next_sibling->previous_sibling = entry.previous_sibling;
  entry.parent = entry.next_sibling = entry.previous_sibling = nullptr;
  if (parent->exited && parent->first_child == nullptr) retire(*parent, parent->exited_ns);
}

// The process has exited. It stays while children need it for their ancestry, and a while for late records.
void ProcessTable::retire(Entry& entry, uint64_t time_ns) {
  entry.exited = true;
  entry.exited_ns = time_ns;
  if (const auto newest = by_pid_.find(entry.key.pid); newest != by_pid_.end() && newest->second == &entry)
    by_pid_.erase(newest);
  if (entry.first_child != nullptr || entry.retired) return;
  retired_.splice(retired_.end(), kept_, entry.place);
  entry.retired = true;
}

void ProcessTable::erase(Entry& entry) {
  for (Entry* child = entry.first_child; child != nullptr;) {
    Entry* const next = child->next_sibling;
    child->parent = child->next_sibling = child->previous_sibling = nullptr;  // parent_image stays: one level
    child = next;
  }
  entry.first_child = nullptr;
  leave_parent(entry);
  if (const auto newest = by_pid_.find(entry.key.pid); newest != by_pid_.end() && newest->second == &entry)
    by_pid_.erase(newest);
  (entry.retired ? retired_ : kept_).erase(entry.place);
  const ProcessKey key = entry.key;
  by_key_.erase(key);
}

// Back under the limit: the exited first, then the oldest that are nobody's parent.
void ProcessTable::trim() {
  while (by_key_.size() > options_.processes_max) {
    ++counters_.evicted;
    if (!retired_.empty()) {
      erase(*retired_.front());
      continue;
    }
    for (size_t looked_at = 0; looked_at < kForgottenPerCallMax; ++looked_at) {
      if (kept_.front()->first_child == nullptr) break;
      kept_.splice(kept_.end(), kept_, kept_.begin());
    }
    erase(*kept_.front());
  }
}

void ProcessTable::forget_old() {
  for (size_t looked_at = 0; looked_at < kForgottenPerCallMax && !retired_.empty(); ++looked_at) {
    Entry& entry = *retired_.front();
    if (entry.exited_ns + options_.exited_kept_ns > now_ns_) return;
    if (entry.used_ns + options_.exited_kept_ns > now_ns_) {
      retired_.splice(retired_.end(), retired_, entry.place);
      entry.exited_ns = entry.used_ns;  // its turn comes again when the use is as old
      continue;
    }
    erase(entry);
  }
}

void ProcessTable::fill_cgroup(const ProcessExec& record, Process& process) {
  std::string path(record.cgroup_path);
  // On hosts with v1 hierarchies the unified path is the root and says nothing.
  if (path.empty() || (path == "/" && !unified_cgroups_only_)) {
    const auto known = cgroup_paths_.find(record.cgroup_id);
    if (unified_cgroups_only_ && known != cgroup_paths_.end()) {
      path = known->second;
    } else if (std::string read = read_cgroup_path(options_.proc_root, record.process.pid, unified_cgroups_only_);
               !read.empty()) {
      path = std::move(read);
      if (cgroup_paths_.size() >= kCgroupPathsMax) cgroup_paths_.clear();
      if (unified_cgroups_only_ && record.cgroup_id != 0) cgroup_paths_[record.cgroup_id] = path;
    }
  }
  CgroupNames names = parse_cgroup_path(path);
  process.cgroup = std::move(path);
  process.systemd_unit = std::move(names.systemd_unit);
  process.container_id = std::move(names.container_id);
  process.pod_uid = std::move(names.pod_uid);
}

// From the cache; what it lacks, ask() asks for.
void ProcessTable::fill_user_names(Process& process) {
  process.user = users_.find(process.uid);
  process.login_user = process.loginuid == UINT32_MAX ? "" : users_.find(process.loginuid);
}

void ProcessTable::ask(Entry& entry) {
  if (options_.proc_root.empty()) return;
  const Process& process = *entry.image;
  Job job;
  job.digest = process.exe_sha256.empty() && process.exe_inode != 0;
  if (process.uid != UINT32_MAX && users_.is_due(process.uid, now_ns_)) job.users.push_back(process.uid);
  if (process.loginuid != UINT32_MAX && users_.is_due(process.loginuid, now_ns_)) job.users.push_back(process.loginuid);
  if (!job.digest && job.users.empty()) return;
  job.executable = {
      .process = process.key, .path = process.exe, .inode = process.exe_inode, .device = process.exe_device};
  job.exec_number = process.exec_number;
  if (background_->push(std::move(job))) return;
  ++counters_.jobs_dropped;
  entry.ready = false;  // asked again at the next use
}

// True if the process that runs now has got something new.
bool ProcessTable::apply(const Done& done) {
  for (const auto& [uid, name] : done.users) users_.put(uid, name, now_ns_);
  if (done.digest && done.sha256.empty()) ++counters_.digests_missing;
  Entry* const entry = lookup(done.process);
  if (entry == nullptr || entry->image == nullptr) return false;
  const auto better = [&](const Process& old) -> ProcessRef {
    auto process = std::make_shared<Process>(old);
    if (!done.sha256.empty()) process->exe_sha256 = done.sha256;
    fill_user_names(*process);
    return process;
  };
  const bool is_current = entry->image->exec_number == done.exec_number;
  const ProcessRef former = entry->image;
  if (is_current) entry->image = better(*entry->image);
  for (ProcessRef& image : entry->former)
    if (image->exec_number == done.exec_number) image = better(*image);
  // Children hold the image that their parent ran when it forked, which may be an earlier one.
  for (Entry* child = entry->first_child; child != nullptr; child = child->next_sibling)
    if (child->parent_image != nullptr && child->parent_image->exec_number == done.exec_number)
      child->parent_image = is_current ? entry->image : better(*child->parent_image);
  return is_current && (entry->image->exe_sha256 != former->exe_sha256 || entry->image->user != former->user ||
                        entry->image->login_user != former->login_user);
}

}  // namespace gatehouse::identity
