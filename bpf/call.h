/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The system call that runs, from the registers of its process (x86-64): which file it is about, and where in the
 * process's memory the bytes are that it has moved. A buffer that another thread writes to meanwhile cannot be told.
 */
#ifndef GATEHOUSE_CALL_H
#define GATEHOUSE_CALL_H

#include "walk.h"

#define CALL_BUFFER 1	/* (fd, buffer, …) */
#define CALL_VECTOR 2	/* (fd, struct iovec *, count) */
#define CALL_MESSAGE 3	/* (fd, struct msghdr *, flags) */
#define CALL_MESSAGES 4 /* (fd, struct mmsghdr *, count, flags) */
#define CALL_PAGES 5	/* from a file or a pipe, or into one: nothing of it is in the process's memory */
#define CALL_KIND 7
#define CALL_SENDS 8
#define CALL_FLAGS 16	/* a CALL_BUFFER's fourth argument: sendto, recvfrom */
#define CALL_SPLICE 32	/* (fd, …, fd, …): either may be the socket */

#define CALL_BUFFERS_MAX 1024 /* UIO_MAXIOV */

/* What a call of this number is; 0: none that moves a socket's bytes. */
static __always_inline __u32 kind_of_call(__u64 number)
{
	switch (number) {
	case 0: /* read */
		return CALL_BUFFER;
	case 1: /* write */
		return CALL_BUFFER | CALL_SENDS;
	case 19: /* readv */
	case 327: /* preadv2 */
		return CALL_VECTOR;
	case 20: /* writev */
	case 328: /* pwritev2 */
		return CALL_VECTOR | CALL_SENDS;
	case 40: /* sendfile */
		return CALL_PAGES | CALL_SENDS;
	case 44: /* sendto */
		return CALL_BUFFER | CALL_SENDS | CALL_FLAGS;
	case 45: /* recvfrom */
		return CALL_BUFFER | CALL_FLAGS;
	case 46: /* sendmsg */
		return CALL_MESSAGE | CALL_SENDS;
	case 47: /* recvmsg */
		return CALL_MESSAGE;
	case 275: /* splice: from a pipe or into one */
		return CALL_PAGES | CALL_SPLICE;
	case 299: /* recvmmsg */
		return CALL_MESSAGES;
	case 307: /* sendmmsg */
		return CALL_MESSAGES | CALL_SENDS;
	}
	return 0;
}

static __always_inline __u32 kind_of_call_32(__u64 number)
{
	switch (number) {
	case 3: /* read */
		return CALL_BUFFER;
	case 4: /* write */
		return CALL_BUFFER | CALL_SENDS;
	case 145: /* readv */
	case 378: /* preadv2 */
		return CALL_VECTOR;
	case 146: /* writev */
	case 379: /* pwritev2 */
		return CALL_VECTOR | CALL_SENDS;
	case 187: /* sendfile */
	case 239: /* sendfile64 */
		return CALL_PAGES | CALL_SENDS;
	case 313: /* splice */
		return CALL_PAGES | CALL_SPLICE;
	case 337: /* recvmmsg */
	case 417: /* recvmmsg_time64 */
		return CALL_MESSAGES;
	case 345: /* sendmmsg */
		return CALL_MESSAGES | CALL_SENDS;
	case 369: /* sendto */
		return CALL_BUFFER | CALL_SENDS | CALL_FLAGS;
	case 370: /* sendmsg */
		return CALL_MESSAGE | CALL_SENDS;
	case 371: /* recvfrom */
		return CALL_BUFFER | CALL_FLAGS;
	case 372: /* recvmsg */
		return CALL_MESSAGE;
	}
	return 0;
}

#define SOCKETCALL_32 102

/* By either door: only a few numbers do. */
static __always_inline bool may_move_bytes(__u64 number)
{
	return kind_of_call(number) || kind_of_call_32(number) || number == SOCKETCALL_32;
}

static __always_inline __u32 kind_of_socketcall(__u32 number)
{
	switch (number) {
	case 9: /* send */
	case 11: /* sendto */
		return CALL_BUFFER | CALL_SENDS | CALL_FLAGS;
	case 10: /* recv */
	case 12: /* recvfrom */
		return CALL_BUFFER | CALL_FLAGS;
	case 16: /* sendmsg */
		return CALL_MESSAGE | CALL_SENDS;
	case 17: /* recvmsg */
		return CALL_MESSAGE;
	}
	return 0;
}

