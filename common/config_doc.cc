// SPDX-License-Identifier: Apache-2.0
#include "common/config_doc.h"

#include <cstdlib>

#include "common/file.h"
#include "common/limits.h"

namespace gatehouse::config {

Status check_document(const std::string& path, std::string_view name, std::span<const Key> schema) {
  return check_document(path, name, markdown(schema));
}

Status check_document(const std::string& path, std::string_view name, std::string_view want) {
  GH_ASSIGN(std::string text, read_file(path, kConfigBytesMax));
  const std::string begin = "<!-- begin " + std::string(name) + " -->\n";
  const std::string end = "<!-- end " + std::string(name) + " -->\n";
  const size_t from = text.find(begin);
  const size_t to = text.find(end);
  if (from == std::string::npos || to == std::string::npos || to < from)
    return Error(path + ": has no lines " + begin + end);
  const size_t at = from + begin.size();
  if (text.substr(at, to - at) == want) return {};
  if (std::getenv("GH_UPDATE_DOCS") == nullptr)
    return Error(path + ": differs from the table of " + std::string(name) + "; run this test with GH_UPDATE_DOCS=1");
  text.replace(at, to - at, want);
  return write_file_atomically(path, text, 0644);
}

}  // namespace gatehouse::config
