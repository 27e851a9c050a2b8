// SPDX-License-Identifier: Apache-2.0
#include "rules/schema/programs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "rules/schema/event.h"

namespace gatehouse::rules {
namespace {

// "exe | argument argument": without the bar, the program is its own first argument.
const KnownProgram* found(const std::string& text) {
  const size_t bar = text.find(" | ");
  std::istringstream in(bar == std::string::npos ? text : text.substr(bar + 3));
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  const std::vector<std::string_view> arguments(words.begin(), words.end());
  return find_program(bar == std::string::npos ? words.front() : text.substr(0, bar), arguments);
}

// How they are really started: packages' own start scripts, installers and documents say so.
TEST(Programs, AreFoundHoweverTheyAreStarted) {
  struct Case {
    const char* command;
    const char* want;  // kind and name
  };
  constexpr Case kCases[] = {
      {"/usr/local/bin/claude --resume", "coding-agent claude"},
      {"/home/ann/.local/share/claude/versions/2.0.14 | claude", "coding-agent claude"},
      {"/usr/bin/node | node /usr/local/bin/claude -p hello", "coding-agent claude"},
      {"/usr/bin/node | node --no-warnings /usr/lib/node_modules/@anthropic-ai/claude-code/cli.js",
       "coding-agent claude"},
      {"/usr/bin/node | node /usr/bin/npx -y @anthropic-ai/claude-code@latest", "coding-agent claude"},
      {"/usr/bin/node | node /usr/lib/node_modules/npm/bin/npx-cli.js --package=@openai/codex codex",
       "coding-agent codex"},
      {"/usr/bin/node | node /usr/lib/node_modules/@openai/codex/bin/codex.js", "coding-agent codex"},
      {"/root/.bun/bin/bun | bun x @google/gemini-cli", "coding-agent gemini"},
      {"/usr/bin/deno | deno run -A npm:@openai/codex", "coding-agent codex"},
      {"/usr/bin/python3.11 | python3 -m aider --model x", "coding-agent aider"},
      {"/opt/venv/bin/python3.12 | /opt/venv/bin/python3 -W ignore /opt/venv/bin/aider", "coding-agent aider"},
      {"/usr/bin/python3 | python3 -m openhands.core.main", "coding-agent openhands"},
      {"/usr/share/cursor/cursor --type=zygote", "coding-agent cursor"},
      {"/home/ann/.local/share/cursor-agent/versions/2025.9/node | node index.js", "coding-agent cursor"},
      {"/bin/sh | sh -e /usr/local/bin/aider", "coding-agent aider"},
      {"/usr/bin/node | node /srv/node_modules/@modelcontextprotocol/server-postgres/dist/index.js postgres://x",
       "mcp-server modelcontextprotocol"},
      {"/usr/bin/node | node /usr/bin/npx -y @modelcontextprotocol/server-postgres postgres://x",
       "mcp-server modelcontextprotocol"},
      {"/usr/bin/node | node /home/a/.npm/_npx/5a/node_modules/.bin/mcp-server-postgres postgres://x",
       "mcp-server mcp"},
      {"/root/.local/bin/uv | uv tool run postgres-mcp --access-mode=restricted", "mcp-server postgres-mcp"},
      {"/root/.local/bin/uvx | uvx --from mcp-server-git==1.2 start", "mcp-server mcp"},
      {"/usr/bin/python3 | python3 -m mcp_server_sqlite --db-path x", "mcp-server mcp"},
      {"/usr/local/bin/github-mcp-server stdio", "mcp-server mcp"},
      {"/opt/runner/bin/Runner.Worker spawnclient 120 123", "ci-runner github-actions"},
      {"/usr/lib/jvm/java-17/bin/java | java -Xmx1g -cp /x/agent-lib.jar -jar /var/lib/jenkins/agent.jar -url x",
       "ci-runner jenkins"},
      {"/usr/bin/java | java -cp /opt/jenkins/remoting.jar hudson.remoting.jnlp.Main -headless", "ci-runner jenkins"},
      {"/opt/vsts-agent/bin/Agent.Worker spawnclient 1 2", "ci-runner azure-pipelines"},
      {"/usr/bin/java | java -ea -classpath x jetbrains.buildServer.agent.AgentMain", "ci-runner teamcity"},
      {"/usr/sbin/cron -f", "scheduler cron"},
      {"/bin/busybox | crond -f", "scheduler cron"},
      {"/bin/busybox | busybox crond", "scheduler cron"},
      {"/usr/bin/python3 | python3 /usr/local/bin/airflow scheduler", "scheduler airflow"},
      {"/usr/bin/python3 | /usr/bin/python3 /root/.ansible/tmp/ansible-tmp-17/AnsiballZ_postgresql_query.py",
       "config-management ansible"},
      {"/usr/bin/ruby3.1 | ruby /usr/bin/puppet agent", "config-management puppet"},
      {"/usr/lib/openssh/sshd-session | sshd: ann [priv]", "login sshd"},
  };
  for (const Case& test : kCases) {
    const KnownProgram* const program = found(test.command);
    ASSERT_NE(program, nullptr) << test.command;
    EXPECT_EQ(std::string(to_string(program->kind)) + " " + std::string(program->name), test.want) << test.command;
  }
}

// The nearest things: a name in another place than that of the program.
TEST(Programs, OthersAreNot) {
  for (const char* const command : {
           "/usr/bin/vim /usr/local/bin/claude",
           "/usr/bin/grep -r mcp-server- .",
           "/srv/claude/bin/app",
           "/srv/shop/bin/claudette",
           "/usr/bin/node | node /srv/shop/server.js --model gemini",
           "/usr/bin/node | node -e require('/usr/local/bin/claude')",
           "/usr/bin/node | node --require /opt/claude /srv/shop/server.js",
           "/usr/bin/node | node /srv/@modelcontextprotocolish/x.js",
           "/usr/bin/python3 | python3 /srv/report.py claude",
           "/usr/bin/python3 | python3 -c /usr/local/bin/aider",
           "/bin/bash | bash -lc /usr/local/bin/claude",
           "/usr/bin/java | java -javaagent:/opt/apm/agent.jar -jar /srv/shop.jar",
           "/usr/bin/goose up",
           "/usr/bin/psql -c claude",
           "/usr/lib/systemd/systemd --system",
           "/usr/bin/ssh claude",
           "/usr/bin/node",
       })
    EXPECT_EQ(found(command), nullptr) << command;
  EXPECT_EQ(find_program("", {}), nullptr);
  EXPECT_EQ(find_program("/usr/bin/python3", {}), nullptr);
}

TEST(Programs, LineageTakesTheNearestOfEach) {
  const auto told = [](const std::vector<std::string>& commands) {
    Lineage lineage;
    for (const std::string& command : commands) {
      const std::string_view text = command;
      const std::string_view words[] = {text.substr(0, text.find(' '))};
      lineage.add(words[0], words);
    }
    const auto name = [](const KnownProgram* program) { return program == nullptr ? "-" : std::string(program->name); };
    return name(lineage.agent()) + " " + name(lineage.automation()) + " " +
           (lineage.logged_in() ? std::to_string(*lineage.logged_in()) : "-");
  };
  EXPECT_EQ(told({"/usr/bin/psql", "/usr/bin/bash", "/usr/local/bin/claude", "/usr/bin/bash", "/usr/sbin/sshd",
                  "/usr/sbin/sshd", "/usr/lib/systemd/systemd"}),
            "claude - 3");
  // An agent in a job of a runner is both; a server that an agent has started is the nearer.
  EXPECT_EQ(told({"/usr/bin/psql", "/usr/bin/codex", "/usr/bin/bash", "/opt/Runner.Worker"}), "codex github-actions -");
  EXPECT_EQ(told({"/usr/local/bin/postgres-mcp", "/usr/local/bin/claude"}), "postgres-mcp - -");
  EXPECT_EQ(told({"/usr/bin/psql", "/bin/sh", "/usr/sbin/cron"}), "- cron -");
  // An sshd that somebody has started by hand lets in others than them.
  EXPECT_EQ(
      told({"/usr/bin/psql", "/usr/bin/bash", "/usr/sbin/sshd", "/usr/sbin/sshd", "/usr/bin/bash", "/usr/sbin/sshd"}),
      "- - 1");
  EXPECT_EQ(told({"/usr/sbin/sshd", "/usr/sbin/sshd"}), "- - -");
  EXPECT_EQ(told({}), "- - -");
}

TEST(Programs, TheTableIsSound) {
  std::set<std::string_view> patterns;
  for (const KnownProgram& program : known_programs()) {
    EXPECT_TRUE(patterns.insert(program.pattern).second) << program.pattern;
    EXPECT_FALSE(program.why.empty()) << program.pattern;
    EXPECT_FALSE(program.pattern.starts_with('/') || program.pattern.ends_with('/')) << program.pattern;
    // One name, one kind.
    EXPECT_EQ(find_program_named(program.name)->kind, program.kind) << program.name;
    if (program.match == ProgramMatch::kPath) continue;
    const std::string file = "/opt/" + std::string(program.match == ProgramMatch::kEnds ? "x" : "") +
                             std::string(program.pattern) + (program.match == ProgramMatch::kBegins ? "x" : "");
    EXPECT_EQ(find_program(file, {}), &program) << file;
  }
}

TEST(Programs, CompleteAnActor) {
  Actor actor{.exe = "/usr/bin/psql", .command = "psql shop", .login_user = "ann"};
  actor.ancestors = {{.exe = "/usr/bin/node", .command = "node /usr/bin/gemini"},
                     {.exe = "/usr/sbin/cron", .command = "cron -f"}};
  complete(actor);
  EXPECT_EQ(actor.agent, "gemini");
  EXPECT_EQ(actor.agent_kind, "coding-agent");
  EXPECT_EQ(actor.automation, "cron");
  EXPECT_EQ(actor.automation_kind, "scheduler");
  EXPECT_EQ(actor.login, "ann");
  // What is said already stays, and its kind follows from the table.
  Actor told{.exe = "/usr/local/bin/claude", .agent = "codex", .automation = "ours", .automation_kind = "ci-runner"};
  complete(told);
  EXPECT_EQ(told.agent, "codex");
  EXPECT_EQ(told.agent_kind, "coding-agent");
  EXPECT_EQ(told.automation, "ours");
  EXPECT_EQ(told.login, "");
}

}  // namespace
}  // namespace gatehouse::rules
