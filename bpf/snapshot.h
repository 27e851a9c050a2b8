/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which connections there are. Sessions that were open before these programs: found through the files of all
 * processes, in three passes. The first notes who serves, so that the second
 * can tell it with each client's end; the third takes the servers' ends that
 * have no client on this host. Why the files and not the sockets: they name the
 * process, and are the same search for TCP, Unix and all network namespaces.
 */
#ifndef GATEHOUSE_SNAPSHOT_H
#define GATEHOUSE_SNAPSHOT_H

#include "unix_ends.h"

/* Of the search, which can be preempted and therefore shares nothing with the other programs. */
struct gh_join_scratch {
	struct gh_conn conn;
	struct gh_opened opened;
	struct gh_tuple tuple;
	__u64 address;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gh_join_scratch);
} gh_join_scratches SEC(".maps");

static __always_inline struct gh_join_scratch *join_scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&gh_join_scratches, &zero);
}

#ifdef GH_UNTYPED
#define tcp_sock_of(sk) ((const struct tcp_sock *)(sk))
#else
#define tcp_sock_of(sk) ((const struct tcp_sock *)kernel_cast(struct tcp_sock, sk))
#endif

/* Without the socket's lock. False: it moved meanwhile. `is_client`: this end sent the SYN, which counts as a byte. */
static __always_inline bool read_tcp_position(struct gh_conn *conn, const struct tcp_sock *tp, bool is_client)
{
	__u32 tx = is_client ? GH_REQUEST : GH_RESPONSE;
	__u64 acked = field(tp, bytes_acked), received = field(tp, bytes_received);
	__u32 una = field(tp, snd_una), write = field(tp, write_seq);
	__u32 next = field(tp, rcv_nxt), copied = field(tp, copied_seq);

	conn->stream[tx].seq = write;
	conn->stream[!tx].seq = copied;
	conn->origin[tx] = acked + (__u32)(write - una) - is_client;
	conn->origin[!tx] = received - (__u32)(next - copied);
	barrier();
	return acked == field(tp, bytes_acked) && received == field(tp, bytes_received);
}

/* How far both streams of an open connection have come. */
static __always_inline void tcp_position(struct gh_conn *conn, const struct sock *sk, bool is_client)
{
	const struct tcp_sock *tp = tcp_sock_of(sk);

	/* Not a loop: older verifiers take none that is entered without a jump. */
	if (!read_tcp_position(conn, tp, is_client) && !read_tcp_position(conn, tp, is_client) &&
	    !read_tcp_position(conn, tp, is_client))
		read_tcp_position(conn, tp, is_client);
	conn->stream[0].offset = conn->origin[0];
	conn->stream[1].offset = conn->origin[1];
}

static __always_inline void join_unsynced(struct gh_conn *conn)
{
	conn->flags |= CONN_DECIDED | CONN_JOINED;
	conn->stream[GH_REQUEST].parse.mode = MODE_UNSYNCED;
	conn->stream[GH_RESPONSE].parse.mode = MODE_UNSYNCED;
}

/* Says that the session exists, idle as it may be, then publishes its state: until then no other program sees it. */
static __always_inline void publish(struct gh_join_scratch *s, struct sock *sk)
{
	struct gh_conn *conn;

	emit_opened(&s->conn, &s->opened);
	conn = new_conn(sk, &s->conn);
	if (!conn)
		count(GH_COUNT_STORAGE_FAILED);
	else if (conn->id != s->conn.id) /* it spoke meanwhile, and goes by another number */
		emit_closed(&s->conn, &s->conn);
}

