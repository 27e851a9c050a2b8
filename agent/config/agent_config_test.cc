// SPDX-License-Identifier: Apache-2.0
#include "agent/config/agent_config.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/config_doc.h"
#include "common/file.h"

namespace gatehouse {
namespace {

using std::chrono::milliseconds;

TEST(AgentConfig, TableIsSoundAndDocumented) {
  EXPECT_EQ(config::problems(agent_config_schema()), std::vector<std::string>{});
  const Status documented =
      config::check_document(GH_SOURCE_DIR "/docs/config.md", "agent.yaml", agent_config_schema());
  EXPECT_TRUE(documented.has_value()) << documented.error().message();
}

TEST(AgentConfig, AnEmptyFileIsEveryDefault) {
  const auto config = parse_agent_config("", "agent.yaml");
  ASSERT_TRUE(config.has_value()) << config.error().message();
  EXPECT_EQ(config->agent.name, config::host_name());
  EXPECT_EQ(config->agent.state_dir, "/var/lib/gatehouse-agent");
  EXPECT_EQ(config->collector.address, (config::Address{"127.0.0.1", 7443}));
  EXPECT_TRUE(config->databases.empty());
  EXPECT_EQ(config->capture.plane, "auto");
  EXPECT_EQ(config->capture.request_bytes_max, 1U << 20);
  EXPECT_EQ(config->capture.poll_max, milliseconds(50));
  EXPECT_EQ(config->spool.bytes_max, 1U << 30);
  EXPECT_EQ(config->spool.segment_bytes, 16U << 20);
  EXPECT_EQ(config->batch.events_max, 4000U);
  EXPECT_EQ(config->batch.delay_max, milliseconds(200));
  EXPECT_EQ(config->log_level, log::Level::kInfo);
}

TEST(AgentConfig, ThePackagedFileLoads) {
  const auto config = load_agent_config(GH_SOURCE_DIR "/packaging/agent.yaml");
  ASSERT_TRUE(config.has_value()) << config.error().message();
  const auto defaults = parse_agent_config("", "");
  EXPECT_EQ(config->agent.state_dir, defaults->agent.state_dir);
  EXPECT_EQ(config->capture.request_ring_bytes, defaults->capture.request_ring_bytes);
  EXPECT_EQ(describe(*config).substr(0, 6), "agent ");
}

TEST(AgentConfig, ReadsDatabases) {
  const auto config = parse_agent_config(
      "databases:\n"
      "- name: orders\n"
      "  listen: [5432, '127.0.0.1:5433', '[::1]:5434', 'unix:/run/postgresql/.s.PGSQL.5432']\n"
      "  labels: {env: production}\n"
      "  mode: observe\n",
      "agent.yaml");
  ASSERT_TRUE(config.has_value()) << config.error().message();
  ASSERT_EQ(config->databases.size(), 1U);
  const auto& database = config->databases[0];
  ASSERT_EQ(database.listen.size(), 4U);
  EXPECT_EQ(database.listen[0].kind, ListenAddress::Kind::kPort);
  EXPECT_EQ(database.listen[0].port, 5432);
  EXPECT_EQ(database.listen[1].kind, ListenAddress::Kind::kTcp4);
  EXPECT_EQ(database.listen[1].address[0], 127);
  EXPECT_EQ(database.listen[1].port, 5433);
  EXPECT_EQ(database.listen[2].kind, ListenAddress::Kind::kTcp6);
  EXPECT_EQ(database.listen[2].address[15], 1);
  EXPECT_EQ(database.listen[3].kind, ListenAddress::Kind::kUnix);
  EXPECT_EQ(database.listen[3].path, "/run/postgresql/.s.PGSQL.5432");
  EXPECT_EQ(database.labels[0].second, "production");
  EXPECT_NE(describe(*config).find(
                "database orders (postgresql) at 5432 127.0.0.1:5433 [::1]:5434 unix:/run/postgresql/.s.PGSQL.5432\n"),
            std::string::npos);
}

TEST(AgentConfig, ReadsCatalogs) {
  const auto config = parse_agent_config(
      "databases:\n"
      "- name: orders\n"
      "  listen: [5432]\n"
      "  catalog: {connection: host=/run/postgresql user=gatehouse, databases: [orders, stock], refresh: 5s}\n",
      "agent.yaml");
  ASSERT_TRUE(config.has_value()) << config.error().message();
  const auto& catalog = config->databases[0].catalog;
  ASSERT_TRUE(catalog.has_value());
  EXPECT_EQ(catalog->connection, "host=/run/postgresql user=gatehouse");
  EXPECT_EQ(catalog->databases, (std::vector<std::string>{"orders", "stock"}));
  EXPECT_EQ(catalog->refresh, std::chrono::seconds(5));
  EXPECT_NE(describe(*config).find("5432, catalogs of orders stock"), std::string::npos);
}

TEST(AgentConfig, APasswordInAConnectionIsRefusedAndNotShown) {
  for (const std::string connection :
       {"user=x password=hunter2", "user=x Password = hunter2", "postgresql://x:hunter2@h/d"}) {
    const auto config = parse_agent_config(
        "databases:\n- name: a\n  listen: [1]\n  catalog:\n    connection: '" + connection + "'\n    databases: [d]\n",
        "agent.yaml");
    ASSERT_FALSE(config.has_value()) << connection;
    EXPECT_EQ(config.error().message().find("hunter2"), std::string::npos);
    EXPECT_NE(config.error().message().find("expected no password"), std::string::npos) << config.error().message();
  }
}

struct Case {
  std::string_view text, want;
};
constexpr Case kWrong[] = {
    {"capture:\n  reqest_bytes_max: 1MiB\n",
     "agent.yaml:2:3: capture.reqest_bytes_max: unknown key; did you mean request_bytes_max?"},
    {"databases:\n- name: a\n  listen: ['5432']\n  mode: block\n",
     "agent.yaml:4:9: databases[0].mode: expected one of observe, enforce, found \"block\""},
    {"databases:\n- name: a\n  listen: ['5432']\n  mode: enforce\n  tls: {certificate: /c.pem}\n",
     "agent.yaml:5:8: databases[0].tls.key: missing; PEM file with its private key"},
    {"databases:\n- name: a\n  listen: ['5432']\n  mode: enforce\n"
     "  tls: {certificate: /c.pem, key: /k.pem, upstream_name: db}\n",
     "agent.yaml:5:8: databases[].tls: expected both of upstream_root_certificate and upstream_name, or neither"},
    {"databases:\n- name: a\n", "agent.yaml:2:3: databases[0].listen: missing; where it listens: "},
    {"databases:\n- name: a\n  listen: [1]\n  catalog: {databases: [d]}\n",
     "agent.yaml:4:12: databases[0].catalog.connection: missing; where and as whom to connect"},
    {"databases:\n- name: a\n  listen: []\n", "agent.yaml:3:11: databases[0].listen: expected at least one value"},
    {"databases:\n- name: a\n  listen: [db_.example.300:5432]\n",
     "agent.yaml:3:12: databases[0].listen: expected a port (5432), an address"},
    {"databases:\n- name: a\n  engine: oracle\n",
     "agent.yaml:3:11: databases[0].engine: expected one of postgresql, found \"oracle\""},
    {"databases:\n- {name: a, listen: [1]}\n- {name: a, listen: [2]}\n",
     "agent.yaml:3:10: databases[].name: another database has this name"},
    {"databases:\n- {name: a, listen: [1]}\n- {name: b, listen: [1]}\n",
     "agent.yaml:3:21: databases[].listen: database a listens there"},
    {"capture:\n  control_ring_bytes: 100KiB\n",
     "agent.yaml:2:23: capture.control_ring_bytes: expected a size such as 64MiB (64KiB to 1GiB, a power of two)"},
    {"capture:\n  request_ring_bytes: 1MiB\n",
     "agent.yaml:2:23: capture.request_ring_bytes: expected at least twice capture.request_bytes_max, 1MiB"},
    {"spool:\n  segment_bytes: 1GiB\n", "agent.yaml:2:18: spool.segment_bytes: expected at most half of spool.byte"},
    {"collector:\n  address: collector\n", "agent.yaml:2:12: collector.address: expected an address such as"},
    {"agent:\n  state_dir: state\n", "agent.yaml:2:14: agent.state_dir: expected an absolute path, found \"state\""},
};

TEST(AgentConfig, SaysWhatIsWrongAndWhere) {
  for (const Case& c : kWrong) {
    const auto config = parse_agent_config(c.text, "agent.yaml");
    ASSERT_FALSE(config.has_value()) << c.text;
    EXPECT_EQ(config.error().message().substr(0, c.want.size()), c.want);
    EXPECT_EQ(config.error().kind(), ErrorKind::kConfiguration);
  }
}

TEST(AgentConfig, APlaneIsOneOfThree) {
  for (const std::string plane : {"auto", "socket", "length", "syscall"}) {
    const auto config = parse_agent_config("capture:\n  plane: " + plane + "\n", "agent.yaml");
    ASSERT_TRUE(config.has_value()) << config.error().message();
    EXPECT_EQ(config->capture.plane, plane);
  }
  const auto config = parse_agent_config("capture:\n  plane: kprobe\n", "agent.yaml");
  ASSERT_FALSE(config.has_value());
  EXPECT_NE(config.error().message().find("capture.plane"), std::string::npos) << config.error().message();
}

TEST(AgentConfig, TokenFromEnvironmentGoesBeforeTheFile) {
  std::string path = ::testing::TempDir() + "token_XXXXXX";
  const UniqueFd fd(::mkstemp(path.data()));
  ASSERT_TRUE(write_all(fd.get(), as_bytes("from-file\n")));
  auto config = parse_agent_config("collector:\n  enrolment_token_file: " + path + "\n", "agent.yaml");
  ASSERT_TRUE(config.has_value()) << config.error().message();
  ::unsetenv("GATEHOUSE_TOKEN");
  EXPECT_EQ(enrolment_token(*config)->reveal(), "from-file");
  ::setenv("GATEHOUSE_TOKEN", "from-environment", 1);
  EXPECT_EQ(enrolment_token(*config)->reveal(), "from-environment");
  ::unsetenv("GATEHOUSE_TOKEN");
  ::unlink(path.c_str());
  EXPECT_FALSE(enrolment_token(*config).has_value());
  config->collector.enrolment_token_file.clear();
  EXPECT_TRUE(enrolment_token(*config)->empty());
}

TEST(AgentConfig, ListenAddresses) {
  for (const std::string_view bad :
       {"", "0", "65536", "unix:", "unix:relative", "127.0.0.1", "::1:5432", "1.2.3:5", "[fe80::1%eth0]:1", "db",
        "db:0", "db.:.5", "a..b:5", "-a:5", "a b:5", "db.256:5", "db/x:5"})
    EXPECT_FALSE(parse_listen_address(bad).has_value()) << bad;
  EXPECT_FALSE(parse_listen_address("unix:/" + std::string(107, 'x')).has_value());
  EXPECT_EQ(parse_listen_address("unix:@pg")->path, "@pg");
  for (const std::string_view name : {"db.example.net", "localhost", "10-0-0-5.db", "a_b", "db.example.net.", "5x"}) {
    const auto listen = parse_listen_address(std::string(name) + ":5432");
    ASSERT_TRUE(listen.has_value()) << name;
    EXPECT_EQ(listen->kind, ListenAddress::Kind::kHost);
    EXPECT_EQ(listen->host, name);
    EXPECT_EQ(listen->port, 5432);
    EXPECT_EQ(to_text(*listen), std::string(name) + ":5432");
  }
}

}  // namespace
}  // namespace gatehouse
