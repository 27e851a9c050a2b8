// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The syscall plane, for kernels before 6.3: where a system call ends, its registers still say what it was about. It
 * uses helpers only, reads the kernel's structures by address, and keeps the state of a socket under the socket's.
 */
#define GH_FALLBACK
#define GH_UNTYPED
#include "fallback.h"
#include "snapshot.h"
#include "sockets.h"
#include "who.h"

char LICENSE[] SEC("license") = "GPL";

#define CALL_MESSAGES_MAX 1024 /* UIO_MAXIOV */

/* The state of a TCP socket of which s->call is to be said; else NULL. */
static __always_inline struct gh_conn *tcp_called(struct gh_scratch *s, struct sock *sk)
{
	struct gh_conn *conn = conn_of(sk);
	struct gh_call *call = &s->call;

	if (!conn || !conn->id)
		return NULL;
	if (!(call->kind & CALL_SENDS) && call->flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB))
		return NULL;
	/* An urgent byte is not what the server reads: a gap, and no statement that was never said. */
	if (call->flags & (MSG_OOB | MSG_TRUNC))
		call->is_read = false;
	return tcp_moved(s, sk, conn) ? conn : NULL;
}

/* Adds the bytes of one message to s->bytes_left; 1 after the last. */
__noinline int add_one_message(struct gh_scratch *s, __u32 at)
{
	__u64 address;
	__u32 bytes = 0;

	if (!s || at >= s->call.messages_left)
		return 1;
	address = s->call.messages + (__u64)at * (s->call.is_32bit ? 32 : 64) + (s->call.is_32bit ? 28 : 56);
	if (bpf_probe_read_user(&bytes, sizeof(bytes), (const void *)address))
		return 1;
	s->bytes_left += bytes;
	return 0;
}

static __always_inline __u32 bytes_of_messages(struct gh_scratch *s)
{
	s->bytes_left = 0;
	loop(at, CALL_MESSAGES_MAX)
		if (add_one_message(s, at))
			break;
	return s->bytes_left;
}

/* The socket that the call was about, in its part of the arguments; NULL for any other file. Sets CALL_SENDS. */
static __always_inline struct sock *sock_of_call(struct task_struct *task, __u32 *kind,
						 const struct gh_arguments *arguments)
{
	struct file *file = file_of(task, arguments->at[0]);
	struct sock *sk = file ? sock_from_file(file) : NULL;

	if (sk || !(*kind & CALL_SPLICE))
		return sk;
	*kind |= CALL_SENDS;
	file = file_of(task, arguments->at[2]);
	return file ? sock_from_file(file) : NULL;
}

/*
 * The socket that the call has moved bytes of, and s->call; NULL if it has none. Nothing moved is of interest as the
 * end of what a Unix socket receives. A function of its own, see fallback.h.
 */
static __noinline struct sock *find_call(struct gh_scratch *s, const struct pt_regs *regs, __u32 result)
{
	struct task_struct *task = current_task();
	struct gh_call *call = &s->call;
	struct sock *sk;

	call->is_32bit = is_32bit_call(task);
	call->kind = read_arguments(regs, call->is_32bit, &s->arguments);
	if (!call->kind || (!result && call->kind & CALL_SENDS))
		return NULL;
	sk = sock_of_call(task, &call->kind, &s->arguments);
	if (!sk)
		return NULL;
	call->is_read = read_call(s, call->kind, &s->arguments, result);
	call->moved = result;
	if ((call->kind & CALL_KIND) == CALL_MESSAGES && call->is_read)
		call->moved = bytes_of_messages(s);
	if (!call->moved)
		call->is_read = false;
	return sk;
}

/* A process has sent to a Unix socket. */
static __noinline void unix_called(struct gh_scratch *s, struct sock *sk, struct sock *peer)
{
	if (s->call.moved)
		unix_sent(sk, s->call.moved, s->call.is_read && may_be_ours(s, peer));
}

/*
 * Why here: whatever reads from a Unix socket, io_uring for one, copies; what no call has read is then known to be a
 * gap. TCP's own numbers tell that.
 */
SEC("tp_btf/skb_copy_datagram_iovec")
int BPF_PROG(on_copied, struct sk_buff *skb, int bytes)
{
	struct sock *sender = BPF_CORE_READ(skb, sk);
	struct gh_conn *conn;

	if (!sender || bytes <= 0 || !is_unix_stream(sender))
		return 0;
	conn = conn_of(sender);
	if (conn)
		__sync_fetch_and_add(&conn->read_bytes, bytes);
	return 0;
}

/*
 * Why here: the result says how much was moved, and the registers still where. It runs at the end of every call of
 * every process, so most of them must be told by their number alone.
 */
SEC("tp_btf/sys_exit")
int BPF_PROG(on_call, const struct pt_regs *regs, long result)
{
	struct gh_scratch *s;
	struct gh_conn *conn;
	struct sock *sk, *peer;

	if (result < 0 || result > 0x7fffffff || !may_move_bytes(regs->orig_ax))
		return 0;
	s = scratch();
	if (!s)
		return 0;
	sk = find_call(s, regs, result);
	if (!sk)
		return 0;
	if (!is_unix_stream(sk)) {
		conn = s->call.moved && is_tcp(sk) ? tcp_called(s, sk) : NULL;
		if (conn)
			tcp_said(s, sk, conn, say_call(s, conn));
		return 0;
	}
	peer = unix_peer(sk);
	if (s->call.kind & CALL_SENDS) {
		unix_called(s, sk, peer);
		return 0;
	}
	conn = peer ? unix_moved(s, sk, peer) : NULL;
	if (conn)
		unix_said(s, sk, peer, conn, s->call.due && say_call(s, conn));
	return 0;
}
