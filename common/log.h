// SPDX-License-Identifier: Apache-2.0
// One line per event on standard error: `level component message key=value …`.
// error: a human must act; warn: degraded and counted; info: life cycle; debug: development.
// SQL text, parameters and credentials never reach a log, so there is no way to format them here.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace gatehouse::log {

enum class Level : uint8_t { kDebug, kInfo, kWarn, kError };

// A value of a log line. Only these types have a form.
struct Field {
  Field(std::string_view name, std::string_view text) : key(name), value(text) {}
  Field(std::string_view name, const char* text) : key(name), value(text) {}
  Field(std::string_view name, const std::string& text) : key(name), value(text) {}
  template <std::integral T>
  Field(std::string_view name, T number) : key(name), value(std::to_string(number)) {}

  std::string_view key;
  std::string value;
};

// Lines below this level are dropped. Any thread.
void set_level(Level level);
// Writes one line with one write(2), so lines of several threads do not mix. Any thread.
void write(Level level, std::string_view component, std::string_view message, std::initializer_list<Field> fields = {});

inline void debug(std::string_view component, std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::kDebug, component, message, fields);
}
inline void info(std::string_view component, std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::kInfo, component, message, fields);
}
inline void warn(std::string_view component, std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::kWarn, component, message, fields);
}
inline void error(std::string_view component, std::string_view message, std::initializer_list<Field> fields = {}) {
  write(Level::kError, component, message, fields);
}

}  // namespace gatehouse::log
