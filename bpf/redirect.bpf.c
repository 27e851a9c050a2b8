// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Leads clients of gated databases to the shim, and keeps it out of their and the server's sight. Programs run when a
 * connection is opened or asked for its peer, never when it moves bytes. docs/bpf-hooks.md#gate has each hook.
 */
#include "kernel_types.h"
#include "gate.h"
#include <bpf/bpf_core_read.h>

char LICENSE[] SEC("license") = "GPL";

#define ECONNREFUSED 111
/* See linux/bpf.h of 6.7 and later; agent/shim/redirect.cc sets the type of the programs. */
extern void *bpf_cast_to_kern_ctx(void *context) __ksym __weak;
extern int bpf_sock_addr_set_sun_path(struct bpf_sock_addr_kern *context, const __u8 *path,
				      __u32 path__sz) __ksym __weak;

/* Set by user space before the object is loaded. */
const volatile __u64 gh_run;		/* of the shim that announces legs now */
const volatile __u64 gh_beat_ns_max;	/* older: the shim is dead */
const volatile __u64 gh_netns_cookie;	/* where it lives */
const volatile __u32 gh_netns;		/* the same, as gh_tuple names it */

/* When the shim last said that it lives. Set by user space. */
volatile __u64 gh_beat_ns;

/* Always 0, which the verifier does not know. */
volatile __u64 gh_zero;

/* The shim's process, and the root of its files. Set by know_self. */
__u64 gh_own_start_ns;
__u64 gh_own_root;
__u32 gh_own_pid;

/* The gated TCP places. Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GH_PLACES_MAX);
	__type(key, struct gh_place_key);
	__type(value, struct gh_place);
} gh_places SEC(".maps");

/* By a place's index: where its clients are led to. Written by user space; a closed socket leaves it by itself. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, GH_PLACES_MAX);
	__type(key, __u32);
	__type(value, __u64);
} gh_listeners SEC(".maps");

/* The gated places on other hosts. Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GH_PLACES_MAX);
	__type(key, struct gh_place_key);
	__type(value, struct gh_place);
} gh_far_places SEC(".maps");

/* The shim's ports on loopback, in host order, for their clients. Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, GH_FAR_LISTENERS_MAX);
	__type(key, struct gh_far_key);
	__type(value, __u32);
} gh_far_listeners SEC(".maps");

/* Network namespaces, by cookie, that want a listener: a process there. Written by lead_far, emptied by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 256);
	__type(key, __u64);
	__type(value, __u32);
} gh_far_missed SEC(".maps");

/* The gated Unix paths and the shim's, by any of their names, and by their index. Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GH_PLACES_MAX *(GH_PATH_NAMES_MAX + 1));
	__type(key, struct gh_path);
	__type(value, struct gh_path_entry);
} gh_paths SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GH_PLACES_MAX);
	__type(key, __u32);
	__type(value, struct gh_path_pair);
} gh_path_pairs SEC(".maps");

/* The gated Unix paths by folder: their indices. Written by user space. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GH_PLACES_MAX);
	__type(key, struct gh_path_in);
	__type(value, __u32);
} gh_paths_in SEC(".maps");

/* enum gh_gate_counter. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GH_GATE_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} gh_gate_counters SEC(".maps");

static __always_inline void count(__u32 counter)
{
	__u64 *value = bpf_map_lookup_elem(&gh_gate_counters, &counter);

	if (value)
		__sync_fetch_and_add(value, 1); /* programs of processes can be preempted */
}

static __always_inline bool is_alive(void)
{
	__s64 age_ns = bpf_ktime_get_boot_ns() - gh_beat_ns;

	return age_ns <= (__s64)gh_beat_ns_max; /* below 0: it beats right now */
}

/* Run by the shim itself. In the kernel: what user space is told of its number and start depends on its namespaces. */
SEC("syscall")
int know_self(void *context)
{
	struct task_struct *task = bpf_get_current_task_btf();

	gh_own_pid = task->tgid;
	gh_own_start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	gh_own_root = (__u64)BPF_CORE_READ(task, fs, root.dentry);
	return 0;
}

static __always_inline struct gh_place *place_of(const struct gh_tuple *tuple, bool is_v4)
{
	struct gh_place_key key = { .port = tuple->server_port, .is_v4 = is_v4 };
	struct gh_place *place;

	place = bpf_map_lookup_elem(&gh_places, &key);
	if (place)
		return place;
	__builtin_memcpy(key.address, tuple->server_address, sizeof(key.address));
	return bpf_map_lookup_elem(&gh_places, &key);
}

