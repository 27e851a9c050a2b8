// SPDX-License-Identifier: Apache-2.0
#include "agent/tls_learn/trap.h"

#include <sys/mman.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>
#include <csignal>

namespace gatehouse::tls_learn {
namespace {

constexpr uint8_t kBreakpoint = 0xcc;
constexpr greg_t kTrapFlag = 0x100;  // EFLAGS: stop after one instruction

struct State {
  volatile uint8_t* code = nullptr;
  uint8_t replaced = 0;
  Trap::Handler handler = nullptr;
  bool is_stepping = false;
};
State g_state;

constexpr std::array<int, kRegisters> kOrder{REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_RBP, REG_RSP,
                                             REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

// At the breakpoint: the instruction that stood there, alone; after it: the breakpoint again.
void on_trap(int, siginfo_t*, void* context) {
  auto& machine = static_cast<ucontext_t*>(context)->uc_mcontext;
  greg_t* const registers = machine.gregs;
  const auto here = reinterpret_cast<greg_t>(g_state.code);
  // An instruction of one byte ends where the breakpoint does.
  if (!g_state.is_stepping && registers[REG_RIP] == here + 1) {
    g_state.is_stepping = true;
    Registers seen;
    for (size_t i = 0; i < kRegisters; ++i) seen[i] = static_cast<uintptr_t>(registers[kOrder[i]]);
    g_state.handler(seen);
    *g_state.code = g_state.replaced;
    registers[REG_RIP] = here;
    registers[REG_EFL] |= kTrapFlag;
    return;
  }
  g_state.is_stepping = false;
  registers[REG_EFL] &= ~kTrapFlag;
  if (g_state.code != nullptr) *g_state.code = kBreakpoint;
}

}  // namespace

Trap::Trap(uintptr_t address, Handler handler) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  void* const begin = reinterpret_cast<void*>(address & ~(page - 1));
  if (mprotect(begin, 2 * page, PROT_READ | PROT_WRITE | PROT_EXEC) != 0 &&
      mprotect(begin, page, PROT_READ | PROT_WRITE | PROT_EXEC) != 0)
    return;
  struct sigaction action{};
  action.sa_sigaction = on_trap;
  action.sa_flags = SA_SIGINFO;
  if (sigaction(SIGTRAP, &action, nullptr) != 0) return;
  g_state = {.code = reinterpret_cast<volatile uint8_t*>(address), .handler = handler};
  g_state.replaced = *g_state.code;
  *g_state.code = kBreakpoint;
  is_set_ = true;
}

Trap::~Trap() {
  if (!is_set_) return;
  *g_state.code = g_state.replaced;
  g_state = {};
}

bool read_memory(uintptr_t address, std::span<uint8_t> to) {
  const iovec local{.iov_base = to.data(), .iov_len = to.size()};
  const iovec remote{.iov_base = reinterpret_cast<void*>(address), .iov_len = to.size()};
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == static_cast<ssize_t>(to.size());
}

}  // namespace gatehouse::tls_learn
