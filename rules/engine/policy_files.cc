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

// Appends the files of a folder and of those in it. Links are followed, as a folder of links is a way to choose rules;
// the length of paths bounds a circle.
Status add_folder(const fs::path& folder, std::vector<std::string>& files) {
  constexpr size_t kPathBytesMax = 4096;
  std::error_code error;
  std::vector<fs::path> entries;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (!is_hidden(at->path())) entries.push_back(at->path());
  if (error) return Error::configuration(folder.string() + ": " + error.message());
  std::ranges::sort(entries);
  for (const fs::path& entry : entries) {
    if (fs::is_directory(entry, error)) {
      if (entry.string().size() > kPathBytesMax) return Error::configuration(entry.string() + ": folders go too deep");
      GH_TRY(add_folder(entry, files));
    } else if (is_yaml(entry)) {
      files.push_back(entry.string());
    }
    if (files.size() > kPolicyFilesMax)
      return Error::configuration(folder.string() + ": more than " + std::to_string(kPolicyFilesMax) + " files");
  }
  return {};
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
  std::error_code error;
  for (const std::string& path : paths) {
    if (fs::is_directory(path, error)) {
      GH_TRY(add_folder(path, names));
    } else {
      names.push_back(path);
    }
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
      if (fs::exists(list, error)) GH_TRY(read(list, all.rules));
  return all;
}

}  // namespace gatehouse::rules
