// SPDX-License-Identifier: Apache-2.0
// Every type's values, masked by every method in text and in binary, given back to the server that made them: it must
// read each as a value of the type, and both formats must have become the same value. By PGHOST and its like.
#include <libpq-fe.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/mask/act.h"
#include "agent/mask/row_masker.h"

namespace {

using namespace gatehouse;
using namespace gatehouse::mask;

struct Clear {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, Clear>;

PGconn* connection;
size_t failures = 0, checks = 0, nulled = 0, unequal = 0;

void fail(const std::string& what, const std::string& why) {
  if (++failures <= 60) std::printf("%s: %s\n", what.c_str(), why.c_str());
}

Result query(const std::string& text, int format = 0) {
  Result result(PQexecParams(connection, text.c_str(), 0, nullptr, nullptr, nullptr, nullptr, format));
  if (PQresultStatus(result.get()) != PGRES_TUPLES_OK && PQresultStatus(result.get()) != PGRES_COMMAND_OK) {
    std::fprintf(stderr, "masks_on_server: %s: %s\n", text.c_str(), PQerrorMessage(connection));
    std::exit(2);
  }
  return result;
}

std::vector<std::string> column(const std::string& text) {
  const Result result = query(text);
  std::vector<std::string> values;
  for (int i = 0; i < PQntuples(result.get()); ++i) values.emplace_back(PQgetvalue(result.get(), i, 0));
  return values;
}

// What the catalog says of types that are not built in.
class ServerTypes : public TypeBook {
 public:
  const TypeShape* find(uint32_t oid) const override {
    const auto known = shapes_.find(oid);
    if (known != shapes_.end()) return &known->second;
    return &shapes_.emplace(oid, load(oid)).first->second;
  }

