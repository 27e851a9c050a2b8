// SPDX-License-Identifier: Apache-2.0
// The words of masks: what is shown in a value's place (methods), and what is found by content (detectors). The rule
// language spells them the same; a test holds the two lists against each other.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>

namespace gatehouse::mask {

// In the order of the rule language's list.
enum class Method : uint8_t {
  kRedact,    // a constant of the type: ***, 0, 2000-01-01
  kNull,      // NULL
  kPartial,   // what people need to recognise it: j***@***.com, the last four digits, the year
  kHash,      // keyed and one way; equal values stay equal, so that joins work
  kTokenise,  // keyed and of the same form (FF1): digits stay digits, letters stay letters; different values stay so
  kBucket,    // numbers to one leading digit, dates to the month, times to the hour
};
inline constexpr size_t kMethodCount = 6;
inline constexpr std::string_view kMethodNames = "redact|null|partial|hash|tokenise|bucket";

// In the order of the rule language's list.
enum class Detector : uint8_t {
  kEmail,
  kPan,       // payment cards: issuer range and Luhn
  kIban,      // country, length and mod 97
  kSsn,       // of the United States
  kPhone,     // E.164 and national forms
  kPassport,  // beside the word, or a machine readable zone
  kTax,       // tax and national identity numbers of several countries, with their checksums
  kJwt,       // JSON web tokens
  kPem,       // private keys
  kToken,     // keys of clouds and vendors
  kIpv4,
  kIpv6,
  kBirthDate,  // beside a name or a word that says so
};
inline constexpr size_t kDetectorCount = 13;
inline constexpr std::string_view kDetectorNames =
    "email|pan|iban|ssn|phone|passport|tax|jwt|pem|token|ipv4|ipv6|birth_date";

std::string_view name_of(Method method);
std::string_view name_of(Detector detector);
std::optional<Method> method_of(std::string_view name);
std::optional<Detector> detector_of(std::string_view name);

class DetectorSet {
 public:
  constexpr DetectorSet() = default;
  constexpr DetectorSet(std::initializer_list<Detector> detectors) {
    for (const Detector detector : detectors) add(detector);
  }
  static constexpr DetectorSet all() {
    DetectorSet set;
    set.bits_ = (1u << kDetectorCount) - 1;
    return set;
  }
  constexpr void add(Detector detector) { bits_ |= 1u << static_cast<unsigned>(detector); }
  [[nodiscard]] constexpr bool has(Detector detector) const {
    return (bits_ >> static_cast<unsigned>(detector) & 1u) != 0;
  }
  [[nodiscard]] constexpr bool empty() const { return bits_ == 0; }
  [[nodiscard]] constexpr bool intersects(DetectorSet other) const { return (bits_ & other.bits_) != 0; }
  constexpr DetectorSet operator|(DetectorSet other) const {
    other.bits_ |= bits_;
    return other;
  }
  constexpr bool operator==(const DetectorSet&) const = default;

 private:
  uint32_t bits_ = 0;
};

}  // namespace gatehouse::mask
