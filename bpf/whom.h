/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* To whom: the ends of a connection, and the records of its life. */
#ifndef GATEHOUSE_WHOM_H
#define GATEHOUSE_WHOM_H

#include "state.h"
#include "gate.h"

/*
 * Connections whose client end is watched on this host: its number. Written when the client
 * end is established, taken out by the server end, which is established right
 * after; what no server end here takes out is pushed out by newer ones.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct gh_tuple);
	__type(value, __u64);
} gh_client_ends SEC(".maps");

enum gh_join_pass { JOIN_NOTE_SERVERS, JOIN_CLIENTS, JOIN_SERVERS, JOIN_DONE };

/* The search for open sessions, see snapshot.h. Set by user space before each pass, and after the last. */
__u32 gh_join_pass;

/*
 * Who serves a connection. Written by the first pass, emptied by the others. A
 * server end that is captured itself, since it was established while the
 * programs were being attached, is marked: the search leaves its client alone.
 */
#define SERVER_END_CAPTURED (~0U)
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct gh_tuple);
	__type(value, struct gh_process);
} gh_server_ends SEC(".maps");

static __always_inline void addresses_of(const struct sock *sk, __u8 *local, __u8 *remote)
{
	__builtin_memset(local, 0, 16);
	__builtin_memset(remote, 0, 16);
	if (field(sk, __sk_common.skc_family) == AF_INET) {
		*(__u32 *)local = field(sk, __sk_common.skc_rcv_saddr);
		*(__u32 *)remote = field(sk, __sk_common.skc_daddr);
	} else {
		BPF_CORE_READ_INTO((struct in6_addr *)local, sk, __sk_common.skc_v6_rcv_saddr);
		BPF_CORE_READ_INTO((struct in6_addr *)remote, sk, __sk_common.skc_v6_daddr);
	}
}

