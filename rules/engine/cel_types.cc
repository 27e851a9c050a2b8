// SPDX-License-Identifier: Apache-2.0
#include "rules/engine/cel_types.h"

namespace gatehouse::rules::cel {
namespace {

// A type is no deeper than the expression that it was found for, but for what `free` parameters hide.
constexpr size_t kTypeDepthMax = 256;

// Where null may stand, beside null itself.
bool may_be_null(TypeKind kind) {
  return kind == TypeKind::kRecord || kind == TypeKind::kTimestamp || kind == TypeKind::kDuration;
}

// Parameters of signatures are numbered from 0, those of the table from here.
constexpr uint32_t kFirstFree = 1000;

}  // namespace

const Type* TypeTable::free() {
  bound_.push_back(nullptr);
  return make({.kind = TypeKind::kParam, .parameter = kFirstFree + static_cast<uint32_t>(bound_.size() - 1)});
}

const Type* TypeTable::resolve(const Type* type) const {
  while (type->kind == TypeKind::kParam && bound_[type->parameter - kFirstFree] != nullptr)
    type = bound_[type->parameter - kFirstFree];
  return type;
}

const Type* TypeTable::finish(const Type* type) {
  type = resolve(type);
  switch (type->kind) {
    case TypeKind::kParam:
      return &kDyn;
    case TypeKind::kList:
      return list(finish(type->first));
    case TypeKind::kMap: {
      const Type* key = finish(type->first);
      return map(key, finish(type->second));
    }
    case TypeKind::kType:
      return type->first == nullptr ? type : this->type(finish(type->first));
    default:
      return type;
  }
}

bool TypeTable::mentions(const Type* type, const Type* parameter, size_t depth) const {
  type = resolve(type);
  if (type == parameter || depth > kTypeDepthMax) return true;
  return (type->first != nullptr && mentions(type->first, parameter, depth + 1)) ||
         (type->second != nullptr && mentions(type->second, parameter, depth + 1));
}

bool TypeTable::bind(const Type* parameter, const Type* to) {
  if (mentions(to, parameter, 0)) return false;
  bound_[parameter->parameter - kFirstFree] = to;
  return true;
}

bool TypeTable::is_more_general(const Type* left, const Type* right, size_t depth) const {
  left = resolve(left);
  right = resolve(right);
  if (depth > kTypeDepthMax) return false;
  if (left->kind == TypeKind::kDyn) return right->kind != TypeKind::kDyn;
  if (right->kind == TypeKind::kNull) return may_be_null(left->kind);
  if (left->kind != right->kind || left->first == nullptr || right->first == nullptr) return false;
  if (is_more_general(left->first, right->first, depth + 1)) return true;
  return left->second != nullptr && is_more_general(left->second, right->second, depth + 1);
}

bool TypeTable::assign_within(const Type* to, const Type* from, size_t depth) {
  const Type* wanted = to;
  to = resolve(to);
  from = resolve(from);
  if (to == from) return true;
  if (depth > kTypeDepthMax) return false;
  if (to->kind == TypeKind::kParam) return bind(to, from);
  if (from->kind == TypeKind::kParam) return bind(from, to);
  if (wanted->kind == TypeKind::kParam && is_more_general(from, to, 0)) {
    // What was found first was too narrow: `true ? 1 : dyn(1)` is dyn.
    if (mentions(from, wanted, 0)) return false;
    bound_[wanted->parameter - kFirstFree] = from;
    return true;
  }
  if (to->kind == TypeKind::kDyn || from->kind == TypeKind::kDyn) return true;
  if (from->kind == TypeKind::kNull) return to->kind == TypeKind::kNull || may_be_null(to->kind);
  if (to->kind != from->kind) return false;
  switch (to->kind) {
    case TypeKind::kList:
      return assign_within(to->first, from->first, depth + 1);
    case TypeKind::kMap:
      return assign_within(to->first, from->first, depth + 1) && assign_within(to->second, from->second, depth + 1);
    case TypeKind::kRecord:
      return to->record == from->record;
    default:
      return true;  // all types are of one type, and the others are simple
  }
}

bool TypeTable::assign(const Type* to, const Type* from) {
  std::vector<const Type*> before = bound_;
  if (assign_within(to, from, 0)) return true;
  bound_ = std::move(before);
  return false;
}

const Type* TypeTable::join(const Type* left, const Type* right) {
  if (is_more_general(right, left, 0)) std::swap(left, right);
  return assign(left, right) ? left : &kDyn;
}

const Type* TypeTable::instantiate(const Type* type, std::vector<const Type*>& fresh) {
  switch (type->kind) {
    case TypeKind::kParam:
      if (type->parameter >= kFirstFree) return type;
      while (fresh.size() <= type->parameter) fresh.push_back(nullptr);
      if (fresh[type->parameter] == nullptr) fresh[type->parameter] = free();
      return fresh[type->parameter];
    case TypeKind::kList:
      return list(instantiate(type->first, fresh));
    case TypeKind::kMap: {
      const Type* key = instantiate(type->first, fresh);
      return map(key, instantiate(type->second, fresh));
    }
    case TypeKind::kType:
      return type->first == nullptr ? type : this->type(instantiate(type->first, fresh));
    default:
      return type;
  }
}

const Type* TypeTable::apply(const Signature& signature, std::span<const Type* const> args) {
  if (signature.parameters.size() != args.size()) return nullptr;
  std::vector<const Type*> before = bound_;
  std::vector<const Type*> fresh;
  for (size_t i = 0; i < args.size(); ++i) {
    if (assign_within(instantiate(signature.parameters[i], fresh), args[i], 0)) continue;
    bound_ = std::move(before);
    return nullptr;
  }
  return instantiate(signature.result, fresh);
}

}  // namespace gatehouse::rules::cel
