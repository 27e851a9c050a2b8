// SPDX-License-Identifier: Apache-2.0
#include "agent/mask/scanner.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "agent/mask/blocks.h"

namespace gatehouse::mask {
namespace {

struct Case {
  std::string_view text;
  std::string_view want;  // "email[4,15) …"; what each begins and ends with is shown by the text itself
  DetectorSet expected{};
};

std::string found_in(std::string_view text, DetectorSet expected = {}, DetectorSet what = DetectorSet::all()) {
  std::vector<Found> found;
  scan(text, what, expected, found);
  std::string told;
  for (const Found& span : found) {
    told += (told.empty() ? "" : "; ") + std::string(name_of(span.detector)) + " ";
    told += text.substr(span.begin, span.end - span.begin);
  }
  return told;
}

constexpr Case kFound[] = {
    {"ada@example.org", "email ada@example.org"},
    {"write to <ada.l+x@mail.example.co.uk>, or not", "email ada.l+x@mail.example.co.uk"},
    {"mailto:ada@example.org.", "email ada@example.org"},
    {"4111111111111111", "pan 4111111111111111"},
    {"card 4111 1111 1111 1111 ok", "pan 4111 1111 1111 1111"},
    {"5500-0000-0000-0004", "pan 5500-0000-0000-0004"},
    {"3782 822463 10005", "pan 3782 822463 10005"},
    {"2024-05-06 4012888888881881 x", "pan 4012888888881881"},
    {"6011111111111117,6011000990139424", "pan 6011111111111117; pan 6011000990139424"},
    {"DE89370400440532013000", "iban DE89370400440532013000"},
    {"IBAN: DE89 3704 0044 0532 0130 00.", "iban DE89 3704 0044 0532 0130 00"},
    {"GB29 NWBK 6016 1331 9268 19", "iban GB29 NWBK 6016 1331 9268 19"},
    {"FR1420041010050500013M02606", "iban FR1420041010050500013M02606"},
    {"NL91ABNA0417164300 ", "iban NL91ABNA0417164300"},
    {"ssn 123-45-6789", "ssn 123-45-6789"},
    {"SSN: 123456789", "ssn 123456789"},
    {"123456789", "ssn 123456789", {Detector::kSsn}},
    {"+1 415-555-2671", "phone +1 415-555-2671"},
    {"+442079460958", "phone +442079460958"},
    {"+49 (0)30 1234567", "phone +49 (0)30 1234567"},
    {"call (415) 555-2671 now", "phone (415) 555-2671"},
    {"415-555-2671", "phone 415-555-2671"},
    {"01 42 68 53 00", "phone 01 42 68 53 00"},
    {"020 7946 0958", "phone 020 7946 0958"},
    {"030/12345678", "phone 030/12345678"},
    {"passport no X1234567", "passport X1234567"},
    {"Reisepass C01X00T47", "passport C01X00T47"},
    {"P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10",
     "passport P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10"},
    {"123.456.789-09", "tax 123.456.789-09"},
    {"11.222.333/0001-81", "tax 11.222.333/0001-81"},
    {"RSSMRA85T10A562S", "tax RSSMRA85T10A562S"},
    {"12345678Z", "tax 12345678Z"},
    {"X1234567L", "tax X1234567L"},
    {"AB123456C", "tax AB123456C"},
    {"AB 12 34 56 C", "tax AB 12 34 56 C"},
    {"131052-308T", "tax 131052-308T"},
    {"11010519491231002X", "tax 11010519491231002X"},
    {"12.345.678-5", "tax 12.345.678-5"},
    {"ABCPE1234F", "tax ABCPE1234F"},
    {"756.9217.0769.85", "tax 756.9217.0769.85"},
    {"steuer-id 86095742719", "tax 86095742719"},
    {"811228-9874", "tax 811228-9874"},
    {"85.07.30-033.28", "tax 85.07.30-033.28"},
    {"HEGG560427MVZRRL04", "tax HEGG560427MVZRRL04"},
    {"eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
     "jwt eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0."
     "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"},
    {"x -----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY----- y",
     "pem -----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----"},
    {"key=AKIAIOSFODNN7EXAMPLE;", "token AKIAIOSFODNN7EXAMPLE"},
    {"ghp_abcdefghijklmnopqrstuvwxyz0123456789", "token ghp_abcdefghijklmnopqrstuvwxyz0123456789"},
    {"AIzaSyA1234567890abcdefghijklmnopqrstuv", "token AIzaSyA1234567890abcdefghijklmnopqrstuv"},
    {"10.20.30.40", "ipv4 10.20.30.40"},
    {"from 192.168.1.1:5432 to", "ipv4 192.168.1.1"},
    {"2001:db8::8a2e:370:7334", "ipv6 2001:db8::8a2e:370:7334"},
    {"2001:0db8:85a3:0000:0000:8a2e:0370:7334", "ipv6 2001:0db8:85a3:0000:0000:8a2e:0370:7334"},
    {"fe80::1ff:fe23:4567:890a%eth0", "ipv6 fe80::1ff:fe23:4567:890a"},
    {"born 1985-07-30", "birth_date 1985-07-30"},
    {"Ada Lovelace, 10.12.1985", "birth_date 10.12.1985"},
    {"1985-07-30", "birth_date 1985-07-30", {Detector::kBirthDate}},
};

TEST(Scanner, Finds) {
  for (const Case& c : kFound) {
    EXPECT_EQ(found_in(c.text, c.expected), c.want);
    EXPECT_TRUE(may_have(c.text, DetectorSet::all())) << c.text;
    // Wherever it stands in a long text.
    for (const size_t before : {1u, 30u, 57u, 63u, 64u, 65u, 100u, 4090u, 9000u}) {
      std::string text(before, 'x');
      text.back() = '\n';
      text += c.text;
      text += '\n' + std::string(before, 'y');
      if (before < 100 || c.text.find("passport") == std::string_view::npos) {
        EXPECT_EQ(found_in(text, c.expected), c.want) << before;
      }
    }
  }
}

constexpr std::string_view kClean[] = {
    "",
    "a",
    "The quick brown fox jumps over the lazy dog.",
    "2024-05-06 07:08:09.123456+00",
    "550e8400-e29b-41d4-a716-446655440000",
    "00000000-4111-1111-1111-111111111111",
    "d41d8cd98f00b204e9800998ecf8427e",
    "1712345678901",
    "1712345678901234567",
    "order 10012345",
    "INV-2024-000123",
    "std::vector<int>::size()",
    "12:30:45",
    "00:1B:44:11:3A:B7",
    "version 1.2.3.4",
    "1.2.3",
    "3.14159265358979",
    "0.4111111111111111",
    "a@b",
    "@home",
    "user@localhost",
    "4111111111111112",
    "123-45-67890",
    "000-12-3456",
    "SELECT * FROM t WHERE id = 12345678",
    "1,234,567.89",
    "$12,345,678.00",
    "2024/01/02",
    "10.0.0.0.1",
    "999.1.1.1",
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "DE00370400440532013000",
    "passed 1234567 tests",
};

TEST(Scanner, LeavesAlone) {
  for (const std::string_view text : kClean) EXPECT_EQ(found_in(text), "") << text;
}

TEST(Scanner, InstructionsAgree) {
  std::mt19937 random(7);
  std::string text(64 * 100 + kLookAhead, '\0');
  constexpr std::string_view kLikely = "0123456789 -./:@AKIghp_eyJxox--BP<ABCabc\x80\xff";
  for (int round = 0; round < 50; ++round) {
    for (char& c : text) c = random() % 3 == 0 ? static_cast<char>(random()) : kLikely[random() % kLikely.size()];
    Block want[100], got[100];
    classify_by(Instructions::kPortable)(text.data(), 100, want);
    for (const Instructions by : {Instructions::kSse2, instructions()}) {
      classify_by(by)(text.data(), 100, got);
      for (size_t i = 0; i < 100; ++i) {
        EXPECT_EQ(want[i].digit, got[i].digit);
        EXPECT_EQ(want[i].separator, got[i].separator);
        EXPECT_EQ(want[i].at, got[i].at);
        EXPECT_EQ(want[i].colon, got[i].colon);
        EXPECT_EQ(want[i].upper, got[i].upper);
        EXPECT_EQ(want[i].literal & ~got[i].literal, 0u);
      }
    }
  }
}

// What is found is in order, apart, within the text, and nothing is found where may_have() says so.
TEST(Scanner, AnyBytes) {
  std::mt19937 random(11);
  constexpr std::string_view kLikely = "0123456789012345678901234567890123456789 -./:@+()<ABCDEabcdefP";
  for (int round = 0; round < 20'000; ++round) {
    std::string text(random() % 300, '\0');
    for (char& c : text) c = random() % 20 == 0 ? static_cast<char>(random()) : kLikely[random() % kLikely.size()];
    std::vector<Found> found;
    scan(text, DetectorSet::all(), round % 2 == 0 ? DetectorSet{} : DetectorSet::all(), found);
    size_t at = 0;
    for (const Found& span : found) {
      ASSERT_LE(at, span.begin);
      ASSERT_LT(span.begin, span.end);
      ASSERT_LE(span.end, text.size());
      at = span.end;
    }
    if (!found.empty()) {
      ASSERT_TRUE(may_have(text, DetectorSet::all()));
    }
  }
}

}  // namespace
}  // namespace gatehouse::mask
