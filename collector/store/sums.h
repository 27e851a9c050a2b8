// SPDX-License-Identifier: Apache-2.0
// Sums of the file's events, so that a count over a day does not read each of them: one row per context, kind of event
// and kSumNs of time. Made with the segment that the events are of, and removed with it; contexts are a segment's own,
// so no row has events of two. Private to collector/store.
//
//   column                           | of the events that the row stands for
//   ---------------------------------|----------------------------------------------------------------
//   context, the kind columns        | what they have in common
//   start_ns                         | the start of the time they are of, a multiple of kSumNs
//   event_count                      | how many they are
//   result_rows, duration_ns         | the sums of theirs; what does not fit reads as the largest number
//   time_ns                          | the latest
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace gatehouse::store {

// Longer, and more events at a question's edges are read one by one; shorter, and there are more rows of sums: with a
// quarter of an hour, 10 million events of three days have 570 000 of them, 1.2 bytes an event.
inline constexpr uint64_t kSumNs = 900'000'000'000;

// Time that sums cover, of what a question asks for: multiples of kSumNs.
struct SummedTime {
  uint64_t from_ns = 0;
  uint64_t to_ns = 0;  // exclusive
};
// None if there is no whole one. `until_ns` 0: no bound.
std::optional<SummedTime> summed_time(uint64_t since_ns, uint64_t until_ns);

std::string create_sums_sql();
// Adds those of a segment whose rows are in the file's tables.
std::string add_sums_sql(uint64_t segment);
// A SELECT of the sums of segments up to `segment`: those of `columns` that sums have, as columns.
std::string sums_sql(const SummedTime& time, uint64_t segment, std::span<const std::string_view> columns);

}  // namespace gatehouse::store
