// SPDX-License-Identifier: Apache-2.0
// Programs: the BPF object of one plane, with what user space shares with it. Which object it is, only this file knows.
#pragma once

#include <cstdint>
#include <memory>

#include <bpf/libbpf.h>

#include "agent/capture/plane.h"

namespace gatehouse::capture {

using U64 = unsigned long long;  // as the kernel's headers spell it

// Pointers into the object's maps, valid for as long as it lives. What a plane does not have is null.
struct SharedVariables {
  // Before load():
  uint16_t* ports = nullptr;  // GH_PORTS_MAX of them
  uint32_t* port_count = nullptr;
  uint32_t* request_bytes_max = nullptr;
  uint32_t* watch_client_ends = nullptr;
  U64* wakeup_bytes = nullptr;
  U64* lane_mask = nullptr;
  uint32_t* keeps_tls = nullptr;
  // At any time:
  uint32_t* join_pass = nullptr;
  uint32_t* list_pass = nullptr;
  U64* database_ports = nullptr;  // a bit each
  volatile uint32_t* reader_sleeps = nullptr;
  volatile uint32_t* hears = nullptr;  // socket plane only: see hearing.h
  uint32_t* whole_bytes = nullptr;
  uint32_t* request_keep_bytes = nullptr;
  uint32_t* response_keep_bytes = nullptr;
  volatile uint32_t* gate_pid = nullptr;  // the agent's while it has a shim, see bpf/gate.h
  const U64* unclosed_count = nullptr;
  const U64* images_untold_count = nullptr;
  const U64* sessions_untold = nullptr;
  // Of the pages that processes send, socket plane only: see page_lessons.h.
  U64* page_origin = nullptr;
  U64* lesson_socket = nullptr;
  uint32_t* lesson_gigabytes = nullptr;
  U64* lesson_marker = nullptr;  // GH_MARKER_WORDS of them
  U64* lesson_origin = nullptr;
  uint32_t* lessons_right = nullptr;
};

class Programs {
 public:
  // Null if the library refuses.
  static std::unique_ptr<Programs> open(Plane plane);
  virtual ~Programs() = default;
  Programs(const Programs&) = delete;
  Programs& operator=(const Programs&) = delete;

  // 0, or the library's error.
  virtual int load() = 0;
  virtual int attach() = 0;
  virtual void detach() = 0;

  [[nodiscard]] virtual bpf_object* object() const = 0;
  // Null if the plane has none of this name.
  [[nodiscard]] bpf_map* map(const char* name) const;
  [[nodiscard]] bpf_program* program(const char* name) const;
  [[nodiscard]] const SharedVariables& shared() const { return shared_; }

 protected:
  Programs() = default;
  SharedVariables shared_;
};

}  // namespace gatehouse::capture
