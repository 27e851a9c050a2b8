// SPDX-License-Identifier: Apache-2.0
// Arrays, rows and ranges in text format, as the server's *_out write them.
#include <algorithm>

#include "agent/mask/value.h"

namespace gatehouse::mask {
namespace {

// An element without its quotes. False: it has no end.
struct Element {
  std::string text{};
  bool is_quoted = false;
};

bool is_null_word(std::string_view text) {
  static constexpr std::string_view kNull = "null";
  return text.size() == kNull.size() && std::ranges::equal(text, kNull, [](char a, char b) { return (a | 0x20) == b; });
}

// Quotes as array_out does where it must, and where it need not.
void append_array_element(std::string& out, std::string_view text) {
  const auto is_plain = [](char c) { return is_alnum(c) || c == '*' || c == '-' || c == '.' || c == ':' || c == '@'; };
  if (!text.empty() && std::ranges::all_of(text, is_plain) && !is_null_word(text)) {
    out += text;
    return;
  }
  out.push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
  out.push_back('"');
}

// Quotes as record_out and range_out do: doubled.
void append_row_field(std::string& out, std::string_view text) {
  const auto is_plain = [](char c) {
    return c != '"' && c != '\\' && c != '(' && c != ')' && c != '[' && c != ']' && c != ',' && c > ' ' && c != '\x7f';
  };
  if (!text.empty() && std::ranges::all_of(text, is_plain)) {
    out += text;
    return;
  }
  out.push_back('"');
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back(c);
    out.push_back(c);
  }
  out.push_back('"');
}

// Reads from `at` up to an unquoted `delimiter`, '}' or '{' at its outside.
bool read_array_element(std::string_view text, size_t& at, char delimiter, Element& element) {
  element = {};
  for (bool in_quotes = false; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '\\') {
      if (++at == text.size()) return false;
      element.text.push_back(text[at]);
    } else if (c == '"') {
      in_quotes = !in_quotes;
      element.is_quoted = true;
    } else if (!in_quotes && (c == delimiter || c == '}')) {
      return true;
    } else if (!in_quotes && c == '{') {
      return false;
    } else {
      element.text.push_back(c);
    }
  }
  return false;
}

// Reads a field of a row or a bound of a range up to an unquoted comma or one of `ends`.
bool read_row_field(std::string_view text, size_t& at, std::string_view ends, Element& element) {
  element = {};
  bool in_quotes = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '"' && in_quotes && text.substr(at + 1).starts_with('"')) {
      element.text.push_back(c);
      ++at;
    } else if (c == '"') {
      in_quotes = !in_quotes;
      element.is_quoted = true;
    } else if (c == '\\') {
      if (++at == text.size()) return false;
      element.text.push_back(text[at]);
    } else if (!in_quotes && (c == ',' || ends.find(c) != std::string_view::npos)) {
      return true;
    } else {
      element.text.push_back(c);
    }
  }
  return false;
}

}  // namespace

Done ValueMasker::array_text(const Type& type, const Wish& wish, std::string_view value, std::string& out,
                             unsigned depth) {
  if (wish.act != nullptr && wish.whole) {
    out += "{}";
    return Done::kChanged;
  }
  const Type element_type = resolve({type.of, type.typmod});
  const size_t begin = out.size();
  const auto refuse = [&] {
    out.resize(begin);
    return Done::kNull;
  };
  size_t at = 0;
  if (value.starts_with('[')) {  // bounds: [0:2][1:3]={…}
    at = value.find('=');
    if (at == std::string_view::npos) return refuse();
    out += value.substr(0, ++at);
  }
  bool changed = wish.act != nullptr;
  size_t level = 0;
  bool wants_element = true;
  Element element;
  std::string masked;
  for (; at < value.size();) {
    const char c = value[at];
    if (c == '{') {
      ++level;
      wants_element = true;
    } else if (c == '}') {
      if (level-- == 0) return refuse();
      wants_element = false;
      if (level == 0) {
        out.push_back(c);
        if (at + 1 != value.size()) return refuse();
        return changed ? Done::kChanged : (out.resize(begin), Done::kUnchanged);
      }
    } else if (c == type.delimiter) {
      wants_element = true;
    } else {
      if (level == 0 || !wants_element) return refuse();
      const size_t start = at;
      if (!read_array_element(value, at, type.delimiter, element)) return refuse();
      wants_element = false;
      if (!element.is_quoted && is_null_word(element.text)) {
        out += value.substr(start, at - start);
        continue;
      }
      masked.clear();
      switch (text(element_type, wish, element.text, masked, depth + 1)) {
        case Done::kUnchanged:
          out += value.substr(start, at - start);
          break;
        case Done::kChanged:
          append_array_element(out, masked);
          changed = true;
          break;
        case Done::kNull:
          out += "NULL";
          changed = true;
          break;
      }
      continue;
    }
    out.push_back(c);
    ++at;
  }
  return refuse();
}

