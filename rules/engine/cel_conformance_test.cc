// SPDX-License-Identifier: Apache-2.0
// The specification's own tests (tests/simple of google/cel-spec, pinned in third_party/cel-spec). What is not run
// stands in kSkipped with its reason; everything else must pass. Each test also carries the type that cel-go's checker
// finds, which must be ours. Some tests are about what cel-go's checker refuses: here it is refused as well, or gives
// what the test says.
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "rules/engine/cel_conformance_json.h"

namespace gatehouse::rules::cel {
namespace {

struct Skipped {
  std::string_view path;  // of a suite, a group or a test, whole names
  std::string_view reason;
};

constexpr std::string_view kMessages = "protobuf messages as values";

constexpr Skipped kSkipped[] = {
    // Messages.
    {"dynamic", kMessages},
    {"enums", kMessages},
    {"proto2", kMessages},
    {"proto2_ext", kMessages},
    {"proto3", kMessages},
    {"wrappers", kMessages},
    // Extensions that no rule needs.
    {"bindings_ext", "cel.bind"},
    {"block_ext", "cel.block"},
    {"encoders_ext", "base64"},
    {"math_ext", "math.*"},
    {"optionals", "optional values"},
    {"string_ext/format", "format()"},
    {"string_ext/quote", "strings.quote()"},
    {"type_deductions/flexible_type_parameter_assignment/optional_none", "optional values"},
    {"type_deductions/flexible_type_parameter_assignment/optional_none_2", "optional values"},
    {"type_deductions/flexible_type_parameter_assignment/optional_dyn_promotion", "optional values"},
    {"type_deductions/flexible_type_parameter_assignment/optional_dyn_promotion_2", "optional values"},
    {"type_deductions/flexible_type_parameter_assignment/optional_in_ternary", "optional values"},
    {"type_deductions/legacy_nullable_types/null_assignable_to_abstract_parameter_candidate", "optional values"},
    // The host cannot add functions or abstract types.
    {"type_deductions/functions/function_result_type", "functions of the host"},
    {"type_deductions/type_parameters", "functions of the host"},
    // Rules have no container: names are written whole.
    {"namespace/namespace", "containers"},
    // Would read the host's database of time zones.
    {"timestamps/timestamp_selectors_tz/getDate", "named time zones"},
    {"timestamps/timestamp_selectors_tz/getDayOfMonth_name_pos", "named time zones"},
    {"timestamps/timestamp_selectors_tz/getDayOfMonth_name_neg", "named time zones"},
    {"timestamps/timestamp_selectors_tz/getDayOfYear", "named time zones"},
    {"timestamps/timestamp_selectors_tz/getMinutes", "named time zones"},
};

// Suites that are run have tests of messages, too.
bool speaks_of_messages(const Json& test) {
  const std::string text = test.at("original").dump();
  if (test.at("original").contains("container") || text.find("TestAllTypes") != std::string::npos) return true;
  for (const std::string_view message : {"Value{", "Value\"", "Any{", "Struct{", "Empty{", "cel.expr"}) {
    if (text.find("google.protobuf.") != std::string::npos && text.find(message) != std::string::npos) return true;
  }
  return false;
}

// What a test came to: empty if it passed.
std::string run(const Json& test) {
  const Json& original = test.at("original");
  TestStore store;
  std::vector<Variable> variables;
  std::vector<Value> values;
  const Json bindings = original.value("bindings", Json::object());
  const Json environment = original.value("typeEnv", Json::array());
  for (const Json& declared : environment) {
    if (!declared.contains("ident")) return "not a variable: " + declared.dump();
    const Type* type = type_of_json(declared["ident"].at("type"), store);
    if (type == nullptr) return "a type that Gatehouse does not have: " + declared.dump();
    const std::string& name = store.texts.emplace_back(declared.at("name"));
    variables.push_back({.name = name, .type = type, .meaning = {}, .example = {}});
    values.push_back(bindings.contains(name) ? value_of_json(bindings[name].at("value"), store) : Value());
  }
  const Schema schema{variables};
  const bool refused_by_checker = !test.contains("type") && original.value("disableCheck", false);
  const auto program = compile(original.at("expr").get<std::string>(), schema, kDyn);
  if (refused_by_checker && !program) return "";
  // An error in a constant may be told when the expression is compiled.
  if (!program && original.contains("evalError")) return "";
  if (!program) return std::to_string(program.error().offset) + ": " + program.error().message;
  if (test.contains("type") && program->type_name() != test["type"].get<std::string>())
    return "type " + program->type_name() + ", not " + test["type"].get<std::string>();
  if (original.value("checkOnly", false)) return "";
  Scratch scratch;
  const Value result = evaluate(*program, values, scratch);
  if (original.contains("evalError")) return result.is_error() ? "" : "no error but " + print(result);
  Value want = Value::boolean(true);
  if (original.contains("value")) want = value_of_json(original["value"], store);
  if (original.contains("typedResult")) want = value_of_json(original["typedResult"].at("result"), store);
  return is_same(result, want) ? "" : print(result) + ", not " + print(want);
}

// As run(), with what cannot be read of a test as its failure.
std::string outcome(const Json& test) {
  try {
    return run(test);
  } catch (const std::exception& error) {
    return error.what();
  }
}

const Skipped* find_skipped(const std::string& path) {
  for (const Skipped& candidate : kSkipped) {
    if (path == candidate.path || path.starts_with(std::string(candidate.path) + "/")) return &candidate;
  }
  return nullptr;
}

struct Tally {
  size_t passed = 0;
  size_t messages = 0;
  std::map<const Skipped*, size_t> skipped{};
  std::map<const Skipped*, size_t> failing{};  // of those that are skipped
};

void run_suite(const Json& suite, const std::string& path, Tally& tally) {
  const Json suites = suite.value("suites", Json::array());
  for (const Json& child : suites)
    run_suite(child, (path.empty() ? "" : path + "/") + child.at("name").get<std::string>(), tally);
  const Json tests = suite.value("tests", Json::array());
  for (const Json& test : tests) {
    const std::string name = path + "/" + test.at("original").at("name").get<std::string>();
    if (const Skipped* skipped = find_skipped(name)) {
      ++tally.skipped[skipped];
      if (!outcome(test).empty()) ++tally.failing[skipped];
    } else if (speaks_of_messages(test)) {
      ++tally.messages;
    } else {
      const std::string failure = outcome(test);
      EXPECT_EQ(failure, "") << name << ": " << test.at("original").at("expr");
      tally.passed += failure.empty() ? 1 : 0;
    }
  }
}

// The table of docs/cel.md: how many tests are not run, and why.
std::string table(const Tally& tally) {
  std::map<std::string_view, size_t> counts{{kMessages, tally.messages}};
  for (const auto& [skipped, count] : tally.skipped) counts[skipped->reason] += count;
  std::string text;
  for (const auto& [reason, count] : counts)
    text += "| " + std::to_string(count) + " | " + std::string(reason) + " |\n";
  return text;
}

TEST(CelConformance, PassesWhatTheSpecificationTests) {
  std::ifstream file(GH_CEL_TESTS);
  ASSERT_TRUE(file) << GH_CEL_TESTS;
  Tally tally;
  run_suite(Json::parse(file), "", tally);
  size_t skipped = tally.messages;
  for (const Skipped& entry : kSkipped) {
    EXPECT_GT(tally.failing[&entry], 0U) << entry.path << " passes, or is no test: take it off the list";
    skipped += tally.skipped[&entry];
  }
  std::ifstream page(GH_SOURCE_DIR "/docs/cel.md");
  const std::string text{std::istreambuf_iterator<char>(page), {}};
  const std::string counts =
      std::to_string(tally.passed) + " of " + std::to_string(tally.passed + skipped) + " are run";
  EXPECT_NE(text.find(counts), std::string::npos) << "docs/cel.md should say: " << counts;
  EXPECT_NE(text.find(table(tally)), std::string::npos) << "docs/cel.md should say:\n" << table(tally);
}

}  // namespace
}  // namespace gatehouse::rules::cel
