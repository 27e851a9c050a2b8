// SPDX-License-Identifier: Apache-2.0
#include "agent/json.h"

#include <google/protobuf/util/json_util.h>

#include <cstdio>

#include "common/utf8.h"

namespace gatehouse::agent {

std::string json_of(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string text;
  if (!google::protobuf::util::MessageToJsonString(message, &text, options).ok()) return "null";
  return text;
}

std::string quoted(std::string_view bytes) {
  std::string text, out = "\"";
  append_as_utf8(text, bytes);
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      out += escape;
    } else {
      out += c;
    }
  }
  return out + "\"";
}

}  // namespace gatehouse::agent
