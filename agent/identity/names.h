// SPDX-License-Identifier: Apache-2.0
// Names of numbers: users and terminals.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

namespace gatehouse::identity {

// Of a terminal's device number (the kernel's: major << 20 | minor): "pts/3", "tty1", "ttyS0"; empty: none.
std::string tty_name(uint32_t device);
// A device number as user space writes it in stat(2) or /proc/PID/stat, as the kernel's.
uint32_t kernel_device(uint64_t user_device);

// Asks the name services (files, LDAP, …), which may take seconds. "" if the user has no name. Any thread.
std::string look_up_user(uint32_t uid);

// User names by uid, with a bound and an age, so that a renamed user shows and a flood of uids costs no memory.
class UserNames {
 public:
  UserNames(size_t users_max, uint64_t kept_ns) : users_max_(users_max), kept_ns_(kept_ns) {}

  // All users of a passwd(5) file: local users then never need a look-up. A file that cannot be read adds none.
  void preload(const std::string& passwd_path, uint64_t now_ns);
  // "" for a user that has no name or is not known yet. A name that is too old still counts until put() renews it.
  [[nodiscard]] std::string find(uint32_t uid) const;
  // Whether it should be looked up: unknown or too old.
  [[nodiscard]] bool is_due(uint32_t uid, uint64_t now_ns) const;
  void put(uint32_t uid, std::string name, uint64_t now_ns);

 private:
  struct Named {
    std::string name;
    uint64_t until_ns;
  };
  size_t users_max_;
  uint64_t kept_ns_;
  std::unordered_map<uint32_t, Named> names_;
};

}  // namespace gatehouse::identity
