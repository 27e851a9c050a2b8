// SPDX-License-Identifier: Apache-2.0
// Handshake: a library shakes hands with itself, in memory.
#pragma once

#include <array>
#include <cstdint>

#include "agent/tls_learn/library.h"

namespace gatehouse::tls_learn {

using Random = std::array<uint8_t, 32>;

// Both ends, kept until it dies.
class Handshake {
 public:
  // `log` may be null. `resumed`: a session to take up again; may be null.
  Handshake(const Library& library, Library::Version version, Library::KeyLog log, SslSession* resumed = nullptr);
  Handshake(const Handshake&) = delete;
  Handshake& operator=(const Handshake&) = delete;
  ~Handshake();

  // Runs it to its end, and has both ends say a word. False: it came to nothing.
  bool run();
  [[nodiscard]] Random client_random() const;
  // TLS 1.2. Empty bytes if there is none.
  [[nodiscard]] std::array<uint8_t, 48> master_key() const;
  // To be freed by the caller; may be null.
  [[nodiscard]] SslSession* session() const;
  [[nodiscard]] const Ssl* client() const { return client_; }
  [[nodiscard]] const Ssl* server() const { return server_; }

 private:
  const Library& library_;
  SslContext* client_context_;
  SslContext* server_context_;
  Ssl* client_ = nullptr;
  Ssl* server_ = nullptr;
};

}  // namespace gatehouse::tls_learn
