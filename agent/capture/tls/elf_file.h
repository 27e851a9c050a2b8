// SPDX-License-Identifier: Apache-2.0
// ElfFile: what is asked of a library's file, which may be anybody's: which symbols it defines, and which of its bytes
// are code. Reads no more than that.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "common/result.h"

namespace gatehouse::capture {

class ElfFile {
 public:
  // 64-bit x86 files only; the descriptor is not kept.
  static Result<ElfFile> read(int fd);

  // Exports a function of this name.
  [[nodiscard]] bool defines(std::string_view symbol) const;
  // A byte at this place of the file becomes code.
  [[nodiscard]] bool is_code(uint64_t offset) const;
  [[nodiscard]] bool is_executable() const { return has_interpreter_; }

 private:
  struct Range {
    uint64_t begin = 0, end = 0;
  };
  std::vector<Range> code_;
  std::vector<char> symbols_, names_;  // .dynsym and what it names
  bool has_interpreter_ = false;
};

}  // namespace gatehouse::capture
