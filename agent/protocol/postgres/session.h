// SPDX-License-Identifier: Apache-2.0
// Session: both directions of one PostgreSQL connection. docs/protocols/postgres.md explains what is reported and how
// a session behaves when bytes are missing.
//
// Names take effect when the server says so: a request is queued when it is framed, and what it does to statements
// and portals happens when its answer comes. So a Parse that fails, or that the server skips after an error, changes
// nothing.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/protocol/activity.h"
#include "agent/protocol/postgres/framer.h"
#include "agent/protocol/postgres/names.h"
#include "agent/protocol/postgres/pending.h"
#include "agent/protocol/postgres/request_messages.h"
#include "agent/protocol/postgres/response_messages.h"
#include "agent/protocol/session.h"
#include "agent/sql/statements.h"
#include "common/limits.h"

namespace gatehouse::postgres {

// Where a connection is in its life.
enum class Phase : uint8_t {
  kStartup,       // the client's next frame has no tag
  kAnswer,        // an encryption request awaits its single byte
  kAuthenticate,  // StartupMessage sent, no ReadyForQuery yet
  kActive,
  kCancel,  // the connection carries one CancelRequest
  kOpaque,  // TLS, GSS or not PostgreSQL
  kClosed,
};
inline constexpr size_t kPhases = 7;

class Session final : public ProtocolSession {
 public:
  struct Options {
    bool joined = false;     // the connection was open before; neither start-up nor frame boundaries are known
    bool may_resync = true;  // find framing again at a safe point; the shim never does
    bool opens_tls = false;  // the caller hands over what is inside TLS, see is_inside_tls()
  };
  // `sink` must outlive the session.
  Session(ActivitySink& sink, const Options& options);

  void on_bytes(Direction direction, std::span<const std::byte> bytes, const ByteContext& context) override;
  void on_rows(Direction direction, uint64_t rows, uint64_t bytes, const ByteContext& context) override;
  void on_cut(Direction direction, uint64_t bytes, const ByteContext& context) override;
  void on_gap(Direction direction, uint64_t bytes, const ByteContext& context) override;
  void on_opaque(SocketOpaque::Reason reason, uint64_t time_ns) override;
  void on_sealed(std::string_view why, uint64_t time_ns) override;
  void on_closed(uint64_t time_ns) override;
  void on_joined_idle(TransactionState transaction) override;

  [[nodiscard]] std::string_view user() const override { return user_; }
  [[nodiscard]] std::string_view database() const override { return database_; }
  [[nodiscard]] std::string_view application_name() const override { return application_name_; }
  [[nodiscard]] std::string_view server_version() const override { return server_version_; }
  [[nodiscard]] std::string_view client_encoding() const override { return client_encoding_; }
  [[nodiscard]] uint32_t backend_pid() const override { return backend_pid_; }
  [[nodiscard]] bool is_opaque() const override { return phase_ == Phase::kOpaque; }
  [[nodiscard]] bool awaits_tls_answer() const override {
    return phase_ == Phase::kAnswer && options_.opens_tls && !encryption_is_gss_ && !is_inside_tls_;
  }
  [[nodiscard]] bool is_inside_tls() const override { return is_inside_tls_; }
  [[nodiscard]] bool is_unsynced(Direction direction) const override {
    return (direction == Direction::kRequest ? request_ : response_).is_lost;
  }
  [[nodiscard]] const SessionTotals& totals() const override { return totals_; }
  [[nodiscard]] size_t memory_bytes() const override;

  [[nodiscard]] Phase phase() const { return phase_; }
  [[nodiscard]] TransactionState transaction() const { return transaction_; }

  // For who stands between the two ends, and judges a request before the session and the server get it. foresight.cc.

  enum class Foresight : uint8_t {
    kKnown,
    kUnsettled,  // which statement a name means depends on an answer that is owed; ask again when one has come
    kMalformed,  // no such request: the server cannot read it either
  };
  // What the server would do with StartupMessage, Query, Parse, Execute or FunctionCall if it came now, whole, behind
  // all requests so far; those of its own segment (up to a Sync, Query or FunctionCall) succeed, or the server passes
  // this one over. Fills the session's and the request's own fields. They borrow `body` and the session, until its next
  // call that is not const.
  //
  // An Execute of a portal that is not known has no text; its fidelity is kAfterGap where the name was forgotten rather
  // than never there (a function may have opened it all the same). `resolved_text`: what EXECUTE, FETCH and MOVE in the
  // text run; of several, one after another; one that is not known stands there as it was written.
  Foresight foresee(RequestTag tag, std::span<const std::byte> body, Activity& activity);
  Foresight foresee_startup(std::span<const std::byte> body, Activity& activity);

