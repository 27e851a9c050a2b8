// SPDX-License-Identifier: Apache-2.0
#include "common/yaml.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <sstream>

#include "common/limits.h"
#include "common/utf8.h"

namespace gatehouse {
namespace {

// Leaves the library's parser from inside a callback; caught in parse_yaml.
struct Refusal {
  YAML::Mark mark;
  std::string what;
};

// Appended as a comment: the library drops a quoted text that is never closed where the file ends with a line's end.
constexpr std::string_view kEndMarker = "\n#";

// The number of the last line, whether it ends or not.
size_t last_line(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  return 1 + static_cast<size_t>(std::ranges::count(text, '\n'));
}

size_t from_one(int zero_based) {
  return zero_based < 0 ? 1 : static_cast<size_t>(zero_based) + 1;
}

// Builds the tree from the parser's events. `open_` is the path from the root to the collection being filled; a map
// takes keys and values in turn.
class TreeBuilder final : public YAML::EventHandler {
 public:
  TreeBuilder(std::string_view text, size_t nodes_max)
      : text_(text), last_line_(last_line(text)), nodes_max_(nodes_max) {}
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(mark, "", anchor, YamlNode::Kind::kNull, says_null(mark) ? "null" : "");
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw Refusal{mark, "aliases are not supported; write the value out"};
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    // "?" marks a plain scalar, "!" a quoted one.
    const bool plain = tag == "?";
    const bool null = plain && (value == "~" || value == "null");
    add(mark, plain || tag == "!" ? "" : tag, anchor, null ? YamlNode::Kind::kNull : YamlNode::Kind::kScalar,
        null ? "" : value);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::kList);
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, YamlNode::Kind::kMap);
  }
  void OnMapEnd() override { open_.pop_back(); }

  YamlNode take() { return std::move(root_); }

 private:
  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YamlNode::Kind kind) {
    if (open_.size() >= kYamlDepthMax) throw Refusal{mark, "nested too deeply"};
    // Flow collections come with the tag "?" as plain scalars do, block ones with none.
    YamlNode* node = add(mark, tag == "?" || tag == "!" ? "" : tag, anchor, kind, "");
    open_.push_back({node, false});
  }

  YamlNode* add(const YAML::Mark& mark, std::string_view tag, YAML::anchor_t anchor, YamlNode::Kind kind,
                std::string_view text) {
    if (anchor != 0) throw Refusal{mark, "anchors are not supported; write the value out"};
    if (!tag.empty()) throw Refusal{mark, "tags are not supported: " + printable(tag)};
    if (++nodes_ > nodes_max_) throw Refusal{mark, "too many values"};
    YamlNode* node = &root_;
    if (!open_.empty()) {
      Open& parent = open_.back();
      if (parent.node->kind == YamlNode::Kind::kMap && !parent.has_key) {
        add_key(parent, mark, kind, text);
        return nullptr;
      }
      if (parent.node->kind == YamlNode::Kind::kList) parent.node->children.emplace_back();
      parent.has_key = false;
      node = &parent.node->children.back();
    }
    node->kind = kind;
    node->text = text;
    node->line = from_one(mark.line);
    node->column = from_one(mark.column);
    if (kind == YamlNode::Kind::kNull) {  // an absent value has the position of whatever follows it
      if (node->key_line != 0) {
        node->line = node->key_line;
        node->column = node->key_column;
      } else if (node->line > last_line_) {  // the appended end
        node->line = last_line_;
        node->column = 1;
      }
    }
    return node;
  }

  struct Open {
    YamlNode* node;
    bool has_key;
  };

  static void add_key(Open& parent, const YAML::Mark& mark, YamlNode::Kind kind, std::string_view text) {
    if (kind != YamlNode::Kind::kScalar) throw Refusal{mark, "a key must be a name"};
    if (text == "<<") throw Refusal{mark, "merge keys are not supported; write the values out"};
    if (const YamlNode* first = parent.node->find(text); first != nullptr)
      throw Refusal{mark, printable(text) + ": given twice, first on line " + std::to_string(first->key_line)};
    YamlNode& child = parent.node->children.emplace_back();
    child.key = text;
    child.key_line = child.line = from_one(mark.line);
    child.key_column = child.column = from_one(mark.column);
    parent.has_key = true;
  }

  // Whether the word stands there, rather than nothing, which has the place of what follows it.
  [[nodiscard]] bool says_null(const YAML::Mark& mark) const {
    constexpr std::string_view kWord = "null";
    const auto at = static_cast<size_t>(std::max(mark.pos, 0));
    if (at >= text_.size() || !text_.substr(at).starts_with(kWord)) return false;
    const std::string_view rest = text_.substr(at + kWord.size());
    return rest.empty() || std::string_view(" \t\r\n,]}").find(rest.front()) != std::string_view::npos;
  }

  const std::string_view text_;
  const size_t last_line_;
  const size_t nodes_max_;
  YamlNode root_;
  std::vector<Open> open_;
  size_t nodes_ = 0;
};

