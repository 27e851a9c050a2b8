// SPDX-License-Identifier: Apache-2.0
#include "cli/claim.h"

#include <pwd.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "common/config.h"
#include "common/file.h"

namespace gatehouse::cli {
namespace {

constexpr size_t kStatusBytesMax = 64U << 10;
constexpr size_t kAncestorsMax = 64;

std::string name_of(uid_t uid) {
  constexpr size_t kBufferBytes = 16U << 10;
  std::string buffer(kBufferBytes, '\0');
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) return found->pw_name;
  return std::to_string(uid);
}

// A number of /proc/self; UINT32_MAX: none, or not known.
uint32_t own_number(const std::string& name) {
  const auto text = read_file("/proc/self/" + name, kStatusBytesMax);
  const auto number = text ? config::parse_count(std::string_view(*text).substr(0, text->find('\n'))) : std::nullopt;
  return number && *number < UINT32_MAX ? static_cast<uint32_t>(*number) : UINT32_MAX;
}

uint32_t parent_of(uint32_t pid) {
  const auto status = read_file("/proc/" + std::to_string(pid) + "/status", kStatusBytesMax);
  if (!status) return 0;
  const size_t at = status->find("\nPPid:\t");
  if (at == std::string::npos) return 0;
  const std::string_view rest = std::string_view(*status).substr(at + 7);
  const auto parent = config::parse_count(rest.substr(0, rest.find('\n')));
  return parent ? static_cast<uint32_t>(*parent) : 0;
}

}  // namespace

v1::Claim own_claim() {
  v1::Claim claim;
  claim.set_host(config::host_name());
  claim.set_user(name_of(::getuid()));
  if (const uint32_t login = own_number("loginuid"); login != UINT32_MAX) claim.set_login(name_of(login));
  if (const uint32_t session = own_number("sessionid"); session != UINT32_MAX) claim.set_audit_session(session);
  auto pid = static_cast<uint32_t>(::getpid());
  for (size_t i = 0; i < kAncestorsMax; ++i) {
    pid = parent_of(pid);
    if (pid == 0) break;
    claim.add_ancestors(pid);
  }
  return claim;
}

}  // namespace gatehouse::cli
