// SPDX-License-Identifier: Apache-2.0
#include "rules/schema/programs.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <unordered_map>
#include <vector>

#include "rules/schema/event.h"

namespace gatehouse::rules {
namespace {

constexpr KnownProgram kPrograms[] = {
#define GH_PROGRAM(kind, name, match, pattern, why) {ProgramKind::k##kind, name, ProgramMatch::k##match, pattern, why},
#include "rules/schema/programs.def"
};

using Arguments = std::span<const std::string_view>;

template <size_t kCount>
bool is_one_of(std::string_view word, const std::array<std::string_view, kCount>& words) {
  return std::ranges::find(words, word) != words.end();
}

// Programs that run what their arguments name. Versions at their end are cut: python3.11, node22.
constexpr std::array<std::string_view, 15> kInterpreters = {"node",   "nodejs", "bun",  "deno", "tsx",
                                                            "python", "pypy",   "ruby", "perl", "java",
                                                            "sh",     "bash",   "dash", "zsh",  "ksh"};
// Those that take a program's text behind -e, and those that take it behind -c.
constexpr std::array<std::string_view, 7> kTakesE = {"node", "nodejs", "bun", "deno", "tsx", "ruby", "perl"};
// Programs that fetch or find a package and run it; scripts of the above themselves, most of them.
constexpr std::array<std::string_view, 8> kRunners = {"npx", "npm", "pnpm", "pnpx", "yarn", "uv", "uvx", "pipx"};
// Words of theirs, and of some interpreters, before what is run.
constexpr std::array<std::string_view, 5> kRunWords = {"run", "exec", "x", "dlx", "tool"};
// Options whose value is run, or is the package that what is run comes from.
constexpr std::array<std::string_view, 6> kNamesProgram = {"-m", "-jar", "--module", "--from", "-p", "--package"};
// Options whose value is something else.
constexpr std::array<std::string_view, 20> kTakesValue = {"-r",
                                                          "--require",
                                                          "--import",
                                                          "--loader",
                                                          "--experimental-loader",
                                                          "-C",
                                                          "-W",
                                                          "-X",
                                                          "-cp",
                                                          "-classpath",
                                                          "--class-path",
                                                          "-I",
                                                          "--module-path",
                                                          "--add-modules",
                                                          "--add-opens",
                                                          "--with",
                                                          "--python",
                                                          "--env-file",
                                                          "--conditions",
                                                          "-o"};
// What files are called behind the name.
constexpr std::array<std::string_view, 8> kExtensions = {".js", ".mjs", ".cjs", ".ts", ".py", ".sh", ".rb", ".exe"};

// "python3.11" is python.
std::string_view without_version(std::string_view name) {
  const size_t last = name.find_last_not_of("0123456789.-");
  return name.substr(0, last == std::string_view::npos ? 0 : last + 1);
}

// The program's text follows: sh -c, bash -lc, node -e, perl -ne.
bool is_code(std::string_view interpreter, std::string_view option) {
  constexpr size_t kLettersMax = 4;  // with the dash; longer ones are words
  if (option == "--eval" || option == "--print") return true;
  if (option.size() > kLettersMax || option.starts_with("--")) return false;
  if (is_one_of(interpreter, kTakesE)) return option.ends_with('e') || option == "-p";
  return interpreter != "java" && option.ends_with('c');
}

// What a process runs: its file, and what that interprets.
struct Run {
  static constexpr size_t kMost = 4;
  std::array<std::string_view, kMost> what{};
  size_t count = 0;

  void add(std::string_view word) {
    if (word.starts_with("npm:")) word.remove_prefix(4);
    if (count < kMost && !word.empty()) what[count++] = word;
  }
};

// What is run without its folder, its extension, and the version that a package is asked for by: name@1.2, name==1.2.
std::string_view name_of_run(std::string_view run) {
  std::string_view name = base_name(run);
  if (const size_t at = name.find('@'); at != std::string_view::npos && at > 0) name = name.substr(0, at);
  name = name.substr(0, name.find("=="));
  for (const std::string_view extension : kExtensions)
    if (name.size() > extension.size() && name.ends_with(extension))
      return name.substr(0, name.size() - extension.size());
  return name;
}

// "/usr/lib/node_modules/npm/bin/npx-cli.js" is npx.
std::string_view runner_of(std::string_view run) {
  std::string_view name = name_of_run(run);
  if (name.ends_with("-cli")) name.remove_suffix(4);
  return is_one_of(name, kRunners) ? name : std::string_view();
}

void add_interpreted(std::string_view interpreter, Arguments arguments, Run& run) {
  const bool has_words = is_one_of(interpreter, kRunners) || interpreter == "bun" || interpreter == "deno";
  for (size_t i = 1; i < arguments.size(); ++i) {
    const std::string_view word = arguments[i];
    if (word.empty() || word == "--") continue;
    if (word.front() != '-') {
      if (has_words && is_one_of(word, kRunWords)) continue;
      run.add(word);
      if (const std::string_view runner = runner_of(word); !runner.empty())
        add_interpreted(runner, arguments.subspan(i), run);
      return;
    }
    if (is_code(interpreter, word)) return;
    if (is_one_of(word, kNamesProgram)) {
      if (++i == arguments.size()) return;
      // A module of a package: the package.
      run.add(word == "-m" ? arguments[i].substr(0, arguments[i].find('.')) : arguments[i]);
      if (word == "-m" || word == "-jar") return;
    } else if (word.starts_with("--package=") || word.starts_with("--from=")) {
      run.add(word.substr(word.find('=') + 1));
    } else if (is_one_of(word, kTakesValue)) {
      ++i;
    }
  }
}

Run run_of(std::string_view exe, Arguments arguments) {
  Run run;
  run.add(exe);
  const std::string_view name = base_name(exe);
  if (name == "busybox") {
    const bool is_named = !arguments.empty() && base_name(arguments[0]) != name;
    if (is_named) run.add(base_name(arguments[0]));
    if (!is_named && arguments.size() > 1) run.add(arguments[1]);
    return run;
  }
  const std::string_view interpreter = without_version(name);
  if (is_one_of(interpreter, kInterpreters) || is_one_of(interpreter, kRunners))
    add_interpreted(interpreter, arguments, run);
  return run;
}

// The table by what is looked up: names, and the first folder of paths.
class Lookup {
 public:
  static const Lookup& get() {
    static const Lookup lookup;
    return lookup;
  }

