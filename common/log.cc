// SPDX-License-Identifier: Apache-2.0
#include "common/log.h"

#include <unistd.h>

#include <array>
#include <atomic>

namespace gatehouse::log {
namespace {

std::atomic<Level> g_level{Level::kInfo};
constexpr std::array<std::string_view, 4> kNames{"debug", "info", "warn", "error"};

// A value with a space, a quote or a control character is quoted, so a line stays one line and splits on spaces.
void append_value(std::string& line, std::string_view value) {
  if (value.find_first_of(" \"\\=\n\r\t") == std::string_view::npos && !value.empty()) {
    line += value;
    return;
  }
  line += '"';
  for (const char c : value) {
    if (c == '"' || c == '\\') line += '\\';
    line += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  line += '"';
}

}  // namespace

void set_level(Level level) {
  g_level.store(level, std::memory_order_relaxed);
}

void write(Level level, std::string_view component, std::string_view message, std::initializer_list<Field> fields) {
  if (level < g_level.load(std::memory_order_relaxed)) return;
  std::string line;
  line += kNames[static_cast<size_t>(level)];
  line += ' ';
  line += component;
  line += ' ';
  line += message;
  for (const Field& field : fields) {
    line += ' ';
    line += field.key;
    line += '=';
    append_value(line, field.value);
  }
  line += '\n';
  // Nobody can be told when standard error is gone.
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace gatehouse::log
