/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Maps, configuration and the state of one socket. */
#ifndef GATEHOUSE_STATE_H
#define GATEHOUSE_STATE_H

#include <stdbool.h>
#include <linux/bpf.h>
#include "kernel_types.h"
#include "gatehouse_abi.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_tracing.h>

#define ARRAY_SIZE(x) (sizeof(x) / sizeof((x)[0]))
#define __arg_trusted __attribute__((btf_decl_tag("arg:trusted")))
#define min(a, b) ((a) < (b) ? (a) : (b))

/*
 * One object per plane is made of these headers: what else a kernel must have than the tracepoints.
 *   socket	kernel functions (dynptrs, numeric iterators), typed pointers, socket storage
 *   length	GH_FALLBACK: typed pointers and socket storage
 *   syscall	GH_FALLBACK and GH_UNTYPED: helpers only
 */
#ifdef GH_FALLBACK
#define loop(it, times) for (__u32 it = 0; it < (times); it++)
#define loop_end(it) (void)0
#else
struct bpf_iter_num {
	__u64 opaque[1];
} __attribute__((aligned(8)));

extern int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end) __ksym;
extern int *bpf_iter_num_next(struct bpf_iter_num *it) __ksym;
extern void bpf_iter_num_destroy(struct bpf_iter_num *it) __ksym;

/* The verifier walks the body once. */
#define loop(it, times)                    \
	struct bpf_iter_num it;            \
	bpf_iter_num_new(&it, 0, (times)); \
	while (bpf_iter_num_next(&it))
#define loop_end(it) bpf_iter_num_destroy(&it)
#endif

#ifdef GH_UNTYPED
#define field(object, member) BPF_CORE_READ(object, member)
#define kernel_field(type, object, member) BPF_CORE_READ((const type *)(object), member)
#else
extern void *bpf_rdonly_cast(const void *object, __u32 type_id) __ksym;

#define kernel_cast(type, pointer) ((type *)bpf_rdonly_cast(pointer, bpf_core_type_id_kernel(type)))
#define field(object, member) ((object)->member)
#define kernel_field(type, object, member) (kernel_cast(type, object)->member)
#endif
/* A typed pointer for every plane, and so is what it points to: plain loads. */
#define current_task() bpf_get_current_task_btf()

/* Set by user space before the object is loaded. */
const volatile __u16 gh_ports[GH_PORTS_MAX];
const volatile __u32 gh_port_count;
const volatile __u32 gh_request_bytes_max = 1 << 20;
const volatile __u32 gh_watch_client_ends = 1; /* 0: only servers' ends are captured */
const volatile __u64 gh_wakeup_bytes = 256 << 10; /* a ring fuller than this wakes the reader */

/*
 * Set by user space before it sleeps until something comes; taken back by what wakes it. While it reads, nothing but a
 * full ring does: a wake-up per record halves throughput. What is written just before it is set may wait for the
 * sleep's end.
 */
volatile __u32 gh_reader_sleeps;

/* What TLS hides is kept, for user space to open. */
const volatile __u32 gh_keeps_tls;

/* The agent's pid while it has a shim, see gate.h; else 0. Set by user space. */
volatile __u32 gh_gate_pid;

#ifndef GH_FALLBACK
/*
 * Where the kernel has mapped the content of a struct page: at gh_page_origin +
 * page / sizeof(struct page) * 4096. 0: not known, pages are not read. Set by
 * user space after learn_pages().
 */
__u64 gh_page_origin;
#endif
/* Set by user space at any time: how much is kept of what. Less when the rings fill; see agent/capture/ladder.h. */
volatile __u32 gh_whole_bytes = GH_SMALL_BYTES_MAX;	      /* reads and writes up to this long are kept whole */
volatile __u32 gh_request_keep_bytes = ~0U;		      /* of one message's body, below gh_request_bytes_max */
volatile __u32 gh_response_keep_bytes = GH_RESPONSE_BODY_BYTES_MAX;

/* Where one direction's framing stands. */
enum gh_mode {
	MODE_STARTUP,	 /* requests: length and code, no tag */
	MODE_FRAMES,	 /* tag and length */
	MODE_SSL_ANSWER, /* responses: one byte answers SSLRequest or GSSENCRequest */
	MODE_RAW,	 /* requests: framing unknown, everything is kept */
	MODE_UNSYNCED,	 /* framing unknown, bytes are lost until the session is idle */
	MODE_TLS,	 /* everything is kept: user space may have what opens it, see tls.h */
	MODE_COUNT,	 /* opaque: positions only */
};

struct gh_parse {
	__u32 frame_left; /* bytes of the current frame still to come */
	__u32 keep_left;  /* of which are kept */
	__u8 mode;
	__u8 left_out;	  /* the current frame is a row that is left out */
	__u8 header_fill; /* of `header`, when a header is cut by the end of a read */
	__u8 unused;
	__u8 header[GH_HEADER_BYTES_MAX];
};

