/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* By whom: processes as they are when they fork, exec and exit, before anything can change or hide it. */
#ifndef GATEHOUSE_WHO_H
#define GATEHOUSE_WHO_H

#include "state.h"

#define PATH_PARTS_MAX 96
#define NAME_BYTES_MAX 256

struct gh_exec_scratch {
	struct gh_exec exec;
	char text[GH_EXEC_TEXT_BYTES_MAX + NAME_BYTES_MAX];
	/* Addresses, for the walk from a leaf up. */
	__u64 dentry;
	__u64 vfsmount;
	__u64 node;
	__u32 at; /* in text */
};

/* Per CPU: exec is in process context, and tracepoint programs cannot be preempted. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gh_exec_scratch);
} gh_exec_scratches SEC(".maps");

static __always_inline void put_name(struct gh_exec_scratch *e, const void *name)
{
	__u32 at = e->at;
	long bytes;

	if (at > GH_EXEC_TEXT_BYTES_MAX)
		return;
	bytes = bpf_probe_read_kernel_str(e->text + at, NAME_BYTES_MAX, name);
	if (bytes > 0)
		e->at = at + bytes;
}

/* Appends the names from e->dentry up to the root of its mount tree; returns their bytes. */
__noinline __u32 put_path(struct gh_exec_scratch *e)
{
	__u32 start;

	if (!e)
		return 0;
	start = e->at;
	loop(it, PATH_PARTS_MAX) {
		struct dentry *dentry = (void *)e->dentry;
		struct vfsmount *vfsmount = (void *)e->vfsmount;
		struct dentry *parent = BPF_CORE_READ(dentry, d_parent);

		if (!dentry || !vfsmount || e->at - start > GH_EXEC_PATH_BYTES_MAX - NAME_BYTES_MAX)
			break;
		if (dentry == BPF_CORE_READ(vfsmount, mnt_root)) {
			struct mount *mount = (void *)vfsmount - bpf_core_field_offset(struct mount, mnt);
			struct mount *above = BPF_CORE_READ(mount, mnt_parent);

			if (above == mount)
				break;
			e->dentry = (__u64)BPF_CORE_READ(mount, mnt_mountpoint);
			e->vfsmount = (__u64)above + bpf_core_field_offset(struct mount, mnt);
			continue;
		}
		if (parent == dentry) { /* a file of no directory: memfd, or unlinked with its tree */
			put_name(e, BPF_CORE_READ(dentry, d_name.name));
			break;
		}
		put_name(e, BPF_CORE_READ(dentry, d_name.name));
		e->dentry = (__u64)parent;
	}
	loop_end(it);
	return e->at - start;
}

static __always_inline __u64 node_above(__u64 address)
{
	struct kernfs_node *node = (void *)address;

	if (bpf_core_field_exists(node->__parent))
		return (__u64)BPF_CORE_READ(node, __parent);
	return (__u64)BPF_CORE_READ((struct kernfs_node___before_6_15 *)node, parent);
}

/* Appends the names from the cgroup e->node up, without the root's. */
__noinline __u32 put_cgroup(struct gh_exec_scratch *e)
{
	__u32 start;

	if (!e)
		return 0;
	start = e->at;
	loop(it, PATH_PARTS_MAX) {
		struct kernfs_node *node = (void *)e->node;
		__u64 above = node ? node_above((__u64)node) : 0;

		if (!above || e->at - start > GH_EXEC_PATH_BYTES_MAX - NAME_BYTES_MAX)
			break;
		put_name(e, BPF_CORE_READ(node, name));
		e->node = above;
	}
	loop_end(it);
	return e->at - start;
}

static __always_inline void put_arguments(struct gh_exec_scratch *e, struct task_struct *task)
{
	unsigned long start = BPF_CORE_READ(task, mm, arg_start);
	unsigned long end = BPF_CORE_READ(task, mm, arg_end);
	__u64 bytes = end - start;
	__u32 at = e->at;

	e->exec.argument_bytes = 0;
	if (end <= start || at > GH_EXEC_TEXT_BYTES_MAX - GH_EXEC_ARGUMENT_BYTES_MAX)
		return;
	if (bytes > GH_EXEC_ARGUMENT_BYTES_MAX) {
		bytes = GH_EXEC_ARGUMENT_BYTES_MAX;
		e->exec.head.flags |= GH_EXEC_ARGUMENTS_CUT;
	}
	if (bpf_probe_read_user(e->text + at, bytes, (void *)start))
		return;
	e->exec.argument_bytes = bytes;
	e->at = at + bytes;
}

