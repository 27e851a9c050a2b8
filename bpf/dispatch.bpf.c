// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Programs that do nothing, on the hooks that the socket plane has on the way of a statement: what the kernel takes to
 * come to them and back is the least that watching there can cost.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("tp_btf/tcp_sendmsg_locked")
int on_tcp_send(void *context)
{
	return 0;
}

SEC("tp_btf/skb_copy_datagram_iovec")
int on_receive(void *context)
{
	return 0;
}

SEC("tp_btf/sock_send_length")
int on_sent(void *context)
{
	return 0;
}

SEC("tp_btf/sock_recv_length")
int on_received(void *context)
{
	return 0;
}
