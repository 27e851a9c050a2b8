// SPDX-License-Identifier: Apache-2.0
#include "agent/runtime/shard.h"

#include <algorithm>
#include <array>
#include <utility>

#include "agent/runtime/server_title.h"
#include "agent/tls/channel.h"

namespace gatehouse::runtime {
namespace {

std::shared_ptr<SessionEntry> make_entry(const SocketOpened& opened, std::span<const AgentConfig::Database> databases,
                                         const TimeBase& time) {
  auto entry = std::make_shared<SessionEntry>();
  SessionFacts& facts = entry->facts;
  facts.id = opened.socket;
  facts.opened_unix_ns = time.to_unix(opened.time_ns);
  facts.transport = opened.transport;
  facts.captured_at_client = opened.captured_at_client;
  facts.joined = opened.joined;
  facts.gated = opened.is_gated;
  facts.encrypted = opened.is_encrypted;
  if (opened.transport != Transport::kUnix) facts.client_address = address_text(opened.transport, opened.client);
  facts.client_port = opened.client.port;
  facts.server_address = address_text(opened.transport, opened.server);
  facts.server_port = port_number(opened.transport, opened.server);
  facts.database_label = database_label(databases, opened.transport, opened.server);
  if (const auto* const named = find_database(databases, opened.transport, opened.server))
    facts.labels = &named->labels;
  entry->opener = {.process = opened.client_opener};
  entry->server = {.process = opened.server_opener};
  return entry;
}

constexpr std::string_view kBypass = "This connection reached a database in mode enforce without being judged.";

// The names a session learns as it goes; they change rarely, so compare before copying.
void learn(std::string& known, std::string_view now) {
  if (!now.empty() && known != now) known = now;
}

// Of what is not covered, what weighs most.
std::string_view main_reason(const CoverageReport& report) {
  if (report.verdict == CoverageVerdict::kFull) return "";
  if (report.verdict == CoverageVerdict::kOpaque) return report.opaque_reason;
  if (report.verdict == CoverageVerdict::kTruncated) return "cut";
  std::array<uint64_t, kLostReasons> bytes{};
  for (const StreamReport& stream : report.stream)
    for (size_t i = 0; i < kLostReasons; ++i) bytes[i] += stream.lost[i].bytes;
  const auto* const most = std::ranges::max_element(bytes);
  if (*most == 0) return "opened-before-watching";
  return lost_reason_name(static_cast<LostReason>(most - bytes.begin()));
}

}  // namespace

// One connection: the protocol's session behind it and what the batches say of it.
class Shard::Session final : public ConnectionObserver {
 public:
  Session(Shard& shard, const SocketOpened& opened)
      : shard_(shard),
        entry_(make_entry(opened, shard.databases_, shard.builder_.time_base())),
        connection_(opened, shard.tls_ ? &shard.secrets_ : nullptr) {
    // As it is now: it may be another program by the time that an event names it.
    if (const auto& image = shard.processes_.writer(opened.client_opener, opened.client_uid); image != nullptr)
      entry_->opener.image = image->image_number;
    if (opened.is_gated || opened.joined || !shard.enforced_since_ns_) return;
    const uint64_t since_ns = shard.enforced_since_ns_(entry_->facts.database_label);
    const bool is_own = shard.judging_ && shard.judging_->subjects.is_own(*entry_);
    is_bypass_ = since_ns != 0 && opened.time_ns > since_ns && !is_own;
    is_unnamed_ = find_database(shard.databases_, opened.transport, opened.server) == nullptr && !is_own;
    opened_ns_ = opened.time_ns;
  }

