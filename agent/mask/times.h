// SPDX-License-Identifier: Apache-2.0
// What becomes of dates and times. Text in ISO style is read as a value, so that it and the binary form get the same;
// text in another DateStyle keeps its style and becomes a fixed day, with the year where the method shows it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "agent/mask/act.h"
#include "agent/mask/types.h"

namespace gatehouse::mask {

// As PostgreSQL's binary forms have them: days, or microseconds, since 2000-01-01; microseconds since midnight.
int32_t mask_date(const Act& act, int32_t days);
int64_t mask_timestamp(const Act& act, int64_t microseconds);
int64_t mask_time(const Act& act, int64_t microseconds);

// kind: kDate, kTime, kTimeTz, kTimestamp, kTimestampTz, kInterval. False: not one in any style.
bool mask_time_text(const Act& act, Kind kind, std::string_view value, std::string& out);

}  // namespace gatehouse::mask
