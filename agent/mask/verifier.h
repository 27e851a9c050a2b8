// SPDX-License-Identifier: Apache-2.0
// The second look, at the few places that the first one found: forms, boundaries, checksums and context.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "agent/mask/scanner.h"

namespace gatehouse::mask {

class Verifier {
 public:
  Verifier(std::string_view text, DetectorSet what, DetectorSet expected, std::vector<Found>& found)
      : text_(text), what_(what), expected_(expected), found_(found) {}

  // Places in ascending order. What begins before end() is known already.
  void run(size_t at);      // digits and separators begin
  void email(size_t at);    // an @
  void literal(size_t at);  // a word or key may begin
  void colons(size_t at);   // an address of IPv6
  void mixed(size_t at);    // an identity number of letters and digits
  [[nodiscard]] size_t end() const { return end_; }

 private:
  struct Group {
    size_t begin = 0;
    uint32_t size = 0;
    char before = 0;  // the separator; 0: the first
  };
  static constexpr size_t kGroupsMax = 64;
  // Groups that one number has at most.
  static constexpr size_t kGroupsOfNumberMax = 8;
  static constexpr size_t kDigitsMax = 24;

  // A number of several groups: sizes and separators are as the form says.
  struct Number {
    std::array<uint8_t, kDigitsMax> digits{};
    size_t count = 0;
    size_t begin = 0, end = 0;
    [[nodiscard]] std::span<const uint8_t> view() const { return {digits.data(), count}; }
  };

  [[nodiscard]] char at(size_t index) const { return index < text_.size() ? text_[index] : '\0'; }
  [[nodiscard]] char before(size_t index) const { return index > 0 ? text_[index - 1] : '\0'; }
  [[nodiscard]] bool wants(Detector detector) const { return what_.has(detector); }
  bool add(size_t begin, size_t end, Detector detector, uint8_t confidence);

  size_t read_groups(size_t begin);  // where the run ends
  // Groups from `index` whose sizes are those digits, each of `separators` before the next group; `*` there: all alike.
  bool has_form(size_t index, std::string_view sizes, std::string_view separators) const;
  [[nodiscard]] Number number(size_t index, size_t groups) const;
  [[nodiscard]] bool begins_clean(size_t index) const;
  [[nodiscard]] bool ends_clean(size_t index) const;  // behind the group
  [[nodiscard]] bool is_part_of_hex(size_t begin) const;
  // Whether one of the words stands within 40 bytes before.
  [[nodiscard]] bool has_context(size_t begin, std::span<const std::string_view> words) const;

  // Each: how many groups it took, 0 for none.
  size_t group(size_t index);
  size_t with_letters(size_t index);
  size_t card(size_t index);
  size_t social(size_t index);
  size_t phone(size_t index);
  size_t phone_international(size_t index);
  size_t phone_national(size_t index);
  size_t address(size_t index);
  size_t date(size_t index);
  size_t tax(size_t index);
  size_t tax_plain(size_t index);
  size_t tax_formed(size_t index);
  size_t passport(size_t index);
  bool iban(size_t begin);
  bool iban_before(size_t begin);
  [[nodiscard]] bool is_birth(size_t begin) const;
  bool key(size_t at);
  bool jwt(size_t at);
  bool private_key(size_t at);
  bool machine_readable(size_t at);

  std::string_view text_;
  DetectorSet what_, expected_;
  std::vector<Found>& found_;
  size_t end_ = 0;
  std::array<Group, kGroupsMax> groups_{};
  size_t group_count_ = 0;
};

}  // namespace gatehouse::mask
