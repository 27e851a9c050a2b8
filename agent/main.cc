// SPDX-License-Identifier: Apache-2.0
#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "agent/commands.h"
#include "agent/config/agent_config.h"
#include "common/log.h"
#include "common/version.h"
#include "rules/schema/load_policy.h"

namespace {

constexpr const char* kDescription =
    "Watches every PostgreSQL session of this host and reports statements, with the process behind each, to a "
    "collector.";

constexpr const char* kFooter =
    "Examples:\n"
    "  gatehouse-agent --config /etc/gatehouse/agent.yaml       watch until SIGTERM\n"
    "  gatehouse-agent --config agent.yaml --check-config       say what the file comes to, change nothing\n"
    "  gatehouse-agent doctor                                   what this kernel allows, and what is seen\n"
    "  gatehouse-agent --config agent.yaml --record out.ghcap   watch and keep the raw records\n"
    "  gatehouse-agent replay out.ghcap                         the same events again, as JSON lines\n"
    "\n"
    "Exit codes: 0 done; 1 the host, the kernel or a peer refused; 2 wrong arguments; 78 configuration.";

int exit_code(const gatehouse::Status& status) {
  if (status) return 0;
  std::fprintf(stderr, "gatehouse-agent: %s\n", status.error().message().c_str());
  return status.error().kind() == gatehouse::ErrorKind::kConfiguration ? 78 : 1;
}

gatehouse::Result<gatehouse::AgentConfig> load(const std::string& path) {
  return path.empty() ? gatehouse::parse_agent_config("", "built-in defaults") : gatehouse::load_agent_config(path);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{kDescription, "gatehouse-agent"};
  app.footer(kFooter);
  app.set_version_flag("--version", std::string("gatehouse-agent ") + gatehouse::kVersion);
  std::string config_path, record_path, replay_path, plane;
  bool check_config = false, doctor_as_json = false;
  app.add_option("--config", config_path, "Configuration file (docs/config.md)")->type_name("FILE");
  app.add_option("--record", record_path, "Also write every record seen to FILE, for replay")->type_name("FILE");
  const CLI::IsMember is_plane({"auto", "socket", "length", "syscall"});
  constexpr const char* kPlaneHelp = "Watch with this plane, whatever capture.plane says (docs/bpf-hooks.md)";
  app.add_option("--plane", plane, kPlaneHelp)->type_name("NAME")->check(is_plane);
  bool no_tls_secrets = false;
  app.add_flag("--no-tls-secrets", no_tls_secrets,
               "Leave encrypted sessions opaque, whatever capture.tls_secrets says");
  app.add_flag("--check-config", check_config, "Check the configuration, print what it comes to, and end");
  app.require_subcommand(0, 1);
  CLI::App* doctor = app.add_subcommand("doctor", "Say what this kernel and host allow, and what is seen of databases");
  doctor->add_flag("--json", doctor_as_json, "One object, for programs");
  doctor->add_option("--config", config_path, "Configuration file")->type_name("FILE");
  doctor->add_option("--plane", plane, kPlaneHelp)->type_name("NAME")->check(is_plane);
  CLI::App* replay = app.add_subcommand("replay", "Run a recorded file through everything but the kernel");
  replay->add_option("FILE", replay_path, "A file made with --record")->required();
  replay->add_option("--config", config_path, "Configuration file")->type_name("FILE");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }

  if (config_path.empty() && !doctor->parsed() && !replay->parsed()) {
    std::fprintf(stderr, "gatehouse-agent: --config FILE is missing (see --help; docs/config.md has an example)\n");
    return 2;
  }
  auto config = load(config_path);
  if (!config) return exit_code(gatehouse::Status(config.error()));
  if (!plane.empty()) config->capture.plane = plane;
  if (no_tls_secrets) config->capture.opens_tls = false;
  gatehouse::log::set_level(config->log_level);
  if (check_config) {
    std::fputs(gatehouse::describe(*config).c_str(), stdout);
    if (config->rules.files.empty()) return 0;
    const auto policy = gatehouse::rules::load_policy_files(config->rules.files);
    if (!policy) return exit_code(gatehouse::Status(policy.error()));
    std::printf("%zu rules, policy %s\n", (*policy)->rules.size(), (*policy)->version.c_str());
    return 0;
  }
  if (doctor->parsed()) return exit_code(gatehouse::agent::print_doctor(*config, doctor_as_json));
  if (replay->parsed()) return exit_code(gatehouse::agent::replay_file(replay_path, *config));
  return exit_code(gatehouse::agent::run_daemon(*config, record_path));
}
