// SPDX-License-Identifier: Apache-2.0
// gatehouse-collector: command line and exit codes.
#include <CLI/CLI.hpp>

#include <cstdio>
#include <string>

#include "collector/config/collector_config.h"
#include "collector/daemon.h"
#include "common/version.h"

namespace {

using namespace gatehouse;

constexpr int kExitConfiguration = 78;
constexpr const char* kConfigDefault = "/etc/gatehouse/collector.yaml";

struct Arguments {
  std::string config = kConfigDefault;
  std::string valid = "1h";
  std::string operator_name, folder;
  bool check_config = false;
};

int fail(const Error& error) {
  std::fprintf(stderr, "gatehouse-collector: %s\n", error.message().c_str());
  return error.kind() == ErrorKind::kConfiguration ? kExitConfiguration : 1;
}

int print_token(const CollectorConfig& config, const std::string& valid) {
  const auto duration = config::parse_duration(valid);
  if (!duration)
    return fail(Error::configuration("--valid " + valid + ": expected a duration such as 30min, 1h or 7d"));
  const auto token = create_token(config, *duration);
  if (!token) return fail(token.error());
  std::printf("%s\n", token->c_str());
  return 0;
}

int make_operator(const CollectorConfig& config, const Arguments& arguments) {
  const Status made = create_operator(config, arguments.operator_name, arguments.folder);
  if (!made) return fail(made.error());
  std::printf("%s: for %s, with `gatehouse --credentials %s`\n", arguments.folder.c_str(),
              arguments.operator_name.c_str(), arguments.folder.c_str());
  return 0;
}

int run(const Arguments& arguments, bool is_token, bool is_operator) {
  const auto config = load_collector_config(arguments.config);
  if (!config) return fail(config.error());
  if (arguments.check_config) {
    std::printf("%s", describe(*config).c_str());
    return 0;
  }
  if (is_token) return print_token(*config, arguments.valid);
  if (is_operator) return make_operator(*config, arguments);
  log::set_level(config->log_level);
  const Status ended = run_collector(*config);
  return ended ? 0 : fail(ended.error());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Gatehouse's collector: takes events from agents, keeps them in a ledger, answers questions about them.",
               "gatehouse-collector");
  Arguments arguments;
  app.fallthrough();
  app.set_version_flag("--version", std::string("gatehouse-collector ") + kVersion);
  app.add_option("--config", arguments.config, "Configuration; every key is in docs/config.md")
      ->type_name("FILE")
      ->capture_default_str();
  app.add_flag("--check-config", arguments.check_config, "Say what the configuration comes to, and end");
  CLI::App* const token =
      app.add_subcommand("token", "Print a one-time token with which one new agent enrols (docs/enrolment.md)");
  token->add_option("--valid", arguments.valid, "How long it may be used, at most 30d")
      ->type_name("DURATION")
      ->capture_default_str();
  CLI::App* const operator_command = app.add_subcommand(
      "operator", "Make a certificate for one more operator, in a folder to be handed to him (docs/enrolment.md)");
  operator_command->add_option("NAME", arguments.operator_name, "Who it is for: approvals and the record call him so")
      ->required();
  operator_command->add_option("--folder", arguments.folder, "Where it goes; made if it is not there")
      ->type_name("FOLDER")
      ->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : kExitConfiguration;
  }
  return run(arguments, token->parsed(), operator_command->parsed());
}
