// SPDX-License-Identifier: Apache-2.0
// "Did you mean …?": how far apart two names are. Pure.
#pragma once

#include <cstddef>
#include <string_view>

namespace gatehouse::rules {

// Edits from one to the other: insert, delete, replace. Of longer names the first 64 bytes count.
size_t edit_distance(std::string_view from, std::string_view to);
// For qualified names: "user" means "session.user" more than it means "outcome", so a name without its folder costs
// one edit.
size_t meant_distance(std::string_view written, std::string_view name);

}  // namespace gatehouse::rules
