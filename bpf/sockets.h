/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which sockets there are: what listens, and what is connected to what may be a database, watched or not. Run by user
 * space when it is asked for an account of the host; watches nothing by itself. Through the files of all processes, as
 * in snapshot.h and for the same reasons.
 */
#ifndef GATEHOUSE_SOCKETS_H
#define GATEHOUSE_SOCKETS_H

#include "snapshot.h"

/* Set by user space before each pass: who listens comes first, and tells where databases are. */
__u32 gh_list_pass;
/* Bits: TCP ports of databases. */
#define PORT_WORDS (65536 / 64)
__u64 gh_database_ports[PORT_WORDS];

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gh_socket);
} gh_socket_scratches SEC(".maps");

static __always_inline bool is_database_port(__u16 port)
{
	__u64 word = port / 64;

	barrier_var(word); /* bound the very register that addresses */
	return gh_database_ports[word & (PORT_WORDS - 1)] >> (port % 64) & 1;
}

static __always_inline __u64 socket_inode_of(const struct sock *sk)
{
	return sk ? BPF_CORE_READ(sk, sk_socket, file, f_inode, i_ino) : 0;
}

static __always_inline __u32 state_of(const struct gh_conn *conn)
{
	if (!conn)
		return GH_STATE_UNKNOWN;
	if (conn->flags & CONN_IGNORED)
		return GH_STATE_IGNORED;
	return conn->flags & (CONN_OPENED | CONN_UNOPENED) ? GH_STATE_SESSION : GH_STATE_SILENT;
}

static __always_inline bool list_tcp(struct gh_socket *s, struct sock *sk, const struct gh_conn *conn)
{
	__u16 local = field(sk, __sk_common.skc_num);
	__u16 remote = bpf_ntohs(field(sk, __sk_common.skc_dport));
	__u8 state = field(sk, __sk_common.skc_state);

	if (gh_list_pass == GH_LIST_LISTENERS && state != TCP_LISTEN)
		return false;
	if (gh_list_pass == GH_LIST_CONNECTIONS) {
		if (state != TCP_ESTABLISHED && state != TCP_FIN_WAIT1 && state != TCP_FIN_WAIT2 &&
		    state != TCP_CLOSE_WAIT)
			return false;
		if (s->state != GH_STATE_SESSION && !is_database_port(local) && !is_database_port(remote))
			return false;
		s->role = is_database_port(local) ? GH_ROLE_SERVER : GH_ROLE_CLIENT;
		if (conn)
			s->role = conn->flags & CONN_CLIENT ? GH_ROLE_CLIENT : GH_ROLE_SERVER;
	}
	s->transport = field(sk, __sk_common.skc_family) == AF_INET ? GH_TCP4 : GH_TCP6;
	addresses_of(sk, s->local_address, s->remote_address);
	s->local_port = local;
	s->remote_port = remote;
	return true;
}

static __always_inline bool list_unix(struct gh_socket *s, struct sock *sk)
{
	const struct sock *peer = unix_peer(sk);
	enum unix_role role;

	s->transport = GH_UNIX;
	if (field(sk, __sk_common.skc_state) == TCP_LISTEN) {
		s->path_bytes = copy_unix_path(s->path, sk);
		return gh_list_pass == GH_LIST_LISTENERS;
	}
	role = unix_role(sk, peer);
	if (gh_list_pass != GH_LIST_CONNECTIONS || role == UNIX_NEITHER || !peer)
		return false;
	s->role = role == UNIX_SERVER ? GH_ROLE_SERVER : GH_ROLE_CLIENT;
	s->path_bytes = copy_unix_path(s->path, role == UNIX_SERVER ? sk : peer);
	s->peer_inode = socket_inode_of(peer);
	return true;
}

SEC("iter/task_file")
int list_sockets(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	const struct gh_conn *conn;
	struct gh_socket *s;
	struct sock *sk;
	__u32 zero = 0;

	if (!task || !file)
		return 0;
	sk = sock_from_file(file);
	s = bpf_map_lookup_elem(&gh_socket_scratches, &zero);
	if (!sk || !s)
		return 0;
	__builtin_memset(s, 0, sizeof(*s));
	conn = conn_of(sk);
	if (conn && conn->flags & CONN_CLOSED)
		return 0; /* it has said goodbye */
	s->state = state_of(conn);
	if (is_tcp(sk)) {
		if (!list_tcp(s, sk, conn))
			return 0;
	} else if (!is_unix_stream(sk) || !list_unix(s, sk)) {
		return 0;
	}
	s->inode = BPF_CORE_READ(file, f_inode, i_ino);
	s->session = s->state == GH_STATE_SESSION && conn ? conn->id : 0;
	s->netns = netns_of(sk);
	process_of(&s->process, task);
	bpf_seq_write(ctx->meta->seq, s, sizeof(*s));
	return 0;
}

#endif
