// SPDX-License-Identifier: Apache-2.0
// RefPool: counted objects that go back to a free list, so that the steady state does not allocate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace gatehouse::postgres {

// T must have `void recycle()` (forget the content, keep buffers worth keeping) and `size_t heap_bytes() const`.
// One thread; the pool must outlive every Ref.
template <typename T>
class RefPool {
  struct Node {
    T value{};
    uint32_t refs = 0;
    RefPool* pool = nullptr;
  };

 public:
  class Ref {
   public:
    Ref() = default;
    Ref(const Ref& other) : node_(other.node_) {
      if (node_ != nullptr) ++node_->refs;
    }
    Ref(Ref&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
    Ref& operator=(Ref other) noexcept {
      std::swap(node_, other.node_);
      return *this;
    }
    ~Ref() { reset(); }

    void reset() {
      if (Node* node = std::exchange(node_, nullptr); node != nullptr && --node->refs == 0) node->pool->put_back(node);
    }
    T* operator->() const { return &node_->value; }
    T& operator*() const { return node_->value; }
    explicit operator bool() const { return node_ != nullptr; }

   private:
    friend class RefPool;
    explicit Ref(Node* node) : node_(node) { node->refs = 1; }
    Node* node_ = nullptr;
  };

  Ref take() {
    if (free_.empty()) {
      auto node = std::make_unique<Node>();
      node->pool = this;
      return Ref(node.release());
    }
    Node* node = free_.back().release();
    free_.pop_back();
    return Ref(node);
  }
  // Heap bytes on the free list.
  [[nodiscard]] size_t idle_bytes() const {
    size_t bytes = 0;
    for (const auto& node : free_) bytes += sizeof(Node) + node->value.heap_bytes();
    return bytes;
  }

 private:
  static constexpr size_t kIdleMax = 8;  // one per object that a request under way can need at a time

  void put_back(Node* raw) {
    std::unique_ptr<Node> node(raw);
    if (free_.size() >= kIdleMax) return;
    node->value.recycle();
    free_.push_back(std::move(node));
  }

  std::vector<std::unique_ptr<Node>> free_;
};

}  // namespace gatehouse::postgres
