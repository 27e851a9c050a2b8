// SPDX-License-Identifier: Apache-2.0
// Certificates of a Gatehouse installation: its collector's own authority, the collector's server certificate, and a
// client certificate per agent and operator. P-256 throughout; everything is PEM text. docs/enrolment.md tells who gets
// what, and how.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/digest.h"
#include "common/result.h"

namespace gatehouse::pki {

// The DNS name that every collector's certificate holds. Agents and tools expect it rather than the host name they
// dialled: an authority signs nothing but its one collector under a DNS name, and hosts are known by many names.
inline constexpr std::string_view kCollectorName = "collector.gatehouse.internal";

inline constexpr size_t kPemBytesMax = 64U << 10;

enum class Role : uint8_t { kAgent, kOperator };

// Who a client certificate is for: its first subject alternative name is the URI gatehouse://agent/<id> or
// gatehouse://operator/<name>.
struct Subject {
  Role role = Role::kAgent;
  std::string id;
  bool operator==(const Subject&) const = default;
};
std::string to_uri(const Subject& subject);
std::optional<Subject> parse_uri(std::string_view uri);
// 1 to 64 of a-z, 0-9, '.', '_' and '-', the first a letter or digit: safe in a path, a URI and a log line.
bool is_valid_id(std::string_view id);

// An agent's id: its name with whatever is not allowed in an id turned into '-', and the start of its key's hash, so
// that two hosts of one name are two agents and an agent knows its id before it has met a collector.
std::string agent_id(std::string_view agent_name, const Sha256& public_key_sha256);

struct Identity {
  std::string certificate_pem;  // and the authority's after it, for a server
  std::string key_pem;
};

Result<std::string> create_key();
Result<std::string> create_request(const std::string& key_pem);
// SHA-256 of the public key (SubjectPublicKeyInfo) of a private key or of a certificate request. A request's own
// signature is verified: its sender holds the key.
Result<Sha256> public_key_sha256(const std::string& key_pem);
Result<Sha256> request_key_sha256(const std::string& request_pem);
// The certificate is of that key.
bool is_pair(const Identity& identity);

struct CertificateInfo {
  uint64_t not_before_s = 0;  // Unix time
  uint64_t not_after_s = 0;
  std::vector<std::string> uris;
  std::vector<std::string> names;  // DNS names and addresses
  Sha256 fingerprint{};            // SHA-256 of the certificate (DER)

  // Less than a third of its life is left.
  [[nodiscard]] bool is_due(uint64_t now_s) const;
};
// Of the first certificate in the text.
Result<CertificateInfo> inspect(const std::string& certificate_pem);
// The certificate in `pem` (of any number of them) whose fingerprint this is.
Result<std::string> find_by_fingerprint(const std::string& pem, const Sha256& fingerprint);
std::optional<Sha256> parse_fingerprint(std::string_view hex);

// Signs. Its key is as valuable as everything that agents send.
class Authority {
 public:
  static Result<Authority> create(const std::string& name);
  static Result<Authority> load(std::string certificate_pem, std::string key_pem);

  // `names`: DNS names and addresses; kCollectorName is added. The chain ends with the authority's own certificate.
  [[nodiscard]] Result<Identity> issue_server(std::span<const std::string> names) const;
  [[nodiscard]] Result<Identity> issue_client(const Subject& subject) const;
  // A certificate for the request's key and nothing else that the request asks for.
  [[nodiscard]] Result<std::string> sign_request(const std::string& request_pem, const Subject& subject) const;

  [[nodiscard]] const std::string& certificate_pem() const { return certificate_pem_; }
  [[nodiscard]] const std::string& key_pem() const { return key_pem_; }
  [[nodiscard]] const Sha256& fingerprint() const { return fingerprint_; }

 private:
  Authority(std::string certificate_pem, std::string key_pem, Sha256 fingerprint)
      : certificate_pem_(std::move(certificate_pem)), key_pem_(std::move(key_pem)), fingerprint_(fingerprint) {}

  std::string certificate_pem_;
  std::string key_pem_;
  Sha256 fingerprint_;
};

// `byte_count` random bytes as lower-case hex.
std::string random_hex(size_t byte_count);

// What an operator hands to a new agent: proves to the collector that the agent may enrol, and to the agent that it
// talks to this collector. Text: "ghe1_" secret "_" fingerprint, both hex: one word for a double click.
struct EnrolmentToken {
  std::string secret;  // 32 hex digits
  Sha256 authority_fingerprint{};
};
std::string to_text(const EnrolmentToken& token);
std::optional<EnrolmentToken> parse_token(std::string_view text);

}  // namespace gatehouse::pki
