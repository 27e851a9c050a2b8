// SPDX-License-Identifier: Apache-2.0
// Flow: what may flow into one value, as the lineage's walk passes it around. Sources are numbers, which a SourceTable
// gives.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "agent/sql/catalog.h"
#include "agent/sql/lineage.h"

namespace gatehouse::sql {

// PostgreSQL's own types (pg_type.dat) that the walk tells apart.
inline constexpr Oid kNameType = 19, kTextType = 25, kBpcharType = 1042, kVarcharType = 1043, kRecordType = 2249,
                     kRecordArrayType = 2287, kAnyType = 2276, kAnyArrayType = 2277, kAnyElementType = 2283,
                     kAnyNonArrayType = 2776, kAnyEnumType = 3500, kAnyCompatibleType = 5077;

using SourceId = uint32_t;

class SourceTable {
 public:
  SourceId of(const Catalog& catalog, const CatalogRelation& relation, const CatalogColumn& column);
  // Names as written.
  SourceId of_name(std::string_view schema, std::string_view relation, std::string_view column);
  [[nodiscard]] const ColumnSource& at(SourceId id) const { return sources_[id]; }
  [[nodiscard]] size_t size() const { return sources_.size(); }
  void clear();

 private:
  std::vector<ColumnSource> sources_;
  std::unordered_map<uint64_t, SourceId> by_number_;
  std::map<std::tuple<std::string, std::string, std::string>, SourceId> by_name_;
};

class SourceSet {
 public:
  void add(SourceId id);
  void add(const SourceSet& other);
  [[nodiscard]] bool empty() const { return ids_.empty(); }
  [[nodiscard]] size_t size() const { return ids_.size(); }
  [[nodiscard]] std::span<const SourceId> ids() const { return ids_; }
  [[nodiscard]] std::vector<ColumnSource> in(const SourceTable& table) const;
  bool operator==(const SourceSet&) const = default;

 private:
  std::vector<SourceId> ids_;  // sorted, each once
};

struct Row;

struct Flow {
  SourceSet sources, conditions;
  bool is_derived = false;
  bool is_unknown = false;
  Oid type = kNoOid;               // kNoOid: not known
  std::shared_ptr<const Row> row;  // of a value that is a row, or an array of such: its fields

  // One of both.
  void add(const Flow& other);
  // Computed from it as well; what the value is remains.
  void take(const Flow& other);
  // That decide about it.
  void decide_by(const Flow& other);
  [[nodiscard]] bool tells_something() const { return is_unknown || !sources.empty(); }
  bool operator==(const Flow& other) const {
    return sources == other.sources && conditions == other.conditions && is_derived == other.is_derived &&
           is_unknown == other.is_unknown;
  }
};
Flow unknown_flow();
// A value that is computed from others, which may be rows.
Flow derived_from(std::span<const Flow> flows);

struct NamedFlow {
  std::string name;
  Flow flow;
};

// What a query gives.
struct Row {
  std::vector<NamedFlow> columns;
  // There may be other columns than these, each at most `rest`; where they stand is not known.
  bool is_open = false;
  Flow rest;

  [[nodiscard]] const Flow* find(std::string_view name) const;
  [[nodiscard]] Flow all() const;  // of all columns together
  // As one value.
  [[nodiscard]] Flow first() const;
  void open(const Flow& more);
  // Column by column; both open if they differ.
  void add(const Row& other);
  // AS t(a, b).
  void rename(const std::vector<std::string>& names);
};
Row open_row(Flow rest);
Flow flow_of_row(std::shared_ptr<const Row> row);

constexpr bool is_text(Oid type) {
  return type == kTextType || type == kVarcharType || type == kBpcharType || type == kNameType;
}
constexpr bool is_polymorphic(Oid type) {
  return type == kAnyType || type == kAnyElementType || type == kAnyNonArrayType || type == kAnyCompatibleType;
}

}  // namespace gatehouse::sql
