// SPDX-License-Identifier: Apache-2.0
// WatchMark: up to when everything that was seen is in the spool, kept in a file that outlives a kill. The next start
// reads it and says of which time nothing is known.
//
// Not synced: what it names is, and an older mark only makes the time that is told of longer. One thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/file.h"
#include "common/result.h"

namespace gatehouse::runtime {

// What a run left behind.
struct Watched {
  uint64_t until_unix_ns = 0;  // what was seen up to here was recorded or told as lost
  bool is_ended = false;       // it ended of its own accord
  bool operator==(const Watched&) const = default;
};

// One line of a fixed length, so that it is replaced by one write.
std::string format_watched(const Watched& watched);
std::optional<Watched> parse_watched(std::string_view content);

class WatchMark {
 public:
  // Reads what the run before left; none at the first start, or if the file is damaged.
  static Result<WatchMark> open(const std::string& path);

  [[nodiscard]] const std::optional<Watched>& before() const { return before_; }
  // Never goes back. A disk that fails leaves the older mark.
  void write(const Watched& watched);

 private:
  UniqueFd file_;
  std::optional<Watched> before_;
  Watched written_;
};

}  // namespace gatehouse::runtime
