// SPDX-License-Identifier: Apache-2.0
// Where this command runs, by its own word: what a decision is held against, and recorded with. Linux: from /proc.
#pragma once

#include "gatehouse/v1/approvals.pb.h"

namespace gatehouse::cli {

v1::Claim own_claim();

}  // namespace gatehouse::cli
