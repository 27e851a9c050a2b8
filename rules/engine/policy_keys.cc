// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/policy_keys.h"

#include <algorithm>
#include <string>

#include "rules/engine/message.h"
#include "rules/engine/policy.h"
#include "rules/engine/time_text.h"
#include "rules/engine/window.h"

namespace gatehouse::rules {
namespace {

using config::Key;
using config::Type;

constexpr size_t kNameBytesMax = 128;
constexpr size_t kDescriptionBytesMax = 16U << 10;
constexpr uint64_t kQuorumMax = 16;
constexpr uint64_t kDayNs = 86'400'000'000'000;
constexpr uint64_t kSpanMaxDays = 366;

std::optional<std::string> expect_span(std::string_view value) {
  if (parse_span(value)) return std::nullopt;
  return "a time such as 90s, 5m, 1h30m or 7d, of one second to a year";
}
std::optional<std::string> expect_expiry(std::string_view value) {
  if (parse_expiry(value)) return std::nullopt;
  return "a date such as 2027-01-31, or a time such as 2027-01-31T18:00:00Z";
}
// Class 00 is success, 01 and 02 are warnings: no client would take them for an error.
std::optional<std::string> expect_sqlstate(std::string_view value) {
  const auto fits = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); };
  const bool is_error = value.substr(0, 2) != "00" && value.substr(0, 2) != "01" && value.substr(0, 2) != "02";
  if (value.size() == 5 && std::ranges::all_of(value, fits) && is_error) return std::nullopt;
  return "five digits or capital letters that are an error's, such as 42501";
}
// What CEL can call by its name after a dot.
std::optional<std::string> expect_identifier(std::string_view value) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  const auto fits = [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); };
  if (!value.empty() && is_letter(value.front()) && std::ranges::all_of(value, fits)) return std::nullopt;
  return "a name of letters, digits and '_'";
}
// "public.customers.email", "*.*.ssn".
std::optional<std::string> expect_column(std::string_view value) {
  size_t dots = 0;
  size_t length = 0;
  for (const char c : value) {
    if (c == '.' && length == 0) break;
    dots += c == '.' ? 1 : 0;
    length = c == '.' ? 0 : length + 1;
  }
  if (dots == 2 && length > 0) return std::nullopt;
  return "a column as schema.table.column, with * for any, such as public.customers.email or *.*.ssn";
}
std::optional<std::string> expect_detector(std::string_view value) {
  for (size_t i = 0; !choice(kDetectors, i).empty(); ++i)
    if (choice(kDetectors, i) == value) return std::nullopt;
  return "one of email, pan, iban, ssn, phone, passport, tax, jwt, pem, token, ipv4, ipv6, birth_date";
}

