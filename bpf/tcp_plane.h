/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* TCP: positions are TCP's own sequence numbers, so a byte that was not seen shows as a jump. */
#ifndef GATEHOUSE_TCP_PLANE_H
#define GATEHOUSE_TCP_PLANE_H

#include "said.h"

/* The tracepoint comes again after at most this much (or size_goal) was copied. */
#define SEND_AHEAD_BYTES (64 << 10)
#define SEND_SEGMENTS_MAX 1024 /* UIO_MAXIOV */

static __always_inline struct gh_scratch *scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&gh_scratches, &zero);
}

static __always_inline __u32 sending_direction(const struct gh_conn *conn)
{
	return conn->flags & CONN_CLIENT ? GH_REQUEST : GH_RESPONSE;
}

/* The connection that a span belongs to, and how. */
struct gh_speech {
	struct gh_conn *conn;	/* has the stream's state */
	const struct sock *sk;	/* the captured end; Unix: the server's end */
	struct sk_buff *skb;	/* what is received, or */
	const void *user;	/* what is sent, in the current process's memory, or in pages (GH_CHUNK_PAGES) */
	__u32 packet_offset;
	__u32 bytes;
	__u32 direction;
	__u32 port;		/* the server's */
	__u32 flags;		/* of the record */
	bool is_unix;
	struct gh_process writer;
};

static __always_inline void describe(struct gh_opened *opened, const struct gh_speech *speech)
{
	if (speech->is_unix)
		describe_unix(opened, speech->sk);
	else
		describe_tcp(opened, speech->conn, speech->sk);
}

#define SEEN_BY_OTHER (SEEN_SSL_REQUEST | SEEN_READY | SEEN_TLS | SEEN_GSS | SEEN_JOINED)

/* What one direction's walk found changes the other direction. `other` holds that one's state. */
static __always_inline void learn_other(struct gh_conn *other, __u32 seen)
{
	struct gh_parse *p = &other->stream[GH_REQUEST].parse;

	if (!(seen & SEEN_BY_OTHER))
		return;
	if (seen & SEEN_SSL_REQUEST)
		other->stream[GH_RESPONSE].parse.mode = MODE_SSL_ANSWER;
	/* Idle: whatever the client sends next begins a frame. */
	if (seen & SEEN_READY && (p->mode == MODE_RAW || p->mode == MODE_UNSYNCED))
		p->mode = MODE_FRAMES;
	/* It was idle: the answer begins a frame too. If not, its walk will notice. */
	if (seen & SEEN_JOINED && other->stream[GH_RESPONSE].parse.mode == MODE_UNSYNCED)
		other->stream[GH_RESPONSE].parse.mode = MODE_FRAMES;
	if (seen & (SEEN_TLS | SEEN_GSS)) {
		other->stream[0].parse.mode = MODE_COUNT;
		other->stream[1].parse.mode = MODE_COUNT;
	}
}

/* What a walk found changes the connection. True: forget the socket. */
static __always_inline bool learn(const struct gh_speech *speech, __u32 seen)
{
	struct gh_conn *conn = speech->conn;
	__u32 reason = GH_OPAQUE_NOT_PROTOCOL;

	if (seen & SEEN_UNSYNCED)
		count(GH_COUNT_UNSYNCED);
	if (speech->is_unix)
		conn->seen |= seen & SEEN_BY_OTHER;
	else
		learn_other(conn, seen);
	if (!(seen & (SEEN_NOT_PROTOCOL | SEEN_TLS | SEEN_GSS)))
		return false;
	if (seen & (SEEN_TLS | SEEN_DIRECT_TLS))
		reason = GH_OPAQUE_TLS;
	else if (seen & SEEN_GSS)
		reason = GH_OPAQUE_GSS;
	conn->stream[0].parse.mode = MODE_COUNT;
	conn->stream[1].parse.mode = MODE_COUNT;
	if (seen & SEEN_NOT_PROTOCOL) {
		__u32 port = speech->port;

		if (speech->is_unix || !is_named_port(port))
			return true;
		conn->flags |= CONN_DECIDED;
	}
	if (!(conn->flags & CONN_OPENED)) {
		struct gh_scratch *s = scratch();

		if (!s)
			return false;
		describe(&s->opened, speech);
		if (!emit_opened(conn, &s->opened))
			return false;
	}
	emit_opaque(conn, reason);
	return false;
}

