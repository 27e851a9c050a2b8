// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/cel_explain.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "rules/engine/cel_checker.h"
#include "rules/engine/cel_code.h"
#include "rules/engine/cel_expand.h"
#include "rules/engine/cel_parser.h"

namespace gatehouse::rules::cel {
namespace {

constexpr std::string_view kCut = "…";
// Elements of a list, and fields of a record, that are shown.
constexpr size_t kElementsMax = 12;
constexpr size_t kShownDepthMax = 4;

class Shower {
 public:
  explicit Shower(size_t bytes_max) : bytes_max_(bytes_max) {}

  void add(const Value& value, size_t depth) {
    if (out_.size() > bytes_max_ || depth > kShownDepthMax) {
      out_ += kCut;
      return;
    }
    switch (value.kind()) {
      case Kind::kNull:
        out_ += "null";
        return;
      case Kind::kBool:
        out_ += value.as_bool() ? "true" : "false";
        return;
      case Kind::kInt:
        out_ += std::to_string(value.as_int());
        return;
      case Kind::kUint:
        out_ += std::to_string(value.as_uint()) + "u";
        return;
      case Kind::kDouble:
        return real(value.as_double());
      case Kind::kString:
        return text(value.as_text());
      case Kind::kBytes:
        out_ += "b";
        return text(value.as_text());
      case Kind::kTimestamp: {
        std::array<char, kInstantBytesMax> written{};
        out_ += "timestamp(\"" + std::string(written.data(), write_instant(written, value.as_timestamp())) + "\")";
        return;
      }
      case Kind::kDuration: {
        const int64_t ns = value.as_int();
        const uint64_t size = ns < 0 ? 0 - static_cast<uint64_t>(ns) : static_cast<uint64_t>(ns);
        out_ += std::string("duration(\"") + (ns < 0 ? "-" : "") + format_duration(size) + "\")";
        return;
      }
      case Kind::kList:
        return list(value, depth);
      case Kind::kMap:
        return map(value, depth);
      case Kind::kRecord:
        return record(value, depth);
      case Kind::kType:
        out_ += kind_name(value.type_kind());
        return;
      case Kind::kError:
        out_ += "error: " + std::string(message_of(value.error_code()));
        return;
    }
  }
  std::string take() { return std::move(out_); }

 private:
  void real(double number) {
    std::array<char, 32> written{};
    const auto [end, error] = std::to_chars(written.data(), written.data() + written.size(), number);
    out_.append(written.data(), error == std::errc{} ? end : written.data());
  }
  void text(std::string_view value) {
    const size_t room = std::max<size_t>(bytes_max_ - std::min(bytes_max_, out_.size()), 8);
    const bool cut = value.size() > room;
    if (cut) value = value.substr(0, room);
    while (cut && !value.empty() && (static_cast<unsigned char>(value.back()) & 0xC0) == 0x80) value.remove_suffix(1);
    if (cut && !value.empty() && static_cast<unsigned char>(value.back()) >= 0xC0) value.remove_suffix(1);
    out_ += '"';
    for (const char c : value) {
      if (c == '"' || c == '\\') out_ += '\\';
      if (c == '\n') {
        out_ += "\\n";
      } else {
        out_ += c;
      }
    }
    if (cut) out_ += kCut;
    out_ += '"';
  }
  void list(const Value& value, size_t depth) {
    out_ += '[';
    for (size_t i = 0; i < value.count(); ++i) {
      if (i > 0) out_ += ", ";
      if (i == kElementsMax) {
        out_ += kCut;
        break;
      }
      add(value.element(i), depth + 1);
    }
    out_ += ']';
  }
  void map(const Value& value, size_t depth) {
    out_ += '{';
    for (size_t i = 0; i < value.count(); ++i) {
      if (i > 0) out_ += ", ";
      if (i == kElementsMax) {
        out_ += kCut;
        break;
      }
      const Entry entry = value.entry(i);
      add(entry.key, depth + 1);
      out_ += ": ";
      add(entry.value, depth + 1);
    }
    out_ += '}';
  }
  void record(const Value& value, size_t depth) {
    out_ += std::string(value.record_type()->name) + "{";
    size_t count = 0;
    for (const Field& field : value.record_type()->fields) {
      const Value of = field.get(value.pointer());
      if (!is_set(of)) continue;
      if (count > 0) out_ += ", ";
      if (count++ == kElementsMax) {
        out_ += kCut;
        break;
      }
      out_ += std::string(field.name) + ": ";
      add(of, depth + 1);
    }
    out_ += '}';
  }

