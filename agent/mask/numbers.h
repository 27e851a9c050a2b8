// SPDX-License-Identifier: Apache-2.0
// What becomes of numbers: whole ones, decimals and floating point.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/mask/act.h"

namespace gatehouse::mask {

// `max`: of the type. The sign is no part of it; hashes are never negative.
int64_t mask_integer(const Act& act, int64_t value, int64_t max);
uint64_t mask_unsigned(const Act& act, uint64_t value, uint64_t max);
double mask_float(const Act& act, double value, bool is_single);

// A numeric in its text form, or a number of JSON without an exponent. False: `value` is none.
// `typmod`: of numeric, -1 if none.
bool mask_decimal(const Act& act, std::string_view value, int32_t typmod, std::string& out);

// numeric's binary form from its text form and back. False: not well-formed.
bool append_numeric_binary(std::string_view text, std::string& out);
bool append_numeric_text(std::string_view binary, std::string& out);

}  // namespace gatehouse::mask