Done ValueMasker::vector_text(const Type& type, const Wish& wish, std::string_view value, std::string& out,
                              unsigned depth) {
  if (wish.whole) {
    out.push_back('0');
    return Done::kChanged;
  }
  const Type element_type = resolve({type.of, -1});
  const size_t begin = out.size();
  while (!value.empty()) {
    const size_t end = std::min(value.find(' '), value.size());
    if (out.size() > begin) out.push_back(' ');
    if (text(element_type, wish, value.substr(0, end), out, depth + 1) != Done::kChanged) {
      out.resize(begin);
      return Done::kNull;
    }
    value.remove_prefix(std::min(end + 1, value.size()));
  }
  return Done::kChanged;
}

Done ValueMasker::row_text(const Type& type, const Wish& wish, std::string_view value, std::string& out,
                           unsigned depth) {
  const size_t begin = out.size();
  const auto refuse = [&] {
    out.resize(begin);
    return Done::kNull;
  };
  if (value.size() < 2 || value[0] != '(' || value.back() != ')') return refuse();
  out.push_back('(');
  bool changed = wish.act != nullptr;
  size_t at = 1, index = 0;
  Element element;
  std::string masked;
  for (;; ++index) {
    const size_t start = at;
    if (!read_row_field(value, at, ")", element)) return refuse();
    // What is neither quoted nor there is NULL.
    if (element.is_quoted || !element.text.empty()) {
      const bool is_told = type.shape != nullptr && index < type.shape->fields.size();
      masked.clear();
      switch (text(resolve(is_told ? type.shape->fields[index] : TypeRef{}), wish, element.text, masked, depth + 1)) {
        case Done::kUnchanged:
          out += value.substr(start, at - start);
          break;
        case Done::kChanged:
          append_row_field(out, masked);
          changed = true;
          break;
        case Done::kNull:
          changed = true;
          break;
      }
    }
    out.push_back(value[at]);
    if (value[at++] == ')') break;
  }
  if (at != value.size()) return refuse();
  if (changed) return Done::kChanged;
  out.resize(begin);
  return Done::kUnchanged;
}

Done ValueMasker::range_text(const Type& type, const Wish& wish, std::string_view value, std::string& out,
                             unsigned depth) {
  const Type subtype = resolve({type.of, -1});
  const auto redact = [&] {
    out += "empty";
    return Done::kChanged;
  };
  if (wish.whole || value == "empty" || !keeps_order(subtype.kind, wish.act->method)) return redact();
  const size_t begin = out.size();
  const auto refuse = [&] {
    out.resize(begin);
    return Done::kNull;
  };
  if (value.size() < 3) return refuse();
  out.push_back(value[0]);
  size_t at = 1;
  Element element;
  std::string masked;
  for (const bool is_upper_bound : {false, true}) {
    if (!read_row_field(value, at, is_upper_bound ? ")]" : "", element)) return refuse();
    if (element.is_quoted || !element.text.empty()) {
      masked.clear();
      if (text(subtype, wish, element.text, masked, depth + 1) != Done::kChanged) return refuse();
      append_row_field(out, masked);
    }
    out.push_back(value[at++]);
  }
  return at == value.size() ? Done::kChanged : refuse();
}

}  // namespace gatehouse::mask
