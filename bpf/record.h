/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Chunks: the record of one piece of what was said, and of what was lost before it. */
#ifndef GATEHOUSE_RECORD_H
#define GATEHOUSE_RECORD_H

#include "walk.h"

static __always_inline void lose(struct gh_stream *stream, __u32 reason, __u64 bytes)
{
	stream->lost[reason & (GH_LOST_REASONS - 1)] += bytes;
	if (bytes)
		stream->lost_reasons |= 1U << (reason & (GH_LOST_REASONS - 1));
}

static __always_inline void fill_chunk(struct gh_scratch *s, struct gh_conn *conn, __u64 offset,
				       __u32 bytes)
{
	struct gh_chunk *chunk = &s->chunk;

	head_of(&chunk->head, GH_RECORD_CHUNK, bytes, conn->id);
	chunk->head.flags = s->flags;
	chunk->offset = offset;
	process_of(&chunk->process, current_task());
	chunk->writer = s->writer;
	chunk->direction = s->walk.direction;
	chunk->lost_reasons = conn->stream[s->walk.direction & 1].lost_reasons;
	chunk->piece_count = s->walk.piece_count;
}

/* A short record in so many asks how full its ring is: asking costs a tenth of the record. */
#define SMALL_RECORDS_PER_LOOK 16

static __always_inline __u64 small_wakeup_flag(struct gh_scratch *s, void *ring)
{
	if (!gh_reader_sleeps && ++s->small_records % SMALL_RECORDS_PER_LOOK)
		return BPF_RB_NO_WAKEUP;
	return wakeup_flag(ring);
}

/* The short way: the window is the whole span, and all of it is kept. Returns a negative -enum gh_lost - 1. */
__noinline int emit_small(struct gh_scratch *s, struct gh_conn *conn, __u64 offset)
{
	__u64 bytes;
	void *ring;

	if (!s || !conn)
		return 0;
	ring = s->walk.direction == GH_REQUEST ? (void *)&gh_requests : (void *)&gh_responses;
	bytes = s->walk.data_bytes;
	if (bytes > GH_SMALL_BYTES_MAX)
		return -GH_LOST_RING_FULL - 1;
	bytes += sizeof(struct gh_chunk) + sizeof(struct gh_piece);
	fill_chunk(s, conn, offset, bytes);
	s->only_piece = s->pieces[0];
	return bpf_ringbuf_output(ring, &s->chunk, bytes, small_wakeup_flag(s, ring)) ? -GH_LOST_RING_FULL - 1 : 0;
}

#endif
