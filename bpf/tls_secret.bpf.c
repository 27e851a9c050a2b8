// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Secrets of TLS sessions, as the library that shakes hands names each to whoever would log it. A function of the
 * library is told every secret whether or not there is a log; user space has found out where (agent/capture/tls), and
 * attaches this program there. docs/tls.md.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include "kernel_types.h"
#include "gatehouse_abi.h"
#include "tls_handshakes.h"

char LICENSE[] SEC("license") = "GPL";

/* A session's handshake comes at once after its SSLRequest; a suspended or stepped client may take its time. */
#define HANDSHAKE_NS_MAX 60000000000ULL
#define PLACES_MAX 256

extern void bpf_preempt_disable(void) __ksym __weak;
extern void bpf_preempt_enable(void) __ksym __weak;

/* One per attached library, by the link's cookie. Written by user space before it attaches. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PLACES_MAX);
	__type(key, __u32);
	__type(value, struct gh_tls_place);
} gh_tls_places SEC(".maps");

/* Only the agent has a descriptor. It reads and clears each record at once. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 << 10);
} gh_tls_secrets SEC(".maps");

/* Times that the program came to nothing: the ring was full, or the process's memory could not be read. */
volatile __u64 gh_tls_secrets_full;
volatile __u64 gh_tls_secrets_faults;
volatile __u64 gh_tls_secrets_others; /* of processes that shake no hands for a watched session */

static __always_inline __u64 value_of(const __u64 *registers, __u32 number)
{
	return registers[number & (GH_REGISTERS - 1)];
}

/* The names of the specifications' key log format. -1: a secret that is not needed. */
static __always_inline int kind_of(const char *label)
{
	const __u64 *words = (const __u64 *)label;

	if (words[0] == *(const __u64 *)"CLIENT_T" && words[1] == *(const __u64 *)"RAFFIC_S")
		return GH_TLS_CLIENT_TRAFFIC;
	if (words[0] == *(const __u64 *)"SERVER_T" && words[1] == *(const __u64 *)"RAFFIC_S")
		return GH_TLS_SERVER_TRAFFIC;
	if (words[0] == *(const __u64 *)"CLIENT_R")
		return GH_TLS_MASTER;
	return -1;
}

static __always_inline int tell_secret(struct pt_regs *ctx)
{
	const __u64 registers[GH_REGISTERS] = {
		ctx->ax, ctx->bx, ctx->cx, ctx->dx, ctx->si,  ctx->di,	ctx->bp,  ctx->sp,
		ctx->r8, ctx->r9, ctx->r10, ctx->r11, ctx->r12, ctx->r13, ctx->r14, ctx->r15,
	};
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	__u32 place_index = bpf_get_attach_cookie(ctx);
	const struct gh_tls_place *place = bpf_map_lookup_elem(&gh_tls_places, &place_index);
	const __u64 *since = bpf_map_lookup_elem(&gh_tls_handshakes, &pid);
	__u64 label[2] = {}, object, now = bpf_ktime_get_boot_ns();
	struct gh_tls_secret *record;
	struct task_struct *task;
	int kind;

	if (!place)
		return 0;
	if (!since || now - *since > HANDSHAKE_NS_MAX) {
		gh_tls_secrets_others++;
		return 0;
	}
	if (bpf_probe_read_user(label, sizeof(label), (const void *)value_of(registers, place->label)))
		goto fault;
	kind = kind_of((const char *)label);
	if (kind < 0)
		return 0;
	object = value_of(registers, place->object);
	for (int i = 0; i < GH_TLS_PATH_MAX; i++) {
		if (i >= place->path_count)
			break;
		if (i && bpf_probe_read_user(&object, sizeof(object), (const void *)object))
			goto fault;
		object += place->path[i];
	}
	record = bpf_ringbuf_reserve(&gh_tls_secrets, sizeof(*record), 0);
	if (!record) {
		gh_tls_secrets_full++;
		return 0;
	}
	task = (struct task_struct *)bpf_get_current_task_btf();
	record->head.time_ns = now;
	record->head.socket = 0;
	record->head.kind = GH_RECORD_TLS_SECRET;
	record->head.flags = 0;
	record->head.record_bytes = sizeof(*record);
	record->process.start_ns = task->group_leader->start_boottime;
	record->process.pid = pid;
	record->process.tid = task->pid;
	record->secret_kind = kind;
	record->place = place_index;
	if (bpf_probe_read_user(record->client_random, sizeof(record->client_random), (const void *)object) ||
	    bpf_probe_read_user(record->secret, sizeof(record->secret),
				(const void *)value_of(registers, place->secret))) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		goto fault;
	}
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
fault:
	gh_tls_secrets_faults++;
	return 0;
}

/*
 * Why here: what a library's own log of secrets is told, every session's handshake comes by, however it was begun, and
 * nothing else does. Preempted, the program could meet another on its CPU: kernels from 6.13 can panic then.
 */
SEC("uprobe")
int on_tls_secret(struct pt_regs *ctx)
{
	if (bpf_preempt_disable && bpf_preempt_enable) {
		bpf_preempt_disable();
		tell_secret(ctx);
		bpf_preempt_enable();
		return 0;
	}
	return tell_secret(ctx);
}
