// SPDX-License-Identifier: Apache-2.0
// Masks: what is to become of the columns of an answer, and which statements may not run because what they would show
// cannot be masked. From where values come lineage tells; who is concerned a mask's `unless` does. Pure; one thread.
//
// Doubt means that the value is masked: a column whose sources are not all known is, as soon as its statement can touch
// what a mask is about.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/sql/catalog.h"
#include "agent/sql/lineage.h"
#include "rules/engine/cel_program.h"
#include "rules/engine/policy.h"
#include "rules/schema/event.h"

namespace gatehouse::judge {

// One column of a result.
struct MaskedOutput {
  static constexpr uint32_t kNone = UINT32_MAX;
  uint32_t mask = kNone;  // of Policy::masks
  bool whole = false;     // it is made of what is masked, not the value itself: nothing of it may show
  std::string source;     // "schema.table.column"; empty: not known
};

// What one statement gives.
struct MaskedResult {
  bool are_columns_known = true;
  std::vector<MaskedOutput> columns;
  MaskedOutput every;         // each of the columns, where they are not known
  bool has_masked = false;    // it touches what is masked: messages may tell of it
  std::optional<sql::CopyFormat> copy;
};

// Columns of tables that masks name, by how the server numbers them: the second witness beside lineage.
class MaskedIds {
 public:
  MaskedIds(const rules::Policy& policy, const sql::Catalog& catalog);
  // The masks of that column, of Policy::masks; empty: none.
  [[nodiscard]] std::span<const uint32_t> find(uint32_t relation_oid, int16_t attribute) const;

 private:
  std::unordered_map<uint64_t, std::vector<uint32_t>> masks_;
};

// The answer to one request. Immutable once it is made; shared by the guards of what it was made for.
struct AnswerPlan {
  std::shared_ptr<const rules::Policy> policy;
  std::vector<MaskedResult> results;  // of the text's statements, in order
  std::vector<uint32_t> active;       // of Policy::masks: those that hold here, in order
  std::vector<uint32_t> detect;       // … which find by content
  std::shared_ptr<const MaskedIds> ids;  // null: there is no catalog
  rules::ResultLimit limit{};
  const rules::Rule* limited_by = nullptr;  // of `policy`
  // Nothing of the answer can change.
  [[nodiscard]] bool is_empty() const;
};

class Masks {
 public:
  // Null: none. Kept until the next one.
  void set_policy(std::shared_ptr<const rules::Policy> policy);
  // There is a mask that is no draft.
  [[nodiscard]] bool any() const { return !used_.empty(); }
  // … which names columns: lineage is wanted.
  [[nodiscard]] bool needs_lineage() const { return needs_lineage_; }

  // An activity begins.
  void begin();
  // A statement of it, in order. `lineage`: null: nothing is known of what it gives. `variables`: of the event
  // "statement". `replaces`: it is one that an EXECUTE or FETCH of the text runs, whose place it takes.
  struct Shown {
    const sql::Lineage* lineage = nullptr;
    std::shared_ptr<const sql::Catalog> catalog;
    std::span<const rules::ObjectView> objects;
    bool is_replication = false;
    bool replaces = false;
  };
  void add(const rules::Variables& variables, const Shown& shown);

  // What came of it. A mask that was met: `blocks`: the statement may not run.
  struct Met {
    uint32_t mask = 0;
    bool blocks = false;
    bool would = false;         // the mask is on a dry run
    std::string_view reason{};  // of a block
  };
  [[nodiscard]] std::span<const Met> met() const { return met_; }
  // One of them touches what a mask that is carried out hides.
  [[nodiscard]] bool has_touched() const;
  // Null: the answer passes as it is. Good for as long as somebody holds it.
  [[nodiscard]] std::shared_ptr<AnswerPlan> take_plan();

 private:
  struct Pattern {
    std::string schema, table, column;
  };
  struct Used {
    uint32_t mask = 0;
    std::vector<Pattern> columns;
    bool is_active = false;   // for the statement at hand
    bool was_active = false;  // for one of the activity's
  };
  [[nodiscard]] static bool matches(const Used& used, const sql::ColumnSource& source);
  [[nodiscard]] static bool matches_any(const Used& used, const std::vector<sql::ColumnSource>& sources);
  void meet(const Used& used, bool blocks, std::string_view reason);
  void add_columns(const Used& used, const sql::Lineage* lineage, MaskedResult& result);
  void look_for_leaks(const Used& used, const sql::Lineage& lineage);
  void look_for_renames(const Used& used, std::span<const rules::ObjectView> objects);
  void put(const Used& used, const sql::OutputColumn& from, bool touches, MaskedOutput& to);

  std::shared_ptr<const rules::Policy> policy_;
  std::vector<Used> used_;
  bool needs_lineage_ = false;
  rules::cel::Scratch scratch_{};
  std::vector<Met> met_;
  std::vector<MaskedResult> results_;
  size_t replaced_ = 0;  // of results_: how far EXECUTEs have been replaced
  std::vector<size_t> handles_;
  std::shared_ptr<const MaskedIds> ids_;
  uint64_t ids_version_ = 0;
  bool has_work_ = false;
};

}  // namespace gatehouse::judge
