/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Walks the frames of one span (the bytes of one read or write) and decides,
 * from their headers alone, which bytes are kept. Keeps no bytes itself: the
 * outcome is a row of pieces, and where the stream's framing stands.
 */
#ifndef GATEHOUSE_WALK_H
#define GATEHOUSE_WALK_H

#include "state.h"
#include "whom.h"

/* Headers are read through a window, so that small rows cost one read together. */
#define WINDOW_BYTES 2048
/* After a frame longer than this the window only takes the next header. */
#define LONG_FRAME_BYTES 1024
#define WINDOW_BYTES_AFTER_LONG_FRAME 32
#define STEPS_MAX (WINDOW_BYTES / 4)

#define CODE_SSL 80877103
#define CODE_GSS 80877104
#define CODE_CANCEL 80877102
#define TLS_HANDSHAKE 0x16 /* a record's type */
#define TLS_CLIENT_HELLO 1 /* a message's */
#define STARTUP_BYTES_MAX 10240
#define FRAME_BYTES_MAX (1U << 30) /* no server sends or accepts more */

/* What a walk came across. */
#define SEEN_STARTUP 1	    /* a valid first packet */
#define SEEN_SSL_REQUEST 2
#define SEEN_TLS 4	    /* 'S': TLS follows */
#define SEEN_GSS 8	    /* 'G' */
#define SEEN_READY 16	    /* ReadyForQuery */
#define SEEN_NOT_PROTOCOL 32
#define SEEN_UNSYNCED 64
#define SEEN_DIRECT_TLS 128
#define SEEN_TERMINATE 256
#define SEEN_JOINED 512	    /* an open session's first request */
#define SEEN_TLS_KEPT 1024  /* 'S', and what follows is kept */

struct gh_walk {
	__u32 position; /* in the span */
	__u32 end;
	__u32 window_at;
	__u32 window_bytes;
	__u32 window_want;
	__u32 piece_count;
	__u32 data_bytes;
	__u32 piece_bytes; /* of the stream */
	__u32 seen;
	__u32 direction;
	__u32 small;
	__u32 full;
	__u32 prefix_bytes; /* of the first header, from earlier reads */
	__u32 keep_bytes_max;
	__u32 lost_bytes; /* of piece_bytes */
	__u32 decided;
	__u32 may_be_tls; /* from the first byte: the port is a database's */
	struct gh_parse parse;
	__u8 prefix[GH_HEADER_BYTES_MAX];
};

struct gh_arguments {
	__u64 at[4];
};

/* A system call that moves bytes, and where in its process's memory they are: one buffer (gh_scratch's `user`), or */
struct gh_call {
	__u64 vector;	/* a row of them, */
	__u32 buffers;	/* this long, */
	__u32 at;	/* of which this one is next; */
	__u64 messages; /* a row of messages goes on here, */
	__u32 messages_left;
	__u32 is_32bit; /* by the 32-bit ABI's layout */
	__u32 flags;	/* MSG_ */
	__u32 kind;	/* CALL_ */
	__u32 moved;	/* bytes, */
	__u32 is_read;	/* which can be read; */
	__u32 due;	/* of which so many are to be said */
};

/* Per CPU: tracepoint programs cannot be preempted, and data is never captured in interrupts. */
struct gh_scratch {
	struct gh_walk walk;
	/* Of the span at hand, for the functions that are verified on their own. */
	struct gh_process writer;
	__u32 flags;
	__u32 dry; /* only the framing moves on, nothing is delivered */
	__u32 lane_records; /* so far */
	__u64 user; /* address: a plain number once it was stored here */
	/* Where a send of several segments stands; in memory, so that the verifier need not follow it. */
	__u64 send_left;
	__u64 send_skipped;
	__u32 send_seq;
	__u32 send_forget;
#ifdef GH_FALLBACK
	__u64 bytes_left; /* of all that the call has moved */
	__u32 from; /* in the span: where the row of pieces begins */
	__u32 copy_from; /* of the piece at hand, in the span, */
	__u32 copy_to;	 /* in the record's bytes, */
	__u32 copy_prefix; /* and how much of it is in walk.prefix */
	__u32 port; /* the server's */
	__u32 is_unix;
	struct gh_call call;
	struct gh_arguments arguments;
#endif
	struct gh_opened opened;
	struct gh_conn fresh; /* the first value of a Unix socket's state */
	struct gh_chunk chunk;
	struct gh_small_record spare; /* for what finds no room in its lane */
	__u8 window[WINDOW_BYTES];
	struct gh_piece pieces[GH_PIECES_MAX];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct gh_scratch);
} gh_scratches SEC(".maps");

