/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The bytes of one span, wherever they are, and how they come into a ring: copied once. The socket plane's. */
#ifndef GATEHOUSE_SPAN_H
#define GATEHOUSE_SPAN_H

#include "record.h"

extern int bpf_dynptr_from_skb(struct sk_buff *skb, __u64 flags, struct bpf_dynptr *dynptr) __ksym;
extern int bpf_dynptr_copy(struct bpf_dynptr *to, __u32 to_offset, struct bpf_dynptr *from,
			   __u32 from_offset, __u32 bytes) __ksym;
extern int bpf_probe_read_user_dynptr(struct bpf_dynptr *to, __u32 offset, __u32 bytes,
				      const void *from) __ksym;
extern int bpf_probe_read_kernel_dynptr(struct bpf_dynptr *to, __u32 offset, __u32 bytes,
					const void *from) __ksym;

/* The bytes of one span. */
struct gh_span {
	const void *user;	  /* in the current process's memory, or */
	const void *kernel;	  /* in pages that a process has handed over, or */
	struct sk_buff *skb;	  /* in a packet, */
	struct bpf_dynptr *packet; /* the same, for reading, */
	__u32 packet_offset;	  /* from here on */
	__u32 bytes;
};

static __always_inline long span_read(const struct gh_span *span, void *to, __u32 bytes, __u32 position)
{
	if (span->packet)
		return bpf_dynptr_read(to, bytes, span->packet, span->packet_offset + position, 0);
	if (span->kernel)
		return bpf_probe_read_kernel(to, bytes, span->kernel + position);
	return bpf_probe_read_user(to, bytes, span->user + position);
}

static __always_inline long copy_piece(struct bpf_dynptr *record, __u32 to, const struct gh_span *span,
				       __u32 from, __u32 bytes)
{
	if (span->packet)
		return bpf_dynptr_copy(record, to, span->packet, span->packet_offset + from, bytes);
	if (span->kernel)
		return bpf_probe_read_kernel_dynptr(record, to, bytes, span->kernel + from);
	return bpf_probe_read_user_dynptr(record, to, bytes, span->user + from);
}

/* `from`: position in the span of the first piece, whose first prefix_bytes came with earlier spans. */
static __always_inline long copy_pieces(struct gh_scratch *s, struct bpf_dynptr *record,
					const struct gh_span *span, __u32 from)
{
	struct gh_walk *w = &s->walk;
	__u32 to = sizeof(struct gh_chunk) + w->piece_count * sizeof(struct gh_piece);
	__u32 prefix = w->prefix_bytes;
	struct bpf_iter_num it;
	long result = 0;
	int *i;

	bpf_iter_num_new(&it, 0, GH_PIECES_MAX);
	while ((i = bpf_iter_num_next(&it))) {
		__u32 at = *i;
		__u32 bytes;

		if (at >= w->piece_count || at >= GH_PIECES_MAX)
			break;
		bytes = s->pieces[at].bytes;
		if (s->pieces[at].kind == GH_PIECE_DATA) {
			__u64 head = prefix;

			barrier_var(head); /* clamp the very register the helper gets */
			if (head && head <= GH_HEADER_BYTES_MAX)
				result |= bpf_dynptr_write(record, to, w->prefix, head, 0);
			to += prefix;
			bytes -= prefix;
			if (bytes)
				result |= copy_piece(record, to, span, from, bytes);
			to += bytes;
		} else {
			bytes -= prefix;
		}
		prefix = 0;
		from += bytes;
	}
	bpf_iter_num_destroy(&it);
	return result;
}

static __always_inline long emit_pieces(struct gh_scratch *s, struct gh_conn *conn,
					const struct gh_span *span, __u64 offset, __u32 from)
{
	void *ring = s->walk.direction == GH_REQUEST ? (void *)&gh_requests : (void *)&gh_responses;
	struct gh_walk *w = &s->walk;
	__u64 table = w->piece_count * sizeof(struct gh_piece);
	__u32 bytes = sizeof(struct gh_chunk) + table + w->data_bytes;
	struct bpf_dynptr record;
	long result;

	if (table > sizeof(s->pieces))
		return -GH_LOST_RING_FULL - 1;
	fill_chunk(&s->chunk, s, conn, offset, bytes, w->piece_count);
	if (bpf_ringbuf_reserve_dynptr(ring, bytes, 0, &record)) {
		bpf_ringbuf_discard_dynptr(&record, 0);
		return -GH_LOST_RING_FULL - 1;
	}
	result = bpf_dynptr_write(&record, 0, &s->chunk, sizeof(struct gh_chunk), 0);
	result |= bpf_dynptr_write(&record, sizeof(struct gh_chunk), s->pieces, table, 0);
	result |= copy_pieces(s, &record, span, from);
	if (result) {
		bpf_ringbuf_discard_dynptr(&record, BPF_RB_NO_WAKEUP);
		return -GH_LOST_FAULT - 1;
	}
	bpf_ringbuf_submit_dynptr(&record, wakeup_flag(ring));
	return 0;
}

__noinline int emit_pieces_user(struct gh_scratch *s, struct gh_conn *conn, __u64 offset, __u32 from)
{
	struct gh_span span = {};

	if (!s || !conn)
		return 0;
	span.user = (const void *)s->user;
	return emit_pieces(s, conn, &span, offset, from);
}

__noinline int emit_pieces_kernel(struct gh_scratch *s, struct gh_conn *conn, __u64 offset, __u32 from)
{
	struct gh_span span = {};

	if (!s || !conn)
		return 0;
	span.kernel = (const void *)s->user;
	return emit_pieces(s, conn, &span, offset, from);
}

/* `from`: in the packet. */
__noinline int emit_pieces_packet(struct gh_scratch *s, struct gh_conn *conn, struct sk_buff *skb __arg_trusted,
				  __u64 offset, __u32 from)
{
	struct gh_span span = {};
	struct bpf_dynptr packet;

	if (!s || !conn)
		return 0;
	if (bpf_dynptr_from_skb(skb, 0, &packet))
		return -GH_LOST_FAULT - 1;
	span.packet = &packet;
	return emit_pieces(s, conn, &span, offset, from);
}

/* The pieces since `from` as a record. Returns a negative -enum gh_lost - 1. */
static __always_inline long emit_span(struct gh_scratch *s, struct gh_conn *conn, const struct gh_span *span,
				      __u64 offset, __u32 from)
{
	if (span->skb)
		return emit_pieces_packet(s, conn, span->skb, offset, span->packet_offset + from);
	if (span->kernel)
		return emit_pieces_kernel(s, conn, offset, from);
	return emit_pieces_user(s, conn, offset, from);
}

#endif
