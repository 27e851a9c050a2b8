// SPDX-License-Identifier: Apache-2.0
#include "agent/catalog/loader.h"

#include <atomic>
#include <charconv>
#include <utility>

#include "agent/catalog/queries.h"

namespace gatehouse::catalog {
namespace {

using sql::CatalogRows;
using sql::Oid;

// Not SQL, so that what it stands for is unknown.
constexpr std::string_view kUnreadable = "!";

class Loader {
 public:
  explicit Loader(Connection& connection) : connection_(connection) {}

  Result<CatalogRows> read() {
    GH_TRY(read_server_settings());
    GH_TRY(connection_.run(queries::kBegin).context("beginning to read"));
    GH_TRY(read_names());
    GH_TRY(read_relations());
    GH_TRY(read_behaviour());
    GH_TRY(read_functions());
    GH_TRY(read_types());
    GH_TRY(connection_.run("COMMIT"));
    static std::atomic<uint64_t> version{0};
    out_.version = ++version;
    return std::move(out_);
  }

 private:
  // One query: `add` is given each row, up to the limit.
  template <typename Add>
  Status each(std::string_view what, const std::string& query, size_t rows_max, Add add) {
    GH_ASSIGN(const Table table, connection_.query(query + " LIMIT " + std::to_string(rows_max + 1)).context(what));
    for (size_t row = 0; row < table.size(); ++row) {
      if (row == rows_max) {
        out_.missing.push_back(std::string(what) + " beyond the first " + std::to_string(rows_max));
        break;
      }
      add(table, row);
    }
    return {};
  }

  std::string sql_text(const Table& table, size_t row, int column) {
    const std::string_view text = table.text(row, column);
    if (text.size() > sql::kCatalogTextBytesMax) return std::string(kUnreadable);
    if (text_bytes_ + text.size() > sql::kCatalogTextsBytesMax) {
      if (!has_too_much_text_) out_.missing.emplace_back("texts of definitions: too many bytes");
      has_too_much_text_ = true;
      return std::string(kUnreadable);
    }
    text_bytes_ += text.size();
    return std::string(text);
  }