 private:
  static uint32_t number(const std::string& text) {
    return static_cast<uint32_t>(std::strtoul(text.c_str(), nullptr, 10));
  }
  static TypeShape load(uint32_t oid) {
    const std::string id = std::to_string(oid);
    const Result row = query(
        "SELECT typtype, typcategory, typelem, typbasetype, typtypmod, typrelid, typdelim, typlen"
        " FROM pg_type WHERE oid = " +
        id);
    TypeShape shape;
    if (PQntuples(row.get()) == 0) return shape;
    const auto field = [&](int i) { return std::string(PQgetvalue(row.get(), 0, i)); };
    const char kind = field(0)[0];
    if (kind == 'e') {
      shape.kind = Kind::kEnum;
      shape.labels = column("SELECT enumlabel FROM pg_enum WHERE enumtypid = " + id + " ORDER BY enumsortorder");
    } else if (kind == 'd') {
      shape.kind = Kind::kDomain;
      shape.of = {number(field(3)), std::atoi(field(4).c_str())};
    } else if (kind == 'c') {
      shape.kind = Kind::kComposite;
      const Result fields = query("SELECT atttypid, atttypmod FROM pg_attribute WHERE attrelid = " + field(5) +
                                  " AND attnum > 0 AND NOT attisdropped ORDER BY attnum");
      for (int i = 0; i < PQntuples(fields.get()); ++i)
        shape.fields.push_back({number(PQgetvalue(fields.get(), i, 0)), std::atoi(PQgetvalue(fields.get(), i, 1))});
    } else if (kind == 'r') {
      shape.kind = Kind::kRange;
      shape.of.oid = number(column("SELECT rngsubtype FROM pg_range WHERE rngtypid = " + id).at(0));
    } else if (kind == 'm') {
      shape.kind = Kind::kMultirange;
      shape.of.oid = number(column("SELECT rngtypid FROM pg_range WHERE rngmultitypid = " + id).at(0));
    } else if (field(1) == "A" && field(7) == "-1") {
      shape.kind = Kind::kArray;
      shape.of.oid = number(field(2));
      shape.delimiter = field(6)[0];
    } else if (field(1) == "S") {
      shape.kind = Kind::kText;
    }
    return shape;
  }
  mutable std::map<uint32_t, TypeShape> shapes_;
};

struct Value {
  bool is_null = false;
  std::string bytes{};
};

// One value through a masker of rows.
Value masked(RowMasker& masker, const Value& value, const std::string& what) {
  std::string body;
  append_be<int16_t>(body, 1);
  append_be<int32_t>(body, value.is_null ? -1 : static_cast<int32_t>(value.bytes.size()));
  body += value.bytes;
  std::string out;
  switch (masker.mask_row(bytes_of(body), out)) {
    case RowOutcome::kUnchanged:
      return value;
    case RowOutcome::kMasked:
      break;
    default:
      fail(what, "row refused");
      return value;
  }
  const auto size = load_be<int32_t>(std::string_view(out).substr(7));
  if (load_be<int32_t>(std::string_view(out).substr(1)) + 1 != static_cast<int32_t>(out.size()) ||
      (size >= 0 && out.size() != 11 + static_cast<size_t>(size)))
    fail(what, "lengths are wrong");
  return {.is_null = size < 0, .bytes = out.substr(11)};
}

// The value as the server shows it in text.
bool give_back(const Value& value, Oid type, int format, const std::string& what, std::string& shown) {
  const char* parameter = value.is_null ? nullptr : value.bytes.c_str();
  const int size = static_cast<int>(value.bytes.size());
  const Result result(PQexecParams(connection, "SELECT $1", 1, &type, &parameter, &size, &format, 0));
  ++checks;
  if (PQresultStatus(result.get()) != PGRES_TUPLES_OK) {
    fail(what, std::string(PQerrorMessage(connection)) + " <- " + (format == 0 ? value.bytes : "(binary)"));
    return false;
  }
  shown = PQgetisnull(result.get(), 0, 0) != 0 ? "NULL" : PQgetvalue(result.get(), 0, 0);
  return true;
}

struct Expression {
  const char* text;
  bool keeps_value = false;     // a masked value may be equal to the clear one: bool, empty, or nothing to hide
  bool formats_differ = false;  // text tells less than binary: money, styles
};

constexpr Expression kExpressions[] = {
    {"true", true},
    {"false", true},
    {"'\\x6f6b00ff'::bytea"},
    {"''::bytea", true},
    {"'x'::\"char\""},
    {"'pg_class'::name"},
    {"0::int2", true},
    {"(-32768)::int2"},
    {"32767::int2"},
    {"12::int2"},
    {"2147483647::int4"},
    {"(-2147483648)::int4"},
    {"123456789::int4"},
    {"7::int4"},
    {"9223372036854775807::int8"},
    {"(-9223372036854775808)::int8"},
    {"4111111111111111::int8"},
    {"0::int8", true},
    {"'1 2 3'::int2vector"},
    {"'4 5'::oidvector"},
    {"'now'::regproc"},
    {"'ada@example.org'::text"},
    {"''::text"},
    {"'4111 1111 1111 1111'::text"},
    {"'Grüße, Welt'::text"},
    {"'a\"b\\c'::text"},
    {"'ada@example.org'::varchar(10)"},
    {"'Ада'::varchar(4)"},
    {"'abc'::char(5)"},
    {"'Łódź'::char(20)"},
    {"'x'::char(1)"},
    {"12345::oid"},
    {"'(3,4)'::tid"},
    {"'55'::xid"},
    {"'66'::cid"},
    {"'77'::xid8"},
    {"'{\"a\": [1, \"x\", null, true, -1.5e3, {\"b\": \"\\u0041\\n\"}]}'::json"},
    {"'\"s\"'::json"},
    {"'12'::jsonb"},
    {"'{\"mail\": \"ada@example.org\", \"n\": 4111111111111111, \"k\\\"e\": [\"a\\\\b\"]}'::jsonb"},
    {"'[]'::jsonb", true},
    {"'null'::jsonb", true},
    {"'$.a[*]'::jsonpath"},
    {"'<a>b</a>'::xml"},
    {"'(1,2)'::point"},
    {"'[(1,2),(3,4)]'::lseg"},
    {"'((1,2),(3,4))'::path"},
    {"'[(1,2),(3,4)]'::path"},
    {"'(1,2),(3,4)'::box"},
    {"'((1,2),(3,4),(5,6))'::polygon"},
    {"'{1,2,3}'::line"},
    {"'<(1,2),3>'::circle"},
    {"1.5::float4"},
    {"'NaN'::float4"},
    {"'-Infinity'::float8"},
    {"1234.5678::float8"},
    {"1e300::float8", true},
    {"12.34::money", false, true},
    {"(-1234567.89)::money", false, true},
    {"'08:00:2b:01:02:03'::macaddr"},
    {"'08:00:2b:01:02:03:04:05'::macaddr8"},
    {"'192.168.1.77'::inet"},
    {"'10.1.2.3/8'::inet"},
    {"'2001:db8::1'::inet"},
    {"'10.1.0.0/16'::cidr", true},
    {"'2001:db8::/32'::cidr", true},
    {"'2024-05-06'::date"},
    {"'0044-03-15 BC'::date"},
    {"'infinity'::date"},
    {"'12345-01-02'::date"},
    {"'07:08:09.123456'::time"},
    {"'24:00:00'::time"},
    {"'2024-05-06 07:08:09.5'::timestamp"},
    {"'-infinity'::timestamp"},
    {"'0044-03-15 12:00 BC'::timestamp"},
    {"'2024-05-06 07:08:09+02'::timestamptz"},
    {"'1883-11-18 12:03:57-04:56:02'::timestamptz"},
    {"'1 year 2 mons 3 days 04:05:06'::interval"},
    {"'07:08:09+05:30'::timetz"},
    {"B'10110'"},
    {"B'10110'::bit(5)"},
    {"B'101101011011010110110101101101011'::varbit"},
    {"1234.5600::numeric"},
    {"(-0.00012)::numeric"},
    {"'NaN'::numeric"},
    {"'Infinity'::numeric"},
    {"12345678901234567890123456789012345678901234567890.123::numeric"},
    {"1234.56::numeric(6,2)"},
    {"99::numeric(2,0)"},
    {"100000::numeric", true},
    {"0.5::numeric(2,2)"},
    {"4111111111111111::numeric(16)"},
    {"'pg_class'::regclass"},
    {"'int4'::regtype"},
    {"'postgres'::regrole"},
    {"'6f6b6f6b-1234-4567-89ab-0123456789ab'::uuid"},
    {"'16/B374D848'::pg_lsn"},
    {"'a fat cat'::tsvector"},
    {"'a & b'::tsquery"},
    {"'english'::regconfig"},
    {"pg_current_snapshot()"},
    {"'10:20:10,14'::txid_snapshot"},
    {"'[1,10)'::int4range"},
    {"'empty'::int4range", true},
    {"'(,5]'::int8range"},
    {"'[1.5,2000.25]'::numrange"},
    {"'[2024-01-15,2024-05-06)'::daterange"},
    {"'[2024-01-01 01:02:03,2024-05-06)'::tsrange"},
    {"'[2024-01-01 01:02:03+00,)'::tstzrange"},
    {"'{[1,3),[5,9)}'::int4multirange"},
    {"'{}'::nummultirange", true},
    {"ARRAY[1,NULL,300000]"},
    {"ARRAY[[1,2],[3,4]]::int8[]"},
    {"'[0:1][-1:0]={{a,\"b c\"},{\"d\\\"e\",NULL}}'::text[]"},
    {"'{}'::text[]", true},
    {"ARRAY['ada@example.org','x,y','']::varchar(5)[]"},
    {"ARRAY['2024-05-06'::date]"},
    {"ARRAY['(1,2),(3,4)'::box,'(5,6),(7,8)']"},
    {"ARRAY['a'::char(3)]"},
    {"ARRAY['{\"a\":1}'::jsonb]"},
    {"ARRAY['[1,5)'::int4range]"},
    {"ARRAY[1.25,NULL]::numeric[]"},
    {"ARRAY['<a/>'::xml]"},
    {"ARRAY['2024-05-06 01:02:03+00'::timestamptz]"},
    {"ARRAY['\\x00ff'::bytea]"},
    {"ARRAY['08:00:2b:01:02:03'::macaddr]"},
    {"'sad'::masked.mood", true},
    {"ARRAY['sad','ok']::masked.mood[]"},
    {"'ada@example.org'::masked.mail"},
    {"12::masked.small"},
    {"ROW(1,'ada, \"the\" (first)','2024-05-06','sad',NULL,'{a,b}')::masked.person"},
    {"ARRAY[ROW(1,'x\\y','2024-05-06','ok',1.5,NULL)::masked.person]"},
    {"'[1.5,2.5]'::masked.floats"},
    {"ROW(ROW(1,'a','2024-05-06','ok',1.5,NULL)::masked.person,'{\"(1,a,2024-05-06,ok,1.5,)\"}')::masked.team"},
    {"'ada@example.org'::masked.bounded"},
    {"'abc'::refcursor"},
    {"NULL::int4", true},
    {"NULL::text", true},
};
constexpr const char* kTextOnly[] = {"ROW(1,'ada','2024-05-06'::date)", "ROW('ada@example.org', ARRAY[1,2])"};

void prepare() {
  query("DROP SCHEMA IF EXISTS masked CASCADE");
  query("CREATE SCHEMA masked");
  query("CREATE TYPE masked.mood AS ENUM ('sad', 'ok', 'it''s \"fine\"')");
  query("CREATE DOMAIN masked.mail AS text");
  query("CREATE DOMAIN masked.bounded AS varchar(7)");
  query("CREATE DOMAIN masked.small AS int2");
  query(
      "CREATE TYPE masked.person AS (id int, name varchar(30), born date, mood masked.mood, pay numeric(8,2), tags "
      "text[])");
  query("CREATE TYPE masked.team AS (lead masked.person, others masked.person[])");
  query("CREATE TYPE masked.floats AS RANGE (subtype = float8)");
  query("SET timezone = 'UTC'");
}

void check(const Expression& expression, const ServerTypes& types, const std::shared_ptr<const MaskKey>& key) {
  const std::string select = std::string("SELECT ") + expression.text;
  const Result as_text = query(select, 0), as_binary = query(select, 1);
  const Oid type = PQftype(as_text.get(), 0);
  const bool is_null = PQgetisnull(as_text.get(), 0, 0) != 0;
  const std::string clear = PQgetvalue(as_text.get(), 0, 0);
  for (size_t method = 0; method < kMethodCount; ++method) {
    for (const bool whole : {false, true}) {
      for (const bool nulls_too : {false, true}) {
        if (nulls_too && !is_null) continue;
        std::string shown[2];
        bool done = true;
        for (int format = 0; format < 2; ++format) {
          const std::string what = std::string(expression.text) + " " +
                                   std::string(name_of(static_cast<Method>(method))) + (whole ? " whole" : "") +
                                   (format == 0 ? " text" : " binary");
          const FieldType field{.oid = type, .typmod = PQfmod(as_text.get(), 0), .is_binary = format == 1};
          const ColumnPlan plan{.method = static_cast<Method>(method), .whole = whole, .nulls_too = nulls_too};
          RowMasker masker({.keys = {key}, .columns = {plan}}, {&field, 1}, &types);
          const PGresult* from = format == 0 ? as_text.get() : as_binary.get();
          const Value value{.is_null = is_null,
                            .bytes = std::string(PQgetvalue(from, 0, 0), static_cast<size_t>(PQgetlength(from, 0, 0)))};
          const Value after = masked(masker, value, what);
          if (is_null && !nulls_too && !after.is_null) fail(what, "NULL did not stay");
          done = give_back(after, type, format, what, shown[format]) && done;
          if (method != static_cast<size_t>(Method::kNull) && !is_null && after.is_null) {
            ++nulled;
            fail(what, "became NULL");
          }
          if (!is_null && !expression.keeps_value && shown[format] == clear && !clear.empty())
            fail(what, "stays " + clear);
        }
        if (done && !expression.formats_differ && shown[0] != shown[1]) {
          ++unequal;
          fail(std::string(expression.text) + " " + std::string(name_of(static_cast<Method>(method))),
               "text became " + shown[0] + ", binary " + shown[1]);
        }
      }
    }
  }
}

// Styles of dates other than ISO: text must stay what the server reads in that style.
void check_styles(const ServerTypes& types, const std::shared_ptr<const MaskKey>& key) {
  constexpr const char* kTimes[] = {"'2024-05-06'::date",        "'2024-12-17 07:37:16.5'::timestamp",
                                    "'0044-03-15 BC'::date",     "'2024-12-17 07:37:16.5+00'::timestamptz",
                                    "'1 year 2 days'::interval", "'07:08:09+02'::timetz"};
  for (const char* style : {"SQL, DMY", "SQL, MDY", "German", "Postgres, DMY", "Postgres, MDY", "ISO, YMD"}) {
    for (const char* interval : {"postgres", "postgres_verbose", "sql_standard", "iso_8601"}) {
      query(std::string("SET datestyle = '") + style + "'");
      query(std::string("SET intervalstyle = '") + interval + "'");
      for (const char* zone : {"UTC", "America/New_York", "Asia/Kolkata"}) {
        query(std::string("SET timezone = '") + zone + "'");
        for (const char* expression : kTimes) {
          for (const Method method : {Method::kRedact, Method::kPartial, Method::kHash, Method::kBucket}) {
            const std::string what = std::string(expression) + " " + style + " " + interval + " " + zone;
            const Result result = query(std::string("SELECT ") + expression);
            const FieldType field{.oid = PQftype(result.get(), 0)};
            RowMasker masker({.keys = {key}, .columns = {{.method = method}}}, {&field, 1}, &types);
            std::string shown;
            const Value after = masked(masker, {.bytes = PQgetvalue(result.get(), 0, 0)}, what);
            // Accepted, and written as the server writes it in this style: what a client's parser is made for.
            if (give_back(after, field.oid, 0, what, shown) && std::strcmp(style, "ISO, YMD") != 0 &&
                method != Method::kHash && std::string(expression).find("interval") == std::string::npos &&
                std::string(expression).find("timetz") == std::string::npos && shown.size() != after.bytes.size() &&
                method == Method::kRedact && std::string(expression).find(".5") == std::string::npos)
              fail(what, "shown as " + shown + ", sent " + after.bytes);
          }
        }
      }
    }
  }
  query("SET datestyle = 'ISO, MDY'");
  query("SET intervalstyle = 'postgres'");
  query("SET timezone = 'UTC'");
  query("SET bytea_output = 'escape'");
  check({"'\\x6f5c6b00ff41'::bytea"}, types, key);
  query("SET bytea_output = 'hex'");
}

}  // namespace

int main() {
  connection = PQconnectdb("");
  if (PQstatus(connection) != CONNECTION_OK) {
    std::fprintf(stderr, "masks_on_server: %s", PQerrorMessage(connection));
    return 2;
  }
  PQsetNoticeProcessor(connection, [](void*, const char*) {}, nullptr);
  prepare();
  const auto key = std::make_shared<const MaskKey>(MasterKey::parse("0123456789abcdef0123456789ABCDEF")->derive("m"));
  const ServerTypes types;
  for (const Expression& expression : kExpressions) check(expression, types, key);
  for (const char* expression : kTextOnly) {
    // The server reads no row of unknown type; what is masked must be one that it would have written.
    const Result result = query(std::string("SELECT ") + expression);
    const FieldType field{.oid = PQftype(result.get(), 0)};
    RowMasker masker({.keys = {key}, .columns = {{.method = Method::kPartial}}}, {&field, 1}, &types);
    const Value after = masked(masker, {.bytes = PQgetvalue(result.get(), 0, 0)}, expression);
    if (after.is_null || after.bytes.find("ada@") != std::string::npos || after.bytes.front() != '(')
      fail(expression, after.bytes);
  }
  check_styles(types, key);
  query("DROP SCHEMA masked CASCADE");
  PQfinish(connection);
  std::printf("%zu values given back, %zu failures, %zu became NULL, %zu differ between formats\n", checks, failures,
              nulled, unequal);
  return failures == 0 ? 0 : 1;
}