static __always_inline bool assign_listener(struct bpf_sk_lookup *ctx, __u32 index)
{
	struct bpf_sock *listener = bpf_map_lookup_elem(&gh_listeners, &index);
	long error;

	if (!listener)
		return false;
	/* What another program has chosen is where the server is; the shim comes before it. */
	error = bpf_sk_assign(ctx, listener, BPF_SK_LOOKUP_F_REPLACE);
	bpf_sk_release(listener);
	return !error;
}

/*
 * Why here: where a SYN looks for its listener, whoever sent it from wherever, is the one place that all clients of a
 * server on this host pass, and what is chosen here keeps both addresses of the connection. A packet that answers a
 * SYN cookie, or belongs to nothing any more, comes here too.
 */
SEC("sk_lookup")
int lead_tcp(struct bpf_sk_lookup *ctx)
{
	bool is_v4 = ctx->family == AF_INET;
	struct gh_tuple tuple = {};
	struct gh_place *place;
	struct gh_leg *leg;
	__u32 one = GH_STEERED_CLIENT;

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	tuple.server_port = ctx->local_port;
	tuple.client_port = bpf_ntohs(ctx->remote_port);
	if (is_v4) {
		*(__u32 *)tuple.server_address = ctx->local_ip4;
		*(__u32 *)tuple.client_address = ctx->remote_ip4;
	} else {
		__u32 *server = (__u32 *)tuple.server_address, *client = (__u32 *)tuple.client_address;

		server[0] = ctx->local_ip6[0];
		server[1] = ctx->local_ip6[1];
		server[2] = ctx->local_ip6[2];
		server[3] = ctx->local_ip6[3];
		client[0] = ctx->remote_ip6[0];
		client[1] = ctx->remote_ip6[1];
		client[2] = ctx->remote_ip6[2];
		client[3] = ctx->remote_ip6[3];
	}
	place = place_of(&tuple, is_v4);
	if (!place)
		return SK_PASS;
	tuple.netns = is_loopback(tuple.server_address, is_v4) ? gh_netns : 0;
	if (is_alive()) {
		leg = leg_at(tuple.client_address, tuple.client_port);
		if (leg && leg->run == gh_run) {
			count(GH_GATE_PASSED);
			return SK_PASS;
		}
		if (assign_listener(ctx, place->index)) {
			bpf_map_update_elem(&gh_gate_steered, &tuple, &one, BPF_ANY);
			count(GH_GATE_STEERED);
			return SK_PASS;
		}
	}
	bpf_map_delete_elem(&gh_gate_steered, &tuple); /* of a connection before this one */
	if (place->is_closed) {
		count(GH_GATE_REFUSED);
		return SK_DROP;
	}
	count(GH_GATE_OPENED_DIRECT);
	return SK_PASS;
}

static __always_inline bool is_own(const struct task_struct *task)
{
	return task->tgid == (__s32)gh_own_pid && BPF_CORE_READ(task, group_leader, start_boottime) == gh_own_start_ns;
}

/*
 * The shim's port on the loopback of this network namespace; 0: it has none that can be reached from this socket. That
 * the socket which has the port now is the shim's, its storage says: nobody takes its place while it dies.
 */
static __always_inline __u16 far_listener(struct bpf_sock_addr *ctx, const struct gh_place_key *place, __u32 index)
{
	struct gh_far_key key = { .netns_cookie = bpf_get_netns_cookie(ctx), .index = index };
	__u32 *port = bpf_map_lookup_elem(&gh_far_listeners, &key);
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct bpf_sock_tuple at = {};
	struct bpf_sock *listener;
	bool is_ours;

	if (ctx->sk->bound_dev_if) /* it cannot leave by any other way */
		return 0;
	if (port && place->is_v4) {
		at.ipv4.daddr = bpf_htonl(0x7f000001);
		at.ipv4.dport = bpf_htons(*port);
		listener = bpf_sk_lookup_tcp(ctx, &at, sizeof(at.ipv4), BPF_F_CURRENT_NETNS, 0);
	} else if (port) {
		at.ipv6.daddr[3] = bpf_htonl(1);
		at.ipv6.dport = bpf_htons(*port);
		listener = bpf_sk_lookup_tcp(ctx, &at, sizeof(at.ipv6), BPF_F_CURRENT_NETNS, 0);
	} else {
		bpf_map_update_elem(&gh_far_missed, &key.netns_cookie, &pid, BPF_ANY);
		return 0;
	}
	if (!listener)
		return 0;
	is_ours = bpf_sk_storage_get(&gh_gate_accepted, listener, 0, 0);
	bpf_sk_release(listener);
	return is_ours ? *port : 0;
}