  // The server will answer a request that began before `offset`, whatever the client does next.
  [[nodiscard]] bool owes_before(uint64_t offset) const;
  // Where the request begins that the server's next answer is for. nullopt: none, or it skips to a Sync.
  [[nodiscard]] std::optional<uint64_t> answers_next() const;
  // After an error in the extended protocol, until Sync's ReadyForQuery.
  [[nodiscard]] bool is_skipping() const { return is_skipping_; }
  // The request at `offset` has not been answered, or only in part.
  [[nodiscard]] bool is_pending(uint64_t offset) const { return !queue_.empty() && queue_.at(0).offset <= offset; }
  // The statement under way has its error: one more is the session's.
  [[nodiscard]] bool has_failed() const;
  // The server takes rows of a COPY, and the client has not ended them.
  [[nodiscard]] bool is_copying_in() const;
  // … while requests wait that it will take for rows, and refuse.
  [[nodiscard]] bool is_copy_confused() const;
  // Requests that await an answer, and what is remembered of them.
  [[nodiscard]] size_t pending_count() const { return queue_.size(); }
  [[nodiscard]] size_t pending_bytes() const { return fifo_.held_bytes(); }
  // A statement that has been answered goes to the sink now, rather than when what follows tells the transaction's
  // state.
  void tell_answered();

 private:
  // One direction: its framer and the frame under way.
  struct Stream {
    Framer framer;
    std::vector<std::byte> body;  // of the frame under way, where it came in parts
    ByteContext start{};          // of the frame under way
    bool is_cut = false;
    bool is_damaged = false;
    bool is_lost = false;  // framing unknown until a safe point
  };
  // What the server has said so far of the statement at the head of the queue.
  struct Answer {
    uint64_t bytes = 0;      // wire bytes, asynchronous messages among them included
    uint64_t rows = 0;       // DataRow frames
    uint64_t copy_rows = 0;  // CopyData frames from the server
    uint64_t copy_bytes = 0;
    bool has_begun = false;  // the server has begun to run it: a description, a row or a COPY came
    bool copies_in = false;
    bool copies_out = false;
    bool is_damaged = false;
  };
  // Requests already answered that belong to the next Execute: Parse, Bind, Describe, Close.
  struct Group {
    bool is_open = false;
    uint64_t start_ns = 0;
    uint64_t offset = 0;
    uint64_t request_bytes = 0;
    uint64_t response_bytes = 0;
    ImageKey writer{};
  };
  static constexpr size_t kTagBytesMax = 64;  // the server's COMPLETION_TAG_BUFSIZE
  // A finished statement, kept until what follows it says which transaction state it left.
  struct Held {
    bool is_held = false;
    Pending entry{};
    Group group{};
    PortalRef portal;
    TextRef statement;  // of a Bind or Describe that failed
    TextRef resolved;
    Outcome outcome = Outcome::kUnknown;
    Fidelity fidelity = Fidelity::kComplete;
    uint64_t end_ns = 0;
    uint64_t rows = 0;
    uint64_t copy_bytes = 0;
    std::array<char, kTagBytesMax> tag{};
    uint8_t tag_size = 0;
    bool has_error = false;
  };
  struct LastError {
    std::string severity, sqlstate, message;
  };
  // One statement of a Query with several.
  struct Part {
    std::array<char, kTagBytesMax> tag{};
    uint8_t tag_size = 0;
    uint64_t rows = 0, copy_bytes = 0, response_bytes = 0, end_ns = 0;
    bool is_damaged = false;
  };

  // session.cc: bytes to frames
  Stream& stream(Direction direction) { return direction == Direction::kRequest ? request_ : response_; }
  void push_frames(Direction direction, std::span<const std::byte> bytes, const ByteContext& context);
  void push_body(Direction direction, Stream& side, const Step& step, uint64_t time_ns);
  void skip(Direction direction, uint64_t bytes, bool is_lost, const ByteContext& context);
  void finish_frame(Direction direction, Stream& side, const Frame& frame, std::span<const std::byte> body,
                    uint64_t time_ns);
  bool keeps_body(Direction direction, uint8_t tag) const;
  [[nodiscard]] bool is_deaf() const {
    return phase_ == Phase::kOpaque || phase_ == Phase::kClosed || phase_ == Phase::kCancel;
  }
  void enter(Phase phase);

  // resync.cc: lost framing and safe points
  void lose(Direction direction, Reason reason);
  void note_idle_candidate(std::span<const std::byte> bytes, const ByteContext& context);
  bool take_safe_point(std::span<const std::byte> bytes, const ByteContext& context);
  void forget_names_of(const Pending& entry);
  void forget_all_names();
  [[nodiscard]] bool is_lost() const { return request_.is_lost || response_.is_lost; }
  [[nodiscard]] Fidelity floor_fidelity() const;
  bool looks_like_tls(Direction direction, std::span<const std::byte> bytes);

