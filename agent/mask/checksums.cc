// SPDX-License-Identifier: Apache-2.0
#include "agent/mask/checksums.h"

#include <algorithm>
#include <array>

#include "agent/mask/act.h"

namespace gatehouse::mask {
namespace {

uint64_t number(Digits digits) {
  uint64_t value = 0;
  for (const uint8_t digit : digits) value = value * 10 + digit;
  return value;
}
unsigned two(Digits digits, size_t at) {
  return digits[at] * 10u + digits[at + 1];
}
bool all_same(Digits digits) {
  return std::ranges::all_of(digits, [&](uint8_t digit) { return digit == digits[0]; });
}

struct CardRange {
  uint32_t first, last;  // of the first six digits
  uint8_t length_min, length_max;
};
// As the issuers publish them; those of Maestro that are not spoken for by others.
constexpr CardRange kCards[] = {
    {220000, 220499, 16, 19},  // Mir
    {222100, 272099, 16, 16},  // Mastercard
    {300000, 305999, 14, 19},  // Diners
    {340000, 349999, 15, 15},  // American Express
    {352800, 358999, 16, 19},  // JCB
    {360000, 369999, 14, 19},  // Diners
    {370000, 379999, 15, 15},  // American Express
    {380000, 399999, 16, 19},  // Diners
    {400000, 499999, 16, 16},  // Visa, also of 13 and 19
    {501800, 502099, 12, 19},  // Maestro
    {503800, 503899, 12, 19},  // Maestro
    {506000, 506199, 16, 19},  // Verve
    {510000, 559999, 16, 16},  // Mastercard
    {589300, 589399, 12, 19},  // Maestro
    {601100, 601199, 16, 19},  // Discover
    {606900, 608999, 16, 16},  // RuPay
    {620000, 629999, 16, 19},  // UnionPay
    {630400, 630499, 12, 19},  // Maestro
    {644000, 659999, 16, 19},  // Discover, Verve
    {675900, 676399, 12, 19},  // Maestro
    {810000, 829999, 16, 19},  // UnionPay, RuPay
};
static_assert(std::ranges::is_sorted(kCards, {}, &CardRange::first));

// Pairs of country and length, as SWIFT's registry has them.
constexpr std::string_view kIbans =
    "AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24FI18FK18FO18FR27"
    "GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24ME22"
    "MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28"
    "TL23TN24TR26UA29VA22VG24XK20YE30";

struct IbanLengths {
  std::array<uint8_t, 26 * 26> of{};
};
constexpr IbanLengths kIbanLengths = [] {
  IbanLengths lengths;
  for (size_t i = 0; i + 4 <= kIbans.size(); i += 4) {
    const auto index = static_cast<size_t>((kIbans[i] - 'A') * 26 + (kIbans[i + 1] - 'A'));
    lengths.of[index] = static_cast<uint8_t>((kIbans[i + 2] - '0') * 10 + (kIbans[i + 3] - '0'));
  }
  return lengths;
}();

}  // namespace

bool luhn(Digits digits) {
  unsigned sum = 0;
  bool doubled = false;
  for (size_t i = digits.size(); i-- > 0; doubled = !doubled) {
    const unsigned digit = doubled ? digits[i] * 2u : digits[i];
    sum += digit > 9 ? digit - 9 : digit;
  }
  return sum % 10 == 0;
}

// The dihedral group of ten elements: d its product, p the permutation by place.
bool verhoeff(Digits digits) {
  static constexpr uint8_t kPermutation[10] = {1, 5, 7, 6, 2, 8, 3, 0, 9, 4};
  const auto product = [](unsigned a, unsigned b) {
    if (a < 5) return b < 5 ? (a + b) % 5 : (a + b - 5) % 5 + 5;
    return b < 5 ? (a - 5 + 5 - b) % 5 + 5 : (a - 5 + 5 - (b - 5)) % 5;
  };
  unsigned check = 0;
  for (size_t place = 0; place < digits.size(); ++place) {
    unsigned digit = digits[digits.size() - 1 - place];
    for (size_t turn = place % 8; turn > 0; --turn) digit = kPermutation[digit];
    check = product(check, digit);
  }
  return check == 0;
}

unsigned weighted(Digits digits, std::span<const uint8_t> weights) {
  unsigned sum = 0;
  for (size_t i = 0; i < weights.size() && i < digits.size(); ++i) sum += unsigned{digits[i]} * weights[i];
  return sum;
}

bool is_card(Digits digits) {
  if (digits.size() < 12 || digits.size() > 19) return false;
  // The two commonest, without a search.
  const bool is_usual = digits.size() == 16 && (digits[0] == 4 || (digits[0] == 5 && digits[1] >= 1 && digits[1] <= 5));
  if (is_usual) return luhn(digits);
  const auto first = static_cast<uint32_t>(number(digits.first(6)));
  const auto* range = std::ranges::upper_bound(kCards, first, {}, &CardRange::first);
  if (range == std::begin(kCards)) return false;
  --range;
  if (first > range->last) return false;
  const bool is_visa = range->first == 400000 && (digits.size() == 13 || digits.size() == 19);
  if (!is_visa && (digits.size() < range->length_min || digits.size() > range->length_max)) return false;
  return luhn(digits);
}

size_t iban_length(char first, char second) {
  if (!is_upper(first) || !is_upper(second)) return 0;
  return kIbanLengths.of[static_cast<size_t>((first - 'A') * 26 + (second - 'A'))];
}

bool is_iban(std::string_view text) {
  if (text.size() < 15 || text.size() != iban_length(text[0], text[1])) return false;
  // Country and check digits stand at the end of the number; it is reduced only where it would not fit.
  uint64_t rest = 0;
  bool is_sound = true;
  for (const std::string_view part : {text.substr(4), text.substr(0, 4)}) {
    for (const char c : part) {
      if (is_digit(c)) {
        rest = rest * 10 + static_cast<unsigned>(c - '0');
      } else {
        is_sound = is_sound && is_upper(c);
        rest = rest * 100 + static_cast<unsigned>(c - 'A' + 10);
      }
      if (rest > uint64_t{1} << 56) rest %= 97;
    }
  }
  return is_sound && rest % 97 == 1;
}

bool is_ssn(Digits nine) {
  const uint64_t area = number(nine.first(3));
  return area != 0 && area != 666 && area < 900 && two(nine, 3) != 0 && number(nine.subspan(5)) != 0;
}

bool is_itin(Digits nine) {
  const unsigned group = two(nine, 3);
  return nine[0] == 9 && ((group >= 50 && group <= 65) || (group >= 70 && group <= 88) ||
                          (group >= 90 && group <= 92) || (group >= 94 && group <= 99));
}

bool is_date(unsigned day, unsigned month, unsigned year) {
  if (month < 1 || month > 12 || day < 1) return false;
  static constexpr uint8_t kDays[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (day > kDays[month - 1]) return false;
  return day < 29 || month != 2 || year % 4 == 0;
}

bool is_cpf(Digits digits) {
  if (all_same(digits)) return false;
  static constexpr uint8_t kWeights[] = {11, 10, 9, 8, 7, 6, 5, 4, 3, 2};
  const unsigned first = weighted(digits, std::span{kWeights}.subspan(1)) * 10 % 11 % 10;
  const unsigned second = weighted(digits, kWeights) * 10 % 11 % 10;
  return digits[9] == first && digits[10] == second;
}

bool is_cnpj(Digits digits) {
  if (all_same(digits)) return false;
  static constexpr uint8_t kWeights[] = {6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2};
  const auto check = [&](std::span<const uint8_t> weights) {
    const unsigned rest = weighted(digits, weights) % 11;
    return rest < 2 ? 0u : 11 - rest;
  };
  return digits[12] == check(std::span{kWeights}.subspan(1)) && digits[13] == check(kWeights);
}

namespace {

// ISO 7064, mod 11, 10.
unsigned iso_11_10(Digits digits) {
  unsigned product = 10;
  for (const uint8_t digit : digits) {
    const unsigned sum = (digit + product) % 10;
    product = (sum == 0 ? 10 : sum) * 2 % 11;
  }
  return (11 - product) % 10;
}

}  // namespace

bool is_steuer_id(Digits digits) {
  if (digits[0] == 0) return false;
  // One digit stands there twice or three times, and so at least one is missing.
  std::array<uint8_t, 10> counts{};
  for (const uint8_t digit : digits.first(10)) ++counts[digit];
  const auto repeated = std::ranges::count_if(counts, [](uint8_t count) { return count > 1; });
  if (repeated != 1 || *std::ranges::max_element(counts) > 3) return false;
  return digits[10] == iso_11_10(digits.first(10));
}
bool is_german_vat(Digits digits) {
  return digits[0] != 0 && digits[8] == iso_11_10(digits.first(8));
}

bool is_nir(Digits digits) {
  const unsigned month = two(digits, 3);
  if (digits[0] < 1 || digits[0] > 2 || month == 0 || (month > 12 && month < 20)) return false;
  return 97 - number(digits.first(13)) % 97 == two(digits, 13);
}

bool is_bsn(Digits digits) {
  if (number(digits) == 0) return false;
  static constexpr uint8_t kWeights[] = {9, 8, 7, 6, 5, 4, 3, 2};
  return weighted(digits, kWeights) % 11 == digits[8];
}

bool is_pesel(Digits digits) {
  static constexpr uint8_t kWeights[] = {1, 3, 7, 9, 1, 3, 7, 9, 1, 3};
  // The month says the century, in steps of 20.
  return is_date(two(digits, 4), two(digits, 2) % 20, two(digits, 0)) &&
         (10 - weighted(digits, kWeights) % 10) % 10 == digits[10];
}

bool is_belgian(Digits digits) {
  const unsigned month = two(digits, 2), day = two(digits, 4), check = two(digits, 9);
  if (month > 12 || day > 31) return false;
  const uint64_t value = number(digits.first(9));
  return 97 - value % 97 == check || 97 - (value + 2'000'000'000) % 97 == check;
}

bool is_personnummer(Digits digits) {
  const unsigned day = two(digits, 4);
  // 60 more: a number of somebody who is not registered yet.
  return is_date(day > 60 ? day - 60 : day, two(digits, 2), two(digits, 0)) && luhn(digits);
}

bool is_fodselsnummer(Digits digits) {
  static constexpr uint8_t kFirst[] = {3, 7, 6, 1, 8, 9, 4, 5, 2, 1};
  static constexpr uint8_t kSecond[] = {5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1};
  const unsigned day = two(digits, 0), month = two(digits, 2);
  return is_date(day > 40 ? day - 40 : day, month > 40 ? month - 40 : month, two(digits, 4)) &&
         weighted(digits, kFirst) % 11 == 0 && weighted(digits, kSecond) % 11 == 0;
}

bool is_chinese(Digits digits, char check) {
  static constexpr uint8_t kWeights[] = {7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2};
  const unsigned year = two(digits, 6) * 100 + two(digits, 8);
  if (digits[0] == 0 || year < 1900 || year > 2099 || !is_date(two(digits, 12), two(digits, 10), year)) return false;
  return "10X98765432"[weighted(digits, kWeights) % 11] == check;
}

bool is_rrn(Digits digits) {
  static constexpr uint8_t kWeights[] = {2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5};
  return digits[6] >= 1 && digits[6] <= 8 && is_date(two(digits, 4), two(digits, 2), two(digits, 0)) &&
         (11 - weighted(digits, kWeights) % 11) % 10 == digits[12];
}

bool is_south_african(Digits digits) {
  return is_date(two(digits, 4), two(digits, 2), two(digits, 0)) && digits[10] <= 2 && luhn(digits);
}

bool is_cuit(Digits digits) {
  static constexpr uint8_t kWeights[] = {5, 4, 3, 2, 7, 6, 5, 4, 3, 2};
  const unsigned kind = two(digits, 0);
  if (kind != 20 && kind != 23 && kind != 24 && kind != 27 && kind != 30 && kind != 33 && kind != 34) return false;
  const unsigned check = 11 - weighted(digits, kWeights) % 11;
  return (check == 11 ? 0 : check == 10 ? 9 : check) == digits[10];
}

bool is_tckn(Digits digits) {
  if (digits[0] == 0) return false;
  static constexpr uint8_t kOdd[] = {7, 9, 7, 9, 7, 9, 7, 9, 7};
  unsigned sum = 0;
  for (const uint8_t digit : digits.first(10)) sum += digit;
  // Odd places seven times less the even ones; minus one is plus nine.
  return weighted(digits, kOdd) % 10 == digits[9] && sum % 10 == digits[10];
}

bool is_tfn(Digits digits) {
  static constexpr uint8_t kWeights[] = {1, 4, 3, 7, 5, 8, 6, 9, 10};
  return weighted(digits, kWeights) % 11 == 0 && !all_same(digits);
}

bool is_nif_pt(Digits digits) {
  static constexpr uint8_t kWeights[] = {9, 8, 7, 6, 5, 4, 3, 2};
  const unsigned rest = weighted(digits, kWeights) % 11;
  return digits[0] != 0 && (rest < 2 ? 0 : 11 - rest) == digits[8];
}

bool is_ahv(Digits digits) {
  static constexpr uint8_t kWeights[] = {1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1};
  return number(digits.first(3)) == 756 && weighted(digits, kWeights) % 10 == 0;
}

bool is_aadhaar(Digits digits) {
  return digits[0] >= 2 && verhoeff(digits) && !all_same(digits);
}

bool is_my_number(Digits digits) {
  static constexpr uint8_t kWeights[] = {6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2};
  const unsigned rest = weighted(digits, kWeights) % 11;
  return (rest < 2 ? 0 : 11 - rest) == digits[11] && !all_same(digits);
}

bool is_inn(Digits digits) {
  static constexpr uint8_t kWeights[] = {3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8};
  const auto check = [&](size_t skip) { return weighted(digits, std::span{kWeights}.subspan(skip)) % 11 % 10; };
  if (number(digits) == 0) return false;
  if (digits.size() == 10) return check(2) == digits[9];
  return digits.size() == 12 && check(1) == digits[10] && check(0) == digits[11];
}

bool is_dni(Digits digits, char letter) {
  return "TRWAGMYFPDXBNJZSQVHLCKE"[number(digits) % 23] == letter;
}

bool is_hetu(Digits digits, char check) {
  return is_date(two(digits, 0), two(digits, 2), two(digits, 4)) && number(digits.subspan(6)) >= 2 &&
         "0123456789ABCDEFHJKLMNPRSTUVWXY"[number(digits) % 31] == check;
}

bool is_rut(Digits digits, char check) {
  unsigned sum = 0, weight = 2;
  for (size_t i = digits.size(); i-- > 0; weight = weight == 7 ? 2 : weight + 1) sum += digits[i] * weight;
  const unsigned rest = 11 - sum % 11;
  return (rest == 11 ? '0' : rest == 10 ? 'K' : static_cast<char>('0' + rest)) == check;
}

bool is_codice_fiscale(std::string_view text) {
  static constexpr std::string_view kForm = "LLLLLLDDLDDLDDDL";
  // Values of digits and letters at odd places.
  static constexpr uint8_t kOdd[] = {1,  0,  5, 7, 9, 13, 15, 17, 19, 21, 2,  4,  18,
                                     20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23};
  unsigned sum = 0;
  for (size_t i = 0; i < kForm.size(); ++i) {
    const char c = text[i];
    if (kForm[i] == 'D' ? !is_digit(c) : !is_upper(c)) return false;
    if (i == 15) break;
    const auto value = static_cast<unsigned>(is_digit(c) ? c - '0' : c - 'A');
    sum += i % 2 == 0 ? kOdd[value] : value;
  }
  return std::string_view{"ABCDEHLMPRST"}.find(text[8]) != std::string_view::npos &&
         text[15] == static_cast<char>('A' + sum % 26);
}

bool is_curp(std::string_view text) {
  static constexpr std::string_view kForm = "LLLLDDDDDDLLLLLLAD";
  unsigned sum = 0;
  for (size_t i = 0; i < kForm.size(); ++i) {
    const char c = text[i];
    if (kForm[i] == 'D' ? !is_digit(c) : kForm[i] == 'L' ? !is_upper(c) : !is_digit(c) && !is_upper(c)) return false;
    // 0 to 9, A to N, then Ñ, which does not stand in text of ASCII, then O to Z.
    const auto value = static_cast<unsigned>(is_digit(c) ? c - '0' : c <= 'N' ? c - 'A' + 10 : c - 'A' + 11);
    if (i < 17) sum += value * static_cast<unsigned>(18 - i);
  }
  return (text[10] == 'H' || text[10] == 'M' || text[10] == 'X') &&
         static_cast<unsigned>(text[17] - '0') == (10 - sum % 10) % 10;
}

bool is_nino(std::string_view text) {
  const auto has = [](std::string_view set, char c) { return set.find(c) != std::string_view::npos; };
  static constexpr std::string_view kNever[] = {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"};
  return !has("DFIQUV", text[0]) && !has("DFIOQUV", text[1]) && has("ABCD", text[8]) &&
         std::ranges::find(kNever, text.substr(0, 2)) == std::end(kNever);
}

bool is_indian_pan(std::string_view text) {
  return std::string_view{"ABCFGHJLPT"}.find(text[3]) != std::string_view::npos;
}

}  // namespace gatehouse::mask