constexpr Key kKeys[] = {
    {.path = "rules", .type = Type::kSections, .why = "What is looked for."},
    {.path = "rules[].id",
     .required = true,
     .min = 1,
     .max = kNameBytesMax,
     .why = "The rule's name in findings, exceptions and refusals.",
     .check = config::expect_name},
    {.path = "rules[].on", .required = true, .min = 1, .max = kNameBytesMax, .why = "The kind of event it is about."},
    {.path = "rules[].when",
     .required = true,
     .min = 1,
     .max = cel::kExpressionBytesMax,
     .has_lines = true,
     .why = "The condition, in CEL."},
    {.path = "rules[].then",
     .type = Type::kChoice,
     .required = true,
     .choices = kActions,
     .why = "What happens when it matches."},
    {.path = "rules[].mode",
     .type = Type::kChoice,
     .fallback = "draft",
     .choices = kModes,
     .why = "Whether it is judged by at all, only recorded, or carried out."},
    {.path = "rules[].severity",
     .type = Type::kChoice,
     .fallback = "medium",
     .choices = kSeverities,
     .why = "How soon someone should look."},
    {.path = "rules[].priority",
     .type = Type::kCount,
     .fallback = "0",
     .max = 1000,
     .why = "Higher ones come first among findings, and a refusal speaks of the first of its verdict."},
    {.path = "rules[].message",
     .max = kMessageBytesMax,
     .why = "What the client is told, and the finding says; `{actor.exe}` puts a value in."},
    {.path = "rules[].description", .max = kDescriptionBytesMax, .has_lines = true, .why = "Why there is such a rule."},
    {.path = "rules[].tags", .type = Type::kTexts, .min = 1, .max = kNameBytesMax, .why = "What it is filed under."},
    {.path = "rules[].references", .type = Type::kTexts, .min = 1, .max = 2048, .why = "Where to read on."},
    {.path = "rules[].false_positives",
     .max = kDescriptionBytesMax,
     .has_lines = true,
     .why = "When it is mistaken, and what to do then."},
    {.path = "rules[].window",
     .type = Type::kSection,
     .why = "It matches when so much of what `when` holds for has come together."},
    {.path = "rules[].window.count",
     .max = cel::kExpressionBytesMax,
     .has_lines = true,
     .why = "Events for which this holds; `true` for all."},
    {.path = "rules[].window.sum",
     .max = cel::kExpressionBytesMax,
     .has_lines = true,
     .why = "The sum of this number; negative ones are left out."},
    {.path = "rules[].window.distinct",
     .max = cel::kExpressionBytesMax,
     .has_lines = true,
     .why = "How many different values this has."},
    {.path = "rules[].window.over",
     .required = true,
     .why = "Within this time, that of the events.",
     .check = expect_span},
    {.path = "rules[].window.by",
     .type = Type::kTexts,
     .max = cel::kExpressionBytesMax,
     .has_lines = true,
     .why = "For each value of these fields apart."},
    {.path = "rules[].window.at_least",
     .type = Type::kCount,
     .fallback = "1",
     .required = true,
     .min = 1,
     .max = 1'000'000'000'000,
     .why = "From this on it matches."},
    {.path = "rules[].first_seen",
     .type = Type::kSection,
     .why = "It matches when what `when` holds for was not seen before."},
    {.path = "rules[].first_seen.key",
     .type = Type::kTexts,
     .required = true,
     .max = cel::kExpressionBytesMax,
     .has_lines = true,
     .why = "What is new: values of these fields together."},
    {.path = "rules[].first_seen.learn",
     .required = true,
     .why = "For this time from the first event on everything is taken for known.",
     .check = expect_span},
    {.path = "rules[].hold",
     .type = Type::kSection,
     .why = "How a rule that holds asks for an approval; docs/approvals.md."},
    {.path = "rules[].hold.for",
     .fallback = "15m",
     .why = "For so long the statement waits; then it is refused.",
     .check = expect_span},
    {.path = "rules[].hold.approvers",
     .type = Type::kTexts,
     .min = 1,
     .max = kNameBytesMax,
     .why = "Groups of reviewers, as the collector's configuration has them; none: every reviewer.",
     .check = config::expect_name},
    {.path = "rules[].hold.quorum",
     .type = Type::kCount,
     .fallback = "1",
     .min = 1,
     .max = kQuorumMax,
     .why = "So many different reviewers must approve. One who denies is enough to refuse."},
    {.path = "rules[].hold.when_unreachable",
     .type = Type::kChoice,
     .fallback = "deny",
     .choices = kWhenUnreachable,
     .why = "What happens where the collector cannot be asked."},
    {.path = "rules[].hold.unreachable_after",
     .fallback = "10s",
     .why = "For so long it is waited for the collector before that.",
     .check = expect_span},
    {.path = "rules[].hold.remind_every",
     .fallback = "30s",
     .why = "So often the client is told that its statement still waits.",
     .check = expect_span},
    {.path = "rules[].hold.explain",
     .type = Type::kChoice,
     .fallback = "false",
     .choices = kNoYes,
     .why = "Whether reviewers see the server's plan: EXPLAIN, by the catalog's connection."},
    {.path = "rules[].limit",
     .type = Type::kSection,
     .why = "How much of a statement's result may pass: behind that it is cut with an error."},
    {.path = "rules[].limit.rows",
     .type = Type::kCount,
     .fallback = "0",
     .max = 1'000'000'000'000,
     .why = "Rows; 0: any number."},
    {.path = "rules[].limit.bytes",
     .type = Type::kBytes,
     .fallback = "0",
     .max = uint64_t{1} << 40,
     .why = "Bytes of rows; 0: any number."},
    {.path = "rules[].sqlstate",
     .fallback = "42501",
     .why = "What a client's program is told by a refusal: five characters.",
     .check = expect_sqlstate},
    {.path = "lists", .type = Type::kSections, .why = "Values with a name: `lists.NAME` in conditions."},
    {.path = "lists[].name",
     .required = true,
     .min = 1,
     .max = kNameBytesMax,
     .why = "What comes after `lists.`",
     .check = expect_identifier},
    {.path = "lists[].description", .max = kDescriptionBytesMax, .has_lines = true, .why = "What it is a list of."},
    {.path = "lists[].texts", .type = Type::kTexts, .max = 4096, .why = "Its values, as text."},
    {.path = "lists[].numbers", .type = Type::kTexts, .max = 64, .why = "Its values, as numbers."},
    {.path = "lists[].file",
     .max = 4096,
     .why = "A file of its values, one on each line, beside this one; its name ends in .txt."},
    {.path = "macros", .type = Type::kSections, .why = "Conditions with a name: `macros.NAME` in others."},
    {.path = "macros[].name",
     .required = true,
     .min = 1,
     .max = kNameBytesMax,
     .why = "What comes after `macros.`",
     .check = expect_identifier},
    {.path = "macros[].description", .max = kDescriptionBytesMax, .has_lines = true, .why = "What it says."},
    {.path = "macros[].is",
     .required = true,
     .min = 1,
     .max = cel::kExpressionBytesMax,
     .has_lines = true,
     .why = "The condition, in CEL."},
    {.path = "exceptions", .type = Type::kSections, .why = "Where rules do not apply, for a time."},
    {.path = "exceptions[].rules",
     .type = Type::kTexts,
     .required = true,
     .min = 1,
     .max = kNameBytesMax,
     .why = "The rules' ids."},
    {.path = "exceptions[].when",
     .required = true,
     .min = 1,
     .max = cel::kExpressionBytesMax,
     .has_lines = true,
     .why = "The condition, in CEL."},
    {.path = "exceptions[].owner", .required = true, .min = 1, .max = kNameBytesMax, .why = "Who answers for it."},
    {.path = "exceptions[].reason",
     .required = true,
     .min = 1,
     .max = kDescriptionBytesMax,
     .has_lines = true,
     .why = "Why there is one."},
    {.path = "exceptions[].expires",
     .required = true,
     .why = "From then on it does not apply. A date means the beginning of that day, in UTC.",
     .check = expect_expiry},
    {.path = "masks", .type = Type::kSections, .why = "What results do not show."},
    {.path = "masks[].id",
     .required = true,
     .min = 1,
     .max = kNameBytesMax,
     .why = "The mask's name in findings.",
     .check = config::expect_name},
    {.path = "masks[].description", .max = kDescriptionBytesMax, .has_lines = true, .why = "Why there is such a mask."},
    {.path = "masks[].columns",
     .type = Type::kTexts,
     .max = 400,
     .why = "Columns, as schema.table.column with * for any.",
     .check = expect_column},
    {.path = "masks[].detect",
     .type = Type::kTexts,
     .max = 64,
     .why = "What is masked wherever it is found: email, pan, iban, ssn, phone, passport, tax, jwt, pem, token, ipv4, "
            "ipv6, birth_date.",
     .check = expect_detector},
    {.path = "masks[].method",
     .type = Type::kChoice,
     .required = true,
     .choices = kMaskMethods,
     .why = "What is shown in its place."},
    {.path = "masks[].unless",
     .min = 1,
     .max = cel::kExpressionBytesMax,
     .has_lines = true,
     .why = "Whom it does not concern: a condition on statements, in CEL."},
    {.path = "masks[].nulls",
     .type = Type::kChoice,
     .fallback = "keep",
     .choices = kNulls,
     .why = "Whether a NULL is shown, or masked as a value would be."},
    {.path = "masks[].when_unknown",
     .type = Type::kChoice,
     .fallback = "mask",
     .choices = kWhenUnknown,
     .why = "What happens to a value that cannot be told to be of another column."},
    {.path = "masks[].predicates",
     .type = Type::kChoice,
     .fallback = "allow",
     .choices = kPredicates,
     .why = "Whether rows may be chosen by what is masked, which tells of it bit by bit."},
    {.path = "masks[].mode",
     .type = Type::kChoice,
     .fallback = "draft",
     .choices = kModes,
     .why = "As that of a rule."},
};

}  // namespace

