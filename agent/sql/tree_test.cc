// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/tree.h"

#include <gtest/gtest.h>

#include <string>

namespace gatehouse::sql {
namespace {

constexpr size_t kDeepEnough = 10;

TEST(SqlTree, Reads) {
  Tree tree;
  const std::string json = R"({"version":150001,"stmts":[{"stmt":{"SelectStmt":{"op":"SETOP_NONE","all":false,)"
                           R"("newField":[{"A_Star":{}},{}]}},"stmt_len":7}]})";
  ASSERT_EQ(tree.read(json, kDeepEnough), Tree::Outcome::kOk);
  const auto statements = tree.items(tree.root(), Key::k_stmts);
  ASSERT_FALSE(statements.empty());
  const TreeNode& raw = *statements.begin();
  EXPECT_EQ(tree.number(raw, Key::k_stmt_len), 7);
  EXPECT_EQ(tree.number(raw, Key::k_stmt_location), 0);
  const TreeNode* select = tree.child(raw, Key::k_stmt);
  ASSERT_NE(select, nullptr);
  EXPECT_EQ(select->type, Key::k_SelectStmt);
  EXPECT_EQ(select->type_name, "SelectStmt");
  EXPECT_EQ(tree.raw_text(*select, Key::k_op), "SETOP_NONE");
  EXPECT_FALSE(tree.has(*select, Key::k_all));
  const auto fields = tree.items(*select, Key::kOther);
  EXPECT_EQ((*fields.begin()).type, Key::k_A_Star);
}

TEST(SqlTree, Escapes) {
  Tree tree;
  ASSERT_EQ(tree.read(R"({"name":"a\"\\\n\u0001\u003c"})", kDeepEnough), Tree::Outcome::kOk);
  EXPECT_EQ(tree.text(tree.root(), Key::k_name), "a\"\\\n\x01<");
}

TEST(SqlTree, Depth) {
  Tree tree;
  EXPECT_EQ(tree.read(R"({"a":[[[1]]]})", 4), Tree::Outcome::kOk);
  EXPECT_EQ(tree.read(R"({"a":[[[1]]]})", 3), Tree::Outcome::kTooDeep);
}

TEST(SqlTree, EveryCutIsMalformed) {
  const std::string json = R"({"version":1,"stmts":[{"stmt":{"SelectStmt":{"op":"a\"b","all":true}}},{}]})";
  Tree tree;
  EXPECT_EQ(tree.read(json, kDeepEnough), Tree::Outcome::kOk);
  for (size_t size = 0; size < json.size(); ++size)
    EXPECT_EQ(tree.read(std::string_view(json).substr(0, size), kDeepEnough), Tree::Outcome::kMalformed) << size;
  EXPECT_EQ(tree.read(json + "x", kDeepEnough), Tree::Outcome::kMalformed);
}

}  // namespace
}  // namespace gatehouse::sql
