// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/inline_desk.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "agent/runtime/endpoints.h"
#include "agent/runtime/session_holds.h"
#include "common/clock.h"

namespace gatehouse::runtime {
namespace {

// What the recorder may be behind; then nothing more is read from clients and servers.
constexpr size_t kQueueBytesMax = 64U << 20;
constexpr uint64_t kBeatEveryNs = 50'000'000;
// A catalog takes a tenth of a second to read, and half a second in a large database.
constexpr uint64_t kCatalogWaitNsMax = 3'000'000'000;
constexpr std::string_view kInDoubtRule = "gatehouse.in-doubt";
constexpr std::string_view kUnknownClientRule = "gatehouse.unknown-client";

void learn(std::string& known, std::string_view now) {
  if (!now.empty() && known != now) known = now;
}

// A client at an address of this host has a process here.
bool is_of_this_host(const SocketOpened& opened) {
  if (opened.transport == Transport::kUnix || opened.client.address == opened.server.address) return true;
  constexpr std::array<uint8_t, 16> kLoopback6{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
  if (opened.transport == Transport::kTcp6) return opened.client.address == kLoopback6;
  return opened.client.address[0] == 127;
}

}  // namespace

class InlineDesk::Session final : public shim::SessionJudge {
 public:
  Session(InlineDesk& desk, const shim::Accepted& accepted)
      : desk_(desk),
        subject_(false),
        socket_(accepted.opened.socket),
        resume_(accepted.resume),
        notice_(accepted.notice),
        holds_({.book = desk.options_.holds,
                .records = &desk.queue_,
                .socket = socket_,
                .tell = [&desk, socket = socket_](const HoldAnswer& answer) {
                  desk.post({.socket = socket, .answer = answer});
                }}) {
    const SocketOpened& opened = accepted.opened;
    const AgentConfig::Database& database = *desk.options_.databases[accepted.gated];
    facts_.id = opened.socket;
    facts_.opened_unix_ns = desk.options_.time.to_unix(opened.time_ns);
    facts_.transport = opened.transport;
    facts_.encrypted = opened.is_encrypted;
    facts_.gated = true;
    if (opened.transport != Transport::kUnix) facts_.client_address = address_text(opened.transport, opened.client);
    facts_.client_port = opened.client.port;
    facts_.server_address = address_text(opened.transport, opened.server);
    facts_.server_port = port_number(opened.transport, opened.server);
    facts_.database_label = database.name;
    facts_.labels = &database.labels;
    subject_.id =
        desk.options_.agent_id + "/" + desk.options_.boot_id + "/" + std::to_string(static_cast<uint64_t>(socket_));
    is_own_ = opened.client_opener.known() && opened.client_opener.pid == desk.options_.own_pid;
    is_introduced_ = !opened.client_opener.known() || is_own_;
    is_stranger_ = !opened.client_opener.known() && (is_of_this_host(opened) || desk.options_.is_far[accepted.gated]);
    desk.sessions_[socket_] = this;
  }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session() override { desk_.sessions_.erase(socket_); }

  void introduce(std::shared_ptr<const judge::ActorRecord> actor) {
    subject_.actor = std::move(actor);
    const bool was_awaited = !std::exchange(is_introduced_, true) && is_awaited_;
    if (was_awaited) resume_();
  }