static __always_inline void put_credentials(struct gh_exec *exec, struct task_struct *task)
{
	const struct cred *cred = task->cred;
	struct tty_struct *tty = BPF_CORE_READ(task, signal, tty);

	exec->uid = cred->uid.val;
	exec->gid = cred->gid.val;
	exec->euid = cred->euid.val;
	exec->egid = cred->egid.val;
	exec->loginuid = bpf_core_field_exists(task->loginuid) ? BPF_CORE_READ(task, loginuid.val) : ~0U;
	exec->audit_session = bpf_core_field_exists(task->sessionid) ? BPF_CORE_READ(task, sessionid) : ~0U;
	exec->tty = tty ? (__u32)BPF_CORE_READ(tty, driver, major) << 20 |
				  (BPF_CORE_READ(tty, driver, minor_start) + BPF_CORE_READ(tty, index)) :
			  0;
	exec->net_namespace = BPF_CORE_READ(task, nsproxy, net_ns, ns.inum);
	exec->mount_namespace = BPF_CORE_READ(task, nsproxy, mnt_ns, ns.inum);
}

/* The pid's own namespace is the innermost it has a number in. */
static __always_inline __u32 pid_namespace_of(struct task_struct *task)
{
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	__u32 level = BPF_CORE_READ(pid, level);
	struct upid number;

	if (level > 32 || bpf_core_read(&number, sizeof(number), &pid->numbers[level]))
		return 0;
	return BPF_CORE_READ(number.ns, ns.inum);
}

static __always_inline void put_exe(struct gh_exec_scratch *e, struct file *file)
{
	struct inode *inode = BPF_CORE_READ(file, f_inode);

	e->exec.exe_inode = BPF_CORE_READ(inode, i_ino);
	e->exec.exe_device = BPF_CORE_READ(inode, i_sb, s_dev);
	e->exec.exe_links = BPF_CORE_READ(inode, i_nlink);
	e->dentry = (__u64)BPF_CORE_READ(file, f_path.dentry);
	e->vfsmount = (__u64)BPF_CORE_READ(file, f_path.mnt);
	e->exec.exe_bytes = put_path(e);
}

/* Why here: the image is new and nothing of it has run yet. */
SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *binprm)
{
	__u32 zero = 0;
	struct gh_exec_scratch *e = bpf_map_lookup_elem(&gh_exec_scratches, &zero);
	struct gh_image image = {};
	struct kernfs_node *node;
	__u64 bytes;

	if (!e)
		return 0;
	e->at = 0;
	head_of(&e->exec.head, GH_RECORD_EXEC, 0, 0);
	process_of(&e->exec.process, task);
	process_of(&e->exec.parent, task->real_parent);
	put_credentials(&e->exec, task);
	e->exec.pid_namespace = pid_namespace_of(task);
	put_exe(e, BPF_CORE_READ(task, mm, exe_file));
	e->dentry = (__u64)BPF_CORE_READ(task, fs, pwd.dentry);
	e->vfsmount = (__u64)BPF_CORE_READ(task, fs, pwd.mnt);
	e->exec.cwd_bytes = put_path(e);
	node = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn);
	e->node = (__u64)node;
	e->exec.cgroup_id = BPF_CORE_READ(node, id);
	e->exec.cgroup_bytes = put_cgroup(e);
	put_arguments(e, task);
	bytes = e->at;
	if (bytes <= GH_EXEC_TEXT_BYTES_MAX) {
		bytes += sizeof(e->exec);
		e->exec.head.record_bytes = bytes;
		/* Large records: the requests' ring is not for them. */
		if (!bpf_ringbuf_output(&gh_control, &e->exec, bytes, BPF_RB_NO_WAKEUP))
			return 0;
	}
	count(GH_COUNT_CONTROL_RING_FULL);
	image.start_ns = e->exec.process.start_ns;
	image.pid = e->exec.process.pid;
	bpf_map_update_elem(&gh_images_untold, &image, &e->exec.head.time_ns, BPF_ANY);
	__sync_fetch_and_add(&gh_images_untold_count, 1);
	return 0;
}

/* Why here: the child is complete and has not run yet. Threads are of no interest. */
SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct gh_fork record = {};

	if (child->pid != child->tgid)
		return 0;
	head_of(&record.head, GH_RECORD_FORK, sizeof(record), 0);
	process_of(&record.parent, parent);
	process_of(&record.child, child);
	tell(&record, sizeof(record));
	return 0;
}

/* Why here: the last thread of the process; its sockets are closed after this. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	struct gh_exit record = {};

	if (task->signal->live.counter)
		return 0;
	head_of(&record.head, GH_RECORD_EXIT, sizeof(record), 0);
	process_of(&record.process, task);
	record.status = task->signal->group_exit_code ? task->signal->group_exit_code : task->exit_code;
	tell(&record, sizeof(record));
	return 0;
}

#endif
