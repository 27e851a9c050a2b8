// SPDX-License-Identifier: Apache-2.0
// What a capture plane observes, independent of which plane observed it. The kernel (agent/capture), a file
// (agent/replay), the shim and tests produce these; agent/runtime consumes them.
//
// Spans and views in a record are valid until the sink call that got them returns. Times are CLOCK_BOOTTIME ns.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "common/process_key.h"

namespace gatehouse {

// Names one connection for as long as this host is up. TCP: the socket cookie of the captured end. Unix sockets:
// a number made from the client's socket, unique in the same space.
using SocketId = uint64_t;

enum class Direction : uint8_t {
  kRequest = 0,   // client to server
  kResponse = 1,  // server to client
};
inline constexpr size_t kDirections = 2;

enum class Transport : uint8_t { kTcp4, kTcp6, kUnix };

struct Endpoint {
  std::array<uint8_t, 16> address{};  // network order; the first 4 bytes for kTcp4
  uint16_t port = 0;
  std::string_view path{};  // kUnix: bound path, an abstract one starts with '@'; empty for an unbound end
};

// The first record of a connection. Sent once, before its first chunk.
struct SocketOpened {
  SocketId socket = 0;
  uint64_t time_ns = 0;
  Transport transport = Transport::kTcp4;
  bool captured_at_client = false;  // else at the server's end
  bool joined = false;              // existed before capture began
  uint32_t netns = 0;               // inode of the network namespace
  Endpoint client{};
  Endpoint server{};
  ProcessKey client_opener{};        // who called connect(); unknown for a remote client
  ProcessKey server_opener{};        // who accepted, or listens; unknown for a remote server
  uint32_t client_uid = UINT32_MAX;  // uid of the connecting process where the kernel attests it, else UINT32_MAX
  // joined: where the streams stood, so what had moved unseen. 0 where the kernel does not count it (Unix sockets).
  std::array<uint64_t, kDirections> origin{};
  // The shim stands between its ends: what is recorded is what the client said and was told, in the clear.
  bool is_gated = false;
  bool is_encrypted = false;  // is_gated: it was TLS on the wire
};

// A request was not let through by the shim. Comes before the chunk with its last byte.
struct Refused {
  SocketId socket = 0;
  uint64_t time_ns = 0;
  uint64_t offset = 0;         // of the request's first byte in its stream
  bool terminates = false;     // the session ends with it
  std::string_view rule{};     // that decided it, or a limit of the shim's: "gatehouse.statement-too-long"
  std::string_view message{};  // as the client was told
};

// The shim changed values of one column in the answer to a request. Comes before the chunk with the answer's last byte.
struct Masked {
  SocketId socket = 0;
  uint64_t time_ns = 0;
  uint64_t offset = 0;        // of the request's first byte in its stream
  uint64_t values = 0;        // how many were changed; NULLs that stayed are not among them
  std::string_view mask{};    // the rule's id
  std::string_view column{};  // "schema.table.column", or what the result calls it where that is not known
  std::string_view method{};  // "partial", …
};

// A step of a statement that the shim holds until somebody agrees.
struct ApprovalStep {
  SocketId socket = 0;
  uint64_t time_ns = 0;
  std::string_view approval{};  // gatehouse.v1.Approval, serialized
};

// A stretch of a stream. A chunk is a row of pieces without holes between them.
struct Piece {
  enum class Kind : uint8_t {
    kData,  // `data` is the stream's bytes; bytes == data.size()
    kRows,  // whole or partial DataRow/CopyData frames left out on purpose; `rows` frames *began* in it
    kCut,   // the rest of one frame's body, left out because the frame is longer than what is kept
    kLost,  // bytes that should have been captured and were not
  };
  Kind kind = Kind::kData;
  uint32_t bytes = 0;  // of the stream
  uint32_t rows = 0;   // kRows only
  std::span<const std::byte> data{};
};

// Why bytes are missing. The kernel counts each on the socket; they travel with its next record.
enum class LostReason : uint8_t {
  kRingFull,     // the ring had no room for the record
  kFault,        // the process's memory could not be read
  kUnsupported,  // a path of this plane's that cannot be read (named in docs/bpf-hooks.md)
  kUnsynced,     // response framing unknown (joined mid-stream, or not the protocol)
};
inline constexpr size_t kLostReasons = 4;

struct Chunk {
  SocketId socket = 0;
  Direction direction = Direction::kRequest;
  uint64_t offset = 0;  // of the first piece in its stream; a jump against the previous chunk's end is a gap
  uint64_t time_ns = 0;
  ProcessKey process{};  // who called write or read on the captured end
  ProcessKey writer{};  // who wrote the bytes, where that is a local process; equals `process` for requests captured at
                        // the client
  uint32_t writer_uid = UINT32_MAX;  // the writer's uid as it wrote, where the kernel attests it
  uint32_t tid = 0;
  uint32_t lost_reasons = 0;  // bits 1 << LostReason: why bytes before `offset` are missing; 0: the ring had no room
  std::span<const Piece> pieces{};

