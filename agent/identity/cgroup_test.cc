// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/cgroup.h"

#include <gtest/gtest.h>

namespace gatehouse::identity {
namespace {

#define GH_ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define GH_ID2 "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

struct Case {
  std::string_view path, unit, container, pod;
};
// Paths as the runtimes' documentation and sources give them.
constexpr Case kCases[] = {
    {"/", "", "", ""},
    {"", "", "", ""},
    {"/system.slice/nginx.service", "nginx.service", "", ""},
    {"/system.slice/system-postgresql.slice/postgresql@15-main.service", "postgresql@15-main.service", "", ""},
    {"/user.slice/user-1000.slice/session-3.scope", "session-3.scope", "", ""},
    {"/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-1.scope",
     "vte-spawn-1.scope", "", ""},
    {"/user.slice/user-1000.slice/user@1000.service/init.scope", "init.scope", "", ""},
    {"/init.scope", "init.scope", "", ""},
    // docker: both drivers, and docker in docker
    {"/docker/" GH_ID, "", GH_ID, ""},
    {"/system.slice/docker-" GH_ID ".scope", "docker-" GH_ID ".scope", GH_ID, ""},
    {"/docker/" GH_ID "/docker/" GH_ID2, "", GH_ID2, ""},
    {"/docker/" GH_ID "/system.slice/cron.service", "cron.service", GH_ID, ""},
    // podman
    {"/machine.slice/libpod-" GH_ID ".scope", "libpod-" GH_ID ".scope", GH_ID, ""},
    {"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-" GH_ID ".scope/container",
     "libpod-" GH_ID ".scope", GH_ID, ""},
    {"/machine.slice/libpod-conmon-" GH_ID ".scope", "libpod-conmon-" GH_ID ".scope", "", ""},
    {"/libpod_parent/libpod-" GH_ID, "", GH_ID, ""},
    // Kubernetes with containerd, CRI-O and docker, systemd and cgroupfs drivers
    {"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod2c48913c_b29f_11e7_9350_020968147796.slice/"
     "cri-containerd-" GH_ID ".scope",
     "cri-containerd-" GH_ID ".scope", GH_ID, "2c48913c-b29f-11e7-9350-020968147796"},
    {"/kubepods.slice/kubepods-pod2c48913c_b29f_11e7_9350_020968147796.slice/crio-" GH_ID ".scope",
     "crio-" GH_ID ".scope", GH_ID, "2c48913c-b29f-11e7-9350-020968147796"},
    {"/kubepods.slice/kubepods-pod2c48913c_b29f_11e7_9350_020968147796.slice/crio-conmon-" GH_ID ".scope",
     "crio-conmon-" GH_ID ".scope", "", "2c48913c-b29f-11e7-9350-020968147796"},
    {"/kubepods/besteffort/pod2c48913c-b29f-11e7-9350-020968147796/" GH_ID, "", GH_ID,
     "2c48913c-b29f-11e7-9350-020968147796"},
    {"/system.slice/containerd.service/kubepods-burstable-pod2c48913c_b29f_11e7_9350_020968147796.slice:"
     "cri-containerd:" GH_ID,
     "containerd.service", GH_ID, "2c48913c-b29f-11e7-9350-020968147796"},
    {"/kubepods/burstable/pod31dd0274bb69ea8de5b1ed1c3c6cfbc5/" GH_ID, "", GH_ID, "31dd0274bb69ea8de5b1ed1c3c6cfbc5"},
    // ECS on EC2
    {"/ecs/55091c13-b8cf-4801-b527-f4601742204d/" GH_ID, "", GH_ID, ""},
    // LXC
    {"/lxc.payload.web1", "", "web1", ""},
    {"/lxc.payload.web1/system.slice/cron.service", "cron.service", "web1", ""},
    {"/lxc/web1/system.slice", "", "web1", ""},
    {"/lxc.monitor.web1", "", "", ""},
    // not containers
    {"/memory/process_api/b2ce0d6c328d79475bb6e5ad9963a722", "", "", ""},
    {"/podcast/uid", "", "", ""},
    {"/pod1234", "", "", ""},
    {"/x" GH_ID, "", "", ""},
    {"/0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef", "", "", ""},
};

TEST(Cgroup, NamesOfAPath) {
  for (const Case& c : kCases) {
    const CgroupNames names = parse_cgroup_path(c.path);
    EXPECT_EQ(names.systemd_unit, c.unit) << c.path;
    EXPECT_EQ(names.container_id, c.container) << c.path;
    EXPECT_EQ(names.pod_uid, c.pod) << c.path;
  }
}

struct Choice {
  std::string_view text, want;
};
constexpr Choice kChoices[] = {
    {"0::/system.slice/cron.service\n", "/system.slice/cron.service"},
    {"0::/\n", "/"},
    {"", "/"},
    {"garbage\n::\n", "/"},
    // v1: systemd's own hierarchy
    {"12:pids:/system.slice/a.service\n1:name=systemd:/system.slice/b.service\n", "/system.slice/b.service"},
    // hybrid: the unified hierarchy exists and is empty
    {"4:memory:/docker/" GH_ID "\n1:name=systemd:/docker/" GH_ID "\n0::/\n", "/docker/" GH_ID},
    {"1:name=systemd:/user.slice\n0::/user.slice/user-0.slice/session-1.scope\n",
     "/user.slice/user-0.slice/session-1.scope"},
    // no systemd at all
    {"9:name=systemd:/\n4:memory:/jobs/long\n3:cpu:/jobs\n0::/\n", "/jobs/long"},
    {"0::/system.slice/old.service (deleted)\n", "/system.slice/old.service"},
    {"0::/with:colon/x.scope", "/with:colon/x.scope"},
};

TEST(Cgroup, ChoiceOfThePath) {
  for (const Choice& c : kChoices) EXPECT_EQ(choose_cgroup_path(c.text), c.want) << c.text;
}

}  // namespace
}  // namespace gatehouse::identity
