// SPDX-License-Identifier: Apache-2.0
// What the helper gatehouse-tls-learn has found out of a library: asked once, then kept on disk by the file's digest.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "bpf/gatehouse_abi.h"
#include "common/result.h"

namespace gatehouse::capture {

struct TlsLesson {
  std::string version;  // as the library says
  struct Place {
    uint64_t offset = 0;  // of an instruction, in the file
    bool is_emulated = false;
    abi::gh_tls_place registers{};
  };
  std::optional<Place> place;
  std::string why_not;  // if there is none
};

// What the helper prints. nullopt: not that. Its lines come from a process in which the library's own code ran.
std::optional<TlsLesson> parse_lesson(std::string_view text);

// Runs the helper on `files` (descriptors; the library last), which takes some 50 ms. The error says what went wrong
// with the helper; a library that is good for nothing gives a lesson that says so.
Result<TlsLesson> run_lesson(const std::string& helper, std::span<const int> files, std::string& printed);

}  // namespace gatehouse::capture
