// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The socket plane. Every program returns early for a socket that is not ours,
 * or counts what it drops. docs/bpf-hooks.md has each hook with what it cannot see.
 */
#include "life.h"
#include "unix_plane.h"
#include "pages.h"
#include "snapshot.h"
#include "sockets.h"
#include "who.h"

char LICENSE[] SEC("license") = "GPL";

/* Says one segment of what a process sends: `bytes` at s->user, at s->send_seq. True: the socket is none of ours. */
__noinline int send_segment(struct sock *sk __arg_trusted, struct gh_conn *conn, struct gh_scratch *s, __u32 bytes,
			    __u32 flags)
{
	struct gh_speech speech = { .bytes = bytes, .flags = flags };

	if (!conn || !s)
		return 0;
	speech.conn = conn;
	speech.sk = sk;
	speech.direction = sending_direction(conn);
	speech.user = (const void *)s->user;
	if (speech.direction == GH_REQUEST)
		writer_of(&speech.writer, bpf_get_current_task_btf());
	if (!(conn->flags & CONN_DECIDED))
		speech.port = server_port(conn, sk);
	if (response_comes_first(conn, speech.direction))
		return learn(&speech, SEEN_NOT_PROTOCOL, 0);
	return !tcp_say(&speech, s->send_seq);
}

/* `with_pages`: a constant. The segments are pages; else addresses of the process. */
static __always_inline void send_segments(const struct sock *sk, const struct msghdr *msg, struct gh_conn *conn,
					  __u32 flags, bool with_pages)
{
	const struct iovec *vector = msg->msg_iter.__iov;
	const struct bio_vec *pages = msg->msg_iter.bvec;
	struct gh_scratch *s = scratch();
	struct bpf_iter_num it;
	int *i;

	if (!s)
		return;
	bpf_iter_num_new(&it, 0, SEND_SEGMENTS_MAX);
	while ((i = bpf_iter_num_next(&it))) {
		struct iovec segment;
		__u64 bytes;

		if (!s->send_left || s->send_forget || (__u64)*i >= msg->msg_iter.nr_segs)
			break;
		if (with_pages ? page_segment(&segment, &pages[*i]) :
				 bpf_probe_read_kernel(&segment, sizeof(segment), &vector[*i]))
			break;
		bytes = segment.iov_len - s->send_skipped;
		if (bytes > s->send_left)
			bytes = s->send_left;
		s->user = (__u64)segment.iov_base + s->send_skipped;
		if (bytes)
			s->send_forget = send_segment((void *)sk, conn, s, bytes, flags);
		s->send_seq += bytes;
		s->send_left -= bytes;
		s->send_skipped = 0;
	}
	bpf_iter_num_destroy(&it);
}

/*
 * Why here: the only place that all ways of sending pass (write, sendmsg,
 * io_uring, splice) with the bytes, the position and the process at hand. It is
 * in the copy loop, so it comes once per part: what was seen before is skipped.
 */
SEC("tp_btf/tcp_sendmsg_locked")
int BPF_PROG(on_tcp_send, const struct sock *sk, const struct msghdr *msg, const struct sk_buff *skb, int size_goal)
{
	struct gh_conn *conn = conn_of(sk);
	struct gh_scratch *s = scratch();
	__u64 left;
	__u32 flags = 0;

	if (!conn || !conn->id || !s || conn->flags & CONN_OTHER_END)
		return 0;
	if (msg->msg_flags & MSG_OOB)
		return 0; /* its last byte is not what the server reads: a gap, and no statement that was never said */
	left = msg->msg_iter.count;
	if (conn->flags & CONN_CLIENT && sk->sk_wmem_queued + (__s64)left > sk->sk_sndbuf) {
		/* It may block here, and then be cut short. */
		conn->flags |= CONN_UNCONFIRMED;
		flags = GH_CHUNK_UNCONFIRMED;
	}
	if (left > SEND_AHEAD_BYTES)
		left = size_goal > SEND_AHEAD_BYTES ? size_goal : SEND_AHEAD_BYTES;
	s->send_forget = 0;
	s->send_seq = kernel_cast(struct tcp_sock, sk)->write_seq;
	if (msg->msg_iter.iter_type == ITER_UBUF) {
		s->user = (__u64)msg->msg_iter.ubuf + msg->msg_iter.iov_offset;
		s->send_forget = send_segment((void *)sk, conn, s, left, flags);
	} else if (msg->msg_iter.iter_type == ITER_IOVEC) {
		s->send_left = left;
		s->send_skipped = msg->msg_iter.iov_offset;
		send_segments(sk, msg, conn, flags, false);
	} else if (msg->msg_iter.iter_type == ITER_BVEC && gh_page_origin) {
		s->send_left = left;
		s->send_skipped = msg->msg_iter.iov_offset;
		send_segments(sk, msg, conn, flags | GH_CHUNK_PAGES, true);
	}
	/* Of what is not read here, the next position shows what went by. */
	if (s->send_forget) {
		forget_conn(sk);
		count(GH_COUNT_SOCKETS_FORGOTTEN);
	}
	return 0;
}

