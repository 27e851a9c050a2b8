// SPDX-License-Identifier: Apache-2.0
// Finds out where the kernel has mapped the content of its pages, so that what a process sends as pages (sendfile,
// splice) can be read. The kernel chooses the place at random when it boots and tells nobody: bpf/pages.h.
#pragma once

#include <cstdint>

namespace gatehouse::capture {

class Programs;

// `programs`, of the socket plane, are loaded and not attached. Sends pages of known content through a connection to
// itself. Returns what gh_page_origin is to be; 0 unless every page was found where it should be: then pages are not
// read, and are counted as lost.
uint64_t learn_page_origin(const Programs& programs);

}  // namespace gatehouse::capture
