// SPDX-License-Identifier: Apache-2.0
#include "cli/backtest.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "cli/safe_text.h"

namespace gatehouse::cli {
namespace {

void keep(std::vector<std::string>& examples, const std::string& id) {
  if (examples.size() < kBacktestExamplesMax) examples.push_back(id);
}

}  // namespace

Backtest::Backtest(std::shared_ptr<const rules::Policy> policy) : policy_(policy), history_(std::move(policy)) {}

void Backtest::add(const v1::Row& row) {
  ++events_;
  const judge::Examined now = history_.judge(row);
  events_found_ += now.findings.empty() ? 0 : 1;
  const auto& then = row.findings();
  for (const judge::Found& found : now.findings) {
    Tally& tally = tallies_[std::string(found.rule)];
    ++tally.found;
    const bool is_fresh = std::ranges::find(then, found.rule) == then.end();
    tally.fresh += is_fresh ? 1 : 0;
    keep(is_fresh ? tally.differing : tally.same, row.id());
  }
  for (const std::string& rule : then) {
    if (std::ranges::find(now.findings, rule, &judge::Found::rule) != now.findings.end()) continue;
    Tally& tally = tallies_[rule];
    ++tally.gone;
    keep(tally.differing, row.id());
  }
}

std::vector<BacktestLine> Backtest::lines() const {
  const auto line_of = [](const std::string& rule, const Tally& tally) {
    return BacktestLine{.rule = rule,
                        .action = {},
                        .severity = {},
                        .found = tally.found,
                        .fresh = tally.fresh,
                        .gone = tally.gone,
                        .examples = tally.differing.empty() ? tally.same : tally.differing};
  };
  std::vector<BacktestLine> lines;
  for (const rules::Rule& rule : policy_->rules) {
    const auto found = tallies_.find(rule.id);
    BacktestLine& line = lines.emplace_back(line_of(rule.id, found == tallies_.end() ? Tally{} : found->second));
    line.action = name_of(rule.then);
    line.severity = name_of(rule.severity);
  }
  std::vector<BacktestLine> others;
  for (const auto& [rule, tally] : tallies_)
    if (std::ranges::find(policy_->rules, rule, &rules::Rule::id) == policy_->rules.end())
      others.push_back(line_of(rule, tally));
  std::ranges::sort(others, {}, &BacktestLine::rule);
  std::ranges::move(others, std::back_inserter(lines));
  return lines;
}

std::string render_backtest(const Backtest& backtest, const TableStyle& style) {
  std::vector<std::vector<Cell>> rows;
  size_t silent = 0;
  for (const BacktestLine& line : backtest.lines()) {
    if (line.found + line.gone == 0) {
      ++silent;
      continue;
    }
    rows.push_back(
        {{safe(line.rule)},
         {line.action.empty() ? "not in the set" : line.action, line.action.empty() ? Tone::kFaint : Tone::kPlain},
         {line.severity},
         {std::to_string(line.found)},
         {std::to_string(line.fresh), line.fresh > 0 ? Tone::kOdd : Tone::kFaint},
         {std::to_string(line.gone), line.gone > 0 ? Tone::kOdd : Tone::kFaint},
         {line.examples.empty() ? "" : safe(line.examples.front()), Tone::kFaint}});
  }
  std::string text;
  if (!rows.empty())
    text = render_table({{.title = "rule", .max_width = 48},
                         {.title = "action"},
                         {.title = "severity"},
                         {.title = "events", .right = true},
                         {.title = "new", .right = true},
                         {.title = "gone", .right = true},
                         {.title = "for example", .takes_rest = true}},
                        style, rows);
  return text + std::to_string(backtest.events()) + " events, " + std::to_string(backtest.events_found()) +
         " with findings; " + std::to_string(silent) + " rules found nothing\n";
}

std::string to_json(const BacktestLine& line) {
  std::string text = "{\"rule\":";
  append_json_string(text, line.rule);
  text += ",\"action\":";
  append_json_string(text, line.action);
  text += ",\"severity\":";
  append_json_string(text, line.severity);
  text += ",\"events\":" + std::to_string(line.found) + ",\"new\":" + std::to_string(line.fresh) +
          ",\"gone\":" + std::to_string(line.gone) + ",\"examples\":[";
  for (const std::string& example : line.examples) {
    if (text.back() != '[') text += ',';
    append_json_string(text, example);
  }
  return text + "]}\n";
}

}  // namespace gatehouse::cli
