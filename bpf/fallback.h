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
__noinline int say_segment(struct gh_scratch *s, struct gh_conn *conn, __u32 bytes)
{
	struct gh_speech speech = { .conn = conn };
	struct gh_stream *stream;

	if (!s || !conn)
		return 0;
	stream = &conn->stream[s->walk.direction & 1];
	if (stream->parse.mode == MODE_COUNT) {
		stream->offset += bytes;
		if (conn->flags & CONN_OPAQUE_DUE)
			emit_opaque(conn, conn->opaque_reason);
		return 0;
	}
	speech.is_unix = s->is_unix;
	speech.port = s->port;
	return learn(&speech, say_user(s, conn, bytes));
}

/* The next buffer, or the next message. 1: that was the last. */
__noinline int say_one_buffer(struct gh_scratch *s, struct gh_conn *conn)
{
	__u64 bytes, user;

	if (!s || !conn)
		return 1;
	if (!s->send_left && s->call.messages_left) {
		__s64 message = next_message(&s->call);

		if (message > 0)
			s->send_left = message;
		return message < 0;
	}
	if (!s->send_left || s->call.at >= s->call.buffers || !read_buffer(&s->call, s->call.at++, &user, &bytes))
		return 1;
	if (bytes > s->send_left)
		bytes = s->send_left;
	s->user = user;
	s->send_left -= bytes;
	s->bytes_left -= bytes;
	if (bytes)
		s->send_forget = say_segment(s, conn, bytes);
	return s->send_forget;
}

/* Says `bytes` that the call in s->call has moved. True: the socket is none of ours. */
__noinline int say_call(struct gh_scratch *s, struct gh_conn *conn, __u32 bytes)
{
	if (!s || !conn)
		return 0;
	s->dry = 0;
	if (!s->call.vector && !s->call.messages_left)
		return say_segment(s, conn, bytes);
	s->bytes_left = bytes;
	s->send_left = s->call.messages_left ? 0 : bytes;
	s->send_forget = 0;
	loop(step, CALL_STEPS_MAX)
		if (say_one_buffer(s, conn))
			break;
	if (s->bytes_left && !s->send_forget)
		skip(&conn->stream[s->walk.direction & 1], s->walk.direction, s->bytes_left, GH_LOST_UNSUPPORTED);
	return s->send_forget;
}

