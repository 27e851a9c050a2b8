/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What was said: takes one span of bytes to the ring. */
#ifndef GATEHOUSE_SAID_H
#define GATEHOUSE_SAID_H

#ifdef GH_FALLBACK
#include "span_user.h"
#else
#include "span.h"
#endif
#include "tls.h"

#define TLS_HEADER_BYTES 5
#define TLS_RECORD_BYTES_MAX (16384 + 2048) /* RFC 5246, 6.2.3; less in 1.3 */
#define SPAN_ROUNDS_MAX 4096 /* windows and records of one span; a packet has at most 512 KiB */

/* Delivers the pieces collected since `from` and starts a new row of them. */
static __always_inline void emit(struct gh_scratch *s, struct gh_conn *conn,
				 const struct gh_span *span, __u32 from)
{
	struct gh_stream *stream = &conn->stream[s->walk.direction & 1];
	struct gh_walk *w = &s->walk;
	long result;

	if (!w->piece_count)
		return;
	if (s->dry)
		result = 0;
	else if (!(conn->flags & CONN_OPENED) && !emit_opened(conn, &s->opened))
		result = -GH_LOST_RING_FULL - 1;
	else
		result = emit_span(s, conn, span, stream->offset, from);
	if (result) {
		bool is_fault = result == -GH_LOST_FAULT - 1;

		lose(stream, is_fault ? GH_LOST_FAULT : GH_LOST_RING_FULL, w->piece_bytes - w->lost_bytes);
		count(is_fault			       ? GH_COUNT_FAULTS :
		      s->walk.direction == GH_REQUEST ? GH_COUNT_REQUEST_RING_FULL : GH_COUNT_RESPONSE_RING_FULL);
	} else if (!s->dry) {
		stream->lost_reasons = 0;
	}
	/* Lost pieces say so themselves, unless they are lost, too. */
	if (result)
		lose(stream, GH_LOST_UNSYNCED, w->lost_bytes);
	else
		stream->lost[GH_LOST_UNSYNCED] += w->lost_bytes;
	stream->offset += w->piece_bytes;
	w->lost_bytes = 0;
	w->piece_count = 0;
	w->piece_bytes = 0;
	w->data_bytes = 0;
	w->prefix_bytes = 0;
	w->full = 0;
}

/* `bytes` of the stream will never be seen: what does the framing know of what follows? */
static __always_inline void skip(struct gh_stream *stream, __u32 direction, __u64 bytes, __u32 reason)
{
	struct gh_parse *p = &stream->parse;

	if (p->mode == MODE_COUNT) {
		stream->offset += bytes;
		return;
	}
	lose(stream, reason, bytes + p->header_fill);
	stream->offset += bytes + p->header_fill;
	p->header_fill = 0;
	if (p->mode == MODE_TLS)
		return;
	if (bytes <= p->frame_left) {
		p->frame_left -= bytes;
		p->keep_left -= min(p->keep_left, (__u32)bytes);
		return;
	}
	p->frame_left = 0;
	p->mode = direction == GH_REQUEST ? MODE_RAW : MODE_UNSYNCED;
}

/* A session that is idle can be joined: does the span end with ReadyForQuery? Then `from` is where that starts. */
static __always_inline bool find_ready(const struct gh_span *span, __u32 *from)
{
	__u8 tail[6];

	if (span->bytes < sizeof(tail) || span_read(span, tail, sizeof(tail), span->bytes - sizeof(tail)))
		return false;
	*from = span->bytes - sizeof(tail);
	return tail[0] == 'Z' && !tail[1] && !tail[2] && !tail[3] && tail[4] == 5 &&
	       (tail[5] == 'I' || tail[5] == 'T' || tail[5] == 'E');
}

/* An idle session's next write begins a message: does this look like one? */
static __always_inline bool is_message_start(const struct gh_span *span)
{
	__u8 header[5];

	if (span->bytes < sizeof(header) || span_read(span, header, sizeof(header), 0))
		return false;
	return is_request_tag(header[0]) && !header[1] &&
	       (__u32)(header[2] << 16 | header[3] << 8 | header[4]) < span->bytes;
}

static __always_inline bool is_tls_header(const __u8 *header)
{
	__u32 bytes = (__u32)header[3] << 8 | header[4];

	return header[0] >= 0x14 && header[0] <= 0x17 && header[1] == 3 && header[2] >= 1 && header[2] <= 4 && bytes &&
	       bytes <= TLS_RECORD_BYTES_MAX;
}

/* Does it begin with a TLS record, and what follows that with another? No message has such a tag. */
static __always_inline bool begins_with_tls(const struct gh_span *span)
{
	__u8 header[TLS_HEADER_BYTES];
	__u32 next;

	if (span->bytes < sizeof(header) || span_read(span, header, sizeof(header), 0) || !is_tls_header(header))
		return false;
	next = sizeof(header) + ((__u32)header[3] << 8 | header[4]);
	if (next + sizeof(header) > span->bytes)
		return true;
	return !span_read(span, header, sizeof(header), next) && is_tls_header(header);
}