/* A message's buffers, from its msghdr. False: it cannot be read. */
static __always_inline bool read_message(struct gh_call *call, __u64 address)
{
	__u64 vector = 0, buffers = 0;
	__u32 vector_32 = 0, buffers_32 = 0;

	if (!call->is_32bit) {
		if (bpf_probe_read_user(&vector, sizeof(vector), (const void *)(address + 16)) ||
		    bpf_probe_read_user(&buffers, sizeof(buffers), (const void *)(address + 24)))
			return false;
	} else {
		if (bpf_probe_read_user(&vector_32, sizeof(vector_32), (const void *)(address + 8)) ||
		    bpf_probe_read_user(&buffers_32, sizeof(buffers_32), (const void *)(address + 12)))
			return false;
		vector = vector_32;
		buffers = buffers_32;
	}
	call->vector = vector;
	call->buffers = buffers;
	return vector && buffers <= CALL_BUFFERS_MAX;
}

/* The arguments and the kind of the call, in order: file, memory, and what its kind says. */
static __always_inline __u32 read_arguments(const struct pt_regs *regs, bool is_32bit, struct gh_arguments *arguments)
{
	__u32 kind, list[4] = {};

	if (!is_32bit) {
		arguments->at[0] = regs->di;
		arguments->at[1] = regs->si;
		arguments->at[2] = regs->dx;
		arguments->at[3] = regs->r10;
		return kind_of_call(regs->orig_ax);
	}
	arguments->at[0] = (__u32)regs->bx;
	arguments->at[1] = (__u32)regs->cx;
	arguments->at[2] = (__u32)regs->dx;
	arguments->at[3] = (__u32)regs->si;
	if (regs->orig_ax != SOCKETCALL_32)
		return kind_of_call_32(regs->orig_ax);
	kind = kind_of_socketcall(arguments->at[0]);
	if (!kind || bpf_probe_read_user(list, sizeof(list), (const void *)arguments->at[1]))
		return 0;
	for (int i = 0; i < 4; i++)
		arguments->at[i] = list[i];
	return kind;
}

static __always_inline bool is_32bit_call(struct task_struct *task)
{
	return task->thread_info.status & TS_COMPAT;
}

/* What the file number means to the process that runs. */
static __always_inline struct file *file_of(struct task_struct *task, __u32 fd)
{
	struct fdtable *table = task->files->fdt;
	struct file *file = NULL;

	if (fd >= table->max_fds || bpf_probe_read_kernel(&file, sizeof(file), &table->fd[fd]))
		return NULL;
	return file;
}

/* The next of several messages. Its bytes, as the kernel has noted them; negative if it cannot be read. */
static __always_inline __s64 next_message(struct gh_call *call)
{
	__u64 address = call->messages;
	__u32 bytes = 0;

	if (bpf_probe_read_user(&bytes, sizeof(bytes), (const void *)(address + (call->is_32bit ? 28 : 56))) ||
	    !read_message(call, address))
		return -1;
	call->messages += call->is_32bit ? 32 : 64;
	call->messages_left--;
	call->at = 0;
	return bytes;
}

#ifdef GH_FALLBACK
/*
 * Where the bytes of the call are, to s->call and s->user. `messages`: how many of them it has moved, where that is
 * known. False: not in its memory, or in too many buffers.
 */
static __always_inline bool read_call(struct gh_scratch *s, __u32 kind, const struct gh_arguments *arguments,
				      __u32 messages)
{
	struct gh_call *call = &s->call;

	call->flags = 0;
	call->vector = 0;
	call->at = 0;
	call->messages_left = 0;
	switch (kind & CALL_KIND) {
	case CALL_BUFFER:
		s->user = arguments->at[1];
		call->buffers = 1;
		if (kind & CALL_FLAGS)
			call->flags = arguments->at[3];
		return true;
	case CALL_VECTOR:
		call->vector = arguments->at[1];
		call->buffers = arguments->at[2];
		return call->vector && call->buffers <= CALL_BUFFERS_MAX;
	case CALL_MESSAGE:
		call->flags = arguments->at[2];
		return read_message(call, arguments->at[1]);
	case CALL_MESSAGES:
		call->flags = arguments->at[3];
		call->messages = arguments->at[1];
		call->messages_left = messages;
		return messages;
	}
	return false;
}
#endif

/* The buffer number `at`. False: it cannot be read. */
static __always_inline bool read_buffer(const struct gh_call *call, __u32 at, __u64 *user, __u64 *bytes)
{
	__u64 pair[2] = {};

	if (!call->vector) { /* the only one: *user is it, and it is as long as it must be */
		*bytes = ~0ULL;
		return true;
	}
	if (!call->is_32bit) {
		if (bpf_probe_read_user(pair, sizeof(pair), (const void *)(call->vector + (__u64)at * sizeof(pair))))
			return false;
		*user = pair[0];
		*bytes = pair[1];
		return true;
	}
	/* Two halves of one word. */
	if (bpf_probe_read_user(pair, sizeof(*pair), (const void *)(call->vector + (__u64)at * sizeof(*pair))))
		return false;
	*user = (__u32)pair[0];
	*bytes = pair[0] >> 32;
	return true;
}

#endif
