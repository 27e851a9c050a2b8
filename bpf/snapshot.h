/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which connections there are. TCP sessions that were open before these programs
 * are found through the files of all processes, once; Unix ones need no search,
 * see unix_join.
 */
#ifndef GATEHOUSE_SNAPSHOT_H
#define GATEHOUSE_SNAPSHOT_H

#include "tcp_plane.h"

/* Set by user space: clients' ends are joined in a first pass, so that the second can leave out their other ends. */
__u32 gh_join_clients;

static __always_inline void join(struct sock *sk, struct task_struct *task, bool is_client)
{
	__u32 sending = is_client ? GH_REQUEST : GH_RESPONSE;
	struct gh_tuple tuple = {};
	struct gh_conn *conn;

	tuple_of(&tuple, sk, is_client);
	if (!is_client && bpf_map_lookup_elem(&gh_client_ends, &tuple)) {
		count(GH_COUNT_OTHER_END);
		return;
	}
	if (bpf_sk_storage_get(&gh_conns, sk, 0, 0))
		return;
	conn = bpf_sk_storage_get(&gh_conns, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!conn) {
		count(GH_COUNT_STORAGE_FAILED);
		return;
	}
	process_of(&conn->opener, task);
	conn->uid = is_client ? sk->sk_uid.val : ~0U;
	conn->flags = CONN_DECIDED | CONN_JOINED | (is_client ? CONN_CLIENT : 0);
	start_tcp(sk, conn, sending, !sending);
	if (is_client)
		bpf_map_update_elem(&gh_client_ends, &tuple, &conn->id, BPF_ANY);
	conn->stream[GH_REQUEST].parse.mode = MODE_UNSYNCED;
	conn->stream[GH_RESPONSE].parse.mode = MODE_UNSYNCED;
}

SEC("iter/task_file")
int join_open_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *socket;
	struct sock *sk;
	__u16 family;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk)
		return 0;
	family = sk->__sk_common.skc_family;
	if ((family != AF_INET && family != AF_INET6) || sk->sk_protocol != IPPROTO_TCP ||
	    sk->__sk_common.skc_state != TCP_ESTABLISHED)
		return 0;
	if (gh_join_clients && gh_watch_client_ends && is_named_port(bpf_ntohs(sk->__sk_common.skc_dport)))
		join(sk, task, true);
	else if (!gh_join_clients && is_named_port(sk->__sk_common.skc_num))
		join(sk, task, false);
	return 0;
}

/*
 * Writes the id of every watched TCP connection that is still there. Why: a closing
 * record can be missing (its ring was full, its program was not run), and a
 * session must not stay open for ever because of that.
 */
SEC("iter/tcp")
int list_watched(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct gh_conn *conn;
	struct tcp_sock *sk;
	__u64 id;

	if (!common)
		return 0;
	sk = bpf_skc_to_tcp_sock(common);
	if (!sk)
		return 0;
	conn = bpf_sk_storage_get(&gh_conns, sk, 0, 0);
	if (!conn || !conn->id)
		return 0;
	id = conn->id;
	bpf_seq_write(ctx->meta->seq, &id, sizeof(id));
	return 0;
}

#endif
