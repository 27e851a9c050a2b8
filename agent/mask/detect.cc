// SPDX-License-Identifier: Apache-2.0
// What detectors change in values that no column rule names, and values whose type nobody told.
#include <algorithm>

#include "agent/mask/numbers.h"
#include "agent/mask/octets.h"
#include "agent/mask/texts.h"
#include "agent/mask/value.h"

namespace gatehouse::mask {
namespace {

bool is_textual(Kind kind) {
  return kind == Kind::kText || kind == Kind::kBpchar || kind == Kind::kLooks || kind == Kind::kXml ||
         kind == Kind::kUnknown || kind == Kind::kJsonPath;
}
bool is_number(Kind kind) {
  return kind == Kind::kInt4 || kind == Kind::kInt8 || kind == Kind::kNumeric;
}
bool is_address(Kind kind) {
  return kind == Kind::kInet || kind == Kind::kCidr;
}
bool is_dated(Kind kind) {
  return kind == Kind::kDate || kind == Kind::kTimestamp || kind == Kind::kTimestampTz;
}
bool is_nested(Kind kind) {
  return kind == Kind::kArray || kind == Kind::kComposite || kind == Kind::kRecord;
}

constexpr DetectorSet kAddresses = {Detector::kIpv4, Detector::kIpv6};
// Kinds of number that a column of numbers is believed to hold if its name says so.
constexpr DetectorSet kNumbered = {Detector::kSsn, Detector::kPhone, Detector::kTax, Detector::kPassport};
// Shorter numbers are no card, account or person.
constexpr size_t kNumberDigitsMin = 9;

}  // namespace

bool ValueMasker::is_scanned(const Type& type, bool is_binary, DetectorSet expected) const {
  if (detects_.empty()) return false;
  if (is_address(type.kind)) return detects_.intersects(kAddresses);
  if (is_dated(type.kind)) return detects_.has(Detector::kBirthDate) && expected.has(Detector::kBirthDate);
  if (is_number(type.kind)) {
    return detects_.has(Detector::kPan) ||
           std::ranges::any_of(std::array{Detector::kSsn, Detector::kPhone, Detector::kTax, Detector::kPassport},
                               [&](Detector d) { return detects_.has(d) && expected.has(d); });
  }
  if (type.kind == Kind::kArray) return is_scanned(resolve({type.of, -1}), is_binary, expected);
  return is_textual(type.kind) || is_nested(type.kind) || type.kind == Kind::kJson || type.kind == Kind::kJsonb ||
         type.kind == Kind::kBytea || type.kind == Kind::kTsvector || type.kind == Kind::kTsquery;
}

// An escape may hide from the scanner what it would find, and a binary number has no digits.
bool ValueMasker::shows_as_is(const Type& type, bool is_binary) const {
  if (is_textual(type.kind)) return true;
  if (type.kind == Kind::kArray) return shows_as_is(resolve({type.of, -1}), is_binary);
  return type.kind == Kind::kJsonb || (type.kind == Kind::kBytea && is_binary) || type.kind == Kind::kTsvector ||
         type.kind == Kind::kTsquery;
}

Done ValueMasker::spans(std::string_view value, DetectorSet what, DetectorSet expected, std::string& out) {
  found_.clear();
  if (what.empty() || !scan(value, what, expected, found_)) return Done::kUnchanged;
  const Found& first = found_.front();
  const Act& of_first = act_of(first.detector);
  const bool is_whole = first.begin == 0 && first.end == value.size();
  size_t at = 0;
  for (const Found& found : found_) {
    const Act& act = act_of(found.detector);
    out += value.substr(at, found.begin - at);
    mask_span(act, found.detector, value.substr(found.begin, found.end - found.begin), out);
    at = found.end;
    if (act.counts != nullptr) ++act.counts->spans;
    ++counts_.detectors[static_cast<size_t>(found.detector)];
  }
  if (is_whole && of_first.method == Method::kNull) {
    out.resize(out.size() - kRedacted.size());
    return Done::kNull;
  }
  out += value.substr(at);
  return Done::kChanged;
}

const Act* ValueMasker::typed_detector(const Type& type, DetectorSet expected, std::string_view text) {
  const auto counted = [&](Detector detector) {
    const Act& act = act_of(detector);
    if (act.counts != nullptr) ++act.counts->spans;
    ++counts_.detectors[static_cast<size_t>(detector)];
    return &act;
  };
  if (is_address(type.kind)) {
    const Detector detector = text.find(':') == std::string_view::npos ? Detector::kIpv4 : Detector::kIpv6;
    return detects_.has(detector) ? counted(detector) : nullptr;
  }
  if (is_dated(type.kind))
    return detects_.has(Detector::kBirthDate) && expected.has(Detector::kBirthDate) ? counted(Detector::kBirthDate)
                                                                                    : nullptr;
  if (!is_number(type.kind) || text.size() < kNumberDigitsMin) return nullptr;
  DetectorSet what;
  if (detects_.has(Detector::kPan)) what.add(Detector::kPan);
  for (const Detector detector : {Detector::kSsn, Detector::kPhone, Detector::kTax, Detector::kPassport})
    if (detects_.has(detector) && expected.has(detector) && kNumbered.has(detector)) what.add(detector);
  text = text.substr(0, text.find('.'));
  found_.clear();
  if (what.empty() || !scan(text, what, expected, found_)) return nullptr;
  return counted(found_.front().detector);
}

Done ValueMasker::detect_text(const Type& type, const Wish& wish, std::string_view value, std::string& out,
                              unsigned depth) {
  if (detects_.empty()) return Done::kUnchanged;
  if (is_textual(type.kind)) {
    const size_t begin = out.size();
    const Done done = spans(value, detects_, wish.expected, out);
    if (done == Done::kChanged) fit(type, begin, out);
    return done;
  }
  if (is_nested(type.kind)) {
    const Done done = value.find('\\') == std::string_view::npos && !may_have(value, detects_) ? Done::kUnchanged
                      : type.kind == Kind::kArray ? array_text(type, wish, value, out, depth)
                                                  : row_text(type, wish, value, out, depth);
    return done;
  }
  if (is_address(type.kind) || is_dated(type.kind) || is_number(type.kind)) {
    const Act* act = typed_detector(type, wish.expected, value);
    return act == nullptr ? Done::kUnchanged : text(type, {.act = act}, value, out, depth);
  }
  switch (type.kind) {
    case Kind::kJson:
    case Kind::kJsonb:
      if (value.find('\\') == std::string_view::npos && !may_have(value, detects_)) return Done::kUnchanged;
      return json(wish, value, out);
    case Kind::kBytea: {
      std::string bytes, masked;
      if (!decode_bytea(value, bytes)) return Done::kUnchanged;
      const Done done = spans(bytes, detects_, wish.expected, masked);
      if (done == Done::kChanged) append_bytea(masked, value.starts_with("\\x"), out);
      return done;
    }
    case Kind::kTsvector:
    case Kind::kTsquery: {
      std::string masked;
      // Lexemes are sorted: what is changed in place would not be.
      if (spans(value, detects_, wish.expected, masked) == Done::kUnchanged) return Done::kUnchanged;
      const Act act{};
      return scalar_text(type, act, value, out);
    }
    default:
      return Done::kUnchanged;
  }
}

Done ValueMasker::detect_binary(const Type& type, const Wish& wish, std::string_view value, std::string& out,
                                unsigned depth) {
  if (detects_.empty()) return Done::kUnchanged;
  if (is_address(type.kind) || is_dated(type.kind)) {
    const bool is_v6 = value.size() > 8;
    const Act* act = typed_detector(type, wish.expected, is_address(type.kind) && is_v6 ? ":" : "");
    return act == nullptr ? Done::kUnchanged : binary(type, {.act = act}, value, out, depth);
  }
  if (is_number(type.kind)) {
    std::string digits;
    if (type.kind == Kind::kNumeric) {
      if (!append_numeric_text(value, digits)) return Done::kNull;
    } else if (value.size() == (type.kind == Kind::kInt4 ? 4 : 8)) {
      digits = std::to_string(type.kind == Kind::kInt4 ? load_be<int32_t>(value) : load_be<int64_t>(value));
    }
    const Act* act = typed_detector(type, wish.expected, digits);
    return act == nullptr ? Done::kUnchanged : binary(type, {.act = act}, value, out, depth);
  }
  switch (type.kind) {
    case Kind::kArray:
      return array_binary(type, wish, value, out, depth);
    case Kind::kComposite:
    case Kind::kRecord:
      return row_binary(type, wish, value, out, depth);
    case Kind::kJson:
      return detect_text(type, wish, value, out, depth);
    case Kind::kJsonb: {
      if (value.empty() || !may_have(value, detects_)) return Done::kUnchanged;
      out.push_back(value[0]);
      const Done done = json(wish, value.substr(1), out);
      if (done != Done::kChanged) out.pop_back();
      return done;
    }
    case Kind::kText:
    case Kind::kBpchar:
    case Kind::kXml:
      return detect_text(type, wish, value, out, depth);
    case Kind::kBytea:
      return spans(value, detects_, wish.expected, out);
    case Kind::kTsvector:
    case Kind::kTsquery: {
      std::string masked;
      if (spans(value, detects_, wish.expected, masked) == Done::kUnchanged) return Done::kUnchanged;
      const Act act{};
      return scalar_binary(type, act, value, out);
    }
    case Kind::kUnknown:
    case Kind::kLooks: {
      // Its form is not known, so nothing can be put in the place of what is found.
      std::string masked;
      return spans(value, detects_, wish.expected, masked) == Done::kUnchanged ? Done::kUnchanged : Done::kNull;
    }
    default:
      return Done::kUnchanged;
  }
}

// By the looks: a number becomes a number and a date a date, so that a client that parses what it was told is text
// still can.
Done ValueMasker::looks(const Wish& wish, std::string_view value, std::string& out, unsigned depth) {
  const auto is_date_like = [&] {
    return value.size() >= 10 && value[4] == '-' && value[7] == '-' && is_digit(value[0]) && is_digit(value[9]);
  };
  const auto is_uuid_like = [&] {
    return value.size() == 36 && value[8] == '-' && value[13] == '-' && value[18] == '-' && value[23] == '-' &&
           std::ranges::all_of(value, [](char c) { return c == '-' || hex_value(c) >= 0; });
  };
  if (value == "t" || value == "f") {
    out.push_back('f');
    return Done::kChanged;
  }
  if (value.starts_with('{') && value.ends_with('}')) {
    if (value.find(':') != std::string_view::npos || wish.whole || wish.act->method == Method::kRedact) {
      out += "{}";
      return Done::kChanged;
    }
    return array_text({.kind = Kind::kArray}, wish, value, out, depth);
  }
  if (value.starts_with('[') && value.ends_with(']')) {
    out += "[]";
    return Done::kChanged;
  }
  if (value.starts_with('(') && value.ends_with(')')) {
    const Done done = row_text({.kind = Kind::kRecord}, wish, value, out, depth);
    if (done == Done::kChanged) return done;
  }
  if (is_uuid_like()) return octets_text({.kind = Kind::kUuid}, *wish.act, value, out);
  if (is_date_like()) {
    const Kind kind = value.size() == 10                                        ? Kind::kDate
                      : value.find_first_of("+-", 10) == std::string_view::npos ? Kind::kTimestamp
                                                                                : Kind::kTimestampTz;
    const size_t begin = out.size();
    if (scalar_text({.kind = kind}, *wish.act, value, out) == Done::kChanged) return Done::kChanged;
    out.resize(begin);
  }
  const size_t begin = out.size();
  if (mask_decimal(*wish.act, value, -1, out)) return Done::kChanged;
  out.resize(begin);
  mask_text(*wish.act, value, out);
  return Done::kChanged;
}

}  // namespace gatehouse::mask
