// SPDX-License-Identifier: Apache-2.0
#include "agent/mask/discovery.h"

#include <algorithm>
#include <cmath>

namespace gatehouse::mask {
namespace {

constexpr uint64_t kSparse = 64;  // every so many values are looked at, once a column has had its share

// The lower end of Wilson's interval for a share, at 95 %.
double share_at_least(double hits, double of) {
  constexpr double z = 1.96;
  const double share = hits / of, square = z * z;
  const double centre = share + square / (2 * of);
  const double spread = z * std::sqrt(share * (1 - share) / of + square / (4 * of * of));
  return std::max(0.0, (centre - spread) / (1 + square / of));
}

}  // namespace

Discovery::Discovery(DiscoveryLimits limits) : limits_(limits) {}

uint32_t Discovery::column(const ColumnKey& key, std::string_view name) {
  const auto at =
      std::ranges::lower_bound(order_, key, {}, [this](uint32_t i) -> const ColumnKey& { return columns_[i].key; });
  if (at != order_.end() && columns_[*at].key == key) return *at;
  if (columns_.size() >= limits_.columns) {
    ++columns_dropped_;
    return kNone;
  }
  const auto number = static_cast<uint32_t>(columns_.size());
  columns_.push_back({.key = key, .name = std::string(name), .expected = expected_by(name)});
  order_.insert(at, number);
  return number;
}

void Discovery::see(uint32_t number, std::string_view text) {
  if (number >= columns_.size()) return;
  Column& column = columns_[number];
  const uint64_t seen = column.seen++;
  if (column.sampled >= limits_.values_per_column && (seen % kSparse != 0 || column.sampled >= limits_.sampled_max))
    return;
  ++column.sampled;
  const std::string_view looked_at = text.substr(0, limits_.value_bytes);
  found_.clear();
  if (!scan(looked_at, DetectorSet::all(), column.expected, found_)) return;
  DetectorSet counted;
  for (const Found& found : found_) {
    if (counted.has(found.detector)) continue;
    counted.add(found.detector);
    const auto index = static_cast<size_t>(found.detector);
    ++column.hits[index];
    column.confidence[index] += found.confidence;
    if (found.begin == 0 && found.end == text.size()) ++column.whole[index];
  }
}

void Discovery::merge(const Discovery& other) {
  columns_dropped_ += other.columns_dropped_;
  for (const Column& theirs : other.columns_) {
    const uint32_t number = column(theirs.key, theirs.name);
    if (number == kNone) continue;
    Column& ours = columns_[number];
    ours.seen += theirs.seen;
    ours.sampled += theirs.sampled;
    for (size_t i = 0; i < kDetectorCount; ++i) {
      ours.hits[i] += theirs.hits[i];
      ours.whole[i] += theirs.whole[i];
      ours.confidence[i] += theirs.confidence[i];
    }
  }
}

std::vector<Suggestion> Discovery::suggestions(double confidence_min) const {
  std::vector<Suggestion> found;
  for (const Column& column : columns_) {
    for (size_t i = 0; i < kDetectorCount; ++i) {
      if (column.hits[i] == 0) continue;
      const auto hits = static_cast<double>(column.hits[i]);
      const double surety = static_cast<double>(column.confidence[i]) / (100 * hits);
      const double confidence = share_at_least(hits, static_cast<double>(column.sampled)) * surety;
      if (confidence < confidence_min) continue;
      found.push_back({.column = column.key,
                       .name = column.name,
                       .detector = static_cast<Detector>(i),
                       .sampled = column.sampled,
                       .hits = column.hits[i],
                       .whole = column.whole[i],
                       .confidence = confidence});
    }
  }
  std::ranges::sort(found, [](const Suggestion& a, const Suggestion& b) {
    return a.confidence != b.confidence ? a.confidence > b.confidence : a.column < b.column;
  });
  return found;
}

}  // namespace gatehouse::mask
