// SPDX-License-Identifier: Apache-2.0
// Rows and COPY through their maskers: methods by table, detectors in every kind of column, every truncation, every
// chunk size.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "agent/mask/act.h"
#include "agent/mask/copy_masker.h"
#include "agent/mask/discovery.h"
#include "agent/mask/message.h"
#include "agent/mask/row_masker.h"
#include "rules/engine/policy_keys.h"

namespace gatehouse::mask {
namespace {

using namespace std::string_literals;

constexpr uint32_t kText = 25, kVarchar = 1043, kInt8 = 20, kJson = 114, kJsonb = 3802, kTexts = 1009, kInet = 869,
                   kDate = 1082, kBytea = 17, kRecord = 2249, kInt4 = 23;

std::shared_ptr<const MaskKey> key(std::string_view id = "m") {
  return std::make_shared<const MaskKey>(MasterKey::parse("0123456789abcdef0123456789ABCDEF")->derive(id));
}

std::string row_of(const std::vector<std::optional<std::string>>& values) {
  std::string body;
  append_be(body, static_cast<uint16_t>(values.size()));
  for (const auto& value : values) {
    append_be(body, value ? static_cast<int32_t>(value->size()) : -1);
    if (value) body += *value;
  }
  return body;
}
// "a|b|NULL"; of a message with its header.
std::string told(std::string_view message) {
  EXPECT_EQ(load_be<uint32_t>(message.substr(1)) + 1, message.size());
  std::string text;
  const auto count = load_be<uint16_t>(message.substr(5));
  size_t at = 7;
  for (uint16_t i = 0; i < count; ++i) {
    const auto size = load_be<int32_t>(message.substr(at));
    at += 4;
    text += i > 0 ? "|" : "";
    text += size < 0 ? "NULL" : std::string(message.substr(at, static_cast<size_t>(size)));
    at += size > 0 ? static_cast<size_t>(size) : 0;
  }
  EXPECT_EQ(at, message.size());
  return text;
}

std::string masked(Method method, const FieldType& field, const std::string& value) {
  RowMasker masker({.keys = {key()}, .columns = {{.method = method}}}, {&field, 1}, nullptr);
  std::string out;
  EXPECT_EQ(masker.mask_row(bytes_of(row_of({value})), out), RowOutcome::kMasked);
  return out.empty() ? "" : told(out);
}

struct MethodCase {
  Method method;
  uint32_t oid;
  std::string_view value, want;
  int32_t typmod = -1;
};
constexpr MethodCase kMethods[] = {
    {Method::kRedact, kText, "Ada", "***"},
    {Method::kPartial, kText, "john.smith@example.com", "j***@***.com"},
    {Method::kPartial, kText, "4111-1111-1111-1234", "****-****-****-1234"},
    {Method::kPartial, kText, "+1 (415) 555-2671", "+* (***) ***-2671"},
    {Method::kPartial, kText, "123-45-6789", "***-**-6789"},
    {Method::kPartial, kText, "Lovelace", "L***"},
    {Method::kPartial, kText, "Ada", "***"},
    {Method::kPartial, kVarchar, "john@example.com", "j***@", 4 + 5},
    {Method::kPartial, kInt8, "4111111111111234", "1234"},
    {Method::kPartial, kInt8, "4711", "0"},
    {Method::kPartial, kDate, "1985-07-30", "1985-01-01"},
    {Method::kBucket, kDate, "1985-07-30", "1985-07-01"},
    {Method::kBucket, kInt8, "48123", "40000"},
    {Method::kBucket, kInt8, "-48123", "-40000"},
    {Method::kBucket, 1700, "1234.56", "1000.00"},
    {Method::kBucket, 701, "1234.56", "1000"},
    {Method::kPartial, kInet, "192.168.17.4", "192.168.17.0"},
    {Method::kPartial, 1114, "1985-07-30 12:13:14.5", "1985-01-01 00:00:00"},
    {Method::kBucket, 1083, "12:13:14", "12:00:00"},
    {Method::kRedact, kTexts, "{a,\"b c\",NULL}", "{***,***,NULL}"},
    {Method::kPartial, kJson, R"({"mail": "ada@example.org", "n": [1, 4111111111111234], "ok": true, "x": null})",
     R"({"mail": "a***@***.org", "n": [0, 1234], "ok": false, "x": null})"},
    {Method::kRedact, kJson, R"({"a": 1})", "{}"},
    {Method::kPartial, kRecord, "(1,\"ada@example.org\",2024-05-06,)", "(0,a***@***.org,2024-01-01,)"},
    {Method::kRedact, 0, "12.50", "0.00"},
    {Method::kRedact, 0, "2024-05-06 07:08:09+02", "2000-01-01 00:00:00+02"},
};

TEST(RowMasker, Methods) {
  for (const MethodCase& c : kMethods)
    EXPECT_EQ(masked(c.method, {.oid = c.oid, .typmod = c.typmod}, std::string(c.value)), c.want) << c.value;
}

TEST(RowMasker, NullIsKeptUnlessAsked) {
  const FieldType fields[] = {{.oid = kText}, {.oid = kText}, {.oid = kText}};
  RowMasker masker({.keys = {key()},
                    .columns = {{.method = Method::kRedact},
                                {.method = Method::kRedact, .nulls_too = true},
                                {.method = Method::kNull}}},
                   fields, nullptr);
  std::string out;
  EXPECT_EQ(masker.mask_row(bytes_of(row_of({std::nullopt, std::nullopt, "x"})), out), RowOutcome::kMasked);
  EXPECT_EQ(told(out), "NULL|***|NULL");
}

TEST(RowMasker, JoinsAndTokens) {
  const FieldType text{.oid = kText};
  EXPECT_EQ(masked(Method::kHash, text, "ada"), masked(Method::kHash, text, "ada"));
  EXPECT_NE(masked(Method::kHash, text, "ada"), masked(Method::kHash, text, "bob"));
  EXPECT_EQ(masked(Method::kHash, text, "ada").size(), 32u);
  // char(n) is equal to varchar without its blanks.
  EXPECT_EQ(masked(Method::kHash, {.oid = 1042}, "ada   "), masked(Method::kHash, text, "ada"));
  const std::string token = masked(Method::kTokenise, text, "4111-1111-1111-1234");
  EXPECT_NE(token, "4111-1111-1111-1234");
  ASSERT_EQ(token.size(), 19u);
  for (size_t i = 0; i < token.size(); ++i) EXPECT_TRUE(i % 5 == 4 ? token[i] == '-' : is_digit(token[i])) << token;
  const std::string name = masked(Method::kTokenise, text, "Lovelace, Augusta");
  for (size_t i = 0; i < name.size(); ++i) {
    const char c = "Lovelace, Augusta"[i];
    EXPECT_TRUE(is_upper(c) ? is_upper(name[i]) : is_lower(c) ? is_lower(name[i]) : name[i] == c) << name;
  }
  // Another mask, another token.
  RowMasker other({.keys = {key("n")}, .columns = {{.method = Method::kHash}}}, {&text, 1}, nullptr);
  std::string out;
  other.mask_row(bytes_of(row_of({"ada"})), out);
  EXPECT_NE(told(out), masked(Method::kHash, text, "ada"));
}

ResultPlan detecting(Method method) {
  return {.keys = {key()}, .detect = {{.what = DetectorSet::all(), .method = method}}};
}

TEST(RowMasker, Detectors) {
  const FieldType fields[] = {
      {.oid = kText}, {.oid = kJson},  {.oid = kTexts},  {.oid = kInet},
      {.oid = kInt8}, {.oid = kBytea}, {.oid = kRecord}, {.oid = kDate, .name = "date_of_birth"}};
  RowMasker masker(detecting(Method::kPartial), fields, nullptr);
  std::string out;
  const std::string row =
      row_of({"mail ada@example.org now", R"({"a": "ada\u0040example.org", "n": 4111111111111111})",
              R"({"ada@example.org, \"x\"",b})", "10.1.2.3", "4111111111111111", "\\x616461406578616d706c652e6f7267",
              "(1,\"say \"\"ada@example.org\"\"\")", "1985-07-30"});
  EXPECT_EQ(masker.mask_row(bytes_of(row), out), RowOutcome::kMasked);
  EXPECT_EQ(told(out),
            R"(mail a***@***.org now|{"a": "a***@***.org", "n": 1111}|{"a***@***.org, \"x\"",b}|10.1.2.0|1111|)"
            "\\x612a2a2a402a2a2a2e6f7267|(1,\"say \"\"a***@***.org\"\"\")|1985-01-01");
  EXPECT_EQ(masker.counts().masks.at(0).spans, 9u);
  EXPECT_EQ(masker.counts().detectors.at(static_cast<size_t>(Detector::kEmail)), 5u);
  EXPECT_EQ(masker.counts().rows_changed, 1u);
  EXPECT_EQ(masker.counts().columns.at(0), 1u);

  const std::string clean =
      row_of({"nothing here", R"({"a": 1})", "{a,b}", std::nullopt, "12", "\\x00", "(1,2)", std::nullopt});
  out.clear();
  EXPECT_EQ(masker.mask_row(bytes_of(clean), out), RowOutcome::kUnchanged);
  EXPECT_TRUE(out.empty());
}

