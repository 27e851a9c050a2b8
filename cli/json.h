// SPDX-License-Identifier: Apache-2.0
// JSON for scripts: one object per line, keys as in docs/fields.md ("actor.exe" is .actor.exe), in a fixed order. What
// is not known is absent. Times are RFC 3339 in UTC with nine decimals, durations integers of ns. Pure.
#pragma once

#include <string>

#include "rules/engine/filter.h"

namespace gatehouse::v1 {
class Agent;
class CreateTokenResponse;
class Row;
class TopGroup;
}  // namespace gatehouse::v1

namespace gatehouse::cli {

// One line with its newline.
std::string to_json(const v1::Row& row);
std::string to_json(const v1::Agent& agent);
// `by` is the field that made the groups.
std::string to_json(const v1::TopGroup& group, const rules::FieldSpec& by);
std::string to_json(const v1::CreateTokenResponse& token);
std::string to_json(const rules::FieldSpec& field);
// The line with a member more: "partial": the per cent of what is kept that the answer is made from.
std::string partial_json(std::string line, uint32_t percent);

}  // namespace gatehouse::cli
