// SPDX-License-Identifier: Apache-2.0
#include "agent/mask/scanner.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include "agent/mask/act.h"
#include "agent/mask/blocks.h"
#include "agent/mask/verifier.h"

namespace gatehouse::mask {
namespace {

// So many blocks are classified before they are looked at: their bits and the text stay in the first cache.
constexpr size_t kBatchBlocks = 64;

constexpr DetectorSet kOfRuns = {Detector::kPan,      Detector::kIban, Detector::kSsn,  Detector::kPhone,
                                 Detector::kPassport, Detector::kTax,  Detector::kIpv4, Detector::kBirthDate};
constexpr DetectorSet kOfLiterals = {Detector::kPassport, Detector::kJwt, Detector::kPem, Detector::kToken};

Triggers wanted(Triggers triggers, DetectorSet what) {
  if (!what.intersects(kOfRuns)) triggers.run = 0;
  if (!what.has(Detector::kEmail)) triggers.at = 0;
  if (!what.intersects(kOfLiterals)) triggers.literal = 0;
  if (!what.has(Detector::kIpv6)) triggers.colons = 0;
  if (!what.has(Detector::kTax)) triggers.mixed = 0;
  return triggers;
}

// Calls visit(offset of the block, its triggers) for each block that has any; a visit that gives false ends it.
template <typename Visit>
void each_block(std::string_view text, DetectorSet what, Visit visit) {
  static const Classify classify = classify_by(instructions());
  if (text.size() <= kBlockBytes) {
    // Most values are this short.
    std::array<char, kBlockBytes + kLookAhead> one{};
    std::memcpy(one.data(), text.data(), text.size());
    Block block;
    classify(one.data(), 1, &block);
    // No form has fewer than four digits but those that the other bits tell.
    const bool has_colons = (block.colon & (block.colon - 1)) != 0;
    if ((block.at | block.literal) == 0 && !has_colons && std::popcount(block.digit) < 4) return;
    const Triggers all = triggers_of({}, block, {});
    Triggers triggers = wanted(all, what);
    triggers.run &= ~(all.run << 1);
    if (triggers.any() != 0) visit(0, triggers);
    return;
  }
  std::array<Block, kBatchBlocks + 2> blocks;  // [0]: the one before; behind the last: the one after
  blocks[0] = {};
  // What does not fill a block, or has too little behind it, is looked at in a copy with zeros behind.
  const size_t whole = text.size() >= kLookAhead ? (text.size() - kLookAhead) / kBlockBytes : 0;
  const size_t rest_begin = whole * kBlockBytes;
  const size_t rest_blocks = (text.size() - rest_begin + kBlockBytes - 1) / kBlockBytes;
  std::array<char, 2 * kBlockBytes + kLookAhead> rest;
  if (rest_blocks > 0) {
    const size_t rest_bytes = text.size() - rest_begin;
    std::memcpy(rest.data(), text.data() + rest_begin, rest_bytes);
    std::memset(rest.data() + rest_bytes, 0, rest_blocks * kBlockBytes + kLookAhead - rest_bytes);
  }
  const size_t total = whole + rest_blocks;
  bool carry = false;
  size_t ready = 0;  // blocks [1, ready] are classified
  for (size_t base = 0; base < total;) {
    // As many as there is room for; one of them may be left over as the neighbour of the next batch.
    size_t next = base + ready;
    if (next < whole) {
      const size_t count = std::min(kBatchBlocks - ready, whole - next);
      classify(text.data() + next * kBlockBytes, count, &blocks[1 + ready]);
      ready += count;
      next += count;
    }
    if (next >= whole && next < total && ready + (total - next) <= kBatchBlocks) {
      const size_t skip = next - whole;
      classify(rest.data() + skip * kBlockBytes, total - next, &blocks[1 + ready]);
      ready += total - next;
      next = total;
    }
    const bool is_last = next == total;
    if (is_last) blocks[1 + ready] = {};
    const size_t done = is_last ? ready : ready - 1;
    for (size_t i = 1; i <= done; ++i) {
      Triggers triggers = triggers_of(blocks[i - 1], blocks[i], blocks[i + 1]);
      const uint64_t runs = triggers.run;
      // Only where a run begins.
      triggers.run = runs & ~(runs << 1 | uint64_t{carry});
      carry = triggers.run_at_end;
      triggers = wanted(triggers, what);
      if (triggers.any() != 0 && !visit((base + i - 1) * kBlockBytes, triggers)) return;
    }
    blocks[0] = blocks[done];
    if (!is_last) blocks[1] = blocks[done + 1];
    base += done;
    ready -= done;
  }
}

}  // namespace

bool scan(std::string_view text, DetectorSet what, DetectorSet expected, std::vector<Found>& found) {
  const size_t before = found.size();
  if (what.empty() || text.size() < 6) return false;
  Verifier verifier(text, what, expected, found);
  each_block(text, what, [&](size_t base, const Triggers& triggers) {
    for (uint64_t left = triggers.any(); left != 0; left &= left - 1) {
      const auto bit = static_cast<unsigned>(std::countr_zero(left));
      const size_t place = base + bit;
      const uint64_t mask = uint64_t{1} << bit;
      if (place < verifier.end()) {
        // A run may go on behind what was found in it.
        if ((triggers.run & mask) != 0 && verifier.end() < text.size()) verifier.run(place);
        continue;
      }
      if ((triggers.literal & mask) != 0) verifier.literal(place);
      if ((triggers.mixed & mask) != 0) verifier.mixed(place);
      if ((triggers.run & mask) != 0) verifier.run(place);
      if ((triggers.at & mask) != 0) verifier.email(place);
      if ((triggers.colons & mask) != 0) verifier.colons(place);
    }
    return true;
  });
  return found.size() > before;
}

bool may_have(std::string_view bytes, DetectorSet what) {
  bool found = false;
  each_block(bytes, what, [&](size_t, const Triggers&) {
    found = true;
    return false;
  });
  return found;
}

DetectorSet expected_by(std::string_view column_name) {
  std::string name;
  for (const char c : column_name.substr(0, 64)) name.push_back(is_upper(c) ? static_cast<char>(c + 32) : c);
  static constexpr std::pair<std::string_view, Detector> kWords[] = {{"email", Detector::kEmail},
                                                                     {"e_mail", Detector::kEmail},
                                                                     {"card", Detector::kPan},
                                                                     {"ccnum", Detector::kPan},
                                                                     {"iban", Detector::kIban},
                                                                     {"ssn", Detector::kSsn},
                                                                     {"social_sec", Detector::kSsn},
                                                                     {"phone", Detector::kPhone},
                                                                     {"mobile", Detector::kPhone},
                                                                     {"telefon", Detector::kPhone},
                                                                     {"fax", Detector::kPhone},
                                                                     {"passport", Detector::kPassport},
                                                                     {"reisepass", Detector::kPassport},
                                                                     {"pasaporte", Detector::kPassport},
                                                                     {"tax_id", Detector::kTax},
                                                                     {"taxid", Detector::kTax},
                                                                     {"tax_no", Detector::kTax},
                                                                     {"tax_num", Detector::kTax},
                                                                     {"steuer", Detector::kTax},
                                                                     {"national_id", Detector::kTax},
                                                                     {"nationalid", Detector::kTax},
                                                                     {"cpf", Detector::kTax},
                                                                     {"cnpj", Detector::kTax},
                                                                     {"pesel", Detector::kTax},
                                                                     {"bsn", Detector::kTax},
                                                                     {"tckn", Detector::kTax},
                                                                     {"personnummer", Detector::kTax},
                                                                     {"aadhaar", Detector::kTax},
                                                                     {"birth", Detector::kBirthDate},
                                                                     {"dob", Detector::kBirthDate},
                                                                     {"geburt", Detector::kBirthDate},
                                                                     {"naissance", Detector::kBirthDate},
                                                                     {"nacimiento", Detector::kBirthDate}};
  DetectorSet expected;
  for (const auto& [word, detector] : kWords)
    if (name.find(word) != std::string::npos) expected.add(detector);
  return expected;
}

}  // namespace gatehouse::mask