/*
 * A session that was open before and speaks TLS never comes to a message. Both directions must look like it: what
 * begins in the middle of a row may be any bytes.
 */
static __always_inline void look_for_tls(struct gh_walk *w, struct gh_conn *conn, const struct gh_span *span)
{
	__u32 both = CONN_TLS_LOOK << GH_REQUEST | CONN_TLS_LOOK << GH_RESPONSE;

	if (!(conn->flags & CONN_JOINED) || w->parse.mode != MODE_UNSYNCED ||
	    conn->stream[GH_REQUEST].parse.mode != MODE_UNSYNCED || !begins_with_tls(span))
		return;
	conn->flags |= CONN_TLS_LOOK << (w->direction & 1);
	if ((conn->flags & both) != both)
		return;
	w->seen |= SEEN_TLS;
	w->parse.mode = MODE_COUNT;
}

static __always_inline void begin_walk(struct gh_scratch *s, struct gh_conn *conn,
				       const struct gh_span *span)
{
	struct gh_stream *stream = &conn->stream[s->walk.direction & 1];
	struct gh_walk *w = &s->walk;
	__u32 from;

	w->parse = stream->parse;
	w->position = 0;
	w->end = span->bytes;
	w->window_at = 0;
	w->window_bytes = 0;
	w->window_want = WINDOW_BYTES;
	w->piece_count = 0;
	w->data_bytes = 0;
	w->piece_bytes = 0;
	w->lost_bytes = 0;
	w->seen = 0;
	w->decided = conn->flags & CONN_DECIDED;
	w->small = span->bytes <= min(GH_SMALL_BYTES_MAX, gh_whole_bytes);
	w->full = 0;
	w->keep_bytes_max = s->walk.direction == GH_REQUEST ? min(gh_request_bytes_max, gh_request_keep_bytes) :
							      gh_response_keep_bytes;
	if (w->parse.mode == MODE_UNSYNCED && s->walk.direction == GH_REQUEST && is_message_start(span)) {
		w->parse.mode = MODE_FRAMES;
		w->seen |= SEEN_JOINED;
	}
	w->prefix_bytes = w->parse.header_fill;
	if (w->prefix_bytes)
		__builtin_memcpy(w->prefix, w->parse.header, sizeof(w->prefix));
	if (w->parse.mode == MODE_UNSYNCED && s->walk.direction == GH_RESPONSE && find_ready(span, &from)) {
		lose(stream, GH_LOST_UNSYNCED, from);
		stream->offset += from;
		w->position = from;
		w->parse.mode = MODE_FRAMES;
		w->small = 0;
	}
	look_for_tls(w, conn, span);
}

/* A small span of whole frames, which nearly every request and short answer is. Negative: take the long way. */
static __always_inline int say_whole(struct gh_scratch *s, struct gh_conn *conn, const struct gh_span *span)
{
	__u32 direction = s->walk.direction & 1;
	struct gh_stream *stream = &conn->stream[direction];
	struct gh_lane *lane = lane_of_cpu();
	struct gh_small_record *room, *record;
	__u64 bytes = span->bytes, record_bytes;
	bool is_tls = stream->parse.mode == MODE_TLS;
	int seen;

	if ((stream->parse.mode != MODE_FRAMES && !is_tls) || stream->parse.frame_left ||
	    stream->parse.header_fill || s->dry ||
	    !(conn->flags & CONN_OPENED) || gh_request_bytes_max < GH_SMALL_BYTES_MAX || !lane)
		return -1;
	barrier_var(bytes); /* clamp the very register the helper gets */
	if (bytes > GH_SMALL_BYTES_MAX || bytes > gh_whole_bytes)
		return -1;
	record_bytes = sizeof(struct gh_chunk) + sizeof(struct gh_piece) + bytes;
	room = lane_room(lane, record_bytes, direction);
	record = room ? room : &s->spare; /* what is lost moves the framing on, too */
	if (span_read(span, record->data, bytes, 0))
		return -1;
	seen = is_tls ? 0 : walk_whole(record, bytes, direction);
	if (seen < 0)
		return seen;
	if (room) {
		fill_chunk(&record->chunk, s, conn, stream->offset, record_bytes, 1);
		record->piece = (struct gh_piece){ .bytes = bytes, .kind = GH_PIECE_DATA };
		lane_publish(s, lane, record_bytes);
		stream->lost_reasons = 0;
	} else {
		lose(stream, GH_LOST_RING_FULL, bytes);
		count(direction == GH_REQUEST ? GH_COUNT_REQUEST_RING_FULL : GH_COUNT_RESPONSE_RING_FULL);
	}
	stream->offset += bytes;
	return seen;
}

static __always_inline bool is_said(const struct gh_walk *w)
{
	return w->position >= w->end || w->parse.mode == MODE_COUNT;
}

