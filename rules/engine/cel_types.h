// SPDX-License-Identifier: Apache-2.0
// Inference: types that are partly known yet, such as that of `[]`. A TypeParam is free until it is bound to the type
// that its first use asks for. Pure.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <utility>
#include <vector>

#include "rules/engine/cel_functions.h"
#include "rules/engine/cel_schema.h"

namespace gatehouse::rules::cel {

// Owns the types that it makes; all of them die with it.
class TypeTable {
 public:
  const Type* list(const Type* element) { return make({TypeKind::kList, element}); }
  const Type* map(const Type* key, const Type* value) { return make({TypeKind::kMap, key, value}); }
  const Type* type(const Type* of) { return make({TypeKind::kType, of}); }
  // Not known yet.
  const Type* free();

  // What is known of `type` itself by now; its parts may be free still.
  [[nodiscard]] const Type* resolve(const Type* type) const;
  // All of it; what is free is dyn.
  const Type* finish(const Type* type);

  // Whether a `from` may stand where `to` is wanted; binds what is free in either, if so.
  bool assign(const Type* to, const Type* from);
  // The type that holds both: the more general one if they fit each other, else dyn.
  const Type* join(const Type* left, const Type* right);
  // What a call returns whose arguments fit `signature`, or null, and then nothing is bound.
  const Type* apply(const Signature& signature, std::span<const Type* const> args);

 private:
  const Type* make(Type type) {
    made_.push_back(type);
    return &made_.back();
  }
  const Type* instantiate(const Type* type, std::vector<const Type*>& fresh);
  bool assign_within(const Type* to, const Type* from, size_t depth);
  bool bind(const Type* parameter, const Type* to);
  [[nodiscard]] bool mentions(const Type* type, const Type* parameter, size_t depth) const;
  [[nodiscard]] bool is_more_general(const Type* left, const Type* right, size_t depth) const;

  std::deque<Type> made_{};
  std::vector<const Type*> bound_{};  // by parameter; null: free
};

}  // namespace gatehouse::rules::cel
