// SPDX-License-Identifier: Apache-2.0
// Configuration: a table of keys says what may be written, with unit, range, default and reason; one file is checked
// against it as a whole, and read by typed getters that fall back to the table's defaults. docs/config.md is printed
// from the same table.
//
// Whatever is wrong is an error of kind configuration: "file:line:column: key: what was expected".
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/log.h"
#include "common/result.h"
#include "common/yaml.h"

namespace gatehouse::config {

enum class Type : uint8_t {
  kSection,   // keys below it
  kSections,  // list of sections; their keys are "path[].key"
  kText,      // min and max bound its bytes
  kTexts,     // list of text; min and max bound each one's bytes
  kLabels,    // map from names to text
  kChoice,    // one of `choices`
  kCount,     // whole number
  kBytes,     // "64MiB", "512KiB", "1GiB" or a number of bytes
  kDuration,  // "100ms", "2s", "5min", "1h", "7d"; bare milliseconds where the key's name says _ms
  kAddress,   // "host:port", "[v6]:port"
  kAny,       // whatever it is: written() has it
};

struct Key {
  std::string_view path;  // "capture.poll_ms_max", "databases[].name"
  Type type = Type::kText;
  std::string_view fallback{};  // the default as one would write it; empty: none
  bool required = false;        // of its section, where that is given
  uint64_t min = 0;             // in the type's unit: bytes, milliseconds, numbers
  uint64_t max = UINT64_MAX;
  bool power_of_two = false;
  bool has_lines = false;      // kText: may have several, and tabs; of any length that `max` allows
  std::string_view choices{};  // "debug|info|warn|error"
  std::string_view note{};     // printed for the default where `fallback` cannot say it
  std::string_view why{};
  // What else must hold of a text (each one, for kTexts): nothing, or what was expected instead.
  std::optional<std::string> (*check)(std::string_view value) = nullptr;
};

struct Address {
  std::string host;  // name or literal, without brackets
  uint16_t port = 0;
  bool operator==(const Address&) const = default;
};

// Values as they are written. Nothing: not one.
std::optional<uint64_t> parse_count(std::string_view text);
std::optional<uint64_t> parse_bytes(std::string_view text);
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text, bool bare_milliseconds = false);
std::optional<Address> parse_address(std::string_view text);
std::string format_address(const Address& address);  // "host:port", "[v6]:port"
std::string format_bytes(uint64_t bytes);
std::string format_duration(std::chrono::milliseconds duration);

// For Key::check.
std::optional<std::string> expect_absolute_path(std::string_view value);
std::optional<std::string> expect_name(std::string_view value);  // letters, digits, '-', '_', '.'

std::string host_name();                      // "localhost" where the host has none
log::Level log_level(std::string_view name);  // of kLogLevels
inline constexpr std::string_view kLogLevels = "debug|info|warn|error";

// What is wrong in a file: where, of which key ("rules[3].when"; empty: of the whole), and what was expected.
struct Problem {
  size_t line = 1;
  size_t column = 1;
  std::string key;
  std::string what;
};

// A file that has been checked against its table, or one section of it. Cheap to copy. `schema` must outlive it.
// A path that the table does not hold, or holds with another type, is a bug and aborts.
class Settings {
 public:
  static Result<Settings> parse(std::string_view text, const std::string& file, std::span<const Key> schema);
  // Tells all that is wrong, in the order of the file. Sections that are not sound() can then be asked for their
  // place only. Nothing: it is no YAML.
  static std::optional<Settings> check(std::string_view text, const std::string& file, std::span<const Key> schema,
                                       size_t nodes_max, std::vector<Problem>& problems);
  static Result<Settings> load(const std::string& path, std::span<const Key> schema);

  // Whether the file says it (rather than the table's default).
  [[nodiscard]] bool has(std::string_view path) const;
  [[nodiscard]] std::string text(std::string_view path) const;  // kText, kChoice, kAddress
  [[nodiscard]] std::vector<std::string> texts(std::string_view path) const;
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> labels(std::string_view path) const;
  [[nodiscard]] uint64_t count(std::string_view path) const;
  [[nodiscard]] uint64_t bytes(std::string_view path) const;
  [[nodiscard]] std::chrono::milliseconds duration(std::string_view path) const;
  [[nodiscard]] Address address(std::string_view path) const;
  [[nodiscard]] std::vector<Settings> sections(std::string_view path) const;  // paths in them are relative
  // Nothing is wrong in this section, nor in those below it.
  [[nodiscard]] bool sound() const { return !file_->unsound.contains(section_); }
  [[nodiscard]] const YamlNode& place() const { return *section_; }

  // The value as it is written and where; null where the file does not say it. Lives as long as the file's Settings.
  [[nodiscard]] const YamlNode* written(std::string_view path) const { return node(path); }
  // For what a table cannot say, such as how two keys relate.
  [[nodiscard]] Error error_at(std::string_view path, std::string_view expected) const;

 private:
  struct File {
    std::string name;
    YamlNode root;
    std::span<const Key> schema;
    std::set<const YamlNode*> unsound{};
  };
  Settings(std::shared_ptr<const File> file, const YamlNode* section, std::string prefix)
      : file_(std::move(file)), section_(section), prefix_(std::move(prefix)) {}
  [[nodiscard]] const Key& key(std::string_view path) const;
  [[nodiscard]] const YamlNode* node(std::string_view path) const;
  [[nodiscard]] std::string scalar(std::string_view path) const;

  std::shared_ptr<const File> file_;
  const YamlNode* section_;
  std::string prefix_;  // of section_ in the schema: "", "databases[]."
};

// The table as Markdown: one row per key with type and unit, default, range and reason.
std::string markdown(std::span<const Key> schema);
// What is wrong with a table: defaults out of their range, missing sections or reasons. Empty: nothing. For tests.
std::vector<std::string> problems(std::span<const Key> schema);

}  // namespace gatehouse::config