  void on_chunk(const Chunk& chunk) {
    now_ns_ = chunk.time_ns;
    // Who answers is the server's process, which is not known before it does.
    if (chunk.direction == Direction::kResponse && chunk.writer.known() && chunk.writer != entry_->server.process) {
      entry_->server = {.process = chunk.writer};
      if (entry_->facts.joined) learn_from_title();
      if (std::exchange(is_unnamed_, false)) look_for_bypass();
    }
    uint64_t& bytes =
        chunk.direction == Direction::kRequest ? entry_->totals.request_bytes : entry_->totals.response_bytes;
    for (const Piece& piece : chunk.pieces) {
      bytes += piece.bytes;
      count(piece);
    }
    connection_.on_chunk(chunk, *this, chunk.direction == Direction::kRequest ? image_of_writer(chunk) : 0);
    if (connection_.tls() != nullptr) mind_tls();
  }
  void on_tls_secret(uint64_t time_ns) {
    connection_.on_tls_secret(time_ns, *this);
    if (connection_.tls() != nullptr) mind_tls();
  }
  void on_opaque(const SocketOpaque& record) {
    now_ns_ = record.time_ns;
    entry_->facts.encrypted = record.reason != SocketOpaque::Reason::kNotProtocol;
    connection_.on_opaque(record, *this);
  }
  // Its secrets are awaited no longer, and what was said of it is taken back.
  void leave_tls() {
    if (awaited_) shard_.awaiting_secrets_.erase(*awaited_);
    awaited_.reset();
    if (tls_word_ != TlsWord::kNone) shard_.tls_->forget(connection_.socket());
    tls_word_ = TlsWord::kNone;
  }
  void on_refused(const Refused& record) {
    // What is cut in the middle of its answer is refused after requests behind it were.
    const auto place = std::ranges::upper_bound(refusals_, record.offset, {}, &Refusal::offset);
    refusals_.insert(place, {.offset = record.offset,
                             .action = record.terminates ? rules::Action::kTerminate : rules::Action::kBlock,
                             .rule = std::string(record.rule),
                             .message = std::string(record.message)});
  }
  void on_masked(const Masked& record) {
    maskings_.push_back({.offset = record.offset,
                         .values = record.values,
                         .mask = std::string(record.mask),
                         .column = std::string(record.column),
                         .method = std::string(record.method)});
  }
  [[nodiscard]] const std::shared_ptr<SessionEntry>& entry() const { return entry_; }
  void on_closed(const SocketClosed& record) {
    now_ns_ = record.time_ns;
    watch_ended_ = record.watch_ended;
    for (const Direction direction : {Direction::kRequest, Direction::kResponse}) {
      uint64_t& bytes = direction == Direction::kRequest ? entry_->totals.request_bytes : entry_->totals.response_bytes;
      bytes = record.witnessed ? record.stream_bytes[static_cast<size_t>(direction)] : connection_.position(direction);
    }
    connection_.on_closed(record, *this);
  }
  // The watching ends, not the session: what is pending is told as not answered. `stands`: where the kernel says that
  // its streams stand; null if it does not.
  [[nodiscard]] SocketClosed end_of_watch(SocketId socket, uint64_t now_ns, const SocketClosed* stands) const {
    SocketClosed end{.socket = socket, .time_ns = now_ns, .watch_ended = true};
    if (stands != nullptr) end.lost_bytes = stands->lost_bytes;
    for (const Direction direction : {Direction::kRequest, Direction::kResponse}) {
      const auto index = static_cast<size_t>(direction);
      end.stream_bytes[index] =
          std::max(connection_.position(direction), stands == nullptr ? 0 : stands->stream_bytes[index]);
    }
    return end;
  }

  // The session was open before it was watched. Nobody can say what it did until then, so the record says that.
  void report_unseen_past(uint64_t now_ns) {
    const std::string state = learn_from_title();
    if (const auto transaction = idle_transaction(state)) connection_.on_joined_idle(*transaction);
    add_gap({.bytes = connection_.origin(Direction::kRequest),
             .response_bytes = connection_.origin(Direction::kResponse),
             .reason = "opened-before-watching",
             .server_state = state,
             .fidelity = Fidelity::kJoinedMidStream},
            now_ns);
  }

  [[nodiscard]] SessionView view(SocketId socket) const {
    const CoverageReport report = coverage();
    return {.socket = socket,
            .facts = entry_->facts,
            .opener = entry_->opener.process,
            .server = entry_->server.process,
            .verdict = report.verdict,
            .reason = main_reason(report)};
  }

  void on_activity(const Activity& activity) override {
    SessionFacts& facts = entry_->facts;
    learn(facts.user, activity.user);
    learn(facts.database, activity.database);
    learn(facts.application_name, activity.application_name);
    learn(facts.server_version, activity.server_version);
    learn(facts.client_encoding, activity.client_encoding);
    if (activity.backend_pid != 0) facts.backend_pid = activity.backend_pid;
    ++shard_.counters_.activities;
    if (activity.kind == ActivityKind::kStatement) {
      ++shard_.counters_.statements;
      ++entry_->totals.statements;
    }
    if (activity.kind == ActivityKind::kOpaque) {
      opaque_reason_ = activity.method;
      if (!activity.options.empty()) sealed_because_ = activity.options.front().value;
    }
    const Activity seen = as_seen(activity);
    if (activity.kind == ActivityKind::kDisconnect)
      disconnect(seen);
    else
      shard_.builder_.add_activity(entry_, seen, judge(seen));
    shard_.hand_over_if_full();
  }

