// SPDX-License-Identifier: Apache-2.0
// Library: a TLS library loaded into this process, called through its exported symbols. Whatever it may be, its code
// runs here: see sandbox.h.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gatehouse::tls_learn {

// Not ours to look into.
struct Ssl;
struct SslContext;
struct SslSession;
struct Bio;

struct Text {
  uintptr_t begin = 0;  // in memory
  uintptr_t end = 0;
  uint64_t offset = 0;  // of `begin` in the file
};

// Calls as OpenSSL declares them, since 1.1.1; BoringSSL has the same.
class Library {
 public:
  using KeyLog = void (*)(const Ssl*, const char*);
  enum class Version : int { kTls12 = 0x0303, kTls13 = 0x0304 };

  // Loads `paths` one after the other; the last is the library, or "" where the executable carries it. nullopt: `why`
  // says what is missing.
  static std::optional<Library> load(std::span<const char* const> paths, std::string& why);

  [[nodiscard]] std::string version() const { return OpenSSL_version(0); }
  // The file's code in memory; the part that holds an address.
  [[nodiscard]] const Text* text_at(uintptr_t address) const;

  // A certificate of its own making for `context`, which serves. False: it cannot.
  bool certify(SslContext* context) const;

  // NOLINTBEGIN(readability-identifier-naming): the library's names
  SslContext* (*SSL_CTX_new)(const void*) = nullptr;
  void (*SSL_CTX_free)(SslContext*) = nullptr;
  const void* (*TLS_client_method)() = nullptr;
  const void* (*TLS_server_method)() = nullptr;
  void (*SSL_CTX_set_keylog_callback)(SslContext*, KeyLog) = nullptr;
  long (*SSL_CTX_ctrl)(SslContext*, int, long, void*) = nullptr;
  Ssl* (*SSL_new)(SslContext*) = nullptr;
  void (*SSL_free)(Ssl*) = nullptr;
  void (*SSL_set_bio)(Ssl*, Bio*, Bio*) = nullptr;
  void (*SSL_set_connect_state)(Ssl*) = nullptr;
  void (*SSL_set_accept_state)(Ssl*) = nullptr;
  int (*SSL_do_handshake)(Ssl*) = nullptr;
  int (*SSL_read)(Ssl*, void*, int) = nullptr;
  int (*SSL_write)(Ssl*, const void*, int) = nullptr;
  int (*SSL_is_init_finished)(const Ssl*) = nullptr;
  size_t (*SSL_get_client_random)(const Ssl*, unsigned char*, size_t) = nullptr;
  SslSession* (*SSL_get1_session)(Ssl*) = nullptr;
  int (*SSL_set_session)(Ssl*, SslSession*) = nullptr;
  void (*SSL_SESSION_free)(SslSession*) = nullptr;
  size_t (*SSL_SESSION_get_master_key)(const SslSession*, unsigned char*, size_t) = nullptr;
  int (*SSL_CTX_use_certificate)(SslContext*, void*) = nullptr;
  int (*SSL_CTX_use_PrivateKey)(SslContext*, void*) = nullptr;
  int (*BIO_new_bio_pair)(Bio**, size_t, Bio**, size_t) = nullptr;
  void* (*EVP_PKEY_CTX_new_id)(int, void*) = nullptr;
  void (*EVP_PKEY_CTX_free)(void*) = nullptr;
  int (*EVP_PKEY_keygen_init)(void*) = nullptr;
  int (*EVP_PKEY_keygen)(void*, void**) = nullptr;
  const void* (*EVP_sha256)() = nullptr;
  void* (*X509_new)() = nullptr;
  void* (*X509_get_serialNumber)(void*) = nullptr;
  int (*ASN1_INTEGER_set)(void*, long) = nullptr;
  void* (*X509_getm_notBefore)(const void*) = nullptr;
  void* (*X509_getm_notAfter)(const void*) = nullptr;
  void* (*X509_gmtime_adj)(void*, long) = nullptr;
  int (*X509_set_pubkey)(void*, void*) = nullptr;
  int (*X509_sign)(void*, void*, const void*) = nullptr;
  const char* (*OpenSSL_version)(int) = nullptr;
  // NOLINTEND(readability-identifier-naming)

 private:
  Library() = default;
  void find_text();

  std::vector<Text> text_;
};

}  // namespace gatehouse::tls_learn
