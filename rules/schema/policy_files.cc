// SPDX-License-Identifier: Apache-2.0
#include "rules/schema/policy_files.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "common/file.h"
#include "rules/schema/event.h"

namespace gatehouse::rules {
namespace {

namespace fs = std::filesystem;

// Appends the files of a folder and of those in it. Links are followed, as a folder of links is a way to choose rules;
// the number of files bounds a circle.
Status add_folder(const fs::path& folder, bool (*accepts)(std::string_view name), std::vector<std::string>& files) {
  std::error_code error;
  std::vector<fs::path> entries;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    entries.push_back(at->path());
  if (error) return Error::configuration(folder.string() + ": " + error.message());
  std::ranges::sort(entries);
  for (const fs::path& entry : entries) {
    if (fs::is_directory(entry, error)) {
      if (entry.string().size() > 4096) return Error::configuration(entry.string() + ": folders go too deep");
      GH_TRY(add_folder(entry, accepts, files));
    } else if (accepts(entry.filename().string())) {
      files.push_back(entry.string());
    }
    if (files.size() > kPolicyFilesMax)
      return Error::configuration(folder.string() + ": more than " + std::to_string(kPolicyFilesMax) + " files");
  }
  return {};
}

}  // namespace

bool is_cases_file(std::string_view name) {
  return name.ends_with(kCasesSuffix) && name.size() > kCasesSuffix.size();
}

bool is_rule_file(std::string_view name) {
  return (name.ends_with(".yaml") || name.ends_with(".yml")) && !name.starts_with('.') && !is_cases_file(name);
}

Result<std::vector<std::string>> find_files(std::span<const std::string> paths,
                                            bool (*accepts)(std::string_view name)) {
  std::vector<std::string> files;
  for (const std::string& path : paths) {
    std::error_code error;
    if (fs::is_directory(path, error)) {
      GH_TRY(add_folder(path, accepts, files));
    } else {
      files.push_back(path);
    }
  }
  return files;
}

Result<std::vector<PolicyFile>> read_policy_files(std::span<const std::string> paths) {
  GH_ASSIGN(const std::vector<std::string> names, find_files(paths, is_rule_file));
  std::vector<PolicyFile> files;
  for (const std::string& name : names) {
    auto text = read_file(name, kPolicyFileBytesMax);
    if (!text) return Error::configuration(text.error().message());
    files.push_back({.name = name, .text = std::move(*text)});
  }
  return files;
}

Result<std::shared_ptr<const Policy>> load_policy_files(std::span<const std::string> paths) {
  GH_ASSIGN(const std::vector<PolicyFile> files, read_policy_files(paths));
  GH_ASSIGN(Policy policy, load_policy(files, event_kinds()));
  return std::make_shared<const Policy>(std::move(policy));
}

}  // namespace gatehouse::rules
