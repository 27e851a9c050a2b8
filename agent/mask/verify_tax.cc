// SPDX-License-Identifier: Apache-2.0
// Tax and national identity numbers. In their usual form, or with a checksum that chance seldom meets, they are
// believed by themselves; else where a column's name or a word before them says what they are.
#include <algorithm>
#include <array>

#include "agent/mask/act.h"
#include "agent/mask/checksums.h"
#include "agent/mask/verifier.h"

namespace gatehouse::mask {
namespace {

constexpr std::string_view kTaxes[] = {"tax",   "steuer",  "idnr",      "tin",   "vat", "cpf",      "cnpj",
                                       "nif",   "pesel",   "bsn",       "insz",  "nrn", "inn",      "sin",
                                       "tckn",  "t.c.",    "cuit",      "cuil",  "tfn", "national", "fiscal",
                                       "ident", "aadhaar", "my number", "person"};

constexpr Words kTaxWords(kTaxes);

bool is_word(char c) {
  return is_alnum(c) || c == '_';
}

struct Plain {
  uint8_t size;
  bool (*is_one)(Digits);
  bool needs_context;
  uint8_t confidence;
};
constexpr Plain kPlain[] = {
    {15, is_nir, false, 95},          {13, is_ahv, false, 95},  {13, is_south_african, true, 90},
    {13, is_rrn, true, 90},           {14, is_cnpj, true, 95},  {12, is_aadhaar, true, 85},
    {12, is_my_number, true, 80},     {12, is_inn, true, 90},   {11, is_cpf, true, 95},
    {11, is_steuer_id, true, 90},     {11, is_pesel, true, 90}, {11, is_belgian, true, 90},
    {11, is_fodselsnummer, true, 95}, {11, is_tckn, true, 95},  {11, is_cuit, true, 90},
    {10, is_personnummer, true, 85},  {10, is_inn, true, 80},   {9, is_bsn, true, 80},
    {9, is_nif_pt, true, 75},         {9, is_tfn, true, 75},
};

// Sizes of groups, what stands between them, and what they are.
struct Formed {
  Form form;
  bool (*is_one)(Digits);
  bool needs_context;
  uint8_t confidence;
};
constexpr Formed kFormed[] = {
    {{"3332", "..-"}, is_cpf, false, 99},
    {{"23342", "../-"}, is_cnpj, false, 99},
    {{"2333", "   "}, is_steuer_id, false, 85},
    {{"1222332", "      "}, is_nir, false, 99},
    {{"22232", "..-."}, is_belgian, false, 95},
    {{"3442", "..."}, is_ahv, false, 99},
    {{"64", "-"}, is_personnummer, false, 85},
    {{"67", "-"}, is_rrn, false, 95},
    {{"281", "--"}, is_cuit, false, 95},
    {{"444", "  "}, is_aadhaar, false, 80},
    {{"333", "--"}, luhn, false, 70},  // Canada
    {{"333", "  "}, luhn, true, 75},
    {{"333", "  "}, is_tfn, true, 75},
};

constexpr Form kSixThree("63", "-"), kSixFour("64", "-"), kRut("233", ".."), kShortRut("133", ".."), kNino("222", "  "),
    kEmployer("27", "-");

}  // namespace

size_t Verifier::tax(size_t index) {
  if (const size_t taken = tax_plain(index)) return taken;
  return tax_formed(index);
}

size_t Verifier::tax_plain(size_t index) {
  const Group& group = groups_[index];
  if (group.size < 7 || group.size > 18 || !begins_clean(index)) return 0;
  const Number digits = number(index, 1);
  const char after = at(digits.end);
  const bool is_letter_after = is_upper(after) && !is_word(at(digits.end + 1));
  if (group.size == 8 && is_letter_after && is_dni(digits.view(), after))
    return add(digits.begin, digits.end + 1, Detector::kTax, 90) ? 1 : 0;
  if (group.size == 17 && after == 'X' && is_letter_after && is_chinese(digits.view(), after))
    return add(digits.begin, digits.end + 1, Detector::kTax, 99) ? 1 : 0;
  if (!ends_clean(index)) {
    // Chile: 12345678-5, 12345678-K
    const bool is_rut_like = (group.size == 7 || group.size == 8) && after == '-' && !is_word(at(digits.end + 2));
    return is_rut_like && is_rut(digits.view(), at(digits.end + 1)) &&
                   add(digits.begin, digits.end + 2, Detector::kTax, 70)
               ? 2
               : 0;
  }
  if (group.size == 18 && is_chinese(digits.view().first(17), static_cast<char>('0' + digits.digits[17])))
    return add(digits.begin, digits.end, Detector::kTax, 95) ? 1 : 0;
  bool asked = false, has_word = expected_.has(Detector::kTax);
  for (const Plain& plain : kPlain) {
    if (plain.size != group.size || !plain.is_one(digits.view())) continue;
    if (plain.needs_context && !has_word) {
      if (asked) continue;
      asked = true;
      has_word = has_context(digits.begin, kTaxWords);
      if (!has_word) continue;
    }
    return add(digits.begin, digits.end, Detector::kTax, plain.confidence) ? 1 : 0;
  }
  return 0;
}

size_t Verifier::tax_formed(size_t index) {
  for (const Formed& formed : kFormed) {
    if (!has_form(index, formed.form)) continue;
    const size_t groups = formed.form.groups;
    if (!begins_clean(index) || !ends_clean(index + groups - 1)) continue;
    const Number digits = number(index, groups);
    if (!formed.is_one(digits.view())) continue;
    if (formed.needs_context && !expected_.has(Detector::kTax) && !has_context(digits.begin, kTaxWords)) continue;
    return add(digits.begin, digits.end, Detector::kTax, formed.confidence) ? groups : 0;
  }
  // Finland: 131052-308T; a check digit makes it a group of four.
  if (has_form(index, kSixThree) || has_form(index, kSixFour)) {
    const bool is_digit_check = groups_[index + 1].size == 4;
    const Number digits = number(index, 2);
    const size_t end = is_digit_check ? digits.end : digits.end + 1;
    const char check = at(end - 1);
    if (begins_clean(index) && !is_word(at(end)) && (is_digit_check || is_upper(check)) &&
        is_hetu(digits.view().first(9), check))
      return add(digits.begin, end, Detector::kTax, 95) ? 2 : 0;
  }
  // Chile: 12.345.678-5, 12.345.678-K
  if (has_form(index, kRut) || has_form(index, kShortRut)) {
    const Number digits = number(index, 3);
    if (begins_clean(index) && at(digits.end) == '-' && !is_word(at(digits.end + 2)) &&
        is_rut(digits.view(), at(digits.end + 1)))
      return add(digits.begin, digits.end + 2, Detector::kTax, 95) ? (at(digits.end + 1) == 'K' ? 3 : 4) : 0;
  }
  // The United Kingdom: QQ 12 34 56 C
  if (index == 0 && has_form(index, kNino) && groups_[0].begin >= end_ + 3) {
    const Number digits = number(index, 3);
    const size_t begin = digits.begin - 3;
    const bool has_letters = before(digits.begin) == ' ' && is_upper(text_[begin]) && is_upper(text_[begin + 1]) &&
                             at(digits.end) == ' ' && is_upper(at(digits.end + 1)) && !is_word(at(digits.end + 2)) &&
                             !is_word(before(begin));
    const std::array<char, 9> letters = {text_[begin], text_[begin + 1],  '0', '0', '0', '0', '0',
                                         '0',          at(digits.end + 1)};
    if (has_letters && is_nino({letters.data(), letters.size()}))
      return add(begin, digits.end + 2, Detector::kTax, 90) ? 3 : 0;
  }
  // Employers in the United States: 12-3456789
  if (has_form(index, kEmployer) && begins_clean(index) && ends_clean(index + 1) &&
      (expected_.has(Detector::kTax) || has_context(groups_[index].begin, kTaxWords))) {
    const Number digits = number(index, 2);
    return add(digits.begin, digits.end, Detector::kTax, 70) ? 2 : 0;
  }
  return 0;
}

}  // namespace gatehouse::mask