struct gh_stream {
	__u64 offset; /* of the next byte that was not seen yet */
	__u32 seq;    /* the same place as TCP counts it */
	__u32 lost_reasons; /* bits of enum gh_lost: since the last chunk that was delivered */
	struct gh_parse parse;
	__u64 lost[GH_LOST_REASONS];
};

#define CONN_DECIDED 1	   /* it speaks the protocol; otherwise its first bytes are awaited */
#define CONN_CLIENT 2	   /* this socket is the client's end */
#define CONN_OPENED 4	   /* the opening record was delivered */
#define CONN_JOINED 8	   /* older than these programs */
#define CONN_UNCONFIRMED 16 /* a request chunk awaits GH_RECORD_SENT */
#define CONN_IGNORED 32	   /* not ours (Unix sockets, which are never decided twice) */
#define CONN_CLOSED 64
#define CONN_FIN_SENT 256  /* TCP: the last of write_seq is a FIN, not a byte */
#define CONN_OTHER_END 128 /* `id` is the captured client's; awaits the first read, to tell who serves */
#define CONN_UNOPENED 512 /* the opening record found no room and waits in gh_unopened */
#define CONN_UNHEARD 8192 /* Unix: was read while gh_hears was not set, see unix_plane.h */
#define CONN_TLS_LOOK 2048 /* requests; 4096: responses. Joined, and a span began with a TLS record */
#define CONN_TLS_CLAIMED 16384 /* user space opens it */
#define CONN_OPAQUE_DUE 1024 /* so did the record that it is opaque: told with the next bytes */

struct gh_conn {
	__u64 id;
	__u32 flags;
	__u32 transport;
	struct gh_stream stream[GH_DIRECTIONS];
	struct gh_process opener;
	__u32 uid;
	__u32 read_bytes; /* Unix: bytes copied so far by the read call that runs; syscall plane: since the last */
	__u32 seen;	  /* Unix: SEEN_ flags that the other end's state has yet to learn */
	__u32 opaque_reason; /* of CONN_OPAQUE_DUE */
	__u32 tls_bytes;     /* kept although user space has not claimed it */
	__u32 idle;	  /* Unix, the client's end: it has read ReadyForQuery, and nothing was asked since */
	/* TCP: the last span of a request as it began, to go back to when its send is cut short. */
	struct gh_parse before;
	__u32 before_seq;
	__u64 before_offset;
	__u64 before_user;
	/* Unix: what is known of the bytes that this socket sends. */
	__u64 read; /* taken by the reader */
	__u64 left; /* had left its queue when the sender last listened; less than `read` but for splice */
	__u64 sent;
	__u64 since; /* `writer` wrote from here to `sent`, */
	__u64 since_before; /* `writer_before` from here to there; who came before those, user space was told */
	struct gh_process writer;
	struct gh_process writer_before;
	__u64 unconfirmed; /* added to by the reader, see unix_plane.h */
	__u64 confirmed;
	/* Joined: where the streams stood. */
	__u64 origin[GH_DIRECTIONS];
#ifdef GH_UNTYPED
	__u64 inode; /* Unix: of the socket that this is the state of; 0: not known yet */
#endif
#ifdef GH_FALLBACK
	/* How many programs are at this direction of it, which only one may be: see fallback.h. */
	__u32 busy[GH_DIRECTIONS];
#endif
};

/*
 * The state of a watched socket. Created when a connection is established (or
 * by the snapshot of open sockets), dies with the socket. In the socket plane a
 * TCP socket's state is written under its socket lock.
 */
#ifdef GH_UNTYPED
/* By the socket's address. A TCP socket's state goes with the socket, a Unix one's with its session. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, __u64);
	__type(value, struct gh_conn);
} gh_conns SEC(".maps");

static const struct gh_conn gh_conn_of_nothing;

/* Of the file that the socket is; 0 before it was accepted, and after it was closed. */
static __always_inline __u64 inode_of(const struct sock *sk)
{
	const struct socket *socket = BPF_CORE_READ(sk, sk_socket);
	const struct inode *inode = (const void *)socket + bpf_core_field_offset(struct socket_alloc, vfs_inode);

	return socket ? BPF_CORE_READ(inode, i_ino) : 0;
}

static __always_inline struct gh_conn *conn_of(const struct sock *sk)
{
	__u64 address = (__u64)sk;
	struct gh_conn *conn = bpf_map_lookup_elem(&gh_conns, &address);
	__u64 inode;

	if (!conn || conn->transport != GH_UNIX)
		return conn;
	inode = inode_of(sk);
	if (!inode || inode == conn->inode)
		return conn;
	if (conn->inode || conn->flags & CONN_CLOSED) { /* another socket by now */
		bpf_map_delete_elem(&gh_conns, &address);
		return NULL;
	}
	conn->inode = inode;
	return conn;
}

/* The one that there is, or a new one that begins as `first` (NULL: as zeros). NULL if there is no memory. */
static __always_inline struct gh_conn *new_conn(const struct sock *sk, const struct gh_conn *first)
{
	__u64 address = (__u64)sk;

	struct gh_conn *conn;

	bpf_map_update_elem(&gh_conns, &address, first ? first : &gh_conn_of_nothing, BPF_NOEXIST);
	conn = bpf_map_lookup_elem(&gh_conns, &address);
	if (conn && conn->transport == GH_UNIX && !conn->inode)
		conn->inode = inode_of(sk);
	return conn;
}

