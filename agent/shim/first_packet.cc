// SPDX-License-Identifier: Apache-2.0
#include "agent/shim/first_packet.h"

#include "agent/protocol/postgres/request_messages.h"
#include "agent/protocol/postgres/wire.h"
#include "common/reader.h"

namespace gatehouse::shim {
namespace {

constexpr size_t kPacketBytesMin = 8;  // length and code

void put_field(std::string& body, char name, std::string_view value) {
  if (value.empty()) return;
  body += name;
  body += value;
  body += '\0';
}

}  // namespace

FirstPacket read_first_packet(std::span<const std::byte> bytes) {
  if (bytes.size() < postgres::kStartupHeaderSize) return {};
  Reader reader(bytes);
  const auto length = reader.be<uint32_t>();
  if (length < kPacketBytesMin || length > postgres::kStartupFrameBytesMax)
    return {.kind = FirstPacket::Kind::kMalformed};
  if (bytes.size() < length) return {};
  const auto body = bytes.subspan(postgres::kStartupHeaderSize, length - postgres::kStartupHeaderSize);
  FirstPacket packet{.bytes = length};
  switch (postgres::startup_kind(body)) {
    case postgres::StartupKind::kSslRequest:
      packet.kind = FirstPacket::Kind::kSslRequest;
      break;
    case postgres::StartupKind::kGssEncRequest:
      packet.kind = FirstPacket::Kind::kGssRequest;
      break;
    case postgres::StartupKind::kCancelRequest:
      packet.kind = postgres::decode_cancel(body) ? FirstPacket::Kind::kCancel : FirstPacket::Kind::kMalformed;
      break;
    case postgres::StartupKind::kStartup:
      packet.kind = FirstPacket::Kind::kStartup;
      break;
    case postgres::StartupKind::kOther:
      packet.kind = FirstPacket::Kind::kUnsupported;
      packet.version = reader.be<uint32_t>();
      break;
  }
  return packet;
}

std::string error_response(const Farewell& farewell) {
  std::string body;
  put_field(body, 'S', "FATAL");
  put_field(body, 'V', "FATAL");
  put_field(body, 'C', farewell.sqlstate);
  put_field(body, 'M', farewell.message);
  put_field(body, 'D', farewell.detail);
  put_field(body, 'H', farewell.hint);
  body += '\0';
  const size_t length = body.size() + 4;
  std::string frame = "E";
  for (const int shift : {24, 16, 8, 0}) frame += static_cast<char>(length >> shift & 0xff);
  return frame + body;
}

}  // namespace gatehouse::shim
