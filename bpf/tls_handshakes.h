/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Who shakes hands for a watched session: what the capture plane tells the program on secrets (tls_secret.bpf.c). */
#ifndef GATEHOUSE_TLS_HANDSHAKES_H
#define GATEHOUSE_TLS_HANDSHAKES_H

/*
 * When a process last had a watched session that turned to TLS (boot time): only such a process's secrets are told.
 * Written here, read where secrets are; the oldest give way.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, __u64);
} gh_tls_handshakes SEC(".maps");

#endif
