// SPDX-License-Identifier: Apache-2.0
// Where a command's text goes: standard output, a pager, or a test's string.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

namespace gatehouse::cli {

class Output {
 public:
  virtual ~Output() = default;
  // False once the reader has gone: nothing more is wanted. Text may wait in a buffer until flush().
  virtual bool write(std::string_view text) = 0;
  virtual bool flush() = 0;
};

// A descriptor that it does not own.
class FdOutput : public Output {
 public:
  explicit FdOutput(int fd) : fd_(fd) {}
  bool write(std::string_view text) override;
  bool flush() override;

 private:
  int fd_;
  bool open_ = true;
  std::string buffer_{};
};

// $PAGER, or `less -FRX`, on the terminal, fed by a pipe. Standard input stays with the pager.
class Pager : public Output {
 public:
  // Not started if the user wants none (PAGER empty or "cat") or there is none.
  Pager();
  ~Pager() override;  // waits until the user leaves it
  Pager(const Pager&) = delete;
  Pager& operator=(const Pager&) = delete;

  [[nodiscard]] bool started() const { return pid_ > 0; }
  bool write(std::string_view text) override { return pipe_.write(text); }
  bool flush() override { return pipe_.flush(); }

 private:
  pid_t pid_ = -1;
  int fd_ = -1;
  FdOutput pipe_{-1};
};

// Columns of the terminal on `fd`; 0 if it is none.
size_t terminal_width(int fd);

}  // namespace gatehouse::cli