static __always_inline __u32 netns_of(const struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

static __always_inline void tuple_of(struct gh_tuple *tuple, const struct sock *sk, bool is_client)
{
	__u16 local = field(sk, __sk_common.skc_num);
	__u16 remote = bpf_ntohs(field(sk, __sk_common.skc_dport));
	bool is_v4 = field(sk, __sk_common.skc_family) == AF_INET;

	addresses_of(sk, is_client ? tuple->client_address : tuple->server_address,
		     is_client ? tuple->server_address : tuple->client_address);
	if (!is_v4 && ((__u32 *)tuple->client_address)[2] == bpf_htonl(0xffff)) {
		/* A v4 address in v6 clothes: the other end may be a v4 socket. */
		*(__u32 *)tuple->client_address = ((__u32 *)tuple->client_address)[3];
		*(__u32 *)tuple->server_address = ((__u32 *)tuple->server_address)[3];
		__builtin_memset(tuple->client_address + 4, 0, 12);
		__builtin_memset(tuple->server_address + 4, 0, 12);
		is_v4 = true;
	}
	tuple->client_port = is_client ? local : remote;
	tuple->server_port = is_client ? remote : local;
	tuple->netns = is_loopback(tuple->server_address, is_v4) ? netns_of(sk) : 0;
}

/* Is the connection one of the shim's to a server? Each end of it is asked in the shim's network namespace. */
static __always_inline bool leg_of(const struct gh_tuple *tuple, const struct sock *sk)
{
	const struct gh_leg *leg = leg_at(tuple->client_address, tuple->client_port);

	return leg && leg->netns == netns_of(sk);
}

static __always_inline __u32 copy_unix_path(char *to, const struct sock *sk)
{
	const struct unix_address *address = kernel_field(struct unix_sock, sk, addr);
	__u64 bytes;

	if (!address)
		return 0;
	bytes = field(address, len);
	if (bytes <= sizeof(__u16))
		return 0;
	bytes -= sizeof(__u16);
	barrier_var(bytes);
	if (bytes > GH_UNIX_PATH_BYTES_MAX)
		bytes = GH_UNIX_PATH_BYTES_MAX;
#ifdef GH_FALLBACK /* older verifiers do not know that a spilled register is the same */
	barrier_var(bytes);
	if (bytes > GH_UNIX_PATH_BYTES_MAX)
		return 0;
#endif
	if (bpf_probe_read_kernel(to, bytes, &address->name[0].sun_path))
		return 0;
	return bytes;
}

/* The process behind a socket's credentials. Its start is 0 if it has exited since. */
static __always_inline void process_of_peer(struct gh_process *process, const struct sock *sk)
{
	struct pid *pid = BPF_CORE_READ(sk, sk_peer_pid);
	struct hlist_node *link = BPF_CORE_READ(pid, tasks[PIDTYPE_TGID].first);
	struct task_struct *task;

	process->pid = pid ? BPF_CORE_READ(pid, numbers[0].nr) : 0;
	process->tid = process->pid;
	process->start_ns = 0;
	if (!link)
		return;
	task = (void *)link - bpf_core_field_offset(struct task_struct, pid_links) -
	       PIDTYPE_TGID * sizeof(struct hlist_node) * 2;
	process->start_ns = BPF_CORE_READ(task, start_boottime);
}

/* Notes who the ends are while the socket is at hand, for emit_opened. */
static __always_inline void describe_tcp(struct gh_opened *opened, const struct gh_conn *conn, const struct sock *sk)
{
	bool is_client = conn->flags & CONN_CLIENT;
	__u16 local = field(sk, __sk_common.skc_num);
	__u16 remote = bpf_ntohs(field(sk, __sk_common.skc_dport));
	struct gh_process nobody = {};

	opened->path_bytes = 0;
	opened->netns = netns_of(sk);
	opened->server_opener = nobody;
	addresses_of(sk, is_client ? opened->client_address : opened->server_address,
		     is_client ? opened->server_address : opened->client_address);
	opened->client_port = is_client ? local : remote;
	opened->server_port = is_client ? remote : local;
}

static __always_inline void describe_unix(struct gh_opened *opened, const struct sock *server)
{
	const struct sock *client = kernel_field(struct unix_sock, server, peer);
	struct gh_process nobody = {};

	opened->netns = netns_of(server);
	opened->path_bytes = copy_unix_path(opened->path, server);
	opened->server_opener = nobody;
	if (client)
		process_of_peer(&opened->server_opener, client);
}

#ifdef GH_UNTYPED
/* Older kernels take no value for a map out of a function's argument. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gh_opened);
} gh_opened_copies SEC(".maps");

static __always_inline void keep_unopened(__u64 id, const struct gh_opened *opened)
{
	__u32 zero = 0;
	struct gh_opened *copy = bpf_map_lookup_elem(&gh_opened_copies, &zero);

	if (!copy)
		return;
	*copy = *opened;
	bpf_map_update_elem(&gh_unopened, &id, copy, BPF_ANY);
}
#else
static __always_inline void keep_unopened(__u64 id, const struct gh_opened *opened)
{
	bpf_map_update_elem(&gh_unopened, &id, opened, BPF_ANY);
}
#endif

/* Says that `conn` exists. 0 if no ring has room: its next chunk tries again; gh_unopened remembers it until then. */
__noinline int emit_opened(struct gh_conn *conn, struct gh_opened *opened)
{
	struct gh_process nobody = {};
	bool is_client;

	/* A Unix session is told of with its first request, by the client's end. */
	if (!conn || !opened || (conn->transport == GH_UNIX && !(conn->flags & CONN_CLIENT)))
		return false;
	is_client = conn->flags & CONN_CLIENT || conn->transport == GH_UNIX;
	head_of(&opened->head, GH_RECORD_OPENED, sizeof(*opened), conn->id);
	opened->transport = conn->transport;
	opened->head.flags = (conn->flags & CONN_CLIENT && conn->transport != GH_UNIX ? GH_OPENED_AT_CLIENT : 0) |
			     (conn->flags & CONN_JOINED ? GH_OPENED_JOINED : 0);
	opened->client_uid = conn->uid;
	opened->request_offset = conn->origin[GH_REQUEST];
	opened->response_offset = conn->origin[GH_RESPONSE];
	opened->client_opener = is_client ? conn->opener : nobody;
	if (!is_client)
		opened->server_opener = conn->opener;
	if (tell(opened, sizeof(*opened))) {
		__u64 id = conn->id;

		if (conn->flags & CONN_UNOPENED)
			return false;
		conn->flags |= CONN_UNOPENED;
		keep_unopened(id, opened);
		return false;
	}
	if (conn->flags & CONN_UNOPENED) {
		__u64 id = conn->id;

		bpf_map_delete_elem(&gh_unopened, &id);
		conn->flags &= ~CONN_UNOPENED;
	}
	conn->flags |= CONN_OPENED;
	count(GH_COUNT_SOCKETS_WATCHED);
	return true;
}

static __always_inline void emit_opaque(struct gh_conn *conn, __u32 reason)
{
	struct gh_opaque_record record = {};

	head_of(&record.head, GH_RECORD_OPAQUE, sizeof(record), conn->id);
	record.reason = reason;
	conn->opaque_reason = reason;
	if (tell(&record, sizeof(record)))
		conn->flags |= CONN_OPAQUE_DUE;
	else
		conn->flags &= ~CONN_OPAQUE_DUE;
}

/* False: no room. */
static __always_inline bool emit_sent(struct gh_conn *conn, __u64 sent, __u64 since,
				      const struct gh_process *writer, __u32 flags)
{
	struct gh_sent record = {};

	head_of(&record.head, GH_RECORD_SENT, sizeof(record), conn->id);
	record.head.flags = flags;
	record.sent = sent;
	record.since = since;
	record.writer = *writer;
	return !tell(&record, sizeof(record));
}

/* A header that was cut by the end of a read, and whose rest never came, was never delivered. */
static __always_inline void finish_stream(struct gh_stream *stream)
{
	stream->lost[GH_LOST_UNSYNCED] += stream->parse.header_fill;
	stream->offset += stream->parse.header_fill;
	stream->parse.header_fill = 0;
}

/*
 * `response`: NULL if that end's state is gone. The session is one that was told of, or whose telling found no room
 * (gh_unopened); then its end goes the same way, so that user space learns both together.
 */
static __always_inline void emit_closed(struct gh_conn *request, struct gh_conn *response)
{
	struct gh_closed record = {};
	__u64 id = request->id;

	finish_stream(&request->stream[GH_REQUEST]);
	if (response)
		finish_stream(&response->stream[GH_RESPONSE]);
	head_of(&record.head, GH_RECORD_CLOSED, sizeof(record), id);
	record.stream_bytes[GH_REQUEST] = request->stream[GH_REQUEST].offset;
	__builtin_memcpy(record.lost_bytes[GH_REQUEST], request->stream[GH_REQUEST].lost,
			 sizeof(record.lost_bytes[0]));
	if (response) {
		record.stream_bytes[GH_RESPONSE] = response->stream[GH_RESPONSE].offset;
		__builtin_memcpy(record.lost_bytes[GH_RESPONSE], response->stream[GH_RESPONSE].lost,
				 sizeof(record.lost_bytes[0]));
	}
	if (request->flags & CONN_OPENED && !tell(&record, sizeof(record)))
		return;
	if (bpf_map_update_elem(&gh_unclosed, &id, &record, BPF_ANY)) {
		bpf_map_delete_elem(&gh_unopened, &id);
		__sync_fetch_and_add(&gh_sessions_untold, 1);
	}
	__sync_fetch_and_add(&gh_unclosed_count, 1);
}

#endif
