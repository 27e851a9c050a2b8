/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Unix stream sockets as the socket plane sees them. */
#ifndef GATEHOUSE_UNIX_PLANE_H
#define GATEHOUSE_UNIX_PLANE_H

#include "tcp_plane.h"
#include "unix_ends.h"

/*
 * The first bytes that are seen of a session, at `start`. One at a server's well-known path that does not begin with a
 * startup packet is older than these programs, whose first look may have been at the end of a send from before.
 */
static __always_inline void unix_join(struct gh_conn *conn, const struct sock *server, struct sk_buff *skb,
				      __u64 start, struct gh_scratch *s)
{
	struct bpf_dynptr packet;
	__u8 tag = 0;

	if (bpf_dynptr_from_skb(skb, 0, &packet) ||
	    bpf_dynptr_read(&tag, 1, &packet, kernel_cast(struct unix_skb_parms, skb->cb)->consumed, 0))
		return;
	if (!is_request_tag(tag))
		return;
	s->opened.path_bytes = copy_unix_path(s->opened.path, server);
	if (!is_named_path(s->opened.path, s->opened.path_bytes))
		return;
	unix_join_at(conn, start);
}

static __always_inline void unix_receive(struct sk_buff *skb, struct sock *sender, __u32 bytes)
{
	struct gh_conn *conn = conn_of(sender);
	struct gh_scratch *s = scratch();
	struct gh_speech speech = {};
	struct sock *peer;
	__u64 start;

	if (!s || (conn && conn->flags & (CONN_IGNORED | CONN_CLOSED)))
		return;
	peer = unix_peer(sender);
	if (!conn) {
		enum unix_role role = unix_role(sender, peer);

		if (role == UNIX_NEITHER)
			return;
		/* Older than these programs: the search, or the client's next request, makes its state. */
		if (role == UNIX_SERVER) {
			s->opened.path_bytes = copy_unix_path(s->opened.path, sender);
			if (is_named_path(s->opened.path, s->opened.path_bytes))
				return;
		}
		unix_fresh(s, role, peer, 0);
		if (role == UNIX_SERVER) /* nothing was asked yet: not a protocol of ours */
			s->fresh.flags |= CONN_IGNORED;
		conn = new_conn(sender, &s->fresh);
		if (!conn) {
			count(GH_COUNT_STORAGE_FAILED);
			return;
		}
		if (role == UNIX_SERVER)
			return;
	}
	/* SO_PEEK_OFF: it may look further on, and nothing here tells where. A gap is better than a guess. */
	if (peer && peer->sk_peek_off > 0)
		return;
	speech.conn = conn;
	speech.is_unix = true;
	speech.direction = conn->flags & CONN_CLIENT ? GH_REQUEST : GH_RESPONSE;
	speech.skb = skb;
	speech.bytes = bytes;
	speech.packet_offset = kernel_cast(struct unix_skb_parms, skb->cb)->consumed;
	if (!conn->read_bytes) {
		__u64 left = unix_left(conn, peer);

		if (left > conn->read)
			conn->read = left;
	}
	start = conn->read + conn->read_bytes;
	conn->read_bytes += bytes;
	if (speech.direction == GH_RESPONSE) {
		speech.sk = kernel_cast(struct sock, sender);
		speech.writer = conn->writer;
		if (!(conn->flags & (CONN_OPENED | CONN_UNOPENED))) {
			/* No request was seen: older than these programs, or not ours. */
			conn->flags |= CONN_IGNORED;
			return;
		}
	} else {
		speech.sk = kernel_cast(struct sock, peer);
		if (!find_writer(conn, start, start + bytes, &speech.writer))
			speech.flags = GH_CHUNK_UNCONFIRMED;
		if (is_unheard(conn))
			unix_join(conn, speech.sk, skb, start, s);
	}
	if (!tcp_say(&speech, start)) {
		conn->flags |= CONN_IGNORED;
		count(GH_COUNT_SOCKETS_FORGOTTEN);
	}
}

/*
 * Why here: says what of the copied bytes was really taken (a look ahead takes
 * none), and that the other end has closed. And it is where the verifier lets
 * the state of both ends be reached.
 */
static __always_inline void unix_received(struct sock *sk, int bytes, int flags)
{
	struct sock *peer = trusted_peer(sk);
	struct gh_conn *from;
	struct gh_scratch *s = scratch();

	if (!peer || !s || flags & MSG_ERRQUEUE)
		return;
	from = conn_of(peer);
	if (!from || from->flags & CONN_IGNORED)
		return;
	if (bytes > 0 && !(flags & MSG_PEEK))
		from->read += from->read_bytes;
	from->read_bytes = 0;
	unix_heard(sk, peer, from, s, bytes);
}

#endif
