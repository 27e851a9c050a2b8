// SPDX-License-Identifier: Apache-2.0
// What --help teaches below the list of options: examples, and the exit codes.
#pragma once

#include <string_view>

namespace gatehouse::cli::help {

inline constexpr std::string_view kExitCodes =
    "Exit codes:\n"
    "  0   done; for tail also Ctrl-C, and a reader that closed the pipe\n"
    "  1   the collector cannot be reached, refused the certificate, or failed; a folder cannot be read\n"
    "  2   the command line or the filter is wrong; a caret shows where\n"
    "  3   verify found something wrong, or a case of rules test failed\n"
    "  4   of approvals: you may not, it is too late, or there is no such request\n"
    "  78  configuration: credentials, environment variables or rule files cannot be used\n";

inline constexpr std::string_view kProgram =
    "Examples:\n"
    "  gatehouse tail\n"
    "  gatehouse query 'statement.verb == \"DELETE\" && actor.exe.endsWith(\"/psql\")' --since 1h\n"
    "  gatehouse query 'outcome == \"error\"' --since today --json | jq -r .result.sqlstate\n"
    "  gatehouse top --by actor.exe --since 1h\n"
    "\n"
    "`gatehouse COMMAND --help` shows more of each; `gatehouse fields` lists what filters can ask for.\n"
    "\n";

inline constexpr std::string_view kQuery =
    "Newest first, 100 rows unless --limit says otherwise.\n"
    "\n"
    "Examples:\n"
    "  gatehouse query --since 10m\n"
    "  gatehouse query 'statement.verb == \"DELETE\" && actor.exe.endsWith(\"/psql\")' --since 1h\n"
    "  gatehouse query 'outcome == \"error\" && session.user != \"monitor\"' --since yesterday --until today\n"
    "  gatehouse query 'duration > duration(\"250ms\") && result.rows > 10000' --limit 0\n"
    "  gatehouse query '\"4711\" in statement.parameters' --oldest-first\n"
    "  gatehouse query 'kind == \"connect\"' --columns time,session.id,actor,session.client\n"
    "  gatehouse query 'statement.text.contains(\"payroll\")' --limit 0 --json > payroll.jsonl\n"
    "\n"
    "Times: 1h (ago), 2d, now-5m, today, yesterday, 14:30, 2026-11-25, \"2026-11-25 14:30\" (local time),\n"
    "       2026-11-25T14:30:00Z. --since is inclusive, --until exclusive.\n"
    "\n";

inline constexpr std::string_view kTail =
    "Runs until Ctrl-C. Goes on by itself, without a hole, when the collector restarts.\n"
    "\n"
    "Examples:\n"
    "  gatehouse tail\n"
    "  gatehouse tail 'kind == \"statement\" && database.name == \"shop\"' --since 5m\n"
    "  gatehouse tail 'outcome == \"error\"' --columns time,actor,result.sqlstate,result.error\n"
    "  gatehouse tail --json | jq -r 'select(.result.rows > 1000) | .statement.text'\n"
    "\n";

inline constexpr std::string_view kSession =
    "ID is a row's session.id (agent/boot/number), or the beginning of its number where only one session fits.\n"
    "Shows who, from where, to what, and how much, then the session's events, oldest first.\n"
    "\n"
    "Examples:\n"
    "  gatehouse session 8412\n"
    "  gatehouse session a1b2c3/0f3c9e2d4b5a69788796a5b4c3d2e1f0/8412 --limit 0 --json\n"
    "\n";

inline constexpr std::string_view kTop =
    "Counts events by the values of a field, largest first; the last hour unless --since says otherwise.\n"
    "\n"
    "Examples:\n"
    "  gatehouse top\n"
    "  gatehouse top --by statement.text 'kind == \"statement\" && database.name == \"shop\"' --since 1d\n"
    "  gatehouse top --by result.sqlstate 'outcome == \"error\"' --limit 5\n"
    "\n";

inline constexpr std::string_view kAgents =
    "`missing` counts events that an agent numbered and that never came; it should be 0. `sockets` counts connections\n"
    "to databases on its host by how much is seen of them; --sockets lists them, and who listens. `cpu` is of one "
    "core,\n"
    "the agent's own and that of its programs in the kernel.\n"
    "\n"
    "Examples:\n"
    "  gatehouse agents\n"
    "  gatehouse agents --sockets\n"
    "  gatehouse agents --json | jq 'select(.connected | not) | .host'\n"
    "\n";

inline constexpr std::string_view kToken =
    "An agent enrols with it once; then it is spent. The token alone goes to standard output.\n"
    "\n"
    "Examples:\n"
    "  gatehouse token create\n"
    "  gatehouse token create --valid 15m > token\n"
    "\n";

inline constexpr std::string_view kVerify =
    "Reads every byte of a segment log: the hashes of all records, the chain from segment to segment, and whether an\n"
    "event that an agent numbered is missing. Needs no collector and no certificate; a collector may be writing to\n"
    "it.\n"
    "\n"
    "Examples:\n"
    "  gatehouse verify /var/lib/gatehouse-collector/ledger\n"
    "  gatehouse verify /mnt/backup/ledger --json | jq -r '.problems[]'\n"
    "\n";

inline constexpr std::string_view kFields =
    "Every field that filters, --columns and --by can name. Needs no collector.\n"
    "\n"
    "Examples:\n"
    "  gatehouse fields\n"
    "  gatehouse fields --json | jq -r .name\n"
    "\n";

inline constexpr std::string_view kRules =
    "Rules are YAML files with conditions in CEL; docs/rules.md is the language. None of these needs a collector.\n"
    "\n"
    "Examples:\n"
    "  gatehouse rules check /etc/gatehouse/rules\n"
    "  gatehouse rules test /etc/gatehouse/rules\n"
    "  gatehouse rules explain /etc/gatehouse/rules --sql 'DELETE FROM staff'\n"
    "  gatehouse rules fields\n"
    "\n";

inline constexpr std::string_view kRulesCheck =
    "Tells all that is wrong in all files, each with its place, what was expected and the nearest name; and what is\n"
    "worth a look: drafts, expired exceptions, rules without a description, the same condition twice. Cases are "
    "checked\n"
    "as well. Exit code 78 if anything is wrong.\n"
    "\n"
    "Examples:\n"
    "  gatehouse rules check /etc/gatehouse/rules\n"
    "  gatehouse rules check rules.yaml lists.yaml --json | jq -r .what\n"
    "\n";

inline constexpr std::string_view kRulesTest =
    "Runs the cases in files whose name ends in cases.yaml, beside the rules: SQL or an event in, verdict and "
    "findings\n"
    "out. All rules are judged by as if they were active. Exit code 3 if a case failed.\n"
    "\n"
    "Examples:\n"
    "  gatehouse rules test rules/packs/guardrails\n"
    "  gatehouse rules test rules/packs --complete\n"
    "  gatehouse rules test rules/packs --json | jq -r 'select(.passed | not) | .case'\n"
    "\n";

inline constexpr std::string_view kRulesExplain =
    "Makes an event of a statement and fields, and shows the value of every part of the conditions: of the rules that\n"
    "match, or of the one that is named. + holds, - does not, ! is an error.\n"
    "\n"
    "Examples:\n"
    "  gatehouse rules explain rules.yaml --sql 'DELETE FROM staff' --field actor.exe=/usr/bin/psql\n"
    "  gatehouse rules explain rules.yaml --rule delete-without-where --sql 'DELETE FROM t WHERE true'\n"
    "  gatehouse rules explain rules.yaml --on connect --field session.user=root --field database.labels.env=test\n"
    "\n";

inline constexpr std::string_view kRulesBacktest =
    "Judges the events that the collector keeps by these rules, drafts among them, as if all were active: in how\n"
    "many events each is found, and how that differs from what was found when they happened. The collector is only\n"
    "asked for its events. What is not in the record is not known here either: catalogs, what is cut, and what\n"
    "sessions had set before the first event.\n"
    "\n"
    "Examples:\n"
    "  gatehouse rules backtest rules.yaml --since 7d\n"
    "  gatehouse rules backtest rules/packs --since today --json | jq -r 'select(.new > 0) | .examples[]'\n"
    "\n";

inline constexpr std::string_view kRulesFields =
    "Every field that a rule's condition can name, with type, meaning and an example.\n"
    "\n"
    "Examples:\n"
    "  gatehouse rules fields\n"
    "  gatehouse rules fields --on disconnect --json | jq -r .name\n"
    "\n";

inline constexpr std::string_view kApprovals =
    "A rule that says `then: hold` keeps a statement back until somebody agrees. docs/approvals.md tells who may.\n"
    "\n"
    "Examples:\n"
    "  gatehouse approvals list\n"
    "  gatehouse approvals show 3f09c2d41b6a7e58\n"
    "  gatehouse approvals approve 3f09 --reason 'as agreed in CHG-4711'\n"
    "  gatehouse approvals deny 3f09 --reason 'use the staging database'\n"
    "\n";

inline constexpr std::string_view kApprovalsList =
    "Oldest first. Those that were approved by breaking the glass stay until somebody has reviewed them.\n"
    "\n"
    "Examples:\n"
    "  gatehouse approvals list\n"
    "  gatehouse approvals list --all --json | jq -r 'select(.needs_review) | .id'\n"
    "\n";

inline constexpr std::string_view kApprovalsShow =
    "Characters that are invisible, turn the direction or pass for others are shown by their numbers. That it was\n"
    "shown to a reviewer is recorded.\n"
    "\n"
    "Examples:\n"
    "  gatehouse approvals show 3f09\n"
    "  gatehouse approvals show 3f09 --full\n"
    "\n";

inline constexpr std::string_view kApprovalsApprove =
    "It runs once, as it is, when as many reviewers have approved as the rule asks for. With --for, the same\n"
    "statement with any literals and parameters needs no approval until then. Exit code 4 if you may not, or it is\n"
    "too late.\n"
    "\n"
    "Examples:\n"
    "  gatehouse approvals approve 3f09 --reason 'as agreed in CHG-4711'\n"
    "  gatehouse approvals approve 3f09 --reason 'migration tonight' --for 30m --scope process\n"
    "  gatehouse approvals approve 3f09 --reason 'outage INC-12, nobody else is awake' --break-glass\n"
    "\n";

inline constexpr std::string_view kApprovalsDeny =
    "One reviewer is enough. The client gets the reason. Exit code 4 if you may not, or it is too late.\n"
    "\n"
    "Examples:\n"
    "  gatehouse approvals deny 3f09 --reason 'use the staging database'\n"
    "\n";

inline constexpr std::string_view kApprovalsReview =
    "For another than who broke the glass. Exit code 4 if you may not, or there is nothing to review.\n"
    "\n"
    "Examples:\n"
    "  gatehouse approvals review 3f09 --reason 'was right: see INC-12'\n"
    "\n";

inline constexpr std::string_view kVersion =
    "Examples:\n"
    "  gatehouse version\n"
    "\n";

}  // namespace gatehouse::cli::help
