// SPDX-License-Identifier: Apache-2.0
// One-time enrolment tokens: <state_dir>/tokens holds their hashes. Several processes may use it at once (the running
// collector and `gatehouse-collector token`); every call takes the lock file and reads the file anew. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/digest.h"
#include "common/result.h"

namespace gatehouse::ingest {

class TokenStore {
 public:
  TokenStore(std::string state_dir, Sha256 authority_fingerprint);

  struct Created {
    std::string token;
    uint64_t expires_ns = 0;  // Unix time
  };
  // `valid` of zero means kTokenValidDefault; more than kTokenValidMax is refused.
  [[nodiscard]] Result<Created> create(std::chrono::seconds valid) const;

  enum class Outcome : uint8_t { kAccepted, kMalformed, kUnknown, kExpired, kUsed };
  // Uses the token up for the holder of one key. The same key may ask again until the token expires: its first answer
  // may have been lost.
  [[nodiscard]] Result<Outcome> redeem(std::string_view token, const Sha256& key_sha256) const;

 private:
  std::string state_dir_;
  Sha256 authority_fingerprint_;
};
std::string_view to_string(TokenStore::Outcome outcome);

}  // namespace gatehouse::ingest
