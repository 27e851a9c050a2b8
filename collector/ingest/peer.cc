// SPDX-License-Identifier: Apache-2.0
#include "collector/ingest/peer.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/auth_context.h>

namespace gatehouse::ingest {

std::optional<pki::Subject> peer_subject(const grpc::AuthContext& context) {
  const auto uris = context.FindPropertyValues(GRPC_PEER_URI_PROPERTY_NAME);
  // Our authority writes exactly one; more is not one of ours.
  if (uris.size() != 1) return std::nullopt;
  return pki::parse_uri({uris.front().data(), uris.front().size()});
}

}  // namespace gatehouse::ingest
