// SPDX-License-Identifier: Apache-2.0
// A credential. It has no form in a log line; whoever needs the text says so by calling reveal().
#pragma once

#include <string>
#include <utility>

namespace gatehouse {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string text) : text_(std::move(text)) {}
  [[nodiscard]] const std::string& reveal() const { return text_; }
  [[nodiscard]] bool empty() const { return text_.empty(); }

 private:
  std::string text_;
};

}  // namespace gatehouse
