// SPDX-License-Identifier: Apache-2.0
// Examiner: activities to what they do, and to what rules say of it. The same object serves the passive path and,
// before a statement is let through, the inline one. One thread; no I/O and no clock.
//
// A rule never stops the watching: whatever goes wrong in one is counted, and said in the finding.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/judge/masks.h"
#include "agent/protocol/activity.h"
#include "agent/sql/analyzer.h"
#include "agent/sql/catalog.h"
#include "agent/sql/resolver.h"
#include "agent/sql/session_state.h"
#include "rules/engine/judge.h"
#include "rules/schema/event.h"

namespace gatehouse::judge {

// What a session has set so far, which says how its texts are read. Each session has one, from its start.
class SessionMemory {
 public:
  explicit SessionMemory(bool is_joined) : is_begun_(is_joined) {
    if (is_joined) state_.on_joined();
  }
  [[nodiscard]] const sql::SessionState& state() const { return state_; }

 private:
  friend class Examiner;
  void tell(const Activity& activity);
  sql::SessionState state_;
  // As the server said last; it says it at the start of each session, and when it changes.
  std::string encoding_;
  bool is_standard_ = true;
  bool is_told_ = false;
  bool is_begun_;  // what was reported by then is what it began with
};

// Who, where, and over which connection. Borrowed while it is examined.
struct Subject {
  const rules::Actor* actor = nullptr;  // null: not known
  rules::Origin agent{};
  rules::SessionView session{};
  rules::Database database{};
  SessionMemory* memory = nullptr;                               // null: no statements are examined
  const std::shared_ptr<const sql::Catalog>* catalog = nullptr;  // of the session's database; null: none
  // What becomes of findings here.
  enum class Enforcement : uint8_t {
    kNone,      // recorded as what would have been done, but for Options::carries_out
    kInline,    // it is being decided
    kReleased,  // the shim let it through
    kRefused,   // … refused it
  };
  Enforcement enforcement = Enforcement::kNone;
};

// Values of one column of a result that were masked.
struct MaskedColumn {
  std::string_view mask{}, column{}, method{};
  uint64_t values = 0;
};

// A rule that matched.
struct Found {
  std::string_view rule{};
  rules::Action action = rules::Action::kAlert;
  bool would = false;  // recorded only
  rules::Severity severity = rules::Severity::kMedium;
  std::string_view message{};
  std::string_view sqlstate = "42501";  // of its refusal
  bool is_in_doubt = false;
  std::span<const MaskedColumn> masked{};  // of a mask that was carried out; the examiner leaves it empty
};

// What is recorded of what a text does: of all its statements together.
struct FactsSummary {
  std::string normalized{};
  std::string_view refusal{};
  uint64_t fingerprint = 0;
  sql::Effects effects{};
  rules::Texts reads{}, writes{}, functions{};  // each word once
};

struct Examined {
  std::span<const Found> findings{};
  // Of the statement's facts: equal for equal facts only. 0: it is no statement, or nobody asked.
  uint64_t facts = 0;
  sql::Effects effects{};  // of all its statements
  // The first of the strongest findings that are carried out; null: there is none beyond an alert.
  const Found* decisive = nullptr;
  // A rule that may do more than alert could not be evaluated.
  bool is_in_doubt = false;
  // It may change how later texts are read or what names in them mean.
  bool changes_state = false;
  // It may change what names that a catalog knows mean, or what runs behind them.
  bool changes_meaning = false;
  // It touches what a mask hides, or may.
  bool touches_masked = false;
  // Of a request that is being decided inline: what its answer passes through. Null: it passes as it is.
  std::shared_ptr<const AnswerPlan> answer{};
};

// How an activity that ends a session was covered; for rules about disconnects.
struct Ending {
  std::string_view coverage{};
  uint64_t request_bytes = 0, response_bytes = 0, statements = 0, lost_bytes = 0;
};

struct ExaminerCounters {
  uint64_t facts_hits = 0, facts_misses = 0;
  uint64_t resolved_hits = 0, resolved_misses = 0;  // with a catalog
  uint64_t not_parsed = 0;                          // statements whose effects are unknown for that reason
  rules::JudgeCounters rules{};
};

class Examiner {
 public:
  struct Options {
    // Whether statements are analysed where no rule asks for it.
    bool always_facts = false;
    // What this agent carries out; every other action is recorded as what would have been done.
    rules::Verdict carries_out = rules::Verdict::kAlert;
  };
  explicit Examiner(Options options);

