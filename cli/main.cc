// SPDX-License-Identifier: Apache-2.0
// gatehouse: the command for people. Everything but the terminal itself is in the library beside it.
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <memory>
#include <optional>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "common/clock.h"

namespace {

using namespace gatehouse;
using namespace gatehouse::cli;

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

int answer(const Answered& answered) {
  FdOutput out(answered.exit_code == kExitOk ? STDOUT_FILENO : STDERR_FILENO);
  out.write(answered.text);
  out.flush();
  return answered.exit_code;
}

}  // namespace

int main(int argc, char** argv) {
  // A reader that leaves is told by write(2), so that it ends the command quietly.
  std::signal(SIGPIPE, SIG_IGN);
  const uint64_t now_ns = unix_ns();
  const auto options = parse_options({argv + 1, argv + argc}, environment, now_ns);
  if (!options) return answer(options.error());

  const bool live = options->command == Command::kTail;
  const size_t width = terminal_width(STDOUT_FILENO);
  const bool dumb = environment("TERM").value_or("dumb") == "dumb";
  const TableStyle style{.terminal_width = width, .colour = options->colour && width != 0 && !dumb};
  std::optional<Interrupt> interrupt;
  if (live) interrupt.emplace();
  FdOutput standard_output(STDOUT_FILENO);
  FdOutput problems(STDERR_FILENO);
  std::unique_ptr<Pager> pager;
  if (width != 0 && !live && !dumb && options->pager && options->command != Command::kTokenCreate)
    pager = std::make_unique<Pager>();
  Output& out = pager && pager->started() ? static_cast<Output&>(*pager) : standard_output;
  return run(*options, {.out = out,
                        .problems = problems,
                        .style = style,
                        .now_ns = now_ns,
                        .stop = interrupt ? interrupt->token() : std::stop_token()});
}
