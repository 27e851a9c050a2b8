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
static __always_inline bool find_call(struct gh_scratch *s, const struct sock *sk, bool sends)
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
	if (!kind || (kind & CALL_SENDS) != (sends ? CALL_SENDS : 0))
		return false;
	file = file_of(task, arguments->at[0]);
	socket = BPF_CORE_READ(file, private_data);
	if (BPF_CORE_READ(socket, sk) != sk)
		return false;
	/* Of several messages nobody tells which this is. */
	if ((kind & CALL_KIND) == CALL_MESSAGES && arguments->at[2] == 1)
		return read_message(&s->call, arguments->at[1]) && !(s->call.at = s->call.messages_left = 0);
	return read_call(s, kind, arguments, 0);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_sent, struct sock *sk, int bytes, int flags)
{
	struct gh_scratch *s;
	struct gh_conn *conn;

	if (bytes <= 0)
		return 0;
	if (is_unix_stream(sk)) {
		unix_sent(sk, bytes, true);
		return 0;
	}
	conn = is_tcp(sk) ? conn_of(sk) : NULL;
	s = scratch();
	/* An urgent byte is not what the server reads: a gap, and no statement that was never said. */
	if (conn && conn->id && s)
		tcp_moved(s, sk, conn, bytes, true, find_call(s, sk, true) && !(s->call.flags & MSG_OOB));
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(on_received, struct sock *sk, int bytes, int flags)
{
	struct gh_scratch *s = scratch();
	struct gh_conn *conn;

	if (!s)
		return 0;
	if (is_unix_stream(sk)) {
		unix_received(s, sk, bytes, flags, bytes > 0 && find_call(s, sk, false));
		return 0;
	}
	if (bytes <= 0 || flags & (MSG_PEEK | MSG_ERRQUEUE | MSG_OOB) || !is_tcp(sk))
		return 0;
	conn = conn_of(sk);
	if (conn && conn->id)
		tcp_moved(s, sk, conn, bytes, false, find_call(s, sk, false) && !(flags & MSG_TRUNC));
	return 0;
}
