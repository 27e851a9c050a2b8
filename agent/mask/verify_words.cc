// SPDX-License-Identifier: Apache-2.0
// What is known by a sign or by its beginning: e-mail, IPv6, keys, tokens, machine readable zones, and identity numbers
// of letters and digits.
#include <algorithm>
#include <array>
#include <span>

#include "agent/mask/act.h"
#include "agent/mask/checksums.h"
#include "agent/mask/verifier.h"

namespace gatehouse::mask {
namespace {

constexpr size_t kLocalPartMax = 64, kDomainMax = 253;  // RFC 5321
constexpr size_t kPemMax = 16'384, kPemTitleMax = 72;
constexpr size_t kTokenMax = 4096;

bool is_word(char c) {
  return is_alnum(c) || c == '_';
}
bool is_beyond_ascii(char c) {
  return static_cast<unsigned char>(c) >= 0x80;
}

// What may stand before and behind an @.
struct MailLetters {
  std::array<uint8_t, 256> of{};
};
constexpr uint8_t kLocal = 1, kDomain = 2;
constexpr MailLetters kMailLetters = [] {
  MailLetters letters;
  for (unsigned i = 0; i < 256; ++i) {
    const char c = static_cast<char>(i);
    const bool is_both = is_alnum(c) || c == '.' || c == '-' || i >= 0x80;
    const bool is_first = is_both || c == '_' || c == '%' || c == '+';
    letters.of[i] = static_cast<uint8_t>((is_first ? kLocal : 0) | (is_both ? kDomain : 0));
  }
  return letters;
}();
bool is_local(char c) {
  return (kMailLetters.of[static_cast<unsigned char>(c)] & kLocal) != 0;
}
bool is_domain(char c) {
  return (kMailLetters.of[static_cast<unsigned char>(c)] & kDomain) != 0;
}
bool is_base64url(char c) {
  return is_alnum(c) || c == '_' || c == '-';
}

enum class Letters : uint8_t { kUpperDigits, kAlnum, kWord, kBase64Url, kHex, kBase64 };
bool belongs(Letters letters, char c) {
  switch (letters) {
    case Letters::kUpperDigits:
      return is_upper(c) || is_digit(c);
    case Letters::kAlnum:
      return is_alnum(c);
    case Letters::kWord:
      return is_word(c);
    case Letters::kBase64Url:
      return is_base64url(c);
    case Letters::kHex:
      return hex_value(c) >= 0;
    case Letters::kBase64:
      return is_alnum(c) || c == '+' || c == '/' || c == '=';
  }
  return false;
}

struct Key {
  std::string_view prefix;
  Letters letters;
  uint16_t min, max;  // characters behind the prefix
};
// As their makers document them.
constexpr Key kKeys[] = {
    {"AKIA", Letters::kUpperDigits, 16, 16},  // Amazon Web Services
    {"ASIA", Letters::kUpperDigits, 16, 16},    {"ABIA", Letters::kUpperDigits, 16, 16},
    {"ACCA", Letters::kUpperDigits, 16, 16},    {"AIza", Letters::kBase64Url, 35, 35},      // Google Cloud
    {"ya29.", Letters::kBase64Url, 20, 2048},   {"AccountKey=", Letters::kBase64, 86, 88},  // Azure storage
    {"ghp_", Letters::kAlnum, 36, 255},                                                     // GitHub
    {"gho_", Letters::kAlnum, 36, 255},         {"ghu_", Letters::kAlnum, 36, 255},
    {"ghs_", Letters::kAlnum, 36, 255},         {"ghr_", Letters::kAlnum, 36, 255},
    {"github_pat_", Letters::kWord, 50, 255},   {"glpat-", Letters::kBase64Url, 20, 255},  // GitLab
    {"xoxb-", Letters::kBase64Url, 20, 255},                                               // Slack
    {"xoxa-", Letters::kBase64Url, 20, 255},    {"xoxp-", Letters::kBase64Url, 20, 255},
    {"xoxr-", Letters::kBase64Url, 20, 255},    {"xoxs-", Letters::kBase64Url, 20, 255},
    {"xapp-", Letters::kBase64Url, 20, 255},    {"sk_live_", Letters::kAlnum, 16, 255},  // Stripe
    {"sk_test_", Letters::kAlnum, 16, 255},     {"rk_live_", Letters::kAlnum, 16, 255},
    {"rk_test_", Letters::kAlnum, 16, 255},     {"sk-ant-", Letters::kBase64Url, 20, 255},  // Anthropic
    {"sk-proj-", Letters::kBase64Url, 20, 255},                                             // OpenAI
    {"sk-", Letters::kAlnum, 32, 255},          {"shpat_", Letters::kHex, 32, 32},          // Shopify
    {"shpss_", Letters::kHex, 32, 32},          {"shpca_", Letters::kHex, 32, 32},
    {"shppa_", Letters::kHex, 32, 32},          {"npm_", Letters::kAlnum, 36, 36},  // npm
    {"hf_", Letters::kAlnum, 30, 64},                                               // Hugging Face
    {"hvs.", Letters::kBase64Url, 24, 255},                                         // Vault
    {"NRAK-", Letters::kUpperDigits, 27, 27},                                       // New Relic
    {"PMAK-", Letters::kBase64Url, 59, 59},                                         // Postman
    {"dop_v1_", Letters::kHex, 64, 64},                                             // DigitalOcean
    {"dckr_pat_", Letters::kBase64Url, 27, 27},                                     // Docker
    {"lin_api_", Letters::kAlnum, 40, 40},                                          // Linear
    {"pypi-", Letters::kBase64Url, 50, 512},                                        // PyPI
    {"rubygems_", Letters::kHex, 48, 48},                                           // RubyGems
};

}  // namespace

bool Verifier::add(size_t begin, size_t end, Detector detector, uint8_t confidence) {
  if (!wants(detector) || begin < end_ || end > text_.size()) return false;
  found_.push_back({begin, end, detector, confidence});
  end_ = end;
  return true;
}

void Verifier::email(size_t at_sign) {
  size_t begin = at_sign;
  while (begin > end_ && at_sign - begin < kLocalPartMax && is_local(text_[begin - 1])) --begin;
  while (begin < at_sign && (text_[begin] == '.' || text_[begin] == '-' || text_[begin] == '%')) ++begin;
  if (begin == at_sign || before(at_sign) == '.') return;
  size_t end = at_sign + 1;
  while (end < text_.size() && end - at_sign <= kDomainMax && is_domain(text_[end])) ++end;
  while (end > at_sign + 1 && (text_[end - 1] == '.' || text_[end - 1] == '-')) --end;
  const std::string_view domain = text_.substr(at_sign + 1, end - at_sign - 1);
  const size_t dot = domain.rfind('.');
  if (dot == std::string_view::npos || dot == 0 || domain.size() - dot < 3) return;
  if (domain[0] == '.' || at(end) == '@') return;
  const std::string_view top = domain.substr(dot + 1);
  if (!std::ranges::all_of(top, [](char c) { return is_letter(c) || is_beyond_ascii(c); }) && !top.starts_with("xn--"))
    return;
  add(begin, end, Detector::kEmail, 99);
}

void Verifier::colons(size_t colon) {
  size_t begin = colon;
  while (begin > end_ && colon - begin < 40 && (hex_value(text_[begin - 1]) >= 0 || text_[begin - 1] == ':')) --begin;
  size_t end = colon;
  while (end < text_.size() && end - begin <= 46 &&
         (hex_value(text_[end]) >= 0 || text_[end] == ':' || text_[end] == '.'))
    ++end;
  while (end > begin && (text_[end - 1] == '.' || (text_[end - 1] == ':' && before(end - 1) != ':'))) --end;
  if (is_word(before(begin)) || is_word(at(end))) return;
  const std::string_view token = text_.substr(begin, end - begin);
  // Groups of one to four digits, one gap at most.
  size_t groups = 0, pairs = 0, gaps = 0, digits = 0, run = 0;
  bool has_decimal = false;
  for (size_t i = 0; i <= token.size(); ++i) {
    const char c = i < token.size() ? token[i] : ':';
    if (c == '.') {
      has_decimal = true;  // an address of IPv4 at the end
      break;
    }
    if (c != ':') {
      if (++run > 4) return;
      if (is_digit(c)) ++digits;
      continue;
    }
    if (run > 0) ++groups;
    if (run == 2) ++pairs;
    if (run == 0 && i > 0 && i < token.size()) ++gaps;
    run = 0;
  }
  if (gaps > 1 || digits == 0 || groups > 8 || token.size() < 6) return;
  if (has_decimal) {
    if (!token.starts_with("::ffff:") && !token.starts_with("64:ff9b:")) return;
  } else if (gaps == 0) {
    if (groups != 8 || pairs == 8) return;
  } else {
    // As they are given out: 2000::/3, fc00::/7, fe80::/10.
    const char first = token[0], second = token.size() > 1 ? static_cast<char>(token[1] | 0x20) : '\0';
    const size_t size = token.find(':');
    const bool is_global = (first == '2' || first == '3') && size == 4;
    const bool is_local = (first | 0x20) == 'f' && (second == 'c' || second == 'd' || second == 'e') && size == 4;
    if (!is_global && !is_local) return;
  }
  add(begin, end, Detector::kIpv6, 90);
}

bool Verifier::jwt(size_t begin) {
  if (is_base64url(before(begin))) return false;
  size_t end = begin, parts = 0;
  for (; parts < 3; ++parts) {
    const size_t start = end;
    while (end < text_.size() && end - begin < kPemMax && is_base64url(text_[end])) ++end;
    // Header and payload are JSON objects: {" in base64 begins eyJ. The signature may be empty.
    if (parts < 2 && (end - start < 10 || !text_.substr(start).starts_with("eyJ"))) return false;
    if (parts < 2 && at(end) != '.') return false;
    if (parts < 2) ++end;
  }
  return add(begin, end, Detector::kJwt, 99);
}

bool Verifier::private_key(size_t dashes) {
  // "--B" is near the end of -----BEGIN.
  if (dashes < end_ + 3) return false;
  const size_t begin = dashes - 3;
  if (!text_.substr(begin).starts_with("-----BEGIN ")) return false;
  const std::string_view window = text_.substr(begin, kPemMax);
  const size_t title = window.substr(0, kPemTitleMax).find("PRIVATE KEY", 11);
  if (title == std::string_view::npos) return false;
  static constexpr std::string_view kEnd = "-----END";
  const size_t footer = window.find(kEnd, title);
  size_t end = 0;
  if (footer != std::string_view::npos) {
    const size_t close = window.find("-----", footer + kEnd.size());
    end = close == std::string_view::npos ? window.size() : close + 5;
  } else {
    // Cut: as far as it looks like one.
    end = title;
    const auto belongs_to = [](char c) {
      return is_alnum(c) || std::string_view{" \r\n\\+/=-:,"}.find(c) != std::string_view::npos;
    };
    while (end < window.size() && belongs_to(window[end])) ++end;
  }
  return add(begin, begin + end, Detector::kPem, 99);
}

bool Verifier::key(size_t begin) {
  if (is_word(before(begin))) return false;
  const std::string_view rest = text_.substr(begin, kTokenMax);
  for (const Key& known : kKeys) {
    if (!rest.starts_with(known.prefix)) continue;
    size_t end = known.prefix.size();
    while (end < rest.size() && end - known.prefix.size() <= known.max && belongs(known.letters, rest[end])) ++end;
    const size_t size = end - known.prefix.size();
    if (size < known.min || size > known.max) continue;
    return add(begin, begin + end, Detector::kToken, 95);
  }
  static constexpr std::string_view kHook = "hooks.slack.com/services/";
  if (rest.starts_with(kHook)) {
    size_t end = kHook.size();
    while (end < rest.size() && (is_alnum(rest[end]) || rest[end] == '/')) ++end;
    return end > kHook.size() + 20 && add(begin, begin + end, Detector::kToken, 95);
  }
  // SendGrid: SG.22.43
  if (rest.starts_with("SG.") && rest.size() >= 69 && rest[25] == '.' &&
      std::ranges::all_of(rest.substr(3, 22), is_base64url) && std::ranges::all_of(rest.substr(26, 43), is_base64url))
    return add(begin, begin + 69, Detector::kToken, 95);
  return false;
}

// ICAO 9303, two lines of 44: P<COUNTRY NAME, then number, its check digit, nationality, birth, sex, expiry.
bool Verifier::machine_readable(size_t begin) {
  if (is_alnum(before(begin)) || text_.size() - begin < 88) return false;
  const auto is_zone = [](char c) { return is_upper(c) || is_digit(c) || c == '<'; };
  size_t second = begin;
  while (second < text_.size() && second - begin < 44 && is_zone(text_[second])) ++second;
  if (second - begin != 44) return false;
  while (second < text_.size() && (text_[second] == '\n' || text_[second] == '\r' || text_[second] == ' ')) ++second;
  const std::string_view line = text_.substr(second, 44);
  if (line.size() != 44 || !std::ranges::all_of(line, is_zone)) return false;
  const auto check = [&](size_t from, size_t count) {
    static constexpr unsigned kWeights[] = {7, 3, 1};
    unsigned sum = 0;
    for (size_t i = 0; i < count; ++i) {
      const char c = line[from + i];
      sum += kWeights[i % 3] * static_cast<unsigned>(c == '<' ? 0 : is_digit(c) ? c - '0' : c - 'A' + 10);
    }
    return static_cast<char>('0' + sum % 10) == line[from + count];
  };
  return check(0, 9) && check(13, 6) && check(21, 6) && add(begin, second + 44, Detector::kPassport, 99);
}

void Verifier::literal(size_t begin) {
  const std::string_view rest = text_.substr(begin);
  if (rest.starts_with("--B")) {
    if (wants(Detector::kPem)) private_key(begin);
    return;
  }
  if (rest.starts_with("eyJ")) {
    if (wants(Detector::kJwt)) jwt(begin);
    return;
  }
  if (rest.starts_with("P<")) {
    if (wants(Detector::kPassport)) machine_readable(begin);
    return;
  }
  if ((rest[0] | 0x20) == 'p' && (rest[1] | 0x20) == 'a') {
    // A word for passport: a number of letters and digits behind it, which no run of digits shows.
    if (!wants(Detector::kPassport)) return;
    static constexpr std::string_view kWords[] = {"passport", "passeport", "pasaporte", "passaporto",
                                                  "pass-nr",  "pass nr",   "pass no",   "passnummer"};
    const auto says = [&](std::string_view word) {
      return rest.size() > word.size() && std::ranges::equal(rest.substr(0, word.size()), word, [](char a, char b) {
               return (is_upper(a) ? static_cast<char>(a + 32) : a) == b;
             });
    };
    const auto* word = std::ranges::find_if(kWords, says);
    const bool is_german = begin >= 4 && text_.substr(begin - 4, 9) == "eisepass ";
    if (word == std::end(kWords) && !is_german) return;
    size_t at = begin + (is_german ? 4 : word->size());
    for (const size_t stop = std::min(text_.size(), at + 24); at < stop; ++at) {
      size_t end = at, digits = 0;
      while (end < text_.size() && (is_upper(text_[end]) || is_digit(text_[end]))) digits += is_digit(text_[end++]);
      if (end - at >= 7 && end - at <= 10 && digits >= 4 && !is_word(before(at)) && !is_word(this->at(end))) {
        add(at, end, Detector::kPassport, 80);
        return;
      }
      at = std::max(at, end);
    }
    return;
  }
  if (wants(Detector::kToken)) key(begin);
}

void Verifier::mixed(size_t place) {
  const auto try_form = [&](size_t back, size_t size, auto is_one, uint8_t confidence) {
    if (place < end_ + back || place - back + size > text_.size()) return false;
    const size_t begin = place - back;
    if (is_word(before(begin)) || is_word(at(begin + size))) return false;
    return is_one(text_.substr(begin, size)) && add(begin, begin + size, Detector::kTax, confidence);
  };
  const auto is_form = [](std::string_view text, std::string_view form) {
    for (size_t i = 0; i < form.size(); ++i)
      if (form[i] == 'D' ? !is_digit(text[i]) : !is_upper(text[i])) return false;
    return true;
  };
  if (try_form(5, 16, is_codice_fiscale, 99) || try_form(2, 18, is_curp, 99)) return;
  if (try_form(0, 9, [&](std::string_view text) { return is_form(text, "LLDDDDDDL") && is_nino(text); }, 85)) return;
  try_form(0, 10, [&](std::string_view text) { return is_form(text, "LLLLLDDDDL") && is_indian_pan(text); }, 85);
}

}  // namespace gatehouse::mask