/* The server's end of a captured connection reads for the first time: by now the process that serves is settled. */
static __always_inline void tell_peer(struct gh_conn *conn, struct sk_buff *skb, struct sock *sk)
{
	struct gh_peer record = {};
	struct bpf_dynptr packet;
	__u32 startup[2] = {};
	__u32 version;

	if (bpf_dynptr_from_skb(skb, 0, &packet))
		return;
	bpf_dynptr_read(startup, sizeof(startup), &packet, 0, 0);
	version = bpf_ntohl(startup[1]) >> 16;
	expect_peer_handshake(startup);
	/* 3: a startup message; 1234: SSLRequest and its like. Others only at a named port. */
	if (version == 3 || version == 1234 || conn->flags & CONN_DECIDED || is_named_port(sk->__sk_common.skc_num)) {
		head_of(&record.head, GH_RECORD_PEER, sizeof(record), conn->id);
		process_of(&record.server, bpf_get_current_task_btf());
		if (tell(&record, sizeof(record))) {
			conn->flags |= CONN_DECIDED; /* the next read tells it */
			return;
		}
	}
	forget_told(conn, sk);
}

static __always_inline void tcp_receive(struct sk_buff *skb, struct sock *sk, __u32 bytes)
{
	struct gh_conn *conn = conn_of(sk);
	struct gh_speech speech = {};
	__u32 copied;
	bool ours;

	if (!conn || !conn->id)
		return;
	if (conn->flags & CONN_OTHER_END) {
		tell_peer(conn, skb, sk);
		return;
	}
	copied = kernel_cast(struct tcp_sock, sk)->copied_seq;
	speech.packet_offset = copied - kernel_cast(struct tcp_skb_cb, skb->cb)->seq;
	if (speech.packet_offset >= skb->len)
		return; /* a look ahead past the first packet */
	speech.skb = skb;
	speech.bytes = bytes;
	speech.conn = conn;
	speech.sk = sk;
	speech.direction = !sending_direction(conn);
	if (!(conn->flags & CONN_DECIDED))
		speech.port = server_port(conn, sk);
	if (response_comes_first(conn, speech.direction))
		ours = !learn(&speech, SEEN_NOT_PROTOCOL, 0);
	else
		ours = tcp_say(&speech, copied);
	if (!ours) {
		forget_conn(sk);
		count(GH_COUNT_SOCKETS_FORGOTTEN);
	}
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_sent, struct sock *sk, int bytes, int flags)
{
	if (is_tcp(sk))
		tcp_sent(sk);
	else if (bytes > 0 && is_unix_stream(sk))
		unix_sent(sk, bytes, true);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(on_received, struct sock *sk, int bytes, int flags)
{
	if (is_unix_stream(sk))
		unix_received(sk, bytes, flags);
	return 0;
}

/* The last to be attached: of a Unix session whose first bytes it sees, the others see everything. */
SEC("tp_btf/skb_copy_datagram_iovec")
int BPF_PROG(on_receive, struct sk_buff *skb, int bytes)
{
	struct sock *sk = skb->sk;

	if (!sk || bytes <= 0)
		return 0;
	if (is_tcp(sk))
		tcp_receive(skb, sk, bytes);
	else if (is_unix_stream(sk))
		unix_receive(skb, sk, bytes);
	return 0;
}