  void on_gap(const Gap& gap) override {
    const bool response = gap.direction == Direction::kResponse;
    ++shard_.counters_.gaps;
    shard_.counters_.lost_bytes += gap.bytes;
    (response ? entry_->totals.lost_response_bytes : entry_->totals.lost_request_bytes) += gap.bytes;
    if (!lost_) lost_ = std::make_unique<LostSpans>();
    LostSpan& span = (*lost_)[static_cast<size_t>(gap.direction)][static_cast<size_t>(gap.reason)];
    if (span.gaps++ == 0) span.first_offset = gap.offset;
    span.bytes += gap.bytes;
    span.end_offset = gap.offset + gap.bytes;
    add_gap({.response = response, .offset = gap.offset, .bytes = gap.bytes, .reason = lost_reason_name(gap.reason)},
            now_ns_);
  }

 private:
  using LostSpans = std::array<std::array<LostSpan, kLostReasons>, kDirections>;
  // What the shim did not let through.
  struct Refusal {
    uint64_t offset = 0;
    rules::Action action = rules::Action::kBlock;
    std::string rule, message;
  };

  // What it changed in an answer.
  struct Masking {
    uint64_t offset = 0, values = 0;
    std::string mask, column, method;
  };
  enum class TlsWord : uint8_t { kNone, kOpened, kSealed };  // what the source was told

  // Says what becomes of the session's TLS, when that is known.
  void mind_tls() {
    const tls::Channel& channel = *connection_.tls();
    if (tls_word_ == TlsWord::kSealed) return;
    if (!channel.sealed_because().empty()) {
      tell_tls(TlsWord::kSealed);
      ++shard_.counters_.tls_sealed;
    } else if (channel.is_open()) {
      if (tls_word_ == TlsWord::kOpened) return;
      tell_tls(TlsWord::kOpened);
      ++shard_.counters_.tls_opened;
    } else if (channel.client_random() && !awaited_) {
      entry_->facts.encrypted = true;
      awaited_ = channel.client_random();
      shard_.awaiting_secrets_[*awaited_] = connection_.socket();
    } else if (channel.is_waiting() && !has_asked_) {
      has_asked_ = true;
      if (shard_.tls_->want(entry_->opener.process, entry_->server.process)) return;
      connection_.seal_tls("tls-no-secret", now_ns_, *this);
      mind_tls();
    }
  }
  void tell_tls(TlsWord word) {
    tls_word_ = word;
    shard_.tls_->decide(connection_.socket(), word == TlsWord::kOpened);
  }
  // Why a session could not be read, for who is to mend it.
  std::span<const judge::Found> with_sealed(std::span<const judge::Found> findings) {
    sealed_message_ = "This session is encrypted and could not be read (" + std::string(sealed_because_) + "). " +
                      shard_.tls_->explain(entry_->opener.process, entry_->server.process);
    begin_findings(findings);
    with_more_.push_back({.rule = "gatehouse.tls-not-read",
                             .action = rules::Action::kAlert,
                             .severity = rules::Severity::kMedium,
                             .message = sealed_message_});
    return with_more_;
  }