static __always_inline void add_piece(struct gh_scratch *s, __u32 kind, __u32 bytes, __u32 rows)
{
	struct gh_walk *w = &s->walk;
	__u32 last = (w->piece_count - 1) & (GH_PIECES_MAX - 1);
	__u32 next = w->piece_count & (GH_PIECES_MAX - 1);

	w->piece_bytes += bytes;
	if (w->piece_count && s->pieces[last].kind == kind) {
		s->pieces[last].bytes += bytes;
		s->pieces[last].rows += rows;
		return;
	}
	s->pieces[next].bytes = bytes;
	s->pieces[next].rows = rows;
	s->pieces[next].kind = kind;
	w->piece_count++;
}

static __always_inline __u32 header_bytes(__u8 mode)
{
	return mode == MODE_STARTUP ? 8 : mode == MODE_SSL_ANSWER ? 1 : 5;
}

/* Tags as bits: 0x30 to 0x5f in [0], from 0x60 in [1]. */
static __always_inline bool is_tag(__u8 tag, __u64 upper, __u64 lower)
{
	if (tag >= 0x30 && tag < 0x60)
		return upper >> (tag - 0x30) & 1;
	return tag >= 0x60 && tag < 0x80 && (lower >> (tag - 0x60) & 1);
}

#define UPPER(c) (1ULL << ((c) - 0x30))
#define LOWER(c) (1ULL << ((c) - 0x60))

static __always_inline bool is_request_tag(__u8 tag)
{
	return is_tag(tag,
		      UPPER('Q') | UPPER('P') | UPPER('B') | UPPER('D') | UPPER('E') | UPPER('S') |
			      UPPER('C') | UPPER('F') | UPPER('H') | UPPER('X'),
		      LOWER('d') | LOWER('c') | LOWER('f') | LOWER('p'));
}

static __always_inline bool is_response_tag(__u8 tag)
{
	return is_tag(tag,
		      UPPER('1') | UPPER('2') | UPPER('3') | UPPER('A') | UPPER('C') | UPPER('D') |
			      UPPER('E') | UPPER('G') | UPPER('H') | UPPER('I') | UPPER('K') |
			      UPPER('N') | UPPER('R') | UPPER('S') | UPPER('T') | UPPER('V') |
			      UPPER('W') | UPPER('Z'),
		      LOWER('c') | LOWER('d') | LOWER('n') | LOWER('s') | LOWER('t') | LOWER('v'));
}

/* The framing makes no sense: from here on it is unknown. The header is handed on as it is, or lost. */
static __always_inline long walk_lost_sync(struct gh_scratch *s, __u32 bytes)
{
	struct gh_walk *w = &s->walk;

	if (w->direction == GH_REQUEST) {
		w->parse.mode = MODE_RAW;
		add_piece(s, GH_PIECE_DATA, bytes, 0);
		w->data_bytes += bytes;
	} else {
		w->parse.mode = MODE_UNSYNCED;
		add_piece(s, GH_PIECE_LOST, bytes, 0);
		w->lost_bytes += bytes;
	}
	w->seen |= SEEN_UNSYNCED;
	return 0;
}

static __always_inline long walk_startup(struct gh_scratch *s)
{
	struct gh_walk *w = &s->walk;
	struct gh_parse *p = &w->parse;
	__u32 bytes = bpf_ntohl(*(__u32 *)&p->header[0]);
	__u32 code = bpf_ntohl(*(__u32 *)&p->header[4]);

	if (bytes < 8 || bytes > STARTUP_BYTES_MAX)
		goto no;
	if ((code == CODE_SSL || code == CODE_GSS) && bytes == 8) {
		w->seen |= SEEN_SSL_REQUEST;
	} else if (code >> 16 == 3 && (code & 0xffff) < 16) {
		p->mode = MODE_FRAMES;
	} else if (code != CODE_CANCEL || bytes < 16) {
		goto no;
	}
	w->seen |= SEEN_STARTUP;
	p->frame_left = bytes - 8;
	p->keep_left = bytes - 8;
	p->left_out = 0;
	add_piece(s, GH_PIECE_DATA, 8, 0);
	w->data_bytes += 8;
	return 0;
no:
	if (w->may_be_tls && p->header[0] == TLS_HANDSHAKE && p->header[1] == 3 && p->header[5] == TLS_CLIENT_HELLO) {
		w->seen |= SEEN_STARTUP | SEEN_TLS_KEPT;
		p->mode = MODE_TLS;
		add_piece(s, GH_PIECE_DATA, 8, 0);
		w->data_bytes += 8;
		return 0;
	}
	if (w->decided)
		return walk_lost_sync(s, 8);
	w->seen |= SEEN_NOT_PROTOCOL;
	if (p->header[0] == 0x16 && p->header[1] == 3)
		w->seen |= SEEN_DIRECT_TLS;
	return 1;
}

