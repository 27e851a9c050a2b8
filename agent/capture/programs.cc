// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/programs.h"

#include <array>
#include <utility>

#include "agent/capture/probe.h"
#include "gatehouse.skel.h"
#include "length.skel.h"
#include "syscall.skel.h"

namespace gatehouse::capture {
namespace {

constexpr std::array kPlanes{std::pair{Plane::kSocket, std::string_view("socket")},
                             std::pair{Plane::kLength, std::string_view("length")},
                             std::pair{Plane::kSyscall, std::string_view("syscall")}};

// Run by user space, not attached to an event.
constexpr std::array kRunByUs{"join_open_sockets", "list_watched", "list_sockets", "tell_positions", "learn_pages"};

template <typename Skeleton>
class PlanePrograms final : public Programs {
 public:
  explicit PlanePrograms(Skeleton* skeleton) : skeleton_(skeleton) {
    for (const char* const name : kRunByUs)
      if (bpf_program* const one = program(name)) bpf_program__set_autoattach(one, false);
    // Attached when it is needed, see hearing.h.
    if constexpr (requires { skeleton_->bss->gh_hears; }) bpf_program__set_autoattach(program("on_received"), false);
    if (bpf_program* const one = program("on_spliced")) bpf_program__set_autoload(one, !unix_queue_tells_its_length());
    share();
  }
  ~PlanePrograms() override { Skeleton::destroy(skeleton_); }
  int load() override {
    const int error = Skeleton::load(skeleton_);
    share();
    return error;
  }
  int attach() override { return Skeleton::attach(skeleton_); }
  void detach() override { Skeleton::detach(skeleton_); }
  [[nodiscard]] bpf_object* object() const override { return skeleton_->obj; }

 private:
  void share() {
    auto& fixed = *skeleton_->rodata;
    auto& data = *skeleton_->data;
    auto& bss = *skeleton_->bss;
    shared_.ports = fixed.gh_ports;
    shared_.port_count = &fixed.gh_port_count;
    shared_.request_bytes_max = &fixed.gh_request_bytes_max;
    shared_.watch_client_ends = &fixed.gh_watch_client_ends;
    shared_.wakeup_bytes = &fixed.gh_wakeup_bytes;
    shared_.lane_mask = &fixed.gh_lane_mask;
    shared_.keeps_tls = &fixed.gh_keeps_tls;
    shared_.join_pass = &bss.gh_join_pass;
    shared_.list_pass = &bss.gh_list_pass;
    shared_.database_ports = bss.gh_database_ports;
    shared_.reader_sleeps = &bss.gh_reader_sleeps;
    shared_.whole_bytes = &data.gh_whole_bytes;
    shared_.request_keep_bytes = &data.gh_request_keep_bytes;
    shared_.response_keep_bytes = &data.gh_response_keep_bytes;
    shared_.gate_pid = &bss.gh_gate_pid;
    shared_.unclosed_count = &bss.gh_unclosed_count;
    shared_.images_untold_count = &bss.gh_images_untold_count;
    shared_.sessions_untold = &bss.gh_sessions_untold;
    if constexpr (requires { bss.gh_hears; }) shared_.hears = &bss.gh_hears;
    if constexpr (requires { bss.gh_lesson_origin; }) {
      shared_.page_origin = &bss.gh_page_origin;
      shared_.lesson_socket = &bss.gh_lesson_socket;
      shared_.lesson_gigabytes = &bss.gh_lesson_gigabytes;
      shared_.lesson_marker = bss.gh_lesson_marker;
      shared_.lesson_origin = &bss.gh_lesson_origin;
      shared_.lessons_right = &bss.gh_lessons_right;
    }
  }

  Skeleton* const skeleton_;
};

template <typename Skeleton>
std::unique_ptr<Programs> open_programs() {
  Skeleton* const skeleton = Skeleton::open(nullptr);
  if (skeleton == nullptr) return nullptr;
  return std::make_unique<PlanePrograms<Skeleton>>(skeleton);
}

}  // namespace

std::string_view to_string(Plane plane) {
  for (const auto& [value, name] : kPlanes)
    if (value == plane) return name;
  return "";
}

std::optional<Plane> parse_plane(std::string_view name) {
  for (const auto& [value, text] : kPlanes)
    if (text == name) return value;
  return std::nullopt;
}

std::unique_ptr<Programs> Programs::open(Plane plane) {
  switch (plane) {
    case Plane::kSocket:
      return open_programs<gatehouse_bpf>();
    case Plane::kLength:
      return open_programs<length_bpf>();
    case Plane::kSyscall:
      return open_programs<syscall_bpf>();
  }
  return nullptr;
}

bpf_map* Programs::map(const char* name) const {
  return bpf_object__find_map_by_name(object(), name);
}

bpf_program* Programs::program(const char* name) const {
  return bpf_object__find_program_by_name(object(), name);
}

}  // namespace gatehouse::capture
