// SPDX-License-Identifier: Apache-2.0
// A statement as a reviewer reads it before he agrees: what is shown is what runs. Its lines stay lines (a comment ends
// where the server ends it), and nothing in it can hide, move, colour or pass for another character. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace gatehouse::cli {

struct ReviewText {
  std::string text;       // lines with their newline, each with its number before it
  size_t escaped = 0;     // control characters, bytes that are no text, what is invisible or turns the direction
  size_t lookalikes = 0;  // letters of another alphabet among Latin ones, or that look like them; and odd punctuation
  size_t lines = 0;       // of the whole
  size_t lines_left_out = 0;
  size_t bytes_left_out = 0;
};

// `bytes_max`: about so much of it; 0: all. What is left out is counted, and stands at its end, never in its middle.
ReviewText review_text(std::string_view text, size_t bytes_max);

}  // namespace gatehouse::cli
