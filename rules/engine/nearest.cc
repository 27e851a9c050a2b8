// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/nearest.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

namespace gatehouse::rules {
namespace {

constexpr size_t kNameBytesMax = 64;

}  // namespace

size_t edit_distance(std::string_view from, std::string_view to) {
  from = from.substr(0, kNameBytesMax);
  to = to.substr(0, kNameBytesMax);
  std::array<size_t, kNameBytesMax + 1> row{};
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= from.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= to.size(); ++j) {
      const size_t replaced = diagonal + (from[i - 1] == to[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({row[j] + 1, row[j - 1] + 1, replaced}));
    }
  }
  return row[to.size()];
}

size_t meant_distance(std::string_view written, std::string_view name) {
  const size_t whole = edit_distance(written, name);
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return whole;
  const std::string_view last_written = written.substr(written.rfind('.') + 1);
  return std::min(whole, edit_distance(last_written, name.substr(dot + 1)) + 1);
}

}  // namespace gatehouse::rules