TEST(RowMasker, DetectorsInBinary) {
  std::string number, array;
  append_be<int64_t>(number, 4111111111111111);
  for (const int32_t part : {1, 0, 25, 2, 1, 15}) append_be(array, part);
  array += "ada@example.org";
  append_be<int32_t>(array, -1);
  const FieldType fields[] = {{.oid = kInt8, .is_binary = true},
                              {.oid = kTexts, .is_binary = true},
                              {.oid = kJsonb, .is_binary = true},
                              {.oid = 99999, .is_binary = true}};
  RowMasker masker(detecting(Method::kPartial), fields, nullptr);
  std::string out;
  const std::string row = row_of({number, array, "\1{\"a\": \"ada@example.org\"}", "\1\2ada@example.org\3"});
  EXPECT_EQ(masker.mask_row(bytes_of(row), out), RowOutcome::kMasked);
  std::string last, want;
  append_be<int64_t>(last, 1111);
  for (const int32_t part : {1, 0, 25, 2, 1, 12}) append_be(want, part);
  want += "a***@***.org";
  append_be<int32_t>(want, -1);
  EXPECT_EQ(told(out), last + "|" + want + "|\1{\"a\": \"a***@***.org\"}|NULL");
}

TEST(RowMasker, NothingThatIsCutPasses) {
  const FieldType fields[] = {{.oid = kText}, {.oid = kInt4, .is_binary = true}, {.oid = kText}};
  const std::string row = row_of({"ada@example.org", "\0\0\1\2"s, std::nullopt});
  for (size_t size = 0; size <= row.size(); ++size) {
    RowMasker masker({.keys = {key()}, .columns = {{.method = Method::kHash}, {.method = Method::kHash}}}, fields,
                     nullptr);
    std::string out = "before";
    const RowOutcome outcome = masker.mask_row(bytes_of(std::string_view(row).substr(0, size)), out);
    EXPECT_EQ(outcome, size == row.size() ? RowOutcome::kMasked : RowOutcome::kMalformed) << size;
    if (size < row.size()) {
      EXPECT_EQ(out, "before");
    }
  }
  // A value that is not of its type does not pass either.
  RowMasker masker({.keys = {key()}, .columns = {{}, {.method = Method::kHash}}}, fields, nullptr);
  std::string out;
  EXPECT_EQ(masker.mask_row(bytes_of(row_of({"a", "abc", "b"})), out), RowOutcome::kMasked);
  EXPECT_EQ(told(out), "a|NULL|b");
}