tl::unexpected<YamlProblem> refused(std::string_view text, const YAML::Mark& mark, std::string what) {
  size_t line = from_one(mark.line), column = from_one(mark.column);
  if (const size_t last = last_line(text); line > last) {  // at the appended end
    if (text.ends_with('\n')) text.remove_suffix(1);
    line = last;
    column = text.size() - (text.rfind('\n') + 1) + 1;
  }
  return tl::unexpected(YamlProblem{line, column, std::move(what)});
}

// The library stops in silence at a byte of its own choice (0x04) and guesses encodings from zeros, so bytes that no
// text holds are refused first.
std::optional<YamlProblem> refuse_odd_bytes(std::string_view text) {
  const auto is_odd = [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte < 0x20 && c != '\n' && c != '\t' && c != '\r') || byte == 0x7f;
  };
  const auto odd = static_cast<size_t>(std::ranges::find_if(text, is_odd) - text.begin());
  const size_t at = std::min(odd, valid_utf8_prefix(text));
  if (at == text.size()) return std::nullopt;
  const std::string_view before = text.substr(0, at);
  const auto line = 1 + static_cast<size_t>(std::ranges::count(before, '\n'));
  const size_t column = at - (before.rfind('\n') + 1) + 1;
  return YamlProblem{line, column,
                     "not UTF-8 text: it holds the byte " + std::to_string(static_cast<unsigned char>(text[at]))};
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view child_key) const {
  if (kind != Kind::kMap) return nullptr;
  for (const YamlNode& child : children)
    if (child.key == child_key) return &child;
  return nullptr;
}

std::string yaml_position(std::string_view file, size_t line, size_t column) {
  return std::string(file) + ":" + std::to_string(line) + ":" + std::to_string(column) + ": ";
}

std::string printable(std::string_view text) {
  constexpr size_t kShownBytesMax = 80;
  std::string shown;
  for (const char c : text.substr(0, kShownBytesMax)) {
    const auto byte = static_cast<unsigned char>(c);
    shown += byte < 0x20 || byte >= 0x7f ? '?' : c;
  }
  if (text.size() > kShownBytesMax) shown += "...";
  return shown;
}

tl::expected<YamlNode, YamlProblem> parse_yaml(std::string_view text, size_t nodes_max) {
  if (std::optional<YamlProblem> problem = refuse_odd_bytes(text)) return tl::unexpected(*std::move(problem));
  try {
    std::istringstream in{std::string(text) + std::string(kEndMarker)};
    YAML::Parser parser(in);
    TreeBuilder builder(text, nodes_max);
    if (!parser.HandleNextDocument(builder)) return YamlNode{};
    TreeBuilder second(text, nodes_max);
    if (parser.HandleNextDocument(second))
      return tl::unexpected(YamlProblem{second.take().line, 1, "a second document; one is expected"});
    return builder.take();
  } catch (const Refusal& refusal) {
    return refused(text, refusal.mark, refusal.what);
  } catch (const YAML::Exception& exception) {
    return refused(text, exception.mark, "not YAML: " + printable(exception.msg));
  } catch (const std::exception& exception) {
    return tl::unexpected(YamlProblem{1, 1, "not YAML: " + printable(exception.what())});
  }
}

Result<YamlNode> parse_yaml(std::string_view text, std::string_view file, size_t nodes_max) {
  auto tree = parse_yaml(text, nodes_max);
  if (tree) return std::move(*tree);
  const YamlProblem& problem = tree.error();
  return Error::configuration(yaml_position(file, problem.line, problem.column) + problem.what);
}

}  // namespace gatehouse
