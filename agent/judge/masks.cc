// SPDX-License-Identifier: Apache-2.0
#include "agent/judge/masks.h"

#include <algorithm>
#include <utility>

namespace gatehouse::judge {
namespace {

using rules::RuleMode;
using rules::WhenUnknown;
using sql::ColumnSource;

// What of `pattern` there is before a star, and behind it, and nothing that overlaps.
bool fits(std::string_view pattern, std::string_view text) {
  size_t at = 0, star = std::string_view::npos, kept = 0, i = 0;
  while (i < text.size()) {
    if (at < pattern.size() && pattern[at] == '*') {
      star = at++;
      kept = i;
    } else if (at < pattern.size() && pattern[at] == text[i]) {
      ++at, ++i;
    } else if (star != std::string_view::npos) {
      at = star + 1;
      i = ++kept;
    } else {
      return false;
    }
  }
  while (at < pattern.size() && pattern[at] == '*') ++at;
  return at == pattern.size();
}

// What the server keeps of columns' values beside them: any of them may be in it.
bool is_statistics(std::string_view schema, std::string_view relation) {
  if (!schema.empty() && schema != "pg_catalog") return false;
  constexpr std::string_view kRelations[] = {
      "pg_statistic", "pg_stats", "pg_statistic_ext_data", "pg_stats_ext", "pg_stats_ext_exprs", "pg_largeobject"};
  return std::ranges::find(kRelations, relation) != std::ranges::end(kRelations);
}

std::string name_of(const ColumnSource& source) {
  std::string name = source.schema;
  if (!name.empty()) name += '.';
  return name + source.relation + '.' + source.column;
}

uint64_t id_of(uint32_t oid, int16_t attribute) {
  return (uint64_t{oid} << 16) | static_cast<uint16_t>(attribute);
}

bool is_copy_to_client(const sql::Lineage& lineage) {
  return lineage.copy && lineage.copy->to == sql::CopyFormat::To::kClient;
}

}  // namespace

MaskedIds::MaskedIds(const rules::Policy& policy, const sql::Catalog& catalog) {
  for (size_t i = 0; i < policy.masks.size(); ++i) {
    for (const std::string& written : policy.masks[i].columns) {
      const size_t first = written.find('.'), second = written.find('.', first + 1);
      const std::string_view schema = std::string_view(written).substr(0, first);
      const std::string_view table = std::string_view(written).substr(first + 1, second - first - 1);
      const std::string_view column = std::string_view(written).substr(second + 1);
      catalog.each_relation([&](const sql::CatalogRelation& relation) {
        if (!fits(table, relation.name) || !fits(schema, catalog.schema_name(relation.schema))) return;
        for (const sql::CatalogColumn& each : relation.columns) {
          if (!fits(column, each.name)) continue;
          std::vector<uint32_t>& masks = masks_[id_of(relation.oid, each.attribute)];
          if (masks.empty() || masks.back() != i) masks.push_back(static_cast<uint32_t>(i));
        }
      });
    }
  }
}

std::span<const uint32_t> MaskedIds::find(uint32_t relation_oid, int16_t attribute) const {
  const auto found = masks_.find(id_of(relation_oid, attribute));
  return found == masks_.end() ? std::span<const uint32_t>() : found->second;
}

bool AnswerPlan::is_empty() const {
  return active.empty() && limited_by == nullptr;
}

void Masks::set_policy(std::shared_ptr<const rules::Policy> policy) {
  policy_ = std::move(policy);
  used_.clear();
  ids_.reset();
  needs_lineage_ = false;
  if (policy_ == nullptr) return;
  for (size_t i = 0; i < policy_->masks.size(); ++i) {
    const rules::Mask& mask = policy_->masks[i];
    if (mask.mode == RuleMode::kDraft) continue;
    Used& used = used_.emplace_back();
    used.mask = static_cast<uint32_t>(i);
    for (const std::string& written : mask.columns) {
      const size_t first = written.find('.'), second = written.find('.', first + 1);
      used.columns.push_back({.schema = written.substr(0, first),
                              .table = written.substr(first + 1, second - first - 1),
                              .column = written.substr(second + 1)});
    }
    needs_lineage_ = needs_lineage_ || !used.columns.empty();
  }
}

void Masks::begin() {
  met_.clear();
  results_.clear();
  handles_.clear();
  replaced_ = 0;
  has_work_ = false;
  for (Used& used : used_) used.is_active = used.was_active = false;
}

bool Masks::matches(const Used& used, const ColumnSource& source) {
  if (is_statistics(source.schema, source.relation)) return !used.columns.empty();
  return std::ranges::any_of(used.columns, [&](const Pattern& pattern) {
    return fits(pattern.table, source.relation) && (source.schema.empty() || fits(pattern.schema, source.schema)) &&
           (source.column == "*" || fits(pattern.column, source.column));
  });
}

bool Masks::matches_any(const Used& used, const std::vector<ColumnSource>& sources) {
  return std::ranges::any_of(sources, [&](const ColumnSource& source) { return matches(used, source); });
}

void Masks::meet(const Used& used, bool blocks, std::string_view reason) {
  const auto known = std::ranges::find(met_, used.mask, &Met::mask);
  if (known != met_.end()) {
    if (blocks && !known->blocks) *known = {used.mask, true, known->would, reason};
    return;
  }
  met_.push_back({.mask = used.mask,
                  .blocks = blocks,
                  .would = policy_->masks[used.mask].mode == RuleMode::kDryRun,
                  .reason = reason});
}

// The first mask that says something of a column has it, but one that hides all of it goes before one that does not.
void Masks::put(const Used& used, const sql::OutputColumn& from, bool touches, MaskedOutput& to) {
  const rules::Mask& mask = policy_->masks[used.mask];
  const auto source = std::ranges::find_if(from.sources, [&](const ColumnSource& s) { return matches(used, s); });
  const bool is_source = source != from.sources.end();
  const bool is_doubtful = !is_source && from.is_unknown && touches;
  if (!is_source && !is_doubtful) return;
  if (is_doubtful && mask.when_unknown == WhenUnknown::kAllow) return;
  if (is_doubtful && mask.when_unknown == WhenUnknown::kBlock)
    return meet(used, true, "it cannot be told which columns its result shows");
  meet(used, false, {});
  if (mask.mode == RuleMode::kDryRun) return;
  const bool whole = is_doubtful || from.derivation == sql::OutputColumn::Derivation::kDerived ||
                     is_statistics(source->schema, source->relation);
  if (to.mask != MaskedOutput::kNone && (to.whole || !whole)) return;
  to = {.mask = used.mask, .whole = whole, .source = is_source ? name_of(*source) : std::string()};
}

void Masks::add_columns(const Used& used, const sql::Lineage* lineage, MaskedResult& result) {
  static const sql::OutputColumn kAnything{.derivation = sql::OutputColumn::Derivation::kDerived, .is_unknown = true};
  if (used.columns.empty()) return;
  if (lineage == nullptr) {
    result.has_masked = true;
    return put(used, kAnything, true, result.every);
  }
  const bool touches = lineage->may_touch_unknown || matches_any(used, lineage->touched);
  if (policy_->masks[used.mask].mode == RuleMode::kActive) result.has_masked = result.has_masked || touches;
  for (size_t i = 0; i < lineage->columns.size() && i < result.columns.size(); ++i)
    put(used, lineage->columns[i], touches, result.columns[i]);
  // What is not described here is described by the server: `every` is what each of its columns may be.
  if (lineage->has_rows || lineage->is_of_handle || lineage->may_touch_unknown)
    put(used, lineage->is_of_handle ? kAnything : lineage->every, touches || lineage->is_of_handle, result.every);
}

// Ways for a value to get out, or to where it is no longer known for what it is.
void Masks::look_for_leaks(const Used& used, const sql::Lineage& lineage) {
  if (used.columns.empty()) return;
  const rules::Mask& mask = policy_->masks[used.mask];
  if (mask.predicates == rules::Predicates::kBlock) {
    const bool decides = matches_any(used, lineage.predicates) ||
                         std::ranges::any_of(lineage.columns, [&](const sql::OutputColumn& column) {
                           return matches_any(used, column.conditions);
                         });
    if (decides) meet(used, true, "it chooses rows by a masked column");
  }
  if (mask.when_unknown == WhenUnknown::kAllow) return;
  const bool touches = lineage.may_touch_unknown || matches_any(used, lineage.touched);
  for (const sql::ColumnCopy& copy : lineage.copies) {
    const bool is_masked = matches_any(used, copy.sources) || (copy.is_unknown && touches);
    const bool stays = copy.place == sql::ColumnCopy::Place::kRelation && copy.target.column != "*" &&
                       matches(used, copy.target);
    if (is_masked && !stays && !is_copy_to_client(lineage))
      return meet(used, true, "it would put a masked column's values where they are not masked");
  }
}

// Another name, another schema, another table in its place: a mask is about names.
void Masks::look_for_renames(const Used& used, std::span<const rules::ObjectView> objects) {
  if (policy_->masks[used.mask].when_unknown == WhenUnknown::kAllow) return;
  for (const rules::ObjectView& object : objects) {
    if (!object.uses.has(sql::Effect::kAlter)) continue;
    const bool is_met = std::ranges::any_of(used.columns, [&](const Pattern& pattern) {
      if (object.kind == "schema") return pattern.schema != "*" && fits(pattern.schema, object.name);
      return pattern.table != "*" && fits(pattern.table, object.name) &&
             (object.schema.empty() || fits(pattern.schema, object.schema));
    });
    if (is_met) return meet(used, true, "it would change a table that has masked columns");
  }
}

void Masks::add(const rules::Variables& variables, const Shown& shown) {
  bool is_any = false;
  for (Used& used : used_) {
    const rules::Mask& mask = policy_->masks[used.mask];
    used.is_active = !mask.unless || !rules::cel::evaluate(*mask.unless, variables.values(), scratch_).is_true();
    used.was_active = used.was_active || used.is_active;
    is_any = is_any || used.is_active;
  }
  MaskedResult result;
  if (shown.lineage != nullptr) {
    result.columns.resize(shown.lineage->columns.size());
    result.are_columns_known = shown.lineage->are_columns_known && !shown.lineage->is_of_handle;
    result.copy = shown.lineage->copy;
  } else {
    result.are_columns_known = false;
  }
  const bool is_handle = shown.lineage != nullptr && shown.lineage->is_of_handle && !shown.replaces;
  for (const Used& used : used_) {
    if (!used.is_active) continue;
    const rules::Mask& mask = policy_->masks[used.mask];
    if (mask.mode == RuleMode::kActive && !used.columns.empty()) has_work_ = true;
    if (mask.mode == RuleMode::kActive && !mask.detect.empty()) has_work_ = true;
    if (shown.is_replication) {
      if (!used.columns.empty() && mask.when_unknown != WhenUnknown::kAllow)
        meet(used, true, "what replication sends cannot be masked");
      continue;
    }
    // What it runs is told next.
    if (!is_handle) add_columns(used, shown.lineage, result);
    if (shown.lineage != nullptr) look_for_leaks(used, *shown.lineage);
    look_for_renames(used, shown.objects);
  }
  if (shown.catalog != nullptr && is_any && needs_lineage_ &&
      (ids_ == nullptr || ids_version_ != shown.catalog->version())) {
    ids_ = std::make_shared<MaskedIds>(*policy_, *shown.catalog);
    ids_version_ = shown.catalog->version();
  }
  if (shown.replaces && replaced_ < handles_.size()) {
    results_[handles_[replaced_++]] = std::move(result);
    return;
  }
  if (is_handle) handles_.push_back(results_.size());
  results_.push_back(std::move(result));
}

bool Masks::has_touched() const {
  return std::ranges::any_of(results_, [](const MaskedResult& r) { return r.has_masked; });
}

std::shared_ptr<AnswerPlan> Masks::take_plan() {
  if (!has_work_) return nullptr;
  auto plan = std::make_shared<AnswerPlan>();
  plan->policy = policy_;
  for (const Used& used : used_) {
    const rules::Mask& mask = policy_->masks[used.mask];
    if (!used.was_active || mask.mode != RuleMode::kActive) continue;
    plan->active.push_back(used.mask);
    if (!mask.detect.empty()) plan->detect.push_back(used.mask);
  }
  // An EXECUTE of what nobody has seen prepared.
  static const sql::OutputColumn kAnything{.derivation = sql::OutputColumn::Derivation::kDerived, .is_unknown = true};
  for (size_t i = replaced_; i < handles_.size(); ++i)
    for (const Used& used : used_)
      if (used.was_active && !used.columns.empty()) {
        results_[handles_[i]].has_masked = true;
        put(used, kAnything, true, results_[handles_[i]].every);
      }
  plan->results = std::move(results_);
  plan->ids = ids_;
  const bool hides = std::ranges::any_of(plan->results, [](const MaskedResult& r) {
    return r.has_masked || r.every.mask != MaskedOutput::kNone ||
           std::ranges::any_of(r.columns, [](const MaskedOutput& c) { return c.mask != MaskedOutput::kNone; });
  });
  if (!hides && plan->detect.empty()) return nullptr;
  return plan;
}

}  // namespace gatehouse::judge
