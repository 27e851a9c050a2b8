// SPDX-License-Identifier: Apache-2.0
// Which columns seem to hold sensitive values, learned from results that pass by. Values are looked at and not kept.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "agent/mask/method.h"
#include "agent/mask/scanner.h"

namespace gatehouse::mask {

// One column, by RowDescription's table OID and attribute number or by name; whatever the caller keeps apart.
struct ColumnKey {
  uint64_t database = 0;
  uint32_t relation = 0;
  int16_t attribute = 0;
  auto operator<=>(const ColumnKey&) const = default;
};

struct Suggestion {
  ColumnKey column{};
  std::string name{};  // as it was first seen
  Detector detector{};
  uint64_t sampled = 0;   // values looked at, NULL left out
  uint64_t hits = 0;      // of them with such a span
  uint64_t whole = 0;     // of those, the span is all of the value
  double confidence = 0;  // 0 to 1: lower end of the 95 % interval of the share, times how sure the form is
};

struct DiscoveryLimits {
  size_t columns = 10'000;            // later ones are not looked at, and counted
  uint32_t values_per_column = 1000;  // then every 64th only, up to sampled_max
  uint32_t sampled_max = 100'000;
  size_t value_bytes = 4096;  // of each value are looked at
};

// Not shared between threads; merge() joins what several have learned.
class Discovery {
 public:
  explicit Discovery(DiscoveryLimits limits = {});
  // A number for the column, to be used for its values; none if there are too many columns.
  static constexpr uint32_t kNone = ~0u;
  uint32_t column(const ColumnKey& key, std::string_view name);
  // A value in text. Costs a few ns where the value is not sampled.
  void see(uint32_t column, std::string_view text);
  void merge(const Discovery& other);
  // By confidence, then by column.
  [[nodiscard]] std::vector<Suggestion> suggestions(double confidence_min = 0.1) const;
  [[nodiscard]] uint64_t columns_dropped() const { return columns_dropped_; }
  [[nodiscard]] size_t columns() const { return columns_.size(); }

 private:
  struct Column {
    ColumnKey key{};
    std::string name{};
    DetectorSet expected{};
    uint64_t seen = 0, sampled = 0;
    std::array<uint32_t, kDetectorCount> hits{}, whole{};
    std::array<uint64_t, kDetectorCount> confidence{};
  };
  DiscoveryLimits limits_;
  std::vector<Column> columns_{};
  std::vector<uint32_t> order_{};  // of columns_, by key
  std::vector<Found> found_{};
  uint64_t columns_dropped_ = 0;
};

}  // namespace gatehouse::mask