struct Copied {
  CopyOutcome outcome = CopyOutcome::kOk;
  std::string payload;
  size_t messages = 0;
  MaskCounts counts{};
};
Copied copy(const CopyOptions& options, std::span<const FieldType> fields, const ResultPlan& plan,
            std::string_view data, size_t chunk) {
  CopyMasker masker(plan, options, fields, nullptr);
  std::string out;
  Copied copied;
  for (size_t at = 0; at < data.size() && copied.outcome == CopyOutcome::kOk; at += chunk)
    copied.outcome = masker.push(bytes_of(data.substr(at, chunk)), out);
  if (copied.outcome == CopyOutcome::kOk) copied.outcome = masker.finish(out);
  for (size_t at = 0; at < out.size(); ++copied.messages) {
    EXPECT_EQ(out[at], 'd');
    const auto length = load_be<uint32_t>(std::string_view(out).substr(at + 1));
    copied.payload += out.substr(at + 5, length - 4);
    at += 1 + length;
  }
  copied.counts = masker.counts();
  return copied;
}

struct CopyCase {
  CopyOptions options;
  std::string data, want;
};

TEST(CopyMasker, EveryChunkSize) {
  CopyOptions csv = CopyOptions::of(CopyFormat::kCsv), csv_header = csv, odd = csv;
  csv_header.has_header = true;
  odd.delimiter = ';';
  odd.quote = '\'';
  odd.escape = '\\';
  odd.null = "NULL";
  CopyOptions sjis;
  sjis.delimiter = '|';
  sjis.encoding = "SJIS";
  const CopyCase cases[] = {
      {{}, "1\tada@example.org\tx\n2\t\\N\ty\\tz\n", "1\ta***@***.org\tx\n2\t\\N\ty\\tz\n"},
      {{}, "1\tA\\tB\\\\C\t4111111111111111\n", "1\tA***\t************1111\n"},
      {csv, "1,\"ada, \"\"x\"\"\n@example.org\",x\n2,,\"\"\n", "1,\"a***@***.org\",x\n2,,\"\"\n"},
      {csv_header, "id,\"na\nme\",x\n1,lovelace,y\n", "id,\"na\nme\",x\n1,l***,y\n"},
      {odd, "1;'ada\\'s; mail';ada@example.org\n2;NULL;'NULL'\n", "1;'a***';a***@***.org\n2;NULL;'NULL'\n"},
      // A byte of these characters is the delimiter or a backslash.
      {sjis,
       "1|\x83|\x95\x5c"
       "abc|\x83\x5c\n",
       "1|***|\x83\x5c\n"},
  };
  const FieldType fields[] = {{.oid = kInt4}, {.oid = kText}, {.oid = kText}};
  const ResultPlan plan{.keys = {key()},
                        .columns = {{}, {.method = Method::kPartial}},
                        .detect = {{.what = DetectorSet::all(), .method = Method::kPartial}}};
  for (const CopyCase& c : cases) {
    for (size_t chunk = 1; chunk <= c.data.size(); ++chunk) {
      const Copied copied = copy(c.options, fields, plan, c.data, chunk);
      EXPECT_EQ(copied.outcome, CopyOutcome::kOk);
      EXPECT_EQ(copied.payload, c.want) << chunk;
    }
  }
}

