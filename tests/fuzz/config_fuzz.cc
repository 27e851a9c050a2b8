// SPDX-License-Identifier: Apache-2.0
// Oracle: a text is a configuration, or it is refused with one line that names file and line, within the text. What was
// accepted is accepted again and comes to the same. Byte 0 picks the agent's or the collector's table.
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "agent/config/agent_config.h"
#include "collector/config/collector_config.h"
#include "common/check.h"

namespace {

using namespace gatehouse;

void check_error(const Error& error, std::string_view text) {
  GH_CHECK(error.kind() == ErrorKind::kConfiguration);
  std::string_view message = error.message();
  GH_CHECK(message.starts_with("f:"));
  GH_CHECK(std::ranges::none_of(message, [](char c) { return static_cast<unsigned char>(c) < 0x20; }));
  message.remove_prefix(2);
  size_t line = 0;
  const auto [end, failed] = std::from_chars(message.data(), message.data() + message.size(), line);
  GH_CHECK(failed == std::errc{} && *end == ':');
  GH_CHECK(line >= 1 &&
           line <= 1 + static_cast<size_t>(std::ranges::count_if(text, [](char c) { return c == '\n' || c == '\r'; })));
}

template <typename Config>
void check_config(const Result<Config>& first, const Result<Config>& second, std::string_view text) {
  GH_CHECK(first.has_value() == second.has_value());
  if (first)
    GH_CHECK(describe(*first) == describe(*second));
  else
    check_error(first.error(), text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 == 0)
    check_config(parse_agent_config(text, "f"), parse_agent_config(text, "f"), text);
  else
    check_config(parse_collector_config(text, "f"), parse_collector_config(text, "f"), text);
  return 0;
}
