// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/probe.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "common/file.h"

namespace gatehouse::capture {
namespace {

TEST(Probe, EveryRequirementExplainsItself) {
  const auto requirements = probe_requirements();
  EXPECT_GT(requirements.size(), 10U);
  for (const Requirement& r : requirements) {
    EXPECT_FALSE(r.name.empty());
    EXPECT_FALSE(r.explanation.empty()) << r.name;
    EXPECT_EQ(r.explanation.find('\n'), std::string::npos) << r.name;
  }
}

TEST(Probe, FindsAUnixListenerByItsName) {
  const std::string path = "/tmp/.s.PGSQL." + std::to_string(getpid());
  const UniqueFd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), address.sun_path);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  const auto listeners = find_listeners();
  unlink(path.c_str());
  const auto found = std::ranges::find_if(listeners, [&](const Listener& l) { return l.address == path; });
  ASSERT_NE(found, listeners.end());
  EXPECT_EQ(found->transport, Transport::kUnix);
  EXPECT_EQ(found->pid, static_cast<uint32_t>(getpid()));
  EXPECT_NE(found->exe.find("probe_test"), std::string::npos);
}

}  // namespace
}  // namespace gatehouse::capture
