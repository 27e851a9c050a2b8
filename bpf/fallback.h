/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the fallback planes make of bytes that a process has moved: they are read from its memory, after the fact and
 * without the socket's lock. A position is known (TCP's own number, or the count of a Unix socket), so bytes are taken
 * only where they must be: what was moved is just what is missing up to there. Where two threads are at one direction
 * of a socket at a time, nobody can tell whose bytes are whose, and a gap is better than a guess.
 */
#ifndef GATEHOUSE_FALLBACK_H
#define GATEHOUSE_FALLBACK_H

#include "call.h"
#include "life.h"
#include "unix_ends.h"

#define CALL_STEPS_MAX 2048 /* buffers and messages of one call */

/* Only one program at a time may be at a direction. False: another one is; what it does not say will show as a gap. */
static __always_inline bool enter(struct gh_conn *conn, __u32 direction)
{
	__u32 *busy = &conn->busy[direction & 1];

	__sync_fetch_and_add(busy, 1);
	if (*(volatile __u32 *)busy == 1)
		return true;
	__sync_fetch_and_add(busy, -1);
	return false;
}

static __always_inline void leave(struct gh_conn *conn, __u32 direction)
{
	__sync_fetch_and_add(&conn->busy[direction & 1], -1);
}

/* Says `bytes` at s->user. True: the socket is none of ours. The position has moved on already. */
static __always_inline bool say_buffer(struct gh_scratch *s, struct gh_conn *conn, __u32 bytes)
{
	struct gh_speech speech = { .conn = conn, .port = s->port, .is_unix = s->is_unix };
	struct gh_stream *stream = &conn->stream[s->walk.direction & 1];

	s->walk.may_be_tls = may_be_tls(conn, s->port);
	if (stream->parse.mode == MODE_COUNT) {
		stream->offset += bytes;
		if (conn->flags & CONN_OPAQUE_DUE)
			emit_opaque(conn, conn->opaque_reason);
		return false;
	}
	return learn(&speech, say_user(s, conn, bytes), bytes);
}

/* The next buffer, or the next message. 1: that was the last. */
__noinline int say_one_buffer(struct gh_scratch *s, struct gh_conn *conn)
{
	__u64 bytes;

	if (!s || !conn)
		return 1;
	if (!s->send_left && s->call.messages_left) {
		__s64 message = next_message(&s->call);

		if (message > 0)
			s->send_left = message;
		return message < 0;
	}
	if (!s->send_left || s->call.at >= s->call.buffers || !read_buffer(&s->call, s->call.at++, &s->user, &bytes))
		return 1;
	if (bytes > s->send_left)
		bytes = s->send_left;
	s->send_left -= bytes;
	s->bytes_left -= bytes;
	if (bytes)
		s->send_forget = say_buffer(s, conn, bytes);
	return s->send_forget || (!s->send_left && !s->call.messages_left);
}

/* Says the bytes that are due of the call in s->call. True: the socket is none of ours. */
__noinline int say_call(struct gh_scratch *s, struct gh_conn *conn)
{
	if (!s || !conn)
		return 0;
	s->dry = 0;
	s->bytes_left = s->call.due;
	s->send_left = s->call.messages_left ? 0 : s->call.due;
	s->send_forget = 0;
	loop(step, CALL_STEPS_MAX)
		if (say_one_buffer(s, conn))
			break;
	if (s->bytes_left && !s->send_forget)
		skip(&conn->stream[s->walk.direction & 1], s->walk.direction, s->bytes_left, GH_LOST_UNSUPPORTED);
	return s->send_forget;
}

/* The first bytes that the call has moved, as far as they are in its first buffer. Returns how many. */
static __always_inline __u32 first_bytes(const struct gh_scratch *s, void *to, __u32 bytes_max)
{
	__u64 user = s->user, bytes;

	if (s->call.messages_left || !read_buffer(&s->call, 0, &user, &bytes))
		return 0;
	if (bytes > s->call.moved)
		bytes = s->call.moved;
	if (bytes > bytes_max)
		bytes = bytes_max;
	barrier_var(bytes); /* clamp the very register the helper gets */
	if (bytes > bytes_max || bpf_probe_read_user(to, bytes, (const void *)user))
		return 0;
	return bytes;
}

/*
 * The server's end of a captured connection reads for the first time: by now the process that serves is settled.
 * True: that is told, or of no interest, and the socket can be forgotten.
 */
__noinline int tell_peer(struct gh_scratch *s, struct gh_conn *conn, __u32 port)
{
	struct gh_peer record = {};
	__u32 startup[2] = {};
	__u32 bytes, version;

	if (!s || !conn)
		return 0;
	bytes = first_bytes(s, startup, sizeof(startup));
	version = bpf_ntohl(startup[1]) >> 16;
	expect_peer_handshake(startup);
	/* 3: a startup message; 1234: SSLRequest and its like, or half of one. Others only at a named port. */
	if (version == 3 || version == 1234 || conn->flags & CONN_DECIDED ||
	    (bytes < sizeof(startup) && bpf_ntohl(startup[0]) <= STARTUP_BYTES_MAX) || is_named_port(port)) {
		head_of(&record.head, GH_RECORD_PEER, sizeof(record), conn->id);
		process_of(&record.server, current_task());
		if (tell(&record, sizeof(record))) {
			conn->flags |= CONN_DECIDED; /* the next read tells it */
			return 0;
		}
	}
	return 1;
}

