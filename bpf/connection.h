/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What a span means for the connection that it belongs to. */
#ifndef GATEHOUSE_CONNECTION_H
#define GATEHOUSE_CONNECTION_H

#include "said.h"

static __always_inline struct gh_scratch *scratch(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&gh_scratches, &zero);
}

static __always_inline __u32 sending_direction(const struct gh_conn *conn)
{
	return conn->flags & CONN_CLIENT ? GH_REQUEST : GH_RESPONSE;
}

static __always_inline bool is_tcp(const struct sock *sk)
{
	__u16 family = field(sk, __sk_common.skc_family);

	return (family == AF_INET || family == AF_INET6) && field(sk, sk_protocol) == IPPROTO_TCP;
}

static __always_inline __u32 server_port(const struct gh_conn *conn, const struct sock *sk)
{
	return conn->flags & CONN_CLIENT ? bpf_ntohs(field(sk, __sk_common.skc_dport)) :
					   field(sk, __sk_common.skc_num);
}

/* The connection that a span belongs to, and how. */
struct gh_speech {
	struct gh_conn *conn;	/* has the stream's state */
	__u32 port;		/* the server's */
	bool is_unix;
#ifndef GH_FALLBACK
	const struct sock *sk;	/* the captured end; Unix: the server's end */
	struct sk_buff *skb;	/* what is received, or */
	const void *user;	/* what is sent, in the current process's memory, or in pages (GH_CHUNK_PAGES) */
	__u32 packet_offset;
	__u32 bytes;
	__u32 direction;
	__u32 flags;		/* of the record */
	struct gh_process writer;
#endif
};

#ifndef GH_FALLBACK
static __always_inline void describe(struct gh_opened *opened, const struct gh_speech *speech)
{
	if (speech->is_unix)
		describe_unix(opened, speech->sk);
	else
		describe_tcp(opened, speech->conn, speech->sk);
}
#endif

/* Requests that are not decided yet, at a database's port, may be TLS from the first byte. */
static __always_inline bool may_be_tls(const struct gh_conn *conn, __u16 port)
{
	return gh_keeps_tls && !(conn->flags & CONN_DECIDED) && is_named_port(port);
}

/* The server's end of a captured connection has read `startup` first: does its process shake hands next? */
static __always_inline void expect_peer_handshake(const __u32 *startup)
{
	const __u8 *first = (const __u8 *)startup;

	if (gh_keeps_tls && (bpf_ntohl(startup[1]) == CODE_SSL || (first[0] == TLS_HANDSHAKE && first[1] == 3)))
		expect_handshake(current_task()->tgid);
}

#define SEEN_BY_OTHER (SEEN_SSL_REQUEST | SEEN_READY | SEEN_TLS | SEEN_GSS | SEEN_JOINED | SEEN_TLS_KEPT)

/* What one direction's walk found changes the other direction. `other` holds that one's state. */
static __always_inline void learn_other(struct gh_conn *other, __u32 seen)
{
	struct gh_parse *p = &other->stream[GH_REQUEST].parse;

	if (!(seen & SEEN_BY_OTHER))
		return;
	if (seen & SEEN_SSL_REQUEST)
		other->stream[GH_RESPONSE].parse.mode = MODE_SSL_ANSWER;
	if (seen & SEEN_READY)
		other->idle = 1;
	/* Idle: whatever the client sends next begins a frame. */
	if (seen & SEEN_READY && (p->mode == MODE_RAW || p->mode == MODE_UNSYNCED))
		p->mode = MODE_FRAMES;
	/* It was idle: the answer begins a frame too. If not, its walk will notice. */
	if (seen & SEEN_JOINED && other->stream[GH_RESPONSE].parse.mode == MODE_UNSYNCED)
		other->stream[GH_RESPONSE].parse.mode = MODE_FRAMES;
	if (seen & (SEEN_TLS | SEEN_GSS)) {
		other->stream[0].parse.mode = MODE_COUNT;
		other->stream[1].parse.mode = MODE_COUNT;
	}
	if (seen & SEEN_TLS_KEPT) {
		other->stream[0].parse.mode = MODE_TLS;
		other->stream[1].parse.mode = MODE_TLS;
	}
}

#define TERMINATE_BYTES 5