/* The first bytes that the call has moved, as far as they are in its first buffer. Returns how many. */
static __always_inline __u32 first_bytes(const struct gh_scratch *s, void *to, __u32 bytes_max, __u32 moved)
{
	__u64 user = s->user, bytes = moved;

	if (s->call.messages_left)
		return 0;
	if (s->call.vector && !read_buffer(&s->call, 0, &user, &bytes))
		return 0;
	if (bytes > moved)
		bytes = moved;
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
__noinline int tell_peer(struct gh_scratch *s, struct gh_conn *conn, __u32 moved, __u32 port)
{
	struct gh_peer record = {};
	__u32 startup[2] = {};
	__u32 bytes, version;

	if (!s || !conn)
		return 0;
	bytes = first_bytes(s, startup, sizeof(startup), moved);
	version = bpf_ntohl(startup[1]) >> 16;
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

/* `bytes` up to `end`: what was said of them. True: the socket is none of ours. */
static __always_inline bool tcp_said(struct gh_scratch *s, struct gh_conn *conn, const struct sock *sk, __u32 end,
				     __u32 bytes, bool is_read)
{
	__u32 direction = s->walk.direction & 1;
	struct gh_stream *stream = &conn->stream[direction];
	struct gh_speech speech = { .conn = conn };
	__s32 missing = end - stream->seq;

	if (missing <= 0)
		return false;
	stream->seq = end;
	if (missing != (__s32)bytes || !is_read) {
		skip(stream, direction, missing, GH_LOST_UNSUPPORTED);
		return false;
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
		return learn(&speech, SEEN_NOT_PROTOCOL);
	}
	return say_call(s, conn, bytes);
}

/* A process has moved `bytes` through a TCP socket. `is_read`: s->call says where they are. */
static __always_inline void tcp_moved(struct gh_scratch *s, struct sock *sk, struct gh_conn *conn, __u32 bytes,
				      bool sends, bool is_read)
{
	__u32 direction;
	bool forget;

	if (conn->flags & CONN_OTHER_END) {
		if (!sends && is_read && tell_peer(s, conn, bytes, field(sk, __sk_common.skc_num)))
			forget_told(conn, sk);
		return;
	}
	direction = sends ? sending_direction(conn) : !sending_direction(conn);
	if (!enter(conn, direction))
		return;
	s->walk.direction = direction;
	forget = tcp_said(s, conn, sk, tcp_end(conn, sk, sends), bytes, is_read);
	leave(conn, direction);
	if (forget) {
		forget_conn(sk);
		count(GH_COUNT_SOCKETS_FORGOTTEN);
	}
}

/* A session at a server's well-known path that does not begin with a startup packet is older than these programs. */
static __always_inline void unix_join(struct gh_scratch *s, struct gh_conn *conn, const struct sock *server,
				      __u64 start, __u32 bytes)
{
	__u8 tag = 0;

	if (!first_bytes(s, &tag, 1, bytes) || !is_request_tag(tag))
		return;
	s->opened.path_bytes = copy_unix_path(s->opened.path, server);
	if (!is_named_path(s->opened.path, s->opened.path_bytes))
		return;
	unix_join_at(conn, start);
}

#ifdef GH_UNTYPED
/* Nobody tells of a Unix socket's end: only what begins as our protocol does, or is at a named path, gets a state. */
static __always_inline bool may_be_ours(struct gh_scratch *s, const struct sock *server, __u32 moved, bool is_read)
{
	__u32 startup[2] = {};
	__u32 bytes, code;

	s->opened.path_bytes = copy_unix_path(s->opened.path, server);
	if (is_named_path(s->opened.path, s->opened.path_bytes))
		return true;
	if (!is_read || first_bytes(s, startup, sizeof(startup), moved) < sizeof(startup))
		return false;
	bytes = bpf_ntohl(startup[0]);
	code = bpf_ntohl(startup[1]);
	return bytes >= 8 && bytes <= STARTUP_BYTES_MAX && (code >> 16 == 3 || code >> 16 == 1234);
}
#else
#define may_be_ours(s, server, moved, is_read) true
#endif

/* The state of the end that has sent; NULL if the socket is none of ours. */
static __always_inline struct gh_conn *unix_first_read(struct gh_scratch *s, struct sock *sender,
						       struct sock *reader, __u32 bytes, bool is_read)
{
	enum unix_role role = unix_role(sender, reader);
	struct gh_conn *conn;

	if (role == UNIX_NEITHER || (role == UNIX_CLIENT && !may_be_ours(s, reader, bytes, is_read)))
		return NULL;
	unix_fresh(s, role, reader, 0);
	if (role == UNIX_SERVER) /* nothing was asked yet: not a protocol of ours */
		s->fresh.flags |= CONN_IGNORED;
	conn = new_conn(sender, &s->fresh);
	if (!conn)
		count(GH_COUNT_STORAGE_FAILED);
	return conn;
}

/* `bytes` from `start` on: what was said of them. False: the socket is none of ours. */
static __always_inline bool unix_said(struct gh_scratch *s, struct gh_conn *conn, struct sock *sender,
				      struct sock *reader, __u64 start, __u32 bytes, bool is_read)
{
	__u32 direction = s->walk.direction & 1;
	struct gh_stream *stream = &conn->stream[direction];
	__s32 gap;

	if (direction == GH_REQUEST && is_read && is_unheard(conn))
		unix_join(s, conn, reader, start, bytes);
	gap = (__u32)start - stream->seq;
	if (gap > 0)
		skip(stream, direction, gap, GH_LOST_UNSUPPORTED);
	stream->seq = start + bytes;
	if (!is_read) {
		skip(stream, direction, bytes, GH_LOST_UNSUPPORTED);
		return true;
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
	return !say_call(s, conn, bytes);
}

/* `reader` has taken `bytes` that `conn`'s socket has sent. */
static __always_inline void unix_taken(struct gh_scratch *s, struct gh_conn *conn, struct sock *sender,
				       struct sock *reader, __u32 bytes, bool is_read)
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
	if (left > start + bytes)
		start = left - bytes;
	conn->read = start + bytes;
	conn->read_bytes = 0;
	if (!enter(conn, direction))
		return;
	s->walk.direction = direction;
	if (!unix_said(s, conn, sender, reader, start, bytes, is_read)) {
		conn->flags |= CONN_IGNORED;
		count(GH_COUNT_SOCKETS_FORGOTTEN);
	}
	leave(conn, direction);
}

/* A process has received from a Unix socket: `bytes`, or the end of what the other end has sent. */
static __always_inline void unix_received(struct gh_scratch *s, struct sock *sk, int bytes, int flags, bool is_read)
{
	struct sock *peer = trusted_peer(sk);
	struct gh_conn *from;

	if (!peer || flags & (MSG_ERRQUEUE | MSG_OOB))
		return;
	from = conn_of(peer);
#ifdef GH_UNTYPED
	if (from && flags & MSG_PEEK)
		from->read_bytes -= min(from->read_bytes, (__u32)bytes); /* copied, and not taken */
#endif
	if (bytes > 0 && !(flags & MSG_PEEK)) {
		if (!from)
			from = unix_first_read(s, peer, sk, bytes, is_read);
		if (from && !(from->flags & CONN_IGNORED))
			unix_taken(s, from, peer, sk, bytes, is_read);
	}
	if (!from || from->flags & CONN_IGNORED)
		return;
	unix_heard(sk, peer, from, s, bytes);
}

#endif