  shim::Ruling judge(const Activity& request, shim::Purpose purpose) override {
    if (purpose == shim::Purpose::kRun && holds_.is_holding()) {
      const judge::Subject asking = subject(judge::Subject::Enforcement::kInline);
      if (auto ruling = holds_.resume(hold_context(asking), request, desk_.policy_, boottime_ns(), unix_ns())) {
        if (ruling->kind != shim::Ruling::Kind::kRelease) return *std::move(ruling);
        // What it shows is masked as of now, not as of when somebody was asked; it counts in no window once more.
        const judge::Examined examined = desk_.examiner_.examine_request(
            subject(judge::Subject::Enforcement::kInline), request, unix_ns(), false);
        return release(request, purpose, examined);
      }
    }
    if (is_own_ || desk_.examiner_.is_idle()) return {};
    if (!is_introduced_) {
      is_awaited_ = true;
      return {.kind = shim::Ruling::Kind::kWait};
    }
    if (is_stranger_) return stranger();
    if (const Change* const change = desk_.change_of(facts_); change != nullptr && !is_redefining_) {
      if (request.start_ns < change->give_up_ns) {
        if (!std::exchange(is_awaiting_catalog_, true)) desk_.awaiting_.push_back(socket_);
        return {.kind = shim::Ruling::Kind::kWait};
      }
      is_catalog_old_ = true;
    } else {
      is_catalog_old_ = is_redefining_;
    }
    learn_from(request);
    const judge::Examined examined = desk_.examiner_.examine_request(
        subject(judge::Subject::Enforcement::kInline), request, unix_ns(), purpose == shim::Purpose::kRun);
    has_touched_masked_ = has_touched_masked_ || examined.touches_masked;
    if (examined.decisive == nullptr && !examined.is_in_doubt) return release(request, purpose, examined);
    if (examined.decisive != nullptr && examined.decisive->action == rules::Action::kHold)
      return hold(request, purpose, examined);
    return refusal(examined);
  }

  [[nodiscard]] bool redacts() const override { return has_touched_masked_; }
  bool redact(postgres::ResponseTag tag, std::span<const std::byte> body, std::string& out) override {
    return hide_message(tag, body, out);
  }

  void on_cancel_key(std::span<const std::byte> key) override {
    holds_.on_cancel_key({reinterpret_cast<const char*>(key.data()), key.size()});
  }
  [[nodiscard]] bool is_holding() const override { return holds_.is_holding(); }
  void on_answer(const HoldAnswer& answer) {
    if (!holds_.on_answer(answer, boottime_ns())) return;
    const auto resume = resume_;  // the session may end within
    resume();
  }
  void on_time(uint64_t now_ns) {
    const SessionHolds::Due due = holds_.on_time(now_ns);
    const auto resume = resume_;
    const auto notice = notice_;
    if (due.resumes) return resume();
    if (!due.notice.empty()) notice(due.notice);
  }

  void on_activity(const Activity& activity) override {
    learn_from(activity);
    if (is_own_ || desk_.examiner_.is_idle()) return;
    const bool is_answer = activity.kind == ActivityKind::kStatement && activity.outcome != Outcome::kSkipped;
    const bool is_end = activity.kind == ActivityKind::kDisconnect;
    if (is_redefining_ && (is_end || (is_answer && activity.transaction == TransactionState::kIdle))) {
      is_redefining_ = false;
      desk_.note_change(facts_, boottime_ns());
    }
    desk_.examiner_.note(subject(judge::Subject::Enforcement::kNone), activity);
  }

