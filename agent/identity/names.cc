// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/names.h"

#include <pwd.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <vector>

namespace gatehouse::identity {

uint32_t kernel_device(uint64_t user_device) {
  return static_cast<uint32_t>(major(user_device) << 20 | minor(user_device));
}

std::string tty_name(uint32_t device) {
  // Documentation/admin-guide/devices.txt of Linux.
  constexpr uint32_t kTty = 4, kConsole = 5, kFirstPts = 136, kLastPts = 143, kArm = 204, kUsb = 188;
  constexpr uint32_t kFirstSerial = 64, kFirstAma = 64;
  const uint32_t major_number = device >> 20, minor_number = device & 0xfffff;
  if (device == 0) return "";
  if (major_number >= kFirstPts && major_number <= kLastPts)
    return "pts/" + std::to_string((major_number - kFirstPts) * 256 + minor_number);
  if (major_number == kTty && minor_number < kFirstSerial) return "tty" + std::to_string(minor_number);
  if (major_number == kTty) return "ttyS" + std::to_string(minor_number - kFirstSerial);
  if (major_number == kConsole && minor_number == 1) return "console";
  if (major_number == kArm && minor_number >= kFirstAma) return "ttyAMA" + std::to_string(minor_number - kFirstAma);
  if (major_number == kUsb) return "ttyUSB" + std::to_string(minor_number);
  return "char " + std::to_string(major_number) + ":" + std::to_string(minor_number);
}

std::string look_up_user(uint32_t uid) {
  constexpr size_t kEntryBytesMax = 64U << 10;  // a group service with long fields; beyond it the name is unknown
  std::vector<char> buffer(1024);
  for (;;) {
    passwd entry{};
    passwd* found = nullptr;
    const int error = ::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
    if (error == EINTR) continue;
    if (error == ERANGE && buffer.size() < kEntryBytesMax) {
      buffer.resize(buffer.size() * 2);
      continue;
    }
    return found != nullptr ? found->pw_name : "";
  }
}

void UserNames::preload(const std::string& passwd_path, uint64_t now_ns) {
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  const std::unique_ptr<std::FILE, Close> file(std::fopen(passwd_path.c_str(), "re"));
  if (!file) return;
  std::vector<char> buffer(16U << 10);
  passwd entry{};
  passwd* found = nullptr;
  while (names_.size() < users_max_ && ::fgetpwent_r(file.get(), &entry, buffer.data(), buffer.size(), &found) == 0)
    names_.try_emplace(entry.pw_uid, Named{entry.pw_name, now_ns + kept_ns_});  // the first of a uid's names counts
}

std::string UserNames::find(uint32_t uid) const {
  const auto found = names_.find(uid);
  return found == names_.end() ? "" : found->second.name;
}

bool UserNames::is_due(uint32_t uid, uint64_t now_ns) const {
  const auto found = names_.find(uid);
  return found == names_.end() || found->second.until_ns < now_ns;
}

void UserNames::put(uint32_t uid, std::string name, uint64_t now_ns) {
  // Which one goes hardly matters: it is looked up again when it is asked for.
  if (names_.size() >= users_max_ && !names_.contains(uid)) names_.erase(names_.begin());
  names_[uid] = Named{std::move(name), now_ns + kept_ns_};
}

}  // namespace gatehouse::identity
