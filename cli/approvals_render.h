// SPDX-License-Identifier: Apache-2.0
// Requests for approvals, as text and as JSON. Everything in them that others wrote is made safe first. Pure but for
// the process's time zone.
#pragma once

#include <cstdint>
#include <string>

#include "cli/table.h"
#include "gatehouse/v1/approvals.pb.h"

namespace gatehouse::cli {

std::string render_approvals(const v1::ListApprovalsResponse& answer, TableStyle style, uint64_t now_ns);
// One request, with all that a reviewer needs; of a long text its head, and how to see the rest, unless `is_full`.
std::string render_approval(const v1::ApprovalView& view, TableStyle style, uint64_t now_ns, bool is_full);
// What has become of it by a reviewer's word, in one line.
std::string decided_words(const v1::ApprovalView& view, bool is_review);
// One line.
std::string to_json(const v1::ApprovalView& view);

// Of a statement that is shown without `--full`.
inline constexpr size_t kShownBytesMax = 16U << 10;

}  // namespace gatehouse::cli