static __always_inline void join_tcp(struct gh_join_scratch *s, struct sock *sk, struct task_struct *task,
				     bool is_client)
{
	struct gh_process *server;
	__u64 *client;

	tuple_of(&s->tuple, sk, is_client);
	client = is_client ? NULL : bpf_map_lookup_elem(&gh_client_ends, &s->tuple);
	if (client) {
		/* Its next read tells who serves: until it has forked, a server that listens holds it. */
		s->conn.id = *client;
		s->conn.flags = CONN_OTHER_END | CONN_DECIDED;
		if (!new_conn(sk, &s->conn))
			count(GH_COUNT_STORAGE_FAILED);
		bpf_map_delete_elem(&gh_client_ends, &s->tuple);
		count(GH_COUNT_OTHER_END);
		return;
	}
	s->conn.id = tcp_id(sk);
	s->conn.transport = field(sk, __sk_common.skc_family) == AF_INET ? GH_TCP4 : GH_TCP6;
	s->conn.flags = is_client ? CONN_CLIENT : 0;
	s->conn.uid = is_client ? field(sk, sk_uid.val) : ~0U;
	process_of(&s->conn.opener, task);
	tcp_position(&s->conn, sk, is_client);
	join_unsynced(&s->conn);
	describe_tcp(&s->opened, &s->conn, sk);
	if (is_client) {
		server = bpf_map_lookup_elem(&gh_server_ends, &s->tuple);
		if (server && server->pid == SERVER_END_CAPTURED) {
			bpf_map_delete_elem(&gh_server_ends, &s->tuple);
			count(GH_COUNT_OTHER_END);
			return;
		}
		if (server)
			s->opened.server_opener = *server;
		bpf_map_update_elem(&gh_client_ends, &s->tuple, &s->conn.id, BPF_ANY);
	}
	bpf_map_delete_elem(&gh_server_ends, &s->tuple);
	publish(s, sk);
}

/* A Unix connection has no name of its own: its client's address in memory. */
static __always_inline void unix_tuple(struct gh_join_scratch *s, const struct sock *client)
{
	s->address = (__u64)client;
	barrier(); /* a plain number once it was stored */
	__builtin_memcpy(s->tuple.client_address, &s->address, sizeof(s->address));
	s->tuple.server_port = 0xffff;
}

static __always_inline void join_unix_client(struct gh_join_scratch *s, struct sock *sk, struct task_struct *task)
{
	const struct sock *server_end = unix_peer(sk);
	struct gh_process *server;

	s->conn.id = unix_id();
	s->conn.transport = GH_UNIX;
	s->conn.flags = CONN_CLIENT;
	s->conn.uid = BPF_CORE_READ(server_end, sk_peer_cred, uid.val);
	process_of_peer(&s->conn.opener, server_end);
	if (!s->conn.opener.start_ns) /* it is gone, and who has the socket now is who speaks */
		process_of(&s->conn.opener, task);
	join_unsynced(&s->conn);
	describe_unix(&s->opened, server_end);
	server = bpf_map_lookup_elem(&gh_server_ends, &s->tuple);
	if (server)
		s->opened.server_opener = *server;
	publish(s, sk);
}

/* The server's end of a session that was joined at the client's. */
static __always_inline void join_unix_server(struct gh_join_scratch *s, struct sock *sk)
{
	struct sock *client = trusted_peer(sk);
	struct gh_conn *other;

	bpf_map_delete_elem(&gh_server_ends, &s->tuple);
	if (!client)
		return;
	other = conn_of(client);
	if (!other || !(other->flags & CONN_JOINED))
		return;
	s->conn.id = other->id;
	s->conn.transport = GH_UNIX;
	s->conn.flags = other->flags & CONN_OPENED;
	s->conn.opener = other->opener;
	s->conn.uid = other->uid;
	join_unsynced(&s->conn);
	if (!new_conn(sk, &s->conn))
		count(GH_COUNT_STORAGE_FAILED);
}

static __always_inline void search_tcp(struct gh_join_scratch *s, struct sock *sk, struct task_struct *task)
{
	bool is_client = gh_watch_client_ends && is_named_port(bpf_ntohs(field(sk, __sk_common.skc_dport)));
	bool is_server = is_named_port(field(sk, __sk_common.skc_num));

	if (field(sk, __sk_common.skc_state) != TCP_ESTABLISHED)
		return;
	if (gh_join_pass == JOIN_CLIENTS && is_client)
		join_tcp(s, sk, task, true);
	else if (gh_join_pass == JOIN_SERVERS && is_server)
		join_tcp(s, sk, task, false);
	else if (gh_join_pass == JOIN_NOTE_SERVERS && is_server) {
		struct gh_process *noted;

		tuple_of(&s->tuple, sk, false);
		noted = bpf_map_lookup_elem(&gh_server_ends, &s->tuple);
		if (noted && noted->pid == SERVER_END_CAPTURED)
			return;
		process_of(&s->conn.opener, task);
		bpf_map_update_elem(&gh_server_ends, &s->tuple, &s->conn.opener, BPF_ANY);
	}
}

