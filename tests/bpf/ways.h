// SPDX-License-Identifier: Apache-2.0
// The ways in which a program can move bytes through a socket, as a table. Each moves exactly what it is told to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace gatehouse::capture::test {

// How the bytes of a way come to its socket, or from it.
enum class By : uint8_t {
  kCall,      // a system call that names the process's memory
  kMessages,  // one call with several messages
  kPages,     // pages of a file or a pipe
  kUring,     // a request that the kernel works on by itself
  kSplice,    // into a pipe: they pass no place where they could be seen
};

struct Way {
  std::string_view name;
  void (*send)(int fd, std::string_view bytes);
  std::string (*receive)(int fd, size_t bytes);
  By sends = By::kCall;
  By receives = By::kCall;
};

std::span<const Way> all_ways();

}  // namespace gatehouse::capture::test
