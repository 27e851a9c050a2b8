// SPDX-License-Identifier: Apache-2.0
// What the documents and --help show must work as shown.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>
#include <sstream>

#include "cli/help.h"
#include "cli/options.h"
#include "common/file.h"

namespace gatehouse::cli {
namespace {

using testing::HasSubstr;

constexpr uint64_t kNow = 1'795'568'523'000'000'000;

std::string document(const std::string& name) {
  auto text = read_file(std::string(GH_SOURCE_DIR) + "/" + name, 1U << 20);
  EXPECT_TRUE(text) << name;
  return text ? *text : std::string();
}

// Lines within fenced blocks of `language`.
std::vector<std::string> block_lines(const std::string& text, const std::string& language) {
  std::vector<std::string> out;
  std::istringstream in(text);
  std::optional<std::string> open;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("```")) {
      open = open ? std::nullopt : std::optional(line.substr(3));
    } else if (open == language && !line.empty()) {
      out.push_back(line);
    }
  }
  return out;
}

// Words of a shell command up to a pipe, a redirection or a comment; quotes are all that is understood.
std::vector<std::string> shell_words(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  char quote = 0;
  bool any = false;
  for (const char c : line + " ") {
    if (quote != 0) {
      if (c == quote)
        quote = 0;
      else
        word += c;
    } else if (c == '\'' || c == '"') {
      quote = c;
      any = true;
    } else if (c == ' ') {
      if (any || !word.empty()) words.push_back(word);
      word.clear();
      any = false;
    } else if ((c == '|' || c == '>' || c == '#') && word.empty()) {
      break;
    } else {
      word += c;
    }
  }
  return words;
}

tl::expected<Options, Answered> parse(std::vector<std::string> words) {
  return parse_options(std::move(words), [](const char*) { return std::nullopt; }, kNow);
}

void expect_command(const std::string& line) {
  std::vector<std::string> words = shell_words(line);
  ASSERT_FALSE(words.empty());
  ASSERT_EQ(words.front(), "gatehouse") << line;
  words.erase(words.begin());
  const auto options = parse(words);
  EXPECT_TRUE(options || options.error().exit_code == kExitOk) << line << "\n" << options.error().text;
}

TEST(Docs, CommandsAreValid) {
  size_t seen = 0;
  for (const std::string& line : block_lines(document("docs/cli.md"), "sh")) {
    expect_command(line);
    ++seen;
  }
  EXPECT_GE(seen, 15U);
  std::istringstream readme(document("README.md"));
  for (std::string line; std::getline(readme, line);) {
    if (line.starts_with("gatehouse ")) expect_command(line);
  }
}

TEST(Docs, FiltersParse) {
  const std::string text = document("docs/filters.md");
  const auto good = block_lines(text, "cel");
  const auto bad = block_lines(text, "cel-error");
  EXPECT_GE(good.size(), 10U);
  EXPECT_GE(bad.size(), 8U);
  for (const std::string& filter : good) {
    const auto parsed = rules::parse_filter(filter);
    EXPECT_TRUE(parsed) << filter << "\n" << (parsed ? "" : parsed.error().message);
  }
  for (const std::string& filter : bad) EXPECT_FALSE(rules::parse_filter(filter)) << filter;
}

TEST(Docs, MistakeLooksAsShown) {
  const std::string filter = "kind == \"statement\" && sesion.user == \"app\"";
  const auto options = parse({"query", filter});
  ASSERT_FALSE(options);
  EXPECT_EQ(options.error().exit_code, kExitUsage);
  EXPECT_THAT(document("docs/filters.md"), HasSubstr(options.error().text));
}

constexpr std::string_view kCommands[] = {"query", "tail",   "session", "top",   "agents",
                                          "token", "verify", "fields",  "rules", "version"};