/* Notes on the socket who connects to where. False: there is no memory. */
static __always_inline bool note_led(struct bpf_sock_addr *ctx, const struct gh_place_key *place, __u16 shim_port)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct gh_led *led = bpf_sk_storage_get(&gh_gate_led, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!led)
		return false;
	led->opener.start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	led->opener.pid = task->tgid;
	led->opener.uid = bpf_get_current_uid_gid();
	__builtin_memcpy(led->address, place->address, sizeof(led->address));
	led->port = place->port;
	led->shim_port = shim_port;
	led->kind = GH_LED_CLIENT;
	return true;
}

enum gh_far_way { FAR_DIRECT, FAR_LED, FAR_REFUSED };

static __always_inline enum gh_far_way far_way(struct bpf_sock_addr *ctx, const struct gh_place_key *key,
					       __u16 *shim_port)
{
	const struct gh_place *place = bpf_map_lookup_elem(&gh_far_places, key);

	if (!place || !ctx->sk || ctx->protocol != IPPROTO_TCP) /* MPTCP's connections are TCP sockets */
		return FAR_DIRECT;
	if (is_own(bpf_get_current_task_btf())) {
		count(GH_GATE_PASSED);
		return FAR_DIRECT;
	}
	if (is_alive()) {
		*shim_port = far_listener(ctx, key, place->index);
		if (*shim_port && note_led(ctx, key, *shim_port)) {
			count(GH_GATE_STEERED);
			return FAR_LED;
		}
	}
	if (place->is_closed) {
		bpf_set_retval(-ECONNREFUSED);
		count(GH_GATE_REFUSED);
		return FAR_REFUSED;
	}
	count(GH_GATE_OPENED_DIRECT);
	return FAR_DIRECT;
}

/*
 * Why here: for a server on another host no socket of this host is looked up, and the packets leave with the address
 * that is asked for. connect() is where it is asked for, in the process that asks.
 */
SEC("cgroup/connect4")
int lead_far4(struct bpf_sock_addr *ctx)
{
	struct gh_place_key key = { .port = bpf_ntohs((__u16)ctx->user_port), .is_v4 = true };
	enum gh_far_way way;
	__u16 port = 0;

	*(__u32 *)key.address = ctx->user_ip4;
	way = far_way(ctx, &key, &port);
	if (way != FAR_LED)
		return way == FAR_DIRECT;
	ctx->user_ip4 = bpf_htonl(0x7f000001);
	ctx->user_port = bpf_htons(port);
	return 1;
}

SEC("cgroup/connect6")
int lead_far6(struct bpf_sock_addr *ctx)
{
	struct gh_place_key key = { .port = bpf_ntohs((__u16)ctx->user_port) };
	__u32 *words = (__u32 *)key.address;
	enum gh_far_way way;
	__u16 port = 0;

	words[0] = ctx->user_ip6[0];
	words[1] = ctx->user_ip6[1];
	words[2] = ctx->user_ip6[2];
	words[3] = ctx->user_ip6[3];
	if (!words[0] && !words[1] && words[2] == bpf_htonl(0xffff)) {
		key.is_v4 = true;
		words[0] = words[3];
		words[2] = words[3] = 0;
	}
	way = far_way(ctx, &key, &port);
	if (way != FAR_LED)
		return way == FAR_DIRECT;
	ctx->user_ip6[0] = 0;
	ctx->user_ip6[1] = 0;
	ctx->user_ip6[2] = key.is_v4 ? bpf_htonl(0xffff) : 0;
	ctx->user_ip6[3] = bpf_htonl(key.is_v4 ? 0x7f000001 : 1);
	ctx->user_port = bpf_htons(port);
	return 1;
}

/* What the socket asked for, if its peer is the shim because it was led there. */
static __always_inline const struct gh_led *led_of(struct bpf_sock_addr *ctx, bool is_peer_loopback)
{
	const struct gh_led *led;

	if (!is_peer_loopback || !ctx->sk)
		return NULL;
	led = bpf_sk_storage_get(&gh_gate_led, ctx->sk, 0, 0);
	if (!led || led->kind != GH_LED_CLIENT || led->shim_port != bpf_ntohs((__u16)ctx->user_port))
		return NULL;
	return led;
}

