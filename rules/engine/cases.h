// SPDX-License-Identifier: Apache-2.0
// Cases beside rules: what is to be found in an event, and what not. Files whose name ends in "cases.yaml".
//
//   cases:
//     - name: a DELETE of everything is refused
//       sql: DELETE FROM staff                 # short for statement.text
//       event: {actor.exe: /usr/bin/psql}      # fields by their names
//       expect: {verdict: block, findings: [delete-without-where]}
//
// The modes of rules do not matter to cases: all are judged by as if they were active.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/yaml.h"
#include "rules/engine/judge.h"
#include "rules/engine/policy.h"

namespace gatehouse::rules {

// What happens; `repeat` times, each `every_ns` after the one before it.
struct CaseEvent {
  size_t kind = 0;                 // of the event kinds
  std::vector<YamlNode> fields{};  // each with its key, such as "actor.exe"
  uint64_t repeat = 1;
  uint64_t every_ns = 0;
  uint64_t after_ns = 0;  // since what happened before
  std::string shown;      // "cases[3].before[0]": for problems
};

struct Case {
  std::string name;
  std::vector<CaseEvent> before{};
  CaseEvent event;
  Verdict verdict;                      // of the last one
  std::vector<std::string> findings{};  // rules' ids, in any order
  std::optional<std::vector<std::string>> excepted{};
  std::string file;
  size_t line;
  size_t column;
};

struct CheckedCases {
  std::vector<Case> cases{};
  std::vector<Problem> errors{};
};

bool is_cases_file(std::string_view name);

// The first event of a case happens then, unless it says `now`.
inline constexpr uint64_t kCasesBeginUnixNs = 1'767'225'600'000'000'000;  // 2026-01-01T00:00:00Z
// Events of one case, and cases of one file.
inline constexpr uint64_t kCaseRepeatMax = 100'000;

// `policy`: whose rules the cases are about; ids are looked up in it. Null: they are not.
CheckedCases check_cases(const PolicyFile& file, std::span<const EventKind> kinds, const Policy* policy);

}  // namespace gatehouse::rules
