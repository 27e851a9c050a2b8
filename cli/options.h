// SPDX-License-Identifier: Apache-2.0
// The command line of `gatehouse`: what was asked for, checked as far as it can be without the collector.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <tl/expected.hpp>

#include "cli/columns.h"
#include "rules/engine/filter.h"

namespace gatehouse::cli {

// What the process ends with. --help and docs/cli.md say the same.
inline constexpr int kExitOk = 0;
inline constexpr int kExitEnvironment = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitDamaged = 3;
inline constexpr int kExitRefused = 4;
inline constexpr int kExitConfiguration = 78;

inline constexpr uint32_t kQueryRowsDefault = 100;
inline constexpr uint32_t kSessionRowsDefault = 1000;
inline constexpr uint32_t kTopGroupsDefault = 20;
inline constexpr uint32_t kApprovalsRowsDefault = 100;

enum class Command : uint8_t {
  kQuery,
  kTail,
  kSession,
  kTop,
  kAgents,
  kTokenCreate,
  kFields,
  kVerify,
  kRulesCheck,
  kRulesTest,
  kRulesExplain,
  kRulesFields,
  kRulesBacktest,
  kApprovalsList,
  kApprovalsShow,
  kApprovalsApprove,
  kApprovalsDeny,
  kApprovalsReview,
};

struct Options {
  Command command = Command::kQuery;
  std::string collector;    // host:port
  std::string credentials;  // directory
  bool json = false;
  bool colour = true;  // where there is a terminal
  bool pager = true;   // where there is a terminal

  std::string filter;     // known to parse
  uint64_t since_ns = 0;  // 0: not said
  uint64_t until_ns = 0;  // 0: not said
  uint32_t limit = 0;     // 0: none
  bool oldest_first = false;
  std::vector<EventColumn> columns;  // empty: the usual ones
  const rules::FieldSpec* by = nullptr;
  std::string session;
  uint64_t valid_seconds = 0;
  std::string folder;    // of a segment log
  bool sockets = false;  // of agents: those of their hosts, one by one

  // Of rules.
  std::vector<std::string> paths;  // files and folders
  std::string rule;                // its id; empty: those that match
  std::string on;                  // the kind of event
  std::string sql;
  std::vector<std::string> fields;  // "actor.exe=/usr/bin/psql"
  bool complete = false;            // every rule must have cases

  // Of approvals.
  std::string request;         // its id, or the beginning of it
  std::string reason;
  bool all = false;            // those that are over, too
  bool full = false;           // the whole text
  uint64_t grant_seconds = 0;  // 0: once
  std::string scope;           // "process" or "person"
  bool break_glass = false;
};

// The command line was answered already: help and version to standard output with kExitOk, mistakes to standard error.
struct Answered {
  int exit_code;
  std::string text;
};

// A value of the environment, or none. Given as a function so that tests have their own.
using Environment = std::function<std::optional<std::string>(const char* name)>;

// `arguments` are without the program's name. `now_ns` is what relative times count from.
tl::expected<Options, Answered> parse_options(std::vector<std::string> arguments, const Environment& environment,
                                              uint64_t now_ns);

// Message, the filter's line with the mistake, and a caret under it.
std::string explain_filter_error(std::string_view filter, const rules::FilterError& error);

}  // namespace gatehouse::cli
