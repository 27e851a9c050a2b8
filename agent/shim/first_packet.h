// SPDX-License-Identifier: Apache-2.0
// What a client says before its session: the untagged packets up to the startup message, and the error that answers
// what cannot go on. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace gatehouse::shim {

// First byte of a TLS handshake record: no length of a startup packet begins with it.
inline constexpr std::byte kTlsRecordByte{0x16};

struct FirstPacket {
  enum class Kind : uint8_t {
    kMore,  // not whole yet
    kSslRequest,
    kGssRequest,
    kCancel,
    kStartup,      // 3.x: whichever of it the server speaks, it says so itself
    kUnsupported,  // of a protocol that no server speaks
    kMalformed,    // its length is not one
  };
  Kind kind = Kind::kMore;
  size_t bytes = 0;      // whole length, with the length word
  uint32_t version = 0;  // kUnsupported
};
FirstPacket read_first_packet(std::span<const std::byte> bytes);

// What ends a session before a server could have said anything.
struct Farewell {
  std::string_view sqlstate;
  std::string message;
  std::string detail{};
  std::string hint{};
};
// ErrorResponse, severity FATAL.
std::string error_response(const Farewell& farewell);

}  // namespace gatehouse::shim
