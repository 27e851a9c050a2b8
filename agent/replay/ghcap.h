// SPDX-License-Identifier: Apache-2.0
// Capture files: docs/formats/ghcap.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/stream/records.h"
#include "common/file.h"
#include "common/result.h"

namespace gatehouse::replay {

inline constexpr std::array<char, 6> kMagic{'G', 'H', 'C', 'A', 'P', '\0'};
inline constexpr uint16_t kFormatVersion = 1;
// Above the largest chunk that a capture plane makes; bounds what a hostile file can make a reader hold.
inline constexpr size_t kBodyBytesMax = 16U << 20;
inline constexpr size_t kPiecesMax = 4096;

// Writes records. The first error of the file stops writing for good and is kept for status(): a recorder must not
// stop an agent. One thread.
class Writer final : public RecordSink {
 public:
  // Creates `path`, mode 0600; it must not exist.
  static Result<std::unique_ptr<Writer>> create(const std::string& path);
  ~Writer() override;

  void on_socket_opened(const SocketOpened& record) override;
  void on_chunk(const Chunk& record) override;
  void on_socket_opaque(const SocketOpaque& record) override;
  void on_socket_closed(const SocketClosed& record) override;
  void on_process_exec(const ProcessExec& record) override;
  void on_process_fork(const ProcessFork& record) override;
  void on_process_exit(const ProcessExit& record) override;

  // Hands what is buffered to the kernel.
  Status flush();
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] uint64_t records() const { return records_; }
  // Records that cannot be in a file: above kBodyBytesMax.
  [[nodiscard]] uint64_t refused() const { return refused_; }

 private:
  explicit Writer(UniqueFd fd);
  void begin(uint8_t kind);
  void end();
  template <typename T>
  void put(T value);
  void put_text(std::string_view text);
  void put_process(const ProcessKey& process);
  void put_endpoint(const Endpoint& endpoint);

  UniqueFd fd_;
  std::vector<std::byte> buffer_;
  size_t record_at_ = 0;
  uint64_t records_ = 0;
  uint64_t refused_ = 0;
  Status status_{};
};

// How reading ended, or has not.
enum class ReadOutcome : uint8_t {
  kReading,
  kEnd,       // after the last whole record
  kCut,       // the file ends inside a record; what came before is good
  kNotGhcap,  // no such header
  kVersion,   // a version that this reader does not know
  kTooLarge,  // a record longer than the format allows
  kChecksum,
  kMalformed,  // a body that is not what its kind says
};
std::string_view outcome_text(ReadOutcome outcome);

// Reads records out of bytes that the caller keeps. Pure; never fails otherwise than by outcome(). Views in records
// borrow the bytes, and pieces the reader.
class Parser {
 public:
  explicit Parser(std::span<const std::byte> file);
  // Hands one record to the sink. False: there is none, see outcome().
  bool next(RecordSink& sink);
  [[nodiscard]] ReadOutcome outcome() const { return outcome_; }
  // Where the record that ended the reading begins.
  [[nodiscard]] size_t offset() const { return offset_; }

 private:
  bool stop(ReadOutcome outcome) {
    outcome_ = outcome;
    return false;
  }
  bool dispatch(std::span<const std::byte> body, RecordSink& sink);

  std::span<const std::byte> file_;
  size_t offset_ = 0;
  ReadOutcome outcome_ = ReadOutcome::kReading;
  std::vector<Piece> pieces_;
};

// A capture file as a source of records. Reads through a memory map, so a file may be larger than memory.
class FileSource final : public RecordSource {
 public:
  static Result<std::unique_ptr<FileSource>> open(const std::string& path);
  ~FileSource() override;
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;

  size_t poll(RecordSink& sink, size_t records_max) override;
  [[nodiscard]] bool at_end() const override { return parser_.outcome() != ReadOutcome::kReading; }
  [[nodiscard]] const Parser& parser() const { return parser_; }

 private:
  FileSource(void* map, size_t size);

  void* map_;
  size_t size_;
  Parser parser_;
};

}  // namespace gatehouse::replay
