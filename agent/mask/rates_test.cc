// SPDX-License-Identifier: Apache-2.0
// How often detectors are wrong: made values that must be found, and made values that are nothing.
#include <gtest/gtest.h>

#include <cstdio>
#include <functional>
#include <random>
#include <string>

#include "agent/mask/scanner.h"

namespace gatehouse::mask {
namespace {

std::mt19937_64 random_source(20'24);
uint64_t below(uint64_t bound) {
  return random_source() % bound;
}
std::string digits(size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text.push_back(static_cast<char>('0' + below(10)));
  return text;
}
std::string hex(size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text.push_back("0123456789abcdef"[below(16)]);
  return text;
}
std::string word(size_t min, size_t max) {
  std::string text;
  for (size_t i = min + below(max - min + 1); i > 0; --i) text.push_back(static_cast<char>('a' + below(26)));
  return text;
}

// By another way than the code's: the digit that makes the sum right is tried for.
std::string with_luhn(std::string text) {
  for (char check = '0'; check <= '9'; ++check) {
    int sum = 0;
    for (size_t i = 0; i <= text.size(); ++i) {
      const int digit = (i == 0 ? check : text[text.size() - i]) - '0';
      sum += i % 2 == 1 ? digit * 2 / 10 + digit * 2 % 10 : digit;
    }
    if (sum % 10 == 0) return text + check;
  }
  return text;
}
std::string iban() {
  static constexpr std::pair<std::string_view, size_t> kForms[] = {
      {"DE", 18}, {"AT", 16}, {"BE", 12}, {"ES", 20}, {"PL", 24}};
  const auto& [country, size] = kForms[below(std::size(kForms))];
  const std::string account = digits(size);
  std::string number = account + std::to_string(country[0] - 'A' + 10) + std::to_string(country[1] - 'A' + 10) + "00";
  unsigned rest = 0;
  for (const char c : number) rest = (rest * 10 + static_cast<unsigned>(c - '0')) % 97;
  const unsigned check = 98 - rest;
  return std::string(country) + (check < 10 ? "0" : "") + std::to_string(check) + account;
}
std::string grouped(const std::string& text, size_t size, char separator) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (i > 0 && i % size == 0) out.push_back(separator);
    out.push_back(text[i]);
  }
  return out;
}

struct Kind {
  const char* name;
  Detector detector;
  std::function<std::string()> make;
};

TEST(Rates, WhatIsMadeIsFound) {
  const Kind kinds[] = {
      {"e-mail", Detector::kEmail,
       [] { return word(1, 10) + "." + word(1, 8) + "@" + word(2, 10) + "." + word(2, 4); }},
      {"Visa", Detector::kPan, [] { return with_luhn("4" + digits(14)); }},
      {"Mastercard, grouped", Detector::kPan,
       [] { return grouped(with_luhn("5" + std::to_string(1 + below(5)) + digits(13)), 4, ' '); }},
      {"IBAN", Detector::kIban, iban},
      {"IBAN, grouped", Detector::kIban, [] { return grouped(iban(), 4, ' '); }},
      {"SSN", Detector::kSsn,
       [] {
         return std::to_string(100 + below(500)) + "-" + std::to_string(10 + below(90)) + "-" +
                std::to_string(1000 + below(9000));
       }},
      {"E.164", Detector::kPhone,
       [] {
         return "+1" + std::to_string(2 + below(8)) + "0" + std::to_string(below(10)) + std::to_string(2 + below(8)) +
                "0" + digits(5);
       }},
      {"NANP", Detector::kPhone,
       [] {
         return "(" + std::to_string(2 + below(8)) + "0" + digits(1) + ") " + std::to_string(2 + below(8)) + "0" +
                digits(1) + "-" + digits(4);
       }},
      {"IPv4", Detector::kIpv4,
       [] {
         return std::to_string(1 + below(254)) + "." + std::to_string(below(256)) + "." + std::to_string(below(256)) +
                "." + std::to_string(below(256));
       }},
      {"IPv6", Detector::kIpv6, [] { return "2001:" + grouped(hex(28), 4, ':'); }},
      {"AWS key", Detector::kToken,
       [] {
         std::string k = "AKIA";
         for (int i = 0; i < 16; ++i) k.push_back("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[below(32)]);
         return k;
       }},
      {"JWT", Detector::kJwt, [] { return "eyJhbGciOiJIUzI1NiJ9.eyJ" + word(20, 40) + "." + word(30, 43); }},
  };
  for (const Kind& kind : kinds) {
    int whole = 0;
    constexpr int kCount = 2000;
    for (int i = 0; i < kCount; ++i) {
      const std::string value = kind.make(), text = "x: " + value + (i % 2 == 0 ? ", y" : "");
      std::vector<Found> found;
      scan(text, DetectorSet::all(), {}, found);
      whole += found.size() == 1 && found[0].detector == kind.detector && found[0].begin == 3 &&
               found[0].end == 3 + value.size();
    }
    std::printf("found %-20s %6.2f %%\n", kind.name, 100.0 * whole / kCount);
    // A card's digits may happen to be something else that begins earlier.
    EXPECT_GE(whole, kCount * 99 / 100) << kind.name;
  }
}

TEST(Rates, WhatIsNothingIsLeftAlone) {
  struct Nothing {
    const char* name;
    std::function<std::string()> make;
    double per_cent_max;
  };
  const Nothing kinds[] = {
      {"UUID",
       [] {
         const std::string h = hex(32);
         return h.substr(0, 8) + "-" + h.substr(8, 4) + "-4" + h.substr(13, 3) + "-a" + h.substr(17, 3) + "-" +
                h.substr(20);
       },
       0.02},
      {"SHA-256", [] { return hex(64); }, 0.02},
      {"MD5", [] { return hex(32); }, 0.02},
      {"timestamp",
       [] {
         return "20" + std::to_string(10 + below(20)) + "-0" + std::to_string(1 + below(9)) + "-1" + digits(1) + " 1" +
                digits(1) + ":" + std::to_string(10 + below(50)) + ":3" + digits(1) + "." + digits(6) + "+00";
       },
       0.02},
      {"epoch ms", [] { return "17" + digits(11); }, 0.1},
      {"snowflake", [] { return "1" + digits(18); }, 0.1},
      {"order number", [] { return "ORD-" + digits(8); }, 0.1},
      {"8 digits", [] { return digits(8); }, 0.1},
      {"9 digits", [] { return digits(9); }, 0.1},
      {"10 digits", [] { return digits(10); }, 0.5},
      {"12 digits", [] { return digits(12); }, 0.5},
      {"16 digits", [] { return digits(16); }, 4},
      {"decimal", [] { return digits(4) + "." + digits(16); }, 0.1},
      {"version",
       [] {
         return "v" + std::to_string(below(20)) + "." + std::to_string(below(50)) + "." + std::to_string(below(20)) +
                "." + std::to_string(below(9));
       },
       0.1},
      {"code",
       [] { return "for (int " + word(1, 5) + " = 0; " + word(2, 8) + "::" + word(2, 8) + "(" + digits(4) + ");"; },
       0.02},
      {"MAC", [] { return grouped(hex(12), 2, ':'); }, 0.02},
      {"base64",
       [] {
         std::string b;
         for (int i = 0; i < 64; ++i)
           b.push_back("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[below(64)]);
         return b;
       },
       0.1},
      {"prose",
       [] {
         std::string p;
         for (int i = 0; i < 12; ++i) p += word(1, 9) + " ";
         return p + ".";
       },
       0.02},
  };
  for (const Nothing& kind : kinds) {
    int hits = 0;
    constexpr int kCount = 20'000;
    for (int i = 0; i < kCount; ++i) {
      const std::string text = "value " + kind.make() + " end";
      std::vector<Found> found;
      hits += scan(text, DetectorSet::all(), {}, found);
    }
    const double per_cent = 100.0 * hits / kCount;
    std::printf("false %-14s %7.3f %%\n", kind.name, per_cent);
    EXPECT_LE(per_cent, kind.per_cent_max) << kind.name;
  }
}

}  // namespace
}  // namespace gatehouse::mask