static __always_inline long walk_ssl_answer(struct gh_scratch *s)
{
	struct gh_walk *w = &s->walk;
	struct gh_parse *p = &w->parse;
	__u8 answer = p->header[0];

	if (answer == 'E') { /* an old server's error: the byte is a tag */
		p->mode = MODE_FRAMES;
		p->header_fill = 1;
		w->prefix[0] = answer;
		w->prefix_bytes = 1;
		return 0;
	}
	add_piece(s, GH_PIECE_DATA, 1, 0);
	w->data_bytes += 1;
	if (answer == 'S' && gh_keeps_tls) {
		w->seen |= SEEN_TLS_KEPT;
		p->mode = MODE_TLS;
		return 0;
	}
	if (answer == 'S' || answer == 'G') {
		w->seen |= answer == 'S' ? SEEN_TLS : SEEN_GSS;
		p->mode = MODE_COUNT;
		return 1;
	}
	p->mode = MODE_FRAMES;
	return 0;
}

/* A whole frame header stands in parse.header; `after` bytes of the span follow it. */
static __always_inline long walk_frame(struct gh_scratch *s, __u32 after)
{
	struct gh_walk *w = &s->walk;
	struct gh_parse *p = &w->parse;
	__u8 tag = p->header[0];
	__u32 body = ((__u32)p->header[1] << 24 | (__u32)p->header[2] << 16 |
		      (__u32)p->header[3] << 8 | p->header[4]) - 4;
	bool is_response = w->direction == GH_RESPONSE;
	bool is_row = tag == 'd' || (is_response && tag == 'D');

	if (body > FRAME_BYTES_MAX || !(is_response ? is_response_tag(tag) : is_request_tag(tag)))
		return walk_lost_sync(s, 5);
	if (is_response && tag == 'Z')
		w->seen |= SEEN_READY;
	if (!is_response && tag == 'X')
		w->seen |= SEEN_TERMINATE;

	p->frame_left = body;
	/* In a small span a whole row costs less than leaving it out. */
	p->left_out = is_row && !(w->small && body <= after);
	if (p->left_out) {
		add_piece(s, GH_PIECE_ROWS, 5, 1);
	} else {
		/* A password, or what stands for one: never kept. */
		p->keep_left = !is_response && tag == 'p' ? 0 : min(body, w->keep_bytes_max);
		add_piece(s, GH_PIECE_DATA, 5, 0);
		w->data_bytes += 5;
	}
	w->window_want = body > LONG_FRAME_BYTES ? WINDOW_BYTES_AFTER_LONG_FRAME : WINDOW_BYTES;
	return 0;
}

static __always_inline long walk_header(struct gh_scratch *s, __u32 left)
{
	struct gh_walk *w = &s->walk;
	struct gh_parse *p = &w->parse;
	__u32 want = header_bytes(p->mode) - p->header_fill;
	__u32 take = min(want, left);
	__u32 at = w->position - w->window_at;

	if (want > GH_HEADER_BYTES_MAX)
		return 1;
	if (w->position < w->window_at || at + take > w->window_bytes)
		return 1; /* the caller moves the window */
#pragma unroll
	for (__u32 i = 0; i < GH_HEADER_BYTES_MAX; i++)
		if (i < take)
			p->header[(p->header_fill + i) & (GH_HEADER_BYTES_MAX - 1)] =
				s->window[(at + i) & (WINDOW_BYTES - 1)];
	w->position += take;
	if (take < want) { /* held back until its rest comes */
		p->header_fill += take;
		return 1;
	}
	p->header_fill = 0;
	if (p->mode == MODE_STARTUP)
		return walk_startup(s);
	if (p->mode == MODE_SSL_ANSWER)
		return walk_ssl_answer(s);
	return walk_frame(s, left - take);
}

