// SPDX-License-Identifier: Apache-2.0
#include "agent/uplink/agent_identity.h"

#include <unistd.h>

#include "common/clock.h"
#include "common/file.h"

namespace gatehouse::uplink {
namespace {

constexpr size_t kIdFileBytesMax = 128;

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

uint64_t now_s() {
  return unix_ns() / 1'000'000'000;
}

}  // namespace

Result<AgentIdentity> AgentIdentity::open(std::string folder, const std::string& agent_name) {
  AgentIdentity identity;
  identity.folder_ = std::move(folder);
  const std::string& in = identity.folder_;
  GH_TRY(make_directories(in));
  if (!exists(in + "/key.pem")) {
    GH_ASSIGN(const std::string made, pki::create_key());
    GH_TRY(write_file_atomically(in + "/key.pem", made));
  }
  GH_ASSIGN(identity.key_pem_, read_file(in + "/key.pem", pki::kPemBytesMax));
  if (!exists(in + "/agent_id")) {
    auto key = pki::public_key_sha256(identity.key_pem_).context(in + "/key.pem");
    if (!key) return std::move(key).error();
    GH_TRY(write_file_atomically(in + "/agent_id", pki::agent_id(agent_name, *key) + '\n'));
  }
  GH_ASSIGN(identity.agent_id_, read_file(in + "/agent_id", kIdFileBytesMax));
  if (identity.agent_id_.ends_with('\n')) identity.agent_id_.pop_back();
  if (!pki::is_valid_id(identity.agent_id_))
    return Error(in + "/agent_id: not an agent id; delete the folder to enrol anew");
  if (exists(in + "/cert.pem")) {
    GH_ASSIGN(identity.authority_pem_, read_file(in + "/ca.pem", pki::kPemBytesMax));
    GH_ASSIGN(identity.certificate_pem_, read_file(in + "/cert.pem", pki::kPemBytesMax));
    auto info = pki::inspect(identity.certificate_pem_).context(in + "/cert.pem");
    if (!info) return std::move(info).error();
    identity.certificate_ = std::move(*info);
  }
  return identity;
}

std::string AgentIdentity::name_part() const {
  const size_t dash = agent_id_.rfind('-');
  return agent_id_.substr(0, dash);
}

bool AgentIdentity::is_due() const {
  return certificate_.is_due(now_s());
}

bool AgentIdentity::is_expired() const {
  return certificate_.not_after_s <= now_s();
}

Status AgentIdentity::adopt(const std::string& certificate_pem, const std::string& authority_pem) {
  GH_ASSIGN(const pki::CertificateInfo info, pki::inspect(certificate_pem));
  const std::string uri = pki::to_uri({.role = pki::Role::kAgent, .id = agent_id_});
  if (info.uris.size() != 1 || info.uris.front() != uri) return Error("the collector's certificate is not for " + uri);
  GH_TRY(write_files({{{.path = folder_ + "/ca.pem", .content = authority_pem},
                       {.path = folder_ + "/cert.pem", .content = certificate_pem}}}));
  authority_pem_ = authority_pem;
  certificate_pem_ = certificate_pem;
  certificate_ = info;
  return {};
}

}  // namespace gatehouse::uplink