static __always_inline void search_unix(struct gh_join_scratch *s, struct sock *sk, struct task_struct *task)
{
	const struct sock *peer = unix_peer(sk);
	enum unix_role role = unix_role(sk, peer);
	const struct sock *server = role == UNIX_SERVER ? sk : peer;

	if (!peer || role == UNIX_NEITHER)
		return;
	s->opened.path_bytes = copy_unix_path(s->opened.path, server);
	if (!is_named_path(s->opened.path, s->opened.path_bytes))
		return;
	unix_tuple(s, role == UNIX_SERVER ? peer : sk);
	if (gh_join_pass == JOIN_CLIENTS && role == UNIX_CLIENT)
		join_unix_client(s, sk, task);
	else if (gh_join_pass == JOIN_SERVERS && role == UNIX_SERVER)
		join_unix_server(s, sk);
	else if (gh_join_pass == JOIN_NOTE_SERVERS && role == UNIX_SERVER) {
		process_of(&s->conn.opener, task);
		bpf_map_update_elem(&gh_server_ends, &s->tuple, &s->conn.opener, BPF_ANY);
	}
}

/* What the iterators hand over, as sockets. */
#ifdef GH_UNTYPED
static __always_inline struct sock *sock_from_file(const struct file *file)
{
	const struct socket *socket;

	if ((BPF_CORE_READ(file, f_inode, i_mode) & S_IFMT) != S_IFSOCK)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	return BPF_CORE_READ(socket, sk);
}
#define full_sock(common) ((struct sock *)(common))
#else
static __always_inline struct sock *sock_from_file(struct file *file)
{
	struct socket *socket = bpf_sock_from_file(file);

	return socket ? socket->sk : NULL;
}
#define full_sock(common) ((struct sock *)bpf_skc_to_tcp_sock(common))
#endif

SEC("iter/task_file")
int join_open_sockets(struct bpf_iter__task_file *ctx)
{
	struct gh_join_scratch *s = join_scratch();
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct gh_conn *known;
	struct sock *sk;

	if (!task || !file || !s)
		return 0;
	sk = sock_from_file(file);
	if (!sk)
		return 0;
	known = gh_join_pass == JOIN_NOTE_SERVERS ? NULL : conn_of(sk);
	if (known) {
		/* Connecting was seen, and being connected came before the program for that: begins anew. */
		if (known->id || known->flags & CONN_OTHER_END || !is_tcp(sk) ||
		    field(sk, __sk_common.skc_state) != TCP_ESTABLISHED)
			return 0;
		forget_conn(sk);
	}
	__builtin_memset(s, 0, sizeof(*s));
	if (is_tcp(sk))
		search_tcp(s, sk, task);
	else if (is_unix_stream(sk))
		search_unix(s, sk, task);
	return 0;
}

/*
 * Writes the id of every watched TCP connection that is still there. Why: a closing
 * record can be missing (its ring was full, its program was not run), and a
 * session must not stay open for ever because of that.
 */
SEC("iter/tcp")
int list_watched(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct gh_conn *conn;
	struct sock *sk;
	__u64 id;

	if (!common)
		return 0;
	sk = full_sock(common);
	if (!sk)
		return 0;
	conn = conn_of(sk);
	if (!conn || !conn->id)
		return 0;
	id = conn->id;
	bpf_seq_write(ctx->meta->seq, &id, sizeof(id));
	return 0;
}

/*
 * Where the open connections stand: what was lost at the very end of a stream is shown by no later record. Run when
 * user space stops watching. A socket that several processes hold is told several times.
 */
SEC("iter/task_file")
int tell_positions(struct bpf_iter__task_file *ctx)
{
	struct gh_position position = {};
	struct file *file = ctx->file;
	struct gh_conn *conn;
	struct sock *sk;

	if (!ctx->task || !file)
		return 0;
	sk = sock_from_file(file);
	if (!sk)
		return 0;
	conn = conn_of(sk);
	if (!conn || !(conn->flags & (CONN_OPENED | CONN_UNOPENED)))
		return 0;
	position.socket = conn->id;
	for (int d = 0; d < GH_DIRECTIONS; d++) {
		position.stream_bytes[d] = conn->stream[d].offset + conn->stream[d].parse.header_fill;
		for (int r = 0; r < GH_LOST_REASONS; r++)
			position.lost_bytes[d][r] = conn->stream[d].lost[r];
	}
	bpf_seq_write(ctx->meta->seq, &position, sizeof(position));
	return 0;
}

#endif
