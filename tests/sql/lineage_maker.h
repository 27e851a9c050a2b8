// SPDX-License-Identifier: Apache-2.0
// Tables with columns whose values can be told wherever they come to light, and queries that try to bring them there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/sql/server.h"
#include "tests/support/sql_statements.h"

namespace gatehouse::test {

// Tables, views, functions, …; drops what was there.
void make_lineage_fixture(Server& server);

// A column whose values are marked, as "table.column"; children and partitions have it as well.
struct MarkedColumn {
  std::string_view relation, column;
  std::vector<std::string> values;
};

// Finds marked values, and images of them that can be turned back: a part of four characters or more, reversed, in
// capitals, in hexadecimal, through one translation; of the whole in base64, MD5 and SHA-256.
class Detector {
 public:
  explicit Detector(std::vector<MarkedColumn> columns);
  [[nodiscard]] const std::vector<MarkedColumn>& columns() const { return columns_; }
  // Indices of columns that are found in it.
  void add_whole(size_t column, std::string_view image);
  [[nodiscard]] std::set<size_t> find(std::string_view text) const;

 private:
  void add(size_t column, std::string_view image);

  static constexpr size_t kPart = 4, kNumberPart = 6, kLongPart = 8, kLongText = 200;
  std::vector<MarkedColumn> columns_;
  std::vector<std::pair<std::string, size_t>> parts_;  // sorted
  std::vector<std::pair<std::string, size_t>> wholes_;
};
Detector detector_of(Server& server);

class LineageMaker {
 public:
  explicit LineageMaker(uint64_t seed) : dice_(seed) {}
  // One or two statements.
  std::string text();

 private:
  struct Item {
    std::string name;
    std::vector<std::string> columns;
    bool has_row = true;
  };
  using Scope = std::vector<Item>;
  struct From {
    std::string text;
    Scope scope;
  };
  From from(size_t depth, const Scope& outer);
  From table();
  From source(size_t depth, const Scope& before);
  std::string value(size_t depth, const Scope& scope);
  std::string column(const Scope& scope);
  std::string condition(size_t depth, const Scope& scope);
  std::string output(size_t depth, const Scope& scope);
  // Gives exactly these columns, as texts, if `count` is not 0.
  std::string query(size_t depth, const Scope& outer, size_t count);
  std::string returning(const Item& item);
  std::string change();
  std::string name();

  Dice dice_;
  size_t names_ = 0;
  std::vector<Item> common_tables_;
};

// Queries that show nothing of what is marked, and that nobody would have masked.
std::vector<std::string_view> harmless_queries();

}  // namespace gatehouse::test
