/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* When: TCP connections as they open and end. All planes have these programs. */
#ifndef GATEHOUSE_LIFE_H
#define GATEHOUSE_LIFE_H

#include "connection.h"
#include "gate.h"

#ifdef GH_UNTYPED
#define forget_dead(sk) forget_conn(sk)
#else
#define forget_dead(sk) (void)0 /* its state goes with the socket */
#endif

/* Was this very connection led to the shim's loopback? The socket may have been another's before. */
static __always_inline bool is_led(const struct gh_led *led, const struct gh_tuple *tuple)
{
	return led && led->shim_port == tuple->server_port && tuple->netns;
}

/*
 * A client's end is established. True: it is the shim's, or was led to the shim, which is told who has opened it: the
 * shim records the session. Whatever else comes to a gated server has gone past the shim, and is watched.
 */
static __always_inline bool is_gated_client(const struct sock *sk, const struct gh_conn *conn,
					    const struct gh_tuple *tuple)
{
	struct gh_led *led = bpf_sk_storage_get(&gh_gate_led, (void *)sk, 0, 0);
	struct gh_opener opener = {};
	__u32 own = GH_STEERED_OWN, *steered;

	if (leg_of(tuple, sk))
		return true;
	if (led && led->kind == GH_LED_OWN) {
		bpf_map_update_elem(&gh_gate_steered, tuple, &own, BPF_ANY);
		return true;
	}
	steered = bpf_map_lookup_elem(&gh_gate_steered, tuple);
	if (steered && *steered == GH_STEERED_OWN) { /* of a connection before this one */
		bpf_map_delete_elem(&gh_gate_steered, tuple);
		steered = NULL;
	}
	if (!steered && !is_led(led, tuple))
		return false;
	opener.process = conn->opener;
	opener.process.uid = conn->uid;
	/* Not write_seq: a client that opens with data is ahead of the answer. */
	opener.seq = kernel_field(struct tcp_sock, sk, snd_una);
	bpf_map_update_elem(&gh_gate_openers, tuple, &opener, BPF_ANY);
	bpf_map_delete_elem(&gh_gate_steered, tuple);
	return true;
}

/*
 * The same of a server's end. What the shim accepts it got from its listener, and so keeps who opened it; an opener of
 * another handshake between the same ports is nobody.
 */
static __always_inline bool is_gated_server(const struct sock *sk, const struct gh_tuple *tuple)
{
	struct gh_accepted *accepted = bpf_sk_storage_get(&gh_gate_accepted, (void *)sk, 0, 0);
	struct gh_opener *opener;
	__u32 *steered;

	if (!accepted) {
		if (leg_of(tuple, sk))
			return true;
		steered = bpf_map_lookup_elem(&gh_gate_steered, tuple);
		if (!steered || *steered != GH_STEERED_OWN)
			return false;
		bpf_map_delete_elem(&gh_gate_steered, tuple);
		return true;
	}
	opener = bpf_map_lookup_elem(&gh_gate_openers, tuple);
	if (opener && opener->seq == kernel_field(struct tcp_sock, sk, copied_seq))
		accepted->opener = opener->process;
	bpf_map_delete_elem(&gh_gate_openers, tuple);
	return true;
}

/*
 * Why here: connect() runs in the process that opens the connection, which the
 * established state, reached in an interrupt, cannot tell.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_connecting, const struct sock *sk, int old, int new)
{
	struct gh_conn *conn;

	if (new != TCP_SYN_SENT || (!gh_watch_client_ends && !gh_gate_pid) || !is_tcp(sk))
		return 0;
	conn = new_conn(sk, NULL);
	if (!conn) {
		count(GH_COUNT_STORAGE_FAILED);
		return 0;
	}
	if (conn->flags & (CONN_OPENED | CONN_UNOPENED)) /* disconnected, and connected anew */
		emit_closed(conn, conn);
	__builtin_memset(conn, 0, sizeof(*conn));
	conn->flags = CONN_CLIENT;
	process_of(&conn->opener, current_task());
	conn->uid = bpf_get_current_uid_gid();
	return 0;
}

