// SPDX-License-Identifier: Apache-2.0
// What the shim shows to clients and asks of servers where TLS is spoken: TLS 1.2 and later, no renegotiation, no
// compression, no resumption (as PostgreSQL itself has it), ALPN "postgresql".
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>
#include <vector>

#include "agent/shim/worker.h"
#include "common/result.h"

namespace gatehouse::shim {

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using SslContext = std::unique_ptr<SSL_CTX, Freer<SSL_CTX_free>>;
using Ssl = std::unique_ptr<SSL, Freer<SSL_free>>;

// Of one gated server; both null where it has no certificate. Outlives every SSL made from it.
class TlsContexts {
 public:
  // Reads the files that `gated` names. `root_certificate` is needed by kFull only.
  static Result<std::unique_ptr<TlsContexts>> load(const Gated& gated);

  [[nodiscard]] bool is_offered() const { return to_client_ != nullptr; }
  [[nodiscard]] SSL_CTX* to_client() const { return to_client_.get(); }
  [[nodiscard]] SSL_CTX* to_server() const { return to_server_.get(); }
  // kFull: the name that the server is asked for (SNI), where it is one and not an address.
  [[nodiscard]] const std::string& server_name() const { return server_name_; }

 private:
  Status load_to_client(const Gated& gated);
  Status load_to_server(const Gated& gated);
  static int verify_same_certificate(X509_STORE_CTX* chain, void* self);

  SslContext to_client_, to_server_;
  std::vector<unsigned char> certificate_;  // DER, of the leaf
  std::string server_name_;
};

// The protocol that the two ends have agreed on is PostgreSQL's: what a client must say that begins with TLS.
bool has_postgres_alpn(const SSL* ssl);
// Newest reason that OpenSSL has queued, for a person; empties the queue.
std::string take_tls_reason();

}  // namespace gatehouse::shim
