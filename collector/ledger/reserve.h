// SPDX-License-Identifier: Apache-2.0
// Reserve: room on the disk that is set aside for the one file that must be written before room can be made.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"

namespace gatehouse::ledger {

// One thread.
class Reserve {
 public:
  // The room is in the file `path`. 0 bytes: none is set aside.
  Reserve(std::string path, uint64_t bytes) : path_(std::move(path)), bytes_(bytes) {}

  // Sets the room aside, if it is not and the disk has it.
  void refill() const;
  // As write_file_atomically(); where there is no room, in that which was set aside, which is then gone. Nobody can
  // take it meanwhile. `path` is in the same folder.
  [[nodiscard]] Status write_file(const std::string& path, std::string_view content) const;

 private:
  [[nodiscard]] Status write_in_place(const std::string& path, std::string_view content) const;

  std::string path_;
  uint64_t bytes_;
};

}  // namespace gatehouse::ledger
