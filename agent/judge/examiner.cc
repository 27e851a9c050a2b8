// SPDX-License-Identifier: Apache-2.0
#include "agent/judge/examiner.h"

#include <algorithm>
#include <array>
#include <functional>
#include <optional>
#include <utility>

#include "agent/sql/statements.h"
#include "common/check.h"

namespace gatehouse::judge {
namespace {

using rules::Occasion;
using sql::Effect;
using sql::Effects;

// What the record keeps of a normalized text.
constexpr size_t kNormalizedBytesMax = 4096;

int64_t number(uint64_t value) {
  constexpr uint64_t kMost = INT64_MAX;
  return static_cast<int64_t>(std::min(value, kMost));
}

template <typename Enum, size_t kCount>
std::string_view word_of(Enum value, const std::array<std::string_view, kCount>& words) {
  return words[static_cast<size_t>(value)];
}

Occasion occasion_of(ActivityKind kind) {
  constexpr std::array<Occasion, 7> kOccasionOf{Occasion::kConnect,   Occasion::kAuthenticate, Occasion::kStatement,
                                                Occasion::kCancel,    Occasion::kNotification, Occasion::kOpaque,
                                                Occasion::kDisconnect};
  return kOccasionOf[static_cast<size_t>(kind)];
}

// Of what no analysis tells: the first word, in capitals.
void write_verb(const Activity& activity, std::string& out) {
  const std::string_view tag = activity.command_tag;
  out = tag.empty() ? sql::first_verb(activity.text) : tag.substr(0, tag.find(' '));
  for (char& c : out)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
}

Effects without(Effects effects, Effect effect) {
  Effects left;
  for (size_t i = 0; i < sql::kEffects; ++i) {
    const auto each = static_cast<Effect>(i);
    if (each != effect && effects.has(each)) left.add(each);
  }
  return left;
}

// Which of several statements failed is not told.
sql::StatementOutcome outcome_of(Outcome outcome, size_t statements) {
  if (outcome == Outcome::kOk || outcome == Outcome::kSuspended) return sql::StatementOutcome::kOk;
  if (outcome == Outcome::kError && statements == 1) return sql::StatementOutcome::kError;
  return sql::StatementOutcome::kNotKnown;
}

// As SessionState::on_finished() looks at it; DROP, after which a name may mean another's; and what gives or takes the
// names that EXECUTE and FETCH speak of.
bool may_change_state(const sql::Statement* statement, Effects reached) {
  constexpr Effects kChanges{Effect::kSession, Effect::kTransaction, Effect::kUnknown, Effect::kCreate,
                             Effect::kAlter,   Effect::kDrop,        Effect::kPrepare};
  return reached.has_any(kChanges) ||
         (statement != nullptr && (!statement->session_changes.empty() || statement->effects.has_any(kChanges)));
}

// A new table, index or sequence hides nothing that is known under another name; all else may.
bool may_change_meaning(const rules::StatementView& statement) {
  constexpr Effects kDefines{Effect::kCreate, Effect::kAlter, Effect::kDrop};
  if (!statement.effects.has_any(kDefines)) return false;
  if (statement.effects.has(Effect::kAlter)) return true;
  constexpr std::string_view kPlain[] = {"table", "index", "sequence", "role", "database", "tablespace"};
  return std::ranges::any_of(statement.objects, [&](const rules::ObjectView& object) {
    return object.uses.has_any(kDefines) && std::ranges::find(kPlain, object.kind) == std::end(kPlain);
  });
}

void add(rules::JudgeCounters& sum, const rules::JudgeCounters& counters) {
  sum.events += counters.events;
  sum.evaluations += counters.evaluations;
  sum.matches += counters.matches;
  sum.errors += counters.errors;
  sum.in_doubt += counters.in_doubt;
}

}  // namespace

// What the server reports of itself; it has the last word.
void SessionMemory::tell(const Activity& activity) {
  if (!is_told_ || is_standard_ != activity.standard_conforming_strings)
    state_.on_parameter_status("standard_conforming_strings", activity.standard_conforming_strings ? "on" : "off");
  if (!activity.client_encoding.empty() && encoding_ != activity.client_encoding) {
    encoding_ = activity.client_encoding;
    state_.on_parameter_status("client_encoding", encoding_);
  }
  is_standard_ = activity.standard_conforming_strings;
  is_told_ = true;
}

Examiner::Examiner(Options options) : options_(options) {}

void Examiner::set_policy(std::shared_ptr<const rules::Policy> policy) {
  std::string state;
  if (judge_ != nullptr) {
    add(judged_before_, judge_->counters());
    state = judge_->export_state();
  }
  masks_.set_policy(policy);
  judge_ = policy == nullptr ? nullptr : std::make_unique<rules::Judge>(std::move(policy));
  import_state(state);
  findings_.clear();
}

std::string Examiner::export_state() const {
  return judge_ == nullptr ? std::string() : judge_->export_state();
}

bool Examiner::import_state(std::string_view state) {
  return judge_ == nullptr || state.empty() || judge_->import_state(state);
}

std::string_view Examiner::policy_version() const {
  return judge_ == nullptr ? std::string_view() : std::string_view(judge_->policy().version);
}

void Examiner::begin(const Subject& subject, Occasion occasion, uint64_t time_unix_ns) {
  findings_.clear();
  found_rules_.clear();
  messages_.clear();
  facts_key_ = 0;
  effects_ = {};
  statements_ = 0;
  is_summary_made_ = false;
  is_in_doubt_ = false;
  changes_state_ = changes_meaning_ = false;
  limit_ = {};
  limited_by_ = nullptr;
  enforcement_ = subject.enforcement;
  now_unix_ns_ = time_unix_ns;
  event_.occasion = occasion;
  event_.now = rules::instant_of(number(time_unix_ns));
  event_.actor = subject.actor;
  event_.agent = subject.agent;
  event_.session = subject.session;
  event_.database = subject.database;
}

Examined Examiner::examine(const Subject& subject, const Activity& activity, uint64_t time_unix_ns,
                           const Ending* ending) {
  stage_ = Stage::kFinished;
  return examine_activity(subject, activity, time_unix_ns, ending);
}

Examined Examiner::examine_request(const Subject& subject, const Activity& request, uint64_t time_unix_ns, bool runs) {
  GH_CHECK(request.kind == ActivityKind::kConnect || request.kind == ActivityKind::kStatement);
  stage_ = runs ? Stage::kAsked : Stage::kPrepared;
  return examine_activity(subject, request, time_unix_ns, nullptr);
}

void Examiner::note(const Subject& subject, const Activity& activity) {
  stage_ = Stage::kAnswered;
  if (activity.kind == ActivityKind::kStatement || activity.kind == ActivityKind::kConnect)
    examine_activity(subject, activity, 0, nullptr);
}

Examined Examiner::examined() const {
  Examined examined{.findings = findings_,
                    .facts = facts_key_,
                    .effects = effects_,
                    .is_in_doubt = is_in_doubt_,
                    .changes_state = changes_state_,
                    .changes_meaning = changes_meaning_};
  for (const Found& found : findings_) {
    // What is masked goes on.
    if (found.would || found.action <= rules::Action::kMask) continue;
    if (examined.decisive == nullptr || found.action > examined.decisive->action) examined.decisive = &found;
  }
  return examined;
}

Examined Examiner::examine_activity(const Subject& subject, const Activity& activity, uint64_t time_unix_ns,
                                    const Ending* ending) {
  begin(subject, occasion_of(activity.kind), time_unix_ns);
  event_.duration_ns = activity.end_ns > activity.start_ns ? number(activity.end_ns - activity.start_ns) : 0;
  event_.outcome = word_of(activity.outcome, kOutcomeWords);
  event_.fidelity = word_of(activity.fidelity, kFidelityWords);
  switch (activity.kind) {
    case ActivityKind::kStatement: {
      examine_statement(subject, activity);
      Examined examined = this->examined();
      examined.touches_masked = masks_.has_touched();
      const bool is_asked = stage_ == Stage::kAsked || stage_ == Stage::kPrepared;
      if (is_asked && enforcement_ == Subject::Enforcement::kInline) examined.answer = answer_plan();
      return examined;
    }
    case ActivityKind::kConnect:
      event_.connect.protocol_version = activity.protocol_version;
      event_.connect.options.clear();
      for (const Setting& option : activity.options) event_.connect.options.emplace_back(option.name, option.value);
      break;
    case ActivityKind::kAuthenticate:
      event_.authentication = {
          .method = activity.method, .sqlstate = activity.sqlstate, .error = activity.error_message};
      break;
    case ActivityKind::kCancel:
      event_.cancel.backend_pid = activity.cancel_backend_pid;
      break;
    case ActivityKind::kNotify:
      event_.notification = {.channel = activity.channel, .payload_bytes = number(activity.payload_bytes)};
      break;
    case ActivityKind::kOpaque:
      event_.opaque.reason = activity.method;
      break;
    case ActivityKind::kDisconnect:
      event_.disconnect = {.reason = activity.reason};
      if (ending != nullptr)
        event_.disconnect = {.reason = activity.reason,
                             .coverage = ending->coverage,
                             .request_bytes = number(ending->request_bytes),
                             .response_bytes = number(ending->response_bytes),
                             .statements = number(ending->statements),
                             .lost_bytes = number(ending->lost_bytes)};
      break;
  }
  judge_event();
  const bool is_asked = stage_ == Stage::kAsked || stage_ == Stage::kPrepared;
  if (subject.memory != nullptr && activity.kind == ActivityKind::kConnect && !is_asked) {
    std::vector<std::pair<std::string, std::string>> parameters;
    for (const Setting& option : activity.options) parameters.emplace_back(option.name, option.value);
    subject.memory->state_.on_startup(parameters);
  }
  return examined();
}

Examined Examiner::examine_gap(const Subject& subject, std::string_view reason, uint64_t bytes, uint64_t events,
                               uint64_t time_unix_ns) {
  stage_ = Stage::kFinished;
  begin(subject, Occasion::kGap, time_unix_ns);
  event_.duration_ns = 0;
  event_.outcome = word_of(Outcome::kUnknown, kOutcomeWords);
  event_.fidelity = word_of(Fidelity::kAfterGap, kFidelityWords);
  event_.gap = {.reason = reason, .bytes = number(bytes), .events = number(events)};
  judge_event();
  return examined();
}

rules::Analyzed Examiner::analyze(std::string_view text, const Activity& activity, const Subject& subject,
                                  const sql::SessionState& state) {
  rules::Analyzed analyzed;
  if (activity.protocol != StatementProtocol::kSimple && activity.protocol != StatementProtocol::kExtended) {
    analyzed.refusal = "not-sql";
  } else if (activity.text_bytes > activity.text.size()) {
    analyzed.refusal = "cut";
  } else if (text.empty() && activity.text_bytes == 0 && activity.fidelity >= Fidelity::kAfterGap) {
    analyzed.refusal = "not-seen";
  } else {
    analyzed.facts = analyzer_.analyze(text, state.lexical()).facts;
    if (analyzed.facts->parsed && subject.catalog != nullptr && *subject.catalog != nullptr)
      analyzed.resolved = &resolver_.resolve(*analyzed.facts, *subject.catalog, state.names());
  }
  if (analyzed.facts == nullptr || !analyzed.facts->parsed) ++not_parsed_;
  return analyzed;
}

void Examiner::examine_statement(const Subject& subject, const Activity& activity) {
  GH_CHECK(subject.memory != nullptr);
  SessionMemory& memory = *subject.memory;
  const bool is_asked = stage_ == Stage::kAsked || stage_ == Stage::kPrepared;
  // What the server has reported by the time that a request is judged, it reported before it reads it.
  if (!memory.is_told_ || is_asked) memory.tell(activity);
  if (!std::exchange(memory.is_begun_, true)) memory.state_.on_ready('I');
  if (subject.catalog != nullptr && *subject.catalog != nullptr) memory.state_.apply_defaults(**subject.catalog);
  write_verb(activity, verb_);
  rules::StatementView& view = event_.statement;
  view.text = activity.text;
  view.resolved = activity.resolved_text;
  view.tag = activity.command_tag;
  view.protocol = word_of(activity.protocol, kProtocolWords);
  view.name = activity.statement_name;
  view.portal = activity.portal_name;
  view.transaction = word_of(activity.transaction, kTransactionWords);
  view.index = activity.statement_index;
  view.bytes = number(activity.text_bytes);
  view.parameters.clear();
  for (const Parameter& parameter : activity.parameters) view.parameters.push_back(parameter.value);
  event_.result = {.rows = number(activity.rows),
                   .bytes = number(activity.response_bytes),
                   .copy_bytes = number(activity.copy_bytes),
                   .sqlstate = activity.sqlstate,
                   .error = activity.error_message};
  const bool is_by_name = !activity.resolved_text.empty();
  ahead_.reset();
  masks_.begin();
  examine_text(activity.text, activity, subject, is_by_name ? Part::kName : Part::kWhole);
  if (is_by_name) {
    // What EXECUTE and FETCH run is a statement as well, and what it does happens. The analyzer's answer is good for
    // one text at a time.
    if (!is_summary_made_) add_to_summary();
    examine_text(activity.resolved_text, activity, subject, Part::kNamed);
  }
  find_masks();
  if (is_asked) return;
  memory.tell(activity);
  if (activity.transaction == TransactionState::kIdle) memory.state_.on_ready('I');
  if (activity.transaction == TransactionState::kFailed) memory.state_.on_ready('E');
}

void Examiner::examine_text(std::string_view text, const Activity& activity, const Subject& subject, Part part) {
  SessionMemory& memory = *subject.memory;
  const bool is_asked = stage_ == Stage::kAsked || stage_ == Stage::kPrepared;
  rules::Analyzed analyzed = analyze(text, activity, subject, memory.state_);
  uint64_t id = analyzed.facts == nullptr ? std::hash<std::string_view>{}(analyzed.refusal) : analyzed.facts->id;
  // A resolver's facts are of one analyzer's and one catalog; without a catalog there are none.
  if (analyzed.resolved != nullptr) id = ~analyzed.resolved->id;
  facts_key_ = (facts_key_ * 0x9E37'79B9'7F4A'7C15ULL) ^ id;
  const bool has_masks = masks_.any() && judge_ != nullptr && stage_ != Stage::kAnswered;
  const sql::StatementsLineage* lineage = has_masks ? trace(text, analyzed, subject, memory.state_) : nullptr;
  const size_t count = rules::statements_of(analyzed.facts);
  for (size_t i = 0; i < count; ++i) {
    // What is examined next takes the view's place. Of a single statement the summary is made if it is asked for.
    if (statements_ == 1 && !is_summary_made_) add_to_summary();
    set_facts(event_.statement, analyzed, i, verb_);
    event_.statement.index = activity.statement_index + static_cast<int64_t>(i);
    // What it runs is known, and is examined for itself.
    if (part == Part::kName && event_.statement.effects.has(Effect::kRunPrepared))
      event_.statement.effects = without(event_.statement.effects, Effect::kUnknown);
    effects_.add(event_.statement.effects);
    ++statements_;
    if (statements_ > 1) add_to_summary();
    judge_event();
    if (has_masks) judge_masks(analyzed, i, lineage, subject, part);
    const bool changes = may_change_state(event_.statement.statement, event_.statement.effects);
    changes_state_ = changes_state_ || changes;
    changes_meaning_ = changes_meaning_ || may_change_meaning(event_.statement);
    // Of what it defines the catalog has nothing: those behind it in the text are judged without one.
    if (is_asked && changes_meaning_) {
      if (!is_summary_made_) add_to_summary();
      analyzed.resolved = nullptr;
      lineage = nullptr;
    }
    if (part == Part::kName || activity.outcome == Outcome::kSkipped) continue;
    // What is only asked for changes a copy, and that is of use to the statements behind it alone.
    if (is_asked && (!changes || i + 1 == count)) continue;
    if (is_asked && !ahead_) ahead_ = memory.state_;
    sql::SessionState& state = is_asked ? *ahead_ : memory.state_;
    state.on_finished(*event_.statement.statement, event_.statement.effects,
                      is_asked ? sql::StatementOutcome::kOk : outcome_of(activity.outcome, count));
    // The text was read whole before; names are looked up statement by statement.
    if (!changes || i + 1 == count || analyzed.resolved == nullptr) continue;
    if (!is_summary_made_) add_to_summary();
    analyzed.resolved = &resolver_.resolve(*analyzed.facts, *subject.catalog, state.names());
    if (lineage != nullptr) lineage = trace(text, analyzed, subject, state);
  }
}

// Null: nothing is known of what it gives.
const sql::StatementsLineage* Examiner::trace(std::string_view text, const rules::Analyzed& analyzed,
                                              const Subject& subject, const sql::SessionState& state) {
  if (!masks_.needs_lineage() || analyzed.facts == nullptr || !analyzed.facts->parsed) return nullptr;
  static const std::shared_ptr<const sql::Catalog> kNone;
  const auto& catalog = subject.catalog == nullptr ? kNone : *subject.catalog;
  return &tracer_.trace(text, state.lexical(), *analyzed.facts, analyzed.resolved, catalog, state.names());
}

void Examiner::judge_masks(const rules::Analyzed& analyzed, size_t index, const sql::StatementsLineage* lineage,
                           const Subject& subject, Part part) {
  const bool is_known = lineage != nullptr && index < lineage->statements.size();
  Masks::Shown shown{.lineage = is_known ? &lineage->statements[index] : nullptr,
                     .objects = event_.statement.objects,
                     .is_replication = analyzed.facts == nullptr && event_.statement.protocol == "replication",
                     .replaces = part == Part::kNamed};
  if (subject.catalog != nullptr) shown.catalog = *subject.catalog;
  masks_.add(rules::Variables(event_), shown);
}

// What masks do is found as what rules do.
void Examiner::find_masks() {
  if (!masks_.any() || judge_ == nullptr || stage_ == Stage::kPrepared || stage_ == Stage::kAnswered) return;
  for (const Masks::Met& met : masks_.met()) {
    const rules::Mask& mask = judge_->policy().masks[met.mask];
    const bool is_decided = enforcement_ == Subject::Enforcement::kInline ||
                            (enforcement_ == Subject::Enforcement::kRefused && met.blocks);
    // What was masked of a released statement's answer the shim tells itself.
    if (enforcement_ == Subject::Enforcement::kReleased && !met.would && !met.blocks) continue;
    std::string& message = messages_.emplace_back();
    if (met.blocks) message = "refused by mask " + mask.id + ": " + std::string(met.reason);
    findings_.push_back({.rule = mask.id,
                         .action = met.blocks ? rules::Action::kBlock : rules::Action::kMask,
                         .would = met.would || !is_decided,
                         .severity = met.blocks ? rules::Severity::kMedium : rules::Severity::kInfo,
                         .message = message});
  }
}

void Examiner::limit_by(const rules::Rule& rule) {
  const auto lower = [](uint64_t& limit, uint64_t other) {
    const bool is_lower = other != 0 && (limit == 0 || other < limit);
    if (is_lower) limit = other;
    return is_lower;
  };
  const bool has_fewer_rows = lower(limit_.rows, rule.limit->rows);
  if (lower(limit_.bytes, rule.limit->bytes) || has_fewer_rows) limited_by_ = &rule;
}

std::shared_ptr<const AnswerPlan> Examiner::answer_plan() {
  if (judge_ == nullptr) return nullptr;
  std::shared_ptr<AnswerPlan> plan = masks_.any() ? masks_.take_plan() : nullptr;
  if (limited_by_ == nullptr) return plan;
  if (plan == nullptr) plan = std::make_shared<AnswerPlan>();
  plan->policy = judge_->shared_policy();
  plan->limit = limit_;
  plan->limited_by = limited_by_;
  return plan;
}

bool Examiner::is_carried_out(rules::Action action) const {
  if (action == rules::Action::kAlert) return true;
  switch (enforcement_) {
    case Subject::Enforcement::kNone:
      return rules::verdict_of(action) <= options_.carries_out;
    case Subject::Enforcement::kInline:
    case Subject::Enforcement::kRefused:
      return action != rules::Action::kMask;
    case Subject::Enforcement::kReleased:
      // It was held, and somebody has agreed.
      return action == rules::Action::kHold;
  }
  return false;
}

void Examiner::judge_event() {
  if (judge_ == nullptr || stage_ == Stage::kAnswered) return;
  const rules::Variables variables(event_);
  const rules::Judgement judgement =
      judge_->judge(variables.kind(), variables.values(), now_unix_ns_, stage_ != Stage::kPrepared);
  is_in_doubt_ = is_in_doubt_ || judgement.in_doubt;
  for (const rules::Finding& finding : judgement.findings) {
    // One text of several statements may break a rule several times: it is one finding.
    if (std::ranges::find(found_rules_, finding.rule) != found_rules_.end()) continue;
    found_rules_.push_back(finding.rule);
    const rules::Rule& rule = judge_->rule(finding);
    if (rule.limit && !finding.would) limit_by(rule);
    std::string& message = messages_.emplace_back();
    judge_->append_message(finding, variables.values(), message);
    findings_.push_back({.rule = rule.id,
                         .action = finding.action,
                         .would = finding.would || !is_carried_out(finding.action),
                         .severity = rule.severity,
                         .message = message,
                         .sqlstate = rule.sqlstate,
                         .is_in_doubt = finding.in_doubt});
  }
}

void Examiner::add_words(rules::Texts& words, std::string_view schema, std::string_view name) {
  if (names_used_ == names_.size()) names_.emplace_back();
  std::string& text = names_[names_used_];
  text.clear();
  if (!schema.empty()) text.append(schema).append(1, '.');
  text.append(name);
  if (std::ranges::find(words, text) != words.end()) return;
  words.push_back(text);
  ++names_used_;
}

// Adds the statement of the view.
void Examiner::add_to_summary() {
  const rules::StatementView& view = event_.statement;
  if (!is_summary_made_) {
    is_summary_made_ = true;
    names_used_ = 0;
    summary_.normalized.clear();
    summary_.refusal = {};
    summary_.fingerprint = 0;
    summary_.effects = {};
    summary_.reads.clear();
    summary_.writes.clear();
    summary_.functions.clear();
  }
  if (summary_.normalized.empty() && view.facts != nullptr && view.facts->parsed) {
    summary_.normalized.assign(view.facts->normalized, 0, kNormalizedBytesMax);
    summary_.fingerprint = view.facts->fingerprint;
  }
  if (!view.refusal.empty()) summary_.refusal = view.refusal;
  summary_.effects.add(view.effects);
  for (const rules::ObjectView& object : view.objects) {
    if (object.uses.has(Effect::kRead)) add_words(summary_.reads, object.schema, object.name);
    if (object.uses.has_any(rules::kWrites)) add_words(summary_.writes, object.schema, object.name);
  }
  for (const rules::FunctionView& function : view.functions)
    if (function.function_class != to_string(sql::FunctionClass::kHarmless) && !function.is_deferred)
      add_words(summary_.functions, function.schema, function.name);
}

const FactsSummary& Examiner::summary() {
  if (!is_summary_made_) add_to_summary();
  return summary_;
}

ExaminerCounters Examiner::counters() const {
  ExaminerCounters counters{.facts_hits = analyzer_.hit_count(),
                            .facts_misses = analyzer_.miss_count(),
                            .resolved_hits = resolver_.hit_count(),
                            .resolved_misses = resolver_.miss_count(),
                            .not_parsed = not_parsed_,
                            .rules = judged_before_};
  if (judge_ != nullptr) add(counters.rules, judge_->counters());
  return counters;
}

}  // namespace gatehouse::judge
