// SPDX-License-Identifier: Apache-2.0
// Tables that fit a terminal. Cells hold text that is already safe (cli/safe_text.h). Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gatehouse::cli {

enum class Tone : uint8_t { kPlain, kGood, kBad, kOdd, kFaint };

struct Cell {
  std::string text;
  Tone tone = Tone::kPlain;
};

struct TableColumn {
  std::string title;
  size_t min_width = 4;     // never narrower, unless the terminal is
  size_t usual_width = 12;  // where no rows are known yet to measure
  size_t max_width = 40;    // never wider; cut with …
  bool right = false;       // numbers
  bool takes_rest = false;  // the column that gets what is left of the line
};

// `terminal_width` 0: no limit (a pipe, a file): nothing is cut, max_width does not bind.
struct TableStyle {
  size_t terminal_width = 0;
  bool colour = false;
};

// Widths are fixed when made, so that rows can be printed as they come.
class Table {
 public:
  // `sample` are rows to measure; empty: usual widths.
  Table(std::vector<TableColumn> columns, TableStyle style, std::span<const std::vector<Cell>> sample);

  // Lines with their newline.
  [[nodiscard]] std::string header() const;
  [[nodiscard]] std::string line(const std::vector<Cell>& cells) const;

 private:
  void fit();

  std::vector<TableColumn> columns_;
  TableStyle style_;
  std::vector<size_t> widths_;
};

// Header and all rows.
std::string render_table(std::vector<TableColumn> columns, TableStyle style, std::span<const std::vector<Cell>> rows);
// `text` in the tone's colour, or as it is.
std::string toned(std::string_view text, Tone tone, bool colour);

}  // namespace gatehouse::cli