/* The leg whose far end this is asked for, if it is one of ours; in another namespace the address is another's. */
static __always_inline struct gh_leg *leg_of_peer(struct bpf_sock_addr *ctx, const __u8 *address)
{
	struct gh_leg *leg;

	if (bpf_get_netns_cookie(ctx) != gh_netns_cookie)
		return NULL;
	leg = leg_at(address, bpf_ntohs((__u16)ctx->user_port));
	return leg && leg->run == gh_run ? leg : NULL;
}

/*
 * Why here: accept() asks the same as getpeername() does, so a server is told of its client by both. A client that was
 * led away sees the server that it asked for.
 */
SEC("cgroup/getpeername4")
int peer_tcp4(struct bpf_sock_addr *ctx)
{
	const __u8 *shown;
	__u8 address[16] = {};
	const struct gh_led *led;
	const struct gh_leg *leg;
	__u16 port;

	*(__u32 *)address = ctx->user_ip4;
	led = led_of(ctx, is_loopback(address, true));
	if (led) {
		shown = led->address;
		port = led->port;
	} else {
		leg = leg_of_peer(ctx, address);
		if (!leg || !leg->client_is_v4)
			return 1;
		shown = leg->client_address;
		port = leg->client_port;
	}
	ctx->user_ip4 = *(const __u32 *)shown;
	ctx->user_port = bpf_htons(port);
	return 1;
}

SEC("cgroup/getpeername6")
int peer_tcp6(struct bpf_sock_addr *ctx)
{
	__u32 words[4] = { ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3] };
	bool is_v4 = !words[0] && !words[1] && words[2] == bpf_htonl(0xffff);
	const struct gh_led *led;
	const struct gh_leg *leg;
	const __u32 *shown;
	__u16 port;

	if (is_v4) {
		words[0] = words[3];
		words[2] = words[3] = 0;
	}
	led = led_of(ctx, is_loopback((const __u8 *)words, is_v4));
	if (led) {
		shown = (const __u32 *)led->address;
		port = led->port;
	} else {
		leg = leg_of_peer(ctx, (const __u8 *)words);
		if (!leg)
			return 1;
		is_v4 = leg->client_is_v4;
		shown = (const __u32 *)leg->client_address;
		port = leg->client_port;
	}
	ctx->user_ip6[0] = is_v4 ? 0 : shown[0];
	ctx->user_ip6[1] = is_v4 ? 0 : shown[1];
	ctx->user_ip6[2] = is_v4 ? bpf_htonl(0xffff) : shown[2];
	ctx->user_ip6[3] = is_v4 ? shown[0] : shown[3];
	ctx->user_port = bpf_htons(port);
	return 1;
}

#define PATH_BUFFER 128 /* a power of two beyond the longest */

/*
 * The address in the context, as gh_path: without what a path can be written with and mean the same ("//", "/./").
 * Buffers are on the stack: a program that runs in a process can be preempted by another on its CPU.
 */
static __always_inline bool read_path(struct gh_path *path, const struct bpf_sock_addr_kern *context)
{
	const char *from = (const char *)context->uaddr + __builtin_offsetof(struct sockaddr_un, sun_path);
	__u64 bytes = context->uaddrlen - __builtin_offsetof(struct sockaddr_un, sun_path);
	char name[PATH_BUFFER] = {}, *end;
	__u64 out = 0;

	barrier_var(bytes);
	if (!bytes || bytes > GH_UNIX_PATH_BYTES_MAX || bpf_probe_read_kernel(name, bytes, from))
		return false;
	if (!name[0]) {
		__builtin_memcpy(path->name, name, sizeof(path->name));
		path->bytes = bytes;
		return true;
	}
	end = path->name;
	for (__u32 i = 0; i < GH_UNIX_PATH_BYTES_MAX; i++) {
		bool after_slash = i && name[i - 1] == '/';

		if (!name[i])
			break;
		if ((after_slash || !i) && name[i] == '.' && name[i + 1] == '/')
			continue;
		if ((after_slash || (i && !out)) && name[i] == '/')
			continue;
		if (i > 1 && name[i] == '/' && name[i - 1] == '.' && name[i - 2] == '/')
			continue;
		out += gh_zero; /* for the verifier, any number: it walks each round once */
		out &= PATH_BUFFER - 1;
		if (out >= GH_UNIX_PATH_BYTES_MAX)
			return false;
		end[out] = name[i];
		out++;
	}
	path->bytes = out;
	return true;
}

