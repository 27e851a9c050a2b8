// SPDX-License-Identifier: Apache-2.0
// Who is at the other end of a call, by the certificate that TLS has verified.
#pragma once

#include <optional>

#include "common/pki.h"

namespace grpc {
class AuthContext;
}

namespace gatehouse::ingest {

// None: no certificate, or one that names nobody of ours.
std::optional<pki::Subject> peer_subject(const grpc::AuthContext& context);

}  // namespace gatehouse::ingest
