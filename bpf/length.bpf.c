// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The length plane, for kernels from 6.3 on that have no tcp_sendmsg_locked: sock_send_length and sock_recv_length say
 * that a socket has moved bytes, whatever moved them; where they are is in the registers of the process.
 */
#define GH_FALLBACK
#include "fallback.h"
#include "snapshot.h"
#include "sockets.h"
#include "who.h"

char LICENSE[] SEC("license") = "GPL";

/*
 * Are the bytes in the memory of the process that runs? Not those of a kernel thread that works for it, nor those of
 * a request that is completed on the way out of another call (io_uring): then the call has its result already, or is
 * about another file.
 */
static __always_inline bool find_call(struct gh_scratch *s, const struct sock *sk)
{
	struct task_struct *task = bpf_get_current_task_btf();
	const struct pt_regs *regs = (const struct pt_regs *)bpf_task_pt_regs(task);
	struct gh_arguments *arguments = &s->arguments;
	struct socket *socket;
	struct file *file;
	__u32 kind;

	if (task->flags & (PF_KTHREAD | PF_IO_WORKER) || (__s32)regs->ax != -ENOSYS)
		return false;
	s->call.is_32bit = is_32bit_call(task);
	kind = read_arguments(regs, s->call.is_32bit, arguments);
	if (!kind || (kind & CALL_SENDS) != s->call.kind)
		return false;
	file = file_of(task, arguments->at[0]);
	socket = kernel_field(struct file, file, private_data);
	if (kernel_field(struct socket, socket, sk) != sk || !read_call(s, kind, arguments, 1))
		return false;
	if (!s->call.messages_left)
		return true;
	/* Of several messages nobody tells which this is. */
	s->call.messages_left = 0;
	return arguments->at[2] == 1 && read_message(&s->call, arguments->at[1]);
}

/* Makes out what was moved: a function of its own, see fallback.h. */
static __noinline void moved(struct gh_scratch *s, const struct sock *sk, int bytes, __u32 kind)
{
	s->call.kind = kind;
	s->call.moved = bytes;
	s->call.is_read = bytes && find_call(s, sk);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_sent, struct sock *sk, int bytes, int flags)
{
	struct gh_scratch *s = scratch();
	struct gh_conn *conn;

	if (bytes <= 0 || !s)
		return 0;
	if (is_unix_stream(sk)) {
		unix_sent(sk, bytes, true);
		return 0;
	}
	conn = is_tcp(sk) ? conn_of(sk) : NULL;
	if (!conn || !conn->id)
		return 0;
	moved(s, sk, bytes, CALL_SENDS);
	/* An urgent byte is not what the server reads: a gap, and no statement that was never said. */
	if (s->call.is_read && s->call.flags & MSG_OOB)
		s->call.is_read = false;
	if (tcp_moved(s, sk, conn))
		tcp_said(s, sk, conn, say_call(s, conn));
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(on_received, struct sock *sk, int bytes, int flags)
{
	struct gh_scratch *s = scratch();
	struct gh_conn *conn;
	struct sock *peer;

	if (bytes < 0 || !s)
		return 0;
	if (is_unix_stream(sk)) {
		peer = trusted_peer(sk);
		if (!peer)
			return 0;
		moved(s, sk, bytes, 0);
		s->call.flags = flags;
		conn = unix_moved(s, sk, peer);
		if (conn)
			unix_said(s, sk, peer, conn, s->call.due && say_call(s, conn));
		return 0;
	}
	if (!bytes || flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB) || !is_tcp(sk))
		return 0;
	conn = conn_of(sk);
	if (!conn || !conn->id)
		return 0;
	moved(s, sk, bytes, 0);
	if (flags & MSG_TRUNC)
		s->call.is_read = false;
	if (tcp_moved(s, sk, conn))
		tcp_said(s, sk, conn, say_call(s, conn));
	return 0;
}

/*
 * Why here: no length is told of what goes from a Unix socket into a pipe. From 6.17 on a socket's queue tells that it
 * went (unix_left), and user space leaves this out. It can be preempted, so it only counts.
 */
SEC("?fexit/unix_stream_splice_read")
int BPF_PROG(on_spliced, struct socket *socket, void *position, void *pipe, unsigned long size, unsigned int flags,
	     long bytes)
{
	struct sock *peer = bytes > 0 && socket->sk ? trusted_peer(socket->sk) : NULL;
	struct gh_conn *from = peer ? conn_of(peer) : NULL;

	if (from)
		__sync_fetch_and_add(&from->read_bytes, bytes);
	return 0;
}
