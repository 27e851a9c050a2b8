// SPDX-License-Identifier: Apache-2.0
// AgentIdentity: the agent's key and what the collector made of it, under <state_dir>/identity/.
//
//   key.pem     made at the first start, never leaves the host
//   agent_id    from the agent's name and its key: known before any collector is
//   ca.pem      the collector's authority, checked against the enrolment token
//   cert.pem    written last: it is there once the agent is enrolled
#pragma once

#include <string>

#include "common/pki.h"
#include "common/result.h"

namespace gatehouse::uplink {

class AgentIdentity {
 public:
  // Makes key and id if there are none. A later change of `agent_name` does not change the id.
  static Result<AgentIdentity> open(std::string folder, const std::string& agent_name);

  [[nodiscard]] const std::string& agent_id() const { return agent_id_; }
  // The part of the id that was the name: what enrolment sends, so that both sides come to the same id.
  [[nodiscard]] std::string name_part() const;
  [[nodiscard]] const std::string& key_pem() const { return key_pem_; }
  [[nodiscard]] const std::string& certificate_pem() const { return certificate_pem_; }
  [[nodiscard]] const std::string& authority_pem() const { return authority_pem_; }
  [[nodiscard]] bool is_enrolled() const { return !certificate_pem_.empty(); }
  // Its certificate should be renewed.
  [[nodiscard]] bool is_due() const;
  // So far gone that the collector will not let it in; only a new token helps.
  [[nodiscard]] bool is_expired() const;

  // Takes a certificate over, if it is for this agent.
  Status adopt(const std::string& certificate_pem, const std::string& authority_pem);

 private:
  AgentIdentity() = default;

  std::string folder_;
  std::string agent_id_;
  std::string key_pem_;
  std::string certificate_pem_;
  pki::CertificateInfo certificate_;  // what it says; it is asked often, and reading it takes half a millisecond
  std::string authority_pem_;
};

}  // namespace gatehouse::uplink
