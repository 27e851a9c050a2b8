// SPDX-License-Identifier: Apache-2.0
// A record of a step, as ApprovalDesk's files make them. Private to them.
#pragma once

#include <cstdint>
#include <string_view>

#include "gatehouse/v1/approvals.pb.h"

namespace gatehouse::approvals {

// `state`: of the request from here on; empty: as it was.
inline v1::ApprovalRecord change_of(const v1::ApprovalView& view, uint64_t now_ns, std::string_view step,
                                    std::string_view state) {
  v1::ApprovalRecord record;
  record.set_time_ns(now_ns);
  v1::ApprovalChange& change = *record.mutable_change();
  change.set_id(view.request().id());
  change.mutable_step()->set_time_ns(now_ns);
  change.mutable_step()->set_state(std::string(step));
  change.set_state(std::string(state));
  return record;
}

}  // namespace gatehouse::approvals