/* Puts `path` into the context. A path ends with its NUL, as the kernel itself gives it. */
static __always_inline bool write_path(struct bpf_sock_addr_kern *context, struct gh_path *path)
{
	__u64 bytes = path->bytes + !!path->name[0];

	barrier_var(bytes);
	if (!bytes || bytes > GH_UNIX_PATH_BYTES_MAX)
		return false;
	return !bpf_sock_addr_set_sun_path(context, (const __u8 *)path->name, bytes);
}

/* The place that a name without folders means where the process is; NULL: none. */
static __always_inline __u32 *place_in_folder(const struct gh_path *path, struct task_struct *task)
{
	struct inode *folder = BPF_CORE_READ(task, fs, pwd.dentry, d_inode);
	struct gh_path_in key = {};

	__builtin_memcpy(key.name, path->name, sizeof(key.name));
	key.bytes = path->bytes;
	key.folder_inode = BPF_CORE_READ(folder, i_ino);
	key.folder_device = BPF_CORE_READ(folder, i_sb, s_dev);
	return bpf_map_lookup_elem(&gh_paths_in, &key);
}

/*
 * Attached to connect_unix. Why here: before the path is looked up. The same path means another file below another
 * root, and an abstract name another socket in another network namespace: those are left alone. A name without folders
 * is a file of the process's own folder, which is the same one by whatever path it came there.
 */
SEC("cgroup/connect4")
int lead_unix(struct bpf_sock_addr *ctx)
{
	struct bpf_sock_addr_kern *context = bpf_cast_to_kern_ctx(ctx);
	struct task_struct *task = bpf_get_current_task_btf();
	struct gh_path path = {};
	struct gh_path_entry *entry;
	struct gh_path_pair *pair;
	bool is_here, is_near, is_relative;
	__u32 index, *found;

	if (ctx->type != SOCK_STREAM || !read_path(&path, context))
		return 1;
	is_relative = path.name[0] && path.name[0] != '/';
	if (is_relative) {
		found = place_in_folder(&path, task);
		if (!found)
			return 1;
		index = *found;
	} else {
		entry = bpf_map_lookup_elem(&gh_paths, &path);
		if (!entry || entry->kind != GH_PATH_SERVER)
			return 1;
		index = entry->index;
	}
	pair = bpf_map_lookup_elem(&gh_path_pairs, &index);
	if (!pair)
		return 1;
	is_here = bpf_get_netns_cookie(ctx) == gh_netns_cookie;
	if (!path.name[0] ? !is_here : !is_relative && (__u64)BPF_CORE_READ(task, fs, root.dentry) != gh_own_root)
		return 1;
	if (is_own(task)) {
		count(GH_GATE_PASSED);
		return 1;
	}
	is_near = !pair->shim.name[0] && is_here;
	/* An abstract name of the shim's is known in its own namespace only, and a path of its below its own root. */
	if (pair->shim.name[0] && (__u64)BPF_CORE_READ(task, fs, root.dentry) == gh_own_root)
		is_near = true;
	if (is_alive() && is_near && write_path(context, &pair->shim)) {
		count(GH_GATE_STEERED);
		return 1;
	}
	if (pair->is_closed) {
		bpf_set_retval(-ECONNREFUSED);
		count(GH_GATE_REFUSED);
		return 0;
	}
	count(GH_GATE_OPENED_DIRECT);
	return 1;
}

/* Attached to getpeername_unix: a client sees the path that it asked for. */
SEC("cgroup/getpeername4")
int peer_unix(struct bpf_sock_addr *ctx)
{
	struct bpf_sock_addr_kern *context = bpf_cast_to_kern_ctx(ctx);
	struct gh_path path = {};
	struct gh_path_entry *entry;
	struct gh_path_pair *pair;
	__u32 index;

	if (!read_path(&path, context))
		return 1;
	entry = bpf_map_lookup_elem(&gh_paths, &path);
	if (!entry || entry->kind != GH_PATH_SHIM)
		return 1;
	index = entry->index;
	pair = bpf_map_lookup_elem(&gh_path_pairs, &index);
	if (pair)
		write_path(context, &pair->server);
	return 1;
}
