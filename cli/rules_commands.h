// SPDX-License-Identifier: Apache-2.0
// `gatehouse rules check | test | explain | fields`: rule files, without a collector.
#pragma once

#include "cli/commands.h"
#include "cli/options.h"

namespace gatehouse::cli {

// The exit code.
int check_rules(const Options& options, const Surroundings& to);
int test_rules(const Options& options, const Surroundings& to);
int explain_rules(const Options& options, const Surroundings& to);
int list_rule_fields(const Options& options, const Surroundings& to);

}  // namespace gatehouse::cli
