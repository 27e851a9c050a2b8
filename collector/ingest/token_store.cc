// SPDX-License-Identifier: Apache-2.0
#include "collector/ingest/token_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>
#include <vector>

#include "collector/ingest/limits.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/pki.h"

namespace gatehouse::ingest {
namespace {

constexpr size_t kSecretBytes = 16;
constexpr size_t kLineBytesMax = 160;

// One line of the file: hash of the secret, expiry, and the key it was used for or "-".
struct Entry {
  std::string secret_sha256;
  uint64_t expires_ns = 0;
  std::string used_by = "-";
};

uint64_t as_ns(std::chrono::seconds duration) {
  return static_cast<uint64_t>(duration.count()) * 1'000'000'000;
}

std::optional<Entry> parse_line(std::string_view line) {
  const size_t first = line.find(' ');
  const size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  Entry entry{.secret_sha256 = std::string(line.substr(0, first)), .used_by = std::string(line.substr(second + 1))};
  const std::string_view number = line.substr(first + 1, second - first - 1);
  const auto [stop, fault] = std::from_chars(number.data(), number.data() + number.size(), entry.expires_ns);
  if (fault != std::errc{} || stop != number.data() + number.size()) return std::nullopt;
  return entry;
}

// Waits for its turn: holders keep it for a file's write.
Result<UniqueFd> take_turn(const std::string& path) {
  GH_ASSIGN(UniqueFd fd, open_file(path, O_RDWR | O_CREAT));
  while (::flock(fd.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return Error::system(path);
  }
  return fd;
}

// Lines that are not ours are dropped at the next write.
Result<std::vector<Entry>> load(const std::string& path) {
  std::vector<Entry> entries;
  if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) return entries;
  GH_ASSIGN(const std::string content, read_file(path, kTokensMax * kLineBytesMax));
  std::string_view rest = content;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    if (auto entry = parse_line(rest.substr(0, end))) entries.push_back(std::move(*entry));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return entries;
}

Status save(const std::string& path, std::vector<Entry> entries) {
  const uint64_t now_ns = unix_ns();
  std::erase_if(entries, [&](const Entry& entry) { return entry.expires_ns + as_ns(kTokenForgetAfter) < now_ns; });
  std::string content;
  for (const Entry& entry : entries)
    content += entry.secret_sha256 + ' ' + std::to_string(entry.expires_ns) + ' ' + entry.used_by + '\n';
  return write_file_atomically(path, content);
}

}  // namespace

std::string_view to_string(TokenStore::Outcome outcome) {
  switch (outcome) {
    case TokenStore::Outcome::kAccepted:
      return "accepted";
    case TokenStore::Outcome::kMalformed:
      return "not a token of this collector";
    case TokenStore::Outcome::kUnknown:
      return "unknown";
    case TokenStore::Outcome::kExpired:
      return "expired";
    case TokenStore::Outcome::kUsed:
      return "already used by another agent";
  }
  GH_CHECK(false);
}

TokenStore::TokenStore(std::string state_dir, Sha256 authority_fingerprint)
    : state_dir_(std::move(state_dir)), authority_fingerprint_(authority_fingerprint) {}

Result<TokenStore::Created> TokenStore::create(std::chrono::seconds valid) const {
  if (valid.count() == 0) valid = kTokenValidDefault;
  if (valid.count() < 0 || valid > kTokenValidMax)
    return Error::configuration("a token is valid for 1 s to " + std::to_string(kTokenValidMax.count() / 86'400) +
                                " days");
  GH_ASSIGN(const UniqueFd turn, take_turn(state_dir_ + "/tokens.lock"));
  GH_ASSIGN(std::vector<Entry> entries, load(state_dir_ + "/tokens"));
  if (entries.size() >= kTokensMax) return Error("there are " + std::to_string(kTokensMax) + " tokens already");
  const pki::EnrolmentToken token{.secret = pki::random_hex(kSecretBytes),
                                  .authority_fingerprint = authority_fingerprint_};
  const uint64_t expires_ns = unix_ns() + as_ns(valid);
  entries.push_back({.secret_sha256 = to_hex(sha256(as_bytes(token.secret))), .expires_ns = expires_ns});
  GH_TRY(save(state_dir_ + "/tokens", std::move(entries)));
  return Created{.token = pki::to_text(token), .expires_ns = expires_ns};
}

Result<TokenStore::Outcome> TokenStore::redeem(std::string_view text, const Sha256& key_sha256) const {
  const auto token = pki::parse_token(text);
  if (!token || token->authority_fingerprint != authority_fingerprint_) return Outcome::kMalformed;
  const std::string secret_sha256 = to_hex(sha256(as_bytes(token->secret)));
  GH_ASSIGN(const UniqueFd turn, take_turn(state_dir_ + "/tokens.lock"));
  GH_ASSIGN(std::vector<Entry> entries, load(state_dir_ + "/tokens"));
  // Comparing hashes of what was sent: how long it takes tells nothing about a secret.
  const auto entry = std::ranges::find(entries, secret_sha256, &Entry::secret_sha256);
  if (entry == entries.end()) return Outcome::kUnknown;
  if (entry->expires_ns <= unix_ns()) return Outcome::kExpired;
  const std::string key = to_hex(key_sha256);
  if (entry->used_by == key) return Outcome::kAccepted;
  if (entry->used_by != "-") return Outcome::kUsed;
  entry->used_by = key;
  GH_TRY(save(state_dir_ + "/tokens", std::move(entries)));
  return Outcome::kAccepted;
}

}  // namespace gatehouse::ingest
