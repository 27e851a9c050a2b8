// SPDX-License-Identifier: Apache-2.0
#include "agent/tls_learn/sandbox.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace gatehouse::tls_learn {
namespace {

constexpr uid_t kNobody = 65534;
constexpr rlim_t kMemoryBytesMax = 2ULL << 30;  // of addresses: a static executable of a runtime is large
constexpr rlim_t kSecondsMax = 10;
constexpr rlim_t kFilesMax = 64;

// What a loader, an allocator and a TLS library need that speak to nobody.
constexpr std::array kAllowed{
    SYS_read,
    SYS_pread64,
    SYS_write,
    SYS_close,
    SYS_fstat,
    SYS_stat,
    SYS_newfstatat,
    SYS_statx,
    SYS_lseek,
    SYS_access,
    SYS_faccessat,
    SYS_readlink,
    SYS_mmap,
    SYS_mprotect,
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_brk,
    SYS_mlock,
    SYS_munlock,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_getrandom,
    SYS_futex,
    SYS_getpid,
    SYS_gettid,
    SYS_getppid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getrusage,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_gettimeofday,
    SYS_time,
    SYS_times,
    SYS_uname,
    SYS_sysinfo,
    SYS_getcpu,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_arch_prctl,
    SYS_sched_getaffinity,
    SYS_sched_yield,
    SYS_getcwd,
    SYS_fcntl,
    SYS_process_vm_readv,
    SYS_exit,
    SYS_exit_group,
    SYS_set_tid_address,
    SYS_membarrier,
    SYS_getdents64,
    SYS_readv,
    SYS_writev,
    SYS_ioctl,
};

bool limit(__rlimit_resource resource, rlim_t value) {
  const rlimit both{.rlim_cur = value, .rlim_max = value};
  return setrlimit(resource, &both) == 0;
}

bool filter_calls() {
  // Which machine's numbers; then each call against the list; the others fail as if they were forbidden.
  std::array<sock_filter, 11 + kAllowed.size()> program{};
  size_t at = 0;
  program[at++] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch));
  program[at++] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0);
  program[at++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  program[at++] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
  // Files are opened to be read.
  program[at++] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 4);
  program[at++] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2]));
  program[at++] = BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_WRONLY | O_RDWR | O_CREAT | O_TRUNC, 0, 1);
  program[at++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1);
  program[at++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  for (size_t i = 0; i < kAllowed.size(); ++i)
    program[at++] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(kAllowed[i]),
                             static_cast<uint8_t>(kAllowed.size() - i), 0);
  program[at++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1);
  program[at++] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const sock_fprog whole{.len = static_cast<unsigned short>(at), .filter = program.data()};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole) == 0;
}

}  // namespace

bool enter_sandbox() {
  if (geteuid() == 0) {
    unshare(CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS);
    if (setgroups(0, nullptr) != 0 || setresgid(kNobody, kNobody, kNobody) != 0 ||
        setresuid(kNobody, kNobody, kNobody) != 0)
      return false;
  }
  // Its own files under /proc are its to read again: the library may come as a descriptor.
  prctl(PR_SET_DUMPABLE, 1);
  prctl(PR_SET_PDEATHSIG, 9);
  return limit(RLIMIT_AS, kMemoryBytesMax) && limit(RLIMIT_CPU, kSecondsMax) && limit(RLIMIT_NOFILE, kFilesMax) &&
         limit(RLIMIT_FSIZE, 0) && limit(RLIMIT_CORE, 0) && limit(RLIMIT_NPROC, 0) &&
         prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && filter_calls();
}

}  // namespace gatehouse::tls_learn