  // startup.cc
  void on_startup_frame(std::span<const std::byte> body);
  void on_startup_message(std::span<const std::byte> body);
  void on_answer_byte(uint8_t answer, uint64_t time_ns);
  void on_authentication(std::span<const std::byte> body, uint64_t time_ns);
  void on_startup_error(uint64_t time_ns);
  void on_parameter_status(std::span<const std::byte> body);
  void emit_authentication(Outcome outcome, uint64_t time_ns);
  void become_opaque(std::string_view reason, uint64_t time_ns, std::string_view why = {});
  void set_text(std::string& target, std::string_view value);

  // request.cc
  void on_request_frame(const Frame& frame, std::span<const std::byte> body);
  void queue_request(Pending::Kind kind, const Frame& frame, std::span<const std::byte> body);
  void queue_copy_data(const Frame& frame);
  void shed_skipped(uint64_t time_ns);
  void count_copy_rows(uint64_t rows, uint64_t bytes, const ByteContext& context);
  bool make_room(size_t bytes);
  void mark_unknown_requests();

  // answer.cc
  void on_response_frame(const Frame& frame, std::span<const std::byte> body, uint64_t time_ns);
  void on_answer(ResponseTag tag, std::span<const std::byte> body, uint64_t time_ns);
  void on_unknown_answer(ResponseTag tag, std::span<const std::byte> body, uint64_t time_ns);
  void on_error(std::span<const std::byte> body, uint64_t time_ns);
  void on_statement_error(uint64_t time_ns);
  void on_notification(std::span<const std::byte> body, uint64_t time_ns);
  void on_ready(std::span<const std::byte> body, uint64_t time_ns);
  bool finish_cycle(uint64_t time_ns);
  void finish_skipped(uint64_t time_ns);
  void end_transaction();
  void on_complete(Outcome outcome, std::string_view tag, std::optional<uint64_t> rows, uint64_t time_ns);
  void on_command_complete(std::span<const std::byte> body, uint64_t time_ns);
  void on_execute_complete(Outcome outcome, std::string_view tag, uint64_t rows, uint64_t time_ns);
  void on_query_complete(Outcome outcome, std::string_view tag, uint64_t rows, uint64_t time_ns);
  void on_describe_or_rows(ResponseTag tag);
  void on_parse_complete();
  void on_bind_complete();
  void on_close_complete();
  void on_parameter_description(std::span<const std::byte> body);
  void surprise() { lose(Direction::kResponse, Reason::kNone); }
  [[nodiscard]] uint64_t rows_so_far() const { return answer_.copies_out ? answer_.copy_rows : answer_.rows; }
  Pending* head();
  Pending* head_or_lost();
  void pop();
  void pop_into_group();
  void add_to_group(const Pending& entry);
  uint64_t fold_copy_requests(Outcome outcome);
  TextRef make_text(std::string_view text, uint64_t text_bytes, Fidelity fidelity);
  TextRef text_of_parse(const Pending& entry, const Parse& parse);
  PortalRef make_portal(const Pending& entry, const TextRef& statement);
  [[nodiscard]] Fidelity entry_fidelity(const Pending& entry) const;
  [[nodiscard]] Fidelity unknown_name_fidelity() const;
  static Body extent_of(const Pending& entry) { return entry.is_cut || entry.is_damaged ? Body::kHead : Body::kWhole; }
  TextRef find_statement(std::string_view name);
  PortalRef find_portal(std::string_view name);
  void install_statement(std::string_view name, TextRef text);
  void install_portal(std::string_view name, PortalRef portal);

  // query.cc: simple queries
  void begin_query(const Pending& entry);
  bool split(std::string_view sql);
  void add_part(std::string_view tag, uint64_t rows, uint64_t time_ns);
  void finish_query(uint64_t time_ns);
  void abort_parts(uint64_t time_ns);
  // `next`: the outcome of the first statement without an answer; those after it were not reached.
  void emit_parts(const Pending& entry, Outcome next, uint64_t time_ns);
  void emit_whole(const Pending& entry, uint64_t time_ns);
  [[nodiscard]] bool parts_agree() const;
  TextRef resolve(std::string_view sql, Fidelity& fidelity);
  [[nodiscard]] sql::NamedCommand named_command(std::string_view sql) const;
  void apply_effects(std::string_view sql, std::string_view tag, Fidelity fidelity);
  [[nodiscard]] sql::LexicalMode lexical_mode() const;

  // foresight.cc
  template <typename RefT>
  struct Foreseen {
    bool is_settled = true;
    bool is_hidden = false;  // not known for want of room
    RefT value{};
  };
  Foreseen<TextRef> foresee_statement(std::string_view name, size_t before);
  Foreseen<PortalRef> foresee_portal(std::string_view name);
  Foresight foresee_execute(std::span<const std::byte> body, Activity& activity);
  // False: unsettled.
  bool foresee_resolved(std::string_view sql, Activity& activity);
  struct InText;
  bool foresee_command(std::string_view sql, InText& in_text, size_t depth);