TEST(Help, EveryCommandTeachesExamplesAndExitCodes) {
  const std::string cli = document("docs/cli.md");
  const std::string completion = document("cli/completion/gatehouse.bash");
  std::vector<std::vector<std::string>> asked = {{"--help"}, {"token", "create", "--help"}};
  for (const char* command : {"check", "test", "explain", "fields"}) asked.push_back({"rules", command, "--help"});
  for (const std::string_view command : kCommands) {
    asked.push_back({std::string(command), "--help"});
    EXPECT_THAT(cli, HasSubstr("gatehouse " + std::string(command)));
    EXPECT_THAT(completion, HasSubstr(std::string(command)));
  }
  for (const auto& words : asked) {
    const auto help = parse(words);
    ASSERT_FALSE(help);
    EXPECT_EQ(help.error().exit_code, kExitOk);
    const std::string& text = help.error().text;
    EXPECT_THAT(text, HasSubstr(std::string(help::kExitCodes))) << words.front();
    std::istringstream in(text);
    size_t examples = 0;
    for (std::string line; std::getline(in, line);) {
      if (!line.starts_with("  gatehouse ")) continue;
      expect_command(line.substr(2));
      ++examples;
    }
    EXPECT_GE(examples, 1U) << words.front();
  }
  for (const std::string_view code : {"| 0 |", "| 1 |", "| 2 |", "| 3 |", "| 78 |"})
    EXPECT_THAT(cli, HasSubstr(std::string(code)));
}

struct Wrong {
  std::vector<std::string> words;
  std::string message;
};

TEST(CommandLine, MistakesAreNamed) {
  const Wrong cases[] = {
      {{}, "a command is missing: tail, query"},
      {{"tell"}, "there is no command `tell`: there are tail, query"},
      {{"query", "kind == \"a\"", "extra"}, "extra"},
      {{"query", "--limit", "many"}, "many"},
      {{"query", "--limit", "-1"}, "-1"},
      {{"query", "--since", "soon"}, "--since: `soon` is no time"},
      {{"query", "--since", "now", "--until", "1h"}, "--since is not before --until"},
      {{"query", "--columns", "time,actr"}, "no column `actr`"},
      {{"query", "--output", "xml"}, "xml"},
      {{"query", "--collector", "nowhere"}, "`nowhere` is not HOST:PORT"},
      {{"query", "--collector", "host:0"}, "is not HOST:PORT"},
      {{"query", "--collector", "host:65536"}, "is not HOST:PORT"},
      {{"query", "--collector", "::1:7443"}, "is not HOST:PORT"},
      {{"top", "--by", "statement.txt"}, "did you mean `statement.text`?"},
      {{"token", "create", "--valid", "0s"}, "--valid"},
      {{"session"}, "id"},
      {{"verify"}, "folder"},
      {{"query", "kind == \"\x1b[2J\" x"}, "\\x1b[2J"},
  };
  for (const Wrong& c : cases) {
    const auto options = parse(c.words);
    ASSERT_FALSE(options) << c.message;
    EXPECT_EQ(options.error().exit_code, kExitUsage) << c.message;
    EXPECT_THAT(options.error().text, HasSubstr(c.message));
    EXPECT_THAT(options.error().text, testing::StartsWith("gatehouse: "));
  }
}

TEST(CommandLine, EnvironmentStandsBehindOptions) {
  const auto with = [](std::vector<std::string> words, const char* collector) {
    return parse_options(
        std::move(words),
        [&](const char* name) -> std::optional<std::string> {
          if (std::string_view(name) == "GATEHOUSE_COLLECTOR") return collector;
          if (std::string_view(name) == "NO_COLOR") return "1";
          return std::nullopt;
        },
        kNow);
  };
  EXPECT_EQ(with({"agents"}, "db:1")->collector, "db:1");
  EXPECT_FALSE(with({"agents"}, "db:1")->colour);
  EXPECT_EQ(with({"agents", "--collector", "[::1]:2"}, "db:1")->collector, "[::1]:2");
  EXPECT_EQ(parse({"agents"})->collector, "127.0.0.1:7443");
  const auto wrong = with({"agents"}, "db");
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().exit_code, kExitConfiguration);
}

TEST(CommandLine, CaretStandsUnderTheMistake) {
  struct Case {
    std::string filter;
    std::string want;  // the last two lines
  };
  const Case cases[] = {
      {"user == \"a\"", "  user == \"a\"\n  ^\n"},
      {"kind == \"日本\" && bad == 1", "  kind == \"日本\" && bad == 1\n                    ^\n"},
      {"kind == \"a\" &&\n  bad == 1", "  bad == 1\n  ^\n"},
      {"kind ==", "  kind ==\n         ^\n"},
      {"kind == \"\x1b\" && bad == 1", "  kind == \"\\x1b\" && bad == 1\n                    ^\n"},
  };
  for (const Case& c : cases) {
    const auto parsed = rules::parse_filter(c.filter);
    ASSERT_FALSE(parsed) << c.filter;
    EXPECT_THAT(explain_filter_error(c.filter, parsed.error()), testing::EndsWith(c.want));
  }
}

}  // namespace
}  // namespace gatehouse::cli
