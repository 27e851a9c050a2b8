// SPDX-License-Identifier: Apache-2.0
#include "tests/sql/lineage_maker.h"

#include <iterator>

namespace gatehouse::test {
namespace {

struct Table {
  std::string_view name;
  std::vector<std::string_view> columns;
};
const Table kTables[] = {
    {"customers", {"id", "label", "email", "ssn", "pin", "extra", "tags", "created", "email_host"}},
    {"customers", {"id", "label", "email", "ssn", "pin", "extra", "tags", "created", "email_host"}},
    {"orders", {"order_id", "id", "total", "memo"}},
    {"people", {"id", "label", "ssn"}},
    {"ONLY people", {"id", "label", "ssn"}},
    {"staff", {"id", "label", "ssn", "grade"}},
    {"events", {"id", "secret", "kind"}},
    {"events_a", {"id", "secret", "kind"}},
    {"v_plain", {"id", "label"}},
    {"v_mail", {"id", "contact", "shout"}},
    {"v_nested", {"c", "memo", "id"}},
    {"v_row", {"whole", "id"}},
    {"v_union", {"id", "x"}},
    {"m_mail", {"id", "liame", "label"}},
    {"defaulted", {"id", "d", "e"}},
    {"sink", {"a", "b", "n"}},
    {"mail_of(1)", {"mail_of"}},
    {"rows_of()", {"id", "label", "email", "ssn", "pin", "extra", "tags", "created", "email_host"}},
    {"pairs()", {"who", "what", "safe"}},
    {"outs()", {"p", "q"}},
    {"pl_rows()", {"id", "label", "ssn"}},
    {"generate_series(1, 2)", {"generate_series"}},
    {"unnest(ARRAY['a', 'b'])", {"unnest"}},
    {"pg_catalog.pg_class", {"relname", "relkind"}},
    {"(VALUES ('v1', 'v2'), ('v3', 'v4'))", {"column1", "column2"}},
};

// $ is a text, ~ another, ? a condition.
constexpr std::string_view kValues[] = {
    "upper($)",
    "lower($)",
    "reverse($)",
    "initcap($)",
    "substr($, 1, 5)",
    "left($, 6)",
    "right($, 6)",
    "$ || ~",
    "concat($, ~)",
    "concat_ws('-', $, ~)",
    "format('%s/%s', $, ~)",
    "coalesce($, ~)",
    "nullif($, ~)",
    "CASE WHEN ? THEN $ ELSE ~ END",
    "greatest($, ~)",
    "least($, ~)",
    "(ARRAY[$, ~])[1]",
    "ARRAY[$, ~]::text",
    "ROW($, ~)::text",
    "(ROW($, ~)).f1",
    "to_json($)::text",
    "quote_literal($)",
    "translate($, 'qkzvjw', '@[!]&{')",
    "regexp_replace($, 'a', 'b')",
    "split_part($, '-', 1)",
    "md5($)",
    "encode(convert_to($, 'UTF8'), 'hex')",
    "encode(convert_to($, 'UTF8'), 'base64')",
    "lpad($, 30, '.')",
    "overlay($ placing 'ab' from 2 for 1)",
    "repeat($, 2)",
    "replace($, 'a', 'b')",
    "(SELECT $)",
    "(SELECT max($))",
    "(SELECT string_agg($, ','))",
    "array_to_string(ARRAY(SELECT $), ',')",
    "json_build_object('a', $, 'b', ~)::text",
    "jsonb_build_array($, ~) ->> 0",
    "row_to_json(ROW($, ~))::text",
    "xmlforest($ AS a)::text",
    "xmlelement(name e, $)::text",
    "ident($)",
    "pl_of($)",
    "mail_of(1)",
    "pl_reads(1)",
    "pl_dynamic('customers')",
    "nothing(1)",
    "glue($, ~)",
    "$ ## ~",
    "$ #? ~",
    "atomic_mail(2)",
    "stores($)::text",
    "stores_sql($)",
    "constant_leak()",
    "lag($) OVER (ORDER BY 1)",
    "first_value($) OVER (ORDER BY ~)",
    "count(*) OVER (PARTITION BY $)::text",
    "CAST($ AS varchar(9))",
    "$::varchar",
    "$ COLLATE \"C\"",
    "($ IS NULL)::text",
    "($ = ~)::text",
    "length($)::text",
    "pg_typeof($)::text",
    "coalesce(NULL, $)",
    "(SELECT x FROM (VALUES ($), (~)) v(x) LIMIT 1)",
    "(SELECT u FROM unnest(ARRAY[$, ~]) u LIMIT 1)",
    "(string_to_array($, '-'))[1]",
    "encode(sha256(convert_to($, 'UTF8')), 'hex')",
    "trim(both 'a' from $)",
    "substring($ from 2 for 5)",
    "starts_with($, 'q')::text",
    "to_jsonb(ARRAY[$]) ->> 0",
    "(SELECT (c).ssn FROM customers c LIMIT 1)",
    "((SELECT c FROM customers c LIMIT 1)).email::text",
    "(ROW(1, $, ~)::people).ssn",
    "(jsonb_populate_record(NULL::people, jsonb_build_object('ssn', $))).ssn",
    "(ident(ROW(1, $, ~)::people)).label",
    "(SELECT secret(c) FROM customers c LIMIT 1)",
    "(SELECT c.secret FROM customers c LIMIT 1)",
    "(SELECT email(c)::text FROM customers c LIMIT 1)",
    "(SELECT max(label(c)) FROM customers c)",
    "concat(VARIADIC ARRAY[$, ~])",
    "query_to_xml('SELECT email FROM l.customers', true, false, '')::text",
    "(SELECT histogram_bounds::text FROM pg_stats WHERE tablename = 'customers' AND attname = 'ssn' LIMIT 1)",
    "set_config('my.x', $, true)",
    "coalesce(current_setting('my.x', true), $)",
    "$::l.address::text",
    "convert_from(lo_get(lo_from_bytea(0, convert_to($, 'UTF8'))), 'UTF8')",
    "(ARRAY[ARRAY[$], ARRAY[~]])[1][1]",
    "(SELECT (p).what FROM (SELECT pairs() AS p) s LIMIT 1)",
    "(SELECT what FROM pairs() LIMIT 1)",
    "(SELECT safe FROM pairs() LIMIT 1)",
    "(SELECT string_agg(x, '') FROM regexp_split_to_table($, '') x)",
    "(SELECT string_agg(value, ',') FROM jsonb_each_text(jsonb_build_object('k', $)))",
    "(SELECT v FROM json_to_record(json_build_object('v', $)) AS t(v text))",
    "(SELECT max(x.a) FROM XMLTABLE('/r' PASSING xmlelement(name r, $) COLUMNS a text PATH '.') x)",
    "(SELECT max(ssn) FROM unnest((SELECT array_agg(p) FROM people p)) u)",
    "(WITH q AS (SELECT $ AS z) SELECT z FROM q)",
    "(VALUES ($))",
    "(SELECT string_agg(chr(ascii(substr($, i, 1))), '') FROM generate_series(1, 20) i)",
    "encode(decode(encode(convert_to($, 'UTF8'), 'hex'), 'hex'), 'escape')",
    "quote_ident($)",
    "json_object(ARRAY['k', $])::text",
    "(xpath('/e/text()', xmlelement(name e, $)))[1]::text",
    "(SELECT min(x) FROM (SELECT $ AS x UNION SELECT ~) u)",
    "coalesce((SELECT $ WHERE ?), ~)",
    "(SELECT ssn FROM people NATURAL JOIN v_plain LIMIT 1)",
    "(SELECT p.ssn FROM people p RIGHT JOIN (VALUES (1)) v(id) USING (id) LIMIT 1)",
    "(SELECT x FROM mail_of(1) AS x)",
    "(SELECT ordinality::text || a FROM ROWS FROM (mail_of(1), generate_series(1, 2)) WITH ORDINALITY AS r(a, b) LIMIT "
    "1)",
    "(SELECT j.q FROM (people a CROSS JOIN (SELECT 1 AS one) b) AS j(p, o, q) LIMIT 1)",
    "(SELECT j.o FROM (people a CROSS JOIN (SELECT 1 AS one) b) AS j(p, o, q) LIMIT 1)",
    "(SELECT ju.id::text || a.ssn FROM people a JOIN v_plain b USING (id) AS ju LIMIT 1)",
    "(SELECT l.y FROM (SELECT $ AS y) o, LATERAL (SELECT o.y || '+' AS y) l)",
    "(SELECT a FROM sink LIMIT 1)",
    "(SELECT max(x) FROM unnest(string_to_array($, NULL), ARRAY[~]) AS u(x, y))",
    "(SELECT max(q.e) FROM (SELECT *, ssn || '.' AS e FROM people) q)",
    "jsonb_pretty(to_jsonb($))",
    "(SELECT r.f1 FROM (SELECT ROW($, ~) AS r) z, LATERAL json_to_record(row_to_json(z.r)) AS r(f1 text))",
    "(SELECT (w.whole).email::text FROM v_row w LIMIT 1)",
    "(SELECT w.whole::text FROM v_row w LIMIT 1)",
    "(SELECT string_agg(k, '') FROM (SELECT jsonb_object_keys(jsonb_build_object($, 1)) AS k) o)",
    "array_agg($) OVER ()::text",
};
// Where rows are grouped.
constexpr std::string_view kAggregates[] = {
    "string_agg($, ',')",
    "max($)",
    "min($)",
    "array_agg($)::text",
    "json_agg($)::text",
    "jsonb_object_agg($, ~)::text",
    "count($)::text",
    "count(*)::text",
    "gather($)",
    "string_agg($, ',' ORDER BY ~)",
    "count(DISTINCT $)::text",
    "max($) FILTER (WHERE ?)",
    "mode() WITHIN GROUP (ORDER BY $)",
    "percentile_disc(0.5) WITHIN GROUP (ORDER BY $)",
    "xmlagg(xmlelement(name e, $))::text",
    "bool_or($ IS NULL)::text",
    "(array_agg($))[1]",
};

template <typename T, size_t N>
const T& pick(Dice& dice, const T (&from)[N]) {
  return from[dice.below(N)];
}

}  // namespace

std::string LineageMaker::name() {
  return "n" + std::to_string(++names_);
}

// Of some table in sight, as it is.
std::string LineageMaker::column(const Scope& scope) {
  if (scope.empty()) return "'c'";
  const Item& item = scope[dice_.below(scope.size())];
  if (item.columns.empty()) return "'d'";
  return item.name + "." + item.columns[dice_.below(item.columns.size())];
}

// A text.
std::string LineageMaker::value(size_t depth, const Scope& scope) {
  if (depth == 0 || dice_.one_in(3)) {
    if (scope.empty() || dice_.one_in(8)) return dice_.one_in(2) ? "'t'::text" : "'u'::text";
    return column(scope) + "::text";
  }
  if (dice_.one_in(12)) return "(" + query(depth - 1, scope, 1) + " LIMIT 1)";
  if (dice_.one_in(12) && !scope.empty()) {
    const Item& item = scope[dice_.below(scope.size())];
    static constexpr std::string_view kRows[] = {"$::text",          "row_to_json($)::text",      "to_jsonb($)::text",
                                                 "to_json($)::text", "json_agg($) OVER ()::text", "concat($)",
                                                 "format('%s', $)"};
    std::string out(dice_.pick(kRows));
    out.replace(out.find('$'), 1, item.name);
    return out;
  }
  std::string out;
  for (const std::string_view made = pick(dice_, kValues); const char c : made) {
    if (c == '$' || c == '~')
      out += value(depth - 1, scope);
    else if (c == '?')
      out += condition(depth - 1, scope);
    else
      out += c;
  }
  return out;
}

std::string LineageMaker::condition(size_t depth, const Scope& scope) {
  switch (dice_.below(5)) {
    case 0:
      return value(depth, scope) + " IS NOT NULL";
    case 1:
      return value(depth, scope) + " <> 'zz'";
    case 2:
      return depth > 0 ? "EXISTS (" + query(depth - 1, scope, 1) + ")" : "true";
    default:
      return "true";
  }
}

LineageMaker::From LineageMaker::table() {
  if (!common_tables_.empty() && dice_.one_in(3)) {
    const Item& item = common_tables_[dice_.below(common_tables_.size())];
    Item made{.name = name(), .columns = item.columns};
    return {.text = item.name + " AS " + made.name, .scope = {made}};
  }
  const Table& chosen = pick(dice_, kTables);
  Item item{.name = name(), .columns = {chosen.columns.begin(), chosen.columns.end()}};
  const bool is_function = chosen.columns.size() == 1 && chosen.name.find('(') != chosen.name.npos;
  std::string text = std::string(chosen.name) + " AS " + item.name;
  if (is_function) item.columns = {item.name};
  if (dice_.one_in(6)) {
    text += "(";
    for (size_t i = 0; i < item.columns.size(); ++i) {
      item.columns[i] = "k" + std::to_string(i);
      text += (i == 0 ? "" : ", ") + item.columns[i];
    }
    text += ")";
  }
  if (is_function) item.has_row = false;
  return {.text = text, .scope = {item}};
}

LineageMaker::From LineageMaker::source(size_t depth, const Scope& before) {
  if (depth == 0 || !dice_.one_in(3)) return table();
  const size_t count = 1 + dice_.below(3);
  const bool is_lateral = !before.empty() && dice_.one_in(3);
  Item item{.name = name(), .columns = {}};
  for (size_t i = 0; i < count; ++i) item.columns.push_back("c" + std::to_string(i));
  std::string text = is_lateral ? "LATERAL (" : "(";
  text += query(depth - 1, is_lateral ? before : Scope{}, count) + ") AS " + item.name + "(";
  for (size_t i = 0; i < count; ++i) text += (i == 0 ? "" : ", ") + item.columns[i];
  return {.text = text + ")", .scope = {item}};
}

LineageMaker::From LineageMaker::from(size_t depth, const Scope& outer) {
  From out = source(depth, outer);
  const size_t more = dice_.one_in(2) ? dice_.below(2) : 0;
  for (size_t i = 0; i < more; ++i) {
    const From next = source(depth == 0 ? 0 : depth - 1, {});
    static constexpr std::string_view kJoins[] = {" CROSS JOIN ",   ", ",         " LEFT JOIN ", " JOIN ",
                                                  " NATURAL JOIN ", " FULL JOIN "};
    const std::string_view join = dice_.pick(kJoins);
    out.text += std::string(join) + next.text;
    if (join == " LEFT JOIN " || join == " JOIN " || join == " FULL JOIN ") {
      const bool has_id = [&] {
        for (const Scope* scope : {static_cast<const Scope*>(&out.scope), &next.scope}) {
          bool found = false;
          for (const Item& item : *scope)
            for (const std::string& column : item.columns) found = found || column == "id";
          if (!found || scope->size() != 1) return false;
        }
        return true;
      }();
      out.text += has_id && dice_.one_in(2) ? " USING (id)" : " ON true";
    }
    out.scope.insert(out.scope.end(), next.scope.begin(), next.scope.end());
  }
  return out;
}

// A column of a result, whatever its type.
std::string LineageMaker::output(size_t depth, const Scope& scope) {
  const Item& item = scope[dice_.below(scope.size())];
  switch (dice_.below(12)) {
    case 0:
      return "*";
    case 1:
      return item.name + ".*";
    case 2:
      return item.has_row ? item.name : column(scope);
    case 3:
      return item.has_row ? "(" + item.name + ").*" : column(scope);
    case 4:
      return item.has_row ? "(" + item.name + ")." + item.columns[dice_.below(item.columns.size())] : column(scope);
    case 5:
      return item.columns[dice_.below(item.columns.size())];
    case 6:
    case 7:
      return column(scope);
    case 8:
      return column(scope) + " AS " + name();
    default:
      return value(depth, scope);
  }
}

std::string LineageMaker::query(size_t depth, const Scope& outer, size_t count) {
  if (depth > 0 && dice_.one_in(6)) {
    static constexpr std::string_view kOperations[] = {" UNION ", " UNION ALL ", " INTERSECT ", " EXCEPT "};
    const size_t columns = count == 0 ? 2 : count;
    return "(" + query(depth - 1, outer, columns) + ")" + std::string(dice_.pick(kOperations)) + "(" +
           query(depth - 1, outer, columns) + ")";
  }
  std::string text;
  const size_t tables_before = common_tables_.size();
  if (depth > 0 && dice_.one_in(5)) {
    Item table{.name = name(), .columns = {"w0", "w1"}};
    if (dice_.one_in(3)) {
      const std::string base = query(depth - 1, {}, 2);
      text = "WITH RECURSIVE " + table.name + "(w0, w1) AS (" + base + " UNION SELECT w1, upper(w0) FROM " +
             table.name + " WHERE length(w0) < 40 AND random() < 0.5) ";
    } else {
      text = "WITH " + table.name + "(w0, w1) AS (" + query(depth - 1, {}, 2) + ") ";
    }
    common_tables_.push_back(std::move(table));
  }
  const From sources = from(depth, outer);
  Scope scope = sources.scope;
  const bool is_grouped = dice_.one_in(6);
  if (!is_grouped && !outer.empty() && dice_.one_in(3)) scope.insert(scope.end(), outer.begin(), outer.end());
  text += "SELECT ";
  if (!is_grouped && dice_.one_in(10)) text += "DISTINCT ";
  const size_t outputs = count == 0 ? 1 + dice_.below(3) : count;
  for (size_t i = 0; i < outputs; ++i) {
    if (i > 0) text += ", ";
    if (is_grouped) {
      std::string made;
      for (const std::string_view chosen = pick(dice_, kAggregates); const char c : chosen) {
        if (c == '$' || c == '~')
          made += column(scope) + "::text";
        else if (c == '?')
          made += "true";
        else
          made += c;
      }
      text += made;
    } else {
      text += count == 0 ? output(depth, sources.scope) : value(depth, scope);
    }
  }
  text += " FROM " + sources.text;
  if (dice_.one_in(3)) text += " WHERE " + condition(depth == 0 ? 0 : depth - 1, scope);
  if (count == 0 && !is_grouped && dice_.one_in(6)) text += " ORDER BY 1";
  common_tables_.resize(tables_before);
  return text;
}

std::string LineageMaker::returning(const Item& item) {
  const Scope scope{item};
  std::string out = " RETURNING " + output(1, scope);
  return dice_.one_in(2) ? out + ", " + output(1, scope) : out;
}

std::string LineageMaker::change() {
  const Item customers{.name = "customers", .columns = {"id", "label", "email", "ssn", "pin", "extra"}};
  const Item sink{.name = "sink", .columns = {"a", "b"}};
  switch (dice_.below(17)) {
    case 0:
      return "UPDATE customers SET label = " + value(2, {customers}) + returning(customers);
    case 1:
      return "DELETE FROM customers" + returning(customers);
    case 2:
      return "INSERT INTO sink (a, b) " + query(2, {}, 2) + returning(sink);
    case 3:
      return "UPDATE sink SET a = c.email, b = " + value(1, {{.name = "c", .columns = customers.columns}}) +
             " FROM customers c" + returning(sink);
    case 4:
      return "INSERT INTO customers (id, label, email) VALUES (99, 'new', 'plain')" + returning(customers);
    case 5:
      return "WITH d AS (DELETE FROM customers" + returning(customers) + ") SELECT * FROM d";
    case 6:
      return "INSERT INTO watched (id, a) VALUES (1, 'w') RETURNING *";
    case 7:
      return "INSERT INTO customers (id, label, email) SELECT id, " +
             value(1, {{.name = "p", .columns = {"id", "label", "ssn"}}}) +
             ", 'xx' || p.label FROM people p ON CONFLICT (id) DO UPDATE SET label = excluded.email || customers.ssn" +
             returning(customers);
    case 8:
      return "UPDATE orders SET (memo, total) = (SELECT " + value(1, {customers}) +
             ", pin FROM customers LIMIT 1) RETURNING memo, total, order_id";
    case 9:
      return "WITH i AS (INSERT INTO sink " + query(1, {}, 2) + returning(sink) + ") SELECT * FROM i";
    case 10:
      return "MERGE INTO sink USING customers c ON sink.a = c.label WHEN NOT MATCHED THEN INSERT (a, b) VALUES (" +
             value(1, {{.name = "c", .columns = customers.columns}}) + ", 'm')";
    case 11:
      return "MERGE INTO sink USING people c ON sink.a = c.label WHEN NOT MATCHED THEN INSERT VALUES ('m', c.ssn, "
             "c.id)";
    case 12:
      return "DO $$ BEGIN INSERT INTO l.sink SELECT ssn FROM l.people; END $$";
    case 13:
      return "PREPARE pp AS " + query(1, {}, 2) + "; CREATE TABLE made AS EXECUTE pp";
    case 14:
      return "SELECT " + column({{.name = "c", .columns = customers.columns}}) + " INTO made FROM customers c";
    case 15:
      return "INSERT INTO defaulted (id) VALUES (7) RETURNING " + std::string(dice_.one_in(2) ? "*" : "id, d");
    default:
      return "INSERT INTO sink (a) SELECT label FROM customers ON CONFLICT DO NOTHING" + returning(sink);
  }
}

std::string LineageMaker::text() {
  names_ = 0;
  common_tables_.clear();
  const size_t depth = dice_.below(4);
  switch (dice_.below(14)) {
    case 0:
      return change();
    case 1:
      return "COPY (" + query(depth, {}, 0) + ") TO STDOUT";
    case 2: {
      static constexpr std::string_view kCopies[] = {"COPY customers TO STDOUT",
                                                     "COPY staff TO STDOUT (FORMAT csv, HEADER)",
                                                     "COPY customers (label, ssn) TO STDOUT CSV",
                                                     "COPY m_mail TO STDOUT",
                                                     "TABLE customers",
                                                     "COPY orders TO STDOUT",
                                                     "COPY events_b (kind, secret) TO STDOUT"};
      return std::string(dice_.pick(kCopies));
    }
    case 3:
      return "DECLARE cc CURSOR FOR " + query(depth, {}, 0) + "; FETCH ALL FROM cc";
    case 4:
      return "PREPARE pp AS " + query(depth, {}, 0) + "; EXECUTE pp";
    case 5:
      return (dice_.one_in(2) ? "EXPLAIN (VERBOSE) " : "EXPLAIN (ANALYZE, VERBOSE, TIMING off) ") + query(depth, {}, 0);
    case 6:
      return "CREATE TABLE made AS " + query(depth, {}, 2);
    case 7:
      return "INSERT INTO sink (a, b) " + query(depth, {}, 2);
    default:
      return query(depth, {}, 0);
  }
}

std::vector<std::string_view> harmless_queries() {
  return {
#include "tests/sql/harmless_queries.def"
  };
}

}  // namespace gatehouse::test
