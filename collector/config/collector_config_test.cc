// SPDX-License-Identifier: Apache-2.0
#include "collector/config/collector_config.h"

#include <gtest/gtest.h>

#include "common/config_doc.h"

namespace gatehouse {
namespace {

using std::chrono::milliseconds;

TEST(CollectorConfig, TableIsSoundAndDocumented) {
  EXPECT_EQ(config::problems(collector_config_schema()), std::vector<std::string>{});
  const Status documented =
      config::check_document(GH_SOURCE_DIR "/docs/config.md", "collector.yaml", collector_config_schema());
  EXPECT_TRUE(documented.has_value()) << documented.error().message();
}

TEST(CollectorConfig, AnEmptyFileIsEveryDefault) {
  const auto config = parse_collector_config("", "collector.yaml");
  ASSERT_TRUE(config.has_value()) << config.error().message();
  EXPECT_EQ(config->collector.name, config::host_name());
  EXPECT_EQ(config->collector.state_dir, "/var/lib/gatehouse-collector");
  EXPECT_EQ(config->collector.listen, (config::Address{"127.0.0.1", 7443}));
  EXPECT_EQ(config->collector.hostnames, (std::vector<std::string>{config::host_name(), "localhost"}));
  EXPECT_EQ(config->segment.bytes_max, 64U << 20);
  EXPECT_EQ(config->segment.age_max, milliseconds(600'000));
  EXPECT_EQ(config->store.memory_bytes_max, 512U << 20);
  EXPECT_EQ(config->store.threads, 2U);
  EXPECT_EQ(config->log_level, log::Level::kInfo);
}

TEST(CollectorConfig, ThePackagedFileLoads) {
  const auto config = load_collector_config(GH_SOURCE_DIR "/packaging/collector.yaml");
  ASSERT_TRUE(config.has_value()) << config.error().message();
  EXPECT_EQ(config->collector.listen.port, 7443);
  EXPECT_EQ(describe(*config).substr(0, 10), "collector ");
}

TEST(CollectorConfig, SaysWhatIsWrongAndWhere) {
  const auto config = parse_collector_config("store:\n  engine: clickhouse\n", "c.yaml");
  ASSERT_FALSE(config.has_value());
  EXPECT_EQ(config.error().message(), "c.yaml:2:11: store.engine: expected one of duckdb, found \"clickhouse\"");
  const auto unknown = parse_collector_config("collector:\n  hostname: [a]\n", "c.yaml");
  ASSERT_FALSE(unknown.has_value());
  EXPECT_EQ(unknown.error().message(), "c.yaml:2:3: collector.hostname: unknown key; did you mean hostnames?");
}

}  // namespace
}  // namespace gatehouse
