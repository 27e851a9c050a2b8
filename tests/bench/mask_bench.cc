// SPDX-License-Identifier: Apache-2.0
// What masks cost, one core: `mask_bench [rounds]`. The parts run in turn, round by round, so that what else the
// machine does falls on all of them; told are the median, the least and the most of the rounds, and the budget of each.
// The yardsticks look for the same forms without checksums: an RE2::Set, which says whether and not where, RE2 as one
// alternation with places, and Hyperscan with the beginnings of what it finds.
#include <hs/hs.h>
#include <re2/re2.h>
#include <re2/set.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "agent/mask/act.h"
#include "agent/mask/copy_masker.h"
#include "agent/mask/row_masker.h"
#include "agent/mask/scanner.h"

namespace {

using namespace gatehouse::mask;

constexpr size_t kTextBytes = size_t{4} << 20;
constexpr double kPartSeconds = 0.12;

constexpr const char* kPatterns[] = {
    R"([A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,})",
    R"(\b(?:[3-6]\d{3}[ -]?\d{4}[ -]?\d{4}[ -]?\d{4}|3[47]\d{2}[ -]?\d{6}[ -]?\d{5})\b)",
    R"(\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b)",
    R"(\b\d{3}-\d{2}-\d{4}\b)",
    R"(\+\d[\d ()-]{7,16}\d|\(\d{3}\) ?\d{3}-\d{4}|\b\d{3}[-.]\d{3}[-.]\d{4}\b)",
    R"((?:passport|reisepass|passeport)[^A-Z0-9]{1,16}[A-Z0-9]{7,10})",
    R"(\b(?:\d{3}\.\d{3}\.\d{3}-\d{2}|[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z]|\d{8}[A-Z]|[A-Z]{2}\d{6}[A-D]|)"
    R"(\d{6}-\d{4})\b)",
    R"(\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+)",
    R"(-----BEGIN [A-Z ]*PRIVATE KEY-----)",
    R"(\b(?:A[KS]IA[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{36}|xox[abprs]-[\w-]{20,}|[sr]k_live_\w{16,}|)"
    R"(AIza[\w-]{35}|sk-[\w-]{20,})\b)",
    R"(\b(?:\d{1,3}\.){3}\d{1,3}\b)",
    R"(\b(?:[0-9a-fA-F]{1,4}:){7}[0-9a-fA-F]{1,4}\b|\b[23][0-9a-fA-F]{3}:[0-9a-fA-F:]*::[0-9a-fA-F:]+)",
    R"((?:born|birth|dob)[^0-9]{1,16}\d{4}-\d{2}-\d{2})",
};

std::mt19937_64 source(1);
uint64_t below(uint64_t bound) {
  return source() % bound;
}
std::string digits(size_t count) {
  std::string text;
  while (text.size() < count) text.push_back(static_cast<char>('0' + below(10)));
  return text;
}
std::string with_luhn(std::string text) {
  unsigned sum = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned digit = static_cast<unsigned>(text[text.size() - 1 - i] - '0');
    if (i % 2 == 0) digit = digit * 2 > 9 ? digit * 2 - 9 : digit * 2;
    sum += digit;
  }
  return text + static_cast<char>('0' + (10 - sum % 10) % 10);
}
std::string word() {
  static constexpr std::string_view kWords[] = {"the",    "order",    "was",     "shipped", "to",  "customer",
                                                "and",    "returned", "because", "of",      "a",   "broken",
                                                "handle", "Please",   "see",     "notes",   "for", "details",
                                                "with",   "regards",  "from",    "support", "team"};
  return std::string(kWords[below(std::size(kWords))]);
}

