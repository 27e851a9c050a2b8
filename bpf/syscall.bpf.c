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

static __always_inline void tcp_called(struct gh_scratch *s, struct sock *sk, __u32 kind, __u32 moved, bool is_read)
{
	struct gh_conn *conn = conn_of(sk);

	if (!conn || !conn->id)
		return;
	if (!(kind & CALL_SENDS) && s->call.flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB))
		return;
	/* An urgent byte is not what the server reads: a gap, and no statement that was never said. */
	tcp_moved(s, sk, conn, moved, kind & CALL_SENDS, is_read && !(s->call.flags & (MSG_OOB | MSG_TRUNC)));
}

static __always_inline void unix_called(struct gh_scratch *s, struct sock *sk, __u32 kind, __u32 moved, bool is_read)
{
	if (!(kind & CALL_SENDS))
		unix_received(s, sk, moved, s->call.flags, is_read);
	else if (moved)
		unix_sent(sk, moved, is_read && may_be_ours(s, unix_peer(sk), moved, is_read));
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
	struct task_struct *task;
	struct gh_scratch *s;
	__u32 kind, moved;
	struct sock *sk;
	bool is_read;

	if (result < 0 || result > 0x7fffffff || !may_move_bytes(regs->orig_ax))
		return 0;
	task = current_task();
	s = scratch();
	if (!s)
		return 0;
	s->call.is_32bit = is_32bit_call(task);
	kind = read_arguments(regs, s->call.is_32bit, &s->arguments);
	/* Nothing moved: of interest only as the end of what a Unix socket receives. */
	if (!kind || (!result && kind & CALL_SENDS))
		return 0;
	sk = sock_of_call(task, &kind, &s->arguments);
	if (!sk)
		return 0;
	is_read = read_call(s, kind, &s->arguments, result);
	moved = (kind & CALL_KIND) == CALL_MESSAGES && is_read ? bytes_of_messages(s) : result;
	if (is_unix_stream(sk))
		unix_called(s, sk, kind, moved, is_read && moved);
	else if (moved && is_tcp(sk))
		tcp_called(s, sk, kind, moved, is_read);
	return 0;
}