  [[nodiscard]] bool is_judging() const { return shard_.is_judging() && !shard_.judging_->subjects.is_own(*entry_); }
  [[nodiscard]] judge::Subject subject(const ImageKey& writer) {
    return shard_.judging_->subjects.subject(subject_, *entry_, writer, shard_.builder_.time_base());
  }
  Judged judge(const Activity& activity) {
    const Refusal* const refusal = entry_->facts.gated ? refusal_of(activity) : nullptr;
    const bool is_masked = entry_->facts.gated && take_maskings(activity);
    const bool is_sealed = activity.kind == ActivityKind::kOpaque && !sealed_because_.empty() && shard_.tls_;
    if (!is_judging() && refusal == nullptr && !is_bypass_ && !is_masked && !is_sealed) [[likely]]
      return {};
    judge::Examined examined;
    if (is_judging()) {
      const uint64_t time_unix_ns = shard_.builder_.time_base().to_unix(activity.start_ns);
      judge::Subject subject = this->subject(activity.writer);
      if (entry_->facts.gated)
        subject.enforcement =
            refusal == nullptr ? judge::Subject::Enforcement::kReleased : judge::Subject::Enforcement::kRefused;
      examined = shard_.judging_->examiner.examine(subject, activity, time_unix_ns);
      if (activity.outcome == Outcome::kOk) shard_.judging_->subjects.on_effects(*entry_, examined.effects);
    }
    if (is_masked) examined.findings = with_maskings(examined.findings);
    if (refusal != nullptr) examined.findings = with_refusal(examined.findings, *refusal);
    if (is_sealed) examined.findings = with_sealed(examined.findings);
    if (std::exchange(is_bypass_, false)) examined.findings = with_bypass(examined.findings);
    return shard_.judged(examined);
  }
  std::string_view bypass_message() {
    owner_ = "This connection reached the server of database " + owner_ +
             ", which is in mode enforce, at an address that its `listen` does not name. Nobody judged it.";
    return owner_;
  }
  // The server that answers may be one whose clients are led to the shim where they are expected.
  void look_for_bypass() {
    if (!shard_.owner_of_) return;
    owner_ = shard_.owner_of_(entry_->server.process);
    const uint64_t since_ns = owner_.empty() ? 0 : shard_.enforced_since_ns_(owner_);
    is_bypass_ = since_ns != 0 && opened_ns_ > since_ns;
  }
  // It reached the server, and nobody judged it before. Said once for each session.
  std::span<const judge::Found> with_bypass(std::span<const judge::Found> findings) {
    begin_findings(findings);
    with_more_.push_back({.rule = "gatehouse.bypass",
                             .action = rules::Action::kAlert,
                             .severity = rules::Severity::kHigh,
                             .message = owner_.empty() ? kBypass : bypass_message()});
    return with_more_;
  }
  // The refusal that the activity is the answer to.
  const Refusal* refusal_of(const Activity& activity) {
    const bool is_request = activity.kind == ActivityKind::kStatement || activity.kind == ActivityKind::kConnect;
    if (!is_request) return nullptr;
    std::erase_if(refusals_, [&](const Refusal& r) { return r.offset < activity.request_offset; });
    if (refusals_.empty() || refusals_.front().offset >= activity.request_offset + activity.request_bytes)
      return nullptr;
    return &refusals_.front();
  }
  // What was refused has a finding that says so, whatever it looks like from here.
  std::span<const judge::Found> with_refusal(std::span<const judge::Found> findings, const Refusal& refusal) {
    const auto is_it = [&](const judge::Found& found) { return found.rule == refusal.rule && !found.would; };
    if (std::ranges::any_of(findings, is_it)) return findings;
    begin_findings(findings);
    std::erase_if(with_more_, [&](const judge::Found& found) { return found.rule == refusal.rule; });
    with_more_.push_back({.rule = refusal.rule,
                             .action = refusal.action,
                             .severity = rules::Severity::kMedium,
                             .message = refusal.message});
    return with_more_;
  }
  void begin_findings(std::span<const judge::Found> findings) {
    if (findings.data() != with_more_.data()) with_more_.assign(findings.begin(), findings.end());
  }
  // Those of the activity's answer are what `masked_` has then. False: there are none.
  bool take_maskings(const Activity& activity) {
    masked_.clear();
    if (maskings_.empty() || activity.kind != ActivityKind::kStatement) return false;
    std::erase_if(maskings_, [&](const Masking& m) { return m.offset < activity.request_offset; });
    for (const Masking& masking : maskings_) {
      if (masking.offset >= activity.request_offset + activity.request_bytes) break;
      masked_.push_back(
          {.mask = masking.mask, .column = masking.column, .method = masking.method, .values = masking.values});
    }
    std::ranges::stable_sort(masked_, {}, &judge::MaskedColumn::mask);
    return !masked_.empty();
  }
  // What was masked is told with the finding of its mask, of which there may be none from here.
  std::span<const judge::Found> with_maskings(std::span<const judge::Found> findings) {
    begin_findings(findings);
    for (size_t from = 0, to = 0; from < masked_.size(); from = to) {
      while (to < masked_.size() && masked_[to].mask == masked_[from].mask) ++to;
      auto found = std::ranges::find(with_more_, masked_[from].mask, &judge::Found::rule);
      if (found == with_more_.end())
        found = with_more_.insert(found, {.rule = masked_[from].mask, .severity = rules::Severity::kInfo});
      found->action = rules::Action::kMask;
      found->would = false;
      found->masked = std::span(masked_).subspan(from, to - from);
    }
    return with_more_;
  }
  void disconnect(const Activity& activity) {
    const CoverageReport report = coverage();
    Judged judged;
    if (is_judging()) {
      const TransferTotals& totals = entry_->totals;
      const judge::Ending ending{.coverage = to_text(report.verdict),
                                 .request_bytes = totals.request_bytes,
                                 .response_bytes = totals.response_bytes,
                                 .statements = totals.statements,
                                 .lost_bytes = totals.lost_request_bytes + totals.lost_response_bytes};
      const uint64_t time_unix_ns = shard_.builder_.time_base().to_unix(activity.start_ns);
      judged =
          shard_.judged(shard_.judging_->examiner.examine(subject(activity.writer), activity, time_unix_ns, &ending));
    }
    shard_.builder_.add_disconnect(entry_, activity, report, judged);
  }
  void add_gap(const GapReport& gap, uint64_t now_ns) {
    Judged judged;
    if (is_judging()) judged = shard_.judge(gap, subject(entry_->opener), now_ns);
    shard_.builder_.add_gap(entry_, gap, now_ns, judged);
    shard_.hand_over_if_full();
  }

