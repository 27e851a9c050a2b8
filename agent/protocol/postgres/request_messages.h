// SPDX-License-Identifier: Apache-2.0
// Bodies of client messages. Every decoder takes a whole body, borrows it, never allocates, and returns nullopt where
// the body is not exactly what the layout line in the .cc says. Those with a `Body` parameter also accept the head of
// a longer body and give what the head tells.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "agent/protocol/activity.h"

namespace gatehouse::postgres {

enum class Body : uint8_t {
  kWhole,
  kHead,  // the end is missing
};

// StartupMessage's name/value pairs, one at a time.
class OptionReader {
 public:
  explicit OptionReader(std::span<const std::byte> pairs) : left_(pairs) {}
  // nullopt at the end.
  std::optional<Setting> next();

 private:
  std::span<const std::byte> left_;
};

struct StartupMessage {
  uint16_t major = 0, minor = 0;
  std::span<const std::byte> pairs{};  // for OptionReader; checked
};
struct SslRequest {};
struct GssEncRequest {};
struct CancelRequest {
  uint32_t backend_pid = 0;
  size_t key_bytes = 0;  // the key itself is a secret and stays in the body
};

// What an untagged frame's first word says it is. kOther: not this protocol.
enum class StartupKind : uint8_t { kStartup, kSslRequest, kGssEncRequest, kCancelRequest, kOther };
StartupKind startup_kind(std::span<const std::byte> body);
std::optional<StartupMessage> decode_startup(std::span<const std::byte> body);
std::optional<CancelRequest> decode_cancel(std::span<const std::byte> body);

struct Query {
  std::string_view sql{};
};
std::optional<Query> decode_query(std::span<const std::byte> body, Body extent);

struct Parse {
  std::string_view statement{};
  std::string_view sql{};
  std::span<const std::byte> type_oids{};  // u32 each, big-endian; empty if only the head is there
};
std::optional<Parse> decode_parse(std::span<const std::byte> body, Body extent);

// Parameter values of Bind or FunctionCall, one at a time.
struct ParameterList {
  uint16_t count = 0;
  uint16_t format_count = 0;
  std::span<const std::byte> formats{};  // u16 each
  std::span<const std::byte> values{};   // i32 size, bytes; size -1: null
  Body extent = Body::kWhole;
};
class ParameterReader {
 public:
  explicit ParameterReader(const ParameterList& list) : list_(list), left_(list.values) {}
  // nullopt at the end. A value of which only the head is there comes with is_cut; those after it not at all.
  std::optional<Parameter> next();

 private:
  ParameterList list_;
  std::span<const std::byte> left_;
  uint16_t index_ = 0;
};

struct Bind {
  std::string_view portal{};
  std::string_view statement{};
  ParameterList parameters{};
};
std::optional<Bind> decode_bind(std::span<const std::byte> body, Body extent);

struct FunctionCall {
  uint32_t function_oid = 0;
  ParameterList arguments{};
};
std::optional<FunctionCall> decode_function_call(std::span<const std::byte> body, Body extent);

// Describe and Close name either a statement or a portal.
struct Target {
  bool is_portal = false;
  std::string_view name{};
};
std::optional<Target> decode_target(std::span<const std::byte> body);

struct Execute {
  std::string_view portal{};
  uint32_t rows_max = 0;  // 0: no limit
};
std::optional<Execute> decode_execute(std::span<const std::byte> body);

struct CopyFail {
  std::string_view message{};
};
std::optional<CopyFail> decode_copy_fail(std::span<const std::byte> body);

}  // namespace gatehouse::postgres
