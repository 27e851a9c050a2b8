// SPDX-License-Identifier: Apache-2.0
// Masks one value of any type, in text or in binary format. What is not of its type becomes NULL: it cannot be masked,
// and must not pass.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/mask/act.h"
#include "agent/mask/plan.h"
#include "agent/mask/scanner.h"
#include "agent/mask/types.h"

namespace gatehouse::mask {

enum class Done : uint8_t {
  kUnchanged,  // nothing was appended
  kChanged,    // the new value was appended
  kNull,       // it is NULL now; nothing was appended
};

// A type with domains followed to what they are made of.
struct Type {
  Kind kind = Kind::kUnknown;
  uint32_t oid = 0;
  int32_t typmod = -1;
  uint32_t of = 0;  // element, subtype or range
  char delimiter = ',';
  const TypeShape* shape = nullptr;
};

// What is to be done with a value.
struct Wish {
  const Act* act = nullptr;  // null: detectors only
  bool whole = false;        // no shape stays: containers become empty
  DetectorSet expected{};
};

// Nesting of arrays, rows, ranges and domains that is followed. Deeper values are NULL.
inline constexpr unsigned kNestingMax = 16;

class ValueMasker {
 public:
  // All outlive it. `types` may be null.
  ValueMasker(const TypeBook* types, const ResultPlan& plan, MaskCounts& counts);

  [[nodiscard]] Type resolve(TypeRef ref) const;
  // Whether a detector may find anything in values of the type; and whether it sees it in the very bytes that a
  // message holds, so that may_have() can be asked of the whole message.
  [[nodiscard]] bool is_scanned(const Type& type, bool is_binary, DetectorSet expected) const;
  [[nodiscard]] bool shows_as_is(const Type& type, bool is_binary) const;
  [[nodiscard]] DetectorSet detects() const { return detects_; }

  Done text(const Type& type, const Wish& wish, std::string_view value, std::string& out, unsigned depth = 0);
  Done binary(const Type& type, const Wish& wish, std::string_view value, std::string& out, unsigned depth = 0);

  // The constant of the type; kNull if there is none.
  Done redacted(const Type& type, bool is_binary, std::string& out);

 private:
  Done scalar_text(const Type& type, const Act& act, std::string_view value, std::string& out);
  Done scalar_binary(const Type& type, const Act& act, std::string_view value, std::string& out);
  Done number_text(const Type& type, const Act& act, std::string_view value, std::string& out);
  Done octets_text(const Type& type, const Act& act, std::string_view value, std::string& out);
  Done octets_binary(const Type& type, const Act& act, std::string_view value, std::string& out);
  Done enum_label(const Type& type, const Act& act, std::string_view value, std::string& out);
  void text_value(const Type& type, const Act& act, std::string_view value, std::string& out);
  static void fit(const Type& type, size_t begin, std::string& out);

  Done detect_text(const Type& type, const Wish& wish, std::string_view value, std::string& out, unsigned depth);
  Done detect_binary(const Type& type, const Wish& wish, std::string_view value, std::string& out, unsigned depth);
  // The plan's act for values of types that are what a detector looks for: inet, a date of birth, a card as a number.
  const Act* typed_detector(const Type& type, DetectorSet expected, std::string_view digits);
  Done spans(std::string_view value, DetectorSet what, DetectorSet expected, std::string& out);
  const Act& act_of(Detector detector) const;

  Done array_text(const Type& type, const Wish& wish, std::string_view value, std::string& out, unsigned depth);
  Done vector_text(const Type& type, const Wish& wish, std::string_view value, std::string& out, unsigned depth);
  Done row_text(const Type& type, const Wish& wish, std::string_view value, std::string& out, unsigned depth);
  Done range_text(const Type& type, const Wish& wish, std::string_view value, std::string& out, unsigned depth);
  Done array_binary(const Type& type, const Wish& wish, std::string_view value, std::string& out, unsigned depth);
  Done row_binary(const Type& type, const Wish& wish, std::string_view value, std::string& out, unsigned depth);
  Done range_binary(const Type& type, const Wish& wish, std::string_view value, std::string& out, unsigned depth);
  Done json(const Wish& wish, std::string_view value, std::string& out);
  Done looks(const Wish& wish, std::string_view value, std::string& out, unsigned depth);

  const TypeBook* types_;
  MaskCounts& counts_;
  DetectorSet detects_{};
  std::vector<Act> acts_{};                       // of the plan's detect
  std::array<uint8_t, kDetectorCount> act_of_{};  // of acts_, by detector
  std::vector<Found> found_{};
};

// Whether both ends of a range keep their order under the method, so that it stays a range.
bool keeps_order(Kind subtype, Method method);

}  // namespace gatehouse::mask
