// SPDX-License-Identifier: Apache-2.0
// Reviewers: who may decide what. Pure, and constant.
//
// A reviewer is a name in an operator's certificate: that is what mutual TLS attests. The configuration says which
// groups it is in, and under which names the same person logs in to hosts. Nobody decides what he has asked for
// himself.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gatehouse/v1/approvals.pb.h"

namespace gatehouse::approvals {

struct Reviewer {
  std::string name;  // of the certificate
  std::vector<std::string> groups;
  std::vector<std::string> logins;  // of the same person, on hosts and in databases
};

class Reviewers {
 public:
  Reviewers() = default;
  // None: every operator is a reviewer, of no group.
  Reviewers(std::vector<Reviewer> reviewers, std::vector<std::string> break_glass)
      : reviewers_(std::move(reviewers)), break_glass_(std::move(break_glass)) {}

  // Why not; empty: may. `claim` may be null; it can only speak against it.
  [[nodiscard]] std::string may_decide(const std::string& name, const v1::HoldRequest& request,
                                       const v1::Claim* claim) const;
  [[nodiscard]] std::string may_break_glass(const std::string& name, const v1::HoldRequest& request,
                                            const v1::Claim* claim) const;
  // Any reviewer but who broke the glass.
  [[nodiscard]] std::string may_review(const std::string& name, const v1::ApprovalView& view,
                                       const v1::Claim* claim) const;
  // Groups, or people where the rule names no group.
  [[nodiscard]] std::vector<std::string> asked(const v1::HoldRequest& request) const;
  // There are not as many who may approve it as must.
  [[nodiscard]] bool is_hopeless(const v1::HoldRequest& request) const;

 private:
  [[nodiscard]] const Reviewer* find(const std::string& name) const;
  [[nodiscard]] std::string is_own(const std::string& name, const v1::HoldRequest& request,
                                   const v1::Claim* claim) const;

  std::vector<Reviewer> reviewers_{};
  std::vector<std::string> break_glass_{};
};

}  // namespace gatehouse::approvals