TEST(CopyMasker, Binary) {
  std::string data("PGCOPY\n\377\r\n\0", 11), want;
  append_be<int32_t>(data, 0);
  append_be<int32_t>(data, 0);
  want = data;
  for (int i = 0; i < 3; ++i) {
    data += row_of({"\0\0\0\7"s, "ada@example.org", std::nullopt});
    want += row_of({"\0\0\0\7"s, "a***@***.org", std::nullopt});
  }
  append_be<int16_t>(data, -1);
  append_be<int16_t>(want, -1);
  const FieldType fields[] = {{.oid = kInt4}, {.oid = kText}, {.oid = kText}};
  const ResultPlan plan{.keys = {key()}, .columns = {{}, {.method = Method::kPartial}}};
  CopyOptions options = CopyOptions::of(CopyFormat::kBinary);
  for (size_t chunk = 1; chunk <= data.size(); ++chunk) {
    const Copied copied = copy(options, fields, plan, data, chunk);
    EXPECT_EQ(copied.outcome, CopyOutcome::kOk);
    EXPECT_EQ(copied.payload, want) << chunk;
    EXPECT_EQ(copied.messages, 4u);  // the header goes with the first row
    EXPECT_EQ(copied.counts.rows, 3u);
  }
  for (size_t size = 1; size < data.size(); ++size) {
    const Copied copied = copy(options, fields, plan, std::string_view(data).substr(0, size), 7);
    // Whole rows pass; half a one never does.
    EXPECT_TRUE(want.starts_with(copied.payload)) << size;
  }
  data[0] = 'Q';
  EXPECT_EQ(copy(options, fields, plan, data, 5).outcome, CopyOutcome::kMalformed);
  options.row_bytes_max = 20;
  data[0] = 'P';
  EXPECT_EQ(copy(options, fields, plan, data, 5).outcome, CopyOutcome::kTooLong);
}

TEST(CopyMasker, ARowHasALimit) {
  CopyOptions options;
  options.row_bytes_max = 100;
  const FieldType field{.oid = kText};
  const ResultPlan plan{.keys = {key()}, .columns = {{.method = Method::kRedact}}};
  EXPECT_EQ(copy(options, {&field, 1}, plan, std::string(101, 'x'), 10).outcome, CopyOutcome::kTooLong);
  EXPECT_EQ(copy(options, {&field, 1}, plan, std::string(90, 'x'), 10).payload, "***");
}