  // The protocol's session is told of an end of the connection either way, and takes what it awaits for aborted.
  [[nodiscard]] Activity as_seen(const Activity& told) const {
    if (!watch_ended_) return told;
    Activity seen = told;
    if (seen.kind == ActivityKind::kDisconnect) {
      seen.reason = "watch-ended";
      seen.outcome = Outcome::kUnknown;
    }
    if (seen.outcome == Outcome::kAborted) seen.outcome = Outcome::kUnknown;
    return seen;
  }

  // The start-up of a joined session was not seen. Its server's process says who is served: its state, as it says.
  std::string learn_from_title() {
    SessionFacts& facts = entry_->facts;
    const identity::ProcessRef& server = shard_.processes_.find(entry_->server.process);
    if (!server || !server->exe.ends_with("/postgres")) return "";
    const std::string text = shard_.processes_.title(entry_->server.process);
    const auto title = parse_server_title(text);
    if (!title || title->client_port != (facts.transport == Transport::kUnix ? 0 : facts.client_port)) return "";
    if (facts.user.empty() && !title->user.empty()) {
      facts.user = title->user;
      facts.database = title->database;
      facts.named_by = "process-title";
    }
    return std::string(title->state);
  }

  [[nodiscard]] CoverageReport coverage() const {
    CoverageReport report{.opaque_reason = opaque_reason_, .joined = entry_->facts.joined};
    CoverageFacts facts{.opaque = connection_.session().is_opaque(), .joined = report.joined};
    for (const Direction direction : {Direction::kRequest, Direction::kResponse}) {
      const StreamLedger& ledger = connection_.ledger(direction);
      const bool is_request = direction == Direction::kRequest;
      // Only clients send secrets.
      const uint64_t withheld = is_request ? std::min(ledger.cut, connection_.session().totals().withheld_bytes) : 0;
      StreamReport& stream = report.stream[static_cast<size_t>(direction)];
      stream = {.begin = connection_.origin(direction),
                .end = connection_.position(direction),
                .decoded = ledger.decoded,
                .left_out = ledger.elided,
                .cut = ledger.cut - withheld,
                .withheld = withheld,
                .opaque = ledger.opaque};
      if (lost_) stream.lost = (*lost_)[static_cast<size_t>(direction)];
      facts.lost_bytes += ledger.lost_total();
      facts.truncated_bytes += stream.cut;
      if (is_request) facts.request_bytes = stream.end - stream.begin;
      if (is_request) facts.request_read = ledger.decoded + ledger.elided + ledger.cut;
    }
    report.verdict = judge_coverage(facts);
    return report;
  }

  void count(const Piece& piece) {
    if (piece.kind == Piece::Kind::kData)
      shard_.counters_.captured_bytes += piece.bytes;
    else if (piece.kind != Piece::Kind::kLost)
      shard_.counters_.skipped_bytes += piece.bytes;
  }