  size_t bytes_max_;
  std::string out_{};
};

class Explainer {
 public:
  Explainer(Ast& ast, std::string_view text, const Schema& schema, std::span<const NamedText> definitions,
            std::span<const Value> variables)
      : ast_(ast), text_(text), schema_(schema), definitions_(definitions), variables_(variables) {}

  std::vector<Part> run() {
    visit(ast_.root, 0, false);
    return std::move(parts_);
  }

 private:
  [[nodiscard]] bool is_constant(const Node& here) const {
    if (here.kind == NodeKind::kConstant || here.meaning == Meaning::kConstant) return true;
    const bool literal = here.kind == NodeKind::kList || here.kind == NodeKind::kMap;
    return literal && std::ranges::all_of(here.args, [&](NodeId arg) { return is_constant(ast_.nodes[arg]); });
  }
  // Names and fields have no parts that say more.
  static bool is_leaf(const Node& here) { return here.meaning != Meaning::kNone; }

  void visit(NodeId id, size_t depth, bool is_each) {
    const Node here = ast_.nodes[id];
    if (depth > 0 && is_constant(here)) return;
    add(id, here, depth, is_each);
    if (is_leaf(here) || is_each) return;
    if (here.kind == NodeKind::kLoop) {
      visit(here.args[0], depth + 1, false);
      each(id, depth + 1);
      return;
    }
    for (const NodeId arg : here.args) visit(arg, depth + 1, false);
  }

  // What a loop asks, of every element: the loop, made to list it.
  void each(NodeId loop, size_t depth) {
    const Node asked = ast_.nodes[ast_.nodes[loop].args[1]];
    Node listing = ast_.nodes[loop];
    listing.macro = Macro::kTransformList;
    listing.args.resize(2);
    if (listing.second.empty()) listing.macro = Macro::kMap;
    const auto id = static_cast<NodeId>(ast_.nodes.size());
    ast_.nodes.push_back(std::move(listing));
    add(id, asked, depth, true);
    ast_.nodes.pop_back();
  }

  // `evaluated`: the node whose value is shown for `shown_node`.
  void add(NodeId evaluated, const Node& shown_node, size_t depth, bool is_each) {
    const auto program = compile_node(ast_, evaluated, schema_);
    if (!program) return;
    const Value value = evaluate(*program, variables_, scratch_);
    Part part{.depth = depth, .text = {}, .value = shown(value), .is_error = value.is_error(), .is_each = is_each};
    std::string_view source = text_;
    if (shown_node.definition != 0) {
      source = definitions_[shown_node.definition - 1].text;
      part.definition = definitions_[shown_node.definition - 1].definition.name;
    }
    part.text = source.substr(std::min<size_t>(shown_node.begin, source.size()), shown_node.end - shown_node.begin);
    if (value.is_true() || value.is_false()) part.holds = value.is_true();
    parts_.push_back(std::move(part));
  }

  Ast& ast_;
  std::string_view text_;
  const Schema& schema_;
  std::span<const NamedText> definitions_;
  std::span<const Value> variables_;
  Scratch scratch_{};
  std::vector<Part> parts_{};
};

}  // namespace

std::string shown(const Value& value, size_t bytes_max) {
  Shower shower(bytes_max);
  shower.add(value, 0);
  return shower.take();
}

std::vector<Part> explain(std::string_view text, const Schema& schema, std::span<const NamedText> definitions,
                          std::span<const Value> variables) {
  std::vector<Definition> trees;
  for (const NamedText& named : definitions) trees.push_back(named.definition);
  auto ast = parse(text);
  if (!ast || expand(*ast, trees)) return {};
  TypeTable types;
  if (check(*ast, schema, types)) return {};
  return Explainer(*ast, text, schema, definitions, variables).run();
}

}  // namespace gatehouse::rules::cel
