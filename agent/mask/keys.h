// SPDX-License-Identifier: Apache-2.0
// Keys of masks: one secret of 32 bytes, and of it one key per mask. Bytes are zeroed when their owner goes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace gatehouse::mask {

// What `hash` and `tokenise` of one mask compute with. Immutable: any number of threads use it at once.
class MaskKey {
 public:
  static constexpr size_t kBlockBytes = 16;
  static constexpr size_t kDigestBytes = 32;
  using Block = std::array<std::byte, kBlockBytes>;
  using Digest = std::array<std::byte, kDigestBytes>;

  ~MaskKey();
  MaskKey(MaskKey&&) noexcept;
  MaskKey& operator=(MaskKey&&) noexcept;

  // HMAC-SHA-256 of `domain` and `bytes`. `domain` keeps values of one type apart from those of another.
  [[nodiscard]] Digest hmac(uint8_t domain, std::span<const std::byte> bytes) const;
  // AES-256 of one block, in place.
  void encrypt(Block& block) const;

  struct State;

 private:
  friend class MasterKey;
  explicit MaskKey(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class MasterKey {
 public:
  static constexpr size_t kBytes = 32;
  // A key file's content: 32 bytes, or 64 hexadecimal digits with or without an end of line. Empty if it is neither.
  static std::optional<MasterKey> parse(std::string_view content);

  ~MasterKey();
  MasterKey(MasterKey&& other) noexcept;
  MasterKey& operator=(MasterKey&& other) noexcept;

  // HKDF-SHA-256 of the secret and the mask's id: two masks give one value different tokens, and columns that are
  // joined stand in one mask.
  [[nodiscard]] MaskKey derive(std::string_view mask_id) const;

 private:
  MasterKey() = default;
  std::array<std::byte, kBytes> secret_{};
};

}  // namespace gatehouse::mask