std::span<const Key> policy_keys() {
  return kKeys;
}

std::string_view choice(std::string_view choices, size_t index) {
  for (; index > 0; --index) {
    const size_t bar = choices.find('|');
    if (bar == std::string_view::npos) return "";
    choices.remove_prefix(bar + 1);
  }
  return choices.substr(0, choices.find('|'));
}

size_t choice_index(std::string_view choices, std::string_view part) {
  size_t index = 0;
  while (choice(choices, index) != part) ++index;
  return index;
}

std::optional<uint64_t> parse_span(std::string_view text) {
  uint64_t days = 0;
  const size_t d = text.find('d');
  if (d != std::string_view::npos) {
    const auto count = config::parse_count(text.substr(0, d));
    if (!count || *count > kSpanMaxDays) return std::nullopt;
    days = *count;
    text.remove_prefix(d + 1);
  }
  uint64_t rest = 0;
  if (!text.empty() || d == std::string_view::npos) {
    const auto parsed = parse_duration(text);
    if (!parsed || *parsed > kSpanMaxDays * kDayNs) return std::nullopt;
    rest = *parsed;
  }
  const uint64_t whole = days * kDayNs + rest;
  if (whole < 1'000'000'000 || whole > kSpanMaxDays * kDayNs) return std::nullopt;
  return whole;
}

std::optional<uint64_t> parse_expiry(std::string_view text) {
  constexpr size_t kDateBytes = 10;
  return text.size() == kDateBytes ? parse_timestamp(std::string(text) + "T00:00:00Z") : parse_timestamp(text);
}

std::string_view name_of(Action action) {
  return choice(kActions, static_cast<size_t>(action));
}
std::string_view name_of(RuleMode mode) {
  return choice(kModes, static_cast<size_t>(mode));
}
std::string_view name_of(Severity severity) {
  return choice(kSeverities, static_cast<size_t>(severity));
}
std::string_view name_of(Measure measure) {
  return choice(kMeasures, static_cast<size_t>(measure));
}
std::string_view name_of(MaskMethod method) {
  return choice(kMaskMethods, static_cast<size_t>(method));
}
std::string_view name_of(WhenUnknown when) {
  return choice(kWhenUnknown, static_cast<size_t>(when));
}
std::string_view name_of(Predicates predicates) {
  return choice(kPredicates, static_cast<size_t>(predicates));
}
std::string_view name_of(WhenUnreachable when) {
  return choice(kWhenUnreachable, static_cast<size_t>(when));
}

}  // namespace gatehouse::rules
