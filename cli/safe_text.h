// SPDX-License-Identifier: Apache-2.0
// Text from databases, made fit for a terminal. Statements, names and messages are written by whom we watch: none of
// it may move the cursor, change colours, reorder a line or hide. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace gatehouse::cli {

// Appends `text` as printable UTF-8 on one line: runs of white space become one space (none at either end), control
// characters and bytes that are not UTF-8 become \xNN, and characters that are invisible or change the writing
// direction become \u{NNNN}.
void append_safe(std::string& out, std::string_view text);
std::string safe(std::string_view text);

// Appends `text` as a JSON string with quotes. What append_safe would escape is escaped (\u001b, \u202e), so that JSON
// on a terminal is as harmless; everything else stays UTF-8. Bytes that are not UTF-8 become U+FFFD.
void append_json_string(std::string& out, std::string_view text);

// Columns that `text` takes on a terminal: wide East Asian characters and emoji two, combining ones none.
// `text` is what append_safe made.
size_t display_width(std::string_view text);

// The head of `text` in at most `width` columns, ending in … if something was cut. `text` is what append_safe made.
std::string cut_to_width(std::string_view text, size_t width);

}  // namespace gatehouse::cli
