// SPDX-License-Identifier: Apache-2.0
// What may be written in a rule file: docs/rules.md prints its tables from this one.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "common/config.h"

namespace gatehouse::rules {

std::span<const config::Key> policy_keys();

// The part of "a|b|c" number `index`, and the number of a part that is one of them.
std::string_view choice(std::string_view choices, size_t index);
size_t choice_index(std::string_view choices, std::string_view part);

inline constexpr std::string_view kActions = "alert|mask|hold|block|terminate";
inline constexpr std::string_view kModes = "draft|dry-run|active";
inline constexpr std::string_view kSeverities = "info|low|medium|high|critical";
inline constexpr std::string_view kMeasures = "count|sum|distinct";
inline constexpr std::string_view kMaskMethods = "redact|null|partial|hash|tokenise|bucket";
inline constexpr std::string_view kWhenUnknown = "mask|block|allow";
inline constexpr std::string_view kPredicates = "allow|block";
inline constexpr std::string_view kDetectors =
    "email|pan|iban|ssn|phone|passport|tax|jwt|pem|token|ipv4|ipv6|birth_date";

// "5m", "90s", "1h30m", "7d": of CEL, and days. At least a second and at most a year.
std::optional<uint64_t> parse_span(std::string_view text);
// "2027-01-31" (as it begins, in UTC) or RFC 3339, as Unix ns.
std::optional<uint64_t> parse_expiry(std::string_view text);

}  // namespace gatehouse::rules
