// SPDX-License-Identifier: Apache-2.0
#include "collector/ingest/installation.h"

#include <unistd.h>

#include <algorithm>
#include <vector>

#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"

namespace gatehouse::ingest {
namespace {

constexpr std::string_view kOperatorName = "admin";

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

// The key goes first: where there was no certificate, one that is there has its key. Where there was one, a crash
// between the two leaves what is no pair, which is_current() sees.
Status save_identity(const std::string& folder, const std::string& certificate_file, const pki::Identity& identity) {
  GH_TRY(make_directories(folder));
  return write_files({{{.path = folder + "/key.pem", .content = identity.key_pem},
                       {.path = folder + '/' + certificate_file, .content = identity.certificate_pem}}});
}

Result<pki::Identity> load_identity(const std::string& folder, const std::string& certificate_file) {
  pki::Identity identity;
  GH_ASSIGN(identity.certificate_pem, read_file(folder + '/' + certificate_file, pki::kPemBytesMax));
  GH_ASSIGN(identity.key_pem, read_file(folder + "/key.pem", pki::kPemBytesMax));
  return identity;
}

bool is_current(const pki::Identity& identity, std::span<const std::string> names) {
  const auto info = pki::inspect(identity.certificate_pem);
  if (!info || !pki::is_pair(identity) || info->is_due(unix_ns() / 1'000'000'000)) return false;
  return std::ranges::all_of(
      names, [&](const std::string& name) { return std::ranges::find(info->names, name) != info->names.end(); });
}

// A collector that has begun goes on without what it cannot save: its next start tries again.
Status kept_for_later(Status saved, bool is_new, std::string_view what) {
  if (saved || is_new) return saved;
  log::error("collector", "a renewed certificate cannot be saved; the next start makes another",
             {{"certificate", what}, {"error", saved.error().message()}});
  return {};
}

// One that is not saved serves all the same: whoever connects checks the authority's signature.
Result<pki::Identity> open_server(const std::string& folder, const pki::Authority& authority,
                                  std::span<const std::string> names, bool is_new) {
  if (auto existing = load_identity(folder, "cert.pem"); !is_new && existing && is_current(*existing, names))
    return existing;
  GH_ASSIGN(pki::Identity made, authority.issue_server(names));
  GH_TRY(kept_for_later(save_identity(folder, "cert.pem", made), is_new, "server"));
  return made;
}

Status save_operator(const std::string& folder, const pki::Authority& authority, const pki::Identity& identity) {
  GH_TRY(make_directories(folder));
  GH_TRY(write_file_atomically(folder + "/ca.pem", authority.certificate_pem()));
  return save_identity(folder, "cert.pem", identity);
}

Status ensure_operator(const std::string& folder, const pki::Authority& authority, bool is_new) {
  if (const auto existing = load_identity(folder, "cert.pem"); !is_new && existing && is_current(*existing, {}))
    return {};
  GH_ASSIGN(const pki::Identity made,
            authority.issue_client({.role = pki::Role::kOperator, .id = std::string(kOperatorName)}));
  return kept_for_later(save_operator(folder, authority, made), is_new, "operator");
}

}  // namespace

Result<pki::Authority> Installation::load_authority(const std::string& state_dir) {
  GH_ASSIGN(pki::Identity identity, load_identity(state_dir + "/ca", "ca.pem"));
  return pki::Authority::load(std::move(identity.certificate_pem), std::move(identity.key_pem))
      .context(state_dir + "/ca");
}

Status Installation::create_operator(const std::string& state_dir, const std::string& name, const std::string& folder) {
  auto authority = load_authority(state_dir);
  if (!authority)
    return Error::configuration(authority.error().message() +
                                "; start the collector once, or run this as the user that it runs as");
  if (exists(folder + "/key.pem")) return Error::configuration(folder + " has a key already: give another folder");
  GH_ASSIGN(const pki::Identity made, authority->issue_client({.role = pki::Role::kOperator, .id = name}));
  return save_operator(folder, *authority, made);
}

Result<Installation> Installation::open(const std::string& state_dir, const std::string& collector_name,
                                        std::span<const std::string> names) {
  const std::string authority_folder = state_dir + "/ca";
  const bool is_new = !exists(authority_folder + "/ca.pem");
  if (is_new) {
    GH_ASSIGN(const pki::Authority made, pki::Authority::create("Gatehouse authority of " + collector_name));
    GH_TRY(save_identity(authority_folder, "ca.pem",
                         {.certificate_pem = made.certificate_pem(), .key_pem = made.key_pem()}));
  }
  GH_ASSIGN(pki::Authority authority, load_authority(state_dir));
  GH_ASSIGN(pki::Identity server, open_server(state_dir + "/server", authority, names, is_new));
  const std::string operator_folder = state_dir + "/operator";
  GH_TRY(ensure_operator(operator_folder, authority, is_new));
  return Installation{.authority = std::move(authority),
                      .server = std::move(server),
                      .operator_folder = operator_folder,
                      .is_new = is_new};
}

}  // namespace gatehouse::ingest
