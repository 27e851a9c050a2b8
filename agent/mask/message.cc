// SPDX-License-Identifier: Apache-2.0
#include "agent/mask/message.h"

#include <algorithm>
#include <vector>

#include "agent/mask/act.h"
#include "agent/mask/scanner.h"
#include "agent/mask/texts.h"

namespace gatehouse::mask {
namespace {

constexpr size_t kKnownBytesMin = 4;  // shorter ones stand in ordinary words
constexpr std::string_view kWithheld = "withheld by a mask";

void replace_all(std::string& text, std::string_view what) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + kRedacted.size()))
    text.replace(at, what.size(), kRedacted);
}

// Where the server's messages hold values: behind a colon in quotes (invalid input syntax for type integer: "…"),
// between parentheses (Key (email)=(…), (…) is not …), and in quotes behind "value" and its like.
std::string without_values(std::string_view message) {
  std::string out;
  size_t at = 0;
  while (at < message.size()) {
    const char c = message[at];
    const bool is_quoted_value = c == '"' && at >= 2 && message.substr(at - 2, 2) == ": ";
    const bool is_named_value = c == '"' && at >= 6 && message.substr(at - 6, 6) == "value ";
    if (is_quoted_value || is_named_value) {
      // To the last quote: a value may hold quotes itself.
      const size_t end = message.rfind('"');
      out += "\"***\"";
      at = end > at ? end + 1 : message.size();
    } else if (c == '(') {
      // To the last parenthesis, for the same reason.
      const size_t end = message.rfind(')');
      out += "(***)";
      at = end != std::string_view::npos && end > at ? end + 1 : message.size();
    } else {
      out.push_back(c);
      ++at;
    }
  }
  return out;
}

void end_message(std::string& out, size_t begin) {
  store_be(out.data() + begin + 1, static_cast<uint32_t>(out.size() - begin - 1));
}

}  // namespace

std::string redact_text(std::string_view text, DetectorSet what, std::span<const std::string_view> known) {
  std::vector<Found> found;
  std::string out;
  size_t at = 0;
  scan(text, what, {}, found);
  for (const Found& span : found) {
    out += text.substr(at, span.begin - at);
    out += kRedacted;
    at = span.end;
  }
  out += text.substr(at);
  for (const std::string_view value : known)
    if (value.size() >= kKnownBytesMin) replace_all(out, value);
  return out;
}

// {field:u8 text\0}… \0
bool redact_message(char tag, std::span<const std::byte> body, const MessagePolicy& policy, std::string& out) {
  const std::string_view fields = text_of(body);
  const size_t begin = out.size();
  out.push_back(tag);
  out.append(4, '\0');
  bool changed = false;
  size_t at = 0;
  while (at < fields.size() && fields[at] != '\0') {
    const char field = fields[at];
    const size_t end = fields.find('\0', at + 1);
    if (end == std::string_view::npos) break;
    const std::string_view text = fields.substr(at + 1, end - at - 1);
    at = end + 1;
    // Severity, code, places in the source, names of schema, table, column, type and constraint are no values.
    const bool is_prose = field == 'M' || field == 'D' || field == 'H' || field == 'W' || field == 'q';
    std::string shown(text);
    if (is_prose && policy.has_masked_columns) {
      if (field == 'D' || field == 'W' || field == 'q') {
        shown = kWithheld;
      } else {
        shown = without_values(text);
      }
    }
    if (is_prose) shown = redact_text(shown, policy.what);
    changed = changed || shown != text;
    out.push_back(field);
    out += shown;
    out.push_back('\0');
  }
  const bool is_sound = at + 1 == fields.size() && fields[at] == '\0';
  if (is_sound && !changed) {
    out.resize(begin);
    return false;
  }
  if (!is_sound) {
    out.resize(begin + 5);
    using namespace std::string_view_literals;
    out += "SERROR\0VERROR\0C08P01\0Mmessage withheld by a mask: it is not well-formed\0"sv;
  }
  out.push_back('\0');
  end_message(out, begin);
  return true;
}

}  // namespace gatehouse::mask
