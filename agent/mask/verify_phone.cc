// SPDX-License-Identifier: Apache-2.0
// Telephone numbers: E.164 by calling code, and national forms that are written so and not otherwise.
#include <algorithm>
#include <array>

#include "agent/mask/act.h"
#include "agent/mask/verifier.h"

namespace gatehouse::mask {
namespace {

constexpr std::string_view kPhones[] = {"phone", "tel", "mobil", "cell", "fax", "call", "whatsapp", "sms", "handy"};

constexpr Words kPhoneWords(kPhones);

// Calling codes with how many digits follow, at least and at most. Codes that are not here: six to twelve.
struct Code {
  uint16_t code;
  uint8_t min, max;
};
constexpr Code kCodes[] = {{1, 10, 10}, {7, 10, 10},  {20, 8, 10},  {27, 9, 9},   {30, 10, 10}, {31, 9, 9},
                           {32, 8, 9},  {33, 9, 9},   {34, 9, 9},   {36, 8, 9},   {39, 6, 11},  {40, 9, 9},
                           {41, 9, 9},  {43, 5, 13},  {44, 9, 10},  {45, 8, 8},   {46, 7, 9},   {47, 8, 8},
                           {48, 9, 9},  {49, 6, 11},  {51, 8, 9},   {52, 10, 10}, {54, 10, 11}, {55, 10, 11},
                           {56, 9, 9},  {57, 10, 10}, {58, 10, 10}, {60, 7, 10},  {61, 9, 9},   {62, 8, 11},
                           {63, 8, 10}, {64, 8, 10},  {65, 8, 8},   {66, 8, 9},   {81, 9, 10},  {82, 8, 10},
                           {84, 9, 10}, {86, 10, 11}, {90, 10, 10}, {91, 10, 10}, {92, 9, 10},  {98, 10, 10}};

struct ByCode {
  std::array<Code, 100> of{};
};
constexpr ByCode kByCode = [] {
  ByCode by;
  for (const Code& code : kCodes) by.of[code.code] = code;
  return by;
}();

constexpr Form kNorthAmerica("334", "**"), kNorthAmericaWithOne("1334", "***"), kThreeFour("34", "*"),
    kFourFour("44", "*"), kFiveFour("54", "*"), kFrance("22222", "****"), kFiveSix("56", " "), kLondon("344", "  "),
    kFourThreeThree("433", "  "), kTokyo("244", "--"), kJapanMobile("344", "--");

bool is_code_plausible(std::span<const uint8_t> digits) {
  if (digits.size() < 8 || digits.size() > 15 || digits[0] == 0) return false;
  unsigned code = 0;
  for (size_t size = 1; size <= 2; ++size) {
    code = code * 10 + digits[size - 1];
    const Code& found = kByCode.of[code];
    if (found.code == 0) continue;
    const size_t rest = digits.size() - size;
    if (digits[size] == 0 && code != 39) return false;
    return rest >= found.min && rest <= found.max;
  }
  // Three digits: those of 2xx, 3xx, 4xx, 5xx, 6xx, 8xx, 9xx that are given out.
  const size_t rest = digits.size() - 3;
  static constexpr std::string_view kTens =
      "21222324252627282935373842505967688085879697"
      "99";
  for (size_t i = 0; i + 1 < kTens.size(); i += 2)
    if (kTens[i] - '0' == digits[0] && kTens[i + 1] - '0' == digits[1]) return rest >= 5 && rest <= 12;
  return false;
}

bool is_nanp(std::span<const uint8_t> ten) {
  const bool area = ten[0] >= 2 && !(ten[1] == 1 && ten[2] == 1) && ten[1] != 9;
  return area && ten[3] >= 2 && !(ten[4] == 1 && ten[5] == 1);
}

}  // namespace

size_t Verifier::phone(size_t index) {
  if (const size_t taken = phone_international(index)) return taken;
  return phone_national(index);
}

size_t Verifier::phone_international(size_t index) {
  const Group& first = groups_[index];
  size_t begin = first.begin;
  Number number{};
  if (index == 0 && before(begin) == '+') {
    --begin;
  } else if (index == 0 && (before(begin) == ')' || before(begin) == ' ')) {
    // "+49 (0)30 1234567", "+1 (555) 123-4567": the run is what stands behind the bracket.
    if (begin < 3 || (text_[begin - 1] == ' ' && text_[begin - 2] != ')')) return 0;
    size_t at = begin;
    while (at > end_ && begin - at < 14 &&
           std::string_view{"0123456789 ()-./"}.find(text_[at - 1]) != std::string_view::npos)
      --at;
    if (before(at) != '+' || at == begin) return 0;
    begin = at - 1;
    for (size_t i = at; i < first.begin && number.count < 8; ++i) {
      if (text_.substr(i).starts_with("(0)")) {
        i += 2;
      } else if (is_digit(text_[i])) {
        number.digits[number.count++] = static_cast<uint8_t>(text_[i] - '0');
      }
    }
  } else if (first.size >= 2 && text_.substr(begin).starts_with("00") && begins_clean(index)) {
    if (first.size > 2 && text_[begin + 2] == '0') return 0;
  } else {
    return 0;
  }
  if (begin < end_ || is_alnum(before(begin))) return 0;
  const bool has_zeros = begin == first.begin;
  const size_t given = number.count;
  // The longest that can be one.
  size_t best = 0, end = 0;
  for (size_t groups = 1; index + groups <= group_count_ && groups <= kGroupsOfNumberMax; ++groups) {
    const Group& group = groups_[index + groups - 1];
    if (number.count + group.size > 17) break;
    for (size_t i = 0; i < group.size; ++i)
      number.digits[number.count++] = static_cast<uint8_t>(text_[group.begin + i] - '0');
    const auto digits = number.view().subspan(has_zeros ? 2 : 0);
    const char after = at(group.begin + group.size);
    if (is_code_plausible(digits) && !is_alnum(after) && after != '_' && after != '@') {
      best = groups;
      end = group.begin + group.size;
    }
  }
  if (best == 0) return 0;
  // Without a plus, a number of one piece may be any number.
  const bool is_sure = !has_zeros || best > 1 || given > 0;
  if (!is_sure && !expected_.has(Detector::kPhone) && !has_context(begin, kPhoneWords)) return 0;
  return add(begin, end, Detector::kPhone, is_sure ? 90 : 60) ? best : 0;
}

size_t Verifier::phone_national(size_t index) {
  const Group& first = groups_[index];
  const auto found = [&](size_t groups, uint8_t confidence) -> size_t {
    if (!begins_clean(index) || !ends_clean(index + groups - 1)) return 0;
    const Number digits = number(index, groups);
    return add(digits.begin, digits.end, Detector::kPhone, confidence) ? groups : 0;
  };
  // North America: 555-123-4567, 1-555-123-4567, (555) 123-4567
  for (const bool has_one : {false, true}) {
    const size_t skip = has_one ? 1 : 0;
    if (!has_form(index, has_one ? kNorthAmericaWithOne : kNorthAmerica)) continue;
    if (has_one && text_[first.begin] != '1') continue;
    if (groups_[index + 1].before == '/' || !is_nanp(number(index, 3 + skip).view().subspan(skip))) continue;
    return found(3 + skip, groups_[index + 1].before == ' ' ? 70 : 85);
  }
  const bool is_behind_bracket =
      index == 0 && first.begin >= 4 &&
      (before(first.begin) == ')' || (before(first.begin) == ' ' && text_[first.begin - 2] == ')'));
  if (is_behind_bracket && (has_form(index, kThreeFour) || has_form(index, kFourFour) || has_form(index, kFiveFour))) {
    size_t open = text_.rfind('(', first.begin);
    const size_t close = text_.rfind(')', first.begin);
    if (open != std::string_view::npos && close > open && close - open <= 4 && open >= end_ &&
        !is_alnum(before(open)) && ends_clean(index + 1)) {
      const std::string_view area = text_.substr(open + 1, close - open - 1);
      const bool is_area = (area.size() == 3) == (first.size == 3) && area.size() >= 2 &&
                           std::ranges::all_of(area, is_digit) && area[0] != '0' &&
                           (first.size != 3 || (area[0] >= '2' && text_[first.begin] >= '2'));
      if (is_area) {
        const Number digits = number(index, 2);
        return add(open, digits.end, Detector::kPhone, 85) ? 2 : 0;
      }
    }
  }
  if (text_[first.begin] == '0' && at(first.begin + 1) != '0') {
    const bool has_slash = index + 1 < group_count_ && groups_[index + 1].before == '/';
    // France, the United Kingdom, Australia, Japan, Germany.
    if (has_form(index, kFrance) && !has_slash) return found(5, 90);
    if (has_form(index, kFiveSix)) return found(2, 80);
    if (has_form(index, kLondon) || has_form(index, kFourThreeThree)) return found(3, 80);
    if (has_form(index, kTokyo) || has_form(index, kJapanMobile)) return found(3, 80);
    const bool is_german = first.size >= 3 && first.size <= 5 && index + 1 < group_count_ &&
                           groups_[index + 1].size >= 5 && groups_[index + 1].size <= 8 &&
                           groups_[index + 1].before != '.';
    if (is_german) return found(2, has_slash ? 80 : 60);
  }
  const bool is_one_piece = first.size >= 9 && first.size <= 11;
  if (is_one_piece && begins_clean(index) && ends_clean(index) &&
      (expected_.has(Detector::kPhone) || has_context(first.begin, kPhoneWords)))
    return found(1, 60);
  return 0;
}

}  // namespace gatehouse::mask