/* Says what is new of [seq, seq + bytes). False: the socket is none of ours, forget it. */
static __always_inline bool tcp_say(struct gh_speech *speech, __u32 seq)
{
	struct gh_stream *stream = &speech->conn->stream[speech->direction & 1];
	struct gh_scratch *s = scratch();
	__s32 ahead = stream->seq - seq;
	__u32 seen;

	if (!s)
		return true;
	if (ahead < 0) {
		skip(stream, speech->direction, -ahead, GH_LOST_UNSUPPORTED);
		stream->seq = seq;
		ahead = 0;
	}
	if (ahead >= (__s32)speech->bytes)
		return true; /* a repeated loop, or bytes that were peeked at */
	if (speech->skb)
		speech->packet_offset += ahead;
	else
		speech->user += ahead;
	speech->bytes -= ahead;
	stream->seq = seq + ahead + speech->bytes;
	if (stream->parse.mode == MODE_COUNT) {
		stream->offset += speech->bytes;
		if (speech->conn->flags & CONN_OPAQUE_DUE)
			emit_opaque(speech->conn, speech->conn->opaque_reason);
		return true;
	}
	s->walk.direction = speech->direction;
	s->flags = speech->flags;
	s->writer = speech->writer;
	if (!(speech->conn->flags & CONN_OPENED))
		describe(&s->opened, speech);
	s->dry = 0;
	if (speech->skb) {
		seen = say_packet(s, speech->conn, speech->skb, speech->packet_offset, speech->bytes);
	} else if (speech->flags & GH_CHUNK_PAGES) {
		s->user = (__u64)speech->user;
		/* Pages may be gone when the send is cut short: tcp_go_back() finds no way back from here. */
		speech->conn->before_seq = stream->seq + 1;
		seen = say_kernel(s, speech->conn, speech->bytes);
	} else {
		s->user = (__u64)speech->user;
		if (speech->direction == GH_REQUEST) {
			speech->conn->before = stream->parse;
			speech->conn->before_seq = seq + ahead;
			speech->conn->before_offset = stream->offset;
			speech->conn->before_user = s->user;
		}
		seen = say_user(s, speech->conn, speech->bytes);
	}
	return !learn(speech, seen);
}

/* The server speaks before the client: not a protocol of ours. */
static __always_inline __u32 response_comes_first(const struct gh_conn *conn, __u32 direction)
{
	return direction == GH_RESPONSE && !(conn->flags & (CONN_DECIDED | CONN_JOINED)) ? SEEN_NOT_PROTOCOL : 0;
}

/*
 * `beyond` bytes that were captured were not sent, and what is sent in their
 * place may differ. Goes back to where the framing stood: over the last span
 * again, up to what was sent, while its memory is still there to be read.
 */
static __always_inline void tcp_go_back(struct gh_conn *conn, __u32 beyond)
{
	struct gh_stream *stream = &conn->stream[GH_REQUEST];
	struct gh_scratch *s = scratch();
	__u32 sent_seq = stream->seq - beyond;
	__s32 bytes = sent_seq - conn->before_seq;
	__u64 offset = stream->offset + stream->parse.header_fill - beyond;

	stream->seq = sent_seq;
	if (s && bytes >= 0 && stream->parse.mode != MODE_COUNT) {
		stream->parse = conn->before;
		stream->offset = conn->before_offset;
		s->walk.direction = GH_REQUEST;
		s->user = conn->before_user;
		s->dry = 1;
		if (bytes)
			say_user(s, conn, bytes);
		return;
	}
	if (stream->parse.mode != MODE_COUNT)
		stream->parse.mode = MODE_RAW;
	stream->parse.frame_left = 0;
	stream->parse.header_fill = 0;
	if (offset > stream->offset)
		lose(stream, GH_LOST_UNSUPPORTED, offset - stream->offset);
	stream->offset = offset;
}

/*
 * Why here: only the end of a send tells how much of it was sent. The usual
 * one, all at once, ends at the first comparison.
 */
static __always_inline void tcp_sent(struct sock *sk)
{
	struct gh_conn *conn = bpf_sk_storage_get(&gh_conns, sk, 0, 0);
	struct gh_stream *stream;
	struct gh_process writer;
	__s32 beyond;

	if (!conn || !conn->id || !(conn->flags & CONN_CLIENT))
		return;
	stream = &conn->stream[GH_REQUEST];
	beyond = stream->seq - kernel_cast(struct tcp_sock, sk)->write_seq;
	if (beyond <= 0 && !(conn->flags & CONN_UNCONFIRMED))
		return;
	if (sk->sk_lock.owned)
		return; /* another thread is in the middle of a send: its end will tell */
	conn->flags &= ~CONN_UNCONFIRMED;
	if (beyond > 0)
		tcp_go_back(conn, beyond);
	if (!(conn->flags & CONN_OPENED))
		return;
	writer_of(&writer, bpf_get_current_task_btf());
	if (!emit_sent(conn, stream->offset + stream->parse.header_fill, 0, &writer, GH_SENT_CUT))
		conn->flags |= CONN_UNCONFIRMED; /* the next send's end says it */
}

static __always_inline void start_tcp(const struct sock *sk, struct gh_conn *conn, __u32 tx, __u32 rx)
{
	const struct tcp_sock *tp = kernel_cast(struct tcp_sock, sk);

	conn->id = bpf_get_socket_cookie((void *)sk);
	conn->transport = sk->__sk_common.skc_family == AF_INET ? GH_TCP4 : GH_TCP6;
	conn->stream[tx & 1].seq = tp->write_seq;
	conn->stream[rx & 1].seq = tp->copied_seq;
	conn->stream[GH_REQUEST].parse.mode = MODE_STARTUP;
	conn->stream[GH_RESPONSE].parse.mode = MODE_FRAMES;
}

#endif
