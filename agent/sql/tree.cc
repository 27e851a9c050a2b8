// SPDX-License-Identifier: Apache-2.0
#include "agent/sql/tree.h"

#include <array>
#include <charconv>

namespace gatehouse::sql {
namespace {

constexpr std::string_view kNames[] = {
#define GH_TREE_KEY(name) #name,
#include "agent/sql/tree_keys.def"
#undef GH_TREE_KEY
};
constexpr uint32_t kFirstKey = 2;  // after kNone and kOther

constexpr uint32_t hash(std::string_view name) {
  uint32_t value = static_cast<uint32_t>(name.size()) * 0x9e3779b1U;
  for (const char c : name) value = (value ^ static_cast<unsigned char>(c)) * 0x01000193U;
  return value ^ (value >> 15);
}

constexpr size_t kSlots = 1024;
static_assert(std::size(kNames) * 2 < kSlots, "look-ups stay short");

consteval std::array<uint16_t, kSlots> make_slots() {
  std::array<uint16_t, kSlots> slots{};
  for (size_t i = 0; i < std::size(kNames); ++i) {
    size_t at = hash(kNames[i]) % kSlots;
    while (slots[at] != 0) at = (at + 1) % kSlots;
    slots[at] = static_cast<uint16_t>(i + kFirstKey);
  }
  return slots;
}
constexpr auto kSlotsByHash = make_slots();

Key key_of(std::string_view name) {
  for (size_t at = hash(name) % kSlots; kSlotsByHash[at] != 0; at = (at + 1) % kSlots)
    if (kNames[kSlotsByHash[at] - kFirstKey] == name) return static_cast<Key>(kSlotsByHash[at]);
  return Key::kOther;
}

// The library's own output, so anything unexpected is malformed and ends the reading.
class Cursor {
 public:
  explicit Cursor(std::string_view json) : at_(json.data()), end_(json.data() + json.size()) {}
  [[nodiscard]] char peek(size_t ahead = 0) const { return at_ + ahead < end_ ? at_[ahead] : '\0'; }
  bool take(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  // From the opening quote.
  bool take_string(std::string_view& out, bool& has_escapes) {
    if (!take('"')) return false;
    const char* start = at_;
    has_escapes = false;
    while (at_ < end_ && *at_ != '"') {
      if (*at_ == '\\') {
        has_escapes = true;
        ++at_;
      }
      ++at_;
    }
    if (at_ >= end_) return false;
    out = {start, static_cast<size_t>(at_ - start)};
    ++at_;
    return true;
  }
  std::string_view take_scalar() {
    const char* start = at_;
    while (at_ < end_ && *at_ != ',' && *at_ != '}' && *at_ != ']') ++at_;
    return {start, static_cast<size_t>(at_ - start)};
  }
  [[nodiscard]] bool at_end() const { return at_ == end_; }

 private:
  const char* at_;
  const char* end_;
};

constexpr bool is_type_name(char c) {
  return c >= 'A' && c <= 'Z';
}

std::string without_escapes(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    switch (c) {
      case 'b':
        out += '\b';
        break;
      case 'f':
        out += '\f';
        break;
      case 'n':
        out += '\n';
        break;
      case 'r':
        out += '\r';
        break;
      case 't':
        out += '\t';
        break;
      case 'u': {  // the library writes control characters so, and nothing else
        unsigned code = 0;
        const std::string_view digits = text.substr(i + 1, 4);
        std::from_chars(digits.data(), digits.data() + digits.size(), code, 16);
        out += static_cast<char>(code);
        i += digits.size();
        break;
      }
      default:
        out += c;
    }
  }
  return out;
}

// Reads a value up to what it holds.
bool read_value(Cursor& cursor, TreeNode& node, bool& is_wrapped) {
  if (cursor.take('{')) {
    bool ignored = false;
    is_wrapped = cursor.peek() == '"' && is_type_name(cursor.peek(1));
    if (!is_wrapped) return true;
    if (!cursor.take_string(node.type_name, ignored) || !cursor.take(':') || !cursor.take('{')) return false;
    node.type = key_of(node.type_name);
    return true;
  }
  if (cursor.take('[')) {
    node.kind = TreeNode::Kind::kList;
    return true;
  }
  if (cursor.peek() == '"') {
    node.kind = TreeNode::Kind::kString;
    return cursor.take_string(node.text, node.has_escapes);
  }
  node.text = cursor.take_scalar();
  node.kind = node.text == "true" ? TreeNode::Kind::kTrue : TreeNode::Kind::kNumber;
  return !node.text.empty();
}

constexpr bool holds_others(TreeNode::Kind kind) {
  return kind == TreeNode::Kind::kObject || kind == TreeNode::Kind::kList;
}

}  // namespace

void Tree::add(const TreeNode& node, bool is_wrapped) {
  const auto index = static_cast<uint32_t>(nodes_.size());
  nodes_.push_back(node);
  if (!open_.empty()) {
    Open& parent = open_.back();
    (parent.last_child == 0 ? nodes_[parent.node].first : nodes_[parent.last_child].next) = index;
    parent.last_child = index;
  }
  if (holds_others(node.kind)) open_.push_back({.node = index, .is_wrapped = is_wrapped});
}

Tree::Outcome Tree::read(std::string_view json, size_t depth_max) {
  nodes_.assign(1, {});
  open_.clear();
  Cursor cursor(json);
  bool is_first = true;  // in what was opened last
  do {
    TreeNode node;
    if (!open_.empty()) {
      const bool is_in_list = nodes_[open_.back().node].kind == TreeNode::Kind::kList;
      if (cursor.take(is_in_list ? ']' : '}')) {
        if (open_.back().is_wrapped && !cursor.take('}')) return Outcome::kMalformed;
        open_.pop_back();
        is_first = false;
        continue;
      }
      if (!is_first && !cursor.take(',')) return Outcome::kMalformed;
      std::string_view field;
      bool ignored = false;
      if (!is_in_list) {
        if (!cursor.take_string(field, ignored) || !cursor.take(':')) return Outcome::kMalformed;
        node.key = key_of(field);
      }
    }
    bool is_wrapped = false;
    if (!read_value(cursor, node, is_wrapped)) return Outcome::kMalformed;
    is_first = holds_others(node.kind);
    if (is_first && open_.size() == depth_max) return Outcome::kTooDeep;
    if (node.text == "false" && node.kind == TreeNode::Kind::kNumber) continue;  // mostly it is left out
    add(node, is_wrapped);
  } while (!open_.empty());
  return cursor.at_end() && nodes_.size() > 1 && holds_others(nodes_[1].kind) ? Outcome::kOk : Outcome::kMalformed;
}

const TreeNode* Tree::child(const TreeNode& node, Key key) const {
  for (const TreeNode& found : children(node))
    if (found.key == key) return &found;
  return nullptr;
}

std::string_view Tree::raw_text(const TreeNode& node, Key key) const {
  const TreeNode* found = child(node, key);
  return found == nullptr ? std::string_view{} : found->text;
}

std::string Tree::text(const TreeNode& string) {
  return string.has_escapes ? without_escapes(string.text) : std::string(string.text);
}

std::string Tree::text(const TreeNode& node, Key key) const {
  const TreeNode* found = child(node, key);
  return found == nullptr ? std::string{} : text(*found);
}

int64_t Tree::number(const TreeNode& node, Key key) const {
  const std::string_view text = raw_text(node, key);
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace gatehouse::sql
