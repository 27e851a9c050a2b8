// SPDX-License-Identifier: Apache-2.0
// Oracle: whatever a statement is, what a reviewer is shown is printable UTF-8 on lines of their own, and with any
// limit what is shown and what is left out are the whole.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "cli/review_text.h"
#include "cli/safe_text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto whole = gatehouse::cli::review_text(text, 0);
  if (whole.lines_left_out != 0 || whole.bytes_left_out != 0) std::abort();
  size_t lines = 0;
  std::string_view rest = whole.text;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) std::abort();
    const std::string_view line = rest.substr(0, end);
    // Six columns of a number and blanks; then nothing that the terminal would take for more than a character.
    std::string shown;
    for (const char c : line.substr(std::min<size_t>(6, line.size())))
      if (c != ' ') shown += c;
    if (gatehouse::cli::safe(shown) != shown) std::abort();
    rest.remove_prefix(end + 1);
    ++lines;
  }
  if (lines != whole.lines) std::abort();
  const auto head = gatehouse::cli::review_text(text, 1 + data[0]);
  if (head.lines != whole.lines || head.bytes_left_out > text.size()) std::abort();
  if ((head.lines_left_out == 0) != (head.bytes_left_out == 0) && !text.empty() && head.lines_left_out != 0 &&
      head.bytes_left_out == 0 && text.back() != '\n')
    std::abort();
  return 0;
}
