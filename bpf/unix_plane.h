/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Unix stream sockets as the socket plane sees them. */
#ifndef GATEHOUSE_UNIX_PLANE_H
#define GATEHOUSE_UNIX_PLANE_H

#include "call.h"
#include "tcp_plane.h"
#include "unix_ends.h"

/*
 * on_received is attached. Every receiving call of the host passes that hook, also one that finds nothing, and only
 * Unix sessions need it: user space attaches it when the first one begins, and takes it away some time after the last.
 * Without it a copy is taken for a read, unless the registers of the call say that it looks ahead, and what a read
 * means for both ends follows at once. What is not seen then is an end without a goodbye: user space looks for those.
 */
volatile __u32 gh_hears;

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

/* Does the call that runs look ahead? io_uring's cannot be told. */
__noinline int looks_ahead(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const struct pt_regs *regs = (const struct pt_regs *)bpf_task_pt_regs(task);
	struct gh_arguments arguments = {};
	__u32 kind, flags = 0;

	if (task->flags & (PF_KTHREAD | PF_IO_WORKER) || (__s32)regs->ax != -ENOSYS)
		return false;
	kind = read_arguments(regs, is_32bit_call(task), &arguments);
	switch (kind & CALL_KIND) {
	case CALL_BUFFER:
		flags = kind & CALL_FLAGS ? arguments.at[3] : 0;
		break;
	case CALL_MESSAGE:
		flags = arguments.at[2];
		break;
	case CALL_MESSAGES:
		flags = arguments.at[3];
		break;
	}
	return !(kind & CALL_SENDS) && flags & MSG_PEEK;
}

/* The reads that nobody told the end of have taken what they copied. */
static __always_inline void settle_reads(struct gh_conn *from)
{
	if (!(from->flags & CONN_UNHEARD))
		return;
	from->flags &= ~CONN_UNHEARD;
	from->read += from->read_bytes;
	from->read_bytes = 0;
}

__noinline int hear_at_once(struct sock *sender __arg_trusted, struct gh_conn *from, struct gh_scratch *s, __u32 bytes)
{
	struct sock *reader = trusted_peer(sender);

	if (from && s && reader)
		unix_heard(reader, sender, from, s, bytes);
	return 0;
}

static __always_inline void unix_receive(struct sk_buff *skb, struct sock *sender, __u32 bytes)
{
	struct gh_conn *conn = conn_of(sender);
	struct gh_scratch *s = scratch();
	struct gh_speech speech = {};
	bool hears = gh_hears;
	struct sock *peer;
	__u64 start;

	if (!s || (conn && conn->flags & (CONN_IGNORED | CONN_CLOSED)) || (!hears && looks_ahead()))
		return;
	peer = unix_peer(sender);
	if (!conn) {
		enum unix_role role = unix_role(sender, peer);
		bool gated;

		if (role == UNIX_NEITHER)
			return;
		gated = is_gated(sender, peer);
		/* Older than these programs: the search, or the client's next request, makes its state. */
		if (role == UNIX_SERVER && !gated) {
			s->opened.path_bytes = copy_unix_path(s->opened.path, sender);
			if (is_named_path(s->opened.path, s->opened.path_bytes))
				return;
		}
		unix_fresh(s, role, peer, 0);
		if (role == UNIX_SERVER || gated) /* nothing was asked yet: not a protocol of ours */
			s->fresh.flags |= CONN_IGNORED;
		conn = new_conn(sender, &s->fresh);
		if (!conn) {
			count(GH_COUNT_STORAGE_FAILED);
			return;
		}
		if (role == UNIX_SERVER || gated)
			return;
	}
	/* SO_PEEK_OFF: it may look further on, and nothing here tells where. A gap is better than a guess. */
	if (peer && peer->sk_peek_off > 0)
		return;
	settle_reads(conn);
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
		return;
	}
	if (hears)
		return;
	conn->flags |= CONN_UNHEARD;
	hear_at_once(sender, conn, s, bytes);
	/* A session: whoever can attach on_received is to do so now. */
	if (conn->flags & CONN_OPENED && gh_reader_sleeps)
		wake_reader();
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
	settle_reads(from);
	if (bytes > 0 && !(flags & MSG_PEEK))
		from->read += from->read_bytes;
	from->read_bytes = 0;
	unix_heard(sk, peer, from, s, bytes);
}

#endif
