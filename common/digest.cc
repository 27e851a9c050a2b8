// SPDX-License-Identifier: Apache-2.0
#include "common/digest.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "common/check.h"
#include "common/file.h"

namespace gatehouse {
namespace {

// Big enough that read(2) costs little beside hashing, small enough to stay in the L2 cache.
constexpr size_t kReadBytes = 128U << 10;

const EVP_MD* sha256_algorithm() {
  static const EVP_MD* const algorithm = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  GH_CHECK(algorithm != nullptr);  // every libcrypto has it, in the FIPS provider too
  return algorithm;
}

}  // namespace

void Sha256Stream::Free::operator()(evp_md_ctx_st* context) const {
  EVP_MD_CTX_free(context);
}

Sha256Stream::Sha256Stream() : context_(EVP_MD_CTX_new()) {
  GH_CHECK(context_ != nullptr);
  GH_CHECK(EVP_DigestInit_ex2(context_.get(), sha256_algorithm(), nullptr) == 1);
}

Sha256Stream::~Sha256Stream() = default;

void Sha256Stream::update(std::span<const std::byte> bytes) {
  GH_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
}

Sha256 Sha256Stream::finish() {
  Sha256 digest{};
  unsigned size = 0;
  GH_CHECK(EVP_DigestFinal_ex(context_.get(), reinterpret_cast<unsigned char*>(digest.data()), &size) == 1);
  GH_CHECK(size == digest.size());
  GH_CHECK(EVP_DigestInit_ex2(context_.get(), sha256_algorithm(), nullptr) == 1);
  return digest;
}

Sha256 sha256(std::span<const std::byte> bytes) {
  thread_local Sha256Stream stream;
  stream.update(bytes);
  return stream.finish();
}

Result<Sha256> sha256_descriptor(int fd, uint64_t bytes_max) {
  Sha256Stream stream;
  std::vector<std::byte> buffer(kReadBytes);
  uint64_t total = 0;
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::system("read");
    if (got == 0) return stream.finish();
    total += static_cast<uint64_t>(got);
    if (total > bytes_max) return Error("larger than " + std::to_string(bytes_max) + " bytes");
    stream.update(std::span{buffer}.first(static_cast<size_t>(got)));
  }
}

Result<Sha256> sha256_file(const std::string& path, uint64_t bytes_max) {
  GH_ASSIGN(const UniqueFd fd, open_file(path, O_RDONLY));
  return sha256_descriptor(fd.get(), bytes_max).context(path);
}

std::string to_hex(std::span<const std::byte> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const std::byte b : bytes) {
    text += kDigits[std::to_integer<size_t>(b >> 4)];
    text += kDigits[std::to_integer<size_t>(b & std::byte{15})];
  }
  return text;
}

}  // namespace gatehouse
