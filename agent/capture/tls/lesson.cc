// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/tls/lesson.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <csignal>
#include <vector>

#include "common/clock.h"
#include "common/file.h"

namespace gatehouse::capture {
namespace {

constexpr uint64_t kHelperNsMax = 60'000'000'000;
constexpr size_t kPrintedBytesMax = 4096;
constexpr size_t kTextBytesMax = 128;
constexpr int kFirstDescriptor = 10;  // of the helper's files
// A session's object is some thousand bytes.
constexpr int64_t kPathStepMax = 1 << 20;

// "name=value", or nullopt. Moves on behind it.
template <typename Number>
bool take(std::string_view& text, std::string_view name, Number& value) {
  if (!text.starts_with(name) || text.size() <= name.size() || text[name.size()] != '=') return false;
  text.remove_prefix(name.size() + 1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc()) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  if (text.starts_with(' ')) text.remove_prefix(1);
  return true;
}

std::string printable(std::string_view text) {
  std::string kept(text.substr(0, kTextBytesMax));
  for (char& c : kept)
    if (c < 0x20 || c > 0x7e) c = '?';
  return kept;
}

// offset=N emulated=0|1 label=R secret=R object=R path=N[,N…]
std::optional<TlsLesson::Place> parse_place(std::string_view text) {
  TlsLesson::Place place;
  unsigned emulated = 0, label = 0, secret = 0, object = 0;
  int64_t step = 0;
  if (!take(text, "offset", place.offset) || !take(text, "emulated", emulated) || !take(text, "label", label) ||
      !take(text, "secret", secret) || !take(text, "object", object) || !take(text, "path", step))
    return std::nullopt;
  if (emulated > 1 || label >= abi::GH_REGISTERS || secret >= abi::GH_REGISTERS || object >= abi::GH_REGISTERS)
    return std::nullopt;
  place.is_emulated = emulated == 1;
  place.registers.label = static_cast<uint8_t>(label);
  place.registers.secret = static_cast<uint8_t>(secret);
  place.registers.object = static_cast<uint8_t>(object);
  for (size_t i = 0;; ++i) {
    if (i == GH_TLS_PATH_MAX || step < -kPathStepMax || step > kPathStepMax) return std::nullopt;
    place.registers.path[i] = static_cast<int32_t>(step);
    place.registers.path_count = static_cast<uint8_t>(i + 1);
    if (text.empty()) return place;
    if (text[0] != ',') return std::nullopt;
    text.remove_prefix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), step);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
  }
}

// What it prints until it ends, is done for, or says too much.
Result<std::string> listen_to(pid_t helper, int fd) {
  std::string printed;
  const uint64_t end_ns = boottime_ns() + kHelperNsMax;
  for (;;) {
    const uint64_t now_ns = boottime_ns();
    pollfd one{.fd = fd, .events = POLLIN, .revents = 0};
    const int left_ms = now_ns >= end_ns ? 0 : static_cast<int>((end_ns - now_ns) / 1'000'000);
    if (poll(&one, 1, left_ms) <= 0) {
      kill(helper, SIGKILL);
      return Error("the helper took too long");
    }
    std::array<char, 512> buffer{};
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got <= 0) return printed;
    printed.append(buffer.data(), static_cast<size_t>(got));
    if (printed.size() > kPrintedBytesMax) {
      kill(helper, SIGKILL);
      return Error("the helper says too much");
    }
  }
}

}  // namespace

std::optional<TlsLesson> parse_lesson(std::string_view text) {
  TlsLesson lesson;
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    if (newline == std::string_view::npos) return std::nullopt;
    const std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline + 1);
    if (line.starts_with("version ")) {
      lesson.version = printable(line.substr(8));
    } else if (line.starts_with("none ")) {
      lesson.why_not = printable(line.substr(5));
      return lesson;
    } else if (line.starts_with("place ")) {
      lesson.place = parse_place(line.substr(6));
      if (!lesson.place) return std::nullopt;
      return lesson;
    } else {
      return std::nullopt;
    }
  }
  return std::nullopt;
}

Result<TlsLesson> run_lesson(const std::string& helper, std::span<const int> files, std::string& printed) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) return Error::system("learning a TLS library: pipe");
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, write_end.get(), 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  std::vector<std::string> arguments{helper};
  std::vector<UniqueFd> moved;  // out of the way of the numbers that they get
  for (size_t i = 0; i < files.size(); ++i) {
    const int number = kFirstDescriptor + static_cast<int>(i);
    moved.emplace_back(fcntl(files[i], F_DUPFD_CLOEXEC, kFirstDescriptor + 100));
    posix_spawn_file_actions_adddup2(&actions, moved.back().get(), number);
    arguments.push_back("/proc/self/fd/" + std::to_string(number));
  }
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::array<char*, 1> environment{nullptr};
  pid_t pid = 0;
  const int error = posix_spawn(&pid, helper.c_str(), &actions, nullptr, argv.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return Error::system("learning a TLS library: starting " + helper, error);
  write_end.reset();
  auto heard = listen_to(pid, read_end.get());
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (!heard) return TlsLesson{.version = {}, .place = {}, .why_not = heard.error().message()};
  printed = std::move(*heard);
  if (auto lesson = parse_lesson(printed)) return std::move(*lesson);
  printed.clear();
  if (WIFSIGNALED(status)) return TlsLesson{.version = {}, .place = {}, .why_not = "its code crashes when it is tried"};
  return Error("learning a TLS library: the helper failed");
}

}  // namespace gatehouse::capture