static __always_inline void forget_conn(const struct sock *sk)
{
	__u64 address = (__u64)sk;

	bpf_map_delete_elem(&gh_conns, &address);
}
#else
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct gh_conn);
} gh_conns SEC(".maps");

/* Most sockets have no storage at all, and a load is cheaper than a helper that finds that. */
static __always_inline struct gh_conn *conn_of(const struct sock *sk)
{
	return sk->sk_bpf_storage ? bpf_sk_storage_get(&gh_conns, (void *)sk, 0, 0) : NULL;
}

/* The one that there is, or a new one that begins as `first` (NULL: as zeros). NULL if there is no memory. */
static __always_inline struct gh_conn *new_conn(const struct sock *sk, const struct gh_conn *first)
{
	struct gh_conn *conn =
		bpf_sk_storage_get(&gh_conns, (void *)sk, (void *)first, BPF_SK_STORAGE_GET_F_CREATE);

	/* Of two CPUs that make it at once the kernel tells one that there is none: it finds the other's. */
	return conn ? conn :
		      bpf_sk_storage_get(&gh_conns, (void *)sk, (void *)first, BPF_SK_STORAGE_GET_F_CREATE);
}

static __always_inline void forget_conn(const struct sock *sk)
{
	bpf_sk_storage_delete(&gh_conns, (void *)sk);
}
#endif

/* Life of sockets and processes. Written by every program; user space reads. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} gh_control SEC(".maps");

/* Requests' bytes. A ring of their own, so that no result can push them out. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} gh_requests SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} gh_responses SEC(".maps");

/* enum gh_counter. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GH_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} gh_counters SEC(".maps");

/*
 * Records of life that found no room in a ring. Written when that happens, emptied by user space once it has read what
 * the rings hold; an entry takes memory only while it is there.
 */
#define UNOPENED_MAX 8192   /* sessions that begin while nothing is read */
#define UNCLOSED_MAX 32768  /* sessions that end meanwhile: those that were open, too */
#define IMAGES_UNTOLD_MAX 8192

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, UNOPENED_MAX);
	__type(key, __u64);
	__type(value, struct gh_opened);
} gh_unopened SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, UNCLOSED_MAX);
	__type(key, __u64);
	__type(value, struct gh_closed);
} gh_unclosed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, IMAGES_UNTOLD_MAX);
	__type(key, struct gh_image);
	__type(value, __u64);
} gh_images_untold SEC(".maps");

/* How often an entry was made: user space looks into the maps when these have changed. */
volatile __u64 gh_unclosed_count;
volatile __u64 gh_images_untold_count;
/* Sessions of which not even the ends could be kept: the maps were full, too. */
volatile __u64 gh_sessions_untold;

static __always_inline void count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&gh_counters, &counter);

	if (value)
		*value += 1;
}

static __always_inline __u64 fill_flag(void *ring)
{
	return bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) > gh_wakeup_bytes ? BPF_RB_FORCE_WAKEUP :
									     BPF_RB_NO_WAKEUP;
}

/* Of what is live: bytes of sessions. */
static __always_inline __u64 wakeup_flag(void *ring)
{
	if (!gh_reader_sleeps)
		return fill_flag(ring);
	gh_reader_sleeps = 0;
	return BPF_RB_FORCE_WAKEUP;
}

/* The process that runs, as its ProcessKey and thread. */
static __always_inline void process_of(struct gh_process *process, struct task_struct *task)
{
	process->start_ns = task->group_leader->start_boottime;
	process->pid = task->tgid;
	process->tid = task->pid;
}

static __always_inline void writer_of(struct gh_process *process, struct task_struct *task)
{
	process->start_ns = task->group_leader->start_boottime;
	process->pid = task->tgid;
	process->uid = task->cred->uid.val;
}

static __always_inline void head_of(struct gh_head *head, __u32 kind, __u32 bytes, __u64 socket)
{
	head->time_ns = bpf_ktime_get_boot_ns();
	head->socket = socket;
	head->kind = kind;
	head->flags = 0;
	head->record_bytes = bytes;
}

static __always_inline bool is_named_port(__u16 port)
{
	for (__u32 i = 0; i < GH_PORTS_MAX; i++)
		if (i < gh_port_count && gh_ports[i] == port)
			return true;
	return false;
}

/* A record of life or identity. Where its ring is full, the requests' takes it: user space reads them by time. */
static __always_inline long tell(void *record, __u64 bytes)
{
	if (!bpf_ringbuf_output(&gh_control, record, bytes, fill_flag(&gh_control)))
		return 0;
	if (!bpf_ringbuf_output(&gh_requests, record, bytes, fill_flag(&gh_requests)))
		return 0;
	count(GH_COUNT_CONTROL_RING_FULL);
	return -1;
}

#endif
