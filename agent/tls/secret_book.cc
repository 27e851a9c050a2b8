// SPDX-License-Identifier: Apache-2.0
#include "agent/tls/secret_book.h"

#include <algorithm>
#include <new>

namespace gatehouse::tls {
namespace {

constexpr size_t kSlotsPerBlock = 256;

}  // namespace

SecretBook::~SecretBook() = default;  // the pages wipe themselves

SessionSecrets* SecretBook::new_slot() {
  if (free_.empty()) {
    pages_.emplace_back(kSlotsPerBlock * sizeof(SessionSecrets));
    const auto bytes = pages_.back().bytes();
    for (size_t i = 0; i < kSlotsPerBlock; ++i)
      free_.push_back(new (bytes.data() + i * sizeof(SessionSecrets)) SessionSecrets);
  }
  SessionSecrets* const slot = free_.back();
  free_.pop_back();
  return slot;
}

void SecretBook::free_slot(SessionSecrets* slot) {
  for (auto& secret : slot->of_kind) wipe(secret);
  *slot = {};
  free_.push_back(slot);
}

bool SecretBook::add(const TlsSecret& secret) {
  const auto found = by_random_.find(secret.client_random);
  SessionSecrets* slot = found == by_random_.end() ? nullptr : found->second;
  if (slot == nullptr) {
    if (unclaimed_ >= kUnclaimedMax) return false;
    slot = by_random_[secret.client_random] = new_slot();
    slot->told_ns = secret.time_ns;
    told_.emplace_back(secret.time_ns, secret.client_random);
    ++unclaimed_;
  }
  const auto kind = static_cast<size_t>(secret.kind);
  if (kind >= SessionSecrets::kKinds) return false;
  // The second end's comes when the first one's may have been replaced already, by a KeyUpdate.
  if (std::exchange(slot->has[kind], true)) return true;
  std::copy_n(secret.secret.begin(), std::min(secret.secret.size(), kSecretBytesMax), slot->of_kind[kind].begin());
  return true;
}

SessionSecrets* SecretBook::claim(const Random& client_random) {
  const auto found = by_random_.find(client_random);
  if (found == by_random_.end()) return nullptr;
  if (!std::exchange(found->second->is_claimed, true)) --unclaimed_;
  return found->second;
}

void SecretBook::release(const Random& client_random) {
  const auto found = by_random_.find(client_random);
  if (found == by_random_.end()) return;
  if (!found->second->is_claimed) --unclaimed_;
  free_slot(found->second);
  by_random_.erase(found);
}

void SecretBook::expire(uint64_t now_ns) {
  while (!told_.empty() && told_.front().first + kUnclaimedNsMax < now_ns) {
    const auto found = by_random_.find(told_.front().second);
    if (found != by_random_.end() && !found->second->is_claimed && found->second->told_ns == told_.front().first) {
      free_slot(found->second);
      by_random_.erase(found);
      --unclaimed_;
    }
    told_.pop_front();
  }
}

}  // namespace gatehouse::tls
