// SPDX-License-Identifier: Apache-2.0
#include "common/locked_pages.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "common/check.h"

namespace gatehouse {

void wipe(std::span<std::byte> bytes) {
  explicit_bzero(bytes.data(), bytes.size());
}

LockedPages::LockedPages(size_t bytes) {
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  bytes_ = (bytes + page - 1) / page * page;
  void* const memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  GH_CHECK(memory != MAP_FAILED);
  begin_ = static_cast<std::byte*>(memory);
  madvise(memory, bytes_, MADV_DONTDUMP);
  madvise(memory, bytes_, MADV_WIPEONFORK);
  is_locked_ = mlock(memory, bytes_) == 0;
}

LockedPages::~LockedPages() {
  if (begin_ == nullptr) return;
  wipe(bytes());
  munmap(begin_, bytes_);
}

}  // namespace gatehouse
