// SPDX-License-Identifier: Apache-2.0
// Result<T>: what a call that depends on the environment returns (files, sockets, kernel, peers).
// Bytes from a peer are never an Error: parsers have named outcomes of their own.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace gatehouse {

// Who must act on an error; main() turns it into the exit code.
enum class ErrorKind : uint8_t {
  kEnvironment,    // exit 1: the host, the kernel or a peer refused
  kConfiguration,  // exit 78: what the user wrote cannot be used
};

// A message a person can act on, outermost context first: "opening spool: /var/lib/x: No space left on device".
class Error {
 public:
  explicit Error(std::string message, ErrorKind kind = ErrorKind::kEnvironment)
      : message_(std::move(message)), kind_(kind) {}
  static Error configuration(std::string message) { return Error(std::move(message), ErrorKind::kConfiguration); }
  // `what` plus the text of `error_number` (errno by default).
  static Error system(std::string_view what, int error_number = errno) {
    return Error(std::string(what) + ": " + std::strerror(error_number));
  }

  [[nodiscard]] const std::string& message() const { return message_; }
  [[nodiscard]] ErrorKind kind() const { return kind_; }
  [[nodiscard]] Error with_context(std::string_view what) && {
    message_.insert(0, std::string(what) + ": ");
    return std::move(*this);
  }

 private:
  std::string message_;
  ErrorKind kind_;
};

template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
  Result(Error error) : tl::expected<T, Error>(tl::unexpected<Error>(std::move(error))) {}

  // Prepends `what` to the error, if there is one.
  Result context(std::string_view what) && {
    if (this->has_value()) return std::move(*this);
    return Result(std::move(this->error()).with_context(what));
  }
};

using Status = Result<void>;

// Hands an error upwards: `GH_TRY(file.sync());` and `GH_ASSIGN(auto fd, open(path));`.
#define GH_TRY(expression)                                                              \
  do {                                                                                  \
    if (auto gh_result = (expression); !gh_result) return std::move(gh_result).error(); \
  } while (false)
#define GH_CONCAT_INNER(a, b) a##b
#define GH_CONCAT(a, b) GH_CONCAT_INNER(a, b)
#define GH_ASSIGN_INNER(temporary, target, expression) \
  auto temporary = (expression);                       \
  if (!temporary) return std::move(temporary).error(); \
  target = std::move(*temporary)
#define GH_ASSIGN(target, expression) GH_ASSIGN_INNER(GH_CONCAT(gh_result_, __LINE__), target, expression)

}  // namespace gatehouse
