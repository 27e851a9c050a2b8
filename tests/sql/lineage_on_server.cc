// SPDX-License-Identifier: Apache-2.0
// Lineage against a server: tables with marked values, and texts that bring them into results in all ways; where a mark
// (or an image of it) comes to light, the column's sources must name the marked column, or it must be unknown. And
// harmless queries, in which no column may be said to show any.
//
//   lineage_on_server SEED SECONDS
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "agent/catalog/connection.h"
#include "agent/catalog/loader.h"
#include "agent/sql/analyzer.h"
#include "agent/sql/lineage.h"
#include "agent/sql/resolver.h"
#include "tests/sql/lineage_maker.h"

namespace gatehouse::test {
namespace {

constexpr double kShareRunMin = 0.25;
constexpr double kShareShownMin = 0.2;  // of the columns that came; else the test tests nothing
constexpr int kGrammarVersion = 150'000;

std::shared_ptr<const sql::Catalog> read_catalog_here() {
  const auto deadline = catalog::Connection::Clock::now() + std::chrono::seconds(30);
  auto connection = catalog::Connection::open({}, "", {}, deadline);
  auto rows = connection ? catalog::read_catalog(*connection) : Result<sql::CatalogRows>(connection.error());
  if (!rows) {
    std::fprintf(stderr, "lineage_on_server: %s\n", rows.error().message().c_str());
    std::exit(2);
  }
  return sql::Catalog::build(std::move(*rows));
}

std::string words(const std::vector<sql::ColumnSource>& sources) {
  std::string out;
  for (const sql::ColumnSource& source : sources)
    out += (out.empty() ? "" : " ") + source.schema + "." + source.relation + "." + source.column;
  return out;
}

std::string words(const sql::OutputColumn& column) {
  return column.name + ": [" + words(column.sources) + "]" +
         (column.derivation == sql::OutputColumn::Derivation::kDerived ? " derived" : " copied") +
         (column.is_unknown ? " unknown" : "");
}

struct Counts {
  size_t columns = 0, shown = 0, masked = 0, masked_in_vain = 0, unknown = 0, of_unknown_place = 0;
};

class Run {
 public:
  explicit Run(uint64_t seed) : maker_(seed) {
    make_lineage_fixture(server_);
    server_.query("ANALYZE");
    detector_.emplace(detector_of(server_));
    catalog_ = read_catalog_here();
  }

  void one() {
    ++count;
    run(maker_.text(), made, false);
  }

