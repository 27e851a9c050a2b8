// SPDX-License-Identifier: Apache-2.0
// Channel: both directions of one TLS session, from the ClientHello on: what was said inside, if its secrets come.
// Pure.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "agent/stream/records.h"
#include "agent/tls/hello.h"
#include "agent/tls/secret_book.h"
#include "agent/tls/side.h"
#include "common/process_key.h"

namespace gatehouse::tls {

// What is held of a session until its secrets come. They come before what they open, unless only the other end tells
// them: then within a round trip, or when a slow agent reads.
inline constexpr size_t kHeldBytesMax = 256U << 10;
inline constexpr uint64_t kHeldNsMax = 10'000'000'000;

// What is known of bytes, beside what they are.
struct Moment {
  uint64_t time_ns = 0;
  ImageKey writer{};
  uint64_t position = 0;  // in the stream of records
};

class ChannelSink {
 public:
  virtual ~ChannelSink() = default;
  // One record's content. Directions come in the order in which the records were captured.
  virtual void on_plain(Direction direction, std::span<const std::byte> plain, const Moment& moment) = 0;
  virtual void on_plain_lost(Direction direction, uint64_t bytes, const Moment& moment) = 0;
};

// The sink is used inside the calls that get it. One thread.
class Channel {
 public:
  // `book` outlives it.
  explicit Channel(SecretBook& book) : book_(book) {}
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;
  ~Channel();

  void on_bytes(Direction direction, std::span<const std::byte> bytes, const Moment& moment, ChannelSink& sink);
  void on_gap(Direction direction, uint64_t bytes, const Moment& moment, ChannelSink& sink);
  // A secret of this session's has come to the book.
  void on_secret(ChannelSink& sink);
  // No secret will come. `why`: a constant.
  void seal(std::string_view why);

  // Names the session, from its ClientHello on.
  [[nodiscard]] const std::optional<Random>& client_random() const { return client_random_; }
  // What is inside is not known, and never will be: why, a constant. Empty: it is, or may be.
  [[nodiscard]] std::string_view sealed_because() const { return sealed_because_; }
  // Its secrets have come.
  [[nodiscard]] bool is_open() const { return has_opened_; }
  // Bytes have come that cannot be opened yet.
  [[nodiscard]] bool is_waiting() const { return !held_.empty(); }
  [[nodiscard]] uint64_t held_bytes(Direction direction) const { return held_bytes_[static_cast<size_t>(direction)]; }
  // "TLSv1.3", and the suite's number; empty and 0 before the ServerHello.
  [[nodiscard]] std::string_view version_name() const;
  [[nodiscard]] uint16_t suite_id() const { return hello_ ? hello_->suite : 0; }
  [[nodiscard]] uint64_t resyncs() const { return sides_[0].resyncs() + sides_[1].resyncs(); }
  [[nodiscard]] size_t memory_bytes() const;

 private:
  struct Held {
    Direction direction = Direction::kRequest;
    uint64_t gap = 0;  // else `bytes`
    std::vector<std::byte> bytes;
    Moment moment{};
  };
  class Relay;

  [[nodiscard]] Side& side(Direction direction) { return sides_[static_cast<size_t>(direction)]; }
  // Returns how many bytes were used.
  size_t push(Direction direction, std::span<const std::byte> bytes, const Moment& moment, ChannelSink& sink);
  void hold(Held held);
  void on_hello(uint8_t type, std::span<const std::byte> body);
  void on_server_hello(const ServerHello& hello);
  void find_keys();

  SecretBook& book_;
  std::array<Side, kDirections> sides_;
  std::optional<Random> client_random_;
  std::optional<ServerHello> hello_;
  const Suite* suite_ = nullptr;
  SessionSecrets* secrets_ = nullptr;
  std::deque<Held> held_;
  std::array<uint64_t, kDirections> held_bytes_{};
  bool has_opened_ = false;
  std::string_view sealed_because_{};
};

}  // namespace gatehouse::tls
