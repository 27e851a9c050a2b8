// SPDX-License-Identifier: Apache-2.0
// History: events of the record, judged as an agent would have judged them. Pure.
//
// The record's texts are UTF-8, and it holds no more of a process than its fields say: arguments are told apart by
// blanks, ancestors' pids are not known. Without a catalog: what functions and views do is as the texts say.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "agent/judge/examiner.h"
#include "gatehouse/v1/query.pb.h"
#include "rules/engine/policy.h"

namespace gatehouse::cli {

// Sessions whose settings are remembered at a time; of more, those that were silent longest are taken for new ones.
inline constexpr size_t kHistorySessionsMax = 100'000;

class History {
 public:
  explicit History(std::shared_ptr<const rules::Policy> policy);

  // Rows come oldest first. Good until the next call. Nothing for what rules are not about, such as an agent's status.
  judge::Examined judge(const v1::Row& row);

 private:
  struct Session {
    explicit Session(std::list<std::string>::iterator at_place) : memory(false), place(at_place) {}
    judge::SessionMemory memory;
    std::list<std::string>::iterator place;
  };
  judge::SessionMemory& memory_of(const v1::Row& row);
  void fill_subject(const v1::Row& row);

  judge::Examiner examiner_;
  std::unordered_map<std::string, Session> sessions_;
  std::list<std::string> order_;  // of use; the latest at the end
  // Of the row at hand.
  rules::Actor actor_{};
  judge::Subject subject_{};
};

}  // namespace gatehouse::cli
