// SPDX-License-Identifier: Apache-2.0
#include "agent/shim/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace gatehouse::shim {
namespace {

// Length byte and name, as the extension has it.
constexpr std::string_view kAlpn("\x0apostgresql");

// Never asks a person for a pass phrase.
int no_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*user*/) {
  return 0;
}

const unsigned char* bytes_of(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

Error openssl_error(std::string_view what) {
  return Error(std::string(what) + ": " + take_tls_reason());
}

std::vector<unsigned char> to_der(X509* certificate) {
  unsigned char* der = nullptr;
  const int bytes = i2d_X509(certificate, &der);
  if (bytes <= 0) return {};
  std::vector<unsigned char> copy(der, der + bytes);
  OPENSSL_free(der);
  return copy;
}

// As PostgreSQL 17: a client that offers protocols, none of them PostgreSQL, has come to the wrong door.
int select_alpn(SSL* /*ssl*/, const unsigned char** out, unsigned char* out_bytes, const unsigned char* offered,
                unsigned offered_bytes, void* /*self*/) {
  unsigned char* selected = nullptr;
  const int outcome =
      SSL_select_next_proto(&selected, out_bytes, bytes_of(kAlpn), unsigned{kAlpn.size()}, offered, offered_bytes);
  *out = selected;
  return outcome == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

Result<SslContext> make_context(const SSL_METHOD* method) {
  ERR_clear_error();
  SslContext context(SSL_CTX_new(method));
  if (!context || SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1)
    return openssl_error("making a TLS context");
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(context.get(), 0);
  // Idle sessions hold no record buffers; a record is read with one read(2), not one for its header and one for it.
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_read_ahead(context.get(), 1);
  return context;
}

bool is_address(const std::string& name) {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  return inet_pton(AF_INET, name.c_str(), address.data()) == 1 ||
         inet_pton(AF_INET6, name.c_str(), address.data()) == 1;
}

}  // namespace

std::string take_tls_reason() {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  std::string text = reason == nullptr ? "no reason given" : reason;
  ERR_clear_error();
  return text;
}

bool has_postgres_alpn(const SSL* ssl) {
  const unsigned char* name = nullptr;
  unsigned bytes = 0;
  SSL_get0_alpn_selected(ssl, &name, &bytes);
  return bytes == kAlpn.size() - 1 && std::equal(name, name + bytes, bytes_of(kAlpn) + 1);
}

Result<std::unique_ptr<TlsContexts>> TlsContexts::load(const Gated& gated) {
  auto made = std::make_unique<TlsContexts>();
  if (gated.certificate.empty()) return made;
  GH_TRY(made->load_to_client(gated));
  GH_TRY(made->load_to_server(gated));
  return made;
}

Status TlsContexts::load_to_client(const Gated& gated) {
  GH_ASSIGN(to_client_, make_context(TLS_server_method()));
  SSL_CTX* context = to_client_.get();
  SSL_CTX_set_default_passwd_cb(context, no_passphrase);
  if (SSL_CTX_use_certificate_chain_file(context, gated.certificate.c_str()) != 1)
    return openssl_error("certificate " + gated.certificate);
  if (SSL_CTX_use_PrivateKey_file(context, gated.key.c_str(), SSL_FILETYPE_PEM) != 1)
    return openssl_error("key " + gated.key);
  if (SSL_CTX_check_private_key(context) != 1)
    return openssl_error("key " + gated.key + " does not belong to certificate " + gated.certificate);
  SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_alpn_select_cb(context, select_alpn, nullptr);
  certificate_ = to_der(SSL_CTX_get0_certificate(context));
  if (certificate_.empty()) return openssl_error("certificate " + gated.certificate);
  return {};
}

Status TlsContexts::load_to_server(const Gated& gated) {
  GH_ASSIGN(to_server_, make_context(TLS_client_method()));
  SSL_CTX* context = to_server_.get();
  // 0 is success here.
  if (SSL_CTX_set_alpn_protos(context, bytes_of(kAlpn), unsigned{kAlpn.size()}) != 0) return openssl_error("ALPN");
  const UpstreamTls& wanted = gated.upstream_tls;
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  if (wanted.verify == UpstreamTls::Verify::kCertificate) {
    SSL_CTX_set_cert_verify_callback(context, verify_same_certificate, this);
    return {};
  }
  if (SSL_CTX_load_verify_file(context, wanted.root_certificate.c_str()) != 1)
    return openssl_error("root certificate " + wanted.root_certificate);
  X509_VERIFY_PARAM* parameters = SSL_CTX_get0_param(context);
  X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  const bool is_ip = is_address(wanted.name);
  const int is_set = is_ip ? X509_VERIFY_PARAM_set1_ip_asc(parameters, wanted.name.c_str())
                           : X509_VERIFY_PARAM_set1_host(parameters, wanted.name.c_str(), wanted.name.size());
  if (wanted.name.empty() || is_set != 1) return Error::configuration("server name '" + wanted.name + "' is not one");
  if (!is_ip) server_name_ = wanted.name;
  return {};
}

// That the peer has its key the handshake proves.
int TlsContexts::verify_same_certificate(X509_STORE_CTX* chain, void* self) {
  X509* leaf = X509_STORE_CTX_get0_cert(chain);
  const bool is_same = leaf != nullptr && to_der(leaf) == static_cast<const TlsContexts*>(self)->certificate_;
  X509_STORE_CTX_set_error(chain, is_same ? X509_V_OK : X509_V_ERR_CERT_REJECTED);
  return is_same ? 1 : 0;
}

}  // namespace gatehouse::shim
