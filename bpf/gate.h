/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the capture objects and redirect.bpf.c share, so that the one knows who opened a connection that the other has
 * led to the shim, and leaves alone what the shim records itself. The maps are the capture object's; without one,
 * redirect.bpf.c has its own, and nobody is known. Nothing here is on the way of a statement.
 */
#ifndef GATEHOUSE_GATE_H
#define GATEHOUSE_GATE_H

#include <stdbool.h>
#include <linux/bpf.h>
#include "gate_abi.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

/* A connection as both of its ends name it. */
struct gh_tuple {
	__u8 client_address[16];
	__u8 server_address[16];
	__u16 client_port;
	__u16 server_port;
	__u32 netns; /* of loopback addresses, which mean another host's in each; else 0 */
};

/* Who has opened a connection that was led to the shim. */
struct gh_opener {
	struct gh_process process; /* with the uid */
	__u32 seq;		   /* the client's first byte, as TCP numbers it: no other handshake's */
	__u32 unused;
};

/* What gh_gate_steered says of a connection. */
#define GH_STEERED_CLIENT 1 /* led to the shim */
#define GH_STEERED_OWN 2    /* the shim's, to a server that may be in another network namespace of this host */

/*
 * Connections that were led to the shim. Written by lead_tcp with the SYN, taken out by the client's end, which is
 * established right after; a remote client's is pushed out by newer ones. So are the shim's own to servers elsewhere,
 * which the client's end writes, and the server's takes out.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct gh_tuple);
	__type(value, __u32);
} gh_gate_steered SEC(".maps");

/* Their openers. Written by the client's end as it is established, taken out by the shim's, right after. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct gh_tuple);
	__type(value, struct gh_opener);
} gh_gate_openers SEC(".maps");

/* The shim's connections to servers. Written and emptied by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, GH_LEGS_MAX);
	__type(key, struct gh_leg_key);
	__type(value, struct gh_leg);
} gh_gate_legs SEC(".maps");

/*
 * The shim's listeners, and what they accept, which inherits it. Written by user space, and as an accepted socket is
 * established; user space takes it out when it asks for the opener. What belongs to the socket cannot be another's.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct gh_accepted);
} gh_gate_accepted SEC(".maps");

/*
 * Sockets that connect to a place on another host. Written by lead_far as a client connects, and by user space of the
 * shim's own before they do.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct gh_led);
} gh_gate_led SEC(".maps");

static __always_inline bool is_loopback(const __u8 *address, bool is_v4)
{
	const __u32 *words = (const __u32 *)address;

	if (is_v4)
		return address[0] == 127;
	if (!words[0] && !words[1] && words[2] == bpf_htonl(0xffff))
		return address[12] == 127;
	return !words[0] && !words[1] && !words[2] && words[3] == bpf_htonl(1);
}

/* The shim's connection whose own end this is; NULL if it is none. */
static __always_inline struct gh_leg *leg_at(const __u8 *address, __u16 port)
{
	struct gh_leg_key key = { .port = port };

	__builtin_memcpy(key.address, address, sizeof(key.address));
	return bpf_map_lookup_elem(&gh_gate_legs, &key);
}

#endif
