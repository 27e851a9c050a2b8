// SPDX-License-Identifier: Apache-2.0
// Installation: the collector's keys and certificates under its state_dir, made at the first start.
//
//   <state_dir>/ca/        ca.pem key.pem          signs everything below
//   <state_dir>/server/    cert.pem key.pem        what agents and tools see
//   <state_dir>/operator/  ca.pem cert.pem key.pem what the `gatehouse` command takes with it; copy it to where it runs
#pragma once

#include <span>
#include <string>

#include "common/pki.h"
#include "common/result.h"

namespace gatehouse::ingest {

struct Installation {
  pki::Authority authority;
  pki::Identity server;
  std::string operator_folder;
  bool is_new = false;  // made by this call

  // `names`: of this host, for the server's certificate, which is made anew when they change or when it is due.
  static Result<Installation> open(const std::string& state_dir, const std::string& collector_name,
                                   std::span<const std::string> names);
  // The authority alone, for what only needs its fingerprint; an Error if there is none yet.
  // The certificate of one more operator, in a folder of its own; refused where there is a key already.
  static Status create_operator(const std::string& state_dir, const std::string& name, const std::string& folder);
  static Result<pki::Authority> load_authority(const std::string& state_dir);
};

}  // namespace gatehouse::ingest
