// SPDX-License-Identifier: Apache-2.0
// Side: one direction of a TLS session: its bytes into records, its records opened. Knows which number each record has,
// also after bytes were lost. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "agent/tls/record_opener.h"

namespace gatehouse::tls {

// After a gap, how much is tried in vain to find the next record's number: so many numbers, and so many bytes opened.
inline constexpr size_t kNumbersTriedMax = 4096;
inline constexpr size_t kBytesTriedMax = 8U << 20;
// Lost inside records whose length is not known: more than any message has.
inline constexpr uint64_t kUnknownBytes = uint64_t{1} << 32;

// What a side finds, in the order of the stream.
class SideSink {
 public:
  virtual ~SideSink() = default;
  // A ClientHello or ServerHello. May call set_version() and give keys.
  virtual void on_hello(uint8_t type, std::span<const std::byte> body) = 0;
  // What the application said; `position`: of its first byte in the stream of records.
  virtual void on_plain(std::span<const std::byte> plain, uint64_t position) = 0;
  // As much of it was lost, or kUnknownBytes.
  virtual void on_lost(uint64_t plain_bytes, uint64_t position) = 0;
};

class Side {
 public:
  // Longest hello that is read: a ClientHello with keys for after quantum computers has 2 KiB.
  static constexpr size_t kHelloBytesMax = 16U << 10;

  void set_version(Version version) { version_ = version; }
  // TLS 1.2. Records from the ChangeCipherSpec on are sealed, from number 0.
  void set_keys(const Suite& suite, const RecordKeys& keys, bool encrypts_then_macs);
  // TLS 1.3. Which is the first record of these keys is found by trying, as the handshake's have others. `secret`
  // outlives the side, which replaces it at each KeyUpdate.
  void set_secret(const Suite& suite, std::span<std::byte> secret);
  [[nodiscard]] bool has_keys() const { return opener_.has_value(); }

  // `position`: of the first byte; what lies between it and the last call's end was told by lose(). Returns how many
  // bytes were used: all, unless a sealed record has come and there are no keys (is_blocked()), or something makes no
  // sense (trouble()).
  size_t push(std::span<const std::byte> bytes, uint64_t position, SideSink& sink);
  void lose(uint64_t bytes, uint64_t position, SideSink& sink);

  [[nodiscard]] bool is_blocked() const { return is_blocked_; }
  // Why it goes no further: a constant; empty if it does.
  [[nodiscard]] std::string_view trouble() const { return trouble_; }
  // Records opened; times that a number was found again.
  [[nodiscard]] uint64_t opened() const { return opened_; }
  [[nodiscard]] uint64_t resyncs() const { return resyncs_; }
  [[nodiscard]] size_t memory_bytes() const { return held_.capacity() + message_.capacity(); }

 private:
  using Header = std::span<const std::byte, kRecordHeaderBytes>;
  // A record of which bytes were lost, and whose end is known.
  struct Damaged {
    uint64_t left = 0;
    size_t body_bytes = 0;
    uint8_t type = 0;
    uint64_t position = 0;  // of the header
  };

  [[nodiscard]] bool is_sealed(uint8_t type) const;
  [[nodiscard]] bool has_key_updates() const { return version_ == Version::kTls13 && !secret_.empty(); }
  size_t push_synced(std::span<const std::byte> bytes, uint64_t position, SideSink& sink);
  size_t hold(std::span<const std::byte> bytes, size_t until);
  void use_record(Header header, std::span<const std::byte> body, uint64_t position, SideSink& sink);
  void use_content(const RecordOpener::Opened& opened, uint64_t position, SideSink& sink);
  void use_handshake(std::span<const std::byte> content, bool was_sealed, SideSink& sink);
  void use_message(bool was_sealed, SideSink& sink);
  std::optional<RecordOpener::Opened> open_next(Header header, std::span<const std::byte> body);
  void begin_search(uint64_t from);
  void search(SideSink& sink);
  bool try_numbers(Header header, std::span<const std::byte> body, uint64_t position, SideSink& sink);
  bool try_next_keys(Header header, std::span<const std::byte> body, uint64_t records_max, uint64_t position,
                     SideSink& sink);
  void end_damaged(SideSink& sink);
  void update_keys();

  std::optional<Version> version_;
  const Suite* suite_ = nullptr;
  std::optional<RecordOpener> opener_;
  std::span<std::byte> secret_;
  uint64_t number_ = 0;        // of the next record
  bool is_locked_on_ = false;  // which is known
  bool has_changed_spec_ = false;
  bool is_blocked_ = false;
  bool had_gap_ = false;
  std::string_view trouble_{};

  std::vector<std::byte> held_;  // the head of a record; while searching, what is searched
  uint64_t held_position_ = 0;
  Damaged damaged_;
  bool is_searching_ = false;
  uint64_t search_from_ = 0;            // where the first lost record began
  size_t tried_ = 0, tried_bytes_ = 0;  // since the last gap
  std::vector<std::byte> message_;      // the handshake message under way
  size_t message_left_ = 0;             // of it, which is passed over
  uint64_t opened_ = 0, resyncs_ = 0;
};

}  // namespace gatehouse::tls