  [[nodiscard]] uint64_t end() const {
    uint64_t position = offset;
    for (const Piece& piece : pieces) position += piece.bytes;
    return position;
  }
};

// Content of this direction pair is TLS or GSS from here on: bytes are counted, not captured.
struct SocketOpaque {
  SocketId socket = 0;
  uint64_t time_ns = 0;
  enum class Reason : uint8_t { kTls, kGss, kNotProtocol } reason = Reason::kTls;
};

// A TLS library has derived a secret in a handshake: it opens what is said after that. Comes before the chunks that it
// opens where the end that is captured has told it, else a little later. The bytes are not to be kept but in the memory
// that agent/tls has for them.
struct TlsSecret {
  enum class Kind : uint8_t {
    kClientTraffic,  // TLS 1.3: client_application_traffic_secret_0
    kServerTraffic,  // TLS 1.3: server_application_traffic_secret_0
    kMaster,         // TLS 1.2
  };
  uint64_t time_ns = 0;
  Kind kind = Kind::kMaster;
  ProcessKey process{};                       // whose library it is
  std::array<std::byte, 32> client_random{};  // of the handshake: names the session
  std::span<const std::byte> secret{};        // its head is the secret, as long as the session's hash, or 48 bytes
};

// The last record of a connection.
struct SocketClosed {
  SocketId socket = 0;
  uint64_t time_ns = 0;
  std::array<uint64_t, kDirections> stream_bytes{};  // final position of each direction: what has really moved
  std::array<std::array<uint64_t, kLostReasons>, kDirections> lost_bytes{};
  // False: the connection is gone, but nobody saw it go. Then the totals are not known and zero here, and `time_ns` is
  // when that was noticed.
  bool witnessed = true;
  bool watch_ended = false;  // not the connection: it goes on unseen. Sources never say so.
};

// Identity as the kernel knew it at exec time.
struct ProcessExec {
  ProcessKey process{};
  ProcessKey parent{};
  uint64_t time_ns = 0;
  uint32_t uid = 0, gid = 0, euid = 0, egid = 0;
  uint32_t loginuid = UINT32_MAX;
  uint32_t audit_session = UINT32_MAX;
  uint32_t tty = 0;        // device number, 0: none
  uint64_t cgroup_id = 0;  // cgroup v2
  uint64_t exe_inode = 0;
  uint32_t exe_device = 0;  // kernel's dev_t (major << 20 | minor)
  uint32_t exe_links = 1;   // 0: deleted file or memfd
  uint32_t pid_namespace = 0, mount_namespace = 0, net_namespace = 0;
  std::string_view exe{};        // path from the mount's root
  std::string_view arguments{};  // argv joined by NUL, possibly cut
  bool arguments_cut = false;
  std::string_view cwd{};
  std::string_view cgroup_path{};  // cgroup v2 path from its root, "" if the kernel side cannot tell
};

// The process runs a new image since about `time_ns`, and nothing more is known of it: the record had no room.
struct ProcessImageLost {
  ProcessKey process{};
  uint64_t time_ns = 0;
};

struct ProcessFork {
  ProcessKey parent{};
  ProcessKey child{};
  uint64_t time_ns = 0;
};

struct ProcessExit {
  ProcessKey process{};
  uint64_t time_ns = 0;
  int32_t status = 0;  // as wait(2) reports it
};

// Receives records in an order in which causes precede effects: a process before its chunks, a request before its
// response. One thread.
class RecordSink {
 public:
  virtual ~RecordSink() = default;
  virtual void on_socket_opened(const SocketOpened& record) = 0;
  virtual void on_chunk(const Chunk& record) = 0;
  virtual void on_socket_opaque(const SocketOpaque& record) = 0;
  virtual void on_socket_closed(const SocketClosed& record) = 0;
  virtual void on_process_exec(const ProcessExec& record) = 0;
  virtual void on_process_fork(const ProcessFork& record) = 0;
  virtual void on_process_exit(const ProcessExit& record) = 0;
  // Only the shim refuses.
  virtual void on_refused(const Refused& /*record*/) {}
  // … and masks.
  virtual void on_masked(const Masked& /*record*/) {}
  // … and only the shim holds.
  virtual void on_approval(const ApprovalStep& /*record*/) {}
  // Only kernels tell.
  virtual void on_tls_secret(const TlsSecret& /*record*/) {}
  // Not a record: word of one that is missing.
  virtual void on_process_image_lost(const ProcessImageLost& /*loss*/) {}
};

// Where records come from. One thread.
class RecordSource {
 public:
  virtual ~RecordSource() = default;
  // Hands over what is there, at most about `records_max`, and returns how many. 0: nothing now.
  virtual size_t poll(RecordSink& sink, size_t records_max) = 0;
  // A file has an end; a kernel has not.
  [[nodiscard]] virtual bool at_end() const = 0;
};

}  // namespace gatehouse
