// SPDX-License-Identifier: Apache-2.0
// RecordOpener: opens the records of one direction of a TLS session, each by its number. Pure but for libcrypto.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "agent/tls/key_schedule.h"
#include "agent/tls/suite.h"

struct evp_cipher_ctx_st;

namespace gatehouse::tls {

enum class ContentType : uint8_t {
  kChangeCipherSpec = 20,
  kAlert = 21,
  kHandshake = 22,
  kApplicationData = 23,
};

inline constexpr size_t kRecordHeaderBytes = 5;
inline constexpr size_t kPlainBytesMax = 1 << 14;
// RFC 5246, 6.2.3; TLS 1.3 allows less.
inline constexpr size_t kRecordBodyBytesMax = kPlainBytesMax + 2048;

class RecordOpener {
 public:
  struct Opened {
    ContentType type = ContentType::kApplicationData;
    std::span<const std::byte> plain{};  // in the caller's `out`
    size_t skipped = 0;                  // of the body before what became `plain`
  };

  // nullopt: libcrypto has no such cipher.
  static std::optional<RecordOpener> make(const Suite& suite, const RecordKeys& keys, bool encrypts_then_macs);

  // `header`, as it stood on the wire, and the whole body. `out` has room for kRecordBodyBytesMax bytes. nullopt: it is
  // not the record of this number; nothing in `out` is to be used.
  std::optional<Opened> open(uint64_t number, std::span<const std::byte, kRecordHeaderBytes> header,
                             std::span<const std::byte> body, std::span<std::byte> out);

  // How much longer a body is than what is in it. Not known beforehand (padding): with CBC.
  [[nodiscard]] std::optional<size_t> overhead() const;

 private:
  struct Free {
    void operator()(evp_cipher_ctx_st* context) const;
  };
  RecordOpener() = default;
  std::optional<Opened> open_aead(uint64_t number, std::span<const std::byte, kRecordHeaderBytes> header,
                                  std::span<const std::byte> body, std::span<std::byte> out);
  std::optional<Opened> open_cbc(uint64_t number, std::span<const std::byte, kRecordHeaderBytes> header,
                                 std::span<const std::byte> body, std::span<std::byte> out);
  [[nodiscard]] bool is_mac_of(uint64_t number, std::span<const std::byte, kRecordHeaderBytes> header,
                               std::span<const std::byte> content, std::span<const std::byte> mac) const;

  const Suite* suite_ = nullptr;
  bool encrypts_then_macs_ = false;
  std::array<std::byte, 12> iv_{};
  std::unique_ptr<RecordKeys> mac_key_;  // CBC
  std::unique_ptr<evp_cipher_ctx_st, Free> context_;
};

}  // namespace gatehouse::tls
