// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/cel_conformance_json.h"

#include <cmath>
#include <stdexcept>

namespace gatehouse::rules::cel {
namespace {

std::string from_base64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    bits = bits << 6 | static_cast<uint32_t>(kDigits.find(c));
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out += static_cast<char>(static_cast<unsigned char>(bits >> count & 0xFF));
  }
  return out;
}

const Type* primitive(const std::string& name) {
  if (name == "BOOL") return &kBool;
  if (name == "INT64") return &kInt;
  if (name == "UINT64") return &kUint;
  if (name == "DOUBLE") return &kDouble;
  if (name == "STRING") return &kString;
  return name == "BYTES" ? &kBytes : nullptr;
}

Value type_value(const std::string& name) {
  for (uint8_t kind = 0; kind <= static_cast<uint8_t>(Kind::kType); ++kind) {
    if (kind_name(static_cast<Kind>(kind)) == name) return Value::type(static_cast<Kind>(kind));
  }
  throw std::runtime_error("a type that Gatehouse does not have: " + name);
}

Value object(const Json& json) {
  const std::string type = json.at("@type");
  const std::string name = type.substr(type.rfind('/') + 1);
  const std::string text = json.value("value", "");
  if (name == kind_name(Kind::kDuration)) return Value::duration(parse_signed_duration(text).value());
  if (name == kind_name(Kind::kTimestamp)) return Value::timestamp(parse_instant(text).value());
  throw std::runtime_error("a message: " + name);
}

double real_of(const Json& json) {
  if (json.is_number()) return json;
  if (json == "NaN") return std::nan("");
  return json == "-Infinity" ? -INFINITY : INFINITY;
}

const Value* find(const Value& map, const Value& key) {
  thread_local Value found;
  for (size_t i = 0; i < map.count(); ++i) {
    if (!is_same(map.entry(i).key, key)) continue;
    found = map.entry(i).value;
    return &found;
  }
  return nullptr;
}

}  // namespace

const Type* type_of_json(const Json& json, TestStore& store) {
  const auto add = [&](Type type) { return &store.types.emplace_back(type); };
  if (json.contains("dyn")) return &kDyn;
  if (json.contains("null")) return &kNull;
  if (json.contains("primitive")) return primitive(json["primitive"]);
  if (json.contains("messageType")) {
    const std::string name = json["messageType"];
    if (name == kind_name(Kind::kDuration)) return &kDuration;
    return name == kind_name(Kind::kTimestamp) ? &kTimestamp : nullptr;
  }
  if (json.contains("listType")) {
    const Type* element = type_of_json(json["listType"].value("elemType", Json{{"dyn", Json{}}}), store);
    return element == nullptr ? nullptr : add({TypeKind::kList, element});
  }
  if (json.contains("mapType")) {
    const Type* key = type_of_json(json["mapType"].at("keyType"), store);
    const Type* value = type_of_json(json["mapType"].at("valueType"), store);
    return key == nullptr || value == nullptr ? nullptr : add({TypeKind::kMap, key, value});
  }
  return nullptr;
}

Value value_of_json(const Json& json, TestStore& store) {
  const std::string kind = json.begin().key();
  const Json& content = json.begin().value();
  if (kind == "nullValue") return {};
  if (kind == "boolValue") return Value::boolean(content);
  if (kind == "int64Value") return Value::integer(std::stoll(content.get<std::string>()));
  if (kind == "uint64Value") return Value::uint(std::stoull(content.get<std::string>()));
  if (kind == "doubleValue") return Value::real(real_of(content));
  if (kind == "stringValue") return Value::string(store.texts.emplace_back(content));
  if (kind == "bytesValue") return Value::bytes(store.texts.emplace_back(from_base64(content.get<std::string>())));
  if (kind == "typeValue") return type_value(content);
  if (kind == "objectValue") return object(content);
  if (kind == "listValue") {
    std::vector<Value> elements;
    const Json values = content.value("values", Json::array());
    for (const Json& element : values) elements.push_back(value_of_json(element, store));
    const auto& kept = store.lists.emplace_back(std::move(elements));
    return Value::list(kept.data(), kept.size());
  }
  if (kind != "mapValue") throw std::runtime_error("a value that Gatehouse does not have: " + kind);
  std::vector<Entry> entries;
  const Json list = content.value("entries", Json::array());
  for (const Json& entry : list)
    entries.push_back({value_of_json(entry.at("key"), store), value_of_json(entry.at("value"), store)});
  const auto& kept = store.maps.emplace_back(std::move(entries));
  return Value::map(kept.data(), kept.size());
}

bool is_same(const Value& left, const Value& right) {
  if (left.kind() != right.kind()) return false;
  switch (left.kind()) {
    case Kind::kNull:
      return true;
    case Kind::kString:
    case Kind::kBytes:
      return left.as_text() == right.as_text();
    case Kind::kDouble:
      return left.as_double() == right.as_double() || (std::isnan(left.as_double()) && std::isnan(right.as_double()));
    case Kind::kTimestamp:
      return left.as_timestamp() == right.as_timestamp();
    case Kind::kList:
      if (left.count() != right.count()) return false;
      for (size_t i = 0; i < left.count(); ++i) {
        if (!is_same(left.element(i), right.element(i))) return false;
      }
      return true;
    case Kind::kMap:
      if (left.count() != right.count()) return false;
      for (size_t i = 0; i < left.count(); ++i) {
        const Value* found = find(right, left.entry(i).key);
        if (found == nullptr || !is_same(left.entry(i).value, *found)) return false;
      }
      return true;
    case Kind::kError:
    case Kind::kRecord:
      return false;
    default:
      return left.as_int() == right.as_int();
  }
}

std::string print(const Value& value) {
  std::string kind(kind_name(value.kind()));
  switch (value.kind()) {
    case Kind::kError:
      return "error: " + std::string(message_of(value.error_code()));
    case Kind::kString:
    case Kind::kBytes:
      return kind + " \"" + std::string(value.as_text()) + "\"";
    case Kind::kDouble:
      return kind + " " + std::to_string(value.as_double());
    case Kind::kUint:
      return kind + " " + std::to_string(value.as_uint());
    case Kind::kType:
      return kind + " " + std::string(kind_name(value.type_kind()));
    case Kind::kList: {
      std::string text = kind;
      for (size_t i = 0; i < value.count(); ++i) text += (i == 0 ? " [" : ", ") + print(value.element(i));
      return text + "]";
    }
    case Kind::kMap:
    case Kind::kRecord:
    case Kind::kNull:
      return kind;
    default:
      return kind + " " + std::to_string(value.as_int());
  }
}

}  // namespace gatehouse::rules::cel
