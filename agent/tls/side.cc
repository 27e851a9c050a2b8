// SPDX-License-Identifier: Apache-2.0
#include "agent/tls/side.h"

#include <algorithm>
#include <array>
#include <utility>

#include "agent/tls/hello.h"
#include "common/check.h"
#include "common/locked_pages.h"

namespace gatehouse::tls {
namespace {

constexpr size_t kMessageHeaderBytes = 4;
// While the first record of the keys is awaited, how many may have been lost.
constexpr uint64_t kFirstNumbersMax = 64;
// A KeyUpdate and a few records after it may be lost together.
constexpr uint64_t kUpdatedNumbersMax = 64;
constexpr uint8_t kMajorVersion = 3;
constexpr uint8_t kMinorVersionMax = 4;

// Where records are opened into. It is read before the next one is.
thread_local std::array<std::byte, kRecordBodyBytesMax> t_plain;

struct HeaderFields {
  uint8_t type = 0;
  size_t body_bytes = 0;
  bool is_plausible = false;
};

HeaderFields read_header(std::span<const std::byte> header) {
  const auto at = [&](size_t i) { return std::to_integer<uint8_t>(header[i]); };
  const size_t bytes = size_t{at(3)} << 8 | at(4);
  return {.type = at(0),
          .body_bytes = bytes,
          .is_plausible = at(0) >= 20 && at(0) <= 23 && at(1) == kMajorVersion && at(2) <= kMinorVersionMax &&
                          bytes <= kRecordBodyBytesMax};
}

}  // namespace

void Side::set_keys(const Suite& suite, const RecordKeys& keys, bool encrypts_then_macs) {
  suite_ = &suite;
  opener_ = RecordOpener::make(suite, keys, encrypts_then_macs);
  number_ = 0;
  is_locked_on_ = true;
  if (!opener_) trouble_ = "tls-suite";
}

void Side::set_secret(const Suite& suite, std::span<std::byte> secret) {
  suite_ = &suite;
  secret_ = secret.first(hash_bytes(suite.hash));
  RecordKeys keys;
  derive_keys(suite, secret_, keys);
  opener_ = RecordOpener::make(suite, keys, false);
  number_ = 0;
  is_locked_on_ = false;
  if (!opener_) trouble_ = "tls-suite";
}

void Side::update_keys() {
  update_secret(*suite_, secret_);
  set_secret(*suite_, secret_);
  is_locked_on_ = true;
}

bool Side::is_sealed(uint8_t type) const {
  return type == static_cast<uint8_t>(ContentType::kApplicationData) || has_changed_spec_;
}

size_t Side::push(std::span<const std::byte> bytes, uint64_t position, SideSink& sink) {
  is_blocked_ = false;
  size_t used = 0;
  while (used < bytes.size() && trouble_.empty() && !is_blocked_) {
    const auto rest = bytes.subspan(used);
    if (damaged_.left > 0) {
      const size_t take = std::min<uint64_t>(damaged_.left, rest.size());
      damaged_.left -= take;
      used += take;
      if (damaged_.left == 0) end_damaged(sink);
    } else if (is_searching_) {
      if (!opener_) {
        is_blocked_ = true;
        break;
      }
      if (held_.empty()) held_position_ = position + used;
      held_.insert(held_.end(), rest.begin(), rest.end());
      used = bytes.size();
      search(sink);
    } else {
      used += push_synced(rest, position + used, sink);
    }
  }
  return used;
}

size_t Side::hold(std::span<const std::byte> bytes, size_t until) {
  const size_t take = std::min(bytes.size(), until - held_.size());
  held_.insert(held_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(take));
  return take;
}

// One record, or a part of one. A record that is whole in `bytes` is not copied.
size_t Side::push_synced(std::span<const std::byte> bytes, uint64_t position, SideSink& sink) {
  size_t taken = 0;
  if (held_.empty()) held_position_ = position;
  if (!held_.empty() || bytes.size() < kRecordHeaderBytes) {
    if (held_.size() < kRecordHeaderBytes) taken = hold(bytes, kRecordHeaderBytes);
    if (held_.size() < kRecordHeaderBytes) return taken;
  }
  const bool is_held = !held_.empty();
  const auto header = std::span<const std::byte>(is_held ? std::span<const std::byte>(held_) : bytes).first<5>();
  const HeaderFields fields = read_header(header);
  if (!fields.is_plausible) {
    trouble_ = "tls-malformed";
    return taken;
  }
  if (is_sealed(fields.type) && !opener_) {
    is_blocked_ = true;
    return taken;
  }
  const size_t whole = kRecordHeaderBytes + fields.body_bytes;
  if (!is_held && bytes.size() >= whole) {
    use_record(header, bytes.subspan(kRecordHeaderBytes, fields.body_bytes), position, sink);
    return whole;
  }
  held_.reserve(whole);
  taken += hold(bytes.subspan(taken), whole);
  if (held_.size() < whole) return taken;
  const std::vector<std::byte> record = std::exchange(held_, {});
  use_record(std::span<const std::byte>(record).first<5>(), std::span(record).subspan(kRecordHeaderBytes),
             held_position_, sink);
  return taken;
}

void Side::use_record(Header header, std::span<const std::byte> body, uint64_t position, SideSink& sink) {
  const auto type = static_cast<ContentType>(header[0]);
  if (is_sealed(static_cast<uint8_t>(type))) {
    const bool was_locked_on = is_locked_on_;
    const auto opened = open_next(header, body);
    if (opened) {
      if (!was_locked_on && number_ > 1) sink.on_lost(kUnknownBytes, position);
      use_content(*opened, position + kRecordHeaderBytes, sink);
    } else if (was_locked_on) {
      begin_search(position);  // the record that follows tells
    }
    return;
  }
  if (type == ContentType::kChangeCipherSpec && version_ == Version::kTls12) {
    has_changed_spec_ = true;
    number_ = 0;
  }
  if (type == ContentType::kHandshake) use_handshake(body, false, sink);
}

std::optional<RecordOpener::Opened> Side::open_next(Header header, std::span<const std::byte> body) {
  const uint64_t end = number_ + (is_locked_on_ || !had_gap_ ? 1 : kFirstNumbersMax);
  for (uint64_t number = number_; number < end; ++number) {
    const auto opened = opener_->open(number, header, body, t_plain);
    if (!opened) continue;
    number_ = number + 1;
    is_locked_on_ = true;
    return opened;
  }
  return std::nullopt;
}

void Side::use_content(const RecordOpener::Opened& opened, uint64_t position, SideSink& sink) {
  ++opened_;
  switch (opened.type) {
    case ContentType::kApplicationData:
      if (!opened.plain.empty()) sink.on_plain(opened.plain, position + opened.skipped);
      return;
    case ContentType::kHandshake:
      return use_handshake(opened.plain, true, sink);
    case ContentType::kChangeCipherSpec:
      trouble_ = "tls-renegotiated";
      return;
    case ContentType::kAlert:
      return;
  }
}

// Messages may share a record, or have several.
void Side::use_handshake(std::span<const std::byte> content, bool was_sealed, SideSink& sink) {
  while (!content.empty() && trouble_.empty()) {
    if (message_left_ > 0) {
      const size_t take = std::min(message_left_, content.size());
      message_left_ -= take;
      content = content.subspan(take);
      continue;
    }
    size_t want = kMessageHeaderBytes;
    const auto header = [this](size_t i) { return std::to_integer<size_t>(message_[i]); };
    if (message_.size() >= want) {
      const size_t body_bytes = header(1) << 16 | header(2) << 8 | header(3);
      const auto type = static_cast<HandshakeType>(header(0));
      const bool is_read = type == HandshakeType::kClientHello || type == HandshakeType::kServerHello ||
                           (was_sealed && type == HandshakeType::kKeyUpdate);
      if (!is_read || body_bytes == 0 || body_bytes > kHelloBytesMax) {
        message_left_ = body_bytes;
        message_.clear();
        continue;
      }
      want += body_bytes;
    }
    const size_t take = std::min(content.size(), want - message_.size());
    message_.insert(message_.end(), content.begin(), content.begin() + static_cast<ptrdiff_t>(take));
    content = content.subspan(take);
    // Its header alone is none yet: the next turn reads that.
    if (message_.size() == want && want > kMessageHeaderBytes) use_message(was_sealed, sink);
  }
}

void Side::use_message(bool was_sealed, SideSink& sink) {
  const std::vector<std::byte> message = std::exchange(message_, {});
  const auto type = std::to_integer<uint8_t>(message[0]);
  if (!was_sealed) return sink.on_hello(type, std::span(message).subspan(kMessageHeaderBytes));
  if (static_cast<HandshakeType>(type) != HandshakeType::kKeyUpdate)
    trouble_ = "tls-renegotiated";  // a hello inside
  else if (has_key_updates())
    update_keys();
}

void Side::begin_search(uint64_t from) {
  is_searching_ = true;
  search_from_ = from;
  tried_ = tried_bytes_ = 0;
  held_.clear();
  damaged_ = {};
}

void Side::lose(uint64_t bytes, uint64_t position, SideSink& sink) {
  if (bytes == 0 || !trouble_.empty()) return;
  had_gap_ = true;
  if (is_searching_) {  // what was held back is of no use without what followed
    held_.clear();
    tried_ = tried_bytes_ = 0;
    return;
  }
  if (damaged_.left > 0) {
    if (bytes > damaged_.left) return begin_search(damaged_.position);
    damaged_.left -= bytes;
    if (damaged_.left == 0) end_damaged(sink);
    return;
  }
  if (held_.size() < kRecordHeaderBytes) return begin_search(held_.empty() ? position : held_position_);
  const HeaderFields fields = read_header(held_);
  const uint64_t left = kRecordHeaderBytes + fields.body_bytes - held_.size();
  if (bytes > left) return begin_search(held_position_);
  damaged_ = {.left = left - bytes, .body_bytes = fields.body_bytes, .type = fields.type, .position = held_position_};
  held_.clear();
  if (damaged_.left == 0) end_damaged(sink);
}

void Side::end_damaged(SideSink& sink) {
  const Damaged record = std::exchange(damaged_, {});
  message_.clear();
  message_left_ = 0;
  if (!is_sealed(record.type) || !is_locked_on_) return;
  ++number_;
  const auto overhead = opener_->overhead();
  const bool is_known = overhead && record.body_bytes >= *overhead;
  sink.on_lost(is_known ? record.body_bytes - *overhead : kUnknownBytes, record.position);
}

// Looks for a record in what is held, at any byte: the three that begin each are rare elsewhere, and only the right
// record of the right number can be opened.
void Side::search(SideSink& sink) {
  size_t at = 0;
  for (; at + kRecordHeaderBytes <= held_.size() && trouble_.empty(); ++at) {
    const auto header = std::span<const std::byte>(held_).subspan(at).first<5>();
    const HeaderFields fields = read_header(header);
    if (!fields.is_plausible || header[2] != std::byte{3}) continue;
    if (version_ == Version::kTls13 && fields.type != static_cast<uint8_t>(ContentType::kApplicationData)) continue;
    if (held_.size() < at + kRecordHeaderBytes + fields.body_bytes) break;  // its rest may come
    const auto body = std::span<const std::byte>(held_).subspan(at + kRecordHeaderBytes, fields.body_bytes);
    if (!try_numbers(header, body, held_position_ + at, sink)) continue;
    const std::vector<std::byte> searched = std::exchange(held_, {});
    const uint64_t position = held_position_;
    size_t used = at + kRecordHeaderBytes + fields.body_bytes;
    push(std::span<const std::byte>(searched).subspan(used), position + used, sink);
    return;
  }
  held_.erase(held_.begin(), held_.begin() + static_cast<ptrdiff_t>(std::min(at, held_.size())));
  held_position_ += at;
}

bool Side::try_numbers(Header header, std::span<const std::byte> body, uint64_t position, SideSink& sink) {
  const uint64_t lost = position - search_from_;
  const auto overhead = opener_->overhead();
  const uint64_t record_bytes_min = kRecordHeaderBytes + overhead.value_or(1);
  const uint64_t records_max = is_locked_on_ ? lost / record_bytes_min : kFirstNumbersMax;
  const uint64_t records_min =
      is_locked_on_ ? (lost + kRecordHeaderBytes + kRecordBodyBytesMax - 1) / (kRecordHeaderBytes + kRecordBodyBytesMax)
                    : 0;
  for (uint64_t records = records_min; records <= records_max; ++records) {
    if (++tried_ > kNumbersTriedMax || (tried_bytes_ += body.size()) > kBytesTriedMax) {
      trouble_ = "tls-lost";
      return false;
    }
    const auto opened = opener_->open(number_ + records, header, body, t_plain);
    if (!opened) continue;
    number_ += records + 1;
    const bool is_known = overhead && is_locked_on_ && records * record_bytes_min <= lost;
    is_locked_on_ = true;
    if (version_ == Version::kTls12) has_changed_spec_ = true;
    is_searching_ = false;
    message_.clear();
    message_left_ = 0;
    ++resyncs_;
    const uint64_t plain_lost = is_known ? lost - records * record_bytes_min : kUnknownBytes;
    // `opened` is in the buffer that the sink does not touch.
    if (plain_lost > 0) sink.on_lost(plain_lost, search_from_);
    use_content(*opened, position + kRecordHeaderBytes, sink);
    return true;
  }
  return has_key_updates() && is_locked_on_ && try_next_keys(header, body, records_max, position, sink);
}

// The KeyUpdate may be among what was lost.
bool Side::try_next_keys(Header header, std::span<const std::byte> body, uint64_t records_max, uint64_t position,
                         SideSink& sink) {
  std::array<std::byte, kSecretBytesMax> next{};
  std::ranges::copy(secret_, next.begin());
  const auto secret = std::span{next}.first(secret_.size());
  update_secret(*suite_, secret);
  bool is_found = false;
  {
    RecordKeys keys;
    derive_keys(*suite_, secret, keys);
    auto opener = RecordOpener::make(*suite_, keys, false);
    for (uint64_t number = 0; opener && number < std::min(records_max, kUpdatedNumbersMax); ++number) {
      const auto opened = opener->open(number, header, body, t_plain);
      if (!opened) continue;
      is_found = true;
      std::ranges::copy(secret, secret_.begin());
      opener_ = std::move(opener);
      number_ = number + 1;
      is_searching_ = false;
      message_.clear();
      message_left_ = 0;
      ++resyncs_;
      sink.on_lost(kUnknownBytes, search_from_);
      use_content(*opened, position + kRecordHeaderBytes, sink);
      break;
    }
  }
  wipe(next);
  return is_found;
}

}  // namespace gatehouse::tls