/* A span of requests was walked. Its goodbye ends the session, unless answers are still on their way. */
static __always_inline __u32 unix_goodbye(struct gh_conn *conn, __u32 bytes, __u32 seen)
{
	bool is_idle = conn->idle;

	conn->idle = 0;
	return is_idle && bytes == TERMINATE_BYTES ? seen & SEEN_TERMINATE : 0;
}

/* What a walk of `bytes` found changes the connection. True: forget the socket. */
static __always_inline bool learn(const struct gh_speech *speech, __u32 seen, __u32 bytes)
{
	struct gh_conn *conn = speech->conn;
	__u32 reason = GH_OPAQUE_NOT_PROTOCOL;

	if (seen & SEEN_UNSYNCED)
		count(GH_COUNT_UNSYNCED);
	if (seen & SEEN_TLS_KEPT)
		expect_handshake(current_task()->tgid);
	if (speech->is_unix) {
		conn->seen |= seen & SEEN_BY_OTHER;
		if (conn->flags & CONN_CLIENT)
			conn->seen |= unix_goodbye(conn, bytes, seen);
	} else {
		learn_other(conn, seen);
	}
	if (!(seen & (SEEN_NOT_PROTOCOL | SEEN_TLS | SEEN_GSS)))
		return false;
	if (seen & (SEEN_TLS | SEEN_DIRECT_TLS))
		reason = GH_OPAQUE_TLS;
	else if (seen & SEEN_GSS)
		reason = GH_OPAQUE_GSS;
	conn->stream[0].parse.mode = MODE_COUNT;
	conn->stream[1].parse.mode = MODE_COUNT;
	if (seen & SEEN_NOT_PROTOCOL) {
		__u32 port = speech->port;

		if (speech->is_unix || !is_named_port(port))
			return true;
		conn->flags |= CONN_DECIDED;
	}
	if (!(conn->flags & CONN_OPENED)) {
		struct gh_scratch *s = scratch();

		if (!s)
			return false;
#ifndef GH_FALLBACK /* where it was done before, and the socket is not at hand */
		describe(&s->opened, speech);
#endif
		if (!emit_opened(conn, &s->opened))
			return false;
	}
	emit_opaque(conn, reason);
	return false;
}

/* The server speaks before the client: not a protocol of ours. */
static __always_inline __u32 response_comes_first(const struct gh_conn *conn, __u32 direction)
{
	return direction == GH_RESPONSE && !(conn->flags & (CONN_DECIDED | CONN_JOINED)) ? SEEN_NOT_PROTOCOL : 0;
}

/* A number that no other connection of this boot has; the top bit keeps it apart from TCP's cookies. */
static __always_inline __u64 unix_id(void)
{
	return 1ULL << 63 | (bpf_ktime_get_boot_ns() & ((1ULL << 57) - 1)) << 6 |
	       (bpf_get_smp_processor_id() & 63);
}

#ifdef GH_UNTYPED
/* A number that no other connection of this boot has. Its socket may have none, and none can be made for it here. */
static __always_inline __u64 tcp_id(const struct sock *sk)
{
	return unix_id() & ~(1ULL << 63);
}
#else
static __always_inline __u64 tcp_id(struct sock *sk)
{
	return bpf_get_socket_cookie(sk);
}
#endif

/* An other end has told who serves. While open sessions are searched it stays, so that it is not taken for one. */
static __always_inline void forget_told(struct gh_conn *conn, const struct sock *sk)
{
	if (gh_join_pass != JOIN_DONE)
		conn->id = 0;
	else
		forget_conn(sk);
}

static __always_inline void start_tcp(const struct sock *sk, struct gh_conn *conn, __u32 tx, __u32 rx)
{
	conn->id = tcp_id((void *)sk);
	conn->transport = field(sk, __sk_common.skc_family) == AF_INET ? GH_TCP4 : GH_TCP6;
	conn->stream[tx & 1].seq = kernel_field(struct tcp_sock, sk, write_seq);
	conn->stream[rx & 1].seq = kernel_field(struct tcp_sock, sk, copied_seq);
	conn->stream[GH_REQUEST].parse.mode = MODE_STARTUP;
	conn->stream[GH_RESPONSE].parse.mode = MODE_FRAMES;
}

#endif
