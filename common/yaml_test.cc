// SPDX-License-Identifier: Apache-2.0
#include "common/yaml.h"

#include <gtest/gtest.h>

#include "common/limits.h"

namespace gatehouse {
namespace {

TEST(Yaml, KeepsOrderAndPositions) {
  const auto tree = parse_yaml("a:\n  b: 1\nlist:\n- x\n- {k: v}\nempty:\nquoted: \"null\"\n", "f");
  ASSERT_TRUE(tree.has_value()) << tree.error().message();
  ASSERT_EQ(tree->children.size(), 4U);
  const YamlNode& b = tree->children[0].children[0];
  EXPECT_EQ(b.text, "1");
  EXPECT_EQ(b.line, 2U);
  EXPECT_EQ(b.column, 6U);
  EXPECT_EQ(b.key_column, 3U);
  const YamlNode& list = tree->children[1];
  ASSERT_EQ(list.children.size(), 2U);
  EXPECT_EQ(list.children[0].line, 4U);
  EXPECT_EQ(list.children[1].find("k")->text, "v");
  EXPECT_EQ(tree->find("empty")->kind, YamlNode::Kind::kNull);
  EXPECT_EQ(tree->find("empty")->line, 6U);
  EXPECT_EQ(tree->find("quoted")->text, "null");
  const auto nulls = parse_yaml("ü: \"ï\"\na: null\nb: ~\nc:\nd: {e: null}\n", "f");
  ASSERT_TRUE(nulls.has_value());
  const auto shown = [](const YamlNode& node) { return node.kind == YamlNode::Kind::kNull ? node.text : "?"; };
  EXPECT_EQ(shown(*nulls->find("a")), "null");
  EXPECT_EQ(shown(*nulls->find("b")), "");
  EXPECT_EQ(shown(*nulls->find("c")), "");
  EXPECT_EQ(shown(nulls->find("d")->children[0]), "null");
}

TEST(Yaml, EmptyTextIsNothing) {
  for (const std::string_view text : {"", "\n\n", "# only a comment\n", "---\n"}) {
    const auto tree = parse_yaml(text, "f");
    ASSERT_TRUE(tree.has_value()) << text;
    EXPECT_EQ(tree->kind, YamlNode::Kind::kNull);
  }
}

struct Case {
  std::string_view text, want;
};
constexpr Case kRefused[] = {
    {"a: 1\na: 2\n", "f:2:1: a: given twice, first on line 1"},
    {"a: &x 1\nb: *x\n", "f:1:4: anchors are not supported; write the value out"},
    {"a: *x\n", "f:1:4: "},
    {"a: !!binary aGk=\n", "f:1:4: tags are not supported: tag:yaml.org,2002:binary"},
    {"<<: {a: 1}\n", "f:1:1: merge keys are not supported; write the values out"},
    {"? [a, b]\n: 1\n", "f:1:3: a key must be a name"},
    {"a: 1\n---\nb: 2\n", "f:3:1: a second document; one is expected"},
    {"a: [1, 2\n", "f:1:9: not YAML: end of sequence flow not found"},
    {"a: b: c\n", "f:1:5: not YAML: illegal map value"},
    {"a:\n\t- 1\n", "f:2:2: not YAML: "},
    {"a: \"open\n", "f:1:9: not YAML: illegal EOF in scalar"},
    {"a: 'open\nb: 1", "f:2:5: not YAML: illegal EOF in scalar"},
    {"a: 1\nb: \x04\nc: 2\n", "f:2:4: not UTF-8 text: it holds the byte 4"},
    {"a: 1\nb: \xc3(\n", "f:2:4: not UTF-8 text: it holds the byte 195"},
    {"\xff\xfe"
     "a",
     "f:1:1: not UTF-8 text: it holds the byte 255"},
};

TEST(Yaml, ATextMayEndAnywhere) {
  for (const std::string_view text : {"a: x", "a: |\n  x", "a: >-\n x # y", "a: 'x'", "a: x #"}) {
    const auto tree = parse_yaml(text, "f");
    ASSERT_TRUE(tree.has_value()) << tree.error().message();
    EXPECT_EQ(tree->find("a")->text.substr(0, 1), "x");
    EXPECT_EQ(tree->find("a")->text.find("end"), std::string::npos);
  }
}

TEST(Yaml, AnAbsentItemLiesWithinTheText) {
  for (const std::string_view text : {"a:\n-", "a:\n-\n", "a:\n- # x", "a:\n- # x\n", "a:\n-\n# x\n"}) {
    const auto tree = parse_yaml(text, "f");
    ASSERT_TRUE(tree.has_value()) << tree.error().message();
    const YamlNode& item = tree->find("a")->children.at(0);
    EXPECT_EQ(item.kind, YamlNode::Kind::kNull);
    EXPECT_EQ(item.line, text.ends_with("# x\n") && !text.starts_with("a:\n- ") ? 3U : 2U) << text;
  }
}

TEST(Yaml, RefusesWithAPosition) {
  for (const Case& c : kRefused) {
    const auto tree = parse_yaml(c.text, "f");
    ASSERT_FALSE(tree.has_value()) << c.text;
    EXPECT_EQ(tree.error().kind(), ErrorKind::kConfiguration);
    EXPECT_EQ(tree.error().message().substr(0, c.want.size()), c.want) << c.text;
  }
}

TEST(Yaml, IsBounded) {
  const auto deep = parse_yaml(std::string(20'000, '['), "f");
  ASSERT_FALSE(deep.has_value());
  std::string many = "a: [";
  for (size_t i = 0; i <= kYamlNodesMax; ++i) many += "1,";
  const auto wide = parse_yaml(many + "]", "f");
  ASSERT_FALSE(wide.has_value());
  EXPECT_NE(wide.error().message().find("too many values"), std::string::npos) << wide.error().message();
}

}  // namespace
}  // namespace gatehouse
