// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/probe.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "common/file.h"

namespace gatehouse::capture {
namespace {

constexpr std::array kPlanes{Plane::kSocket, Plane::kLength, Plane::kSyscall};

std::vector<std::string> names_of(Plane plane) {
  std::vector<std::string> names;
  for (const Requirement& r : probe_requirements(plane)) names.push_back(r.name);
  return names;
}

bool needs(Plane plane, const std::string& name) {
  const auto names = names_of(plane);
  return std::ranges::find(names, name) != names.end();
}

TEST(Probe, EveryRequirementExplainsItself) {
  for (const Plane plane : kPlanes) {
    const auto requirements = probe_requirements(plane);
    EXPECT_GT(requirements.size(), 7U);
    for (const Requirement& r : requirements) {
      EXPECT_FALSE(r.name.empty());
      EXPECT_FALSE(r.explanation.empty()) << r.name;
      EXPECT_EQ(r.explanation.find('\n'), std::string::npos) << r.name;
    }
  }
}

TEST(Probe, APlaneAsksForWhatItUses) {
  EXPECT_TRUE(needs(Plane::kSocket, "tracepoint tcp_sendmsg_locked"));
  EXPECT_FALSE(needs(Plane::kLength, "tracepoint tcp_sendmsg_locked"));
  EXPECT_TRUE(needs(Plane::kLength, "tracepoint sock_send_length"));
  EXPECT_FALSE(needs(Plane::kSyscall, "tracepoint sock_send_length"));
  EXPECT_TRUE(needs(Plane::kSyscall, "tracepoint sys_exit"));
  for (const Plane plane : kPlanes) EXPECT_TRUE(needs(plane, "tracepoint inet_sock_set_state"));
}

TEST(Probe, PlanesHaveNames) {
  for (const Plane plane : kPlanes) EXPECT_EQ(parse_plane(to_string(plane)), plane);
  EXPECT_FALSE(parse_plane("auto"));
  EXPECT_FALSE(parse_plane(""));
}

// Nobody is given another plane than the one that was asked for, and a choice is one that is possible.
TEST(Probe, ThePlaneIsTheOneThatIsWantedOrTheBest) {
  for (const Plane plane : kPlanes) {
    const auto chosen = choose_plane(plane);
    EXPECT_EQ(static_cast<bool>(chosen), static_cast<bool>(check_requirements(plane)));
    if (chosen) {
      EXPECT_EQ(*chosen, plane);
    }
  }
  const auto best = choose_plane(std::nullopt);
  if (!best) {
    for (const Plane plane : kPlanes) EXPECT_FALSE(check_requirements(plane));
    return;
  }
  for (const Plane plane : kPlanes) {
    if (plane == *best) break;
    EXPECT_FALSE(check_requirements(plane)) << to_string(plane);
  }
}

TEST(Probe, OnlyTheSocketPlaneIsWithoutBlindSpots) {
  EXPECT_EQ(blind_spots(Plane::kSocket), "");
  EXPECT_NE(blind_spots(Plane::kLength).find("io_uring"), std::string_view::npos);
  EXPECT_NE(blind_spots(Plane::kSyscall).find("io_uring"), std::string_view::npos);
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