 private:
  void learn_from(const Activity& activity) {
    learn(facts_.user, activity.user);
    learn(facts_.database, activity.database);
    learn(facts_.application_name, activity.application_name);
    learn(facts_.server_version, activity.server_version);
    learn(facts_.client_encoding, activity.client_encoding);
    if (activity.backend_pid != 0) facts_.backend_pid = activity.backend_pid;
  }
  judge::Subject subject(judge::Subject::Enforcement enforcement) {
    if (desk_.catalogs_ != nullptr) desk_.catalogs_->turn_to(subject_.page, facts_.database_label, facts_.database);
    if (is_catalog_old_) subject_.page = {};
    judge::Subject subject = subject_of(subject_, facts_, desk_.options_.agent_id, desk_.options_.host);
    subject.enforcement = enforcement;
    return subject;
  }
  friend class InlineDesk;
  void on_catalog() {
    is_awaiting_catalog_ = false;
    resume_();
  }
  shim::Ruling release(const Activity& request, shim::Purpose purpose, const judge::Examined& examined) {
    // What it defines is for itself alone until its transaction ends, and no catalog has it.
    if (examined.changes_meaning && purpose == shim::Purpose::kRun) is_redefining_ = true;
    shim::Ruling ruling{.changes_state = examined.changes_state};
    if (examined.answer != nullptr)
      ruling.guard =
          std::make_shared<ResultMasker>(examined.answer, desk_.mask_keys_, desk_.queue_,
                                         ResultMasker::Request{.socket = socket_, .offset = request.request_offset});
    return ruling;
  }
  HoldContext hold_context(const judge::Subject& subject) const {
    return {.session = facts_,
            .session_id = subject_.id,
            .host = desk_.options_.host,
            .state = subject_.memory.state(),
            .actor = subject.actor};
  }
  // What is only prepared is asked for when it is to run, with its parameters.
  shim::Ruling hold(const Activity& request, shim::Purpose purpose, const judge::Examined& examined) {
    if (purpose == shim::Purpose::kPrepare) return release(request, purpose, examined);
    const judge::FactsSummary none;
    const judge::FactsSummary& facts =
        request.kind == ActivityKind::kStatement ? desk_.examiner_.summary() : none;
    const judge::Subject asking = subject(judge::Subject::Enforcement::kInline);
    const shim::Ruling ruling = holds_.hold({.context = hold_context(asking),
                                             .request = request,
                                             .policy = desk_.policy_,
                                             .findings = examined.findings,
                                             .facts = facts,
                                             .changes_state = examined.changes_state},
                                            boottime_ns(), unix_ns());
    if (ruling.kind == shim::Ruling::Kind::kWait) desk_.holding_.push_back(socket_);
    return ruling.kind == shim::Ruling::Kind::kRelease ? release(request, purpose, examined) : ruling;
  }
  // Rules about actors would find nothing.
  shim::Ruling stranger() {
    rule_ = kUnknownClientRule;
    message_ = "refused: the kernel has not told which process of this host opened this connection";
    hint_ = "Connect again.";
    return {.kind = shim::Ruling::Kind::kTerminate, .rule = rule_, .message = message_, .hint = hint_};
  }
  shim::Ruling refusal(const judge::Examined& examined) {
    const judge::Found* const found = examined.decisive;
    rule_ = found == nullptr ? kInDoubtRule : found->rule;
    sqlstate_ = found == nullptr ? "42501" : found->sqlstate;
    if (found == nullptr)
      message_ = "refused: a rule of this host could not be evaluated for this statement";
    else
      message_ = found->message.empty() ? "refused by rule " + rule_ : std::string(found->message);
    detail_ = "Gatehouse rule " + rule_ + ", session " + subject_.id + ".";
    hint_ = "Whoever keeps the rules of this host can tell why, and grant an exception.";
    const bool is_end = found != nullptr && found->action == rules::Action::kTerminate;
    return {.kind = is_end ? shim::Ruling::Kind::kTerminate : shim::Ruling::Kind::kRefuse,
            .rule = rule_,
            .sqlstate = sqlstate_,
            .message = message_,
            .detail = detail_,
            .hint = hint_};
  }

