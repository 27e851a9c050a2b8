// SPDX-License-Identifier: Apache-2.0
#include "agent/mask/method.h"

namespace gatehouse::mask {
namespace {

std::string_view word(std::string_view words, size_t index) {
  for (; index > 0; --index) words.remove_prefix(words.find('|') + 1);
  return words.substr(0, words.find('|'));
}

template <typename T>
std::optional<T> index_of(std::string_view words, size_t count, std::string_view name) {
  for (size_t i = 0; i < count; ++i)
    if (word(words, i) == name) return static_cast<T>(i);
  return std::nullopt;
}

constexpr size_t words_of(std::string_view words) {
  size_t count = 1;
  for (const char c : words) count += c == '|' ? 1 : 0;
  return count;
}
static_assert(words_of(kMethodNames) == kMethodCount);
static_assert(words_of(kDetectorNames) == kDetectorCount);

}  // namespace

std::string_view name_of(Method method) {
  return word(kMethodNames, static_cast<size_t>(method));
}
std::string_view name_of(Detector detector) {
  return word(kDetectorNames, static_cast<size_t>(detector));
}
std::optional<Method> method_of(std::string_view name) {
  return index_of<Method>(kMethodNames, kMethodCount, name);
}
std::optional<Detector> detector_of(std::string_view name) {
  return index_of<Detector>(kDetectorNames, kDetectorCount, name);
}

}  // namespace gatehouse::mask
