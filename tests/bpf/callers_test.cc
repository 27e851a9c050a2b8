// SPDX-License-Identifier: Apache-2.0
// Whoever writes on a socket is told, however it came by it and whatever it has become.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "common/clock.h"
#include "common/digest.h"
#include "tests/bpf/recorder.h"
#include "tests/bpf/wire.h"

namespace gatehouse::capture::test {
namespace {

constexpr uint16_t kPort = 26320;
constexpr uid_t kNobody = 65534;
constexpr int kFd = 77;  // where a program that is executed finds the socket
const std::string kPath = "/tmp/.gatehouse-callers-" + std::to_string(getpid());

bool write_query(int fd, const std::string& sql) {
  const std::string bytes = query(sql);
  return send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

// A child process, of which the test is told how it went.
class Child {
 public:
  explicit Child(const std::function<bool()>& body) : pid(fork()) {
    if (pid == 0) _exit(body() ? 0 : 1);
  }
  ~Child() {
    if (!is_over_) wait();
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void wait() {
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    is_over_ = true;
  }
  const pid_t pid;

 private:
  bool is_over_ = false;
};

// A program that has written `sql` on a socket, and stays until the test lets go of it.
class Program {
 public:
  // `exec` is called in the child and does not return.
  Program(int socket, const std::function<void(char* const* arguments)>& exec, std::string sql) {
    std::array<int, 2> ends{};
    EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    const UniqueFd out(ends[0]);
    hold_ = UniqueFd(ends[1]);
    child_ = std::make_unique<Child>([&] {
      if (dup2(out.get(), 0) != 0 || dup2(socket, kFd) != kFd) return false;
      std::string name = "say", descriptor = std::to_string(kFd);
      std::array<char*, 4> arguments{name.data(), descriptor.data(), sql.data(), nullptr};
      exec(arguments.data());
      return false;
    });
  }
  ~Program() { hold_.reset(); }
  [[nodiscard]] pid_t pid() const { return child_->pid; }

 private:
  UniqueFd hold_;
  std::unique_ptr<Child> child_;
};

void exec_file(const char* path, char* const* arguments) {
  execv(path, arguments);
}

class Callers : public testing::TestWithParam<Family> {
 protected:
  Callers() : capture({.ports = {kPort}}), pair(open()) {
    capture.seen.processes = &processes;
    EXPECT_TRUE(processes.snapshot().has_value());
  }
  void SetUp() override {
    ASSERT_TRUE(capture.ok());
    pair.request(startup());
    pair.respond(welcome());
  }
  [[nodiscard]] static bool is_unix() { return GetParam() == Family::kUnix; }
  static Pair open() { return {GetParam(), kPort, is_unix() ? kPath : ""}; }
  std::vector<SeenSocket*> sockets() { return is_unix() ? capture.seen.at(kPath) : capture.seen.at(kPort); }

  // The server reads the query; the chunk that holds it.
  std::optional<SeenChunk> read_query(const std::string& sql) {
    EXPECT_EQ(read_exactly(pair.server.get(), query(sql).size()), query(sql));
    return seen(sql);
  }
  std::optional<SeenChunk> seen(const std::string& sql) {
    std::optional<SeenChunk> found;
    capture.until([&] {
      for (SeenSocket* socket : sockets())
        for (const SeenChunk& chunk : socket->requests().chunks)
          if (chunk.data.find(query(sql)) != std::string::npos) found = chunk;
      return found.has_value();
    });
    EXPECT_TRUE(found) << sql;
    if (found && found->image == nullptr) {
      ADD_FAILURE() << sql << ": nobody knows its writer";
      return {};
    }
    return found;
  }
  // The digest of what the process runs, when it has come.
  std::string digest_of(const ProcessKey& key) {
    std::vector<ProcessKey> changed;
    for (int i = 0; i < 5000 && processes.find(key)->exe_sha256.empty(); ++i) {
      processes.poll(boottime_ns(), changed);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return processes.find(key)->exe_sha256;
  }

  identity::ProcessTable processes;
  Capture capture;
  Pair pair;
};

std::string digest_of_file(const char* path) {
  const auto digest = sha256_file(path, 1U << 30);
  return digest ? to_hex(*digest) : "";
}

TEST_P(Callers, ADuplicateIsTheSameSocket) {
  const UniqueFd copy(fcntl(pair.client.get(), F_DUPFD_CLOEXEC, 100));
  pair.client.reset();
  ASSERT_TRUE(write_query(copy.get(), "by the copy"));
  const std::optional<SeenChunk> chunk = read_query("by the copy");
  ASSERT_TRUE(chunk);
  EXPECT_EQ(chunk->writer.pid, static_cast<uint32_t>(getpid()));
  EXPECT_EQ(sockets().size(), 1U);
}

// The writer is told by its own user, also when it is gone before anybody asks; the opener stays who it was.
TEST_P(Callers, ASocketPassedToAnotherUser) {
  std::array<int, 2> ends{};
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()), 0);
  const UniqueFd here(ends[0]), there(ends[1]);
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  char byte = 'x';
  iovec buffer{&byte, 1};
  msghdr message{};
  message.msg_iov = &buffer;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  Child child([&] {
    if (setresgid(kNobody, kNobody, kNobody) != 0 || setresuid(kNobody, kNobody, kNobody) != 0) return false;
    if (recvmsg(there.get(), &message, 0) != 1) return false;
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
    return write_query(fd, "by nobody");
  });
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = pair.client.get();
  std::memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  ASSERT_EQ(sendmsg(here.get(), &message, 0), 1);
  child.wait();
  const std::optional<SeenChunk> chunk = read_query("by nobody");
  ASSERT_TRUE(chunk);
  EXPECT_EQ(chunk->writer.pid, static_cast<uint32_t>(child.pid));
  EXPECT_EQ(chunk->image->uid, kNobody);
  EXPECT_EQ(chunk->image->user, "nobody");
  EXPECT_EQ(sockets()[0]->opened.client_opener.pid, static_cast<uint32_t>(getpid()));
  EXPECT_EQ(sockets()[0]->opened.client_uid, getuid());
  // The parent is still itself.
  ASSERT_TRUE(write_query(pair.client.get(), "by root"));
  const std::optional<SeenChunk> own = read_query("by root");
  ASSERT_TRUE(own);
  EXPECT_EQ(own->image->uid, getuid());
}

TEST_P(Callers, AProcessThatChangesItsUser) {
  Child child([&] {
    return write_query(pair.client.get(), "as root") && setresuid(kNobody, kNobody, kNobody) == 0 &&
           write_query(pair.client.get(), "as nobody");
  });
  child.wait();
  const std::optional<SeenChunk> before = read_query("as root");
  const std::optional<SeenChunk> after = read_query("as nobody");
  ASSERT_TRUE(before && after);
  EXPECT_EQ(before->writer, after->writer);
  EXPECT_EQ(before->image->uid, 0U);
  EXPECT_EQ(after->image->uid, kNobody);
  EXPECT_NE(before->image->image_number, after->image->image_number);
}

// All of them write before anybody reads.
TEST_P(Callers, TwoHundredChildrenOnOneSocket) {
  constexpr size_t kChildren = 200;
  std::map<uint32_t, std::string> texts;
  std::vector<std::unique_ptr<Child>> children;
  size_t bytes = 0;
  for (size_t i = 0; i < kChildren; ++i) {
    const std::string tag = "child " + std::to_string(1000 + i);
    children.push_back(std::make_unique<Child>([&] { return write_query(pair.client.get(), tag); }));
    texts[static_cast<uint32_t>(children.back()->pid)] = tag;
    bytes += query(tag).size();
    // On a Unix socket, who writes at the very same time can be told in the wrong order.
    if (is_unix()) children.back()->wait();
  }
  for (const auto& child : children)
    if (!is_unix()) child->wait();
  read_exactly(pair.server.get(), bytes);
  ASSERT_TRUE(
      capture.until([&] { return !sockets().empty() && sockets()[0]->requests().end == startup().size() + bytes; }));
  size_t told = 0;
  for (const SeenChunk& chunk : sockets()[0]->requests().chunks) {
    if (!chunk.data.starts_with('Q')) continue;
    ASSERT_TRUE(texts.contains(chunk.writer.pid)) << chunk.data << " by " << chunk.writer.pid;
    EXPECT_EQ(chunk.data, query(texts[chunk.writer.pid]));
    ++told;
  }
  EXPECT_EQ(told, kChildren);
}

// The server writes on the other end of the same socket, and is another process: its turns are not the clients'.
TEST_P(Callers, AServerIsNoWriterOfRequests) {
  Child server([&] {
    for (int i = 0; i < 20; ++i) {
      read_exactly(pair.server.get(), query("same").size());
      send_exactly(pair.server.get(), frame('C', "SELECT 1") + ready());
    }
    return !HasFailure();
  });
  for (int i = 0; i < 20; ++i) {
    send_exactly(pair.client.get(), query("same"));
    read_exactly(pair.client.get(), (frame('C', "SELECT 1") + ready()).size());
  }
  server.wait();
  ASSERT_TRUE(capture.until([&] { return !sockets().empty() && sockets()[0]->requests().chunks.size() == 21; }));
  for (const SeenChunk& chunk : sockets()[0]->requests().chunks)
    EXPECT_EQ(chunk.writer.pid, static_cast<uint32_t>(getpid()));
  for (const SeenChunk& chunk : sockets()[0]->responses().chunks)
    if (chunk.data.starts_with('C')) {
      EXPECT_EQ(chunk.writer.pid, static_cast<uint32_t>(is_unix() ? server.pid : getpid()));
    }
}

// A process with the pid that its predecessor on the same socket had.
TEST_P(Callers, APidIsUsedAgain) {
  const auto run_as = [&](pid_t pid, const std::string& sql) {
    clone_args arguments{};
    arguments.exit_signal = SIGCHLD;
    arguments.set_tid = reinterpret_cast<uint64_t>(&pid);
    arguments.set_tid_size = 1;
    const auto child = static_cast<pid_t>(syscall(SYS_clone3, &arguments, sizeof(arguments)));
    if (child == 0) _exit(write_query(pair.client.get(), sql) ? 0 : 1);
    EXPECT_EQ(child, pid) << std::strerror(errno);
    int status = -1;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  };
  pid_t pid = 0;
  {
    const Child first([&] { return write_query(pair.client.get(), "first"); });
    pid = first.pid;
  }
  run_as(pid, "second");
  run_as(pid, "third");
  std::vector<ProcessKey> writers;
  for (const std::string sql : {"first", "second", "third"}) {
    const std::optional<SeenChunk> chunk = read_query(sql);
    ASSERT_TRUE(chunk);
    EXPECT_EQ(chunk->writer.pid, static_cast<uint32_t>(pid));
    writers.push_back(chunk->writer);
  }
  EXPECT_LT(writers[0].start_ns, writers[1].start_ns);
  EXPECT_LT(writers[1].start_ns, writers[2].start_ns);
}

TEST_P(Callers, ASocketThatOutlivesAnExec) {
  const Program program(
      pair.client.get(),
      [&](char* const* arguments) {
        if (!write_query(kFd, "before")) return;
        // A Unix socket is captured where it is read, and the image is the one of that moment.
        for (int unread = 1; ioctl(kFd, SIOCOUTQ, &unread) == 0 && unread > 0;)
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        exec_file(GH_SAY, arguments);
      },
      "after");
  const std::optional<SeenChunk> before = read_query("before");
  const std::optional<SeenChunk> after = read_query("after");
  ASSERT_TRUE(before && after);
  EXPECT_EQ(before->writer, after->writer);
  EXPECT_EQ(before->image->exe, std::filesystem::read_symlink("/proc/self/exe"));
  EXPECT_EQ(after->image->exe, GH_SAY);
  EXPECT_EQ(after->image->arguments, (std::vector<std::string>{"say", std::to_string(kFd), "after"}));
  EXPECT_EQ(digest_of(after->writer), digest_of_file(GH_SAY));
}

// A name is what a process says of itself.
TEST_P(Callers, ANameIsNobody) {
  const std::string own = std::filesystem::read_symlink("/proc/self/exe");
  Child child([&] { return prctl(PR_SET_NAME, "innocent") == 0 && write_query(pair.client.get(), "renamed"); });
  child.wait();
  const std::optional<SeenChunk> renamed = read_query("renamed");
  ASSERT_TRUE(renamed);
  EXPECT_EQ(renamed->image->exe, own);
  const Program program(
      pair.client.get(),
      [](char* const* arguments) {
        std::string name = "postgres";
        std::array<char*, 4> named{name.data(), arguments[1], arguments[2], nullptr};
        execv(GH_SAY, named.data());
      },
      "under a false name");
  const std::optional<SeenChunk> named = read_query("under a false name");
  ASSERT_TRUE(named);
  EXPECT_EQ(named->image->exe, GH_SAY);
  EXPECT_EQ(named->image->arguments[0], "postgres");
  EXPECT_EQ(named->writer.pid, static_cast<uint32_t>(program.pid()));
}

TEST_P(Callers, AProgramInMemory) {
  const UniqueFd memory(memfd_create("innocent", MFD_CLOEXEC));
  std::string content((std::istreambuf_iterator<char>(std::ifstream(GH_SAY).rdbuf())), {});
  content += "not the file's digest";
  ASSERT_EQ(write(memory.get(), content.data(), content.size()), static_cast<ssize_t>(content.size()));
  const Program program(
      pair.client.get(), [&](char* const* arguments) { fexecve(memory.get(), arguments, environ); }, "from memory");
  const std::optional<SeenChunk> chunk = read_query("from memory");
  ASSERT_TRUE(chunk);
  EXPECT_EQ(chunk->image->exe, "/memfd:innocent");
  EXPECT_TRUE(chunk->image->exe_deleted);
  EXPECT_EQ(digest_of(chunk->writer), to_hex(sha256(std::as_bytes(std::span(content)))));
}

// What runs is told, not what stands at its path by then.
TEST_P(Callers, AProgramWhoseFileIsGone) {
  const std::string path = "/tmp/gatehouse-say-" + std::to_string(getpid());
  for (const bool replaced : {false, true}) {
    std::filesystem::copy_file(GH_SAY, path, std::filesystem::copy_options::overwrite_existing);
    const std::string sql = replaced ? "replaced" : "deleted";
    const Program program(pair.client.get(), [&](char* const* arguments) { exec_file(path.c_str(), arguments); }, sql);
    EXPECT_EQ(read_exactly(pair.server.get(), query(sql).size()), query(sql));
    std::filesystem::remove(path);
    if (replaced) std::filesystem::copy_file("/bin/true", path);
    const std::optional<SeenChunk> chunk = seen(sql);
    ASSERT_TRUE(chunk);
    EXPECT_EQ(chunk->image->exe, path);
    EXPECT_EQ(digest_of(chunk->writer), digest_of_file(GH_SAY));
    std::filesystem::remove(path);
  }
}

// A 32-bit program enters the kernel by another door. Where the kernel has locked it, nobody comes in there.
TEST_P(Callers, A32BitProgram) {
  const pid_t probe = fork();
  if (probe == 0) {
    execl(GH_SAY32, GH_SAY32, nullptr);
    _exit(errno == ENOEXEC ? 126 : 127);
  }
  int status = -1;
  ASSERT_EQ(waitpid(probe, &status, 0), probe);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 126) return;
  ASSERT_EQ(WEXITSTATUS(status), 64) << "not say's usage error";
  const Program program(
      pair.client.get(), [](char* const* arguments) { exec_file(GH_SAY32, arguments); }, "with 32 bits");
  const std::optional<SeenChunk> chunk = read_query("with 32 bits");
  ASSERT_TRUE(chunk);
  EXPECT_EQ(chunk->image->exe, GH_SAY32);
}

INSTANTIATE_TEST_SUITE_P(Everywhere, Callers, testing::Values(Family::kTcp4, Family::kUnix),
                         [](const testing::TestParamInfo<Family>& param) {
                           return std::string(param.param == Family::kUnix ? "Unix" : "Tcp");
                         });

TEST(Places, AbstractUnixSocket) {
  const std::string name = "@gatehouse-callers-" + std::to_string(getpid());
  Capture capture({.ports = {kPort}});
  ASSERT_TRUE(capture.ok());
  Pair pair(Family::kUnix, 0, name);
  pair.request(startup() + query("select 1"));
  pair.respond(welcome());
  pair.close();
  ASSERT_TRUE(capture.until([&] { return !capture.seen.at(name).empty() && capture.seen.at(name)[0]->closed; }));
  SeenSocket& socket = *capture.seen.at(name)[0];
  EXPECT_EQ(socket.requests().data, startup() + query("select 1"));
  EXPECT_EQ(imbalance(socket, pair.requests_moved, pair.responses_moved), "");
}

// An IPv4 connection in IPv6 clothes is one connection, and is told as what it is.
TEST(Places, MappedAddress) {
  Capture capture({.ports = {kPort}});
  ASSERT_TRUE(capture.ok());
  Pair pair(Family::kMapped, kPort);
  pair.request(startup());
  pair.close();
  ASSERT_TRUE(capture.until([&] { return !capture.seen.at(kPort).empty() && capture.seen.at(kPort)[0]->closed; }));
  ASSERT_EQ(capture.seen.at(kPort).size(), 1U);
  const SocketOpened& opened = capture.seen.at(kPort)[0]->opened;
  EXPECT_TRUE(opened.captured_at_client);
  EXPECT_EQ(opened.transport, Transport::kTcp4);
  for (const Endpoint& end : {opened.client, opened.server})
    EXPECT_EQ(std::vector<uint8_t>(end.address.begin(), end.address.begin() + 4), (std::vector<uint8_t>{127, 0, 0, 1}));
}

uint64_t own_network() {
  struct stat status{};
  return stat("/proc/self/ns/net", &status) == 0 ? status.st_ino : 0;
}

bool raise_loopback() {
  const UniqueFd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  request.ifr_name[0] = 'l';
  request.ifr_name[1] = 'o';
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  return ioctl(fd.get(), SIOCSIFFLAGS, &request) == 0;
}

// The same addresses and the same ports mean another connection in each network namespace.
TEST(Places, OtherNetworkNamespaces) {
  constexpr size_t kNetworks = 3;
  constexpr uint16_t kClientPort = 26399;
  Capture capture({.ports = {kPort}});
  ASSERT_TRUE(capture.ok());
  auto* const networks =
      static_cast<uint64_t*>(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(networks, MAP_FAILED);
  {
    std::array<int, 2> ends{};
    ASSERT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
    UniqueFd out(ends[0]), in(ends[1]);
    std::vector<std::unique_ptr<Child>> children;
    for (size_t i = 0; i < kNetworks; ++i)
      children.push_back(std::make_unique<Child>([&] {
        in.reset();
        if (unshare(CLONE_NEWNET) != 0 || !raise_loopback()) return false;
        networks[i] = own_network();
        Pair pair(Family::kTcp4, kPort, {}, kClientPort);
        pair.request(startup("user" + std::to_string(i)));
        pair.respond(welcome());
        char byte = 0;
        if (read(out.get(), &byte, 1) != 0) return false;  // all of them are connected at once
        pair.request(query("select " + std::to_string(i)));
        pair.close();
        return !testing::Test::HasFailure();
      }));
    EXPECT_TRUE(capture.until([&] { return capture.seen.at(kPort).size() == kNetworks; }));
    in.reset();
  }
  ASSERT_TRUE(capture.until([&] {
    return std::ranges::all_of(capture.seen.at(kPort), [](const SeenSocket* s) { return s->closed.has_value(); });
  }));
  ASSERT_EQ(capture.seen.at(kPort).size(), kNetworks);
  for (size_t i = 0; i < kNetworks; ++i) {
    size_t found = 0;
    for (SeenSocket* socket : capture.seen.at(kPort)) {
      if (socket->opened.netns != networks[i]) continue;
      ++found;
      EXPECT_EQ(socket->requests().data, startup("user" + std::to_string(i)) + query("select " + std::to_string(i)));
      EXPECT_TRUE(socket->opened.captured_at_client);
      EXPECT_EQ(socket->opened.client.port, kClientPort);
    }
    EXPECT_EQ(found, 1U) << i;
    EXPECT_NE(networks[i], own_network());
  }
  munmap(networks, 4096);
}

}  // namespace
}  // namespace gatehouse::capture::test
