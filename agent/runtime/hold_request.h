// SPDX-License-Identifier: Apache-2.0
// HoldRequest: a statement that is to wait for somebody's word, as it is told to reviewers; and the digests that say
// what an approval is for. Pure.
#pragma once

#include <cstdint>
#include <string_view>

#include "agent/judge/examiner.h"
#include "agent/protocol/activity.h"
#include "agent/runtime/event_writer.h"
#include "common/digest.h"
#include "gatehouse/v1/approvals.pb.h"

namespace gatehouse::runtime {

// Who asks, and from what state of the session. Borrowed.
struct HoldContext {
  const SessionFacts& session;
  std::string_view session_id;  // Row.session
  std::string_view host;
  const sql::SessionState& state;
  const rules::Actor* actor = nullptr;  // null: not on this host
  // The digest of the actor's program may come after the question; then it is not part of what is bound.
  bool has_digest = false;
};

// Of who is served and how names are read: database, server, user, role, search path, encodings, temporary tables.
Sha256 context_digest(const HoldContext& context);
// Of all that an approval is for: the context, session, process image, protocol, text, and parameters with their
// formats and types. Two requests of the same digest are the same question.
Sha256 binding_digest(const HoldContext& context, const Activity& request);

// Whether that digest covers the request: what is cut, it does not.
bool is_bindable(const Activity& request);

// What a reviewer is shown, without id, rule and times. `facts`: of the request.
void describe_hold(const HoldContext& context, const Activity& request, const judge::FactsSummary& facts,
                   v1::HoldRequest& out);

// What of a text, and of all parameters together, is sent; the digest is of the whole.
inline constexpr size_t kHoldTextBytesMax = 256U << 10;
inline constexpr size_t kHoldParameterBytesMax = 64U << 10;

}  // namespace gatehouse::runtime
