// SPDX-License-Identifier: Apache-2.0
// The ways in which a program can move bytes through a socket, as a table. Each moves exactly what it is told to.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace gatehouse::capture::test {

struct Way {
  std::string_view name;
  void (*send)(int fd, std::string_view bytes);
  std::string (*receive)(int fd, size_t bytes);
  // The sender hands over pages of a file, a pipe or a registered buffer, not addresses of its own.
  bool sends_pages = false;
  // The bytes leave the socket without passing any place where they could be seen.
  bool receives_unseen = false;
};

std::span<const Way> all_ways();

}  // namespace gatehouse::capture::test
