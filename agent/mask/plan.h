// SPDX-License-Identifier: Apache-2.0
// What is to become of one result, and what became of it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "agent/mask/keys.h"
#include "agent/mask/method.h"

namespace gatehouse::mask {

struct ColumnPlan {
  std::optional<Method> method{};  // none: the column is shown, but for what detectors find in it
  uint32_t mask = 0;               // of ResultPlan::keys: by which mask
  bool whole = false;      // the value is made of a masked one and others (row, aggregate, function): no shape stays
  bool nulls_too = false;  // a NULL becomes what another value would be redacted to
};

// One mask that finds by content.
struct DetectPlan {
  DetectorSet what{};
  Method method = Method::kRedact;
  uint32_t mask = 0;  // of ResultPlan::keys
};

struct ResultPlan {
  std::vector<std::shared_ptr<const MaskKey>> keys{};  // one per mask that takes part, in the policy's order
  std::vector<ColumnPlan> columns{};
  ColumnPlan rest{};                 // columns behind those
  std::vector<DetectPlan> detect{};  // the first that names a detector decides of what it finds

  // Nothing can change: rows need not pass a masker.
  [[nodiscard]] bool is_empty() const;
};

// Whole numbers only; no value is kept.
struct MaskCounts {
  struct OfMask {
    uint64_t values = 0;     // by column
    uint64_t spans = 0;      // by content
    uint64_t fallbacks = 0;  // tokenise of what FF1 does not take (short or long): hashed in the same form
    uint64_t nulled = 0;     // NULL, since no other value of the type was known
    bool operator==(const OfMask&) const = default;
  };
  std::vector<OfMask> masks{};                       // as ResultPlan::keys
  std::vector<uint64_t> columns{};                   // values changed, by column
  std::array<uint64_t, kDetectorCount> detectors{};  // spans, by detector
  uint64_t rows = 0;                                 // that passed
  uint64_t rows_changed = 0;
};

}  // namespace gatehouse::mask
