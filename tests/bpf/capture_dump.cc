// SPDX-License-Identifier: Apache-2.0
// Prints the records of the kernel source, and what is left in the counters at the end. `-q` prints only the end.
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "agent/capture/kernel_source.h"

namespace {

using namespace gatehouse;

volatile std::sig_atomic_t g_stop = 0;

class Printer final : public RecordSink {
 public:
  explicit Printer(bool quiet) : quiet_(quiet) {}

  void on_socket_opened(const SocketOpened& r) override {
    if (quiet_) return;
    std::printf("opened %lx transport=%d %s%s ports %u -> %u path=%.*s client=%u server=%u uid=%d netns=%u\n", r.socket,
                static_cast<int>(r.transport), r.captured_at_client ? "at-client" : "at-server",
                r.joined ? " joined" : "", r.client.port, r.server.port, static_cast<int>(r.server.path.size()),
                r.server.path.data(), r.client_opener.pid, r.server_opener.pid, static_cast<int>(r.client_uid),
                r.netns);
  }
  void on_chunk(const Chunk& r) override {
    const auto d = static_cast<size_t>(r.direction);
    ++chunks_[d];
    for (const Piece& piece : r.pieces) {
      bytes_[static_cast<size_t>(piece.kind)] += piece.bytes;
      rows_ += piece.rows;
    }
    if (r.direction == Direction::kRequest) count_frames(r);
    if (quiet_) return;
    std::printf("%s %lx @%lu pid=%u writer=%u:", d == 0 ? "request " : "response", r.socket, r.offset, r.process.pid,
                r.writer.pid);
    for (const Piece& piece : r.pieces) {
      static constexpr const char* kKinds[] = {"data", "rows", "cut", "lost"};
      std::printf(" %s(%u", kKinds[static_cast<size_t>(piece.kind)], piece.bytes);
      if (piece.rows > 0) std::printf(" rows=%u", piece.rows);
      std::printf(")");
      if (piece.kind == Piece::Kind::kData) {
        std::printf("'");
        for (const std::byte b : piece.data.first(std::min<size_t>(piece.data.size(), 60))) {
          const auto c = std::to_integer<unsigned char>(b);
          std::putchar(c >= 0x20 && c < 0x7f ? c : '.');
        }
        std::printf("'");
      }
    }
    std::printf("\n");
  }
  void on_socket_opaque(const SocketOpaque& r) override {
    if (!quiet_) std::printf("opaque %lx reason=%d\n", r.socket, static_cast<int>(r.reason));
  }
  void on_socket_closed(const SocketClosed& r) override {
    uint64_t lost = 0;
    for (const auto& direction : r.lost_bytes)
      for (const uint64_t bytes : direction) lost += bytes;
    lost_ += lost;
    if (!quiet_) std::printf("closed %lx %lu / %lu lost=%lu\n", r.socket, r.stream_bytes[0], r.stream_bytes[1], lost);
  }
  void on_process_exec(const ProcessExec& r) override {
    ++execs_;
    if (quiet_) return;
    std::string arguments(r.arguments);
    for (char& c : arguments)
      if (c == '\0') c = ' ';
    std::printf("exec %u parent=%u uid=%u login=%d tty=%x exe=%.*s (%lu) cwd=%.*s cgroup=%.*s argv=%s\n", r.process.pid,
                r.parent.pid, r.uid, static_cast<int>(r.loginuid), r.tty, static_cast<int>(r.exe.size()), r.exe.data(),
                r.exe_inode, static_cast<int>(r.cwd.size()), r.cwd.data(), static_cast<int>(r.cgroup_path.size()),
                r.cgroup_path.data(), arguments.c_str());
  }
  void on_process_fork(const ProcessFork& r) override {
    if (!quiet_) std::printf("fork %u -> %u\n", r.parent.pid, r.child.pid);
  }
  void on_process_exit(const ProcessExit& r) override {
    if (!quiet_) std::printf("exit %u status=%d\n", r.process.pid, r.status);
  }
  void summary() const {
    std::printf("chunks %lu/%lu data=%lu rows-bytes=%lu cut=%lu lost-pieces=%lu rows=%lu closed-lost=%lu execs=%lu\n",
                chunks_[0], chunks_[1], bytes_[0], bytes_[1], bytes_[2], bytes_[3], rows_, lost_, execs_);
    for (const auto& [tag, count] : frames_) std::printf("  frame %c: %lu\n", tag, count);
  }

 private:
  // Only for writes that begin with a frame and hold whole frames, as pgbench's do.
  void count_frames(const Chunk& r) {
    if (r.pieces.size() != 1 || r.pieces[0].kind != Piece::Kind::kData) return;
    auto data = r.pieces[0].data;
    while (data.size() >= 5) {
      const auto tag = std::to_integer<char>(data[0]);
      if (tag < 'A') return;
      size_t bytes = 0;
      for (size_t i = 1; i < 5; ++i) bytes = bytes << 8 | std::to_integer<size_t>(data[i]);
      ++frames_[tag];
      if (bytes + 1 > data.size()) return;
      data = data.subspan(bytes + 1);
    }
  }

  bool quiet_;
  uint64_t chunks_[2] = {};
  uint64_t bytes_[4] = {};
  uint64_t rows_ = 0, lost_ = 0, execs_ = 0;
  std::map<char, uint64_t> frames_;
};

}  // namespace

int main(int argc, char** argv) {
  capture::CaptureConfig config;
  bool quiet = false;
  if (argc > 1) config.ports.clear();
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "-q") == 0)
      quiet = true;
    else
      config.ports.push_back(static_cast<uint16_t>(std::atoi(argv[i])));
  }
  auto source = capture::KernelSource::open(config);
  if (!source) {
    std::fprintf(stderr, "capture_dump: %s\n", source.error().message().c_str());
    return 1;
  }
  std::signal(SIGINT, [](int) { g_stop = 1; });
  std::signal(SIGTERM, [](int) { g_stop = 1; });
  std::fprintf(stderr, "capture_dump: ready\n");
  Printer printer(quiet);
  while (g_stop == 0) {
    while ((*source)->poll(printer, 1024) > 0) {
    }
    std::fflush(stdout);
    (*source)->wait(20, 200);
  }
  while ((*source)->poll(printer, 1024) > 0) {
  }
  printer.summary();
  const auto c = (*source)->counters();
  std::printf(
      "records=%lu control_full=%lu request_full=%lu response_full=%lu storage_failed=%lu faults=%lu unsynced=%lu "
      "watched=%lu forgotten=%lu other_ends=%lu missed=%lu malformed=%lu held=%lu\n",
      c.records, c.control_ring_full, c.request_ring_full, c.response_ring_full, c.storage_failed, c.faults, c.unsynced,
      c.sockets_watched, c.sockets_forgotten, c.other_ends, c.programs_missed, c.malformed, c.held);
  return 0;
}
