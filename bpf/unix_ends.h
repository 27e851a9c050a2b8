/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Unix stream sockets: bytes are taken where they are received, and a packet
 * knows the socket that sent it. The state of a stream is therefore kept with
 * its sender: requests with the client's socket, responses with the server's.
 * A position is what the reader has taken so far.
 */
#ifndef GATEHOUSE_UNIX_ENDS_H
#define GATEHOUSE_UNIX_ENDS_H

#include "connection.h"

static __always_inline bool is_unix_stream(const struct sock *sk)
{
	return field(sk, __sk_common.skc_family) == AF_UNIX && field(sk, sk_type) == SOCK_STREAM;
}

/*
 * The other end, NULL when this end is closed. Good for reading; state can be
 * reached from it only where the verifier trusts `sk` (trusted_peer).
 */
static __always_inline struct sock *unix_peer(const struct sock *sk)
{
	return kernel_field(struct unix_sock, sk, peer);
}

#ifdef GH_UNTYPED
#define trusted_peer unix_peer
#else
static __always_inline struct sock *trusted_peer(struct sock *sk)
{
	struct unix_sock *u = bpf_skc_to_unix_sock(sk);

	return u ? u->peer : NULL;
}
#endif

static __always_inline bool is_bound(const struct sock *sk)
{
	return kernel_field(struct unix_sock, sk, addr) != NULL;
}

/* Does the path end like a PostgreSQL server's: /.s.PGSQL.<port>? */
static __always_inline bool is_named_path(const char *path, __u32 bytes)
{
	const char name[] = ".s.PGSQL.";

	for (__u32 i = 0; i + sizeof(name) < GH_UNIX_PATH_BYTES_MAX; i++) {
		bool same = true;

		if (i + sizeof(name) > bytes)
			return false;
		for (__u32 j = 0; j < sizeof(name) - 1; j++)
			same = same && path[i + j] == name[j];
		if (same)
			return true;
	}
	return false;
}

/* Is the socket one end of a connection to a server, and which? */
enum unix_role { UNIX_NEITHER, UNIX_CLIENT, UNIX_SERVER };

static __always_inline enum unix_role unix_role(const struct sock *sk, const struct sock *peer)
{
	if (is_bound(sk))
		return !peer || !is_bound(peer) ? UNIX_SERVER : UNIX_CLIENT;
	return peer && is_bound(peer) ? UNIX_CLIENT : UNIX_NEITHER; /* socketpair */
}

/*
 * Is the agent at one of the ends? The shim records what it stands between itself. Each end has the other's
 * credentials.
 */
static __always_inline bool is_gated(const struct sock *sk, const struct sock *peer)
{
	__s32 pid = gh_gate_pid;

	return pid && (BPF_CORE_READ(sk, sk_peer_pid, numbers[0].nr) == pid ||
		       (peer && BPF_CORE_READ(peer, sk_peer_pid, numbers[0].nr) == pid));
}

/* The first value of an end's state, in s->fresh. `id` 0: a new connection. */
static __always_inline void unix_fresh(struct gh_scratch *s, enum unix_role role, const struct sock *peer, __u64 id)
{
	bool is_client = role == UNIX_CLIENT;

	__builtin_memset(&s->fresh, 0, sizeof(s->fresh));
	s->fresh.id = id ? id : unix_id();
	s->fresh.transport = GH_UNIX;
	s->fresh.flags = is_client ? CONN_CLIENT : 0;
	s->fresh.stream[GH_REQUEST].parse.mode = MODE_STARTUP;
	s->fresh.stream[GH_RESPONSE].parse.mode = MODE_FRAMES;
	/* Each end has the credentials of the other: who connected, and who listens. */
	if (peer) {
		s->fresh.uid = BPF_CORE_READ(peer, sk_peer_cred, uid.val);
		process_of_peer(&s->fresh.opener, peer);
	}
}

/* Was nothing of it seen yet that could tell what it is? */
static __always_inline bool is_unheard(const struct gh_conn *conn)
{
	const struct gh_stream *requests = &conn->stream[GH_REQUEST];

	return !(conn->flags & (CONN_DECIDED | CONN_OPENED | CONN_UNOPENED)) && !requests->offset &&
	       !requests->parse.header_fill;
}

/* A session that is older than these programs, and of which nothing counts that was sent before `start`. */
static __always_inline void unix_join_at(struct gh_conn *conn, __u64 start)
{
	conn->flags |= CONN_DECIDED | CONN_JOINED;
	conn->stream[GH_REQUEST].parse.mode = MODE_UNSYNCED;
	conn->stream[GH_REQUEST].seq = start;
}

/* Who wrote the bytes that end at `end`? False: that process is still on its way out of its send call. */
static __always_inline bool find_writer(struct gh_conn *conn, __u64 start, __u64 end, struct gh_process *writer)
{
	if (conn->sent < end) {
		/* Announced before looking again: see on_send. */
		__sync_fetch_and_add(&conn->unconfirmed, 1);
		if (*(volatile __u64 *)&conn->sent < end)
			return false;
	}
	if (start >= conn->since)
		*writer = conn->writer;
	else if (start >= conn->since_before)
		*writer = conn->writer_before;
	return true;
}

#ifdef GH_UNTYPED
/* In the syscall plane, what was copied says what was read without a call, see on_copied(). */
static __always_inline __u64 unix_left(const struct gh_conn *conn, const struct sock *reader)
{
	return conn->read + conn->read_bytes;
}
#else
/*
 * How much has left the reader's queue at least: all that the sender is known to
 * have sent, less what waits. More than was seen to be read was taken without a
 * copy (splice). Of a send that is on its way out the next look will tell.
 */
