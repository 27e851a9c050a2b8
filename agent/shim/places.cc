// SPDX-License-Identifier: Apache-2.0
#include "agent/shim/places.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <system_error>

namespace gatehouse::shim {
namespace {

// Through which both are known on hosts that have the older name as a link.
constexpr std::string_view kRun = "/run/", kVarRun = "/var/run/";

std::string without_noise(std::string_view path) {
  std::string out;
  for (size_t i = 0; i < path.size(); ++i) {
    const bool after_slash = out.ends_with('/');
    if (after_slash && path[i] == '/') continue;
    if (after_slash && path[i] == '.' && i + 1 < path.size() && path[i + 1] == '/') {
      ++i;
      continue;
    }
    out += path[i];
  }
  return out;
}

void add(std::vector<abi::gh_path>& names, std::string_view name) {
  abi::gh_path path{};
  if (!to_path(name, path) || names.size() == GH_PATH_NAMES_MAX) return;
  const auto same = [&](const abi::gh_path& other) { return std::memcmp(&other, &path, sizeof(path)) == 0; };
  if (std::ranges::none_of(names, same)) names.push_back(path);
}

// mounts(5) writes blanks as octal.
std::string unescape(std::string_view field) {
  std::string out;
  for (size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '\\' && i + 3 < field.size()) {
      out += static_cast<char>((field[i + 1] - '0') * 64 + (field[i + 2] - '0') * 8 + (field[i + 3] - '0'));
      i += 3;
    } else {
      out += field[i];
    }
  }
  return out;
}

}  // namespace

bool to_path(std::string_view name, abi::gh_path& path) {
  path = {};
  if (name.size() < 2 || (name[0] != '/' && name[0] != '@')) return false;
  const bool is_abstract = name[0] == '@';
  const std::string clean = is_abstract ? std::string(name) : without_noise(name);
  // A path's NUL has its place too.
  if (clean.size() + (is_abstract ? 0 : 1) > sizeof(path.name)) return false;
  std::ranges::copy(clean, path.name);
  if (is_abstract) path.name[0] = '\0';
  path.bytes = static_cast<uint32_t>(clean.size());
  return true;
}

std::vector<abi::gh_path> path_names(const std::string& path) {
  std::vector<abi::gh_path> names;
  add(names, path);
  if (names.empty() || path[0] == '@') return names;
  std::error_code error;
  const std::filesystem::path given(without_noise(path));
  const std::filesystem::path folder = std::filesystem::canonical(given.parent_path(), error);
  const std::string real = error ? given.string() : (folder / given.filename()).string();
  add(names, real);
  if (real.starts_with(kRun) &&
      std::filesystem::canonical(kVarRun.substr(0, kVarRun.size() - 1), error) == kRun.substr(0, kRun.size() - 1))
    add(names, std::string(kVarRun) + real.substr(kRun.size()));
  return names;
}

bool to_path_in(const std::string& path, abi::gh_path_in& found) {
  found = {};
  if (!path.starts_with('/')) return false;
  const std::filesystem::path given(without_noise(path));
  const std::string name = given.filename().string();
  struct stat folder{};
  if (name.empty() || name.size() >= sizeof(found.name) || ::stat(given.parent_path().c_str(), &folder) != 0)
    return false;
  std::ranges::copy(name, found.name);
  found.bytes = static_cast<uint32_t>(name.size());
  found.folder_inode = folder.st_ino;
  found.folder_device = static_cast<uint32_t>(major(folder.st_dev) << 20 | minor(folder.st_dev));
  return true;
}

std::string cgroup2_mount(std::string_view mounts) {
  std::istringstream lines{std::string(mounts)};
  std::string line;
  while (std::getline(lines, line)) {
    std::istringstream fields(line);
    std::string what, where, type;
    fields >> what >> where >> type;
    if (type == "cgroup2") return unescape(where);
  }
  return {};
}

}  // namespace gatehouse::shim
