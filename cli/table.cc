// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include <algorithm>
#include <numeric>

#include "cli/safe_text.h"

namespace gatehouse::cli {
namespace {

constexpr size_t kGap = 2;            // spaces between columns
constexpr size_t kRestWidthMin = 24;  // what takes_rest gets before the others shrink

}  // namespace

std::string toned(std::string_view text, Tone tone, bool colour) {
  std::string_view start;
  switch (tone) {
    case Tone::kPlain:
      break;
    case Tone::kGood:
      start = "\x1b[32m";
      break;
    case Tone::kBad:
      start = "\x1b[31m";
      break;
    case Tone::kOdd:
      start = "\x1b[33m";
      break;
    case Tone::kFaint:
      start = "\x1b[2m";
      break;
  }
  if (!colour || start.empty() || text.empty()) return std::string(text);
  return std::string(start).append(text).append("\x1b[0m");
}

Table::Table(std::vector<TableColumn> columns, TableStyle style, std::span<const std::vector<Cell>> sample)
    : columns_(std::move(columns)), style_(style) {
  for (size_t i = 0; i < columns_.size(); ++i) {
    const TableColumn& column = columns_[i];
    size_t width = std::max(column.min_width, display_width(column.title));
    if (sample.empty()) width = std::max(width, column.usual_width);
    for (const auto& row : sample) width = std::max(width, display_width(row[i].text));
    widths_.push_back(style_.terminal_width == 0 ? width
                                                 : std::min(width, std::max(column.max_width, column.min_width)));
  }
  if (style_.terminal_width != 0) fit();
}

// Gives the line's rest to the column that takes it, and shrinks the widest of the others until it has enough.
void Table::fit() {
  if (columns_.empty()) return;
  const size_t gaps = kGap * (columns_.size() - 1);
  const size_t room = style_.terminal_width > gaps ? style_.terminal_width - gaps : 0;
  const auto rest = static_cast<size_t>(std::ranges::find(columns_, true, &TableColumn::takes_rest) - columns_.begin());
  const bool has_rest = rest < columns_.size();
  const auto used = [&] {
    const size_t all = std::accumulate(widths_.begin(), widths_.end(), size_t{0});
    return has_rest ? all - widths_[rest] + kRestWidthMin : all;
  };
  while (used() > room) {
    size_t widest = columns_.size();
    for (size_t i = 0; i < columns_.size(); ++i) {
      if ((has_rest && i == rest) || widths_[i] <= columns_[i].min_width) continue;
      if (widest == columns_.size() || widths_[i] > widths_[widest]) widest = i;
    }
    if (widest == columns_.size()) break;
    --widths_[widest];
  }
  if (has_rest) {
    const size_t others = used() - kRestWidthMin;
    widths_[rest] = room > others ? room - others : columns_[rest].min_width;
  }
}

std::string Table::header() const {
  std::vector<Cell> titles;
  for (const TableColumn& column : columns_) titles.push_back({column.title, Tone::kFaint});
  return line(titles);
}

std::string Table::line(const std::vector<Cell>& cells) const {
  std::string out;
  size_t column_starts = 0;  // of this cell
  size_t at = 0;             // columns written
  const size_t limit = style_.terminal_width;
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (limit != 0 && column_starts >= limit) break;  // more columns than the terminal has room for
    const size_t width = limit == 0 ? widths_[i] : std::min(widths_[i], limit - column_starts);
    const bool cut = limit != 0;
    const std::string text = cut ? cut_to_width(cells[i].text, width) : cells[i].text;
    const size_t text_width = display_width(text);
    const size_t pad = text_width < width ? width - text_width : 0;
    // Padding is written only before something: lines have no trailing spaces.
    if (text_width > 0) {
      const size_t wanted = column_starts + (columns_[i].right ? pad : 0);
      if (wanted > at) out.append(wanted - at, ' ');
      at = std::max(at, wanted) + text_width;
      out += toned(text, cells[i].tone, style_.colour);
    }
    column_starts = std::max(column_starts + width, at) + kGap;
  }
  return out += '\n';
}

std::string render_table(std::vector<TableColumn> columns, TableStyle style, std::span<const std::vector<Cell>> rows) {
  const Table table(std::move(columns), style, rows);
  std::string out = table.header();
  for (const auto& row : rows) out += table.line(row);
  return out;
}

}  // namespace gatehouse::cli