static __always_inline __u64 unix_left(const struct gh_conn *conn, const struct sock *reader)
{
	__u64 sent = *(volatile __u64 *)&conn->sent;
	__u32 waits;

	if (!reader)
		return 0;
	if (!bpf_core_field_exists(struct unix_sock, inq_len))
		return conn->read + conn->read_bytes; /* as far as anybody counts them, see on_spliced() */
	waits = kernel_field(struct unix_sock, reader, inq_len);
	return sent > waits ? sent - waits : 0;
}
#endif

/*
 * Why here: it runs in the process that wrote, also when that shares the socket
 * with its parent. It may come after the reader took the bytes: then the reader
 * has left a mark in `unconfirmed`, and is told with a record. `is_ours`: the socket may be, if it has no state yet.
 */
static __always_inline void unix_sent(struct sock *sk, __u32 bytes, bool is_ours)
{
	struct gh_conn *conn = conn_of(sk);
	struct gh_process writer;
	bool other = false;

	if (!conn) {
		struct gh_scratch *s = scratch();
		struct sock *peer = unix_peer(sk);

		/* The reader makes it, unless the writer is first. */
		if (!is_ours || !s || unix_role(sk, peer) != UNIX_CLIENT)
			return;
		unix_fresh(s, UNIX_CLIENT, peer, 0);
		if (is_gated(sk, peer))
			s->fresh.flags |= CONN_IGNORED;
		conn = new_conn(sk, &s->fresh);
	}
	if (!conn || conn->flags & (CONN_IGNORED | CONN_CLOSED))
		return;
	writer_of(&writer, current_task());
	if (writer.pid != conn->writer.pid || writer.start_ns != conn->writer.start_ns ||
	    writer.uid != conn->writer.uid) {
		conn->writer_before = conn->writer;
		conn->since_before = conn->since;
		conn->since = conn->sent;
		conn->writer = writer;
		other = (conn->flags & (CONN_OPENED | CONN_CLIENT)) == (CONN_OPENED | CONN_CLIENT);
	}
	__sync_fetch_and_add(&conn->sent, bytes);
	/* Joined while bytes waited, which were sent before anyone counted. */
	if (conn->flags & CONN_JOINED && conn->sent < conn->read)
		conn->sent = conn->read;
	/* Many may write before anybody reads: their turns are told as they come. */
	if (other || conn->unconfirmed != conn->confirmed) {
		__u64 unconfirmed = conn->unconfirmed;

		if (emit_sent(conn, conn->sent, conn->since, &conn->writer, 0))
			conn->confirmed = unconfirmed;
	}
}

/* Bytes of the end that nobody saw being read. */
static __always_inline void unix_last_gap(struct gh_conn *conn, __u64 left)
{
	__u32 direction = conn->flags & CONN_CLIENT ? GH_REQUEST : GH_RESPONSE;
	struct gh_stream *stream = &conn->stream[direction];
	__s32 gap = (__u32)left - stream->seq;

	if (gap > 0)
		skip(stream, direction, gap, GH_LOST_UNSUPPORTED);
}

/* `at_end`: the reader has had all that `from` has sent. */
static __always_inline void unix_closed(struct gh_conn *from, struct gh_conn *mine, bool at_end)
{
	__u32 flags = from->flags | mine->flags;

	if (!(flags & CONN_CLOSED)) {
		if (at_end)
			unix_last_gap(from, from->sent);
#ifdef GH_UNTYPED
		unix_last_gap(from, from->read + from->read_bytes);
		unix_last_gap(mine, mine->read + mine->read_bytes);
#else
		if (mine->left)
			unix_last_gap(mine, mine->left);
#endif
	}
	from->flags |= CONN_CLOSED;
	mine->flags |= CONN_CLOSED;
	if (flags & CONN_CLOSED || !(flags & (CONN_OPENED | CONN_UNOPENED)))
		return;
	if (from->flags & CONN_CLIENT)
		emit_closed(from, mine);
	else
		emit_closed(mine, from);
}

/* `sk` has received `bytes` of what `from` (the state of its `peer`) has sent, and what that means for both ends. */
static __always_inline void unix_heard(struct sock *sk, struct sock *peer, struct gh_conn *from,
				       struct gh_scratch *s, int bytes)
{
	struct gh_conn *mine;

	mine = conn_of(sk);
	if (!mine) {
		/* No request was taken yet, or none was seen: a session that nobody was told of has no answers. */
		if (from->flags & CONN_CLIENT && !(from->flags & (CONN_OPENED | CONN_UNOPENED)))
			return;
		unix_fresh(s, from->flags & CONN_CLIENT ? UNIX_SERVER : UNIX_CLIENT, peer, from->id);
		mine = new_conn(sk, &s->fresh);
		if (!mine) {
			count(GH_COUNT_STORAGE_FAILED);
			return;
		}
		if (from->flags & CONN_JOINED)
			mine->stream[GH_RESPONSE].parse.mode = MODE_UNSYNCED;
	}
	if (bytes > 0)
		mine->left = unix_left(mine, peer);
	if (from->flags & CONN_CLIENT)
		mine->flags |= from->flags & (CONN_OPENED | CONN_UNOPENED | CONN_DECIDED | CONN_JOINED);
	learn_other(mine, from->seen);
	if (!bytes && field(sk, sk_shutdown) & RCV_SHUTDOWN)
		unix_closed(from, mine, true);
	else if (from->seen & SEEN_TERMINATE)
		unix_closed(from, mine, false);
	from->seen = 0;
}

#endif
