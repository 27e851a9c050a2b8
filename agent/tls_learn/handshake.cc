// SPDX-License-Identifier: Apache-2.0
#include "agent/tls_learn/handshake.h"

namespace gatehouse::tls_learn {
namespace {

// SSL_CTRL_SET_MIN_PROTO_VERSION and _MAX_.
constexpr int kSetMinVersion = 123;
constexpr int kSetMaxVersion = 124;
// A handshake takes two.
constexpr int kTurnsMax = 16;

}  // namespace

Handshake::Handshake(const Library& library, Library::Version version, Library::KeyLog log, SslSession* resumed)
    : library_(library),
      client_context_(library.SSL_CTX_new(library.TLS_client_method())),
      server_context_(library.SSL_CTX_new(library.TLS_server_method())) {
  if (client_context_ == nullptr || server_context_ == nullptr || !library.certify(server_context_)) return;
  for (SslContext* const context : {client_context_, server_context_}) {
    library.SSL_CTX_ctrl(context, kSetMinVersion, static_cast<long>(version), nullptr);
    library.SSL_CTX_ctrl(context, kSetMaxVersion, static_cast<long>(version), nullptr);
    if (log != nullptr) library.SSL_CTX_set_keylog_callback(context, log);
  }
  client_ = library.SSL_new(client_context_);
  server_ = library.SSL_new(server_context_);
  Bio* to_client = nullptr;
  Bio* to_server = nullptr;
  if (client_ == nullptr || server_ == nullptr || library.BIO_new_bio_pair(&to_client, 0, &to_server, 0) <= 0) {
    client_ = server_ = nullptr;
    return;
  }
  library.SSL_set_bio(client_, to_client, to_client);
  library.SSL_set_bio(server_, to_server, to_server);
  library.SSL_set_connect_state(client_);
  library.SSL_set_accept_state(server_);
  if (resumed != nullptr) library.SSL_set_session(client_, resumed);
}

Handshake::~Handshake() {
  if (client_ != nullptr) library_.SSL_free(client_);
  if (server_ != nullptr) library_.SSL_free(server_);
  if (client_context_ != nullptr) library_.SSL_CTX_free(client_context_);
  if (server_context_ != nullptr) library_.SSL_CTX_free(server_context_);
}

bool Handshake::run() {
  if (client_ == nullptr || server_ == nullptr) return false;
  for (int i = 0; i < kTurnsMax; ++i) {
    library_.SSL_do_handshake(client_);
    library_.SSL_do_handshake(server_);
    if (library_.SSL_is_init_finished(client_) != 0 && library_.SSL_is_init_finished(server_) != 0) break;
  }
  char word = 'a';
  return library_.SSL_is_init_finished(client_) != 0 && library_.SSL_is_init_finished(server_) != 0 &&
         library_.SSL_write(server_, &word, 1) == 1 && library_.SSL_read(client_, &word, 1) == 1;
}

Random Handshake::client_random() const {
  Random random{};
  library_.SSL_get_client_random(client_, random.data(), random.size());
  return random;
}

std::array<uint8_t, 48> Handshake::master_key() const {
  std::array<uint8_t, 48> key{};
  if (SslSession* const one = session(); one != nullptr) {
    library_.SSL_SESSION_get_master_key(one, key.data(), key.size());
    library_.SSL_SESSION_free(one);
  }
  return key;
}

SslSession* Handshake::session() const {
  return library_.SSL_get1_session(client_);
}

}  // namespace gatehouse::tls_learn