/* One window of the span, whose row of pieces began at `from`. False: it can be followed no further. */
static __always_inline bool say_window(struct gh_scratch *s, struct gh_conn *conn, const struct gh_span *span,
				       __u32 from)
{
	struct gh_stream *stream = &conn->stream[s->walk.direction & 1];
	struct gh_walk *w = &s->walk;
	__u32 position = w->position;
	__u64 bytes;

	if (!w->parse.frame_left || w->small) {
		bytes = min(w->end - position, w->window_want);
		barrier_var(bytes); /* clamp the very register the helper gets */
		if (bytes > WINDOW_BYTES)
			bytes = WINDOW_BYTES;
		if (!w->window_bytes || !w->small) {
			if (span_read(span, s->window, bytes, position)) {
				emit(s, conn, span, from);
				stream->parse = w->parse;
				skip(stream, s->walk.direction, w->end - position, GH_LOST_FAULT);
				w->parse = stream->parse;
				w->position = w->end;
				count(GH_COUNT_FAULTS);
				return false;
			}
			w->window_at = position;
			w->window_bytes = bytes;
		}
	}
	walk_window(s);
	return !(w->seen & SEEN_NOT_PROTOCOL);
}

#ifdef GH_FALLBACK
/* A function of its own, as walk_one_step(). The address is s->user, and where the row of pieces begins is s->from. */
__noinline int say_one_window(struct gh_scratch *s, struct gh_conn *conn)
{
	struct gh_span span = {};

	if (!s || !conn)
		return 0;
	span.user = (const void *)s->user;
	if (is_said(&s->walk) || !say_window(s, conn, &span, s->from))
		return 0;
	if (s->walk.full) {
		emit(s, conn, &span, s->from);
		s->from = s->walk.position;
	}
	return 1;
}
#endif

/* Walks the span and delivers it. Returns SEEN_ flags. */
static __always_inline __u32 say_span(struct gh_scratch *s, struct gh_conn *conn, const struct gh_span *span)
{
	struct gh_stream *stream = &conn->stream[s->walk.direction & 1];
	struct gh_walk *w = &s->walk;
	__u32 from;
	int seen;

	if (stream->parse.mode == MODE_TLS && !s->dry && is_tls_given_up(conn, span->bytes)) {
		stream->parse.mode = MODE_COUNT;
		stream->offset += span->bytes;
		return SEEN_TLS;
	}
	seen = say_whole(s, conn, span);
	if (seen >= 0)
		return seen;
	begin_walk(s, conn, span);
	from = w->position;
#ifdef GH_FALLBACK
	s->from = from;
	loop(it, SPAN_ROUNDS_MAX)
		if (!say_one_window(s, conn))
			break;
	from = s->from;
#else
	loop(it, SPAN_ROUNDS_MAX) {
		if (is_said(w) || !say_window(s, conn, span, from))
			break;
		if (w->full) {
			emit(s, conn, span, from);
			from = w->position;
		}
	}
	loop_end(it);
#endif
	stream->parse = w->parse;
	if (w->seen & SEEN_NOT_PROTOCOL) {
		stream->offset += w->prefix_bytes + w->end;
		return w->seen;
	}
	if (w->seen & SEEN_STARTUP)
		conn->flags |= CONN_DECIDED;
	emit(s, conn, span, from);
	if (w->position < w->end && stream->parse.mode != MODE_COUNT)
		skip(stream, s->walk.direction, w->end - w->position, GH_LOST_UNSUPPORTED);
	else
		stream->offset += w->end - w->position;
	return w->seen;
}

/* Functions of their own, so that the verifier walks each once. walk.direction, flags, writer (and user) are set. */
__noinline __u32 say_user(struct gh_scratch *s, struct gh_conn *conn, __u32 bytes)
{
	struct gh_span span = { .bytes = bytes };

	if (!s || !conn)
		return 0;
	span.user = (const void *)s->user;
	return say_span(s, conn, &span);
}

#ifndef GH_FALLBACK
__noinline __u32 say_kernel(struct gh_scratch *s, struct gh_conn *conn, __u32 bytes)
{
	struct gh_span span = { .bytes = bytes };

	if (!s || !conn)
		return 0;
	span.kernel = (const void *)s->user;
	return say_span(s, conn, &span);
}

__noinline __u32 say_packet(struct gh_scratch *s, struct gh_conn *conn, struct sk_buff *skb __arg_trusted,
			    __u32 offset, __u32 bytes)
{
	struct gh_span span = { .packet_offset = offset, .bytes = bytes };
	struct bpf_dynptr packet;

	if (!s || !conn)
		return 0;
	if (bpf_dynptr_from_skb(skb, 0, &packet)) {
		skip(&conn->stream[s->walk.direction & 1], s->walk.direction, bytes, GH_LOST_UNSUPPORTED);
		return 0;
	}
	span.skb = skb;
	span.packet = &packet;
	return say_span(s, conn, &span);
}

#endif

#endif
