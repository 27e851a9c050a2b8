// SPDX-License-Identifier: Apache-2.0
// `gatehouse rules check | test | explain | fields`: rule files, without a collector.
#pragma once

#include <memory>

#include "cli/commands.h"
#include "cli/options.h"
#include "rules/engine/policy.h"

namespace gatehouse::cli {

// The exit code.
int check_rules(const Options& options, const Surroundings& to);
int test_rules(const Options& options, const Surroundings& to);
int explain_rules(const Options& options, const Surroundings& to);
// All of the set is active. Null: it was told why not, and `exit_code` says how to end.
std::shared_ptr<const rules::Policy> load_for_backtest(const Options& options, const Surroundings& to, int& exit_code);
int list_rule_fields(const Options& options, const Surroundings& to);

}  // namespace gatehouse::cli
