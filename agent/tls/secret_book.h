// SPDX-License-Identifier: Apache-2.0
// SecretBook: the secrets of TLS sessions, by the client's random number, which names a session and stands in its
// ClientHello. From a handshake to the session's end; in memory that is not swapped out and in no core dump.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "agent/stream/records.h"
#include "agent/tls/key_schedule.h"
#include "common/locked_pages.h"

namespace gatehouse::tls {

// Handshakes whose session was not seen, or not yet: 64 a millisecond for a second are more than a host makes.
inline constexpr size_t kUnclaimedMax = 8192;
// The captured end is told of a handshake in milliseconds; a stopped agent may read later.
inline constexpr uint64_t kUnclaimedNsMax = 60'000'000'000;

struct SessionSecrets {
  static constexpr size_t kKinds = 3;
  std::array<std::array<std::byte, kSecretBytesMax>, kKinds> of_kind{};  // by TlsSecret::Kind
  std::array<bool, kKinds> has{};
  uint64_t told_ns = 0;
  bool is_claimed = false;

  [[nodiscard]] std::span<std::byte> get(TlsSecret::Kind kind) { return of_kind[static_cast<size_t>(kind)]; }
  [[nodiscard]] bool knows(TlsSecret::Kind kind) const { return has[static_cast<size_t>(kind)]; }
};

// One thread.
class SecretBook {
 public:
  SecretBook() = default;
  SecretBook(const SecretBook&) = delete;
  SecretBook& operator=(const SecretBook&) = delete;
  ~SecretBook();

  // A second one of a kind replaces the first: it comes from the other end, and is the same. False: there is no room.
  bool add(const TlsSecret& secret);
  // Whose session it is found out: they stay until release(). Null: none was told. Stable until then.
  SessionSecrets* claim(const Random& client_random);
  void release(const Random& client_random);
  // Wipes what nobody has claimed for too long.
  void expire(uint64_t now_ns);

  [[nodiscard]] size_t size() const { return by_random_.size(); }
  [[nodiscard]] size_t unclaimed() const { return unclaimed_; }

 private:
  struct Hasher {
    size_t operator()(const Random& random) const {  // it is random
      size_t hash = 0;
      std::memcpy(&hash, random.data(), sizeof(hash));
      return hash;
    }
  };
  SessionSecrets* new_slot();
  void free_slot(SessionSecrets* slot);

  std::vector<LockedPages> pages_;
  std::vector<SessionSecrets*> free_;
  std::unordered_map<Random, SessionSecrets*, Hasher> by_random_;
  std::deque<std::pair<uint64_t, Random>> told_;  // oldest first; some are claimed or gone
  size_t unclaimed_ = 0;
};

}  // namespace gatehouse::tls