std::string prose() {
  std::string text;
  while (text.size() < kTextBytes) text += word() + (below(12) == 0 ? ".\n" : " ");
  return text;
}
// Rows as applications have them: numbers, times, states, uuids, and no person.
std::string records() {
  std::string text;
  while (text.size() < kTextBytes) {
    text += digits(6) + "\t2024-0" + std::to_string(1 + below(9)) + "-1" + digits(1) + " 1" + digits(1) + ":3" +
            digits(1) + ":2" + digits(1) + "." + digits(6) + "\t" + digits(3) + "." + digits(2) +
            "\tshipped\t{\"sku\": \"A-" + digits(5) + "\", \"note\": \"" + word() + " " + word() + " " + word() + " " +
            word() + " " + word() + "\"}\n";
  }
  return text;
}
std::string email() {
  return word() + "." + word() + "@" + word() + ".example.org";
}
std::string full() {
  std::string text;
  while (text.size() < kTextBytes) {
    text += digits(5) + "\t" + word() + " " + word() + "\t" + email() + "\t" + with_luhn("4" + digits(14)) +
            "\t+1 415-555-" + digits(4) + "\t" + "12" + std::to_string(1 + below(8)) + "-4" + digits(1) + "-" +
            std::to_string(1000 + below(9000)) + "\tDE89370400440532013000\t10." + std::to_string(below(256)) +
            ".3.4\t" + word() + " " + word() + "\n";
  }
  return text;
}

struct Part {
  std::string name;
  const char* unit;
  double budget;                // 0: a yardstick
  std::function<double()> run;  // work done, in the unit
  std::vector<double> rates{};
};

// Of this thread's own processor time: others use the machine, too.
double now() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}
double seconds_of(const std::function<void()>& work) {
  const double begin = now();
  work();
  return now() - begin;
}

size_t kept;  // so that nothing is optimised away

double scanned(const std::string& text) {
  std::vector<Found> found;
  scan(text, DetectorSet::all(), {}, found);
  kept += found.size();
  return static_cast<double>(text.size()) / 1e9;
}
// As values are scanned: one by one.
struct Values {
  explicit Values(const std::string& text) : bytes(text.size()) {
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find_first_of("\t\n", at), text.size());
      values.push_back(std::string_view(text).substr(at, end - at));
      at = end + 1;
    }
  }
  std::vector<std::string_view> values{};
  size_t bytes;
};
double scanned_by_value(const Values& values) {
  std::vector<Found> found;
  for (const std::string_view value : values.values) {
    found.clear();
    scan(value, DetectorSet::all(), {}, found);
    kept += found.size();
  }
  return static_cast<double>(values.bytes) / 1e9;
}

struct Rows {
  std::vector<std::string> bodies{};
  std::vector<FieldType> fields{};
  ResultPlan plan{};
  size_t values = 0;
};
std::string body_of(const std::vector<std::string>& values) {
  std::string body;
  append_be(body, static_cast<uint16_t>(values.size()));
  for (const std::string& value : values) {
    append_be(body, static_cast<int32_t>(value.size()));
    body += value;
  }
  return body;
}
std::shared_ptr<const MaskKey> key() {
  static const auto made = std::make_shared<const MaskKey>(MasterKey::parse(std::string(32, 'k'))->derive("bench"));
  return made;
}
Rows rows_of(std::initializer_list<Method> methods, bool is_binary, std::initializer_list<uint32_t> oids) {
  Rows rows;
  rows.plan.keys = {key()};
  rows.values = methods.size();
  for (const Method method : methods) rows.plan.columns.push_back({.method = method});
  for (const uint32_t oid : oids) rows.fields.push_back({.oid = oid, .is_binary = is_binary});
  for (int i = 0; i < 1000; ++i) {
    std::vector<std::string> values;
    for (const uint32_t oid : oids) {
      std::string binary;
      switch (oid) {
        case 20:
          append_be<int64_t>(binary, static_cast<int64_t>(below(1ull << 50)));
          break;
        case 23:
          append_be<int32_t>(binary, static_cast<int32_t>(below(1u << 30)));
          break;
        case 1082:
          append_be<int32_t>(binary, static_cast<int32_t>(below(9000)));
          break;
        case 1114:
          append_be<int64_t>(binary, static_cast<int64_t>(below(1ull << 49)));
          break;
        case 2950:
          binary = std::string(16, static_cast<char>(below(256)));
          break;
        default:
          break;
      }
      if (is_binary && !binary.empty()) {
        values.push_back(binary);
      } else if (oid == 20 || oid == 23) {
        values.push_back(digits(oid == 20 ? 12 : 8));
      } else if (oid == 1082) {
        values.push_back("1985-07-1" + digits(1));
      } else {
        values.push_back(values.size() % 2 == 0 ? email() : with_luhn("4" + digits(14)));
      }
    }
    rows.bodies.push_back(body_of(values));
  }
  return rows;
}
double masked(const Rows& rows) {
  RowMasker masker(rows.plan, rows.fields, nullptr);
  std::string out;
  for (const std::string& body : rows.bodies) {
    out.clear();
    masker.mask_row(bytes_of(body), out);
    kept += out.size();
  }
  return static_cast<double>(rows.values * rows.bodies.size()) / 1e6;
}

