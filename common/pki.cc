// SPDX-License-Identifier: Apache-2.0
#include "common/pki.h"

#include <arpa/inet.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>

#include "common/check.h"
#include "common/clock.h"
#include "common/file.h"

namespace gatehouse::pki {
namespace {

constexpr int64_t kAuthorityDays = 3650;
constexpr int64_t kCertificateDays = 365;
// Hosts' clocks differ; a new certificate must not be "not yet valid" on one that is a little behind.
constexpr int64_t kBackdateS = 600;
constexpr size_t kSerialBytes = 16;
constexpr size_t kIdBytesMax = 64;
constexpr size_t kKeyHashDigits = 8;
constexpr std::string_view kAgentUri = "gatehouse://agent/";
constexpr std::string_view kOperatorUri = "gatehouse://operator/";
constexpr std::string_view kTokenPrefix = "ghe1_";
constexpr size_t kSecretDigits = 32;

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Freer<X509_free>>;
using Request = std::unique_ptr<X509_REQ, Freer<X509_REQ_free>>;
using Bio = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using Extension = std::unique_ptr<X509_EXTENSION, Freer<X509_EXTENSION_free>>;
using Names = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>>;
using Number = std::unique_ptr<BIGNUM, Freer<BN_free>>;

// The newest reason OpenSSL has queued; empties the queue.
Error openssl_error(std::string_view what) {
  std::array<char, 256> reason{};
  const unsigned long code = ERR_peek_last_error();
  ERR_clear_error();
  if (code == 0) return Error(std::string(what) + ": refused by OpenSSL");
  ERR_error_string_n(code, reason.data(), reason.size());
  return Error(std::string(what) + ": " + reason.data());
}

Bio reading(std::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(std::min<size_t>(text.size(), kPemBytesMax))));
}

std::string contents(BIO* bio) {
  char* data = nullptr;
  const long bytes = BIO_get_mem_data(bio, &data);
  return {data, static_cast<size_t>(bytes)};
}

// Never asks a person for a pass phrase.
int no_passphrase(char* /*buffer*/, int /*size*/, int /*writing*/, void* /*user*/) {
  return 0;
}

Result<Key> read_key(const std::string& pem) {
  Key key(PEM_read_bio_PrivateKey(reading(pem).get(), nullptr, no_passphrase, nullptr));
  if (!key) return openssl_error("private key");
  return key;
}

Result<Certificate> read_certificate(const std::string& pem) {
  Certificate certificate(PEM_read_bio_X509(reading(pem).get(), nullptr, no_passphrase, nullptr));
  if (!certificate) return openssl_error("certificate");
  return certificate;
}

// With its signature verified, and of a kind that TLS 1.3 peers accept.
Result<Request> read_request(const std::string& pem) {
  Request request(PEM_read_bio_X509_REQ(reading(pem).get(), nullptr, no_passphrase, nullptr));
  if (!request) return openssl_error("certificate request");
  EVP_PKEY* const key = X509_REQ_get0_pubkey(request.get());
  if (key == nullptr) return openssl_error("certificate request's key");
  if (EVP_PKEY_get_base_id(key) != EVP_PKEY_EC || EVP_PKEY_get_bits(key) != 256)
    return Error("certificate request: its key is not of the kind P-256");
  if (X509_REQ_verify(request.get(), key) != 1) return openssl_error("certificate request's signature");
  return request;
}

template <auto kWrite, typename T>
std::string to_pem(T* object) {
  const Bio bio(BIO_new(BIO_s_mem()));
  GH_CHECK(bio != nullptr && kWrite(bio.get(), object) == 1);
  return contents(bio.get());
}

std::string key_to_pem(EVP_PKEY* key) {
  const Bio bio(BIO_new(BIO_s_mem()));
  GH_CHECK(bio != nullptr && PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr) == 1);
  return contents(bio.get());
}

Result<Key> generate_key() {
  Key key(EVP_EC_gen("P-256"));
  if (!key) return openssl_error("creating a key");
  return key;
}

Sha256 hash_of_key(EVP_PKEY* key) {
  unsigned char* der = nullptr;
  const int bytes = i2d_PUBKEY(key, &der);
  GH_CHECK(bytes > 0);
  const Sha256 digest = sha256(std::as_bytes(std::span{der, static_cast<size_t>(bytes)}));
  OPENSSL_free(der);
  return digest;
}

