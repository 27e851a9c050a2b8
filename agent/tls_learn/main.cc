// SPDX-License-Identifier: Apache-2.0
// gatehouse-tls-learn: finds out where a TLS library's secrets can be seen, for the agent, which starts it. Runs the
// library's own code, in a sandbox.
//
//   gatehouse-tls-learn LIBRARY          LIBRARY: a file, or a descriptor as /proc/self/fd/N
//   gatehouse-tls-learn NEEDED… LIBRARY  what it needs and would not find by itself comes before it
//
// Prints "version TEXT", then "place …" or "none REASON". Exit code 0 if it printed either.
#include <unistd.h>

#include <cstdio>
#include <span>
#include <string>

#include "agent/tls_learn/lesson.h"
#include "agent/tls_learn/library.h"
#include "agent/tls_learn/sandbox.h"

namespace {

using namespace gatehouse::tls_learn;

int fail(const std::string& why) {
  std::printf("none %s\n", why.c_str());
  std::fflush(stdout);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 64;
  if (!enter_sandbox()) {
    std::fprintf(stderr, "gatehouse-tls-learn: no sandbox\n");
    return 71;
  }
  std::string why;
  const auto library = Library::load(std::span<const char* const>{argv + 1, static_cast<size_t>(argc - 1)}, why);
  if (!library) return fail(why);
  std::printf("version %.80s\n", library->version().c_str());
  const auto place = learn_place(*library, why);
  if (!place) return fail(why);
  std::printf("place offset=%llu emulated=%d label=%u secret=%u object=%u path=%d",
              static_cast<unsigned long long>(place->offset), place->is_emulated ? 1 : 0, place->label, place->secret,
              place->object, place->path[0]);
  for (size_t i = 1; i < place->path_count; ++i) std::printf(",%d", place->path[i]);
  std::printf("\n");
  std::fflush(stdout);
  // Not the library's last words, which may be anything.
  _exit(0);
}