/* How far the direction has come, as TCP counts its bytes: a FIN is none. */
static __always_inline __u32 tcp_end(const struct gh_conn *conn, const struct sock *sk, bool sends)
{
	__u32 copied;

	if (sends)
		return kernel_field(struct tcp_sock, sk, write_seq) - !!(conn->flags & CONN_FIN_SENT);
	copied = kernel_field(struct tcp_sock, sk, copied_seq);
	return copied - has_read_fin(sk, copied);
}

/* How many of the call's bytes, the last of which is before `end`, are to be said. */
static __always_inline __u32 tcp_due(struct gh_scratch *s, struct gh_conn *conn, const struct sock *sk, __u32 end,
				     bool *forget)
{
	__u32 direction = s->walk.direction & 1;
	struct gh_stream *stream = &conn->stream[direction];
	struct gh_speech speech = { .conn = conn };
	__s32 missing = end - stream->seq;

	if (missing <= 0)
		return 0;
	stream->seq = end;
	if (missing != (__s32)s->call.moved || !s->call.is_read) {
		skip(stream, direction, missing, GH_LOST_UNSUPPORTED);
		return 0;
	}
	s->is_unix = false;
	s->flags = 0;
	s->port = conn->flags & CONN_DECIDED ? 0 : server_port(conn, sk);
	if (!(conn->flags & CONN_OPENED))
		describe_tcp(&s->opened, conn, sk);
	if (direction == GH_REQUEST && conn->flags & CONN_CLIENT)
		writer_of(&s->writer, current_task());
	else
		__builtin_memset(&s->writer, 0, sizeof(s->writer));
	if (response_comes_first(conn, direction)) {
		speech.port = s->port;
		*forget = learn(&speech, SEEN_NOT_PROTOCOL, 0);
		return 0;
	}
	return s->call.moved;
}

/*
 * Every program first makes out what was moved (tcp_moved, unix_moved), then says it (say_call), then does what follows
 * from that (tcp_said, unix_said): one after the other and not one inside the other, since the frames of a chain of
 * calls share 512 bytes, and older kernels round each up to 32.
 */

/* After say_call(): the call's direction is free again, and the socket forgotten if it is none of ours. */
static __always_inline void tcp_said(struct gh_scratch *s, struct sock *sk, struct gh_conn *conn, bool forget)
{
	leave(conn, s->walk.direction);
	if (!forget)
		return;
	forget_conn(sk);
	count(GH_COUNT_SOCKETS_FORGOTTEN);
}

/* A process has moved s->call through a TCP socket. True: say it. */
static __noinline bool tcp_moved(struct gh_scratch *s, struct sock *sk, struct gh_conn *conn)
{
	bool sends = s->call.kind & CALL_SENDS, forget = false;
	__u32 direction;

	if (conn->flags & CONN_OTHER_END) {
		if (!sends && s->call.is_read && tell_peer(s, conn, field(sk, __sk_common.skc_num)))
			forget_told(conn, sk);
		return false;
	}
	direction = sends ? sending_direction(conn) : !sending_direction(conn);
	barrier_var(direction); /* bounded where it is used: older verifiers do not follow the sum */
	if (!enter(conn, direction))
		return false;
	s->walk.direction = direction;
	s->call.due = tcp_due(s, conn, sk, tcp_end(conn, sk, sends), &forget);
	if (s->call.due)
		return true;
	tcp_said(s, sk, conn, forget);
	return false;
}

/* A session at a server's well-known path that does not begin with a startup packet is older than these programs. */
static __always_inline void unix_join(struct gh_scratch *s, struct gh_conn *conn, const struct sock *server,
				      __u64 start)
{
	__u8 tag = 0;

	if (!first_bytes(s, &tag, 1) || !is_request_tag(tag))
		return;
	s->opened.path_bytes = copy_unix_path(s->opened.path, server);
	if (!is_named_path(s->opened.path, s->opened.path_bytes))
		return;
	unix_join_at(conn, start);
}

#ifdef GH_UNTYPED
/* Nobody tells of a Unix socket's end: only what begins as our protocol does, or is at a named path, gets a state. */
static __always_inline bool may_be_ours(struct gh_scratch *s, const struct sock *server)
{
	__u32 startup[2] = {};
	__u32 bytes, code;

	s->opened.path_bytes = copy_unix_path(s->opened.path, server);
	if (is_named_path(s->opened.path, s->opened.path_bytes))
		return true;
	if (!s->call.is_read || first_bytes(s, startup, sizeof(startup)) < sizeof(startup))
		return false;
	bytes = bpf_ntohl(startup[0]);
	code = bpf_ntohl(startup[1]);
	return bytes >= 8 && bytes <= STARTUP_BYTES_MAX && (code >> 16 == 3 || code >> 16 == 1234);
}
#else
#define may_be_ours(s, server) true
#endif

