// SPDX-License-Identifier: Apache-2.0
// The second look, at the few places that the first one found: forms, boundaries, checksums and context.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "agent/mask/scanner.h"

namespace gatehouse::mask {

// A number of several groups of digits: their sizes, and what stands between each two; `*` there: all alike.
struct Form {
  constexpr Form(std::string_view sizes, std::string_view between) : separators(between), groups(sizes.size()) {
    for (size_t i = 0; i < sizes.size(); ++i) {
      shape |= static_cast<uint32_t>(sizes[i] - '0') << (4 * i);
      mask |= uint32_t{15} << (4 * i);
    }
  }
  std::string_view separators;
  size_t groups;
  uint32_t shape = 0, mask = 0;  // four bits per group, the first lowest
};

// Words in small letters, told by their first letters.
class Words {
 public:
  template <size_t N>
  constexpr explicit Words(const std::string_view (&words)[N]) : words_(words) {
    for (const std::string_view word : words) begins_[static_cast<unsigned char>(word[0])] = true;
  }
  [[nodiscard]] bool stand_in(std::string_view small) const {
    for (size_t i = 0; i < small.size(); ++i) {
      if (!begins_[static_cast<unsigned char>(small[i])]) continue;
      for (const std::string_view word : words_)
        if (small.substr(i).starts_with(word)) return true;
    }
    return false;
  }

 private:
  std::span<const std::string_view> words_;
  std::array<bool, 256> begins_{};
};

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
  // Not set before it is read from the text: most texts have none, and there is room for many.
  struct Group {
    size_t begin;
    uint32_t size;
    uint32_t shape;  // sizes of it and the next seven, four bits each, the first lowest; 15: more than 14
    char before;     // the separator; 0: the first
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
  // Groups from `index` are of the form.
  [[nodiscard]] bool has_form(size_t index, const Form& form) const {
    return (groups_[index].shape & form.mask) == form.shape && has_separators(index, form);
  }
  [[nodiscard]] bool has_separators(size_t index, const Form& form) const;
  [[nodiscard]] Number number(size_t index, size_t groups) const;
  [[nodiscard]] bool begins_clean(size_t index) const;
  [[nodiscard]] bool ends_clean(size_t index) const;  // behind the group
  [[nodiscard]] bool is_part_of_hex(size_t begin) const;
  // Whether one of the words stands within 40 bytes before.
  [[nodiscard]] bool has_context(size_t begin, const Words& words) const;

  // Each: how many groups it took, 0 for none.
  size_t group(size_t index);
  size_t with_letters(size_t index);
  [[nodiscard]] size_t timestamp(size_t index) const;
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
  std::array<Group, kGroupsMax> groups_;
  size_t group_count_ = 0;
};

}  // namespace gatehouse::mask