TEST(Message, Redacted) {
  using namespace std::string_view_literals;
  const auto redacted = [](std::string_view body, MessagePolicy policy) {
    std::string out;
    if (!redact_message('E', bytes_of(body), policy, out)) return std::string("unchanged");
    EXPECT_EQ(load_be<uint32_t>(std::string_view(out).substr(1)) + 1, out.size());
    std::string text = out.substr(5);
    for (char& c : text) c = c == '\0' ? '|' : c;
    return text;
  };
  constexpr auto kDuplicate =
      "SERROR\0C23505\0Mduplicate key value violates unique constraint \"people_email_key\"\0"
      "DKey (email)=(ada@example.org) already exists.\0\0"sv;
  EXPECT_EQ(redacted(kDuplicate, {.what = DetectorSet::all()}),
            "SERROR|C23505|Mduplicate key value violates unique constraint \"people_email_key\"|"
            "DKey (email)=(***) already exists.||");
  EXPECT_EQ(redacted(kDuplicate, {.has_masked_columns = true}),
            "SERROR|C23505|Mduplicate key value violates unique constraint \"people_email_key\"|Dwithheld by a mask||");
  EXPECT_EQ(redacted("SERROR\0C22P02\0Minvalid input syntax for type integer: \"Love\"la\"ce\"\0\0"sv,
                     {.has_masked_columns = true}),
            "SERROR|C22P02|Minvalid input syntax for type integer: \"***\"||");
  EXPECT_EQ(redacted("SERROR\0C42P01\0Mrelation \"t\" does not exist\0\0"sv, {DetectorSet::all(), true}), "unchanged");
  EXPECT_EQ(redacted("SERROR\0Mcut", {}).find("cut"), std::string::npos);
  EXPECT_EQ(redact_text("ada@example.org bought for Lovelace", DetectorSet::all(), std::array{"Lovelace"sv}),
            "*** bought for ***");
}

TEST(Discovery, SuggestsWhatItSees) {
  Discovery discovery, other;
  const uint32_t mail = discovery.column({1, 100, 1}, "contact"), note = discovery.column({1, 100, 2}, "note");
  EXPECT_EQ(discovery.column({1, 100, 1}, "again"), mail);
  for (int i = 0; i < 500; ++i) {
    discovery.see(mail, "p" + std::to_string(i) + "@example.org");
    discovery.see(note, i % 50 == 0 ? "call 415-555-2671" : "nothing to see");
  }
  const uint32_t theirs = other.column({1, 100, 1}, "contact");
  other.see(theirs, "x@example.org");
  discovery.merge(other);
  const auto suggestions = discovery.suggestions(0.0);
  ASSERT_EQ(suggestions.size(), 2u);
  EXPECT_EQ(suggestions[0].name, "contact");
  EXPECT_EQ(suggestions[0].detector, Detector::kEmail);
  EXPECT_EQ(suggestions[0].hits, 501u);
  EXPECT_EQ(suggestions[0].whole, 501u);
  EXPECT_GT(suggestions[0].confidence, 0.95);
  EXPECT_EQ(suggestions[1].detector, Detector::kPhone);
  EXPECT_LT(suggestions[1].confidence, 0.1);
  Discovery small({.columns = 1});
  small.column({1, 1, 1}, "a");
  EXPECT_EQ(small.column({1, 1, 2}, "b"), Discovery::kNone);
  EXPECT_EQ(small.columns_dropped(), 1u);
}

TEST(Words, AreThoseOfTheRuleLanguage) {
  EXPECT_EQ(kMethodNames, rules::kMaskMethods);
  EXPECT_EQ(kDetectorNames, rules::kDetectors);
  for (size_t i = 0; i < kMethodCount; ++i)
    EXPECT_EQ(method_of(name_of(static_cast<Method>(i))), static_cast<Method>(i));
  for (size_t i = 0; i < kDetectorCount; ++i)
    EXPECT_EQ(detector_of(name_of(static_cast<Detector>(i))), static_cast<Detector>(i));
  EXPECT_FALSE(method_of("redac"));
  EXPECT_FALSE(detector_of(""));
}

}  // namespace
}  // namespace gatehouse::mask
