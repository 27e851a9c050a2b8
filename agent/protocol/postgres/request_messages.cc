// SPDX-License-Identifier: Apache-2.0
#include "agent/protocol/postgres/request_messages.h"

#include <algorithm>

#include "agent/protocol/postgres/wire.h"
#include "common/reader.h"

namespace gatehouse::postgres {
namespace {

constexpr uint32_t kNullSize = UINT32_MAX;  // -1
constexpr uint32_t kValueBytesMax = 0x7fffffff;

bool is_finished(const Reader& r) {
  return r.ok() && r.left() == 0;
}

// formats:u16[n] count:u16 value[count], as in Bind and FunctionCall. Leaves `r` after the values. False: malformed.
bool read_parameters(Reader& r, Body extent, ParameterList& list) {
  list.extent = extent;
  Reader before = r;
  list.format_count = static_cast<uint16_t>(r.count16(sizeof(uint16_t)));
  list.formats = r.take(list.format_count * sizeof(uint16_t));
  list.count = r.be<uint16_t>();
  if (!r.ok()) {
    if (extent == Body::kWhole) return false;
    list = {.extent = extent};
    r = before;
    r.take(r.left());
    return true;
  }
  list.values = r.rest();
  for (uint16_t i = 0; i < list.count; ++i) {
    const auto size = r.be<uint32_t>();
    if (size == kNullSize) continue;
    if (size > kValueBytesMax) return false;
    r.take(size);
    if (!r.ok()) return extent == Body::kHead;
  }
  list.values = list.values.first(list.values.size() - r.left());
  return r.ok() || extent == Body::kHead;
}

}  // namespace

std::optional<Setting> OptionReader::next() {
  Reader r{left_};
  const Setting setting{.name = r.cstr(), .value = r.cstr()};
  if (!r.ok() || setting.name.empty()) return std::nullopt;
  left_ = r.rest();
  return setting;
}

StartupKind startup_kind(std::span<const std::byte> body) {
  Reader r{body};
  const auto code = r.be<uint32_t>();
  if (!r.ok()) return StartupKind::kOther;
  switch (code) {
    case kSslRequestCode:
      return r.left() == 0 ? StartupKind::kSslRequest : StartupKind::kOther;
    case kGssEncRequestCode:
      return r.left() == 0 ? StartupKind::kGssEncRequest : StartupKind::kOther;
    case kCancelRequestCode:
      return StartupKind::kCancelRequest;
    default:
      break;
  }
  // The server negotiates any minor of major 3 and refuses other majors, after it has understood them.
  const uint32_t major = code >> 16;
  return major == 3 || major == 2 ? StartupKind::kStartup : StartupKind::kOther;
}

// StartupMessage: major:u16 minor:u16 (name\0 value\0)* \0.
std::optional<StartupMessage> decode_startup(std::span<const std::byte> body) {
  Reader r{body};
  StartupMessage m;
  m.major = r.be<uint16_t>();
  m.minor = r.be<uint16_t>();
  m.pairs = r.rest();
  if (!r.ok()) return std::nullopt;
  if (m.major != 3) return StartupMessage{.major = m.major, .minor = m.minor};
  while (r.ok() && !r.cstr().empty()) r.cstr();
  if (!is_finished(r)) return std::nullopt;
  return m;
}

// CancelRequest: code:u32 pid:u32 key[4..256].
std::optional<CancelRequest> decode_cancel(std::span<const std::byte> body) {
  Reader r{body};
  r.be<uint32_t>();
  const CancelRequest m{.backend_pid = r.be<uint32_t>(), .key_bytes = r.left()};
  if (!r.ok() || m.key_bytes < 4 || m.key_bytes > 256) return std::nullopt;
  return m;
}

// Query ('Q'): sql\0.
std::optional<Query> decode_query(std::span<const std::byte> body, Body extent) {
  if (extent == Body::kHead) {
    const std::string_view head = Reader::as_text(body);
    if (head.find('\0') != head.npos) return std::nullopt;
    return Query{.sql = head};
  }
  Reader r{body};
  const Query m{.sql = r.cstr()};
  if (!is_finished(r)) return std::nullopt;
  return m;
}

// Parse ('P'): name\0 sql\0 count:u16 oid:u32[count].
std::optional<Parse> decode_parse(std::span<const std::byte> body, Body extent) {
  Reader r{body};
  Parse m;
  m.statement = r.cstr();
  if (!r.ok()) return std::nullopt;
  const Reader at_sql = r;
  m.sql = r.cstr();
  if (!r.ok()) {
    if (extent == Body::kWhole) return std::nullopt;
    m.sql = Reader::as_text(at_sql.rest());
    return m;
  }
  const size_t count = r.count16(sizeof(uint32_t));
  m.type_oids = r.take(count * sizeof(uint32_t));
  if (is_finished(r)) return m;
  if (extent == Body::kWhole) return std::nullopt;
  m.type_oids = {};
  return m;
}

// Bind ('B'): portal\0 statement\0 formats:u16[n] count:u16 value[count] result_formats:u16[n].
std::optional<Bind> decode_bind(std::span<const std::byte> body, Body extent) {
  Reader r{body};
  Bind m;
  m.portal = r.cstr();
  m.statement = r.cstr();
  if (!r.ok() || !read_parameters(r, extent, m.parameters)) return std::nullopt;
  if (extent == Body::kHead) return m;
  r.take(r.count16(sizeof(uint16_t)) * sizeof(uint16_t));
  if (!is_finished(r)) return std::nullopt;
  return m;
}

// FunctionCall ('F'): oid:u32 formats:u16[n] count:u16 value[count] result_format:u16.
std::optional<FunctionCall> decode_function_call(std::span<const std::byte> body, Body extent) {
  Reader r{body};
  FunctionCall m;
  m.function_oid = r.be<uint32_t>();
  if (!r.ok() || !read_parameters(r, extent, m.arguments)) return std::nullopt;
  if (extent == Body::kHead) return m;
  r.be<uint16_t>();
  if (!is_finished(r)) return std::nullopt;
  return m;
}

std::optional<Parameter> ParameterReader::next() {
  if (index_ >= list_.count) return std::nullopt;
  Reader r{left_};
  const auto size = r.be<uint32_t>();
  if (!r.ok()) return std::nullopt;
  Parameter parameter;
  if (list_.format_count > 0) {
    const size_t which = list_.format_count == 1 ? 0 : index_;
    if (which < list_.format_count) {
      Reader format{list_.formats.subspan(which * sizeof(uint16_t))};
      parameter.is_binary = format.be<uint16_t>() == 1;
    }
  }
  ++index_;
  if (size == kNullSize) {
    parameter.is_null = true;
  } else {
    const size_t there = std::min<size_t>(size, r.left());
    parameter.is_cut = there < size;
    parameter.value = Reader::as_text(r.take(there));
  }
  left_ = r.rest();
  return parameter;
}

// Describe ('D') and Close ('C'): kind:u8 ('S' or 'P') name\0.
std::optional<Target> decode_target(std::span<const std::byte> body) {
  Reader r{body};
  const auto kind = r.be<uint8_t>();
  const Target m{.is_portal = kind == 'P', .name = r.cstr()};
  if (!is_finished(r) || (kind != 'P' && kind != 'S')) return std::nullopt;
  return m;
}

// Execute ('E'): portal\0 rows_max:u32.
std::optional<Execute> decode_execute(std::span<const std::byte> body) {
  Reader r{body};
  Execute m;
  m.portal = r.cstr();
  m.rows_max = r.be<uint32_t>();
  if (!is_finished(r)) return std::nullopt;
  return m;
}

// CopyFail ('f'): message\0.
std::optional<CopyFail> decode_copy_fail(std::span<const std::byte> body) {
  Reader r{body};
  const CopyFail m{.message = r.cstr()};
  if (!is_finished(r)) return std::nullopt;
  return m;
}

}  // namespace gatehouse::postgres
