// SPDX-License-Identifier: Apache-2.0
// ClientHello and ServerHello: what of them decides how records are opened. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "agent/tls/key_schedule.h"

namespace gatehouse::tls {

enum class HandshakeType : uint8_t { kClientHello = 1, kServerHello = 2, kNewSessionTicket = 4, kKeyUpdate = 24 };

struct ClientHello {
  Random random{};
  bool has_early_data = false;  // it may send before the server has answered
};

struct ServerHello {
  Random random{};
  uint16_t version = 0;  // as negotiated
  uint16_t suite = 0;
  bool encrypts_then_macs = false;
  bool is_retry = false;  // HelloRetryRequest: another ClientHello and ServerHello follow
};

// Of a message's body, without its header. nullopt: it is none.
std::optional<ClientHello> decode_client_hello(std::span<const std::byte> body);
std::optional<ServerHello> decode_server_hello(std::span<const std::byte> body);

}  // namespace gatehouse::tls
