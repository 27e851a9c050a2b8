// SPDX-License-Identifier: Apache-2.0
#include "common/crc32c.h"

#include <gtest/gtest.h>

#include <string>

#include "common/file.h"

namespace gatehouse {
namespace {

// The check values of RFC 3720, appendix B.4, and of the CRC catalogue.
TEST(Crc32c, KnownValues) {
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xE3069283U);
  EXPECT_EQ(crc32c(as_bytes("")), 0U);
  EXPECT_EQ(crc32c(as_bytes(std::string(32, '\0'))), 0x8A9136AAU);
  EXPECT_EQ(crc32c(as_bytes(std::string(32, '\xFF'))), 0x62A8AB43U);
}

TEST(Crc32c, PiecesAreTheWhole) {
  std::string text;
  for (int i = 0; i < 67; ++i) text += static_cast<char>(i * 31);
  const uint32_t whole = crc32c(as_bytes(text));
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    const uint32_t head = crc32c(as_bytes(std::string_view(text).substr(0, cut)));
    EXPECT_EQ(crc32c(as_bytes(std::string_view(text).substr(cut)), head), whole) << cut;
    EXPECT_EQ(crc32c_by_table(as_bytes(std::string_view(text).substr(0, cut))), head) << cut;
  }
}

}  // namespace
}  // namespace gatehouse
