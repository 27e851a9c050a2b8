/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What bpf/redirect.bpf.c, the capture objects and agent/shim say to each other: keys and values of their maps.
 * Compiled by both sides, as gatehouse_abi.h is.
 */
#ifndef GATEHOUSE_GATE_ABI_H
#define GATEHOUSE_GATE_ABI_H

#include "gatehouse_abi.h"

#ifdef __cplusplus
namespace gatehouse::abi {
#endif

/* Addresses are 16 bytes in network order; of IPv4, also of a mapped one, the first 4, and the others are zero. */

/* Places that can be gated at a time. */
#define GH_PLACES_MAX 64
/* The shim's connections to servers at a time. */
#define GH_LEGS_MAX 65536
/* Names that one gated Unix path is known by. */
#define GH_PATH_NAMES_MAX 4

/* The shim's end of a connection to a server, announced before it connects. */
struct gh_leg_key {
	__u8 address[16];
	__u16 port; /* host order */
	__u16 unused;
};
GH_SIZE(struct gh_leg_key, 20);

struct gh_leg {
	__u64 run; /* of the shim, as gh_run: another's are not valid any more */
	__u8 client_address[16]; /* whom the server is to see */
	__u32 netns;		 /* of the shim's socket */
	__u16 client_port;	 /* host order */
	__u16 client_is_v4;
};
GH_SIZE(struct gh_leg, 32);

/* A connection that the shim accepts: who opened it, pid 0 if nobody on this host did. */
struct gh_accepted {
	struct gh_process opener; /* with the uid */
};
GH_SIZE(struct gh_accepted, 16);

struct gh_place_key {
	__u8 address[16]; /* zeros: any */
	__u16 port;	  /* host order */
	__u16 is_v4;
};
GH_SIZE(struct gh_place_key, 20);

struct gh_place {
	__u32 index;	 /* of its listener */
	__u32 is_closed; /* clients are refused while the shim is dead; else they go direct */
};
GH_SIZE(struct gh_place, 8);

/* Network namespaces that may have listeners of the shim's at a time, times the places that lead to them. */
#define GH_FAR_LISTENERS_MAX 8192

/* Where a client of a place on another host is led to: the shim's listener in the client's network namespace. */
struct gh_far_key {
	__u64 netns_cookie;
	__u32 index; /* of the place */
	__u32 unused;
};
GH_SIZE(struct gh_far_key, 16);

enum gh_led_kind {
	GH_LED_CLIENT, /* it asked for the address, and was led to the shim's port on its loopback */
	GH_LED_OWN,    /* the shim's, on its way to a server elsewhere */
};

/* What is known of a socket that connects to a place on another host. Of the socket: it goes with it. */
struct gh_led {
	struct gh_process opener; /* with the uid */
	__u8 address[16];	  /* that was asked for */
	__u16 port;		  /* the same; both in host order */
	__u16 shim_port;
	__u32 kind;
};
GH_SIZE(struct gh_led, 40);

/* A Unix socket's address. Abstract: the first byte is 0, and `bytes` counts it. Else without the NUL at its end. */
struct gh_path {
	__u32 bytes;
	char name[GH_UNIX_PATH_BYTES_MAX];
};
GH_SIZE(struct gh_path, 112);

enum gh_path_kind { GH_PATH_SERVER = 0, GH_PATH_SHIM = 1 };
struct gh_path_entry {
	__u32 index;
	__u32 kind;
};
GH_SIZE(struct gh_path_entry, 8);

/* The same by its folder and its name there: what a relative path comes to, in whatever mount namespace or root. */
struct gh_path_in {
	__u64 folder_inode;
	__u32 folder_device; /* as the kernel has it: major << 20 | minor */
	__u32 bytes;
	char name[GH_UNIX_PATH_BYTES_MAX];
	__u32 unused;
};
GH_SIZE(struct gh_path_in, 128);

/* A gated Unix path, and where its clients are led to. */
struct gh_path_pair {
	struct gh_path server;
	struct gh_path shim;
	__u32 is_closed;
};
GH_SIZE(struct gh_path_pair, 228);

/* Index into the per-CPU counters, in the order of RedirectCounters. */
enum gh_gate_counter {
	GH_GATE_STEERED,
	GH_GATE_PASSED,
	GH_GATE_OPENED_DIRECT,
	GH_GATE_REFUSED,
	GH_GATE_COUNTERS,
};

#ifdef __cplusplus
} // namespace gatehouse::abi
#endif
#endif
