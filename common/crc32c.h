// SPDX-License-Identifier: Apache-2.0
// CRC-32C (Castagnoli), as in iSCSI and ext4: finds torn and flipped bytes of our own files. It proves nothing against
// a person; SHA-256 does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace gatehouse {

// Of `bytes`; give the result of the bytes before as `seed` to go on.
[[nodiscard]] uint32_t crc32c(std::span<const std::byte> bytes, uint32_t seed = 0);
// The same, on processors that have no instruction for it.
[[nodiscard]] uint32_t crc32c_by_table(std::span<const std::byte> bytes, uint32_t seed = 0);

}  // namespace gatehouse