Sha256 fingerprint_of(X509* certificate) {
  unsigned char* der = nullptr;
  const int bytes = i2d_X509(certificate, &der);
  GH_CHECK(bytes > 0);
  const Sha256 digest = sha256(std::as_bytes(std::span{der, static_cast<size_t>(bytes)}));
  OPENSSL_free(der);
  return digest;
}

bool is_address(const std::string& name) {
  std::array<unsigned char, 16> address{};
  return ::inet_pton(AF_INET, name.c_str(), address.data()) == 1 ||
         ::inet_pton(AF_INET6, name.c_str(), address.data()) == 1;
}

// What the authority writes into a certificate.
struct Profile {
  std::string common_name;
  int64_t days = kCertificateDays;
  std::vector<std::pair<int, std::string>> extensions;  // NID and value as in openssl.cnf
};

// `issuer` is null for a self-signed one.
Result<Certificate> build(const Profile& profile, EVP_PKEY* subject_key, X509* issuer, EVP_PKEY* issuer_key) {
  Certificate certificate(X509_new());
  X509* const x = certificate.get();
  std::array<unsigned char, kSerialBytes> serial{};
  if (x == nullptr || RAND_bytes(serial.data(), static_cast<int>(serial.size())) != 1)
    return openssl_error("certificate");
  serial[0] &= 0x7F;  // RFC 5280: positive
  const Number number(BN_bin2bn(serial.data(), static_cast<int>(serial.size()), nullptr));
  const auto now = static_cast<time_t>(unix_ns() / 1'000'000'000);
  X509_NAME* const name = X509_get_subject_name(x);
  const auto* common_name = reinterpret_cast<const unsigned char*>(profile.common_name.c_str());
  const bool is_filled =
      X509_set_version(x, X509_VERSION_3) == 1 &&
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(x)) != nullptr &&
      ASN1_TIME_adj(X509_getm_notBefore(x), now, 0, -kBackdateS) != nullptr &&
      ASN1_TIME_adj(X509_getm_notAfter(x), now, static_cast<int>(profile.days), 0) != nullptr &&
      X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, reinterpret_cast<const unsigned char*>("Gatehouse"), -1, -1,
                                 0) == 1 &&
      X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, common_name, -1, -1, 0) == 1 &&
      X509_set_issuer_name(x, issuer != nullptr ? X509_get_subject_name(issuer) : name) == 1 &&
      X509_set_pubkey(x, subject_key) == 1;
  if (!is_filled) return openssl_error("certificate for " + profile.common_name);

  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer != nullptr ? issuer : x, x, nullptr, nullptr, 0);
  for (const auto& [nid, value] : profile.extensions) {
    const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, nid, value.c_str()));
    if (!extension || X509_add_ext(x, extension.get(), -1) != 1) return openssl_error("certificate extension " + value);
  }
  if (X509_sign(x, issuer_key, EVP_sha256()) == 0) return openssl_error("signing a certificate");
  return certificate;
}

uint64_t seconds_of(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return 0;
  const time_t seconds = ::timegm(&parts);
  return seconds < 0 ? 0 : static_cast<uint64_t>(seconds);
}

std::string text_of(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<size_t>(ASN1_STRING_length(string))};
}

std::string address_text(const ASN1_OCTET_STRING* octets) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const int family = ASN1_STRING_length(octets) == 4 ? AF_INET : AF_INET6;
  if (family == AF_INET6 && ASN1_STRING_length(octets) != 16) return {};
  const char* const converted = ::inet_ntop(family, ASN1_STRING_get0_data(octets), text.data(), text.size());
  return converted == nullptr ? std::string() : converted;
}

CertificateInfo info_of(X509* certificate) {
  CertificateInfo info;
  info.not_before_s = seconds_of(X509_get0_notBefore(certificate));
  info.not_after_s = seconds_of(X509_get0_notAfter(certificate));
  info.fingerprint = fingerprint_of(certificate);
  const Names names(static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* const name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_URI) info.uris.push_back(text_of(name->d.uniformResourceIdentifier));
    if (name->type == GEN_DNS) info.names.push_back(text_of(name->d.dNSName));
    if (name->type == GEN_IPADD) info.names.push_back(address_text(name->d.iPAddress));
  }
  return info;
}

Profile client_profile(const Subject& subject) {
  return {.common_name = subject.id,
          .extensions = {{NID_basic_constraints, "critical,CA:FALSE"},
                         {NID_key_usage, "critical,digitalSignature"},
                         {NID_ext_key_usage, "clientAuth"},
                         {NID_subject_alt_name, "URI:" + to_uri(subject)},
                         {NID_authority_key_identifier, "keyid"}}};
}

}  // namespace

