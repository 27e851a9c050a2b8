// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/match_row.h"

#include <gtest/gtest.h>

#include "gatehouse/v1/query.pb.h"

namespace gatehouse::rules {
namespace {

v1::Row example_row() {
  v1::Row row;
  row.set_time_ns(1'795'568'523'000'000'000);
  row.set_duration_ns(5'000'000);
  row.set_kind("statement");
  row.set_session_user("app");
  row.set_session_encrypted(true);
  row.set_actor_pid(4242);
  row.set_actor_exe("/usr/bin/psql");
  row.set_statement_text("DELETE FROM staff WHERE id = $1");
  row.add_statement_parameters("17");
  row.add_statement_parameters("x");
  row.set_result_rows(UINT64_MAX);
  return row;
}

struct Case {
  std::string_view filter;
  bool want;
};

constexpr Case kCases[] = {
    {"", true},
    {R"(kind == "statement")", true},
    {R"(kind == "Statement")", false},
    {R"(kind != "connect")", true},
    {R"(kind == "statement" && session.user == "root")", false},
    {R"(session.user >= "app" && session.user < "apq")", true},
    {"session.encrypted", true},
    {"session.encrypted != true", false},
    {"actor.pid == 4242", true},
    {"actor.pid > 4242", false},
    {"actor.pid <= 4242u", true},
    {"actor.uid == 0", true},
    {"result.rows == 18446744073709551615u", true},
    {R"(actor.exe.endsWith("/psql"))", true},
    {R"(actor.exe.endsWith(""))", true},
    {R"(statement.text.startsWith("DELETE "))", true},
    {R"(statement.text.contains("staff"))", true},
    {R"(statement.text.contains("Staff"))", false},
    {R"("17" in statement.parameters)", true},
    {R"("1" in statement.parameters)", false},
    {R"(duration >= duration("5ms"))", true},
    {R"(duration > duration("5ms"))", false},
    {R"(time == timestamp("2026-11-25T01:02:03Z"))", true},
    {R"(time < timestamp("2026-11-25T01:02:03Z"))", false},
    {R"(actor.container == "")", true},
};

TEST(MatchRow, JudgesEveryTypeAndOperator) {
  const v1::Row row = example_row();
  for (const Case& c : kCases) {
    const auto filter = parse_filter(c.filter);
    ASSERT_TRUE(filter) << c.filter << ": " << filter.error().message;
    EXPECT_EQ(matches(*filter, row), c.want) << c.filter;
  }
}

// The table of getters and the table of fields come from one list: a field's value must come from its own member.
TEST(MatchRow, EveryFieldReadsItsOwnMember) {
  for (const FieldSpec& field : fields()) {
    v1::Row row;
    const auto* descriptor = v1::Row::descriptor()->FindFieldByName(std::string(field.member));
    ASSERT_NE(descriptor, nullptr) << field.name;
    Comparison comparison{.field = &field, .op = CompareOp::kEqual, .value = uint64_t{7}};
    const auto* access = row.GetReflection();
    switch (field.type) {
      case FieldType::kString:
        access->SetString(&row, descriptor, "7");
        comparison.value = std::string("7");
        break;
      case FieldType::kList:
        access->AddString(&row, descriptor, "7");
        comparison.value = std::string("7");
        break;
      case FieldType::kBool:
        access->SetBool(&row, descriptor, true);
        comparison.value = true;
        break;
      case FieldType::kUint32:
        access->SetUInt32(&row, descriptor, 7);
        break;
      case FieldType::kUint64:
      case FieldType::kTime:
        access->SetUInt64(&row, descriptor, 7);
        break;
    }
    EXPECT_TRUE(matches(Filter{{comparison}}, row)) << field.name;
    EXPECT_FALSE(matches(Filter{{comparison}}, v1::Row{})) << field.name;
  }
}

}  // namespace
}  // namespace gatehouse::rules
