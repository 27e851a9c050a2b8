// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <utility>

#include "tests/sql/lineage_maker.h"

namespace gatehouse::test {
namespace {

// Of the letters of a marked column no other text has four together: e-mails are of q, z and j, numbers of k, v and w.
constexpr const char* kFixture = R"(
DROP SCHEMA IF EXISTS l CASCADE; CREATE SCHEMA l; SET search_path = l, public;
CREATE DOMAIN l.address AS text CHECK (length(value) > 3);
CREATE TABLE l.customers (id int PRIMARY KEY, label text, email l.address, ssn varchar(20), pin int, extra jsonb,
  tags text[],  created date DEFAULT '2020-01-01',
  email_host text GENERATED ALWAYS AS (split_part(email::text, '-', 2)) STORED);
CREATE TABLE l.orders (order_id int, id int, total int, memo text);
CREATE TABLE l.sink (a text, b text, n int DEFAULT 0);
CREATE TABLE l.people (id int, label text, ssn text);
CREATE TABLE l.staff (grade text) INHERITS (l.people);
CREATE TABLE l.events (id int, secret text, kind text) PARTITION BY LIST (kind);
CREATE TABLE l.events_a PARTITION OF l.events FOR VALUES IN ('a');
CREATE TABLE l.events_b PARTITION OF l.events DEFAULT;
INSERT INTO l.customers (id, label, email, ssn, pin, extra, tags) VALUES
  (1, 'one', 'qzjjqqzj-zzqjqz', 'kvwwkkvw-vvkw', 90871236, '{"card": "xyyxyxxyy", "n": 1}', '{red,blue}'),
  (2, 'two', 'zjqqjjqz-jzzqjj', 'wvkkwwvk-kvvw', 81729054, '{"card": "yxxyyyxyx", "n": 2}', '{green}');
INSERT INTO l.orders VALUES (10, 1, 100, 'first'), (11, 1, 200, 'second'), (12, 2, 300, 'third');
INSERT INTO l.people VALUES (1, 'anna', 'tprrtppt');
INSERT INTO l.staff VALUES (2, 'berta', 'rttprprt', 'chief');
INSERT INTO l.events VALUES (1, 'cgmmcggc', 'a'), (2, 'mcggmgcm', 'b');
CREATE VIEW l.v_plain AS SELECT id, label FROM l.customers;
CREATE VIEW l.v_mail AS SELECT id, email AS contact, upper(ssn) AS shout FROM l.customers;
CREATE VIEW l.v_nested AS SELECT v.contact || '!' AS c, o.memo, v.id FROM l.v_mail v JOIN l.orders o USING (id);
CREATE VIEW l.v_row AS SELECT c AS whole, c.id FROM l.customers c;
CREATE VIEW l.v_union AS SELECT id, email::text AS x FROM l.customers UNION ALL SELECT id, ssn FROM l.people;
CREATE MATERIALIZED VIEW l.m_mail AS SELECT id, reverse(email::text) AS liame, label FROM l.customers;
CREATE FUNCTION l.mail_of(i int) RETURNS text LANGUAGE sql STABLE AS
  'SELECT email::text FROM l.customers WHERE id = $1';
CREATE FUNCTION l.ident(x anyelement) RETURNS anyelement LANGUAGE sql AS 'SELECT $1';
CREATE FUNCTION l.rows_of() RETURNS SETOF l.customers LANGUAGE sql AS 'SELECT * FROM l.customers';
CREATE FUNCTION l.pairs() RETURNS TABLE (who int, what text, safe text) LANGUAGE sql AS
  'SELECT id, ssn::text, label FROM l.customers';
CREATE FUNCTION l.outs(OUT p text, OUT q int) LANGUAGE sql AS 'SELECT email::text, id FROM l.customers LIMIT 1';
CREATE FUNCTION l.pl_of(x text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN reverse(x); END';
CREATE FUNCTION l.pl_reads(i int) RETURNS text LANGUAGE plpgsql AS
  'DECLARE r record; BEGIN SELECT * INTO r FROM l.customers WHERE id = i; RETURN r.email || r.ssn; END';
CREATE FUNCTION l.pl_rows() RETURNS SETOF l.people LANGUAGE plpgsql AS
  'BEGIN RETURN QUERY SELECT * FROM l.people; END';
CREATE FUNCTION l.pl_dynamic(t text) RETURNS text LANGUAGE plpgsql AS
  'DECLARE r text; BEGIN EXECUTE ''SELECT email FROM l.'' || t || '' LIMIT 1'' INTO r; RETURN r; END';
CREATE FUNCTION l.stores(x text) RETURNS int LANGUAGE plpgsql AS
  'BEGIN INSERT INTO l.sink VALUES (x, ''stored''); RETURN 1; END';
CREATE FUNCTION l.stores_sql(x text) RETURNS text LANGUAGE sql AS
  'INSERT INTO l.sink VALUES ($1, ''stored'') RETURNING b';
CREATE FUNCTION l.label(c l.customers) RETURNS text LANGUAGE sql AS 'SELECT c.label';
CREATE FUNCTION l.secret(c l.customers) RETURNS text LANGUAGE sql AS 'SELECT ''<'' || c.ssn || ''>''';
CREATE FUNCTION l.nothing(i int) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN ''n'' || i; END';
CREATE FUNCTION l.glue(text, text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN $1 || ''/'' || $2; END';
CREATE OPERATOR l.## (LEFTARG = text, RIGHTARG = text, FUNCTION = l.glue);
CREATE FUNCTION l.peek(text, text) RETURNS text LANGUAGE sql AS
  'SELECT $1 || (SELECT max(email::text) FROM l.customers)';
CREATE OPERATOR l.#? (LEFTARG = text, RIGHTARG = text, FUNCTION = l.peek);
CREATE AGGREGATE l.gather(text) (SFUNC = textcat, STYPE = text, INITCOND = '');
CREATE FUNCTION l.constant_leak() RETURNS text LANGUAGE sql IMMUTABLE AS
  'SELECT max(email::text) FROM l.customers';
CREATE FUNCTION l.atomic_mail(i int) RETURNS text LANGUAGE sql AS
  'SELECT email::text FROM l.customers WHERE id = i';
CREATE TABLE l.defaulted (id int, d text DEFAULT l.constant_leak(), e text);
INSERT INTO l.defaulted (id, e) VALUES (1, 'plain');
CREATE FUNCTION l.on_sink() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN NEW.b := (SELECT max(ssn) FROM l.customers); RETURN NEW; END';
CREATE TABLE l.watched (id int, a text, b text);
CREATE TRIGGER g BEFORE INSERT ON l.watched FOR EACH ROW EXECUTE FUNCTION l.on_sink();
)";

std::string reversed(std::string_view text) {
  return {text.rbegin(), text.rend()};
}

std::string hexadecimal(std::string_view text) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

std::string small(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  return out;
}

}  // namespace

void make_lineage_fixture(Server& server) {
  server.query(kFixture);
}

Detector detector_of(Server& server) {
  std::vector<MarkedColumn> columns;
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kMarked{{{"customers", "email"},
                                                                                         {"customers", "ssn"},
                                                                                         {"customers", "pin"},
                                                                                         {"customers", "extra"},
                                                                                         {"people", "ssn"},
                                                                                         {"events", "secret"}}};
  for (const auto& [relation, column] : kMarked) {
    MarkedColumn& made = columns.emplace_back(MarkedColumn{.relation = relation, .column = column, .values = {}});
    const std::string what = column == "extra" ? "extra ->> 'card'" : std::string(column);
    for (const auto& row : server.query("SELECT " + what + " FROM l." + std::string(relation)))
      made.values.push_back(row[0]);
  }
  Detector out(std::move(columns));
  for (size_t i = 0; i < out.columns().size(); ++i)
    for (const std::string& value : out.columns()[i].values) {
      const Rows images = server.query("SELECT md5('" + value + "'), encode('" + value +
                                       "', 'base64'), encode(sha256('" + value + "'), 'hex')");
      for (const std::string& image : images[0]) out.add_whole(i, image);
    }
  return out;
}

Detector::Detector(std::vector<MarkedColumn> columns) : columns_(std::move(columns)) {
  for (size_t i = 0; i < columns_.size(); ++i)
    for (const std::string& value : columns_[i].values) {
      add(i, value);
      add(i, reversed(value));
      std::string translated = value;
      std::ranges::transform(translated, translated.begin(), [](char c) {
        static constexpr std::string_view kFrom = "qkzvjw", kTo = "@[!]&{";
        const size_t at = kFrom.find(c);
        return at == kFrom.npos ? c : kTo[at];
      });
      if (translated != value) add(i, translated);
      const std::string hex = hexadecimal(value);
      for (size_t at = 0; at + 2 * kPart <= hex.size(); at += 2) wholes_.emplace_back(hex.substr(at, 2 * kPart), i);
    }
  std::ranges::sort(parts_);
  parts_.erase(std::ranges::unique(parts_).begin(), parts_.end());
}

void Detector::add(size_t column, std::string_view image) {
  // Of digits more: they come by chance.
  const bool is_number = image.find_first_not_of("0123456789") == image.npos;
  const size_t part = is_number ? kNumberPart : kPart;
  for (const size_t size : {part, kLongPart})
    for (size_t at = 0; at + size <= image.size(); ++at) parts_.emplace_back(small(image.substr(at, size)), column);
}

void Detector::add_whole(size_t column, std::string_view image) {
  wholes_.emplace_back(small(image), column);
}

std::set<size_t> Detector::find(std::string_view text) const {
  std::set<size_t> out;
  const std::string low = small(text);
  // In a long text, such as a row in base64, four letters come together by chance.
  const size_t shortest = low.size() > kLongText ? kLongPart : kPart;
  for (size_t at = 0; at + shortest <= low.size(); ++at)
    for (const size_t size : {kPart, kNumberPart, kLongPart}) {
      if (size < shortest) continue;
      const auto part = std::string_view(low).substr(at, size);
      // What two columns share tells of neither.
      const auto [first, last] =
          std::ranges::equal_range(parts_, part, {}, [](const auto& entry) { return std::string_view(entry.first); });
      if (last - first == 1) out.insert(first->second);
    }
  for (const auto& [whole, column] : wholes_)
    if (low.find(whole) != low.npos) out.insert(column);
  return out;
}

}  // namespace gatehouse::test
