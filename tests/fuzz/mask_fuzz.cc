// SPDX-License-Identifier: Apache-2.0
// Rows and COPY of any bytes through their maskers. Byte 0 picks what is done, byte 1 the method, byte 2 types and
// chunk size; the rest is the wire.
// Oracles: what is masked is a well-formed message with as many values; what is malformed leaves nothing behind; how
// COPY is cut does not matter; an e-mail address that stands in a masked column is nowhere in what comes out.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "agent/mask/act.h"
#include "agent/mask/copy_masker.h"
#include "agent/mask/message.h"
#include "agent/mask/row_masker.h"

namespace {

using namespace gatehouse::mask;

constexpr uint32_t kOids[] = {0,    16,   17,   20,   23,   25,   114,  142,  600,  701,
                              869,  1009, 1042, 1082, 1114, 1184, 1186, 1231, 1266, 1560,
                              1700, 2249, 2950, 3614, 3802, 3904, 4451, 1187, 2287, 99999};

std::shared_ptr<const MaskKey> key() {
  static const auto made = std::make_shared<const MaskKey>(MasterKey::parse(std::string(32, 'k'))->derive("fuzz"));
  return made;
}

ResultPlan plan_of(uint8_t choice) {
  ResultPlan plan{.keys = {key()}};
  const auto method = static_cast<Method>(choice % kMethodCount);
  if ((choice & 0x40) == 0)
    plan.rest = {.method = method, .whole = (choice & 0x10) != 0, .nulls_too = (choice & 0x20) != 0};
  if ((choice & 0x80) != 0) plan.detect = {{.what = DetectorSet::all(), .method = method}};
  return plan;
}

void require(bool holds) {
  if (!holds) std::abort();
}

// The values' count and every length are as they should be.
bool is_row(std::string_view message) {
  if (message.size() < 7 || message[0] != 'D') return false;
  if (load_be<uint32_t>(message.substr(1)) + 1 != message.size()) return false;
  const auto count = load_be<uint16_t>(message.substr(5));
  size_t at = 7;
  for (uint16_t i = 0; i < count; ++i) {
    if (message.size() - at < 4) return false;
    const auto size = load_be<int32_t>(message.substr(at));
    at += 4;
    if (size < -1 || (size > 0 && message.size() - at < static_cast<size_t>(size))) return false;
    at += size > 0 ? static_cast<size_t>(size) : 0;
  }
  return at == message.size();
}

void rows(uint8_t choice, uint8_t types, std::string_view wire) {
  std::vector<FieldType> fields;
  for (unsigned i = 0; i < 8; ++i)
    fields.push_back({.oid = kOids[(types + i * 7u) % std::size(kOids)],
                      .typmod = i % 3 == 0 ? 9 : -1,
                      .is_binary = ((types >> (i % 8)) & 1) != 0,
                      .name = i == 0 ? "ssn" : "x"});
  RowMasker masker(plan_of(choice), fields, nullptr);
  std::string out = "before";
  const RowOutcome outcome = masker.mask_row(bytes_of(wire), out);
  if (outcome == RowOutcome::kMasked) {
    require(out.starts_with("before") && is_row(std::string_view(out).substr(6)));
    require(load_be<uint16_t>(std::string_view(out).substr(11)) == load_be<uint16_t>(wire));
  } else {
    require(out == "before");
  }
}

// One value of a known kind, with a secret in it: whatever stands around it, it must not come out.
void secret(uint8_t choice, uint8_t types, std::string_view around) {
  static constexpr std::string_view kSecret = "qzsecretqz@hidden.example";
  const uint32_t oid = kOids[types % std::size(kOids)];
  const size_t half = around.size() / 2;
  std::string body;
  append_be<int16_t>(body, 1);
  append_be(body, static_cast<int32_t>(around.size() + kSecret.size()));
  body.append(around.substr(0, half)).append(kSecret).append(around.substr(half));
  const FieldType field{.oid = oid, .is_binary = (choice & 0x20) != 0};
  const auto method = static_cast<Method>(choice % kMethodCount);
  RowMasker masker({.keys = {key()}, .columns = {{.method = method, .whole = (choice & 0x10) != 0}}}, {&field, 1},
                   nullptr);
  std::string out;
  // Keys of JSON stay unless a detector finds them, so they are not asked for here.
  if (oid == 114 || oid == 3802) return;
  if (masker.mask_row(bytes_of(body), out) == RowOutcome::kMasked) require(out.find("qzsecretqz") == std::string::npos);
}

std::string copied(const CopyOptions& options, const ResultPlan& plan, std::string_view wire, size_t chunk,
                   CopyOutcome& outcome) {
  const FieldType fields[] = {{.oid = 25}, {.oid = 23}, {.oid = 3802}};
  CopyMasker masker(plan, options, fields, nullptr);
  std::string out, payload;
  outcome = CopyOutcome::kOk;
  for (size_t at = 0; at < wire.size() && outcome == CopyOutcome::kOk; at += chunk)
    outcome = masker.push(bytes_of(wire.substr(at, chunk)), out);
  if (outcome == CopyOutcome::kOk) outcome = masker.finish(out);
  for (size_t at = 0; at < out.size();) {
    require(out[at] == 'd' && out.size() - at >= 5);
    const auto length = load_be<uint32_t>(std::string_view(out).substr(at + 1));
    require(length >= 4 && out.size() - at >= 1 + size_t{length});
    payload += out.substr(at + 5, length - 4);
    at += 1 + length;
  }
  return payload;
}

void copies(uint8_t choice, uint8_t types, std::string_view wire) {
  CopyOptions options = CopyOptions::of(static_cast<CopyFormat>(types % 3));
  options.has_header = (types & 0x04) != 0;
  if ((types & 0x08) != 0) options.encoding = (types & 0x10) != 0 ? "SJIS" : "GBK";
  if ((types & 0x20) != 0) options.escape = '\\';
  std::string text;
  if (options.format == CopyFormat::kBinary) text.append("PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0", 19);
  text += wire;
  const ResultPlan plan = plan_of(choice);
  CopyOutcome whole = CopyOutcome::kOk, cut = CopyOutcome::kOk;
  const std::string at_once = copied(options, plan, text, text.size() + 1, whole);
  require(at_once == copied(options, plan, text, 1 + (types >> 4) % 16, cut) && whole == cut);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  const std::string_view wire(reinterpret_cast<const char*>(data) + 3, size - 3);
  switch (data[0] % 4) {
    case 0:
      rows(data[1], data[2], wire);
      break;
    case 1:
      secret(data[1], data[2], wire);
      break;
    case 2:
      copies(data[1], data[2], wire);
      break;
    default: {
      std::string out;
      const MessagePolicy policy{.what = DetectorSet::all(), .has_masked_columns = (data[1] & 1) != 0};
      if (redact_message('E', bytes_of(wire), policy, out))
        require(out.size() >= 6 && load_be<uint32_t>(std::string_view(out).substr(1)) + 1 == out.size());
    }
  }
  return 0;
}