  // Which image wrote it is settled here, while the records stand where the writer stood. Nearly always the last one.
  uint32_t image_of_writer(const Chunk& chunk) {
    if (chunk.writer == writer_.process && chunk.writer_uid == writer_uid_ && writer_mark_ == shard_.images_mark_)
        [[likely]]
      return writer_.image;
    const auto& image = shard_.processes_.writer(chunk.writer, chunk.writer_uid);
    writer_ = {.process = chunk.writer, .image = image == nullptr ? 0 : image->image_number};
    writer_uid_ = chunk.writer_uid;
    writer_mark_ = shard_.images_mark_;
    return writer_.image;
  }

  Shard& shard_;
  std::shared_ptr<SessionEntry> entry_;
  Connection connection_;
  uint64_t now_ns_ = 0;
  ImageKey writer_{};
  uint32_t writer_uid_ = UINT32_MAX;
  uint64_t writer_mark_ = 0;
  bool watch_ended_ = false;
  TlsWord tls_word_ = TlsWord::kNone;
  bool has_asked_ = false;              // for secrets
  std::optional<tls::Random> awaited_;  // names the session, in shard_'s list
  std::string_view sealed_because_{};   // a constant of agent/tls's
  std::string sealed_message_;
  bool is_bypass_ = false;                   // and no event has said so yet
  bool is_unnamed_ = false;                  // at an address that no database names, of a server not seen yet
  uint64_t opened_ns_ = 0;
  std::string owner_;                        // whose server it is then; later the message that says so
  std::string_view opaque_reason_{};         // a constant of the protocol's
  std::unique_ptr<LostSpans> lost_;          // where something was lost
  std::unique_ptr<SessionSubject> subject_;  // where somebody judges
  std::vector<Refusal> refusals_;            // in the order of their offsets; those whose answer has not come
  std::vector<Masking> maskings_;            // likewise
  std::vector<judge::MaskedColumn> masked_;  // of the activity at hand
  std::vector<judge::Found> with_more_;
};

Shard::Shard(identity::ProcessTable& processes, BatchBuilder& builder, std::vector<AgentConfig::Database> databases,
             BatchConsumer consume, std::optional<Judging> judging)
    : processes_(processes),
      builder_(builder),
      databases_(std::move(databases)),
      consume_(std::move(consume)),
      judging_(judging) {}

Shard::~Shard() = default;

void Shard::hand_over_if_full() {
  if (builder_.full()) consume_(builder_.take());
}

Judged Shard::judged(const judge::Examined& examined) {
  Judged judged{.findings = examined.findings};
  if (examined.facts != 0) judged.facts = builder_.find_facts(examined.facts);
  if (examined.facts != 0 && judged.facts == 0)
    judged.facts = builder_.add_facts(examined.facts, judging_->examiner.summary());
  counters_.findings += examined.findings.size();
  return judged;
}

Judged Shard::judge(const GapReport& gap, const judge::Subject& subject, uint64_t now_boottime_ns) {
  const uint64_t time_unix_ns = builder_.time_base().to_unix(now_boottime_ns);
  return judged(judging_->examiner.examine_gap(subject, gap.reason, gap.bytes, gap.events, time_unix_ns));
}

void Shard::add_gap(const GapReport& gap, uint64_t now_boottime_ns) {
  builder_.add_gap(nullptr, gap, now_boottime_ns,
                   is_judging() ? judge(gap, judging_->subjects.agent(), now_boottime_ns) : Judged());
}

void Shard::add_dropped(const spool::Dropped& dropped, uint64_t now_boottime_ns) {
  const GapReport gap = BatchBuilder::gap_of(dropped);
  builder_.add_dropped(dropped, now_boottime_ns,
                       is_judging() ? judge(gap, judging_->subjects.agent(), now_boottime_ns) : Judged());
}

void Shard::flush(uint64_t now_boottime_ns, bool force) {
  if (!builder_.empty() && (force || builder_.due(now_boottime_ns))) consume_(builder_.take());
  secrets_.expire(now_boottime_ns);
}

void Shard::on_socket_opened(const SocketOpened& record) {
  latest_record_ns_ = record.time_ns;
  ++counters_.sessions_opened;
  if (tls_ && record.server_opener.known()) tls_->expect(record.server_opener);
  if (const auto before = sessions_.find(record.socket); before != sessions_.end()) before->second->leave_tls();
  const auto [at, is_new] = sessions_.insert_or_assign(record.socket, std::make_unique<Session>(*this, record));
  if (record.joined) at->second->report_unseen_past(record.time_ns);
}

void Shard::on_chunk(const Chunk& record) {
  latest_record_ns_ = record.time_ns;
  ++counters_.chunks;
  const auto found = sessions_.find(record.socket);
  if (found == sessions_.end()) {
    ++counters_.orphan_chunks;
    return;
  }
  found->second->on_chunk(record);
}

void Shard::on_socket_opaque(const SocketOpaque& record) {
  latest_record_ns_ = record.time_ns;
  if (const auto found = sessions_.find(record.socket); found != sessions_.end()) found->second->on_opaque(record);
}

void Shard::on_refused(const Refused& record) {
  latest_record_ns_ = record.time_ns;
  if (const auto found = sessions_.find(record.socket); found != sessions_.end()) found->second->on_refused(record);
}

void Shard::on_masked(const Masked& record) {
  latest_record_ns_ = record.time_ns;
  if (const auto found = sessions_.find(record.socket); found != sessions_.end()) found->second->on_masked(record);
}

void Shard::on_approval(const ApprovalStep& record) {
  latest_record_ns_ = record.time_ns;
  const auto found = sessions_.find(record.socket);
  // A session that ends cancels what it waits for, maybe after its end is told.
  builder_.add_approval(found == sessions_.end() ? nullptr : found->second->entry(), record.approval, record.time_ns);
  hand_over_if_full();
}

void Shard::on_socket_closed(const SocketClosed& record) {
  latest_record_ns_ = record.time_ns;
  const auto found = sessions_.find(record.socket);
  if (found == sessions_.end()) return;
  found->second->on_closed(record);
  found->second->leave_tls();
  sessions_.erase(found);
  ++counters_.sessions_closed;
}

void Shard::on_process_exec(const ProcessExec& record) {
  latest_record_ns_ = record.time_ns;
  processes_.on_exec(record);
  if (on_network_ && std::exchange(latest_network_, record.net_namespace) != record.net_namespace)
    on_network_(record.process.pid);
  ++images_mark_;
  builder_.forget_writers();
  if (judging_) judging_->subjects.forget_processes();
}

void Shard::set_listen(std::span<const AgentConfig::Database> located) {
  // In place: sessions point to their database's labels.
  for (size_t i = 0; i < databases_.size() && i < located.size(); ++i) databases_[i].listen = located[i].listen;
}

void Shard::on_processes_changed() {
  if (judging_) judging_->subjects.forget_processes();
}

void Shard::on_process_fork(const ProcessFork& record) {
  latest_record_ns_ = record.time_ns;
  processes_.on_fork(record);
}

void Shard::on_process_exit(const ProcessExit& record) {
  latest_record_ns_ = record.time_ns;
  processes_.on_exit(record);
}

void Shard::on_process_image_lost(const ProcessImageLost& loss) {
  processes_.on_image_lost(loss);
  ++images_mark_;
  builder_.forget_writers();
  if (judging_) judging_->subjects.forget_processes();
}

void Shard::on_tls_secret(const TlsSecret& record) {
  if (!tls_) return;
  ++counters_.tls_secrets;
  if (!secrets_.add(record)) ++counters_.tls_secrets_refused;
  const auto awaiting = awaiting_secrets_.find(record.client_random);
  if (awaiting == awaiting_secrets_.end()) return;
  if (const auto found = sessions_.find(awaiting->second); found != sessions_.end())
    found->second->on_tls_secret(record.time_ns);
}

void Shard::for_each_session(const std::function<void(const SessionView&)>& visit) const {
  for (const auto& [socket, session] : sessions_) visit(session->view(socket));
}

void Shard::close_all(uint64_t now_boottime_ns, std::span<const SocketClosed> positions) {
  std::unordered_map<SocketId, const SocketClosed*> known;
  for (const SocketClosed& position : positions) known[position.socket] = &position;
  for (auto& [socket, session] : sessions_) {
    const auto position = known.find(socket);
    session->on_closed(
        session->end_of_watch(socket, now_boottime_ns, position == known.end() ? nullptr : position->second));
    session->leave_tls();
  }
  counters_.sessions_closed += sessions_.size();
  sessions_.clear();
}

}  // namespace gatehouse::runtime
