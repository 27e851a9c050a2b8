// SPDX-License-Identifier: Apache-2.0
// A query service in this process, for tests: answers from a list of rows, over the same TLS as the collector.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cli/client.h"
#include "common/pki.h"

namespace gatehouse::cli {

class FakeCollector {
 public:
  // Makes an authority, and an operator's folder of credentials in `directory`.
  explicit FakeCollector(const std::string& directory);
  ~FakeCollector();
  FakeCollector(const FakeCollector&) = delete;
  FakeCollector& operator=(const FakeCollector&) = delete;

  // Listens on 127.0.0.1, the first time on any port and then on the same.
  void start();
  // Ends every call and stops listening.
  void stop();

  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] const std::string& credentials() const { return directory_; }
  // A folder with the certificate of another authority.
  [[nodiscard]] std::string foreign_credentials() const;

  // What Search, Session and Tail answer with. Tail goes on with rows that come later.
  void add(const v1::Row& row);
  // Search and Session say that the index is built so far: "<per cent> <seconds left>".
  void set_index(const std::string& progress);
  // They say that what was received before this is removed.
  void set_kept_since(const std::string& unix_ns);
  // What requests asked for, newest last.
  [[nodiscard]] v1::SearchRequest last_search() const;
  [[nodiscard]] std::vector<v1::TailRequest> tails() const;

 private:
  class Service;
  std::string directory_;
  pki::Authority authority_;
  pki::Identity identity_;
  std::unique_ptr<Service> service_;
  int port_ = 0;
};

}  // namespace gatehouse::cli
