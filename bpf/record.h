/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Chunks: the record of one piece of what was said, and of what was lost before it. */
#ifndef GATEHOUSE_RECORD_H
#define GATEHOUSE_RECORD_H

#include "lane.h"

static __always_inline void lose(struct gh_stream *stream, __u32 reason, __u64 bytes)
{
	stream->lost[reason & (GH_LOST_REASONS - 1)] += bytes;
	if (bytes)
		stream->lost_reasons |= 1U << (reason & (GH_LOST_REASONS - 1));
}

static __always_inline void fill_chunk(struct gh_chunk *chunk, const struct gh_scratch *s, const struct gh_conn *conn,
				       __u64 offset, __u32 bytes, __u32 pieces)
{
	head_of(&chunk->head, GH_RECORD_CHUNK, bytes, conn->id);
	chunk->head.flags = s->flags;
	chunk->offset = offset;
	process_of(&chunk->process, current_task());
	chunk->writer = s->writer;
	chunk->direction = s->walk.direction;
	chunk->lost_reasons = conn->stream[s->walk.direction & 1].lost_reasons;
	chunk->piece_count = pieces;
}

#endif