struct CopyRun {
  std::vector<std::string> rows{};
  std::vector<FieldType> fields{{.oid = 23}, {.oid = 25}, {.oid = 25}, {.oid = 25}, {.oid = 25}, {.oid = 1114}};
  size_t bytes = 0;
  CopyRun() {
    for (int i = 0; i < 1000; ++i) {
      std::string row =
          digits(6) + "\t" + email() + "\t" + with_luhn("4" + digits(14)) + "\t" + word() + " " + word() + "\t";
      while (row.size() < 970) row += word() + " ";
      row += "\t2024-05-06 07:08:09.123\n";
      bytes += row.size();
      rows.push_back(row);
    }
  }
};
double copied(const CopyRun& run) {
  const ResultPlan plan{
      .keys = {key()},
      .columns = {{}, {.method = Method::kPartial}, {.method = Method::kTokenise}, {.method = Method::kHash}},
      .detect = {{.what = DetectorSet::all(), .method = Method::kPartial}}};
  CopyMasker masker(plan, {}, run.fields, nullptr);
  std::string out;
  for (const std::string& row : run.rows) {
    out.clear();
    masker.push(bytes_of(row), out);
    kept += out.size();
  }
  return static_cast<double>(run.bytes) / 1e6;
}

// The yardsticks.
struct Set {
  RE2::Set set{RE2::Options{}, RE2::UNANCHORED};
  Set() {
    for (const char* pattern : kPatterns) set.Add(pattern, nullptr);
    set.Compile();
  }
};
// By line: a set says whether a text matches, and does not go on behind the first place.
double set_scanned(const Set& set, const std::string& text) {
  std::vector<int> hits;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    hits.clear();
    set.set.Match({text.data() + at, end - at}, &hits);
    kept += hits.size();
    at = end + 1;
  }
  return static_cast<double>(text.size()) / 1e9;
}
double alternation_scanned(const RE2& pattern, const std::string& text) {
  re2::StringPiece rest(text), hit;
  while (RE2::FindAndConsume(&rest, pattern, &hit)) ++kept;
  return static_cast<double>(text.size()) / 1e9;
}
struct Hyperscan {
  hs_database_t* database = nullptr;
  hs_scratch_t* scratch = nullptr;
  Hyperscan() {
    std::vector<unsigned> flags(std::size(kPatterns), HS_FLAG_SOM_LEFTMOST), ids;
    for (unsigned i = 0; i < std::size(kPatterns); ++i) ids.push_back(i);
    hs_compile_error_t* error = nullptr;
    if (hs_compile_multi(kPatterns, flags.data(), ids.data(), static_cast<unsigned>(std::size(kPatterns)),
                         HS_MODE_BLOCK, nullptr, &database, &error) != HS_SUCCESS) {
      std::fprintf(stderr, "mask_bench: hyperscan: %s\n", error->message);
      std::exit(1);
    }
    hs_alloc_scratch(database, &scratch);
  }
};
double hyperscanned(const Hyperscan& hyperscan, const std::string& text) {
  const auto hit = [](unsigned, unsigned long long, unsigned long long, unsigned, void*) {
    ++kept;
    return 0;
  };
  hs_scan(hyperscan.database, text.data(), static_cast<unsigned>(text.size()), 0, hyperscan.scratch, hit, nullptr);
  return static_cast<double>(text.size()) / 1e9;
}

