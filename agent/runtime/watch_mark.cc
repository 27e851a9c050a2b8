// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/watch_mark.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>

#include "common/crc32c.h"

namespace gatehouse::runtime {
namespace {

constexpr std::string_view kMagic = "gatehouse-watched 1 ";
constexpr size_t kTimeDigits = 20;  // of any uint64_t
constexpr size_t kSumDigits = 10;
constexpr std::string_view kRunning = " running ";
constexpr std::string_view kEnded = " ended   ";  // as long
static_assert(kRunning.size() == kEnded.size());
constexpr size_t kLineBytes = kMagic.size() + kTimeDigits + kRunning.size() + kSumDigits + 1;

std::string padded(uint64_t value, size_t digits) {
  const std::string text = std::to_string(value);
  return std::string(digits - text.size(), '0') + text;
}

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  const auto [stop, fault] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (fault != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::string format_watched(const Watched& watched) {
  std::string line(kMagic);
  line += padded(watched.until_unix_ns, kTimeDigits);
  line += watched.is_ended ? kEnded : kRunning;
  line += padded(crc32c(as_bytes(line)), kSumDigits) + '\n';
  return line;
}

std::optional<Watched> parse_watched(std::string_view content) {
  if (content.size() != kLineBytes || !content.starts_with(kMagic) || content.back() != '\n') return std::nullopt;
  const std::string_view summed = content.substr(0, kLineBytes - kSumDigits - 1);
  const auto until = number(summed.substr(kMagic.size(), kTimeDigits));
  const std::string_view word = summed.substr(kMagic.size() + kTimeDigits);
  const auto sum = number(content.substr(summed.size(), kSumDigits));
  if (!until || !sum || *sum != crc32c(as_bytes(summed)) || (word != kRunning && word != kEnded)) return std::nullopt;
  return Watched{.until_unix_ns = *until, .is_ended = word == kEnded};
}

Result<WatchMark> WatchMark::open(const std::string& path) {
  WatchMark mark;
  GH_ASSIGN(mark.file_, open_file(path, O_RDWR | O_CREAT));
  std::string content(kLineBytes + 1, '\0');
  const ssize_t got = ::pread(mark.file_.get(), content.data(), content.size(), 0);
  if (got < 0) return Error::system(path);
  content.resize(static_cast<size_t>(got));
  mark.before_ = parse_watched(content);
  return mark;
}

void WatchMark::write(const Watched& watched) {
  if (watched.until_unix_ns < written_.until_unix_ns || watched == written_) return;
  const std::string line = format_watched(watched);
  if (::pwrite(file_.get(), line.data(), line.size(), 0) == static_cast<ssize_t>(line.size())) written_ = watched;
}

}  // namespace gatehouse::runtime
