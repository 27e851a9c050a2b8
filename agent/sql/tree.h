// SPDX-License-Identifier: Apache-2.0
// Tree: the parse tree that libpg_query writes as JSON, as an array of nodes. JSON, because it is the library's public
// and cheapest form (its protobuf takes five times as long), and because a tree of one kind of node is walked whole: a
// kind of statement that nobody thought of is still searched for what it reads and calls.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace gatehouse::sql {

// E_name is the field or node type `name`. kNone: an item of a list, or an object that does not tell its type.
enum class Key : uint16_t {
  kNone,
  kOther,  // not in tree_keys.def
#define GH_TREE_KEY(name) k_##name,
#include "agent/sql/tree_keys.def"
#undef GH_TREE_KEY
};

struct TreeNode {
  enum class Kind : uint8_t { kObject, kList, kString, kNumber, kTrue };
  Key key = Key::kNone;   // the field that it is the value of
  Key type = Key::kNone;  // {"Type":{…}} is one node
  Kind kind = Kind::kObject;
  bool has_escapes = false;
  uint32_t first = 0;            // child; 0: none
  uint32_t next = 0;             // sibling
  std::string_view text{};       // of strings and numbers as written; borrows the JSON
  std::string_view type_name{};  // of typed objects; borrows
};

class Tree {
 public:
  enum class Outcome : uint8_t { kOk, kTooDeep, kMalformed };
  // The JSON must outlive the tree's use. Memory is kept for the next read.
  Outcome read(std::string_view json, size_t depth_max);

  [[nodiscard]] const TreeNode& root() const { return nodes_[1]; }

  class Children {
   public:
    class Iterator {
     public:
      using value_type = TreeNode;
      using difference_type = std::ptrdiff_t;
      Iterator() = default;
      Iterator(const TreeNode* nodes, uint32_t at) : nodes_(nodes), at_(at) {}
      const TreeNode& operator*() const { return nodes_[at_]; }
      Iterator& operator++() {
        at_ = nodes_[at_].next;
        return *this;
      }
      Iterator operator++(int) {
        const Iterator before = *this;
        ++*this;
        return before;
      }
      bool operator==(const Iterator& other) const { return at_ == other.at_; }

     private:
      const TreeNode* nodes_ = nullptr;
      uint32_t at_ = 0;
    };
    Children(const TreeNode* nodes, uint32_t first) : nodes_(nodes), first_(first) {}
    [[nodiscard]] Iterator begin() const { return {nodes_, first_}; }
    [[nodiscard]] Iterator end() const { return {nodes_, 0}; }
    [[nodiscard]] bool empty() const { return first_ == 0; }

   private:
    const TreeNode* nodes_;
    uint32_t first_;
  };
  [[nodiscard]] Children children(const TreeNode& node) const { return {nodes_.data(), node.first}; }
  // Empty if there is no such child.
  [[nodiscard]] Children items(const TreeNode& node, Key list) const {
    const TreeNode* found = child(node, list);
    return {nodes_.data(), found == nullptr ? 0 : found->first};
  }
  [[nodiscard]] const TreeNode* child(const TreeNode& node, Key key) const;
  [[nodiscard]] bool has(const TreeNode& node, Key key) const { return child(node, key) != nullptr; }
  // The string below `key`, without escapes; empty if there is none. libpg_query leaves out what is empty, 0 or false.
  [[nodiscard]] std::string text(const TreeNode& node, Key key) const;
  [[nodiscard]] static std::string text(const TreeNode& string);
  // As the library wrote it: for numbers and its own constants.
  [[nodiscard]] std::string_view raw_text(const TreeNode& node, Key key) const;
  [[nodiscard]] int64_t number(const TreeNode& node, Key key) const;
  // Of a String node (identifiers in lists).
  [[nodiscard]] std::string name(const TreeNode& string_node) const { return text(string_node, Key::k_sval); }
  [[nodiscard]] size_t size() const { return nodes_.size() - 1; }

 private:
  struct Open {
    uint32_t node = 0;
    uint32_t last_child = 0;  // 0: none
    bool is_wrapped = false;
  };
  void add(const TreeNode& node, bool is_wrapped);

  std::vector<TreeNode> nodes_;  // [0] is nobody
  std::vector<Open> open_;
};

}  // namespace gatehouse::sql
