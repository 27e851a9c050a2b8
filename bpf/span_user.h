/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The bytes of one span in the memory of the process that runs, and how they come into a ring on kernels without
 * dynptrs: by way of a buffer of this CPU. The fallback planes'.
 */
#ifndef GATEHOUSE_SPAN_USER_H
#define GATEHOUSE_SPAN_USER_H

#include "record.h"

struct gh_span {
	const void *user;
	__u32 bytes;
};

#define COPY_TABLE_BYTES_MAX (GH_PIECES_MAX * sizeof(struct gh_piece))
/* Where the last piece of a record may begin. */
#define COPY_TO_MAX (COPY_TABLE_BYTES_MAX + GH_RECORD_DATA_BYTES_MAX + GH_HEADER_BYTES_MAX)

struct gh_copy {
	struct gh_chunk chunk;
	__u8 bytes[COPY_TO_MAX + GH_RECORD_DATA_BYTES_MAX];
};

/* One per CPU (user space says how many): longer than a per-CPU map's value may be. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gh_copy);
} gh_copies SEC(".maps");

static __always_inline struct gh_copy *copy_of_cpu(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&gh_copies, &cpu);
}

static __always_inline long span_read(const struct gh_span *span, void *to, __u32 bytes, __u32 position)
{
	return bpf_probe_read_user(to, bytes, span->user + position);
}

/* 1: there is no such piece; negative: the process has no such memory. */
__noinline int copy_one_piece(struct gh_scratch *s, __u32 at)
{
	struct gh_copy *copy = copy_of_cpu();
	__u64 bytes, prefix, to, piece = at;

	barrier_var(piece); /* clamp the very register that addresses */
	if (!s || !copy || piece >= s->walk.piece_count || piece >= GH_PIECES_MAX)
		return 1;
	prefix = s->copy_prefix;
	s->copy_prefix = 0;
	bytes = s->pieces[piece].bytes - prefix;
	if (s->pieces[piece].kind != GH_PIECE_DATA) {
		s->copy_from += bytes;
		return 0;
	}
	to = s->copy_to;
	barrier_var(to); /* likewise, for the helper */
	if (to > COPY_TO_MAX)
		return -1;
	barrier_var(prefix);
	if (prefix > GH_HEADER_BYTES_MAX)
		return -1;
	if (prefix) {
		bpf_probe_read_kernel(copy->bytes + to, prefix, s->walk.prefix);
		to += prefix;
		barrier_var(to);
		if (to > COPY_TO_MAX)
			return -1;
	}
	barrier_var(bytes);
	if (bytes > GH_RECORD_DATA_BYTES_MAX)
		return -1;
	if (bytes && bpf_probe_read_user(copy->bytes + to, bytes, (const void *)s->user + s->copy_from))
		return -1;
	s->copy_from += bytes;
	s->copy_to = to + bytes;
	return 0;
}

static __always_inline int copy_pieces(struct gh_scratch *s)
{
	int result = 0;

	loop(at, GH_PIECES_MAX) {
		result = copy_one_piece(s, at);
		if (result)
			break;
	}
	return result < 0 ? result : 0;
}

/* The pieces since `from` as a record. Returns a negative -enum gh_lost - 1. */
__noinline int emit_pieces(struct gh_scratch *s, struct gh_conn *conn, __u64 offset, __u32 from)
{
	struct gh_copy *copy = copy_of_cpu();
	__u64 table, bytes;
	void *ring;

	if (!s || !conn || !copy)
		return -GH_LOST_RING_FULL - 1;
	ring = s->walk.direction == GH_REQUEST ? (void *)&gh_requests : (void *)&gh_responses;
	table = s->walk.piece_count * sizeof(struct gh_piece);
	barrier_var(table);
	if (table > COPY_TABLE_BYTES_MAX)
		return -GH_LOST_RING_FULL - 1;
	fill_chunk(&copy->chunk, s, conn, offset, sizeof(struct gh_chunk) + table + s->walk.data_bytes,
		   s->walk.piece_count);
	bpf_probe_read_kernel(copy->bytes, table, s->pieces);
	s->copy_from = from;
	s->copy_to = table;
	s->copy_prefix = s->walk.prefix_bytes;
	if (copy_pieces(s))
		return -GH_LOST_FAULT - 1;
	bytes = sizeof(struct gh_chunk) + s->copy_to;
	barrier_var(bytes);
	if (bytes > sizeof(*copy))
		return -GH_LOST_RING_FULL - 1;
	return bpf_ringbuf_output(ring, copy, bytes, wakeup_flag(ring)) ? -GH_LOST_RING_FULL - 1 : 0;
}

static __always_inline long emit_span(struct gh_scratch *s, struct gh_conn *conn, const struct gh_span *span,
				      __u64 offset, __u32 from)
{
	return emit_pieces(s, conn, offset, from); /* the span is the one at s->user */
}

#endif
