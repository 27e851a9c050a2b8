// SPDX-License-Identifier: Apache-2.0
// GH_CHECK: an invariant of ours, always on. Never used on bytes from a peer or on the environment.
#pragma once

namespace gatehouse {

// Says on standard error what is broken, and aborts. Out of line, so that pure code has no I/O in it.
[[noreturn]] void check_failed(const char* file, int line, const char* condition);

}  // namespace gatehouse

#define GH_CHECK(condition)                                      \
  do {                                                           \
    if (!(condition)) [[unlikely]]                               \
      ::gatehouse::check_failed(__FILE__, __LINE__, #condition); \
  } while (false)
