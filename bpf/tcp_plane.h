/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * TCP as the socket plane sees it. Positions are TCP's own sequence numbers, so a byte that was not seen shows as a
 * jump.
 */
#ifndef GATEHOUSE_TCP_PLANE_H
#define GATEHOUSE_TCP_PLANE_H

#include "connection.h"

/* The tracepoint comes again after at most this much (or size_goal) was copied. */
#define SEND_AHEAD_BYTES (64 << 10)
#define SEND_SEGMENTS_MAX 1024 /* UIO_MAXIOV */

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
	s->walk.may_be_tls = may_be_tls(speech->conn, speech->port);
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
	return !learn(speech, seen, speech->bytes);
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
		s->walk.may_be_tls = stream->parse.mode == MODE_TLS;
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
	struct gh_conn *conn = conn_of(sk);
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

#endif
