// SPDX-License-Identifier: Apache-2.0
#include "agent/tls_learn/library.h"

#include <dlfcn.h>
#include <link.h>

namespace gatehouse::tls_learn {
namespace {

// Kinds of keys (NID_rsaEncryption, NID_ED25519), first the one that takes no time to make.
constexpr int kEd25519 = 1087;
constexpr int kRsa = 6;
constexpr long kDaySeconds = 86400;

template <typename Function>
bool find(void* handle, const char* name, Function& function, std::string& why) {
  void* const symbol = dlsym(handle, name);
  if (symbol == nullptr) {
    if (why.empty()) why = std::string("it does not export ") + name;
    return false;
  }
  function = reinterpret_cast<Function>(symbol);
  return true;
}

}  // namespace

std::optional<Library> Library::load(std::span<const char* const> paths, std::string& why) {
  void* handle = RTLD_DEFAULT;
  for (const char* const path : paths) {
    if (*path == '\0') continue;
    handle = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    if (handle == nullptr) {
      why = "it cannot be loaded alone";
      return std::nullopt;
    }
  }
  Library l;
#define GH_FIND(name) find(handle, #name, l.name, why)
  GH_FIND(SSL_CTX_set_keylog_callback);  // the most telling if it is missing
  GH_FIND(SSL_CTX_new);
  GH_FIND(SSL_CTX_free);
  GH_FIND(TLS_client_method);
  GH_FIND(TLS_server_method);
  GH_FIND(SSL_CTX_ctrl);
  GH_FIND(SSL_new);
  GH_FIND(SSL_free);
  GH_FIND(SSL_set_bio);
  GH_FIND(SSL_set_connect_state);
  GH_FIND(SSL_set_accept_state);
  GH_FIND(SSL_do_handshake);
  GH_FIND(SSL_read);
  GH_FIND(SSL_write);
  GH_FIND(SSL_is_init_finished);
  GH_FIND(SSL_get_client_random);
  GH_FIND(SSL_get1_session);
  GH_FIND(SSL_set_session);
  GH_FIND(SSL_SESSION_free);
  GH_FIND(SSL_SESSION_get_master_key);
  GH_FIND(SSL_CTX_use_certificate);
  GH_FIND(SSL_CTX_use_PrivateKey);
  GH_FIND(BIO_new_bio_pair);
  GH_FIND(EVP_PKEY_CTX_new_id);
  GH_FIND(EVP_PKEY_CTX_free);
  GH_FIND(EVP_PKEY_keygen_init);
  GH_FIND(EVP_PKEY_keygen);
  GH_FIND(EVP_sha256);
  GH_FIND(X509_new);
  GH_FIND(X509_get_serialNumber);
  GH_FIND(ASN1_INTEGER_set);
  GH_FIND(X509_getm_notBefore);
  GH_FIND(X509_getm_notAfter);
  GH_FIND(X509_gmtime_adj);
  GH_FIND(X509_set_pubkey);
  GH_FIND(X509_sign);
  GH_FIND(OpenSSL_version);
#undef GH_FIND
  if (!why.empty()) return std::nullopt;
  l.find_text();
  if (l.text_.empty()) {
    why = "its code is not found in memory";
    return std::nullopt;
  }
  return l;
}

void Library::find_text() {
  struct Search {
    uintptr_t address;
    std::vector<Text>* text;
  } search{.address = reinterpret_cast<uintptr_t>(SSL_new), .text = &text_};
  dl_iterate_phdr(
      [](dl_phdr_info* object, size_t, void* data) {
        const auto& wanted = *static_cast<const Search*>(data);
        std::vector<Text> text;
        bool is_it = false;
        for (size_t i = 0; i < object->dlpi_phnum; ++i) {
          const auto& header = object->dlpi_phdr[i];
          if (header.p_type != PT_LOAD || (header.p_flags & PF_X) == 0) continue;
          const uintptr_t begin = object->dlpi_addr + header.p_vaddr;
          const uintptr_t end = begin + header.p_filesz;
          is_it = is_it || (wanted.address >= begin && wanted.address < end);
          text.push_back({.begin = begin, .end = end, .offset = header.p_offset});
        }
        if (is_it) *wanted.text = text;
        return is_it ? 1 : 0;
      },
      &search);
}

const Text* Library::text_at(uintptr_t address) const {
  for (const Text& text : text_)
    if (address >= text.begin && address < text.end) return &text;
  return nullptr;
}

bool Library::certify(SslContext* context) const {
  for (const int kind : {kEd25519, kRsa}) {
    void* const maker = EVP_PKEY_CTX_new_id(kind, nullptr);
    void* key = nullptr;
    if (maker == nullptr) continue;
    const bool is_made = EVP_PKEY_keygen_init(maker) > 0 && EVP_PKEY_keygen(maker, &key) > 0;
    EVP_PKEY_CTX_free(maker);
    if (!is_made) continue;
    void* const certificate = X509_new();
    if (certificate == nullptr) return false;
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -kDaySeconds);
    X509_gmtime_adj(X509_getm_notAfter(certificate), kDaySeconds);
    if (X509_set_pubkey(certificate, key) > 0 &&
        X509_sign(certificate, key, kind == kRsa ? EVP_sha256() : nullptr) > 0 &&
        SSL_CTX_use_certificate(context, certificate) > 0 && SSL_CTX_use_PrivateKey(context, key) > 0)
      return true;
  }
  return false;
}

}  // namespace gatehouse::tls_learn