  // Null: none. Judging goes on with it from the next event. What rules with windows and of first sight have gathered
  // goes over to those that are the same in both.
  void set_policy(std::shared_ptr<const rules::Policy> policy);
  [[nodiscard]] std::string_view policy_version() const;
  // That, to be kept while nobody runs. False: some of it is not what export_state() makes; the rest is taken over.
  [[nodiscard]] std::string export_state() const;
  bool import_state(std::string_view state);
  // Whether there is anything to ask it.
  [[nodiscard]] bool is_idle() const { return judge_ == nullptr && !options_.always_facts; }

  // `time_unix_ns`: when it began. What is returned is good until the next call.
  Examined examine(const Subject& subject, const Activity& activity, uint64_t time_unix_ns,
                   const Ending* ending = nullptr);
  // Before it is answered, as the inline path asks: what rules say of a request (kConnect or kStatement; without an
  // outcome). `runs`: false if it is only prepared, which counts in no window. Subject::memory stays as it is; note()
  // tells it the answer.
  Examined examine_request(const Subject& subject, const Activity& request, uint64_t time_unix_ns, bool runs);
  // What came of an activity that was judged as a request, or is of a kind that is not; in the order of the answers.
  void note(const Subject& subject, const Activity& activity);

  // A hole in what was seen.
  Examined examine_gap(const Subject& subject, std::string_view reason, uint64_t bytes, uint64_t events,
                       uint64_t time_unix_ns);

  // Of the statement that was examined last; good until the next call.
  const FactsSummary& summary();

  [[nodiscard]] ExaminerCounters counters() const;

 private:
  // A text, one that runs another by its name, and that other.
  enum class Part : uint8_t { kWhole, kName, kNamed };
  Examined examine_activity(const Subject& subject, const Activity& activity, uint64_t time_unix_ns,
                            const Ending* ending);
  [[nodiscard]] bool is_carried_out(rules::Action action) const;
  void begin(const Subject& subject, rules::Occasion occasion, uint64_t time_unix_ns);
  enum class Stage : uint8_t {
    kFinished,
    kAsked,     // it is to be run
    kPrepared,  // it is not to be run yet
    kAnswered,  // it was judged when it was asked
  };
  void examine_statement(const Subject& subject, const Activity& activity);
  void examine_text(std::string_view text, const Activity& activity, const Subject& subject, Part part);
  rules::Analyzed analyze(std::string_view text, const Activity& activity, const Subject& subject,
                          const sql::SessionState& state);
  void judge_event();
  void judge_masks(const rules::Analyzed& analyzed, size_t index, const sql::StatementsLineage* lineage,
                   const Subject& subject, Part part);
  const sql::StatementsLineage* trace(std::string_view text, const rules::Analyzed& analyzed, const Subject& subject,
                                      const sql::SessionState& state);
  void find_masks();
  void limit_by(const rules::Rule& rule);
  [[nodiscard]] std::shared_ptr<const AnswerPlan> answer_plan();
  void add_to_summary();
  void add_words(rules::Texts& words, std::string_view schema, std::string_view name);
  [[nodiscard]] Examined examined() const;

  Options options_;
  sql::Analyzer analyzer_;
  sql::Resolver resolver_;
  sql::LineageTracer tracer_;
  std::unique_ptr<rules::Judge> judge_;
  Masks masks_;
  uint64_t not_parsed_ = 0;
  rules::JudgeCounters judged_before_{};  // by policies that went

  // Of the activity at hand; buffers are kept.
  rules::Event event_{};
  uint64_t now_unix_ns_ = 0;
  std::string verb_;
  Stage stage_ = Stage::kFinished;
  Subject::Enforcement enforcement_ = Subject::Enforcement::kNone;
  bool is_in_doubt_ = false;
  bool changes_state_ = false;
  bool changes_meaning_ = false;
  rules::ResultLimit limit_{};
  const rules::Rule* limited_by_ = nullptr;  // the first whose limit is the lowest
  std::optional<sql::SessionState> ahead_{};  // kAsked: with what the statements before this one of the text set
  uint64_t facts_key_ = 0;
  sql::Effects effects_{};
  size_t statements_ = 0;  // that were examined of it
  bool is_summary_made_ = false;
  FactsSummary summary_{};
  std::deque<std::string> names_{};  // that the summary borrows; kept for the next one
  size_t names_used_ = 0;
  std::vector<Found> findings_{};
  std::vector<uint32_t> found_rules_{};
  std::deque<std::string> messages_{};  // that the findings borrow, likewise
};

}  // namespace gatehouse::judge
