// SPDX-License-Identifier: Apache-2.0
// SHA-256 through libcrypto. The algorithm is fetched once per process: a fetch by name costs more than a short digest.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "common/result.h"

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX, so that its headers stay inside digest.cc

namespace gatehouse {

using Sha256 = std::array<std::byte, 32>;

// A digest over bytes that arrive in pieces. Reusable after finish(). Not shared between threads.
class Sha256Stream {
 public:
  Sha256Stream();
  ~Sha256Stream();
  Sha256Stream(Sha256Stream&&) noexcept = default;
  Sha256Stream& operator=(Sha256Stream&&) noexcept = default;

  void update(std::span<const std::byte> bytes);
  // The digest of everything since construction or the last finish(), and starts anew.
  [[nodiscard]] Sha256 finish();

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const;
  };
  std::unique_ptr<evp_md_ctx_st, Free> context_;
};

// Any thread; no allocation after a thread's first call.
[[nodiscard]] Sha256 sha256(std::span<const std::byte> bytes);
// Everything from the descriptor's position to its end; refused once more than `bytes_max` have been read.
[[nodiscard]] Result<Sha256> sha256_descriptor(int fd, uint64_t bytes_max);
// The whole file; the error names the path.
[[nodiscard]] Result<Sha256> sha256_file(const std::string& path, uint64_t bytes_max);

// Lower-case hexadecimal.
[[nodiscard]] std::string to_hex(std::span<const std::byte> bytes);

}  // namespace gatehouse
