// SPDX-License-Identifier: Apache-2.0
#include "agent/mask/texts.h"

#include <algorithm>

#include "agent/mask/ff1.h"

namespace gatehouse::mask {
namespace {

constexpr std::string_view kDigitTweak = "digits", kLetterTweak = "letters";
// Tries until a number does not begin with 0: one in ten does, and each try is another one.
constexpr int kWalksMax = 64;

// Pseudorandom bytes that depend on all of a value: AES in counter mode from its HMAC.
class Stream {
 public:
  Stream(const MaskKey& key, std::string_view value) : key_(key) {
    const MaskKey::Digest digest = key.hmac(static_cast<uint8_t>(Domain::kText), bytes_of(value));
    std::copy_n(digest.begin() + 16, seed_.size(), seed_.begin());
  }
  // 0 to bound - 1; bound is small, so what modulo adds to the first ones is below 2^-56.
  unsigned below(unsigned bound) {
    if (left_ == 0) refill();
    --left_;
    uint64_t number = 0;
    std::memcpy(&number, block_.data() + left_ * 8, 8);
    return static_cast<unsigned>(number % bound);
  }

 private:
  void refill() {
    block_ = seed_;
    for (size_t i = 0; i < 8; ++i) block_[i] ^= static_cast<std::byte>(counter_ >> (8 * i) & 0xff);
    ++counter_;
    key_.encrypt(block_);
    left_ = 2;
  }
  const MaskKey& key_;
  MaskKey::Block seed_{}, block_{};
  uint64_t counter_ = 0;
  size_t left_ = 0;
};

struct Letters {
  size_t digits = 0, letters = 0, others = 0;  // others: not ASCII
};
Letters count(std::string_view value) {
  Letters letters;
  for (const char c : value) {
    letters.digits += is_digit(c) ? 1 : 0;
    letters.letters += is_letter(c) ? 1 : 0;
    letters.others += static_cast<unsigned char>(c) >= 0x80 ? 1 : 0;
  }
  return letters;
}

// Bytes of a character of UTF-8 behind its first are left out, so that a character becomes one letter.
bool is_continuation(char c) {
  return (static_cast<unsigned char>(c) & 0xc0) == 0x80;
}

void append_partial_email(std::string_view value, size_t at, std::string& out) {
  if (at > 0 && is_alnum(value[0])) out.push_back(value[0]);
  out += "***@***";
  const size_t dot = value.rfind('.');
  if (dot == std::string_view::npos || dot < at) return;
  const std::string_view top = value.substr(dot);
  if (top.size() > 1 && std::ranges::all_of(top.substr(1), is_letter)) out += top;
}

}  // namespace

void append_last_four(std::string_view value, std::string& out) {
  const size_t all = static_cast<size_t>(std::ranges::count_if(value, is_alnum));
  size_t seen = 0;
  // At least as many are hidden as are shown.
  const size_t shown = std::min<size_t>(4, all / 2);
  for (const char c : value) {
    if (is_alnum(c)) {
      out.push_back(seen++ < all - shown ? '*' : c);
    } else if (c == ' ' || c == '-' || c == '.' || c == '/' || c == '+' || c == '(' || c == ')') {
      out.push_back(c);
    }
  }
}

void append_partial(std::string_view value, std::string& out) {
  const size_t at = value.find('@');
  if (at != std::string_view::npos && at == value.rfind('@') && at > 0 && at + 1 < value.size())
    return append_partial_email(value, at, out);
  const Letters letters = count(value);
  // A number that people write: card, phone, account; with a few letters at most.
  if (letters.digits >= 7 && letters.digits >= letters.letters && letters.others == 0 && value.size() <= 64)
    return append_last_four(value, out);
  if (value.size() >= 4 && is_alnum(value[0])) out.push_back(value[0]);
  out += kRedacted;
}

void append_hashed(const Act& act, std::string_view value, std::string& out) {
  if (act.key == nullptr) {
    out += kRedacted;
    return;
  }
  const MaskKey::Digest digest = act.key->hmac(static_cast<uint8_t>(Domain::kText), bytes_of(value));
  std::array<char, 32> hex;
  for (size_t i = 0; i < 16; ++i) {
    hex[2 * i] = kHexDigits[std::to_integer<unsigned>(digest[i]) >> 4];
    hex[2 * i + 1] = kHexDigits[std::to_integer<unsigned>(digest[i]) & 15];
  }
  out.append(hex.data(), hex.size());
}

void tokenise_digits(const Act& act, std::span<char> digits, bool keeps_lead) {
  if (!ff1_takes(10, digits.size())) {
    act.count_fallback();
    Stream stream(*act.key, {digits.data(), digits.size()});
    for (size_t i = 0; i < digits.size(); ++i) {
      const bool lead = keeps_lead && i == 0;
      digits[i] = static_cast<char>(lead ? '1' + stream.below(9) : '0' + stream.below(10));
    }
    return;
  }
  std::array<uint16_t, kFf1NumeralsMax> numerals;
  const auto used = std::span{numerals}.first(digits.size());
  for (size_t i = 0; i < digits.size(); ++i) used[i] = static_cast<uint16_t>(digits[i] - '0');
  int walks = 0;
  do ff1_encrypt(*act.key, 10, bytes_of(kDigitTweak), used);
  while (keeps_lead && used[0] == 0 && ++walks < kWalksMax);
  for (size_t i = 0; i < digits.size(); ++i) digits[i] = static_cast<char>('0' + used[i]);
}

void append_tokenised(const Act& act, std::string_view value, std::string& out) {
  if (act.key == nullptr) {
    out += kRedacted;
    return;
  }
  const Letters letters = count(value);
  const bool digits_by_ff1 = ff1_takes(10, letters.digits), letters_by_ff1 = ff1_takes(26, letters.letters);
  std::array<uint16_t, kFf1NumeralsMax> digits, alphabet;
  if (digits_by_ff1 || letters_by_ff1) {
    size_t digit_count = 0, letter_count = 0;
    for (const char c : value) {
      if (digits_by_ff1 && is_digit(c)) digits[digit_count++] = static_cast<uint16_t>(c - '0');
      if (letters_by_ff1 && is_letter(c)) alphabet[letter_count++] = static_cast<uint16_t>((c | 0x20) - 'a');
    }
    if (digits_by_ff1) ff1_encrypt(*act.key, 10, bytes_of(kDigitTweak), std::span{digits}.first(digit_count));
    if (letters_by_ff1) ff1_encrypt(*act.key, 26, bytes_of(kLetterTweak), std::span{alphabet}.first(letter_count));
  }
  const bool falls_back =
      (letters.digits > 0 && !digits_by_ff1) || (letters.letters > 0 && !letters_by_ff1) || letters.others > 0;
  std::optional<Stream> stream;
  if (falls_back) {
    stream.emplace(*act.key, value);
    act.count_fallback();
  }
  const size_t begin = out.size();
  out.resize(begin + value.size());
  char* to = out.data() + begin;
  size_t digit = 0, letter = 0;
  for (const char c : value) {
    if (is_digit(c)) {
      *to++ = static_cast<char>('0' + (digits_by_ff1 ? digits[digit++] : stream->below(10)));
    } else if (is_letter(c)) {
      const unsigned of = letters_by_ff1 ? alphabet[letter++] : stream->below(26);
      *to++ = static_cast<char>((is_lower(c) ? 'a' : 'A') + of);
    } else if (static_cast<unsigned char>(c) < 0x80) {
      *to++ = c;
    } else if (!is_continuation(c)) {
      *to++ = static_cast<char>('a' + stream->below(26));
    }
  }
  out.resize(static_cast<size_t>(to - out.data()));
}

void mask_text(const Act& act, std::string_view value, std::string& out) {
  switch (act.method) {
    case Method::kPartial:
      return append_partial(value, out);
    case Method::kHash:
      return append_hashed(act, value, out);
    case Method::kTokenise:
      return append_tokenised(act, value, out);
    case Method::kBucket:  // text has no order to cut by, but a number kept as text has
    case Method::kRedact:
    case Method::kNull:
      out += kRedacted;
      return;
  }
}

namespace {

void append_partial_span(Detector detector, std::string_view span, std::string& out) {
  switch (detector) {
    case Detector::kEmail:
      return append_partial_email(span, span.find('@'), out);
    case Detector::kPan:
    case Detector::kIban:
    case Detector::kSsn:
    case Detector::kPhone:
    case Detector::kPassport:
    case Detector::kTax:
      return append_last_four(span, out);
    case Detector::kIpv4:
      out += span.substr(0, span.rfind('.'));
      out += ".0";
      return;
    case Detector::kIpv6: {
      size_t groups = 0, end = 0;
      while (end < span.size() && !(span[end] == ':' && (++groups == 3 || span.substr(end, 2) == "::"))) ++end;
      out += span.substr(0, end);
      out += "::";
      return;
    }
    case Detector::kBirthDate: {
      // The year stays, wherever it stands.
      size_t begin = 0;
      while (begin < span.size()) {
        size_t end = begin;
        while (end < span.size() && is_digit(span[end])) ++end;
        if (end - begin == 4) {
          out += span.substr(begin, 4);
        } else {
          out.append(end - begin, '*');
        }
        for (; end < span.size() && !is_digit(span[end]); ++end) out.push_back(is_letter(span[end]) ? '*' : span[end]);
        begin = end;
      }
      return;
    }
    case Detector::kJwt:
    case Detector::kPem:
    case Detector::kToken:
      break;
  }
  if (detector == Detector::kToken && span.size() >= 16) out += span.substr(0, 4);
  out += kRedacted;
}

}  // namespace

void mask_span(const Act& act, Detector detector, std::string_view span, std::string& out) {
  switch (act.method) {
    case Method::kPartial:
      return append_partial_span(detector, span, out);
    case Method::kHash:
      return append_hashed(act, span, out);
    case Method::kTokenise:
      if (detector == Detector::kPem) break;
      if (detector == Detector::kEmail) {
        const size_t dot = span.rfind('.');
        append_tokenised(act, span.substr(0, dot), out);
        out += span.substr(dot);
        return;
      }
      return append_tokenised(act, span, out);
    case Method::kBucket:
      if (detector == Detector::kIpv4 || detector == Detector::kIpv6 || detector == Detector::kBirthDate)
        return append_partial_span(detector, span, out);
      break;
    case Method::kRedact:
    case Method::kNull:
      break;
  }
  out += kRedacted;
}

}  // namespace gatehouse::mask
