/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the kernel side and agent/capture say to each other: the records of the
 * rings and the values of the shared limits. Compiled by both sides; the layout
 * is checked by both (GH_LAYOUT). Not a stable format: both sides come from one
 * build.
 */
#ifndef GATEHOUSE_ABI_H
#define GATEHOUSE_ABI_H

#ifdef __cplusplus
#include <cstddef>
#include <cstdint>
namespace gatehouse::abi {
using __u8 = uint8_t;
using __u16 = uint16_t;
using __u32 = uint32_t;
using __s32 = int32_t;
using __u64 = uint64_t;
#define GH_LAYOUT(type, member, offset) static_assert(offsetof(type, member) == (offset))
#define GH_SIZE(type, size) static_assert(sizeof(type) == (size))
#else
#define GH_LAYOUT(type, member, offset) \
	_Static_assert(__builtin_offsetof(type, member) == (offset), "layout")
#define GH_SIZE(type, size) _Static_assert(sizeof(type) == (size), "layout")
#endif

/* Ports a configuration may name. Compared one by one when a connection opens. */
#define GH_PORTS_MAX 16
/* Largest body of a server message that is kept. common/limits.h says why. */
#define GH_RESPONSE_BODY_BYTES_MAX (16 << 10)
/* Bytes of one record. A large write becomes several. */
#define GH_RECORD_DATA_BYTES_MAX (64 << 10)
/* Pieces of one record: a longer row of them becomes several records. */
#define GH_PIECES_MAX 256
/* Reads and writes up to this long take the short way: one copy, nothing left out. */
#define GH_SMALL_BYTES_MAX 1024
/* Of the short way, per CPU. */
#define GH_LANE_BYTES_MIN (64 << 10)
/* Of a TLS session, while user space has not said whether it opens it: handshake, log-in, the first answers. */
#define GH_TLS_UNCLAIMED_BYTES_MAX (1 << 20)
#define GH_TLS_CLAIMS_MAX 65536
/* Longest of the protocol's frame headers: StartupMessage's length and code. */
#define GH_HEADER_BYTES_MAX 8
#define GH_UNIX_PATH_BYTES_MAX 108
/* Text of an exec record: path parts of exe, cwd and cgroup, then argv. */
#define GH_EXEC_PATH_BYTES_MAX 4096
#define GH_EXEC_ARGUMENT_BYTES_MAX 4096
#define GH_EXEC_TEXT_BYTES_MAX (3 * GH_EXEC_PATH_BYTES_MAX + GH_EXEC_ARGUMENT_BYTES_MAX)

enum gh_record_kind {
	GH_RECORD_OPENED = 1,
	GH_RECORD_CHUNK = 2,
	GH_RECORD_OPAQUE = 3,
	GH_RECORD_CLOSED = 4,
	GH_RECORD_EXEC = 5,
	GH_RECORD_FORK = 6,
	GH_RECORD_EXIT = 7,
	GH_RECORD_SENT = 8,
	GH_RECORD_PEER = 9,
	GH_RECORD_TLS_SECRET = 10,
};

/* Values equal gatehouse::Direction, Transport, Piece::Kind, LostReason and SocketOpaque::Reason. */
enum gh_direction { GH_REQUEST = 0, GH_RESPONSE = 1, GH_DIRECTIONS = 2 };
enum gh_transport { GH_TCP4 = 0, GH_TCP6 = 1, GH_UNIX = 2 };
enum gh_piece_kind { GH_PIECE_DATA = 0, GH_PIECE_ROWS = 1, GH_PIECE_CUT = 2, GH_PIECE_LOST = 3 };
enum gh_lost {
	GH_LOST_RING_FULL = 0,
	GH_LOST_FAULT = 1,
	GH_LOST_UNSUPPORTED = 2,
	GH_LOST_UNSYNCED = 3,
	GH_LOST_REASONS = 4,
};
/* User space's word on a TLS session. */
enum gh_tls_claim { GH_TLS_OPENED = 1, GH_TLS_SEALED = 2 };
enum gh_opaque { GH_OPAQUE_TLS = 0, GH_OPAQUE_GSS = 1, GH_OPAQUE_NOT_PROTOCOL = 2 };

/* What a page of the agent's lessons begins with, see bpf/pages.h. */
#define GH_MARKER_WORDS 4

/* Index into the per-CPU counters. */
enum gh_counter {
	GH_COUNT_CONTROL_RING_FULL,
	GH_COUNT_REQUEST_RING_FULL,
	GH_COUNT_RESPONSE_RING_FULL,
	GH_COUNT_STORAGE_FAILED, /* no memory for a socket's state: the connection is not seen */
	GH_COUNT_FAULTS,
	GH_COUNT_UNSYNCED,
	GH_COUNT_SOCKETS_WATCHED,
	GH_COUNT_SOCKETS_FORGOTTEN,
	GH_COUNT_OTHER_END, /* server ends whose client end is captured on this host */
	GH_COUNTERS,
};

struct gh_process {
	__u64 start_ns;
	__u32 pid;
	union {
		__u32 tid;
		__u32 uid; /* of a writer, as it wrote */
	};
};
GH_SIZE(struct gh_process, 16);

struct gh_head {
	__u64 time_ns;
	__u64 socket; /* 0 for process records */
	__u16 kind;
	__u16 flags;
	__u32 record_bytes;
};
GH_SIZE(struct gh_head, 24);

struct gh_piece {
	__u32 bytes;
	__u32 rows : 28;
	__u32 kind : 4;
};
GH_SIZE(struct gh_piece, 8);

/* The chunk's bytes may turn out not to have been sent: a GH_RECORD_SENT follows that says. */
#define GH_CHUNK_UNCONFIRMED 1
/* They were handed over as pages (sendfile, splice), which others may write to while the chunk is copied. */
#define GH_CHUNK_PAGES 2
struct gh_chunk {
	struct gh_head head;
	__u64 offset;
	struct gh_process process;
	struct gh_process writer; /* pid 0: not known, or not yet if GH_CHUNK_UNCONFIRMED */
	__u16 direction;
	__u16 lost_reasons; /* bits: why bytes before this chunk are missing; 0: the ring had no room */
	__u32 piece_count;
	/* struct gh_piece pieces[piece_count]; then the bytes of the GH_PIECE_DATA ones */
};
GH_SIZE(struct gh_chunk, 72);

/* A chunk in a lane: one piece, all of it kept. */
struct gh_small_record {
	struct gh_chunk chunk;
	struct gh_piece piece;
	__u8 data[GH_SMALL_BYTES_MAX];
};
GH_LAYOUT(struct gh_small_record, data, 80);

/*
 * Where one CPU's short chunks stand: bytes of all so far, modulo the lane's size. Records follow this head, each at a
 * multiple of 8 bytes and in one piece: behind the lane's last byte there is room for one. The two counts are apart, as
 * different CPUs write them.
 */
struct gh_lane {
	__u64 produced; /* by the kernel side */
	__u64 unused_by_kernel[7];
	__u64 consumed; /* by user space */
	__u64 unused_by_user[7];
};
GH_LAYOUT(struct gh_lane, consumed, 64);
GH_SIZE(struct gh_lane, 128);

/* Captured bytes beyond `sent` were not sent: forget them. */
#define GH_SENT_CUT 1

/* Requests: the bytes before `sent` were sent, those from `since` on by `writer`. */
struct gh_sent {
	struct gh_head head;
	__u64 sent;
	__u64 since;
	struct gh_process writer;
};
GH_SIZE(struct gh_sent, 56);

#define GH_OPENED_AT_CLIENT 1
#define GH_OPENED_JOINED 2

struct gh_opened {
	struct gh_head head;
	__u8 client_address[16];
	__u8 server_address[16];
	__u16 client_port; /* host order */
	__u16 server_port;
	__u32 transport;
	__u32 netns;
	__u32 client_uid;
	struct gh_process client_opener;
	struct gh_process server_opener;
	__u64 request_offset; /* 0, or where a joined stream stood, where the kernel counts that (TCP) */
	__u64 response_offset;
	__u32 path_bytes; /* of `path`; the first byte is 0 for an abstract address */
	char path[GH_UNIX_PATH_BYTES_MAX];
};
GH_LAYOUT(struct gh_opened, client_opener, 72);
GH_LAYOUT(struct gh_opened, path, 124);
GH_SIZE(struct gh_opened, 232);

struct gh_opaque_record {
	struct gh_head head;
	__u64 reason;
};

struct gh_closed {
	struct gh_head head;
	__u64 stream_bytes[GH_DIRECTIONS];
	__u64 lost_bytes[GH_DIRECTIONS][GH_LOST_REASONS];
};
GH_SIZE(struct gh_closed, 104);

/* Where a connection stands, from the search through all open files. Unix: each end tells its own stream. */
struct gh_position {
	__u64 socket;
	__u64 stream_bytes[GH_DIRECTIONS];
	__u64 lost_bytes[GH_DIRECTIONS][GH_LOST_REASONS];
};
GH_SIZE(struct gh_position, 88);

enum gh_list_pass { GH_LIST_LISTENERS = 0, GH_LIST_CONNECTIONS = 1 };
enum gh_role { GH_ROLE_LISTENER = 0, GH_ROLE_CLIENT = 1, GH_ROLE_SERVER = 2 };
/* Values equal gatehouse::HostSocket::State. */
enum gh_socket_state { GH_STATE_UNKNOWN = 0, GH_STATE_SILENT = 1, GH_STATE_IGNORED = 2, GH_STATE_SESSION = 3 };

/* A socket as one of its processes holds it, from the list of all. */
struct gh_socket {
	__u64 session; /* as in records; 0: none */
	__u64 inode;
	__u64 peer_inode; /* Unix connections: of the other end */
	struct gh_process process;
	__u8 local_address[16];
	__u8 remote_address[16];
	__u16 local_port; /* host order */
	__u16 remote_port;
	__u32 transport;
	__u32 role;
	__u32 state;
	__u32 netns;
	__u32 path_bytes; /* of `path`, the server's */
	char path[GH_UNIX_PATH_BYTES_MAX];
};
GH_LAYOUT(struct gh_socket, path, 96);
GH_SIZE(struct gh_socket, 208);

/* A process whose new image no record could tell. */
struct gh_image {
	__u64 start_ns;
	__u32 pid;
	__u32 unused;
};
GH_SIZE(struct gh_image, 16);

#define GH_EXEC_ARGUMENTS_CUT 1

struct gh_exec {
	struct gh_head head;
	struct gh_process process;
	struct gh_process parent;
	__u32 uid, gid, euid, egid;
	__u32 loginuid;
	__u32 audit_session;
	__u32 tty;
	__u32 exe_device;
	__u64 exe_inode;
	__u64 cgroup_id;
	__u32 exe_links;
	__u32 pid_namespace, mount_namespace, net_namespace;
	/* Parts of `text`, one after the other. Paths are names from the leaf up, each ended by NUL. */
	__u32 exe_bytes;
	__u32 cwd_bytes;
	__u32 cgroup_bytes;
	__u32 argument_bytes;
	/* char text[] */
};
GH_LAYOUT(struct gh_exec, exe_inode, 88);
GH_SIZE(struct gh_exec, 136);

/* The server's process of a TCP connection whose client end is `head.socket`. */
struct gh_peer {
	struct gh_head head;
	struct gh_process server;
};
GH_SIZE(struct gh_peer, 40);

struct gh_fork {
	struct gh_head head;
	struct gh_process parent;
	struct gh_process child;
};
GH_SIZE(struct gh_fork, 56);

struct gh_exit {
	struct gh_head head;
	struct gh_process process;
	__s32 status;
	__u32 unused;
};
GH_SIZE(struct gh_exit, 48);

/* Where a library's function that is told each secret has it. Registers are numbered as in enum gh_register. */
#define GH_TLS_PATH_MAX 3
struct gh_tls_place {
	__u8 label;	/* register with the address of the secret's name, */
	__u8 secret;	/* of the secret */
	__u8 object;	/* of the session's object: client_random is at */
	__u8 path_count;
	__s32 path[GH_TLS_PATH_MAX]; /* object + path[0]; of each further one, at the pointer there + path[i] */
};
GH_SIZE(struct gh_tls_place, 16);

enum gh_register {
	GH_RAX, GH_RBX, GH_RCX, GH_RDX, GH_RSI, GH_RDI, GH_RBP, GH_RSP,
	GH_R8, GH_R9, GH_R10, GH_R11, GH_R12, GH_R13, GH_R14, GH_R15,
	GH_REGISTERS,
};

#define GH_TLS_RANDOM_BYTES 32
#define GH_TLS_SECRET_BYTES 48
/* Values equal gatehouse::TlsSecret::Kind. */
enum gh_tls_secret_kind { GH_TLS_CLIENT_TRAFFIC = 0, GH_TLS_SERVER_TRAFFIC = 1, GH_TLS_MASTER = 2 };
struct gh_tls_secret {
	struct gh_head head;
	struct gh_process process;
	__u32 secret_kind;
	__u32 place;
	__u8 client_random[GH_TLS_RANDOM_BYTES];
	__u8 secret[GH_TLS_SECRET_BYTES];
};
GH_SIZE(struct gh_tls_secret, 128);

#ifdef __cplusplus
} // namespace gatehouse::abi
#endif
#endif
