// SPDX-License-Identifier: Apache-2.0
#include "agent/capture/iterator.h"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "common/file.h"

namespace gatehouse::capture {
namespace {

struct LinkDeleter {
  void operator()(bpf_link* link) const { bpf_link__destroy(link); }
};

}  // namespace

Status run_iterator(const bpf_program* program, std::string& out) {
  const std::unique_ptr<bpf_link, LinkDeleter> link(bpf_program__attach_iter(program, nullptr));
  if (!link) return Error::system("attaching an iterator");
  const UniqueFd run(bpf_iter_create(bpf_link__fd(link.get())));
  if (!run.valid()) return Error::system("making an iterator");
  std::array<char, 16U << 10> part{};
  for (;;) {
    const ssize_t got = read(run.get(), part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Error::system("running an iterator");
    if (got == 0) return {};
    out.append(part.data(), static_cast<size_t>(got));
  }
}

}  // namespace gatehouse::capture
