// SPDX-License-Identifier: Apache-2.0
#include "cli/json.h"

#include <algorithm>
#include <map>
#include <vector>

#include "cli/json_object.h"
#include "cli/known.h"
#include "cli/safe_text.h"
#include "gatehouse/v1/query.pb.h"
#include "rules/engine/time_text.h"

namespace gatehouse::cli {
namespace {

using rules::FieldSpec;
using rules::FieldType;

using Object = JsonObject;

// Fields of one object of the output: "actor.exe" and "actor.pid" of "actor"; of "" those without a dot.
struct Group {
  std::string_view name;
  std::vector<const FieldSpec*> fields;
};

std::string_view folder_of(const FieldSpec& field) {
  const size_t dot = field.name.find('.');
  return dot == std::string_view::npos ? std::string_view() : field.name.substr(0, dot);
}
std::string_view leaf_of(const FieldSpec& field) {
  return field.name.substr(field.name.find('.') + 1);
}

// In order of first appearance; proto/fields.def does not keep a folder's fields together.
const std::vector<Group>& groups() {
  static const std::vector<Group> all = [] {
    std::vector<Group> out;
    for (const FieldSpec& field : rules::fields()) {
      const std::string_view folder = folder_of(field);
      auto group = std::ranges::find(out, folder, &Group::name);
      if (group == out.end()) group = out.insert(out.end(), Group{folder, {}});
      group->fields.push_back(&field);
    }
    return out;
  }();
  return all;
}

void append_field(Object& object, const FieldSpec& field, const v1::Row& row) {
  const std::string_view name = leaf_of(field);
  const rules::RowValue value = rules::row_value(field, row);
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    object.text(name, *text);
  } else if (const auto* flag = std::get_if<bool>(&value)) {
    object.flag(name, *flag);
  } else if (const auto* number = std::get_if<uint64_t>(&value)) {
    field.type == FieldType::kTime ? object.time(name, *number) : object.number(name, *number);
  } else if (const auto* const* list = std::get_if<const rules::TextList*>(&value)) {
    std::string& out = object.key(name) += '[';
    for (int i = 0; i < (*list)->size(); ++i) {
      if (i > 0) out += ',';
      append_json_string(out, (*list)->Get(i));
    }
    out += ']';
  }
}

}  // namespace

std::string to_json(const v1::Row& row) {
  std::string out;
  Object top(out);
  for (const Group& group : groups()) {
    std::string inner;
    Object nested(inner);
    Object& target = group.name.empty() ? top : nested;
    bool any = false;
    for (const FieldSpec* field : group.fields) {
      if (!is_known(*field, row)) continue;
      any = true;
      append_field(target, *field, row);
    }
    if (group.name.empty() || !any) continue;
    nested.close();
    top.key(group.name) += inner;
  }
  top.close();
  return out += '\n';
}

namespace {

void append_end(Object& object, std::string_view name, const v1::SocketEnd& end) {
  Object inner(object.key(name));
  inner.text("address", end.address());
  if (end.pid() != 0) inner.number("pid", end.pid());
  inner.text("exe", end.exe());
  if (end.inode() != 0) inner.number("inode", end.inode());
  inner.close();
}

// As `gatehouse-agent doctor --json` has them.
void append_socket(std::string& out, const v1::HostSocket& socket) {
  Object object(out);
  object.text("verdict", socket.verdict());
  object.text("reason", socket.reason());
  if (socket.listening()) object.flag("listening", true);
  object.text("transport", socket.transport());
  append_end(object, "server", socket.server());
  if (socket.has_client()) append_end(object, "client", socket.client());
  object.text("session", socket.session());
  object.text("user", socket.user());
  object.text("database", socket.database());
  object.text("label", socket.label());
  if (socket.network_namespace() != 0) object.number("network_namespace", socket.network_namespace());
  object.close();
}

void append_sockets(Object& top, const v1::HostSockets& sockets) {
  top.time("sockets_time", sockets.time_ns());
  top.number("sockets_left_out", sockets.left_out());
  std::string& out = top.key("sockets") += '[';
  for (int i = 0; i < sockets.sockets_size(); ++i) {
    if (i > 0) out += ',';
    append_socket(out, sockets.sockets(i));
  }
  out += ']';
}

}  // namespace

std::string to_json(const v1::Agent& agent) {
  std::string out;
  Object top(out);
  top.text("id", agent.agent_id());
  top.text("host", agent.host());
  top.text("version", agent.version());
  top.text("boot", agent.boot_id());
  top.flag("connected", agent.connected());
  top.time("first_seen", agent.first_seen_ns());
  top.time("last_seen", agent.last_seen_ns());
  top.number("events", agent.events());
  top.number("missing", agent.missing());
  top.text("plane", agent.plane());
  if (!agent.policy().empty()) top.text("policy", agent.policy());
  if (!agent.counters().empty()) {
    // The map of the message has no order; scripts and people want one.
    const std::map<std::string, uint64_t> sorted(agent.counters().begin(), agent.counters().end());
    Object counters(top.key("counters"));
    for (const auto& [name, value] : sorted) counters.number(name, value);
    counters.close();
  }
  if (agent.has_sockets()) append_sockets(top, agent.sockets());
  top.close();
  return out += '\n';
}

std::string to_json(const v1::TopGroup& group, const FieldSpec& by) {
  std::string out;
  Object top(out);
  top.text("by", by.name);
  append_json_string(top.key("value"), group.value());
  top.number("events", group.events());
  top.number("errors", group.errors());
  top.number("rows", group.rows());
  top.number("duration", group.duration_ns());
  top.time("last", group.last_time_ns());
  top.close();
  return out += '\n';
}

std::string to_json(const v1::CreateTokenResponse& token) {
  std::string out;
  Object top(out);
  top.text("token", token.token());
  top.time("expires", token.expires_ns());
  top.close();
  return out += '\n';
}

std::string to_json(const FieldSpec& field) {
  std::string out;
  Object top(out);
  top.text("name", field.name);
  top.text("type", rules::type_name(field));
  top.text("help", field.help);
  top.close();
  return out += '\n';
}

std::string partial_json(std::string line, uint32_t percent) {
  const size_t end = line.rfind('}');
  if (end != std::string::npos) line.insert(end, ",\"partial\":" + std::to_string(percent));
  return line;
}

}  // namespace gatehouse::cli
