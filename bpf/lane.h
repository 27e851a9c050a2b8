/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Lanes: where short spans go, one per CPU. A BPF ring buffer is one for all CPUs, so each record in it costs a lock
 * with interrupts off and a locked exchange: as much as all else that is done for a short request. Into a lane only
 * the programs of its CPU write, which neither preempt one another nor run in interrupts (see gh_scratch): plain
 * stores do, in the order that x86 keeps. User space reads lanes and rings by the time of their records.
 */
#ifndef GATEHOUSE_LANE_H
#define GATEHOUSE_LANE_H

#include "walk.h"

/* Bytes of a lane, a power of two, less one. Set by user space, which sizes the map accordingly. */
const volatile __u64 gh_lane_mask = GH_LANE_BYTES_MIN - 1;

struct gh_smallest_lane {
	struct gh_lane lane;
	__u8 bytes[GH_LANE_BYTES_MIN + sizeof(struct gh_small_record)];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gh_smallest_lane);
} gh_lanes SEC(".maps");

static __always_inline struct gh_lane *lane_of_cpu(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&gh_lanes, &cpu);
}

static __always_inline __u64 lane_fill(const struct gh_lane *lane)
{
	return *(volatile const __u64 *)&lane->produced - *(volatile const __u64 *)&lane->consumed;
}

/* What a record of so many bytes takes. */
static __always_inline __u64 lane_stride(__u64 bytes)
{
	return (bytes + 7) & ~7ULL;
}

/*
 * Where the next record goes, or NULL if it finds no room. Answers leave a quarter to the requests, so that no result
 * can push them out.
 */
static __always_inline struct gh_small_record *lane_room(struct gh_lane *lane, __u64 bytes, __u32 direction)
{
	__u64 room = gh_lane_mask + 1;
	__u64 at;

	if (direction == GH_RESPONSE)
		room -= room / 4;
	if (lane_fill(lane) + lane_stride(bytes) > room)
		return NULL;
	at = lane->produced;
	barrier_var(at); /* bound the very register that addresses */
	at &= gh_lane_mask;
	return (void *)lane + sizeof(*lane) + at;
}

/* A ring wakes its reader; a lane has nobody to. The record in the ring is one that was taken back. */
__noinline int wake_reader(void)
{
	void *record;

	gh_reader_sleeps = 0;
	record = bpf_ringbuf_reserve(&gh_control, sizeof(__u64), 0);
	if (record)
		bpf_ringbuf_discard(record, BPF_RB_FORCE_WAKEUP);
	return 0;
}

/* One record in so many looks how full its lane is. */
#define LANE_RECORDS_PER_LOOK 16

/* The record at lane_room() is whole. */
static __always_inline void lane_publish(struct gh_scratch *s, struct gh_lane *lane, __u64 bytes)
{
	__asm__ volatile("" ::: "memory");
	*(volatile __u64 *)&lane->produced += lane_stride(bytes);
	if (gh_reader_sleeps || (!(++s->lane_records % LANE_RECORDS_PER_LOOK) &&
				 lane_fill(lane) > min(gh_wakeup_bytes, (gh_lane_mask + 1) / 4)))
		wake_reader();
}

#endif
