// SPDX-License-Identifier: Apache-2.0
// JSON: tokens are masked one by one and all between them stays, so what was valid remains so.
#include <algorithm>

#include "agent/mask/numbers.h"
#include "agent/mask/texts.h"
#include "agent/mask/value.h"

namespace gatehouse::mask {
namespace {

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out.push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out.push_back(static_cast<char>(0xc0 | code >> 6));
    out.push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else if (code < 0x10000) {
    out.push_back(static_cast<char>(0xe0 | code >> 12));
    out.push_back(static_cast<char>(0x80 | (code >> 6 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else {
    out.push_back(static_cast<char>(0xf0 | code >> 18));
    out.push_back(static_cast<char>(0x80 | (code >> 12 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (code >> 6 & 0x3f)));
    out.push_back(static_cast<char>(0x80 | (code & 0x3f)));
  }
}

// Four digits behind \u; -1: there are none.
int32_t code_at(std::string_view text, size_t at) {
  if (at + 4 > text.size()) return -1;
  int32_t code = 0;
  for (size_t i = 0; i < 4; ++i) {
    const int nibble = hex_value(text[at + i]);
    if (nibble < 0) return -1;
    code = code * 16 + nibble;
  }
  return code;
}

// What stands between the quotes, without escapes. False: not a string of JSON.
bool decode(std::string_view raw, std::string& out) {
  out.clear();
  for (size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] != '\\') {
      out.push_back(raw[i]);
      continue;
    }
    if (++i == raw.size()) return false;
    static constexpr std::string_view kEscapes = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    if (const size_t known = kEscapes.find(raw[i]); known != std::string_view::npos) {
      out.push_back(kMeanings[known]);
      continue;
    }
    int32_t code = raw[i] == 'u' ? code_at(raw, i + 1) : -1;
    if (code < 0) return false;
    i += 4;
    if (code >= 0xd800 && code < 0xdc00 && raw.substr(i + 1).starts_with("\\u")) {
      const int32_t low = code_at(raw, i + 3);
      if (low >= 0xdc00 && low < 0xe000) {
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        i += 6;
      }
    }
    if (code >= 0xd800 && code < 0xe000) code = 0xfffd;
    append_utf8(out, static_cast<uint32_t>(code));
  }
  return true;
}

void append_string(std::string& out, std::string_view text) {
  out.push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += "\\u00";
      out.push_back(kHexDigits[static_cast<unsigned char>(c) >> 4]);
      out.push_back(kHexDigits[static_cast<unsigned char>(c) & 15]);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

// From the quote at `at`: behind the quote that ends it, or npos.
size_t end_of_string(std::string_view text, size_t at) {
  for (++at; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '"') {
      return at + 1;
    }
  }
  return std::string_view::npos;
}

std::string_view empty_like(std::string_view value) {
  const auto first = std::ranges::find_if_not(value, is_space);
  switch (first == value.end() ? ' ' : *first) {
    case '{':
      return "{}";
    case '[':
      return "[]";
    case '"':
      return "\"***\"";
    case 't':
    case 'f':
      return "false";
    case 'n':
      return "null";
    default:
      return "0";
  }
}

}  // namespace

Done ValueMasker::json(const Wish& wish, std::string_view value, std::string& out) {
  const bool by_column = wish.act != nullptr;
  if (by_column && (wish.whole || wish.act->method == Method::kRedact)) {
    out += empty_like(value);
    return Done::kChanged;
  }
  const size_t begin = out.size();
  bool changed = by_column;
  std::string plain, masked;
  for (size_t at = 0; at < value.size();) {
    const char c = value[at];
    if (c == '"') {
      const size_t end = end_of_string(value, at);
      if (end == std::string_view::npos || !decode(value.substr(at + 1, end - at - 2), plain)) {
        out.resize(begin);
        return Done::kNull;
      }
      size_t next = end;
      while (next < value.size() && is_space(value[next])) ++next;
      const bool is_key = next < value.size() && value[next] == ':';
      masked.clear();
      if (by_column && !is_key) {
        mask_text(*wish.act, plain, masked);
        append_string(out, masked);
      } else if (spans(plain, detects_, wish.expected, masked) != Done::kUnchanged) {
        append_string(out, masked);
        changed = true;
      } else {
        out += value.substr(at, end - at);
      }
      at = end;
    } else if (is_digit(c) || c == '-') {
      size_t end = at + 1;
      while (end < value.size() &&
             (is_alnum(value[end]) || value[end] == '.' || value[end] == '+' || value[end] == '-'))
        ++end;
      const std::string_view number = value.substr(at, end - at);
      const Act* act = by_column ? wish.act : typed_detector({.kind = Kind::kNumeric}, wish.expected, number);
      if (act == nullptr) {
        out += number;
      } else {
        if (!mask_decimal(*act, number, -1, out)) out.push_back('0');
        changed = true;
      }
      at = end;
    } else if (by_column && value.substr(at).starts_with("true")) {
      out += "false";
      at += 4;
    } else {
      out.push_back(c);
      ++at;
    }
  }
  if (changed) return Done::kChanged;
  out.resize(begin);
  return Done::kUnchanged;
}

}  // namespace gatehouse::mask