  void all_harmless() {
    for (const std::string_view text : harmless_queries()) {
      const size_t before = run_count;
      run(std::string(text), harmless, true);
      if (run_count == before && version_ < kGrammarVersion + 10'000)
        fault("a harmless query does not run", std::string(text), "");
    }
  }

  // A text of one's own.
  void show(const std::string& text) {
    is_verbose_ = true;
    std::printf("%s\n", text.c_str());
    run(text, made, false);
  }

  size_t count = 0, run_count = 0, bad_count = 0;
  Counts made, harmless;

 private:
  void fault(const char* what, const std::string& text, const std::string& detail) {
    if (++bad_count <= 40) std::printf("FAULT %s\n  %s\n  %s\n", what, text.c_str(), detail.c_str());
  }

  [[nodiscard]] bool is_of(const sql::ColumnSource& source, const MarkedColumn& marked) const {
    if (source.schema != "l" || source.column != marked.column) return false;
    return source.relation == marked.relation;
  }
  [[nodiscard]] bool names(const std::vector<sql::ColumnSource>& sources, size_t marked) const {
    return std::ranges::any_of(
        sources, [&](const sql::ColumnSource& source) { return is_of(source, detector_->columns()[marked]); });
  }
  [[nodiscard]] bool is_masked(const sql::OutputColumn& column) const {
    if (column.is_unknown) return true;
    for (size_t i = 0; i < detector_->columns().size(); ++i)
      if (names(column.sources, i)) return true;
    return false;
  }

  void run(const std::string& text, Counts& counts, bool is_harmless) {
    server_.query("BEGIN; SET LOCAL search_path = l, public; SET LOCAL statement_timeout = '2s'");
    std::string sqlstate;
    const std::vector<Answer> answers = server_.answers(text, sqlstate);
    if (sqlstate.empty()) {
      ++run_count;
      judge(text, answers, counts, is_harmless);
    } else if (is_verbose_) {
      std::printf("%s\n", sqlstate.c_str());
    }
    server_.run("ROLLBACK; DEALLOCATE ALL");
  }

  void judge(const std::string& text, const std::vector<Answer>& answers, Counts& counts, bool is_harmless) {
    const sql::NameContext names{.search_path = "l, public", .role = "postgres"};
    const sql::Facts& facts = *analyzer_.analyze(text, {}).facts;
    if (!facts.parsed) {
      if (version_ < kGrammarVersion + 10'000) fault("it is refused here", text, facts.refusal_detail);
      return;
    }
    const sql::ResolvedFacts& resolved = resolver_.resolve(facts, catalog_, names);
    const sql::StatementsLineage& lineage = tracer_.trace(text, {}, facts, &resolved, catalog_, names);
    if (lineage.statements.size() != answers.size()) return fault("statements", text, "");
    for (size_t i = 0; i < answers.size(); ++i) {
      // What is fetched is what was declared.
      const sql::Lineage& own = lineage.statements[i];
      const sql::Lineage& of = own.is_of_handle && i > 0 ? lineage.statements[i - 1] : own;
      if (is_verbose_) {
        for (const sql::OutputColumn& column : of.columns) std::printf("  %s\n", words(column).c_str());
        if (!of.are_columns_known) std::printf("  every %s\n", words(of.every).c_str());
        std::printf("  predicates [%s]\n", words(of.predicates).c_str());
        for (const std::string& reason : of.unknown_reasons) std::printf("  ? %s\n", reason.c_str());
      }
      judge_answer(text, answers[i], of, counts, is_harmless);
    }
    judge_copies(text, lineage);
  }

  void judge_answer(const std::string& text, const Answer& answer, const sql::Lineage& lineage, Counts& counts,
                    bool is_harmless) {
    Answer split;
    const Answer* given = &answer;
    if (!answer.copied.empty() || answer.is_copy) {
      split = columns_of_copy(answer.copied, lineage.columns.size(), lineage);
      given = &split;
    }
    const size_t columns = given->names.size();
    if (columns == 0) return;
    if (lineage.are_columns_known && lineage.columns.size() != columns)
      return fault("another number of columns", text,
                   std::to_string(columns) + " and not " + std::to_string(lineage.columns.size()));
    for (size_t column = 0; column < columns; ++column) {
      const sql::OutputColumn& told = lineage.are_columns_known ? lineage.columns[column] : lineage.every;
      if (!answer.is_copy && answer.copied.empty() && lineage.are_columns_known && told.name != answer.names[column])
        fault("another name", text, answer.names[column] + " and not " + told.name);
      std::set<size_t> shown;
      for (const auto& row : given->rows) shown.merge(detector_->find(row[column]));
      ++counts.columns;
      counts.unknown += told.is_unknown ? 1 : 0;
      counts.of_unknown_place += lineage.are_columns_known ? 0 : 1;
      const bool masked = is_masked(told);
      counts.masked += masked ? 1 : 0;
      counts.shown += shown.empty() ? 0 : 1;
      if (masked && shown.empty() && !given->rows.empty()) ++counts.masked_in_vain;
      for (const size_t marked : shown)
        if (!told.is_unknown && !names(told.sources, marked))
          fault("a mark that is not told", text,
                std::string(detector_->columns()[marked].column) + " in " + words(told));
      if (is_harmless && masked) fault("a harmless column is masked", text, words(told));
    }
  }

  static Answer columns_of_copy(const std::string& copied, size_t columns, const sql::Lineage& lineage) {
    Answer out;
    if (!lineage.are_columns_known || columns == 0) columns = 1;
    out.names.resize(columns);
    const char delimiter = lineage.copy ? lineage.copy->delimiter : '\t';
    size_t at = 0;
    bool is_header = lineage.copy && lineage.copy->has_header;
    while (at < copied.size()) {
      const size_t end = std::min(copied.find('\n', at), copied.size());
      std::string line = copied.substr(at, end - at);
      at = end + 1;
      if (std::exchange(is_header, false)) continue;
      auto& row = out.rows.emplace_back(columns);
      if (columns == 1) {
        row[0] = line;
        continue;
      }
      size_t column = 0;
      bool is_quoted = false;
      for (const char c : line) {
        if (c == '"' && delimiter == ',') is_quoted = !is_quoted;
        if (c == delimiter && !is_quoted && column + 1 < columns)
          ++column;
        else
          row[column] += c;
      }
    }
    return out;
  }

  // What was put into other tables.
  void judge_copies(const std::string& text, const sql::StatementsLineage& lineage) {
    for (const char* table : {"sink", "made", "watched"}) {
      if (server_.query("SELECT to_regclass('l." + std::string(table) + "') IS NOT NULL")[0][0] != "t") continue;
      for (const auto& row : server_.query("SELECT t::text FROM l." + std::string(table) + " t"))
        for (const size_t marked : detector_->find(row[0])) {
          bool is_told = std::string_view(table) == "watched";  // by triggers: not followed
          for (const sql::Lineage& statement : lineage.statements)
            for (const sql::ColumnCopy& copy : statement.copies)
              is_told = is_told || (copy.target.relation == table && (copy.is_unknown || names(copy.sources, marked)));
          if (!is_told) fault("a copy that is not told", text, std::string(detector_->columns()[marked].column));
        }
    }
  }

  Server server_;
  const int version_ = std::stoi(server_.query("SHOW server_version_num")[0][0]);
  LineageMaker maker_;
  sql::Analyzer analyzer_;
  sql::Resolver resolver_;
  sql::LineageTracer tracer_;
  std::shared_ptr<const sql::Catalog> catalog_;
  std::optional<Detector> detector_;
  bool is_verbose_ = false;
};

void print(const char* what, const Counts& counts) {
  const auto share = [&](size_t part) {
    return 100.0 * static_cast<double>(part) / static_cast<double>(std::max<size_t>(counts.columns, 1));
  };
  std::printf(
      "%s: %zu columns, %.1f %% show a mark, %.1f %% masked, %.1f %% masked in vain, %.1f %% unknown, "
      "%.1f %% in an unknown place\n",
      what, counts.columns, share(counts.shown), share(counts.masked), share(counts.masked_in_vain),
      share(counts.unknown), share(counts.of_unknown_place));
}

int main_of(uint64_t seed, int64_t seconds) {
  Run run(seed);
  run.all_harmless();
  run.run_count = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (std::chrono::steady_clock::now() < end) run.one();
  print("harmless", run.harmless);
  print("made", run.made);
  std::printf("%zu texts, %zu ran; %zu faults\n", run.count, run.run_count, run.bad_count);
  const auto share = [](size_t part, size_t whole) {
    return static_cast<double>(part) / static_cast<double>(whole == 0 ? 1 : whole);
  };
  const bool runs = share(run.run_count, run.count) >= kShareRunMin;
  const bool shows = share(run.made.shown, run.made.columns) >= kShareShownMin;
  if (!runs) std::printf("too few ran\n");
  if (!shows) std::printf("too few columns show a mark\n");
  return run.bad_count == 0 && runs && shows ? 0 : 1;
}

}  // namespace
}  // namespace gatehouse::test

int main(int argc, char** argv) {
  if (argc >= 3 && argv[1][0] == '-') {
    gatehouse::test::Run run(1);
    for (int i = 2; i < argc; ++i) run.show(argv[i]);
    return run.bad_count == 0 ? 0 : 1;
  }
  if (argc != 3) {
    std::fprintf(stderr, "usage: lineage_on_server SEED SECONDS\n       lineage_on_server - TEXT …\n");
    return 64;
  }
  return gatehouse::test::main_of(std::strtoull(argv[1], nullptr, 10), std::strtoll(argv[2], nullptr, 10));
}
