// SPDX-License-Identifier: Apache-2.0
#include "agent/tls/channel.h"

#include <algorithm>
#include <utility>

namespace gatehouse::tls {

// Gives a side's findings the moment of the bytes that they were found in.
class Channel::Relay final : public SideSink {
 public:
  Relay(Channel& channel, Direction direction, const Moment& moment, ChannelSink& sink)
      : channel_(channel), direction_(direction), moment_(moment), sink_(sink) {}
  void on_hello(uint8_t type, std::span<const std::byte> body) override { channel_.on_hello(type, body); }
  void on_plain(std::span<const std::byte> plain, uint64_t position) override {
    sink_.on_plain(direction_, plain, at(position));
  }
  void on_lost(uint64_t plain_bytes, uint64_t position) override {
    sink_.on_plain_lost(direction_, plain_bytes, at(position));
  }

 private:
  [[nodiscard]] Moment at(uint64_t position) const {
    Moment moment = moment_;
    moment.position = position;
    return moment;
  }

  Channel& channel_;
  const Direction direction_;
  const Moment& moment_;
  ChannelSink& sink_;
};

Channel::~Channel() {
  if (secrets_ != nullptr && client_random_) book_.release(*client_random_);
}

void Channel::seal(std::string_view why) {
  if (!sealed_because_.empty()) return;
  sealed_because_ = why;
  held_.clear();
  if (client_random_) book_.release(*client_random_);
  secrets_ = nullptr;
}

void Channel::on_bytes(Direction direction, std::span<const std::byte> bytes, const Moment& moment, ChannelSink& sink) {
  if (!sealed_because_.empty() || bytes.empty()) return;
  if (held_.empty()) {
    const size_t used = push(direction, bytes, moment, sink);
    if (!sealed_because_.empty() || used == bytes.size()) return;
    bytes = bytes.subspan(used);
    Moment rest = moment;
    rest.position += used;
    return hold({.direction = direction, .bytes = {bytes.begin(), bytes.end()}, .moment = rest});
  }
  hold({.direction = direction, .bytes = {bytes.begin(), bytes.end()}, .moment = moment});
}

void Channel::on_gap(Direction direction, uint64_t bytes, const Moment& moment, ChannelSink& sink) {
  if (!sealed_because_.empty()) return;
  if (!held_.empty()) return hold({.direction = direction, .gap = bytes, .bytes = {}, .moment = moment});
  if (!hello_) return seal("tls-handshake-lost");  // what it says is needed
  Relay relay(*this, direction, moment, sink);
  side(direction).lose(bytes, moment.position, relay);
}

size_t Channel::push(Direction direction, std::span<const std::byte> bytes, const Moment& moment, ChannelSink& sink) {
  Relay relay(*this, direction, moment, sink);
  Side& one = side(direction);
  size_t used = one.push(bytes, moment.position, relay);
  if (one.is_blocked()) {
    find_keys();
    if (one.has_keys()) used += one.push(bytes.subspan(used), moment.position + used, relay);
  }
  if (!one.trouble().empty()) seal(one.trouble());
  return used;
}

void Channel::hold(Held held) {
  held_bytes_[static_cast<size_t>(held.direction)] += held.bytes.size();
  const uint64_t since_ns = held_.empty() ? held.moment.time_ns : held_.front().moment.time_ns;
  const bool is_late = held.moment.time_ns > since_ns + kHeldNsMax;
  held_.push_back(std::move(held));
  if (is_late || held_bytes_[0] + held_bytes_[1] > kHeldBytesMax) seal("tls-no-secret");
}

void Channel::on_secret(ChannelSink& sink) {
  if (!sealed_because_.empty()) return;
  find_keys();
  while (!held_.empty() && sealed_because_.empty()) {
    Held& next = held_.front();
    if (next.gap > 0) {
      Relay relay(*this, next.direction, next.moment, sink);
      side(next.direction).lose(next.gap, next.moment.position, relay);
      held_.pop_front();
      continue;
    }
    const size_t used = push(next.direction, next.bytes, next.moment, sink);
    if (!sealed_because_.empty()) return;
    held_bytes_[static_cast<size_t>(next.direction)] -= used;
    if (used < next.bytes.size()) {
      next.bytes.erase(next.bytes.begin(), next.bytes.begin() + static_cast<ptrdiff_t>(used));
      next.moment.position += used;
      return;
    }
    held_.pop_front();
  }
}

void Channel::on_hello(uint8_t type, std::span<const std::byte> body) {
  if (static_cast<HandshakeType>(type) == HandshakeType::kClientHello) {
    const auto hello = decode_client_hello(body);
    if (!hello) return seal("tls-malformed");
    // What was sent before the answer has keys of its own.
    if (hello->has_early_data) return seal("tls-early-data");
    client_random_ = hello->random;
  } else if (static_cast<HandshakeType>(type) == HandshakeType::kServerHello) {
    const auto hello = decode_server_hello(body);
    if (!hello) return seal("tls-malformed");
    if (!hello->is_retry) on_server_hello(*hello);
  }
}

void Channel::on_server_hello(const ServerHello& hello) {
  hello_ = hello;
  if (hello.version != static_cast<uint16_t>(Version::kTls12) &&
      hello.version != static_cast<uint16_t>(Version::kTls13))
    return seal("tls-version");
  suite_ = find_suite(hello.suite);
  if (suite_ == nullptr || static_cast<uint16_t>(suite_->version) != hello.version) return seal("tls-suite");
  if (!client_random_) return seal("tls-handshake-lost");
  for (Side& one : sides_) one.set_version(suite_->version);
}

// Gives each side that has none its keys, if they are known.
void Channel::find_keys() {
  if (suite_ == nullptr || !client_random_) return;
  if (secrets_ == nullptr) secrets_ = book_.claim(*client_random_);
  if (secrets_ == nullptr) return;
  Side& client = side(Direction::kRequest);
  Side& server = side(Direction::kResponse);
  if (suite_->version == Version::kTls12) {
    if (client.has_keys() || !secrets_->knows(TlsSecret::Kind::kMaster)) return;
    RecordKeys client_keys, server_keys;
    derive_keys(*suite_, secrets_->get(TlsSecret::Kind::kMaster), *client_random_, hello_->random, client_keys,
                server_keys);
    client.set_keys(*suite_, client_keys, hello_->encrypts_then_macs);
    server.set_keys(*suite_, server_keys, hello_->encrypts_then_macs);
  } else {
    if (!client.has_keys() && secrets_->knows(TlsSecret::Kind::kClientTraffic))
      client.set_secret(*suite_, secrets_->get(TlsSecret::Kind::kClientTraffic));
    if (!server.has_keys() && secrets_->knows(TlsSecret::Kind::kServerTraffic))
      server.set_secret(*suite_, secrets_->get(TlsSecret::Kind::kServerTraffic));
  }
  has_opened_ = client.has_keys() && server.has_keys();
}

std::string_view Channel::version_name() const {
  if (suite_ == nullptr) return "";
  return suite_->version == Version::kTls13 ? "TLSv1.3" : "TLSv1.2";
}

size_t Channel::memory_bytes() const {
  size_t bytes = held_bytes_[0] + held_bytes_[1];
  for (const Side& one : sides_) bytes += one.memory_bytes();
  return bytes;
}

}  // namespace gatehouse::tls
