// SPDX-License-Identifier: Apache-2.0
// What a process is among its ancestors: which AI agent or automation it acts for, and where somebody logged in.
// rules/schema/programs.def is the one table. Pure.
//
// Recognised is the program file as the kernel attests it. Of interpreters and package runners (node, python3, java,
// sh, npx, uvx, …) it is what they run: script, module, jar, main class or package. No other argument counts, so that
// who edits a file of an agent's or searches for its name is not taken for it. Who gives an agent's file another name
// is not recognised: this says who acts, it does not keep anybody out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace gatehouse::rules {

enum class ProgramKind : uint8_t { kCodingAgent, kMcpServer, kCiRunner, kScheduler, kConfigManagement, kLogin };
// "coding-agent", "mcp-server", "ci-runner", "scheduler", "config-management", "login".
std::string_view to_string(ProgramKind kind);

enum class ProgramMatch : uint8_t { kName, kBegins, kEnds, kPath };

// Constants.
struct KnownProgram {
  ProgramKind kind;
  std::string_view name;
  ProgramMatch match;
  std::string_view pattern;
  std::string_view why;
};

// In the order of the table.
std::span<const KnownProgram> known_programs();

// Null: none. `arguments` from argv[0] on.
const KnownProgram* find_program(std::string_view exe, std::span<const std::string_view> arguments);
// The first of that name; null: none.
const KnownProgram* find_program_named(std::string_view name);

// A process and its ancestors, added nearest first.
class Lineage {
 public:
  void add(std::string_view exe, std::span<const std::string_view> arguments);

  // The nearest AI agent or MCP server, and the nearest CI runner, scheduler or configuration management; null: none.
  [[nodiscard]] const KnownProgram* agent() const { return agent_; }
  [[nodiscard]] const KnownProgram* automation() const { return automation_; }
  // Which of those that were added the nearest login has started, nothing if nobody logged in: its user is who logged
  // in, before any su or sudo. Not the outermost, which may only have started the program by which others log in.
  [[nodiscard]] std::optional<size_t> logged_in() const { return logged_in_; }

 private:
  const KnownProgram* agent_ = nullptr;
  const KnownProgram* automation_ = nullptr;
  std::optional<size_t> logged_in_{};
  size_t count_ = 0;
  bool is_after_login_ = false;  // what was added last lets people in itself
};

}  // namespace gatehouse::rules
