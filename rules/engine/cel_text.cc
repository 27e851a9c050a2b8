// SPDX-License-Identifier: Apache-2.0
// Text. Positions count characters (code points); a byte that is not UTF-8 is one character.
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "rules/engine/cel_functions.h"

namespace gatehouse::rules::cel {
namespace {

Value no_overload() {
  return Value::error(ErrorCode::kNoOverload);
}
Value out_of_range() {
  return Value::error(ErrorCode::kIndexOutOfRange);
}

// All texts are read once: spends the steps for it.
bool spend_texts(std::span<const Value> args, Scratch& scratch) {
  size_t bytes = 0;
  for (const Value& arg : args) bytes += arg.is(Kind::kString) ? arg.as_text().size() : 0;
  return scratch.spend_bytes(bytes);
}

// The arguments are texts, followed by ints if there are more than `texts`.
bool are_texts(std::span<const Value> args, size_t texts) {
  for (size_t i = 0; i < args.size(); ++i) {
    if (!args[i].is(i < texts ? Kind::kString : Kind::kInt)) return false;
  }
  return true;
}

// An error unless they are that, and there are steps left to read them.
Value check(std::span<const Value> args, size_t texts, Scratch& scratch) {
  if (!are_texts(args, texts)) return no_overload();
  return spend_texts(args, scratch) ? Value() : Value::error(ErrorCode::kTooManySteps);
}

// Bytes of the character at the front of `text`, which is not empty.
size_t character_size(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const size_t size = lead < 0xC2 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 1;
  if (size > text.size()) return 1;
  for (size_t i = 1; i < size; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) return 1;
  }
  return size;
}

// Bytes before the character number `index`; none if the text has fewer.
std::optional<size_t> bytes_before(std::string_view text, int64_t index) {
  if (index < 0) return std::nullopt;
  size_t bytes = 0;
  for (; index > 0; --index) {
    if (bytes == text.size()) return std::nullopt;
    bytes += character_size(text.substr(bytes));
  }
  return bytes;
}

Value character_index(std::string_view text, size_t bytes) {
  if (bytes == std::string_view::npos) return Value::integer(-1);
  return Value::integer(static_cast<int64_t>(character_count(text.substr(0, bytes))));
}

template <typename Change>
Value changed(std::span<const Value> args, Scratch& scratch, Change change) {
  if (const Value error = check(args, 1, scratch); error.is_error()) return error;
  const std::string_view text = args[0].as_text();
  char* copy = scratch.arena().take_array<char>(text.size());
  if (copy == nullptr) return Value::error(ErrorCode::kTooLarge);
  std::transform(text.begin(), text.end(), copy, change);
  return Value::string({copy, text.size()});
}

// What Unicode calls white space beyond ASCII, as UTF-8.
constexpr std::array<std::string_view, 19> kSpaces = {
    "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81", "\xE2\x80\x82", "\xE2\x80\x83",
    "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86", "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A",
    "\xE2\x80\xA8", "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};

bool is_ascii_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

// Bytes of the white space at the front of `text`, one character of it; 0 if there is none.
size_t space_before(std::string_view text) {
  if (text.empty() || is_ascii_space(text.front())) return text.empty() ? 0 : 1;
  if (static_cast<unsigned char>(text.front()) < 0x80) return 0;
  const auto found = std::ranges::find_if(kSpaces, [&](std::string_view space) { return text.starts_with(space); });
  return found == kSpaces.end() ? 0 : found->size();
}
size_t space_behind(std::string_view text) {
  if (text.empty() || is_ascii_space(text.back())) return text.empty() ? 0 : 1;
  if (static_cast<unsigned char>(text.back()) < 0x80) return 0;
  const auto found = std::ranges::find_if(kSpaces, [&](std::string_view space) { return text.ends_with(space); });
  return found == kSpaces.end() ? 0 : found->size();
}

// As string_view::find, whose time may be the product of both sizes; memmem's is their sum, near enough.
size_t position_of(std::string_view text, std::string_view what, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (what.empty()) return from;
  const void* found = memmem(text.data() + from, text.size() - from, what.data(), what.size());
  return found == nullptr ? std::string_view::npos : static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

// Text that is written piece by piece into what is left of the arena.
class Writer {
 public:
  explicit Writer(Scratch& scratch) : scratch_(scratch) {}

  void put(std::string_view text) {
    auto* room = fits_ ? scratch_.arena().take_array<char>(text.size()) : nullptr;
    if (room == nullptr || !scratch_.spend_bytes(text.size())) {
      fits_ = false;
      return;
    }
    if (start_ == nullptr) start_ = room;
    std::copy(text.begin(), text.end(), room);
    size_ += text.size();
  }
  [[nodiscard]] Value done() const {
    return fits_ ? Value::string({start_, size_}) : Value::error(ErrorCode::kTooLarge);
  }

 private:
  Scratch& scratch_;
  char* start_ = nullptr;
  size_t size_ = 0;
  bool fits_ = true;
};

// Pieces of `text` between `separator`s; between all characters if that is empty. At most `limit`, if it is not
// negative; the last one holds the rest.
class Pieces {
 public:
  Pieces(std::string_view text, std::string_view separator, int64_t limit)
      : rest_(text), separator_(separator), left_(limit) {}

  std::optional<std::string_view> next() {
    if (done_ || left_ == 0) return std::nullopt;
    const bool last = left_ == 1;
    if (left_ > 0) --left_;
    size_t size = std::string_view::npos;
    if (!last && separator_.empty()) {
      if (rest_.empty()) return std::nullopt;
      size = character_size(rest_);
      if (size == rest_.size()) size = std::string_view::npos;
    } else if (!last) {
      size = position_of(rest_, separator_, 0);
    }
    const std::string_view piece = rest_.substr(0, size);
    if (size == std::string_view::npos) {
      done_ = true;
    } else {
      rest_.remove_prefix(size + separator_.size());
    }
    return piece;
  }

 private:
  std::string_view rest_;
  std::string_view separator_;
  int64_t left_;
  bool done_ = false;
};

}  // namespace

size_t character_count(std::string_view text) {
  size_t count = 0;
  while (!text.empty()) {
    uint64_t word = 0;
    if (text.size() >= sizeof(word)) std::memcpy(&word, text.data(), sizeof(word));
    const bool ascii = text.size() >= sizeof(word) && (word & 0x8080'8080'8080'8080) == 0;
    text.remove_prefix(ascii ? sizeof(word) : character_size(text));
    count += ascii ? sizeof(word) : 1;
  }
  return count;
}

Value concatenate(Kind kind, std::string_view left, std::string_view right, Scratch& scratch) {
  const size_t size = left.size() + right.size();
  if (!scratch.spend_bytes(size)) return Value::error(ErrorCode::kTooManySteps);
  char* text = scratch.arena().take_array<char>(size);
  if (text == nullptr) return Value::error(ErrorCode::kTooLarge);
  std::copy(right.begin(), right.end(), std::copy(left.begin(), left.end(), text));
  const std::string_view joined{text, size};
  return kind == Kind::kString ? Value::string(joined) : Value::bytes(joined);
}

Value contains(std::span<const Value> args, Scratch& scratch) {
  if (const Value error = check(args, 2, scratch); error.is_error()) return error;
  return Value::boolean(position_of(args[0].as_text(), args[1].as_text(), 0) != std::string_view::npos);
}
Value starts_with(std::span<const Value> args, Scratch& scratch) {
  if (!are_texts(args, 2)) return no_overload();
  if (!scratch.spend_bytes(args[1].as_text().size())) return Value::error(ErrorCode::kTooManySteps);
  return Value::boolean(args[0].as_text().starts_with(args[1].as_text()));
}
Value ends_with(std::span<const Value> args, Scratch& scratch) {
  if (!are_texts(args, 2)) return no_overload();
  if (!scratch.spend_bytes(args[1].as_text().size())) return Value::error(ErrorCode::kTooManySteps);
  return Value::boolean(args[0].as_text().ends_with(args[1].as_text()));
}
Value matches(std::span<const Value> /*args*/, Scratch& /*scratch*/) {
  return no_overload();
}

Value char_at(std::span<const Value> args, Scratch& scratch) {
  if (const Value error = check(args, 1, scratch); error.is_error()) return error;
  const std::string_view text = args[0].as_text();
  const auto start = bytes_before(text, args[1].as_int());
  if (!start) return out_of_range();
  const std::string_view rest = text.substr(*start);
  return Value::string(rest.substr(0, rest.empty() ? 0 : character_size(rest)));
}

Value index_of(std::span<const Value> args, Scratch& scratch) {
  if (const Value error = check(args, 2, scratch); error.is_error()) return error;
  const std::string_view text = args[0].as_text();
  const auto start = bytes_before(text, args.size() > 2 ? args[2].as_int() : 0);
  return start ? character_index(text, position_of(text, args[1].as_text(), *start)) : out_of_range();
}

Value last_index_of(std::span<const Value> args, Scratch& scratch) {
  if (const Value error = check(args, 2, scratch); error.is_error()) return error;
  const std::string_view text = args[0].as_text();
  // Searched backwards, each place may cost the whole of what is looked for.
  if (!scratch.spend_bytes(text.size() * args[1].as_text().size())) return Value::error(ErrorCode::kTooManySteps);
  if (args.size() == 2) return character_index(text, text.rfind(args[1].as_text()));
  const auto start = bytes_before(text, args[2].as_int());
  return start ? character_index(text, text.rfind(args[1].as_text(), *start)) : out_of_range();
}

Value lower_ascii(std::span<const Value> args, Scratch& scratch) {
  return changed(args, scratch, [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
}
Value upper_ascii(std::span<const Value> args, Scratch& scratch) {
  return changed(args, scratch, [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
}

Value replace(std::span<const Value> args, Scratch& scratch) {
  if (const Value error = check(args, 3, scratch); error.is_error()) return error;
  // One piece more than there are replacements; with a negative limit, all.
  const int64_t limit = args.size() > 3 ? args[3].as_int() : -1;
  if (limit == 0) return args[0];
  const std::string_view text = args[0].as_text();
  const std::string_view old = args[1].as_text();
  const std::string_view fresh = args[2].as_text();
  Writer out(scratch);
  int64_t left = limit < 0 ? INT64_MAX : limit;
  // An empty `old` stands before each character and at the end.
  size_t at = 0;
  for (size_t from = 0; left > 0 && at <= text.size(); --left) {
    const size_t found = position_of(text, old, from);
    if (found == std::string_view::npos) break;
    out.put(text.substr(at, found - at));
    out.put(fresh);
    at = found + old.size();
    from = old.empty() ? at + (at < text.size() ? character_size(text.substr(at)) : 1) : at;
  }
  out.put(text.substr(std::min(at, text.size())));
  return out.done();
}

Value split(std::span<const Value> args, Scratch& scratch) {
  if (const Value error = check(args, 2, scratch); error.is_error()) return error;
  const int64_t limit = args.size() > 2 ? args[2].as_int() : -1;
  Pieces counted(args[0].as_text(), args[1].as_text(), limit);
  size_t count = 0;
  while (counted.next()) ++count;
  if (!scratch.spend(count)) return Value::error(ErrorCode::kTooManySteps);
  auto* pieces = scratch.arena().take_array<Value>(count);
  if (pieces == nullptr) return Value::error(ErrorCode::kTooLarge);
  Pieces again(args[0].as_text(), args[1].as_text(), limit);
  for (size_t i = 0; i < count; ++i) pieces[i] = Value::string(*again.next());
  return Value::list(pieces, count);
}

Value join(std::span<const Value> args, Scratch& scratch) {
  if (!args[0].is(Kind::kList) || (args.size() > 1 && !args[1].is(Kind::kString))) return no_overload();
  const std::string_view separator = args.size() > 1 ? args[1].as_text() : "";
  const size_t count = args[0].count();
  if (!scratch.spend(count)) return Value::error(ErrorCode::kTooManySteps);
  Writer out(scratch);
  for (size_t i = 0; i < count; ++i) {
    const Value piece = args[0].element(i);
    if (!piece.is(Kind::kString)) return no_overload();
    if (i > 0) out.put(separator);
    out.put(piece.as_text());
  }
  return out.done();
}

Value substring(std::span<const Value> args, Scratch& scratch) {
  if (const Value error = check(args, 1, scratch); error.is_error()) return error;
  const std::string_view text = args[0].as_text();
  const auto start = bytes_before(text, args[1].as_int());
  const auto end = args.size() > 2 ? bytes_before(text, args[2].as_int()) : std::optional(text.size());
  if (!start || !end || *start > *end) return out_of_range();
  return Value::string(text.substr(*start, *end - *start));
}

Value trim(std::span<const Value> args, Scratch& scratch) {
  if (const Value error = check(args, 1, scratch); error.is_error()) return error;
  std::string_view text = args[0].as_text();
  while (const size_t space = space_before(text)) text.remove_prefix(space);
  while (const size_t space = space_behind(text)) text.remove_suffix(space);
  return Value::string(text);
}

Value reverse(std::span<const Value> args, Scratch& scratch) {
  if (const Value error = check(args, 1, scratch); error.is_error()) return error;
  const std::string_view text = args[0].as_text();
  char* copy = scratch.arena().take_array<char>(text.size());
  if (copy == nullptr) return Value::error(ErrorCode::kTooLarge);
  char* out = copy + text.size();
  for (std::string_view rest = text; !rest.empty();) {
    const size_t size = character_size(rest);
    out -= size;
    std::memcpy(out, rest.data(), size);
    rest.remove_prefix(size);
  }
  return Value::string({copy, text.size()});
}

}  // namespace gatehouse::rules::cel
