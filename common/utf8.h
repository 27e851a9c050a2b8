// SPDX-License-Identifier: Apache-2.0
// UTF-8 as RFC 3629 defines it (no surrogates, no overlong forms). Bytes of peers and of the kernel (paths, names,
// messages) need not be UTF-8, while protobuf `string` fields and people's terminals require it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace gatehouse {

// Length of the longest prefix that is valid UTF-8; text.size() if all of it is.
size_t valid_utf8_prefix(std::string_view text);

inline bool is_valid_utf8(std::string_view text) {
  return valid_utf8_prefix(text) == text.size();
}

// Appends `text` with each byte that is not part of valid UTF-8 written as \xNN, so that nothing is lost to the eye.
void append_as_utf8(std::string& out, std::string_view text);

// `text` itself if valid, else its escaped form, kept in `scratch` and valid until scratch changes.
inline std::string_view as_utf8(std::string_view text, std::string& scratch) {
  if (is_valid_utf8(text)) return text;
  scratch.clear();
  append_as_utf8(scratch, text);
  return scratch;
}

}  // namespace gatehouse
