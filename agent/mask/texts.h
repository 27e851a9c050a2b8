// SPDX-License-Identifier: Apache-2.0
// What becomes of text. Each appends ASCII to `out`, and nothing that quoting in arrays, rows, JSON or COPY would have
// to escape, unless the value itself had it at that place.
#pragma once

#include <string>
#include <string_view>

#include "agent/mask/act.h"

namespace gatehouse::mask {

inline constexpr std::string_view kRedacted = "***";

// A whole value of a text type; kNull is as kRedact.
void mask_text(const Act& act, std::string_view value, std::string& out);
// A part of a text that a detector found.
void mask_span(const Act& act, Detector detector, std::string_view span, std::string& out);

// "j***@***.com", "**** **** **** 1111", "J***".
void append_partial(std::string_view value, std::string& out);
// All but the last four digits or letters are stars.
void append_last_four(std::string_view value, std::string& out);
// Digits stay digits, letters stay letters of their case, all else stays but what is not ASCII.
void append_tokenised(const Act& act, std::string_view value, std::string& out);
// 32 hexadecimal digits.
void append_hashed(const Act& act, std::string_view value, std::string& out);

// Digits ('0' to '9') in place, FF1 where it takes them, else by a stream of the key. `keeps_lead`: the first stays
// above '0'.
void tokenise_digits(const Act& act, std::span<char> digits, bool keeps_lead);

}  // namespace gatehouse::mask
