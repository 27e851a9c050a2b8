// SPDX-License-Identifier: Apache-2.0
// How much of a session was seen, in words: the agent's own verdict where the session has ended, else what its gaps
// tell. Pure.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/coverage.h"
#include "gatehouse/v1/query.pb.h"

namespace gatehouse::cli {

class SessionCoverage {
 public:
  // An event of the session. The same event may come twice if it is a disconnect.
  void add(const v1::Row& row);
  // A gap of its agent that no session owns, while this one was open: some of what was dropped may be this session's.
  void add_of_agent(const v1::Row& gap);

  [[nodiscard]] std::string_view verdict() const;
  // "full: every byte was seen", then a line for each reason.
  [[nodiscard]] std::vector<std::string> lines() const;
  [[nodiscard]] bool has_ended() const { return has_ended_; }

 private:
  struct Missing {
    uint64_t bytes = 0, gaps = 0, from = 0, to = 0;
  };
  bool has_ended_ = false;
  std::string told_;                        // by the agent; "": it did not, or not yet
  std::vector<std::string> reasons_;        // told with it
  CoverageFacts facts_{};                   // of what is open
  std::map<std::string, Missing> missing_;  // by direction and reason
  std::string past_;                        // how the session was joined
  std::string opaque_;
  std::map<std::string, uint64_t> of_agent_;  // dropped events by reason
  std::string unwatched_;                     // "since=… until=…": the agent did not run, and the session was open
};

}  // namespace gatehouse::cli
