// SPDX-License-Identifier: Apache-2.0
// Lesson: where in a library's code a probe sees each session's secrets, found out by handshakes of its own.
//
// A library that can log secrets (SSL_CTX_set_keylog_callback) tells each to a function of its own, which looks whether
// somebody has asked for them. That function, or one that it calls, is on the stack when the log is called; it is
// passed by every handshake, asked or not, with the secret, its name and the session's object in registers. Which ones,
// a breakpoint tells.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "agent/tls_learn/library.h"

namespace gatehouse::tls_learn {

// As struct gh_tls_place (bpf/gatehouse_abi.h), and where.
struct Place {
  static constexpr size_t kPathMax = 3;
  uint64_t offset = 0;  // of the instruction, in the file
  bool is_emulated = false;
  uint8_t label = 0, secret = 0, object = 0;  // registers
  size_t path_count = 0;
  std::array<int32_t, kPathMax> path{};
};

// nullopt: `why` says what was not found. Each step is checked by handshakes without the log, of both roles and
// versions, and of a session that is taken up again.
std::optional<Place> learn_place(const Library& library, std::string& why);

}  // namespace gatehouse::tls_learn
