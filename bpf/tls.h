/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Sessions that have turned to TLS. Their bytes are kept as they are, since user space may have the secrets that open
 * them: those come from the handshake itself, see tls_secret.bpf.c. What user space does not claim in time is opaque.
 */
#ifndef GATEHOUSE_TLS_H
#define GATEHOUSE_TLS_H

#include "record.h"
#include "tls_handshakes.h"

/* Sessions that user space has decided about. Written by it, which deletes what has ended. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, GH_TLS_CLAIMS_MAX);
	__type(key, __u64);
	__type(value, __u32);
} gh_tls_claims SEC(".maps");

static __always_inline void expect_handshake(__u32 pid)
{
	__u64 now = bpf_ktime_get_boot_ns();

	bpf_map_update_elem(&gh_tls_handshakes, &pid, &now, BPF_ANY);
}

/* Nobody opens this session: `bytes` more of it are not kept. */
static __always_inline bool is_tls_given_up(struct gh_conn *conn, __u32 bytes)
{
	const __u32 *claim;
	__u64 id = conn->id;

	if (conn->flags & CONN_TLS_CLAIMED)
		return false;
	claim = bpf_map_lookup_elem(&gh_tls_claims, &id);
	if (claim && *claim == GH_TLS_OPENED) {
		conn->flags |= CONN_TLS_CLAIMED;
		return false;
	}
	conn->tls_bytes += bytes;
	return claim || conn->tls_bytes > GH_TLS_UNCLAIMED_BYTES_MAX;
}

#endif
