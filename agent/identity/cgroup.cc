// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/cgroup.h"

#include <algorithm>
#include <array>

namespace gatehouse::identity {
namespace {

constexpr size_t kContainerIdDigits = 64;

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// "<64 hex>", or with one of the runtimes' prefixes and perhaps ".scope": "cri-containerd-<64 hex>.scope",
// "kubepods-….slice:cri-containerd:<64 hex>".
std::string_view container_of(std::string_view part) {
  if (part.ends_with(".scope")) part.remove_suffix(6);
  if (part.size() < kContainerIdDigits) return "";
  const std::string_view id = part.substr(part.size() - kContainerIdDigits);
  if (!is_hex(id)) return "";
  const std::string_view prefix = part.substr(0, part.size() - kContainerIdDigits);
  if (prefix.empty()) return id;
  if (prefix.back() != '-' && prefix.back() != ':') return "";
  return prefix.find("conmon") == std::string_view::npos ? id : "";
}

// "lxc.payload.<name>"; "lxc" and "lxc.payload" are parents of "<name>".
std::string_view lxc_of(std::string_view part, std::string_view parent) {
  constexpr std::string_view kPayload = "lxc.payload.";
  if (part.starts_with(kPayload)) return part.substr(kPayload.size());
  return parent == "lxc" || parent == "lxc.payload" ? part : "";
}

// "pod<uid>", "kubepods-burstable-pod<uid with underscores>.slice". A static pod's uid is 32 digits without dashes.
std::string pod_of(std::string_view part) {
  if (const size_t colon = part.find(':'); colon != std::string_view::npos) part = part.substr(0, colon);
  const bool slice = part.starts_with("kubepods-") && part.ends_with(".slice");
  if (slice) part = part.substr(0, part.size() - 6);
  const size_t at = slice ? part.rfind("-pod") : 0;
  if (at == std::string_view::npos) return "";
  part.remove_prefix(slice ? at + 1 : 0);
  if (!part.starts_with("pod")) return "";
  std::string uid(part.substr(3));
  std::ranges::replace(uid, '_', '-');
  constexpr std::array<size_t, 4> kDashes{8, 13, 18, 23};
  std::string digits = uid;
  std::erase(digits, '-');
  if (digits.size() != 32 || !is_hex(digits)) return "";
  if (uid.size() == 32) return uid;
  const bool dashed = uid.size() == 36 && std::ranges::all_of(kDashes, [&](size_t dash) { return uid[dash] == '-'; });
  return dashed ? uid : "";
}

}  // namespace

CgroupNames parse_cgroup_path(std::string_view path) {
  CgroupNames names;
  std::string_view parent;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    path = slash == std::string_view::npos ? "" : path.substr(slash + 1);
    if (part.empty()) continue;
    if (part.ends_with(".service") || part.ends_with(".scope")) names.systemd_unit = part;
    if (const std::string_view container = container_of(part); !container.empty()) names.container_id = container;
    if (const std::string_view container = lxc_of(part, parent); !container.empty()) names.container_id = container;
    if (std::string pod = pod_of(part); !pod.empty()) names.pod_uid = std::move(pod);
    parent = part;
  }
  return names;
}

std::string choose_cgroup_path(std::string_view proc_cgroup) {
  constexpr std::string_view kDeleted = " (deleted)";
  std::string_view unified, systemd, longest;
  while (!proc_cgroup.empty()) {
    const size_t end = proc_cgroup.find('\n');
    std::string_view line = proc_cgroup.substr(0, end);
    proc_cgroup = end == std::string_view::npos ? "" : proc_cgroup.substr(end + 1);
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    std::string_view path = line.substr(second + 1);
    if (path.ends_with(kDeleted)) path.remove_suffix(kDeleted.size());
    if (path == "/") continue;
    if (line.substr(0, second) == "0:") unified = path;
    if (controllers == "name=systemd") systemd = path;
    if (path.size() > longest.size()) longest = path;
  }
  if (!unified.empty()) return std::string(unified);
  if (!systemd.empty()) return std::string(systemd);
  return longest.empty() ? "/" : std::string(longest);
}

}  // namespace gatehouse::identity
