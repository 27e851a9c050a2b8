// SPDX-License-Identifier: Apache-2.0
// Parts of what watches, for the arms `dispatch` and `kernel` of watch.py: attaches them, says "ready", and stays until
// it is told to stop.
//
// usage: attached dispatch      programs that do nothing, on the hooks that every statement passes (bpf/dispatch.bpf.c)
//        attached kernel PLANE  the kernel side, whose records are read as an agent reads them, and thrown away
#include <bpf/libbpf.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>

#include "agent/capture/kernel_source.h"
#include "common/limits.h"

namespace gatehouse {
namespace {

constexpr uint32_t kPauseMs = 50;  // capture.poll_ms_max
constexpr uint32_t kIdleMs = 200;
constexpr size_t kPollRecords = 4096;

volatile std::sig_atomic_t g_stop = 0;

class NoSink final : public RecordSink {
 public:
  void on_socket_opened(const SocketOpened&) override {}
  void on_chunk(const Chunk&) override {}
  void on_socket_opaque(const SocketOpaque&) override {}
  void on_socket_closed(const SocketClosed&) override {}
  void on_process_exec(const ProcessExec&) override {}
  void on_process_fork(const ProcessFork&) override {}
  void on_process_exit(const ProcessExit&) override {}
};

int fail(const char* what) {
  std::fprintf(stderr, "attached: %s\n", what);
  return 1;
}

void say_ready() {
  std::puts("ready");
  std::fflush(stdout);
}

int dispatch() {
  bpf_object* const object = bpf_object__open_file(GH_DISPATCH_OBJECT, nullptr);
  if (object == nullptr || bpf_object__load(object) != 0) return fail("loading the programs");
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object) {
    if (bpf_program__attach(program) == nullptr) return fail("attaching the programs");
  }
  say_ready();
  while (g_stop == 0) ::pause();
  bpf_object__close(object);
  return 0;
}

int kernel(const char* plane) {
  const auto source = capture::KernelSource::open({.plane = capture::parse_plane(plane)});
  if (!source) return fail(source.error().message().c_str());
  say_ready();
  NoSink sink;
  while (g_stop == 0)
    if ((*source)->poll(sink, kPollRecords) < kPollRecords) (*source)->wait(kPauseMs, kIdleMs);
  return 0;
}

}  // namespace
}  // namespace gatehouse

int main(int argc, char** argv) {
  for (const int number : {SIGINT, SIGTERM}) std::signal(number, [](int) { gatehouse::g_stop = 1; });
  if (argc == 2 && std::strcmp(argv[1], "dispatch") == 0) return gatehouse::dispatch();
  if (argc == 3 && std::strcmp(argv[1], "kernel") == 0) return gatehouse::kernel(argv[2]);
  std::fputs("usage: attached dispatch | attached kernel PLANE\n", stderr);
  return 64;
}