  static std::vector<Oid> oids(std::string_view text) {
    std::vector<Oid> out;
    while (!text.empty()) {
      const size_t end = std::min(text.find(' '), text.size());
      Oid value = 0;
      const std::string_view digits = text.substr(0, end);
      std::from_chars(digits.begin(), digits.end(), value);
      if (value != 0) out.push_back(value);
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
  }

  static std::vector<std::string> words(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
      const size_t end = std::min(text.find(','), text.size());
      out.emplace_back(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
  }

  // What the server prints of an array of texts, of one dimension and without NULLs: {a,"b c"}.
  static std::vector<std::string> array_items(std::string_view text) {
    std::vector<std::string> out;
    if (text.size() <= 2) return out;
    bool is_quoted = false;
    out.emplace_back();
    for (size_t i = 1; i + 1 < text.size(); ++i) {
      const char c = text[i];
      if (c == '"') {
        is_quoted = !is_quoted;
      } else if (c == ',' && !is_quoted) {
        out.emplace_back();
      } else {
        if (c == '\\') ++i;
        out.back() += text[i];
      }
    }
    return out;
  }

  static CatalogRows::KeyAction key_action(std::string_view letter) {
    if (letter == "c") return CatalogRows::KeyAction::kCascade;
    return letter == "n" || letter == "d" ? CatalogRows::KeyAction::kSet : CatalogRows::KeyAction::kCheck;
  }

  // Before the transaction, whose settings are the reader's own.
  Status read_server_settings() {
    GH_ASSIGN(const Table table, connection_.query(queries::kServerSettings).context("pg_settings"));
    for (size_t row = 0; row < table.size(); ++row)
      out_.settings.push_back({.name = std::string(table.text(row, 0)), .value = std::string(table.text(row, 1))});
    GH_ASSIGN(const Table name, connection_.query("SELECT current_database()"));
    out_.database = name.text(0, 0);
    return {};
  }

  Status read_names() {
    constexpr size_t kMax = sql::kCatalogRowsMax;
    GH_TRY(each("pg_roles", queries::kRoles, kMax, [&](const Table& t, size_t row) {
      out_.roles.push_back({.oid = t.number(row, 0), .name = std::string(t.text(row, 1))});
    }));
    GH_TRY(each("pg_namespace", queries::kSchemas, kMax, [&](const Table& t, size_t row) {
      out_.schemas.push_back({.oid = t.number(row, 0),
                              .owner = t.number(row, 1),
                              .name = std::string(t.text(row, 2)),
                              .is_usable_by_all = t.flag(row, 3)});
    }));
    return each("pg_db_role_setting", queries::kSettings, kMax, [&](const Table& t, size_t row) {
      const std::string_view text = t.text(row, 2);
      const size_t equals = text.find('=');
      out_.settings.push_back({.is_of_database = t.flag(row, 0),
                               .role = t.number(row, 1),
                               .name = std::string(text.substr(0, equals)),
                               .value = std::string(text.substr(equals + 1))});
    });
  }

  Status read_relations() {
    constexpr size_t kMax = sql::kCatalogRowsMax;
    GH_TRY(each("pg_class", queries::kRelations, sql::kCatalogRelationsMax, [&](const Table& t, size_t row) {
      out_.relations.push_back({.oid = t.number(row, 0),
                                .schema = t.number(row, 1),
                                .owner = t.number(row, 2),
                                .name = std::string(t.text(row, 3)),
                                .kind = t.text(row, 4)[0],
                                .foreign_wrapper = std::string(t.text(row, 5)),
                                .definition = sql_text(t, row, 6)});
    }));
    GH_TRY(each("pg_attribute", queries::kColumns, sql::kCatalogColumnsMax, [&](const Table& t, size_t row) {
      out_.columns.push_back({.relation = t.number(row, 0),
                              .type = t.number(row, 1),
                              .name = std::string(t.text(row, 2)),
                              .is_partition_key = t.flag(row, 3),
                              .attribute = static_cast<int16_t>(t.number(row, 4)),
                              .is_generated = t.flag(row, 5),
                              .expression = sql_text(t, row, 6)});
    }));
    GH_TRY(each("pg_inherits", queries::kInheritance, kMax, [&](const Table& t, size_t row) {
      out_.inheritance.push_back({.child = t.number(row, 0), .parent = t.number(row, 1)});
    }));
    GH_TRY(each("sequences", queries::kSequences, kMax, [&](const Table& t, size_t row) {
      out_.sequences.push_back({.sequence = t.number(row, 0), .relation = t.number(row, 1)});
    }));
    return each("foreign keys", queries::kForeignKeys, kMax, [&](const Table& t, size_t row) {
      out_.foreign_keys.push_back({.from = t.number(row, 0),
                                   .to = t.number(row, 1),
                                   .on_update = key_action(t.text(row, 2)),
                                   .on_delete = key_action(t.text(row, 3))});
    });
  }

  // What runs behind relations.
  Status read_behaviour() {
    constexpr size_t kMax = sql::kCatalogRowsMax;
    const auto add = [&](const Table& t, size_t row) {
      const std::string_view kind = t.text(row, 0);
      out_.expressions.push_back({.kind = kind == "p"   ? CatalogRows::Expression::Kind::kPolicy
                                          : kind == "d" ? CatalogRows::Expression::Kind::kDomain
                                                        : CatalogRows::Expression::Kind::kOnChange,
                                  .owner = t.number(row, 1),
                                  .text = sql_text(t, row, 2)});
    };
    GH_TRY(each("expressions", queries::kExpressions, kMax, add));
    if (connection_.server_version() >= queries::kStatisticsExpressionsSince)
      GH_TRY(each("pg_statistic_ext", queries::kStatisticsExpressions, kMax, add));
    GH_TRY(each("pg_trigger", queries::kTriggers, kMax, [&](const Table& t, size_t row) {
      out_.triggers.push_back({.relation = t.number(row, 0),
                               .function = t.number(row, 1),
                               .type = static_cast<uint16_t>(t.number(row, 2)),
                               .name = std::string(t.text(row, 3)),
                               .definition = sql_text(t, row, 4)});
    }));
    GH_TRY(each("pg_rewrite", queries::kRules, kMax, [&](const Table& t, size_t row) {
      out_.rules.push_back({.relation = t.number(row, 0),
                            .event = t.text(row, 1)[0],
                            .is_instead = t.flag(row, 2),
                            .has_condition = t.flag(row, 3),
                            .name = std::string(t.text(row, 4)),
                            .definition = sql_text(t, row, 5)});
    }));
    return each("pg_event_trigger", queries::kEventTriggers, kMax, [&](const Table& t, size_t row) {
      out_.event_triggers.push_back(
          {.function = t.number(row, 0), .name = std::string(t.text(row, 1)), .tags = words(t.text(row, 2))});
    });
  }

  Status read_functions() {
    GH_TRY(each("pg_proc", queries::kBuiltins, sql::kCatalogFunctionsMax, [&](const Table& t, size_t row) {
      CatalogRows::Function function;
      function.oid = t.number(row, 0);
      function.schema = t.number(row, 1);
      function.name = t.text(row, 2);
      function.result = t.number(row, 3);
      function.returns_set = t.flag(row, 4);
      function.argument_names = array_items(t.text(row, 5));
      function.argument_modes = t.text(row, 6);
      out_.functions.push_back(std::move(function));
    }));
    std::string query = queries::kFunctions;
    constexpr std::string_view kPlace = "@SQLBODY@";
    const bool has_sql_bodies = connection_.server_version() >= queries::kSqlBodySince;
    query.replace(query.find(kPlace), kPlace.size(), has_sql_bodies ? queries::kSqlBody : "NULL");
    return each("functions", query, sql::kCatalogFunctionsMax,
                [&](const Table& t, size_t row) { out_.functions.push_back(function_of(t, row)); });
  }

  CatalogRows::Function function_of(const Table& t, size_t row) {
    CatalogRows::Function out{.oid = t.number(row, 0),
                              .schema = t.number(row, 1),
                              .owner = t.number(row, 2),
                              .result = t.number(row, 3),
                              .name = std::string(t.text(row, 4)),
                              .language = std::string(t.text(row, 5)),
                              .kind = t.text(row, 6)[0],
                              .volatility = t.text(row, 7)[0],
                              .is_security_definer = t.flag(row, 8),
                              .is_of_extension = t.flag(row, 9),
                              .is_variadic = t.flag(row, 10),
                              .argument_count = static_cast<uint16_t>(t.number(row, 11)),
                              .default_count = static_cast<uint16_t>(t.number(row, 12)),
                              .argument_types = oids(t.text(row, 13))};
    if (!t.is_null(row, 14)) out.search_path = t.text(row, 14);
    out.is_sql_body = !t.is_null(row, 16);
    out.source = sql_text(t, row, out.is_sql_body ? 16 : 15);
    out.defaults = sql_text(t, row, 17);
    out.supports = oids(t.text(row, 18));
    out.returns_set = t.flag(row, 19);
    out.argument_names = array_items(t.text(row, 20));
    out.argument_modes = t.text(row, 21);
    return out;
  }

  Status read_types() {
    constexpr size_t kMax = sql::kCatalogRowsMax;
    GH_TRY(each("pg_type", queries::kTypes, kMax, [&](const Table& t, size_t row) {
      out_.types.push_back({.oid = t.number(row, 0),
                            .schema = t.number(row, 1),
                            .base = t.number(row, 2),
                            .element = t.number(row, 3),
                            .relation = t.number(row, 4),
                            .name = std::string(t.text(row, 5))});
    }));
    GH_TRY(each("pg_operator", queries::kOperators, kMax, [&](const Table& t, size_t row) {
      out_.operators.push_back({.function = t.number(row, 0),
                                .left = t.number(row, 1),
                                .right = t.number(row, 2),
                                .name = std::string(t.text(row, 3))});
    }));
    const auto hidden = [](const Table& t, size_t row) {
      return CatalogRows::Hidden{.function = t.number(row, 0), .left = t.number(row, 1), .right = t.number(row, 2)};
    };
    GH_TRY(each("pg_cast", queries::kCasts, kMax,
                [&](const Table& t, size_t row) { out_.casts.push_back(hidden(t, row)); }));
    return each("operator classes", queries::kOrders, kMax,
                [&](const Table& t, size_t row) { out_.orders.push_back(hidden(t, row)); });
  }

  Connection& connection_;
  CatalogRows out_;
  size_t text_bytes_ = 0;
  bool has_too_much_text_ = false;
};

}  // namespace

Result<CatalogRows> read_catalog(Connection& connection) {
  return Loader(connection).read();
}

Result<std::string> change_mark(Connection& connection) {
  GH_TRY(connection.run("BEGIN READ ONLY; SET LOCAL search_path = ''; SET LOCAL statement_timeout = '10s'"));
  GH_ASSIGN(const Table table, connection.query(queries::kMark).context("looking for changes"));
  GH_TRY(connection.run("COMMIT"));
  return std::string(table.text(0, 0));
}

}  // namespace gatehouse::catalog
