// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/proc_reader.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <memory>

#include "agent/identity/arguments.h"
#include "agent/identity/cgroup.h"
#include "agent/identity/names.h"
#include "common/file.h"
#include "common/limits.h"

namespace gatehouse::identity {
namespace {

template <typename T>
std::optional<T> to_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The file's beginning; files of /proc have no size.
std::optional<std::string> read_start(const std::string& path, size_t bytes_max) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return std::nullopt;
  std::string text(bytes_max, '\0');
  size_t filled = 0;
  while (filled < text.size()) {
    const ssize_t got = ::read(fd.get(), text.data() + filled, text.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    filled += static_cast<size_t>(got);
  }
  text.resize(filled);
  return text;
}

std::string read_link(const std::string& path) {
  std::array<char, 4096> target;
  const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
  return size < 0 ? "" : std::string(target.data(), static_cast<size_t>(size));
}

// "pid:[4026531836]"
uint32_t read_namespace(const std::string& path) {
  const std::string link = read_link(path);
  const size_t open = link.find('[');
  if (open == std::string::npos || link.back() != ']') return 0;
  return to_number<uint32_t>(std::string_view(link).substr(open + 1, link.size() - open - 2)).value_or(0);
}

uint32_t read_number(const std::string& path, uint32_t otherwise) {
  std::optional<std::string> text = read_start(path, 32);
  if (!text) return otherwise;
  while (text->ends_with('\n')) text->pop_back();
  return to_number<uint32_t>(*text).value_or(otherwise);
}

// The nth number of a line: "\nUid:\t1000\t1000\t1000\t1000". `name` begins with the line's end before it, which a
// process cannot put into its own name.
std::optional<uint32_t> status_number(std::string_view status, std::string_view name, size_t index) {
  const size_t at = status.find(name);
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view line = status.substr(at + name.size());
  line = line.substr(0, line.find('\n'));
  for (size_t i = 0;; ++i) {
    const size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string_view::npos) return std::nullopt;
    const size_t end = std::min(line.find_first_of(" \t", begin), line.size());
    if (i == index) return to_number<uint32_t>(line.substr(begin, end - begin));
    line.remove_prefix(end);
  }
}

void read_executable(const std::string& folder, Process& process) {
  constexpr std::string_view kDeleted = " (deleted)";
  process.exe = read_link(folder + "/exe");
  struct stat status{};
  if (::stat((folder + "/exe").c_str(), &status) == 0) {
    process.exe_inode = status.st_ino;
    process.exe_device = kernel_device(status.st_dev);
    process.exe_deleted = status.st_nlink == 0;
  } else {
    process.exe_deleted = process.exe.ends_with(kDeleted);
  }
  if (process.exe_deleted && process.exe.ends_with(kDeleted)) process.exe.resize(process.exe.size() - kDeleted.size());
}

}  // namespace

std::optional<ProcStat> parse_proc_stat(std::string_view text) {
  // pid (name) state ppid pgrp session tty_nr … starttime is the 22nd field.
  constexpr size_t kParent = 1, kTty = 4, kStart = 19;  // counted from the state
  const size_t close = text.rfind(')');
  if (close == std::string_view::npos) return std::nullopt;
  std::string_view rest = text.substr(close + 1);
  ProcStat stat;
  for (size_t field = 0; field <= kStart; ++field) {
    const size_t begin = rest.find_first_not_of(' ');
    if (begin == std::string_view::npos) return std::nullopt;
    rest.remove_prefix(begin);
    const std::string_view value = rest.substr(0, rest.find_first_of(" \n"));
    rest.remove_prefix(value.size());
    if (field == kParent) {
      const auto parent = to_number<uint32_t>(value);
      if (!parent) return std::nullopt;
      stat.parent_pid = *parent;
    } else if (field == kTty) {
      stat.tty = kernel_device(static_cast<uint32_t>(to_number<int32_t>(value).value_or(0)));
    } else if (field == kStart) {
      const auto start = to_number<uint64_t>(value);
      if (!start) return std::nullopt;
      stat.start_ticks = *start;
    }
  }
  return stat;
}

