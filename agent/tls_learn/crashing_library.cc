// SPDX-License-Identifier: Apache-2.0
// A library whose code ends the process that loads it. For tests.
#include <cstdlib>

namespace {
struct Crash {
  Crash() { std::abort(); }
} g_crash;
}  // namespace