std::string to_uri(const Subject& subject) {
  GH_CHECK(is_valid_id(subject.id));
  return std::string(subject.role == Role::kAgent ? kAgentUri : kOperatorUri) + subject.id;
}

std::optional<Subject> parse_uri(std::string_view uri) {
  for (const auto& [prefix, role] : {std::pair{kAgentUri, Role::kAgent}, std::pair{kOperatorUri, Role::kOperator}}) {
    if (uri.starts_with(prefix) && is_valid_id(uri.substr(prefix.size())))
      return Subject{.role = role, .id = std::string(uri.substr(prefix.size()))};
  }
  return std::nullopt;
}

bool is_valid_id(std::string_view id) {
  const auto is_alphanumeric = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  if (id.empty() || id.size() > kIdBytesMax || !is_alphanumeric(id.front())) return false;
  return std::ranges::all_of(id, [&](char c) { return is_alphanumeric(c) || c == '.' || c == '_' || c == '-'; });
}

std::string agent_id(std::string_view agent_name, const Sha256& public_key_sha256) {
  std::string id;
  for (const char c : agent_name.substr(0, kIdBytesMax - kKeyHashDigits - 1)) {
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    const bool is_allowed =
        (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9') || lower == '.' || lower == '_';
    id += is_allowed ? lower : '-';
  }
  id.erase(0, id.find_first_not_of("-._"));
  if (id.empty()) id = "agent";
  id += '-' + to_hex(public_key_sha256).substr(0, kKeyHashDigits);
  GH_CHECK(is_valid_id(id));
  return id;
}

Result<std::string> create_key() {
  GH_ASSIGN(const Key key, generate_key());
  return key_to_pem(key.get());
}

Result<std::string> create_request(const std::string& key_pem) {
  GH_ASSIGN(const Key key, read_key(key_pem));
  const Request request(X509_REQ_new());
  if (!request || X509_REQ_set_pubkey(request.get(), key.get()) != 1 ||
      X509_REQ_sign(request.get(), key.get(), EVP_sha256()) == 0)
    return openssl_error("certificate request");
  return to_pem<PEM_write_bio_X509_REQ>(request.get());
}

Result<Sha256> public_key_sha256(const std::string& key_pem) {
  GH_ASSIGN(const Key key, read_key(key_pem));
  return hash_of_key(key.get());
}

Result<Sha256> request_key_sha256(const std::string& request_pem) {
  GH_ASSIGN(const Request request, read_request(request_pem));
  return hash_of_key(X509_REQ_get0_pubkey(request.get()));
}

bool is_pair(const Identity& identity) {
  const auto key = public_key_sha256(identity.key_pem);
  const auto certificate = read_certificate(identity.certificate_pem);
  if (!key || !certificate) return false;
  return hash_of_key(X509_get0_pubkey(certificate->get())) == *key;
}

bool CertificateInfo::is_due(uint64_t now_s) const {
  return not_after_s <= now_s || (not_after_s - now_s) < (not_after_s - not_before_s) / 3;
}

Result<CertificateInfo> inspect(const std::string& certificate_pem) {
  GH_ASSIGN(const Certificate certificate, read_certificate(certificate_pem));
  return info_of(certificate.get());
}

Result<std::string> find_by_fingerprint(const std::string& pem, const Sha256& fingerprint) {
  const Bio bio = reading(pem);
  for (;;) {
    const Certificate certificate(PEM_read_bio_X509(bio.get(), nullptr, no_passphrase, nullptr));
    if (!certificate) break;
    if (fingerprint_of(certificate.get()) == fingerprint) return to_pem<PEM_write_bio_X509>(certificate.get());
  }
  ERR_clear_error();
  return Error("no certificate with the fingerprint " + to_hex(fingerprint));
}

std::optional<Sha256> parse_fingerprint(std::string_view hex) {
  Sha256 digest{};
  if (hex.size() != digest.size() * 2) return std::nullopt;
  constexpr std::string_view kDigits = "0123456789abcdef";
  for (size_t i = 0; i < digest.size(); ++i) {
    const size_t high = kDigits.find(hex[2 * i]);
    const size_t low = kDigits.find(hex[2 * i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
    digest[i] = static_cast<std::byte>(high << 4 | low);
  }
  return digest;
}

Result<Authority> Authority::create(const std::string& name) {
  GH_ASSIGN(const Key key, generate_key());
  const Profile profile{.common_name = name,
                        .days = kAuthorityDays,
                        .extensions = {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                                       {NID_key_usage, "critical,keyCertSign,cRLSign"},
                                       {NID_subject_key_identifier, "hash"}}};
  GH_ASSIGN(const Certificate certificate, build(profile, key.get(), nullptr, key.get()));
  return Authority(to_pem<PEM_write_bio_X509>(certificate.get()), key_to_pem(key.get()),
                   fingerprint_of(certificate.get()));
}

Result<Authority> Authority::load(std::string certificate_pem, std::string key_pem) {
  GH_ASSIGN(const Certificate certificate, read_certificate(certificate_pem));
  GH_ASSIGN(const Key key, read_key(key_pem));
  if (X509_check_private_key(certificate.get(), key.get()) != 1) {
    ERR_clear_error();
    return Error("certificate and key of the authority do not belong together");
  }
  const Sha256 fingerprint = fingerprint_of(certificate.get());
  return Authority(std::move(certificate_pem), std::move(key_pem), fingerprint);
}

Result<Identity> Authority::issue_server(std::span<const std::string> names) const {
  GH_ASSIGN(const Certificate issuer, read_certificate(certificate_pem_));
  GH_ASSIGN(const Key issuer_key, read_key(key_pem_));
  GH_ASSIGN(const Key key, generate_key());
  std::string alternatives = "DNS:" + std::string(kCollectorName);
  for (const std::string& name : names) {
    // The value goes through OpenSSL's configuration syntax, where these separate.
    if (name.empty() || name.find_first_of(",;\n\r ") != std::string::npos)
      return Error::configuration("'" + name + "' cannot be a name in a certificate");
    alternatives += (is_address(name) ? ",IP:" : ",DNS:") + name;
  }
  const Profile profile{.common_name = std::string(kCollectorName),
                        .extensions = {{NID_basic_constraints, "critical,CA:FALSE"},
                                       {NID_key_usage, "critical,digitalSignature"},
                                       {NID_ext_key_usage, "serverAuth"},
                                       {NID_subject_alt_name, alternatives},
                                       {NID_authority_key_identifier, "keyid"}}};
  GH_ASSIGN(const Certificate certificate, build(profile, key.get(), issuer.get(), issuer_key.get()));
  return Identity{.certificate_pem = to_pem<PEM_write_bio_X509>(certificate.get()) + certificate_pem_,
                  .key_pem = key_to_pem(key.get())};
}

Result<Identity> Authority::issue_client(const Subject& subject) const {
  GH_ASSIGN(const std::string key_pem, create_key());
  GH_ASSIGN(const std::string request_pem, create_request(key_pem));
  GH_ASSIGN(std::string certificate_pem, sign_request(request_pem, subject));
  return Identity{.certificate_pem = std::move(certificate_pem), .key_pem = key_pem};
}

Result<std::string> Authority::sign_request(const std::string& request_pem, const Subject& subject) const {
  GH_ASSIGN(const Request request, read_request(request_pem));
  GH_ASSIGN(const Certificate issuer, read_certificate(certificate_pem_));
  GH_ASSIGN(const Key issuer_key, read_key(key_pem_));
  GH_ASSIGN(const Certificate certificate,
            build(client_profile(subject), X509_REQ_get0_pubkey(request.get()), issuer.get(), issuer_key.get()));
  return to_pem<PEM_write_bio_X509>(certificate.get());
}

std::string random_hex(size_t byte_count) {
  std::vector<std::byte> bytes(byte_count);
  GH_CHECK(RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size())) == 1);
  return to_hex(bytes);
}

std::string to_text(const EnrolmentToken& token) {
  GH_CHECK(token.secret.size() == kSecretDigits);
  return std::string(kTokenPrefix) + token.secret + '_' + to_hex(token.authority_fingerprint);
}

std::optional<EnrolmentToken> parse_token(std::string_view text) {
  if (!text.starts_with(kTokenPrefix)) return std::nullopt;
  text.remove_prefix(kTokenPrefix.size());
  if (text.size() <= kSecretDigits || text[kSecretDigits] != '_') return std::nullopt;
  const std::string_view secret = text.substr(0, kSecretDigits);
  const auto fingerprint = parse_fingerprint(text.substr(kSecretDigits + 1));
  if (!fingerprint || secret.find_first_not_of("0123456789abcdef") != std::string_view::npos) return std::nullopt;
  return EnrolmentToken{.secret = std::string(secret), .authority_fingerprint = *fingerprint};
}

}  // namespace gatehouse::pki
