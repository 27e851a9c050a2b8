// SPDX-License-Identifier: Apache-2.0
// Every limit has a name, a unit and a reason, and stands here. What the kernel side shares is in bpf/gatehouse_abi.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gatehouse {

// Largest statement or parameter text kept whole; longer is truncated and marked. Same default as the kernel's
// request limit, so that neither side keeps what the other has already cut.
inline constexpr size_t kRequestBytesMax = 1U << 20;
// Largest body of a server message that is kept (errors, notices, row descriptions). Longer ones are cut: the
// fields that matter come first.
inline constexpr size_t kResponseBodyBytesMax = 16U << 10;
// One session's ceiling over everything it remembers: buffers, prepared statements, portals.
inline constexpr size_t kSessionBytesMax = 8U << 20;
// Prepared statements and portals remembered per session; the least recently used goes first and is marked unknown.
inline constexpr size_t kNamedStatementsMax = 4096;
// Executes awaiting their answer in one pipeline. libpq and pgjdbc flush long before this.
inline constexpr size_t kPipelineDepthMax = 65536;

// Events of one batch. A batch costs the agent's publisher about 0.3 ms whatever is in it (scripts/bench agent with
// events=1000 and 4000), and its sending as well, so each of 1000 events paid 0.3 us, a sixth of what a statement may
// cost. Of ordinary statements this is about what fills a batch by its size anyway; a busy host makes ten a second.
inline constexpr size_t kBatchEventsMax = 4000;
inline constexpr size_t kBatchBytesMax = 4U << 20;  // before compression; gRPC's default message ceiling is 4 MiB
// A started batch is sealed after this long, so that `tail` is live at any load.
inline constexpr uint64_t kBatchDelayMsMax = 200;

// Processes remembered: 64 Ki of about 1 KiB each. The kernel's default pid_max on hosts of up to 32 CPUs is 32 Ki.
inline constexpr size_t kProcessesMax = 65'536;
// An exited process is remembered this long after its exit or its last use: records of other rings may still name it.
inline constexpr uint64_t kExitedKeptNs = 60'000'000'000;
// Ancestors named per process. Deeper than any login, CI runner and agent found in practice (12 to 20).
inline constexpr size_t kAncestorsMax = 32;
// argv kept of one process; longer is cut.
inline constexpr size_t kArgumentsBytesMax = 16U << 10;
// Executables whose digest is remembered, and the largest that is read: interpreters and bundled run-times reach
// 300 MiB.
inline constexpr size_t kExecutableDigestsMax = 4096;
inline constexpr uint64_t kExecutableBytesMax = 512U << 20;
// Processes that wait for their executable's digest or a user's name. More are asked for again when they are used.
inline constexpr size_t kIdentityJobsMax = 16'384;
// User names remembered, and for how long: a renamed user shows after that.
inline constexpr size_t kUserNamesMax = 4096;
inline constexpr uint64_t kUserNameKeptNs = 600'000'000'000;

// Sockets that an agent lists in its status, of all that it counts: a list of a busy host's is about 150 KiB, each
// minute, and compresses well. What is not wholly seen comes first.
inline constexpr size_t kHostSocketsMax = 1000;

// A configuration file: far above what a host's databases need, far below what would hurt to parse.
inline constexpr size_t kConfigBytesMax = 1U << 20;
inline constexpr size_t kConfigTextBytesMax = 4096;  // one value; PATH_MAX
// Nesting and number of values in a YAML file. The schema nests four deep.
inline constexpr size_t kYamlDepthMax = 16;
inline constexpr size_t kYamlNodesMax = 10'000;

// Records written and synced by one group commit: bounds the delay of the first caller in it.
inline constexpr size_t kGroupRecordsMax = 1024;
// One batch's compressed payload: zstd's bound for kBatchBytesMax is below it.
inline constexpr size_t kPayloadBytesMax = kBatchBytesMax + (kBatchBytesMax >> 7) + 1024;
// One batch decompressed by the collector: the agent's bound is for events, processes and sessions come on top.
inline constexpr size_t kBatchDecodedBytesMax = 2 * kBatchBytesMax;
// Rows that wait for one slow `tail` before it loses some: about a second of a busy host.
inline constexpr size_t kTailRowsMax = 20000;
// Fresh rows are shown to queries after at most this long.
inline constexpr uint32_t kFreshDelayMsMax = 200;
// Rows of one segment in memory, about 300 bytes each: beyond this it is sealed, so that it goes to the file. What the
// vectors take is up to half as much again; with three of them and the engine's memory a collector stays below 1 GiB.
inline constexpr uint64_t kFreshSegmentBytesMax = 64ULL << 20;
// Of all segments together; above it the store waits for its loader and reads on from the log later.
inline constexpr uint64_t kFreshBytesMax = 2 * kFreshSegmentBytesMax;
// The store writes what repeats within a segment once. Of so many contents it remembers that they were written; beyond
// it they are written again. About 1 KiB each.
inline constexpr size_t kStoreDictionaryMax = 16'384;
// Texts whose repetition it notices, by hash: 512 KiB. An application has hundreds to some thousands.
inline constexpr size_t kSeenTexts = 65'536;
// Longer texts are not looked for: they repeat rarely, and remembering them is dear.
inline constexpr size_t kRepeatedTextBytesMax = 2048;

static_assert(kRequestBytesMax < kSessionBytesMax);
static_assert(kRequestBytesMax < kBatchBytesMax);

}  // namespace gatehouse
