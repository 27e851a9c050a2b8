// SPDX-License-Identifier: Apache-2.0
// Lists and macros of a policy, and the compilation of conditions that use them.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rules/engine/source.h"

namespace gatehouse::rules {

// What the programs of a policy borrow from. Nothing in it moves once it is made.
struct PolicyNames {
  struct List {
    std::string name;  // "lists.dba"
    std::vector<std::string> texts{};
    std::vector<cel::Value> values{};
    cel::Value value{};
  };
  struct Macro {
    std::string name;  // "macros.production"
    std::string text;
    std::optional<cel::Ast> tree{};  // expanded; none: it is not sound
  };
  std::deque<List> lists{};
  std::deque<Macro> macros{};
  std::vector<cel::Variable> constants{};      // of the lists
  std::vector<cel::Definition> definitions{};  // of the macros that are sound
  std::vector<cel::Schema> schemas{};          // by kind: the host's, with the lists
  std::deque<std::string> texts{};             // of rules, for their messages
};

class Conditions {
 public:
  Conditions(std::span<const EventKind> kinds, std::vector<Problem>& errors) : kinds_(kinds), errors_(errors) {}

  // All lists, then all macros, then conditions.
  void add_lists(std::span<const Source> sources, std::span<const PolicyFile> files);
  void add_macros(std::span<const Source> sources);
  // Nothing: what is wrong was told.
  std::optional<cel::Program> compile(const Section& section, std::string_view key, const YamlNode& value, size_t kind,
                                      const cel::Type& wanted);

  [[nodiscard]] PolicyNames& names() { return *names_; }
  [[nodiscard]] const cel::Schema& schema(size_t kind) const { return names_->schemas[kind]; }
  std::unique_ptr<PolicyNames> take() { return std::move(names_); }

 private:
  void add_list(const Section& section, std::span<const PolicyFile> files);
  void read_texts(const Section& section, std::span<const PolicyFile> files, PolicyNames::List& list);
  const cel::Type* read_numbers(const Section& section, PolicyNames::List& list);
  struct Macro {
    PolicyNames::Macro& kept;
    Section section;
    std::map<size_t, bool> kinds{};  // of events, for which it was checked
    bool is_done = false;
  };
  void parse_macro(Macro& macro);
  void expand_macro(Macro& macro, std::vector<Macro*>& path);
  Macro* find_macro(std::string_view name);
  bool is_usable(Macro& macro, size_t kind);
  // Whether all macros that `tree` names are sound, and fit events of this kind, if it is given.
  bool are_usable(const cel::Ast& tree, const Section& section, std::string_view key, const YamlNode& value,
                  std::optional<size_t> kind);

  std::span<const EventKind> kinds_;
  std::vector<Problem>& errors_;
  std::map<std::string, std::string, std::less<>> places_{};  // of lists and macros, by name
  std::deque<Macro> macros_{};
  std::unique_ptr<PolicyNames> names_ = std::make_unique<PolicyNames>();
};

}  // namespace gatehouse::rules
