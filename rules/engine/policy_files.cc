// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/policy_files.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>
#include <utility>

#include "common/file.h"
#include "common/yaml.h"
#include "rules/engine/cases.h"

namespace gatehouse::rules {
namespace {

namespace fs = std::filesystem;

bool is_yaml(const fs::path& path) {
  return path.extension() == ".yaml" || path.extension() == ".yml";
}
bool is_hidden(const fs::path& path) {
  return path.filename().string().starts_with('.');
}

Error failed(const fs::path& path, const std::error_code& error) {
  return Error::configuration(path.string() + ": " + error.message());
}

Result<std::vector<std::string>> files_in(const fs::path& folder) {
  std::vector<std::string> files;
  std::error_code error;
  for (fs::recursive_directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
    if (is_hidden(at->path())) {
      at.disable_recursion_pending();
    } else if (is_yaml(at->path()) && at->is_regular_file(error)) {
      files.push_back(at->path().string());
    }
  }
  if (error) return failed(folder, error);
  std::ranges::sort(files);
  return files;
}

// The files of lists that a rule file names, as check_policy() looks for them.
std::vector<std::string> lists_of(const PolicyFile& file) {
  std::vector<std::string> names;
  const auto tree = parse_yaml(file.text, kPolicyFileNodesMax);
  const YamlNode* lists = tree ? tree->find("lists") : nullptr;
  if (lists == nullptr) return names;
  const size_t slash = file.name.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : file.name.substr(0, slash + 1);
  for (const YamlNode& list : lists->children) {
    const YamlNode* name = list.find("file");
    if (name != nullptr && name->text.ends_with(".txt")) names.push_back(folder + name->text);
  }
  return names;
}

}  // namespace

Result<PolicyFiles> read_policy_files(std::span<const std::string> paths) {
  std::vector<std::string> names;
  for (const std::string& path : paths) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (error) return failed(path, error);
    if (!fs::is_directory(status)) {
      names.push_back(path);
      continue;
    }
    GH_ASSIGN(const std::vector<std::string> files, files_in(path));
    names.insert(names.end(), files.begin(), files.end());
  }
  PolicyFiles all;
  std::set<std::string> known;
  const auto read = [&](const std::string& name, std::vector<PolicyFile>& into) -> Status {
    if (!known.insert(name).second) return {};
    Result<std::string> text = read_file(name, kPolicyFileBytesMax);
    if (!text) return Error::configuration(text.error().message());
    into.push_back({name, std::move(*text)});
    return {};
  };
  for (const std::string& name : names) GH_TRY(read(name, is_cases_file(name) ? all.cases : all.rules));
  const size_t rule_files = all.rules.size();
  for (size_t i = 0; i < rule_files; ++i)
    for (const std::string& list : lists_of(all.rules[i]))
      if (fs::exists(list)) GH_TRY(read(list, all.rules));
  return all;
}

}  // namespace gatehouse::rules
