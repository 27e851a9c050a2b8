// SPDX-License-Identifier: Apache-2.0
// JsonObject: writes one object's members. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cli/safe_text.h"
#include "rules/engine/time_text.h"

namespace gatehouse::cli {

// Members of one object level, separated by commas.
class JsonObject {
 public:
  explicit JsonObject(std::string& out) : out_(out) { out_ += '{'; }
  void close() { out_ += '}'; }

  std::string& key(std::string_view name) {
    if (!first_) out_ += ',';
    first_ = false;
    append_json_string(out_, name);
    return out_ += ':';
  }
  void text(std::string_view name, std::string_view value) {
    if (!value.empty()) append_json_string(key(name), value);
  }
  void number(std::string_view name, uint64_t value) { key(name) += std::to_string(value); }
  void flag(std::string_view name, bool value) { key(name) += value ? "true" : "false"; }
  void time(std::string_view name, uint64_t unix_ns) {
    if (unix_ns != 0) text(name, rules::format_timestamp_ns(unix_ns));
  }

 private:
  std::string& out_;
  bool first_ = true;
};

}  // namespace gatehouse::cli
