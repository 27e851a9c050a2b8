/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Pages that a process hands over instead of bytes (sendfile, splice, registered
 * buffers of io_uring). The kernel maps all of memory, in the order of its page
 * structures; where, it tells nobody, and chooses at random when it boots. So the
 * agent sends itself pages that it knows (agent/capture/page_lessons), and
 * learn_pages() looks where their content is.
 */
#ifndef GATEHOUSE_PAGES_H
#define GATEHOUSE_PAGES_H

#include "tcp_plane.h"

#define PAGE_BYTES 4096
#define GIGABYTE (1ULL << 30)

__u64 gh_lesson_socket;	   /* its cookie: the agent sends the pages through it */
__u32 gh_lesson_gigabytes; /* of physical address space, at most */
__u64 gh_lesson_marker[GH_MARKER_WORDS];
__u64 gh_lesson_origin;	   /* what gh_page_origin is to be; set by the first lesson */
__u32 gh_lessons_right;	   /* in which the marker stood where it should */

static __always_inline __u64 page_position(const struct page *page)
{
	return (__u64)page / bpf_core_type_size(struct page) * PAGE_BYTES;
}

/* A page, or a row of pages that follow each other in memory. They are the sender's for as long as it sends. */
static __always_inline long page_segment(struct iovec *segment, const struct bio_vec *from)
{
	struct bio_vec pages;

	if (bpf_probe_read_kernel(&pages.bv_page, sizeof(pages.bv_page), &from->bv_page) ||
	    bpf_core_read(&pages.bv_len, sizeof(pages.bv_len), &from->bv_len) ||
	    bpf_core_read(&pages.bv_offset, sizeof(pages.bv_offset), &from->bv_offset))
		return -1;
	segment->iov_base = (void *)(gh_page_origin + page_position(pages.bv_page) + pages.bv_offset);
	segment->iov_len = pages.bv_len;
	return 0;
}

static __always_inline bool is_marker(__u64 address)
{
	__u64 words[GH_MARKER_WORDS] = {};
	bool same = true;

	if (bpf_probe_read_kernel(words, sizeof(words), (void *)address))
		return false;
	for (int i = 0; i < GH_MARKER_WORDS; i++)
		same = same && words[i] == gh_lesson_marker[i];
	return same;
}

/* Both maps begin at a multiple of a gigabyte, so all but a number of those is known. */
static __always_inline bool find_marker(__u64 position, __u64 *origin)
{
	/* Any object stands in that map. */
	__u64 near = (__u64)BPF_CORE_READ(bpf_get_current_task_btf(), signal) & ~(GIGABYTE - 1);
	struct bpf_iter_num it;
	bool found = false;
	int *i;

	bpf_iter_num_new(&it, -(int)gh_lesson_gigabytes, gh_lesson_gigabytes);
	while ((i = bpf_iter_num_next(&it))) {
		__u64 address = near + (__s64)*i * (__s64)GIGABYTE + (position & (GIGABYTE - 1));

		if (is_marker(address)) {
			*origin = address - position;
			found = true;
			break;
		}
	}
	bpf_iter_num_destroy(&it);
	return found;
}

/* Attached only while the agent's lessons last. */
SEC("tp_btf/tcp_sendmsg_locked")
int BPF_PROG(learn_pages, const struct sock *sk, const struct msghdr *msg)
{
	const struct bio_vec *from = msg->msg_iter.bvec;
	__u64 position, origin = 0;
	struct page *page;

	if (msg->msg_iter.iter_type != ITER_BVEC || (__u64)sk->__sk_common.skc_cookie.counter != gh_lesson_socket ||
	    msg->msg_iter.iov_offset || BPF_CORE_READ(from, bv_offset))
		return 0;
	page = BPF_CORE_READ(from, bv_page);
	position = page_position(page);
	if (!gh_lesson_origin && find_marker(position, &origin))
		gh_lesson_origin = origin;
	if (gh_lesson_origin && is_marker(gh_lesson_origin + position))
		gh_lessons_right++;
	return 0;
}

#endif