static __always_inline long walk_body(struct gh_scratch *s, __u32 left)
{
	struct gh_walk *w = &s->walk;
	struct gh_parse *p = &w->parse;
	__u32 take = min(left, p->frame_left);

	if (p->left_out) {
		add_piece(s, GH_PIECE_ROWS, take, 0);
	} else if (p->keep_left) {
		__u32 room = GH_RECORD_DATA_BYTES_MAX - w->data_bytes;

		if (w->data_bytes >= GH_RECORD_DATA_BYTES_MAX) {
			w->full = 1;
			return 1;
		}
		take = min(take, p->keep_left);
		take = min(take, room);
		add_piece(s, GH_PIECE_DATA, take, 0);
		w->data_bytes += take;
		p->keep_left -= take;
	} else {
		add_piece(s, GH_PIECE_CUT, take, 0);
	}
	p->frame_left -= take;
	w->position += take;
	return 0;
}

/* A header, or what the span has of a body. 1: nothing more can be done with this window. */
static __always_inline long walk_step(struct gh_scratch *s)
{
	struct gh_walk *w = &s->walk;
	__u32 left = w->end - w->position;

	if (w->position >= w->end)
		return 1;
	if (w->piece_count >= GH_PIECES_MAX) {
		w->full = 1;
		return 1;
	}
#ifdef GH_FALLBACK
	if (w->data_bytes >= GH_RECORD_DATA_BYTES_MAX) { /* headers count, too: the copy's buffer has an end */
		w->full = 1;
		return 1;
	}
#endif
	if (w->parse.frame_left)
		return walk_body(s, left);
	if (w->parse.mode == MODE_RAW || w->parse.mode == MODE_UNSYNCED || w->parse.mode == MODE_TLS) {
		bool raw = w->parse.mode != MODE_UNSYNCED;
		__u32 room = GH_RECORD_DATA_BYTES_MAX - w->data_bytes;

		if (raw && w->data_bytes >= GH_RECORD_DATA_BYTES_MAX) {
			w->full = 1;
			return 1;
		}
		if (raw) {
			left = min(left, room);
			w->data_bytes += left;
		} else {
			w->lost_bytes += left;
		}
		add_piece(s, raw ? GH_PIECE_DATA : GH_PIECE_LOST, left, 0);
		w->position += left;
		return 0;
	}
	if (w->parse.mode == MODE_COUNT)
		return 1;
	return walk_header(s, left);
}

/* More frames than a small span usually has; the long way takes what has more. */
#define WHOLE_FRAMES_MAX 64

/*
 * The hot path: are the record's data whole frames and nothing else, none of
 * which may be left out? Returns SEEN_ flags, or -1 where the long way must
 * look. Plain loads and no state: a tenth of what walk_window() costs.
 */
__noinline int walk_whole(struct gh_small_record *record, __u32 bytes, __u32 direction)
{
	bool is_response = direction == GH_RESPONSE;
	__u64 at = 0, end = bytes; /* 64 bits, as the verifier bounds the very register that addresses */
	int seen = 0;

	if (!record || end > GH_SMALL_BYTES_MAX)
		return -1;
	for (int i = 0; i < WHOLE_FRAMES_MAX; i++) {
		__u32 body;
		__u8 tag;

		if (at == end)
			return seen;
		barrier_var(at);
		if (at > GH_SMALL_BYTES_MAX - 5 || at + 5 > end)
			return -1;
		tag = record->data[at];
		__builtin_memcpy(&body, &record->data[at + 1], sizeof(body));
		body = bpf_ntohl(body) - 4;
		if (body > GH_SMALL_BYTES_MAX || !(is_response ? is_response_tag(tag) : is_request_tag(tag)))
			return -1;
		if (!is_response && (tag == 'p' || tag == 'd'))
			return -1; /* a password, or rows of a COPY */
		if (is_response && tag == 'Z')
			seen |= SEEN_READY;
		if (!is_response && tag == 'X')
			seen |= SEEN_TERMINATE;
		at += 5 + body;
		if (at > end)
			return -1;
	}
	return -1;
}

#ifdef GH_FALLBACK
/* A function of its own, so that the verifier, which walks each round of a plain loop, walks no more than a call. */
__noinline int walk_one_step(struct gh_scratch *s)
{
	return s ? walk_step(s) : 1;
}
#define WALK_STEP walk_one_step
#else
#define WALK_STEP walk_step
#endif

/* As far as the window reaches. A function of its own, so that the verifier walks it once. */
__noinline int walk_window(struct gh_scratch *s)
{
	if (!s)
		return 0;
	loop(it, STEPS_MAX)
		if (WALK_STEP(s))
			break;
	loop_end(it);
	return 0;
}

#endif
