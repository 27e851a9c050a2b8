// SPDX-License-Identifier: Apache-2.0
// A run is groups of digits with one separator between each two. Every group is asked whether a number begins there.
#include <algorithm>
#include <array>
#include <initializer_list>
#include <span>
#include <utility>

#include "agent/mask/act.h"
#include "agent/mask/checksums.h"
#include "agent/mask/verifier.h"

namespace gatehouse::mask {
namespace {

constexpr size_t kContextBytes = 40;

constexpr std::string_view kSocial[] = {"ssn", "social sec", "soc sec"};
constexpr std::string_view kPassports[] = {"passport", "passeport", "reisepass", "pasaporte", "passaporto", "paspoort"};
constexpr std::string_view kBirth[] = {"born",  "birth", "dob",     "geb",      "n\xc3\xa9",
                                       "nacid", "nacim", "nato il", "naissance"};

constexpr std::string_view kVersions[] = {"version", "Version", "release", "Release", " v"};
constexpr Words kVersionWords(kVersions);
constexpr Words kSocialWords(kSocial), kPassportWords(kPassports), kBirthWords(kBirth);

bool is_word(char c) {
  return is_alnum(c) || c == '_';
}
// Whether any number of several groups begins with groups of these sizes.
struct Beginnings {
  std::array<uint16_t, 16> second{};  // by the size of the first: a bit for each size of the second
};
constexpr Beginnings kBeginnings = [] {
  Beginnings all;
  const auto add = [&all](size_t first, size_t second) {
    all.second[first] = static_cast<uint16_t>(all.second[first] | 1u << second);
  };
  // Cards, social security, telephone, tax: the forms of this folder.
  for (const auto& [first, second] : std::initializer_list<std::pair<size_t, size_t>>{
           {4, 4}, {4, 6}, {3, 2}, {3, 3}, {1, 3}, {3, 4}, {5, 4}, {2, 2}, {5, 6}, {4, 3}, {2, 4},
           {2, 3}, {1, 2}, {6, 4}, {6, 7}, {6, 3}, {2, 8}, {2, 7}, {4, 2}, {1, 1}, {1, 2}, {2, 1}})
    add(first, second);
  // Addresses of IPv4; telephone numbers of Germany.
  for (size_t first = 1; first <= 3; ++first)
    for (size_t second = 1; second <= 3; ++second) add(first, second);
  for (size_t first = 3; first <= 5; ++first)
    for (size_t second = 5; second <= 8; ++second) add(first, second);
  return all;
}();
// Of one piece, so many digits may be a number.
constexpr size_t kPieceMin = 7;

bool is_separator(char c) {
  return c == ' ' || c == '-' || c == '.' || c == '/';
}

}  // namespace

size_t Verifier::read_groups(size_t begin) {
  group_count_ = 0;
  size_t at = begin;
  char separator = '\0';
  while (at < text_.size() && group_count_ < kGroupsMax) {
    size_t end = at;
    while (end < text_.size() && is_digit(text_[end])) ++end;
    groups_[group_count_++] = {at, static_cast<uint32_t>(end - at), 0, separator};
    at = end;
    if (at + 1 >= text_.size() || !is_separator(text_[at]) || !is_digit(text_[at + 1])) break;
    separator = text_[at++];
  }
  uint32_t shape = 0;
  for (size_t i = group_count_; i-- > 0;)
    groups_[i].shape = shape = shape << 4 | std::min<uint32_t>(groups_[i].size, 15);
  return at;
}

void Verifier::run(size_t begin) {
  begin = std::max(begin, end_);
  while (begin < text_.size() && !is_digit(text_[begin])) ++begin;
  for (bool is_first = true;; is_first = false) {
    const size_t end = read_groups(begin);
    const bool goes_on = group_count_ == kGroupsMax;
    // With more to come, the last ones wait for what stands behind them.
    const size_t last = goes_on ? kGroupsMax - kGroupsOfNumberMax : group_count_;
    size_t index = is_first || group_count_ < 2 ? 0 : 1;
    while (index < last) index += std::max<size_t>(1, group(index));
    if (!goes_on) return;
    // Begins with the group before, so that the first new one has its separator.
    begin = groups_[std::min(index, group_count_ - 1) - 1].begin;
    if (end >= text_.size() && index >= group_count_) return;
  }
}

bool Verifier::has_separators(size_t index, const Form& form) const {
  for (size_t i = 1; i < form.groups; ++i) {
    const char wanted = form.separators[i - 1], is = groups_[index + i].before;
    if (wanted == '*' ? is != groups_[index + 1].before : is != wanted) return false;
  }
  return true;
}

Verifier::Number Verifier::number(size_t index, size_t groups) const {
  Number number{.begin = groups_[index].begin,
                .end = groups_[index + groups - 1].begin + groups_[index + groups - 1].size};
  for (size_t i = number.begin; i < number.end && number.count < kDigitsMax; ++i)
    if (is_digit(text_[i])) number.digits[number.count++] = static_cast<uint8_t>(text_[i] - '0');
  return number;
}

// Part of a longer word: an identifier, a hash, a decimal, a number of more groups.
bool Verifier::begins_clean(size_t index) const {
  const size_t begin = groups_[index].begin;
  if (index > 0) return groups_[index].before == ' ';
  const char c = before(begin);
  if (is_word(c)) return false;
  if (c != '.' && c != '-' && c != '/' && c != '+') return true;
  return begin < 2 || !is_alnum(text_[begin - 2]);
}
bool Verifier::ends_clean(size_t index) const {
  const Group& group = groups_[index];
  const char c = at(group.begin + group.size);
  if (is_word(c) || c == '@') return false;
  if (index + 1 < group_count_) return groups_[index + 1].before == ' ';
  return !((c == '.' || c == '-' || c == '/') && is_alnum(at(group.begin + group.size + 1)));
}

// A UUID or a digest written in parts: what stands before the dash is hexadecimal, too.
bool Verifier::is_part_of_hex(size_t begin) const {
  if (begin < 5 || text_[begin - 1] != '-') return false;
  return std::ranges::all_of(text_.substr(begin - 5, 4), [](char c) { return hex_value(c) >= 0; });
}

bool Verifier::has_context(size_t begin, const Words& words) const {
  const size_t from = begin > kContextBytes ? begin - kContextBytes : 0;
  std::array<char, kContextBytes> window;
  // Capital letters become small ones; what else this bit changes begins no word.
  for (size_t i = from; i < begin; ++i)
    window[i - from] = static_cast<signed char>(text_[i]) < 0 ? text_[i] : static_cast<char>(text_[i] | 0x20);
  return words.stand_in({window.data(), begin - from});
}

// "GB29 NWBK 6016…", "NL91ABNA04…": the run is what stands behind the letters of the bank.
bool Verifier::iban_before(size_t begin) {
  size_t at = begin;
  while (at > end_ && begin - at < 32 && (is_upper(text_[at - 1]) || is_digit(text_[at - 1]) || text_[at - 1] == ' ')) {
    --at;
    const bool begins_word = at == 0 || !is_word(text_[at - 1]);
    if (begins_word && begin - at >= 4 && is_digit(text_[at + 2]) && is_digit(text_[at + 3]) &&
        iban_length(text_[at], text_[at + 1]) > 0 && iban(at))
      return true;
  }
  return false;
}

size_t Verifier::group(size_t index) {
  const Group& group = groups_[index];
  if (group.begin < end_) return 1;
  if (index == 0 && wants(Detector::kIban) && group.begin >= 5) {
    const char last = text_[group.begin - 1] == ' ' ? text_[group.begin - 2] : text_[group.begin - 1];
    if ((is_upper(last) || is_digit(last)) && iban_before(group.begin)) return kGroupsMax;
  }
  if (index == 0 && is_word(before(group.begin))) return with_letters(index);
  if (const size_t taken = timestamp(index)) return taken;
  if (group.size < kPieceMin) {
    const char c = index == 0 ? before(group.begin) : '\0';
    const bool may_be_called = c == '+' || text_.substr(group.begin, 2) == "00";
    if (!may_be_called && (kBeginnings.second[group.size] >> (group.shape >> 4 & 15) & 1) == 0) return 1;
  }
  size_t taken = 0;
  if (group.size >= 12 || group.size == 4) taken = card(index);
  if (taken == 0 && group.size <= 3) taken = address(index);
  if (taken == 0) taken = social(index);
  if (taken == 0 && wants(Detector::kTax)) taken = tax(index);
  if (taken == 0 && wants(Detector::kPhone)) taken = phone(index);
  if (taken == 0 && wants(Detector::kBirthDate)) taken = date(index);
  if (taken == 0 && wants(Detector::kPassport)) taken = passport(index);
  return taken;
}

// "2024-05-06 07:08": the commonest of all runs, and nothing but a time.
size_t Verifier::timestamp(size_t index) const {
  static constexpr Form kForm("4222", "--");
  const Group& first = groups_[index];
  if ((first.shape & kForm.mask) != kForm.shape || expected_.has(Detector::kBirthDate)) return 0;
  if (groups_[index + 1].before != '-' || groups_[index + 2].before != '-' || groups_[index + 3].before != ' ')
    return 0;
  return at(groups_[index + 3].begin + 2) == ':' ? 4 : 0;
}

// Letters stand directly before the first group.
size_t Verifier::with_letters(size_t index) {
  const Group& first = groups_[index];
  const size_t begin = first.begin;
  const char one = before(begin), two = begin >= 2 ? text_[begin - 2] : '\0';
  const size_t end = begin + first.size;
  if (is_upper(one) && is_upper(two) && !is_word(begin >= 3 ? text_[begin - 3] : '\0')) {
    if (first.size >= 2 && wants(Detector::kIban) && iban(begin - 2)) return kGroupsMax;
    if (two == 'D' && one == 'E' && first.size == 9 && ends_clean(index) && wants(Detector::kTax) &&
        is_german_vat(number(index, 1).view()))
      return add(begin - 2, end, Detector::kTax, 80) ? 1 : 0;
  }
  if (is_word(two)) return 0;
  const bool is_nie =
      (one == 'X' || one == 'Y' || one == 'Z') && first.size == 7 && is_upper(at(end)) && !is_word(at(end + 1));
  if (is_nie && wants(Detector::kTax)) {
    std::array<uint8_t, 8> digits{static_cast<uint8_t>(one - 'X')};
    std::ranges::copy(number(index, 1).view(), digits.begin() + 1);
    if (is_dni(digits, at(end))) return add(begin - 1, end + 1, Detector::kTax, 95) ? 1 : 0;
  }
  if (wants(Detector::kPassport) && is_upper(one) && first.size >= 6 && first.size <= 8 && ends_clean(index) &&
      (expected_.has(Detector::kPassport) || has_context(begin - 1, kPassportWords)))
    return add(begin - 1, end, Detector::kPassport, 70) ? 1 : 0;
  return 0;
}

bool Verifier::iban(size_t begin) {
  if (begin < end_) return false;
  const size_t length = iban_length(text_[begin], text_[begin + 1]);
  if (length == 0) return false;
  std::array<char, 40> plain;
  size_t count = 0, at = begin;
  for (; at < text_.size() && count < length; ++at) {
    const char c = text_[at];
    if (is_digit(c) || is_upper(c)) {
      plain[count++] = c;
    } else if (c != ' ' || count % 4 != 0) {
      return false;
    }
  }
  if (is_word(this->at(at)) || !is_iban({plain.data(), count})) return false;
  return add(begin, at, Detector::kIban, 99);
}

size_t Verifier::card(size_t index) {
  if (!wants(Detector::kPan)) return 0;
  const size_t begin = groups_[index].begin;
  size_t groups = 0;
  if (groups_[index].size >= 12) {
    groups = 1;
    // A fraction, or what has one; the last part of a UUID.
    if ((index > 0 ? groups_[index].before : before(begin)) == '.' || is_part_of_hex(begin)) return 0;
    const size_t end = begin + groups_[index].size;
    if (is_word(at(end)) || at(end) == '@' || (at(end) == '.' && is_digit(at(end + 1)))) return 0;
  } else {
    static constexpr Form kForms[] = {{"4444", "***"}, {"465", "**"}, {"464", "**"}};
    for (const Form& form : kForms)
      if (groups == 0 && has_form(index, form)) groups = form.groups;
    if (groups == 0) return 0;
    const char separator = groups_[index + 1].before;
    if ((separator != ' ' && separator != '-') || is_part_of_hex(begin)) return 0;
    const size_t last = index + groups - 1;
    // Cards of nineteen digits have three more.
    if (groups == 4 && last + 1 < group_count_ && groups_[last + 1].size == 3 &&
        groups_[last + 1].before == separator) {
      const Number longer = number(index, groups + 1);
      if (ends_clean(last + 1) && is_card(longer.view()))
        return add(longer.begin, longer.end, Detector::kPan, 99) ? groups + 1 : 0;
    }
    const char after = at(groups_[last].begin + groups_[last].size);
    if (is_word(after) || (separator == '-' && after == '-')) return 0;
  }
  const Number digits = number(index, groups);
  if (!is_card(digits.view())) return 0;
  return add(digits.begin, digits.end, Detector::kPan, groups == 1 ? 90 : 99) ? groups : 0;
}

size_t Verifier::social(size_t index) {
  if (!wants(Detector::kSsn)) return 0;
  static constexpr Form kForm("324", "**");
  const bool is_formed = has_form(index, kForm);
  const bool is_plain = groups_[index].size == 9;
  if (!is_formed && !is_plain) return 0;
  const size_t groups = is_formed ? 3 : 1;
  if (!begins_clean(index) || !ends_clean(index + groups - 1)) return 0;
  const Number digits = number(index, groups);
  if (!is_ssn(digits.view()) && !(is_formed && is_itin(digits.view()))) return 0;
  const bool is_sure = is_formed && groups_[index + 1].before == '-';
  if (!is_sure && !expected_.has(Detector::kSsn) && !has_context(digits.begin, kSocialWords)) return 0;
  return add(digits.begin, digits.end, Detector::kSsn, is_sure ? 90 : 75) ? groups : 0;
}

size_t Verifier::address(size_t index) {
  if (!wants(Detector::kIpv4) || index + 4 > group_count_) return 0;
  for (size_t i = 0; i < 4; ++i) {
    const Group& group = groups_[index + i];
    if (group.size > 3 || (i > 0 && group.before != '.')) return 0;
    unsigned value = 0;
    for (const char c : text_.substr(group.begin, group.size)) value = value * 10 + static_cast<unsigned>(c - '0');
    if (value > 255 || (group.size > 1 && text_[group.begin] == '0')) return 0;
  }
  const Group& last = groups_[index + 3];
  const size_t begin = groups_[index].begin, end = last.begin + last.size;
  if (index > 0 ? groups_[index].before == '.' || groups_[index].before == '-'
                : is_word(before(begin)) || before(begin) == '.')
    return 0;
  if (is_word(at(end)) || (at(end) == '.' && is_alnum(at(end + 1))) || (at(end) == '-' && is_digit(at(end + 1))))
    return 0;
  const size_t near = begin > 10 ? begin - 10 : 0;
  if (kVersionWords.stand_in(text_.substr(near, begin - near))) return 0;
  return add(begin, end, Detector::kIpv4, 85) ? 4 : 0;
}

bool Verifier::is_birth(size_t begin) const {
  if (expected_.has(Detector::kBirthDate) || has_context(begin, kBirthWords)) return true;
  // "Ada Lovelace, 1815-12-10", "Max Muster (* 01.02.1970)"
  size_t at = begin;
  for (int skipped = 0; at > 0 && skipped < 4; ++skipped) {
    const char c = text_[at - 1];
    if (c != ' ' && c != ',' && c != ';' && c != '(' && c != '*' && c != '\t' && c != '"' && c != '|') break;
    --at;
  }
  if (at == begin) return false;
  const auto name = [&] {
    const size_t end = at;
    while (at > 0 && (is_lower(text_[at - 1]) || static_cast<unsigned char>(text_[at - 1]) >= 0x80)) --at;
    if (at == 0 || at == end || !is_upper(text_[at - 1])) return false;
    --at;
    return end - at >= 2 && (at == 0 || !is_alnum(text_[at - 1]));
  };
  if (!name() || at == 0 || text_[at - 1] != ' ') return false;
  --at;
  return name();
}

size_t Verifier::date(size_t index) {
  static constexpr Form kForm("422", "**");
  const bool is_year_first = has_form(index, kForm);
  if (!is_year_first) {
    if (index + 3 > group_count_ || groups_[index].size > 2 || groups_[index + 1].size > 2 ||
        groups_[index + 2].size != 4 || groups_[index + 1].before != groups_[index + 2].before)
      return 0;
  }
  if (groups_[index + 1].before == ' ' || is_word(at(groups_[index + 2].begin + groups_[index + 2].size))) return 0;
  const auto value = [&](size_t i) {
    unsigned number = 0;
    for (const char c : text_.substr(groups_[i].begin, groups_[i].size))
      number = number * 10 + static_cast<unsigned>(c - '0');
    return number;
  };
  const unsigned year = value(is_year_first ? index : index + 2), middle = value(index + 1);
  const unsigned other = value(is_year_first ? index + 2 : index);
  if (year < 1900 || year > 2030) return 0;
  if (!is_date(other, middle, year) && (is_year_first || !is_date(middle, other, year))) return 0;
  const size_t begin = groups_[index].begin, end = groups_[index + 2].begin + groups_[index + 2].size;
  if (index > 0 && groups_[index].before != ' ') return 0;
  // With a time behind it, it is when something happened, unless the column says otherwise.
  const bool has_time = (at(end) == ' ' || at(end) == 'T') && is_digit(at(end + 1)) && at(end + 3) == ':';
  if (has_time && !expected_.has(Detector::kBirthDate)) return 0;
  return is_birth(begin) && add(begin, end, Detector::kBirthDate, 75) ? 3 : 0;
}

size_t Verifier::passport(size_t index) {
  const Group& group = groups_[index];
  if (group.size < 8 || group.size > 9 || !begins_clean(index) || !ends_clean(index)) return 0;
  if (!expected_.has(Detector::kPassport) && !has_context(group.begin, kPassportWords)) return 0;
  return add(group.begin, group.begin + group.size, Detector::kPassport, 70) ? 1 : 0;
}

}  // namespace gatehouse::mask