/* The state of the end that has sent; NULL if the socket is none of ours. */
static __always_inline struct gh_conn *unix_first_read(struct gh_scratch *s, struct sock *sender,
						       struct sock *reader)
{
	enum unix_role role = unix_role(sender, reader);
	struct gh_conn *conn;

	if (role == UNIX_NEITHER || (role == UNIX_CLIENT && !may_be_ours(s, reader)))
		return NULL;
	unix_fresh(s, role, reader, 0);
	if (role == UNIX_SERVER || is_gated(sender, reader)) /* nothing was asked yet: not a protocol of ours */
		s->fresh.flags |= CONN_IGNORED;
	conn = new_conn(sender, &s->fresh);
	if (!conn)
		count(GH_COUNT_STORAGE_FAILED);
	return conn;
}

/* How many of the call's bytes, which begin at `start`, are to be said. */
static __always_inline __u32 unix_due(struct gh_scratch *s, struct gh_conn *conn, struct sock *sender,
				      struct sock *reader, __u64 start)
{
	__u32 direction = s->walk.direction & 1, bytes = s->call.moved;
	struct gh_stream *stream = &conn->stream[direction];
	__s32 gap;

	if (direction == GH_REQUEST && s->call.is_read && is_unheard(conn))
		unix_join(s, conn, reader, start);
	gap = (__u32)start - stream->seq;
	if (gap > 0)
		skip(stream, direction, gap, GH_LOST_UNSUPPORTED);
	stream->seq = start + bytes;
	if (!s->call.is_read) {
		skip(stream, direction, bytes, GH_LOST_UNSUPPORTED);
		return 0;
	}
	s->is_unix = true;
	s->port = 0;
	s->flags = 0;
	s->writer = conn->writer;
	if (direction == GH_REQUEST) {
		__builtin_memset(&s->writer, 0, sizeof(s->writer));
		if (!find_writer(conn, start, start + bytes, &s->writer))
			s->flags = GH_CHUNK_UNCONFIRMED;
		if (start < conn->since && start + bytes > conn->since)
			s->writer.pid = 0; /* several: user space knows their turns */
	}
	if (!(conn->flags & CONN_OPENED))
		describe_unix(&s->opened, direction == GH_REQUEST ? reader : sender);
	return bytes;
}

/* `reader` has taken s->call, which `conn`'s socket has sent. */
static __always_inline void unix_taken(struct gh_scratch *s, struct gh_conn *conn, struct sock *sender,
				       struct sock *reader)
{
	__u32 direction = conn->flags & CONN_CLIENT ? GH_REQUEST : GH_RESPONSE;
	__u64 start = conn->read, left = unix_left(conn, reader);

	if (conn->flags & CONN_CLOSED)
		return;
	if (direction == GH_RESPONSE && !(conn->flags & (CONN_OPENED | CONN_UNOPENED))) {
		/* No request was seen: older than these programs, or not ours. */
		conn->flags |= CONN_IGNORED;
		return;
	}
	/* Bytes that left the queue unseen (splice) did so before these. */
	if (left > start + s->call.moved)
		start = left - s->call.moved;
	conn->read = start + s->call.moved;
	conn->read_bytes = 0;
	if (!enter(conn, direction))
		return;
	s->walk.direction = direction;
	s->call.due = unix_due(s, conn, sender, reader, start);
	if (!s->call.due)
		leave(conn, direction);
}

/*
 * A process has received s->call from a Unix socket: bytes, or the end of what the other end has sent. The state of
 * that end; NULL if it is none of ours. If something is due of it, say it; then unix_said().
 */
static __noinline struct gh_conn *unix_moved(struct gh_scratch *s, struct sock *sk, struct sock *peer)
{
	struct gh_conn *from = conn_of(peer);
	bool peeks = s->call.flags & MSG_PEEK;

	s->call.due = 0;
	if (s->call.flags & (MSG_ERRQUEUE | MSG_OOB))
		return NULL;
#ifdef GH_UNTYPED
	if (from && peeks)
		from->read_bytes -= min(from->read_bytes, s->call.moved); /* copied, and not taken */
#endif
	if (s->call.moved && !peeks) {
		if (!from)
			from = unix_first_read(s, peer, sk);
#ifndef GH_UNTYPED
		if (from)
			__sync_fetch_and_add(&from->read_bytes, s->call.moved); /* what was spliced stands there */
#endif
		if (from && !(from->flags & CONN_IGNORED))
			unix_taken(s, from, peer, sk);
	}
	return !from || from->flags & CONN_IGNORED ? NULL : from;
}

/* What `sk` has received means for both ends, once it is said. */
static __noinline void unix_said(struct gh_scratch *s, struct sock *sk, struct sock *peer, struct gh_conn *from,
				 bool forget)
{
	if (s->call.due)
		leave(from, s->walk.direction);
	if (forget) {
		from->flags |= CONN_IGNORED;
		count(GH_COUNT_SOCKETS_FORGOTTEN);
		return;
	}
	unix_heard(sk, peer, from, s, s->call.moved);
}

#endif