  // emit.cc
  void hold(const Pending& entry, Outcome outcome, std::string_view tag, uint64_t rows, uint64_t time_ns);
  void find_texts();
  // What is held is the Query or FunctionCall at the head, which stays there until ReadyForQuery.
  [[nodiscard]] bool holds_front() const;
  void flush_held(TransactionState transaction);
  static bool is_replication_command(std::string_view sql);
  void fill_statement(Activity& activity, const Held& held);
  void fill_execution(Activity& activity, const PortalData& portal);
  void fill_error(Activity& activity) const;
  void fill_parameters(Activity& activity, const ParameterList& list, const PreparedText* statement);
  void fill_session(Activity& activity) const;
  void emit(Activity& activity);
  void drain(Outcome outcome, bool only_to_sync, uint64_t time_ns);
  void drain_entry(const Pending& entry, Outcome outcome, uint64_t time_ns);
  void assume_names(const Pending& entry, bool is_uncertain);
  template <typename RefT>
  void put_shadow(NameTable<RefT>& table, std::string_view name, RefT value) {
    if (table.heap_bytes() > kSessionBytesMax / 8) table.clear();
    table.put(name, std::move(value));
  }
  [[nodiscard]] size_t sync_index() const;
  [[nodiscard]] std::span<const std::byte> payload(const Pending& entry) const {
    return fifo_.view(entry.payload, entry.payload_size);
  }

  ActivitySink& sink_;
  Options options_;
  Phase phase_ = Phase::kStartup;
  Stream request_;
  Stream response_;
  SessionTotals totals_{};

  // Session facts.
  std::string user_, database_, application_name_, server_version_, client_encoding_, protocol_version_;
  uint32_t backend_pid_ = 0;
  TransactionState transaction_ = TransactionState::kUnknown;
  bool is_replication_ = false;
  bool standard_conforming_strings_ = true;
  bool is_escape_mode_known_ = true;  // false: a hole may have hidden a change of standard_conforming_strings …
  bool is_charset_known_ = true;      // … or of client_encoding
  bool are_names_known_ = true;       // false: a name that is not in the table may exist
  bool is_startup_known_ = true;      // false: StartupMessage was not seen
  std::string_view method_ = "none";
  bool has_answered_ = false;  // a whole frame has come from the server
  bool is_authenticated_ = false;
  ByteContext startup_{};  // of StartupMessage
  uint64_t startup_bytes_ = 0;
  bool has_terminated_ = false;
  std::optional<LastError> fatal_;
  LastError error_;
  std::vector<std::byte> early_;  // what the client sent after an encryption request, before its answer
  ByteContext early_context_{};
  bool encryption_is_gss_ = false;
  bool is_inside_tls_ = false;
  std::array<bool, kDirections> has_tls_look_{};

  // Statements under way. The pools outlive every reference below them.
  RefPool<PreparedText> texts_;
  RefPool<PortalData> portal_pool_;
  NameTable<TextRef> statements_;
  NameTable<PortalRef> portals_;
  NameTable<TextRef> shadow_statements_;  // what skipped requests would have made, until their Sync
  NameTable<PortalRef> shadow_portals_;
  bool shadow_hides_statements_ = false;  // one of them could not be read: any name may be meant
  bool shadow_hides_portals_ = false;
  PendingQueue queue_;
  ByteFifo fifo_;
  Answer answer_{};
  Group group_{};
  Held held_{};
  bool is_skipping_ = false;  // after an error in the extended protocol, until Sync's ReadyForQuery
  bool copy_failed_ = false;  // … and the error ended a COPY from the client
  bool last_command_rolled_back_ = false;

  // The simple query at the head.
  bool query_begun_ = false;
  bool query_is_whole_ = true;       // one activity for all of it
  bool query_is_ambiguous_ = false;  // … because a hole hid how to read it
  bool query_has_error_ = false;
  bool query_error_is_placed_ = false;  // it is known which statement failed
  std::vector<sql::TextRange> ranges_, other_ranges_;
  std::vector<Part> parts_;
  std::vector<Parameter> parameters_;
  std::string function_text_;

  // What foresee() gave last.
  TextRef foreseen_text_;
  PortalRef foreseen_portal_;
  std::string foreseen_resolved_, foreseen_version_;
  std::vector<Setting> foreseen_settings_;

  // Resynchronisation.
  bool is_provisional_ = false;
  bool is_idle_candidate_ = false;
  TransactionState candidate_transaction_ = TransactionState::kUnknown;
};

}  // namespace gatehouse::postgres