/*
 * Why a program of its own: an interrupt that comes while on_connecting runs on
 * this CPU may establish another socket, and a program that is already running
 * there is not run again.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_established, const struct sock *sk, int old, int new)
{
	struct gh_tuple tuple = {};
	struct gh_conn *conn;
	__u64 *client;

	if (!is_tcp(sk))
		return 0;
	if (new == TCP_FIN_WAIT1 || new == TCP_LAST_ACK) {
		conn = conn_of(sk);
		if (conn)
			conn->flags |= CONN_FIN_SENT;
	}
	if (new != TCP_ESTABLISHED)
		return 0;
	if (old == TCP_SYN_SENT) {
		conn = conn_of(sk);
		if (!conn)
			return 0;
		tuple_of(&tuple, sk, true);
		if ((gh_gate_pid && is_gated_client(sk, conn, &tuple)) || !gh_watch_client_ends) {
			forget_conn(sk);
			return 0;
		}
		start_tcp(sk, conn, GH_REQUEST, GH_RESPONSE);
		bpf_map_update_elem(&gh_client_ends, &tuple, &conn->id, BPF_ANY);
		return 0;
	}
	if (old != TCP_SYN_RECV)
		return 0;
	tuple_of(&tuple, sk, false);
	forget_dead(sk);
	if (gh_gate_pid && is_gated_server(sk, &tuple))
		return 0;
	conn = new_conn(sk, NULL);
	if (!conn) {
		count(GH_COUNT_STORAGE_FAILED);
		return 0;
	}
	client = bpf_map_lookup_elem(&gh_client_ends, &tuple);
	if (client) {
		conn->id = *client;
		conn->flags = CONN_OTHER_END;
		bpf_map_delete_elem(&gh_client_ends, &tuple);
		count(GH_COUNT_OTHER_END);
		return 0;
	}
	conn->flags = 0;
	conn->uid = ~0U;
	start_tcp(sk, conn, GH_RESPONSE, GH_REQUEST);
	if (gh_join_pass != JOIN_DONE) {
		struct gh_process captured = { .pid = SERVER_END_CAPTURED };

		bpf_map_update_elem(&gh_server_ends, &tuple, &captured, BPF_ANY);
	}
	return 0;
}

/* A FIN has a number of its own, and that is counted as read. */
static __always_inline bool has_read_fin(const struct sock *sk, __u32 copied)
{
	return field(sk, __sk_common.skc_flags) & 1 << SOCK_DONE &&
	       copied == kernel_field(struct tcp_sock, sk, rcv_nxt);
}

/* Bytes that went by unseen at the very end: no later position showed them. A FIN has a number of its own. */
static __always_inline void tcp_last_gap(struct gh_conn *conn, __u32 direction, __u32 seq, bool has_fin)
{
	struct gh_stream *stream = &conn->stream[direction & 1];
	__s32 gap = seq - has_fin - stream->seq;

	if (gap > 0)
		skip(stream, direction, gap, GH_LOST_UNSUPPORTED);
}

/* Why here: the last moment of a socket, after its last read. A closed state may still have bytes to be read. */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(on_destroy, struct sock *sk)
{
	struct gh_conn *conn = conn_of(sk);
	__u32 copied = kernel_field(struct tcp_sock, sk, copied_seq);
	__u32 sending;

	if (!conn || !(conn->flags & (CONN_OPENED | CONN_UNOPENED))) {
		forget_dead(sk);
		return 0;
	}
	sending = sending_direction(conn);
	/* A reset takes no number, and a FIN that nobody has read is beyond copied_seq. */
	tcp_last_gap(conn, sending, kernel_field(struct tcp_sock, sk, write_seq), conn->flags & CONN_FIN_SENT);
	tcp_last_gap(conn, !sending, copied,
		     has_read_fin(sk, copied));
	emit_closed(conn, conn);
	forget_dead(sk);
	return 0;
}

#endif