double median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 7;
  const std::string texts[] = {prose(), records(), full()};
  const CopyRun copy;
  const Rows text_rows = rows_of({Method::kPartial, Method::kTokenise, Method::kHash, Method::kRedact, Method::kBucket},
                                 false, {25, 25, 25, 25, 1082});
  const Rows binary_rows =
      rows_of({Method::kTokenise, Method::kHash, Method::kPartial, Method::kBucket, Method::kHash, Method::kRedact},
              true, {20, 23, 1082, 1114, 2950, 20});
  Rows clean = rows_of({}, false, {25, 25, 25});
  clean.plan = {.keys = {key()}, .detect = {{.what = DetectorSet::all(), .method = Method::kPartial}}};
  clean.bodies.assign(1000,
                      body_of({"the order was shipped", "to the customer", "and returned because of a broken handle"}));
  clean.values = 3;
  const Set set;
  std::string all;
  for (const char* pattern : kPatterns) all += (all.empty() ? "(" : "|") + std::string(pattern);
  const RE2 alternation(all + ")");
  const Hyperscan hyperscan;

  std::vector<Part> parts;
  const char* names[] = {"prose", "clean records", "full records"};
  for (size_t i = 0; i < 3; ++i) {
    const std::string& text = texts[i];
    parts.push_back({std::string("scan, ") + names[i], "GB/s", i == 2 ? 0.5 : 1.0, [&text] { return scanned(text); }});
    parts.push_back({std::string("scan by value, ") + names[i], "GB/s", i == 2 ? 0.5 : 0,
                     [values = Values(text)] { return scanned_by_value(values); }});
    parts.push_back({std::string("  RE2::Set, ") + names[i], "GB/s", 0, [&] { return set_scanned(set, text); }});
    parts.push_back({std::string("  RE2 alternation, ") + names[i], "GB/s", 0,
                     [&] { return alternation_scanned(alternation, text); }});
    parts.push_back(
        {std::string("  Hyperscan, ") + names[i], "GB/s", 0, [&] { return hyperscanned(hyperscan, text); }});
  }
  parts.push_back({"mask rows in text, five methods", "M values/s", 2, [&] { return masked(text_rows); }});
  parts.push_back({"mask rows in binary, four methods", "M values/s", 3, [&] { return masked(binary_rows); }});
  std::vector<Rows> by_method;
  for (size_t i = 0; i < kMethodCount; ++i) {
    const auto method = static_cast<Method>(i);
    by_method.push_back(rows_of({method, method}, false, {25, 25}));
    by_method.push_back(rows_of({method, method}, true, {20, 20}));
  }
  for (size_t i = 0; i < by_method.size(); ++i)
    parts.push_back({std::string("  ") + std::string(name_of(static_cast<Method>(i / 2))) +
                         (i % 2 == 0 ? ", text" : ", int8 in binary"),
                     "M values/s", 0, [&rows = by_method[i]] { return masked(rows); }});
  parts.push_back({"clean rows under detectors", "M values/s", 0, [&] { return masked(clean); }});
  parts.push_back({"COPY, rows of 1000 bytes, three masked", "MB/s", 300, [&] { return copied(copy); }});

  for (int round = 0; round < rounds; ++round) {
    for (Part& part : parts) {
      double done = 0, took = 0;
      while (took < kPartSeconds) took += seconds_of([&] { done += part.run(); });
      part.rates.push_back(done / took);
    }
  }
  bool met = true;
  std::printf("%-44s %9s %9s %9s  %s\n", "one core", "median", "least", "most", "budget");
  for (const Part& part : parts) {
    const double middle = median(part.rates);
    const bool is_met = part.budget == 0 || middle >= part.budget;
    met = met && is_met;
    std::printf("%-44s %9.3f %9.3f %9.3f  ", part.name.c_str(), middle, *std::ranges::min_element(part.rates),
                *std::ranges::max_element(part.rates));
    if (part.budget == 0) {
      std::printf("%s\n", part.unit);
    } else {
      std::printf("%s, at least %g%s\n", part.unit, part.budget, is_met ? "" : ": MISSED");
    }
  }
  for (size_t i = 0; i < 3; ++i) {
    const double ours = median(parts[i * 5].rates);
    std::printf("%s: %.1f times RE2::Set, %.1f times RE2, %.1f times Hyperscan\n", names[i],
                ours / median(parts[i * 5 + 2].rates), ours / median(parts[i * 5 + 3].rates),
                ours / median(parts[i * 5 + 4].rates));
  }
  std::fprintf(stderr, "%zu\n", kept);
  return met ? 0 : 1;
}
