// SPDX-License-Identifier: Apache-2.0
// LockedPages: memory for secrets. Not swapped out, in no core dump, not inherited by children, wiped at its end.
#pragma once

#include <cstddef>
#include <span>
#include <utility>

namespace gatehouse {

class LockedPages {
 public:
  // Zeros, at least `bytes`. Where the host refuses to lock them, they are as good as other memory: is_locked().
  explicit LockedPages(size_t bytes);
  LockedPages(LockedPages&& other) noexcept
      : begin_(std::exchange(other.begin_, nullptr)), bytes_(other.bytes_), is_locked_(other.is_locked_) {}
  LockedPages& operator=(LockedPages&&) = delete;
  LockedPages(const LockedPages&) = delete;
  LockedPages& operator=(const LockedPages&) = delete;
  ~LockedPages();

  [[nodiscard]] std::span<std::byte> bytes() const { return {begin_, bytes_}; }
  [[nodiscard]] bool is_locked() const { return is_locked_; }

 private:
  std::byte* begin_ = nullptr;
  size_t bytes_ = 0;
  bool is_locked_ = false;
};

// Fills with zeros what the compiler might think nobody reads again.
void wipe(std::span<std::byte> bytes);

}  // namespace gatehouse
