/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Unix stream sockets: bytes are taken where they are received, and a packet
 * knows the socket that sent it. The state of a stream is therefore kept with
 * its sender: requests with the client's socket, responses with the server's.
 * A position is what the reader has taken so far.
 */
#ifndef GATEHOUSE_UNIX_PLANE_H
#define GATEHOUSE_UNIX_PLANE_H

#include "tcp_plane.h"

static __always_inline bool is_unix_stream(const struct sock *sk)
{
	return sk->__sk_common.skc_family == AF_UNIX && sk->sk_type == SOCK_STREAM;
}

/*
 * The other end, NULL when this end is closed. Good for reading; state can be
 * reached from it only where the verifier trusts `sk` (trusted_peer).
 */
static __always_inline struct sock *unix_peer(const struct sock *sk)
{
	return kernel_cast(struct unix_sock, sk)->peer;
}

static __always_inline struct sock *trusted_peer(struct sock *sk)
{
	struct unix_sock *u = bpf_skc_to_unix_sock(sk);

	return u ? u->peer : NULL;
}

static __always_inline bool is_bound(const struct sock *sk)
{
	return kernel_cast(struct unix_sock, sk)->addr != NULL;
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

/* A number that no other connection of this boot has; the top bit keeps it apart from TCP's cookies. */
static __always_inline __u64 unix_id(void)
{
	return 1ULL << 63 | (bpf_ktime_get_boot_ns() & ((1ULL << 57) - 1)) << 6 |
	       (bpf_get_smp_processor_id() & 63);
}

/* Is the socket one end of a connection to a server, and which? */
enum unix_role { UNIX_NEITHER, UNIX_CLIENT, UNIX_SERVER };

static __always_inline enum unix_role unix_role(const struct sock *sk, const struct sock *peer)
{
	if (is_bound(sk))
		return !peer || !is_bound(peer) ? UNIX_SERVER : UNIX_CLIENT;
	return peer && is_bound(peer) ? UNIX_CLIENT : UNIX_NEITHER; /* socketpair */
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

/* A session at a server's well-known path that does not begin with a startup packet is older than these programs. */
static __always_inline bool unix_join(struct gh_conn *conn, const struct sock *server, struct sk_buff *skb,
				      struct gh_scratch *s)
{
	struct gh_parse *p = &conn->stream[GH_REQUEST].parse;
	struct bpf_dynptr packet;
	__u8 tag = 0;

	if (bpf_dynptr_from_skb(skb, 0, &packet) ||
	    bpf_dynptr_read(&tag, 1, &packet, kernel_cast(struct unix_skb_parms, skb->cb)->consumed, 0))
		return false;
	if (!is_request_tag(tag))
		return false;
	s->opened.path_bytes = copy_unix_path(s->opened.path, server);
	if (!is_named_path(s->opened.path, s->opened.path_bytes))
		return false;
	conn->flags |= CONN_DECIDED | CONN_JOINED;
	p->mode = MODE_UNSYNCED;
	return true;
}

/*
 * How much has left the reader's queue at least: all that the sender is known to
 * have sent, less what waits. More than was seen to be read was taken without a
 * copy (splice). Of a send that is on its way out the next look will tell.
 */
static __always_inline __u64 unix_left(const struct gh_conn *conn, const struct sock *reader)
{
	const struct unix_sock *u = kernel_cast(struct unix_sock, reader);
	__u64 sent = *(volatile __u64 *)&conn->sent;
	__u32 waits;

	if (!reader || !bpf_core_field_exists(u->inq_len))
		return 0;
	waits = u->inq_len;
	return sent > waits ? sent - waits : 0;
}

static __always_inline void unix_receive(struct sk_buff *skb, struct sock *sender, __u32 bytes)
{
	struct gh_conn *conn = bpf_sk_storage_get(&gh_conns, sender, 0, 0);
	struct gh_scratch *s = scratch();
	struct gh_speech speech = {};
	struct sock *peer;
	__u64 start;

	if (!s || (conn && conn->flags & (CONN_IGNORED | CONN_CLOSED)))
		return;
	peer = unix_peer(sender);
	if (!conn) {
		enum unix_role role = unix_role(sender, peer);

		if (role == UNIX_NEITHER)
			return;
		/* Older than these programs: the search, or the client's next request, makes its state. */
		if (role == UNIX_SERVER) {
			s->opened.path_bytes = copy_unix_path(s->opened.path, sender);
			if (is_named_path(s->opened.path, s->opened.path_bytes))
				return;
		}
		unix_fresh(s, role, peer, 0);
		if (role == UNIX_SERVER) /* nothing was asked yet: not a protocol of ours */
			s->fresh.flags |= CONN_IGNORED;
		conn = bpf_sk_storage_get(&gh_conns, sender, &s->fresh, BPF_SK_STORAGE_GET_F_CREATE);
		if (!conn) {
			count(GH_COUNT_STORAGE_FAILED);
			return;
		}
		if (role == UNIX_SERVER)
			return;
	}
	/* SO_PEEK_OFF: it may look further on, and nothing here tells where. A gap is better than a guess. */
	if (peer && peer->sk_peek_off > 0)
		return;
	speech.conn = conn;
	speech.is_unix = true;
	speech.direction = conn->flags & CONN_CLIENT ? GH_REQUEST : GH_RESPONSE;
	speech.skb = skb;
	speech.bytes = bytes;
	speech.packet_offset = kernel_cast(struct unix_skb_parms, skb->cb)->consumed;
	if (!conn->read_bytes) {
		__u64 left = unix_left(conn, peer);

		if (left > conn->read)
			conn->read = left;
	}
	start = conn->read + conn->read_bytes;
	conn->read_bytes += bytes;
	if (speech.direction == GH_RESPONSE) {
		speech.sk = kernel_cast(struct sock, sender);
		speech.writer = conn->writer;
		if (!(conn->flags & (CONN_OPENED | CONN_UNOPENED))) {
			/* No request was seen: older than these programs, or not ours. */
			conn->flags |= CONN_IGNORED;
			return;
		}
	} else {
		speech.sk = kernel_cast(struct sock, peer);
		if (!find_writer(conn, start, start + bytes, &speech.writer))
			speech.flags = GH_CHUNK_UNCONFIRMED;
		if (!start && !(conn->flags & CONN_DECIDED))
			unix_join(conn, speech.sk, skb, s);
	}
	s->walk.seen = 0;
	if (!tcp_say(&speech, start)) {
		conn->flags |= CONN_IGNORED;
		count(GH_COUNT_SOCKETS_FORGOTTEN);
	}
	conn->seen |= s->walk.seen & SEEN_TERMINATE;
}

/*
 * Why here: it runs in the process that wrote, also when that shares the socket
 * with its parent. It may come after the reader took the bytes: then the reader
 * has left a mark in `unconfirmed`, and is told with a record.
 */
static __always_inline void unix_sent(struct sock *sk, __u32 bytes)
{
	struct gh_conn *conn = bpf_sk_storage_get(&gh_conns, sk, 0, 0);
	struct gh_process writer;
	bool other = false;

	if (!conn) {
		struct gh_scratch *s = scratch();
		struct sock *peer = unix_peer(sk);

		/* The reader makes it, unless the writer is first. */
		if (!s || unix_role(sk, peer) != UNIX_CLIENT)
			return;
		unix_fresh(s, UNIX_CLIENT, peer, 0);
		conn = bpf_sk_storage_get(&gh_conns, sk, &s->fresh, BPF_SK_STORAGE_GET_F_CREATE);
	}
	if (!conn || conn->flags & (CONN_IGNORED | CONN_CLOSED))
		return;
	writer_of(&writer, bpf_get_current_task_btf());
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
		if (mine->left)
			unix_last_gap(mine, mine->left);
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

/*
 * Why here: says what of the copied bytes was really taken (a look ahead takes
 * none), and that the other end has closed. And it is where the verifier lets
 * the state of both ends be reached.
 */
static __always_inline void unix_received(struct sock *sk, int bytes, int flags)
{
	struct sock *peer = trusted_peer(sk);
	struct gh_conn *from, *mine;
	struct gh_scratch *s = scratch();

	if (!peer || !s || flags & MSG_ERRQUEUE)
		return;
	from = bpf_sk_storage_get(&gh_conns, peer, 0, 0);
	if (!from || from->flags & CONN_IGNORED)
		return;
	if (bytes > 0 && !(flags & MSG_PEEK))
		from->read += from->read_bytes;
	from->read_bytes = 0;
	mine = bpf_sk_storage_get(&gh_conns, sk, 0, 0);
	if (!mine) {
		unix_fresh(s, from->flags & CONN_CLIENT ? UNIX_SERVER : UNIX_CLIENT, peer, from->id);
		mine = bpf_sk_storage_get(&gh_conns, sk, &s->fresh, BPF_SK_STORAGE_GET_F_CREATE);
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
	if (!bytes && sk->sk_shutdown & RCV_SHUTDOWN)
		unix_closed(from, mine, true);
	else if (from->seen & SEEN_TERMINATE)
		unix_closed(from, mine, false);
	from->seen = 0;
}

#endif
