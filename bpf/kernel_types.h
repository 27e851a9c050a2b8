/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The kernel's structures, as far as these programs read them. Only names and
 * types matter: every offset is rewritten for the running kernel when the object
 * is loaded (CO-RE), so members that are not read are left out.
 */
#ifndef GATEHOUSE_KERNEL_TYPES_H
#define GATEHOUSE_KERNEL_TYPES_H

#include <linux/types.h>

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define IPPROTO_TCP 6
#define RCV_SHUTDOWN 1
#define SOCK_DONE 1 /* bit of skc_flags: the other end's FIN has arrived */
#define PIDTYPE_TGID 1
#define PF_IO_WORKER 0x10
#define PF_KTHREAD 0x200000
#define TS_COMPAT 2 /* the system call came by the 32-bit door */
#define ENOSYS 38
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define MSG_OOB 1
#define MSG_PEEK 2
#define MSG_TRUNC 0x20
#define MSG_ERRQUEUE 0x2000

#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT 2
#define TCP_SYN_RECV 3
#define TCP_FIN_WAIT1 4
#define TCP_FIN_WAIT2 5
#define TCP_CLOSE 7
#define TCP_CLOSE_WAIT 8
#define TCP_LAST_ACK 9
#define TCP_LISTEN 10

#define ITER_UBUF 0
#define ITER_IOVEC 1
#define ITER_BVEC 2

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	__s32 counter;
} atomic_t;

typedef struct {
	__s64 counter;
} atomic64_t;

typedef struct {
	__u32 val;
} kuid_t;

typedef struct {
	__u32 val;
} kgid_t;

struct ns_common {
	unsigned int inum;
};

struct net {
	struct ns_common ns;
};

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
};

struct sock_common {
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	unsigned char skc_state;
	possible_net_t skc_net;
	unsigned long skc_flags;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	atomic64_t skc_cookie;
};

struct pid_namespace {
	struct ns_common ns;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct task_struct;

struct hlist_node {
	struct hlist_node *next;
};

struct hlist_head {
	struct hlist_node *first;
};

struct pid {
	unsigned int level;
	struct hlist_head tasks[4];
	struct upid numbers[0];
};

struct cred {
	kuid_t uid;
	kgid_t gid;
	kuid_t euid;
	kgid_t egid;
};

typedef struct {
	int owned;
} socket_lock_t;

struct socket;

struct sock {
	struct sock_common __sk_common;
	struct socket *sk_socket;
	socket_lock_t sk_lock;
	int sk_wmem_queued;
	int sk_sndbuf;
	int sk_peek_off;
	__u16 sk_protocol;
	__u16 sk_type;
	__u8 sk_shutdown;
	kuid_t sk_uid;
	struct pid *sk_peer_pid;
	const struct cred *sk_peer_cred;
	void *sk_bpf_storage;
};

struct file;

struct socket {
	struct sock *sk;
	struct file *file;
};

struct tcp_sock {
	__u32 copied_seq;
	__u32 write_seq;
	__u32 snd_nxt;
	__u32 rcv_nxt;
	__u32 snd_una;
	__u64 bytes_acked;
	__u64 bytes_received;
};

struct sockaddr_un {
	__u16 sun_family;
	char sun_path[108];
};

/* The context of a program at connect() and its like, as the kernel has it. */
struct bpf_sock_addr_kern {
	struct sock *sk;
	struct sockaddr *uaddr;
	__u32 uaddrlen; /* from 6.7 */
};

struct unix_address {
	int len;
	struct sockaddr_un name[0];
};

struct unix_sock {
	struct sock sk;
	struct unix_address *addr;
	struct sock *peer;
	int inq_len; /* bytes that wait to be read; from 6.17 */
};

struct unix_skb_parms {
	struct pid *pid;
	__u32 consumed;
};

struct tcp_skb_cb {
	__u32 seq;
	__u32 end_seq;
};

struct sk_buff {
	struct sock *sk;
	char cb[48];
	unsigned int len;
};

struct iovec {
	void *iov_base;
	unsigned long iov_len;
};

struct page {
	unsigned long flags;
};

struct bio_vec {
	struct page *bv_page;
	unsigned int bv_len;
	unsigned int bv_offset;
};

struct iov_iter {
	__u8 iter_type;
	unsigned long iov_offset;
	union {
		struct iovec __ubuf_iovec;
		struct {
			union {
				const struct iovec *__iov;
				const struct bio_vec *bvec;
				void *ubuf;
			};
			unsigned long count;
		};
	};
	unsigned long nr_segs;
};

struct msghdr {
	struct iov_iter msg_iter;
	unsigned int msg_flags;
};

struct qstr {
	__u32 len;
	const unsigned char *name;
};

struct super_block {
	__u32 s_dev;
};

struct inode {
	__u16 i_mode;
	unsigned long i_ino;
	struct super_block *i_sb;
	unsigned int i_nlink;
};

struct socket_alloc {
	struct socket socket;
	struct inode vfs_inode;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct fs_struct {
	struct path root;
	struct path pwd;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
	void *private_data;
};

struct mm_struct {
	unsigned long arg_start;
	unsigned long arg_end;
	struct file *exe_file;
};

struct mnt_namespace {
	struct ns_common ns;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
	struct net *net_ns;
};

struct kernfs_node {
	struct kernfs_node *__parent; /* from 6.15 */
	const char *name;
	__u64 id;
};

struct kernfs_node___before_6_15 {
	struct kernfs_node *parent;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct tty_driver {
	int major;
	int minor_start;
};

struct tty_struct {
	int index;
	struct tty_driver *driver;
};

struct signal_struct {
	atomic_t live;
	int group_exit_code;
	struct tty_struct *tty;
};

struct pt_regs {
	unsigned long r15, r14, r13, r12, r11, r10, r9, r8, ax, bx, cx, dx, si, di, bp, sp, orig_ax;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct thread_info {
	__u32 status;
};

struct task_struct {
	struct thread_info thread_info;
	unsigned int flags;
	struct files_struct *files;
	struct hlist_node pid_links[4];
	int exit_code;
	__s32 pid;
	__s32 tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	struct pid *thread_pid;
	__u64 start_boottime;
	const struct cred *cred;
	struct fs_struct *fs;
	struct mm_struct *mm;
	struct nsproxy *nsproxy;
	struct signal_struct *signal;
	kuid_t loginuid;
	unsigned int sessionid;
	struct css_set *cgroups;
};

struct linux_binprm {
	struct file *file;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

#pragma clang attribute pop

#endif