  InlineDesk& desk_;
  SessionFacts facts_;
  SessionSubject subject_;
  SocketId socket_;
  std::function<void()> resume_;
  std::function<void(std::string_view)> notice_;
  bool is_own_ = false, is_introduced_ = false, is_awaited_ = false, is_stranger_ = false;
  bool is_awaiting_catalog_ = false, is_catalog_old_ = false;
  bool is_redefining_ = false;  // its open transaction has changed what names mean
  bool has_touched_masked_ = false;  // something that it has asked for, or prepared, touches what a mask hides
  std::string rule_, sqlstate_, message_, detail_, hint_;  // of the latest refusal
  SessionHolds holds_;
};

Result<std::unique_ptr<InlineDesk>> InlineDesk::open(Options options, CatalogBook* catalogs) {
  UniqueFd mail(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!mail.valid()) return Error::system("eventfd");
  return std::unique_ptr<InlineDesk>(new InlineDesk(std::move(options), catalogs, std::move(mail)));
}

InlineDesk::InlineDesk(Options options, CatalogBook* catalogs, UniqueFd mail)
    : options_(std::move(options)),
      catalogs_(catalogs),
      mail_(std::move(mail)),
      queue_(kQueueBytesMax, options_.wake),
      examiner_(judge::Examiner::Options{.always_facts = options_.always_facts}) {}

InlineDesk::~InlineDesk() = default;

void InlineDesk::post(Letter letter) {
  {
    const std::lock_guard lock(mutex_);
    letters_.push_back(std::move(letter));
  }
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(mail_.get(), &one, sizeof one);  // full: it is readable already
}

void InlineDesk::set_policy(std::shared_ptr<const rules::Policy> policy, std::string state) {
  post({.policy = std::move(policy), .state = std::move(state)});
}

void InlineDesk::introduce(SocketId socket, std::shared_ptr<const judge::ActorRecord> actor) {
  post({.socket = socket, .actor = std::move(actor)});
}

void InlineDesk::take_wanted(std::vector<Introduction>& out) {
  const std::lock_guard lock(mutex_);
  out.insert(out.end(), wanted_.begin(), wanted_.end());
  wanted_.clear();
}

std::unique_ptr<shim::SessionJudge> InlineDesk::open_session(const shim::Accepted& accepted) {
  auto session = std::make_unique<Session>(*this, accepted);
  if (accepted.opened.client_opener.known()) {
    {
      const std::lock_guard lock(mutex_);
      wanted_.push_back({.socket = accepted.opened.socket,
                         .opener = accepted.opened.client_opener,
                         .uid = accepted.opened.client_uid});
    }
    options_.wake();
  }
  return session;
}

void InlineDesk::on_mail() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(mail_.get(), &count, sizeof count);
  std::vector<Letter> letters;
  {
    const std::lock_guard lock(mutex_);
    letters.swap(letters_);
  }
  for (Letter& letter : letters) {
    if (letter.socket == 0) {
      mask_keys_ = letter.policy == nullptr ? nullptr : derive_keys(*options_.mask_secret, *letter.policy);
      policy_ = letter.policy;
      examiner_.set_policy(std::move(letter.policy));
      if (!letter.state.empty()) examiner_.import_state(letter.state);
    } else if (const auto found = sessions_.find(letter.socket); found != sessions_.end()) {
      if (letter.answer)
        found->second->on_answer(*letter.answer);
      else
        found->second->introduce(std::move(letter.actor));
    }
  }
}

const InlineDesk::Change* InlineDesk::change_of(const SessionFacts& facts) {
  if (changes_.empty()) [[likely]]
    return nullptr;
  std::erase_if(changes_,
                [&](const Change& c) { return catalogs_->has_looked(c.label, c.database, c.asking); });
  const auto found = std::ranges::find_if(changes_, [&](const Change& c) {
    return c.label == facts.database_label && c.database == facts.database;
  });
  return found == changes_.end() ? nullptr : &*found;
}

void InlineDesk::note_change(const SessionFacts& facts, uint64_t now_ns) {
  if (catalogs_ == nullptr) return;
  const uint64_t asking = catalogs_->on_schema_changed(facts.database_label, facts.database);
  if (asking == 0) return;
  std::erase_if(changes_,
                [&](const Change& c) { return c.label == facts.database_label && c.database == facts.database; });
  changes_.push_back({.label = facts.database_label,
                      .database = facts.database,
                      .asking = asking,
                      .give_up_ns = now_ns + kCatalogWaitNsMax});
}

bool InlineDesk::on_cancel(std::span<const std::byte> key) {
  return options_.holds != nullptr &&
         options_.holds->cancel({reinterpret_cast<const char*>(key.data()), key.size()});
}

void InlineDesk::on_turn(uint64_t now_boottime_ns) {
  if (!awaiting_.empty()) {
    const std::vector<SocketId> awaiting = std::exchange(awaiting_, {});
    for (const SocketId socket : awaiting)
      if (const auto found = sessions_.find(socket); found != sessions_.end()) found->second->on_catalog();
  }
  // One that goes on may hold the next at once, or end.
  for (const SocketId socket : std::exchange(holding_, {})) {
    if (const auto found = sessions_.find(socket); found != sessions_.end()) found->second->on_time(now_boottime_ns);
    const auto left = sessions_.find(socket);
    const bool is_listed = std::ranges::find(holding_, socket) != holding_.end();
    if (left != sessions_.end() && left->second->is_holding() && !is_listed) holding_.push_back(socket);
  }
  if (now_boottime_ns < beaten_ns_ + kBeatEveryNs) return;
  beaten_ns_ = now_boottime_ns;
  options_.beat(now_boottime_ns);
}

}  // namespace gatehouse::runtime
