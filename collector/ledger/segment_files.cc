// SPDX-License-Identifier: Apache-2.0
#include "collector/ledger/segment_files.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace gatehouse::ledger {

std::string segment_file(const std::string& folder, uint64_t number, std::string_view suffix) {
  constexpr size_t kDigits = 12;
  std::string digits = std::to_string(number);
  digits.insert(0, digits.size() < kDigits ? kDigits - digits.size() : 0, '0');
  return folder + "/" + digits + std::string(suffix);
}

Result<std::vector<uint64_t>> list_segment_files(const std::string& folder, std::string_view suffix) {
  std::vector<uint64_t> numbers;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(suffix)) continue;
    const char* const end = name.data() + name.size() - suffix.size();
    uint64_t number = 0;
    const auto parsed = std::from_chars(name.data(), end, number);
    if (parsed.ec == std::errc{} && parsed.ptr == end && number > 0) numbers.push_back(number);
  }
  if (error) return Error(folder + ": " + error.message());
  std::ranges::sort(numbers);
  return numbers;
}

}  // namespace gatehouse::ledger
