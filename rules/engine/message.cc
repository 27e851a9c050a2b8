// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/message.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "common/utf8.h"
#include "rules/engine/time_text.h"

namespace gatehouse::rules {
namespace {

constexpr std::string_view kCut = "…";
// Elements of a list that are shown.
constexpr size_t kShownElementsMax = 16;

// Texts that end where they may not grow any more.
class Bounded {
 public:
  Bounded(std::string& out, size_t bytes_max) : out_(out), end_(out.size() + bytes_max) {}

  void add(std::string_view text) {
    if (full_) return;
    const size_t room = end_ - out_.size();
    full_ = text.size() > room;
    if (full_) text = text.substr(0, room - std::min(room, kCut.size()));
    // Half a character is none.
    while (full_ && !text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0) == 0x80) text.remove_suffix(1);
    if (full_ && !text.empty() && static_cast<unsigned char>(text.back()) >= 0xC0) text.remove_suffix(1);
    while (!text.empty()) {
      const size_t valid = valid_utf8_prefix(text);
      for (const char c : text.substr(0, valid)) out_ += is_control(c) ? '?' : c;
      if (valid < text.size()) out_ += '?';
      text.remove_prefix(std::min(text.size(), valid + 1));
    }
    if (full_) out_ += kCut;
  }
  [[nodiscard]] bool full() const { return full_; }

 private:
  static bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

  std::string& out_;
  size_t end_;
  bool full_ = false;
};

template <typename Number>
void add_number(Number number, Bounded& out) {
  std::array<char, 32> text{};
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc{}) out.add({text.data(), static_cast<size_t>(end - text.data())});
}

void add_value(const cel::Value& value, Bounded& out, bool nested) {
  switch (value.kind()) {
    case cel::Kind::kString:
      return out.add(value.as_text());
    case cel::Kind::kBool:
      return out.add(value.as_bool() ? "true" : "false");
    case cel::Kind::kInt:
      return add_number(value.as_int(), out);
    case cel::Kind::kUint:
      return add_number(value.as_uint(), out);
    case cel::Kind::kDouble:
      return add_number(value.as_double(), out);
    case cel::Kind::kTimestamp: {
      std::array<char, kInstantBytesMax> text{};
      return out.add({text.data(), write_instant(text, value.as_timestamp())});
    }
    case cel::Kind::kDuration: {
      const int64_t ns = value.as_int();
      if (ns < 0) out.add("-");
      return out.add(format_duration(ns < 0 ? 0 - static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns)));
    }
    case cel::Kind::kList:
      if (nested) break;
      for (size_t i = 0; i < value.count(); ++i) {
        if (i > 0) out.add(", ");
        if (i == kShownElementsMax) return out.add(kCut);
        add_value(value.element(i), out, true);
      }
      return;
    default:
      break;
  }
  out.add("?");
}

// Where the expression that begins a text ends: its closing brace, which is no brace of a map nor of a text.
size_t closing_brace(std::string_view text) {
  size_t depth = 0;
  char quote = '\0';
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote != '\0') {
      if (c == '\\') ++i;
      if (c == quote) quote = '\0';
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '{') {
      ++depth;
    } else if (c == '}' && depth-- == 0) {
      return i;
    }
  }
  return std::string_view::npos;
}

}  // namespace

tl::expected<MessageTemplate, cel::CompileError> MessageTemplate::parse(std::string_view text,
                                                                        const cel::Schema& schema) {
  MessageTemplate made;
  const auto literal = [&](char c) {
    if (made.parts_.empty() || !made.parts_.back().value.empty()) made.parts_.emplace_back();
    made.parts_.back().literal += c;
  };
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c != '{' && c != '}') {
      literal(c);
      continue;
    }
    if (text.substr(at + 1).starts_with(c)) {
      literal(c);
      ++at;
      continue;
    }
    if (c == '}') return tl::unexpected(cel::CompileError{at, "a `}` that closes nothing; a brace is written `}}`"});
    const size_t length = closing_brace(text.substr(at + 1));
    if (length == std::string_view::npos)
      return tl::unexpected(cel::CompileError{at, "a `{` that is not closed; a brace is written `{{`"});
    auto program = cel::compile(text.substr(at + 1, length), schema, cel::kDyn);
    if (!program) return tl::unexpected(cel::CompileError{at + 1 + program.error().offset, program.error().message});
    Part part;
    part.value.push_back(std::move(*program));
    made.parts_.push_back(std::move(part));
    at += length + 1;
  }
  return made;
}

void MessageTemplate::render(std::span<const cel::Value> variables, cel::Scratch& scratch, std::string& out) const {
  Bounded whole(out, kMessageBytesMax);
  std::string text;
  for (const Part& part : parts_) {
    if (part.value.empty()) {
      whole.add(part.literal);
      continue;
    }
    text.clear();
    Bounded value(text, kMessageValueBytesMax);
    add_value(cel::evaluate(part.value.front(), variables, scratch), value, false);
    whole.add(text);
  }
}

}  // namespace gatehouse::rules