std::optional<uint64_t> read_start_ticks(const std::string& proc_root, uint32_t pid) {
  const auto text = read_start(proc_root + "/" + std::to_string(pid) + "/stat", 1024);
  const auto stat = text ? parse_proc_stat(*text) : std::nullopt;
  if (!stat) return std::nullopt;
  return stat->start_ticks;
}

std::optional<std::string> read_title(const std::string& proc_root, uint32_t pid) {
  constexpr size_t kTitleBytesMax = 4096;
  return read_start(proc_root + "/" + std::to_string(pid) + "/cmdline", kTitleBytesMax);
}

std::optional<ProcCredentials> read_credentials(const std::string& proc_root, uint32_t pid) {
  const auto status = read_start(proc_root + "/" + std::to_string(pid) + "/status", 4096);
  if (!status) return std::nullopt;
  const auto uid = status_number(*status, "\nUid:", 0);
  const auto euid = status_number(*status, "\nUid:", 1);
  const auto gid = status_number(*status, "\nGid:", 0);
  if (!uid || !euid || !gid) return std::nullopt;
  return ProcCredentials{*uid, *euid, *gid};
}

std::string read_cgroup_path(const std::string& proc_root, uint32_t pid, bool& unified_only) {
  const auto text = read_start(proc_root + "/" + std::to_string(pid) + "/cgroup", 16U << 10);
  if (!text || text->empty()) return "";
  unified_only = text->starts_with("0::") && text->find('\n') == text->size() - 1;
  return choose_cgroup_path(*text);
}

std::optional<ProcProcess> read_process(const std::string& proc_root, uint32_t pid) {
  const std::string folder = proc_root + "/" + std::to_string(pid);
  const auto stat_text = read_start(folder + "/stat", 1024);
  const auto stat = stat_text ? parse_proc_stat(*stat_text) : std::nullopt;
  if (!stat) return std::nullopt;
  ProcProcess found;
  found.parent_pid = stat->parent_pid;
  Process& process = found.process;
  process.key = {.pid = pid, .start_ns = stat->start_ticks * kTickNs};
  process.snapshot = true;
  read_executable(folder, process);
  if (process.exe.empty()) return std::nullopt;
  if (const auto arguments = read_start(folder + "/cmdline", kArgumentsBytesMax))
    process.arguments = split_arguments(*arguments);
  process.cwd = read_link(folder + "/cwd");
  process.uid = process.euid = process.gid = UINT32_MAX;  // unknown is not root
  if (const auto credentials = read_credentials(proc_root, pid)) {
    process.uid = credentials->uid;
    process.euid = credentials->euid;
    process.gid = credentials->gid;
  }
  process.loginuid = read_number(folder + "/loginuid", UINT32_MAX);
  process.audit_session = read_number(folder + "/sessionid", UINT32_MAX);
  process.tty = tty_name(stat->tty);
  bool unified_only = false;
  process.cgroup = read_cgroup_path(proc_root, pid, unified_only);
  CgroupNames names = parse_cgroup_path(process.cgroup);
  process.systemd_unit = std::move(names.systemd_unit);
  process.container_id = std::move(names.container_id);
  process.pod_uid = std::move(names.pod_uid);
  process.pid_namespace = read_namespace(folder + "/ns/pid");
  process.mount_namespace = read_namespace(folder + "/ns/mnt");
  process.net_namespace = read_namespace(folder + "/ns/net");
  // The pid may have been reused between the first and the last file.
  if (read_start_ticks(proc_root, pid) != stat->start_ticks) return std::nullopt;
  return found;
}

std::vector<uint32_t> list_pids(const std::string& proc_root) {
  struct Close {
    void operator()(DIR* folder) const { ::closedir(folder); }
  };
  std::vector<uint32_t> pids;
  const std::unique_ptr<DIR, Close> folder(::opendir(proc_root.c_str()));
  if (!folder) return pids;
  while (const dirent* const entry = ::readdir(folder.get()))
    if (const auto pid = to_number<uint32_t>(entry->d_name); pid && *pid != 0) pids.push_back(*pid);
  return pids;
}

}  // namespace gatehouse::identity