  [[nodiscard]] const KnownProgram* find(std::string_view run) const {
    const std::string_view name = name_of_run(run);
    if (name.empty()) return nullptr;
    if (const auto found = names_.find(name); found != names_.end()) return found->second;
    for (const KnownProgram* const program : parts_) {
      const bool is_begun = program->match == ProgramMatch::kBegins;
      if (is_begun ? name.starts_with(program->pattern) : name.ends_with(program->pattern)) return program;
    }
    return find_path(run);
  }

 private:
  Lookup() {
    for (const KnownProgram& program : kPrograms) {
      if (program.match == ProgramMatch::kName) {
        names_.emplace(program.pattern, &program);
      } else if (program.match == ProgramMatch::kPath) {
        paths_[program.pattern.substr(0, program.pattern.find('/'))].push_back(&program);
      } else {
        parts_.push_back(&program);
      }
    }
  }

  [[nodiscard]] const KnownProgram* find_path(std::string_view run) const {
    for (size_t begin = 0; begin < run.size();) {
      const size_t end = std::min(run.find('/', begin), run.size());
      const std::string_view folder = run.substr(begin, end - begin);
      const size_t at = folder.find('@', 1);  // of a version
      if (const auto found = paths_.find(folder.substr(0, at)); found != paths_.end()) {
        for (const KnownProgram* const program : found->second) {
          const std::string_view rest = run.substr(begin);
          if (!rest.starts_with(program->pattern)) continue;
          const size_t size = program->pattern.size();
          if (rest.size() == size || rest[size] == '/' || rest[size] == '@') return program;
        }
      }
      begin = end + 1;
    }
    return nullptr;
  }

  std::unordered_map<std::string_view, const KnownProgram*> names_{};
  std::unordered_map<std::string_view, std::vector<const KnownProgram*>> paths_{};
  std::vector<const KnownProgram*> parts_{};
};

// Command lines that are one text lose what stood between quotes.
std::vector<std::string_view> words_of(std::string_view command) {
  std::vector<std::string_view> words;
  while (!command.empty()) {
    const size_t end = std::min(command.find(' '), command.size());
    if (end > 0) words.push_back(command.substr(0, end));
    command.remove_prefix(std::min(end + 1, command.size()));
  }
  return words;
}

void complete(std::string_view& name, std::string_view& kind, const KnownProgram* found) {
  if (name.empty() && found != nullptr) {
    name = found->name;
    kind = to_string(found->kind);
  } else if (kind.empty() && !name.empty()) {
    const KnownProgram* const named = find_program_named(name);
    if (named != nullptr) kind = to_string(named->kind);
  }
}

}  // namespace

std::string_view to_string(ProgramKind kind) {
  constexpr std::string_view kKinds[] = {"coding-agent", "mcp-server",        "ci-runner",
                                         "scheduler",    "config-management", "login"};
  return kKinds[static_cast<size_t>(kind)];
}

std::span<const KnownProgram> known_programs() {
  return kPrograms;
}

const KnownProgram* find_program(std::string_view exe, std::span<const std::string_view> arguments) {
  const Run run = run_of(exe, arguments);
  for (size_t i = 0; i < run.count; ++i)
    if (const KnownProgram* const found = Lookup::get().find(run.what[i])) return found;
  return nullptr;
}

const KnownProgram* find_program_named(std::string_view name) {
  const auto* const found = std::ranges::find(kPrograms, name, &KnownProgram::name);
  return found == std::end(kPrograms) ? nullptr : found;
}

void Lineage::add(std::string_view exe, std::span<const std::string_view> arguments) {
  const size_t number = count_++;
  const KnownProgram* const found = find_program(exe, arguments);
  const bool is_login = found != nullptr && found->kind == ProgramKind::kLogin;
  if (is_login && number > 0 && !is_after_login_ && !logged_in_) logged_in_ = number - 1;
  is_after_login_ = is_login;
  if (found == nullptr || is_login) return;
  const bool is_agent = found->kind == ProgramKind::kCodingAgent || found->kind == ProgramKind::kMcpServer;
  const KnownProgram*& place = is_agent ? agent_ : automation_;
  if (place == nullptr) place = found;
}

void complete(Actor& actor) {
  Lineage lineage;
  lineage.add(actor.exe, actor.arguments.empty() ? words_of(actor.command) : actor.arguments);
  for (const Ancestor& ancestor : actor.ancestors) lineage.add(ancestor.exe, words_of(ancestor.command));
  complete(actor.agent, actor.agent_kind, lineage.agent());
  complete(actor.automation, actor.automation_kind, lineage.automation());
  if (actor.login.empty()) actor.login = actor.login_user;
}

}  // namespace gatehouse::rules
