// SPDX-License-Identifier: Apache-2.0
// GH_CHECK: an invariant of ours, always on. Never used on bytes from a peer or on the environment.
#pragma once

#include <cstdio>
#include <cstdlib>

#define GH_CHECK(condition)                                                                  \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      std::fprintf(stderr, "%s:%d: broken invariant: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)
