/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every message that crosses a process boundary, as a struct with one encoder and one decoder that both ends use.
 * docs/protocol.md is the contract. Little endian, lengths checked before anything is allocated; decoders return -EBADMSG.
 *
 * Three conversations use frames (net.h):
 *	master	 clients, owners and tools ask the index; the master asks owners to drop objects
 *	owner	 clients of a pool: attach, grants, commits, puts from other nodes
 *	data	 the tcp transport: read and write ranges
 * and one is upstream's JSON (segment descriptors, handshakes).
 */
#ifndef MC_PROTO_H
#define MC_PROTO_H

#include "base/base.h"
#include "base/buf.h"
#include "base/pattern.h"

#define PROTO_VERSION 3	    /* what this build speaks */
#define PROTO_VERSION_MIN 1 /* the oldest it still understands */
#define PROTO_VERSION_SUM 2 /* from here on frames may carry a checksum of their payload */
#define PROTO_VERSION_RULES 3 /* from here on replies to pool join and publish say more */
#define MASTER_PORT 50051	    /* where a master is when its address names no port */

/* ---- limits: a message over one of these is refused, by both ends ------------------------------------------------- */

#define KEY_MAX 4096	       /* bytes of a caller's key */
#define TENANT_MAX 255
#define FULL_KEY_MAX (KEY_MAX + TENANT_MAX + 1)
#define TEXT_MAX 1024	       /* names, addresses, paths, versions */
#define BATCH_MAX 65536	       /* items in one message */
#define POOL_REGIONS_MAX 16
#define POOLS_MAX 4096
#define REPLICAS_MAX 16
#define GRANT_RUNS_MAX 256
#define DATA_VECS_MAX 4096
#define TASK_TARGETS_MAX 16
#define SEGMENT_BUFFERS_MAX 8192
#define SEGMENT_NICS_MAX 64
#define QPS_MAX 255 /* queue pairs between two NICs */
#define JSON_TEXT_MAX (4 * MiB)

/* ---- message numbers ------------------------------------------------------------------------------------------------ */

enum proto_type {
	MSG_HELLO = 1, /* first on every connection, all conversations */

	MSG_POOL_JOIN = 16, /* owner → master */
	MSG_POOL_STAT,	    /* one way, every second: also the heartbeat */
	MSG_POOL_SYNCED,    /* one way: everything of the pool is published */
	MSG_POOL_LEAVE,
	MSG_PUBLISH,
	MSG_WITHDRAW, /* one way */
	MSG_STORED,   /* one way: what was pending is there */

	MSG_DROP = 32, /* master → owner */
	MSG_DROP_MATCH,
	MSG_COPY, /* of an object into another pool */

	MSG_LOCATE = 48, /* client → master */
	MSG_EXISTS,
	MSG_REMOVE,
	MSG_REMOVE_MATCH,
	MSG_LIST,
	MSG_POOLS,
	MSG_STATUS, /* JSON for people and tools; also answered by owners */
	MSG_CLEAR,  /* replicas of one's own puts */
	MSG_TASK_CREATE,
	MSG_TASK_QUERY,

	MSG_ATTACH = 64, /* client → owner */
	MSG_GRANT,
	MSG_RETURN, /* answered with a status: the space is free then */
	MSG_COMMIT,
	MSG_PUT,
	MSG_ANNOUNCE,

	MSG_READ = 96, /* data */
	MSG_WRITE,
};

/* ---- pieces ------------------------------------------------------------------------------------------------------- */

/* Memory for the arrays of one decoded message; everything is released together. */
struct scratch {
	struct scratch_block *blocks;
	size_t used;
};
#define SCRATCH_INIT ((struct scratch){ 0 })
void *scratch_alloc(struct scratch *s, size_t nr, size_t size); /* NULL: no memory or overflow */
void scratch_reset(struct scratch *s);				/* keeps one block for the next message */
void scratch_fini(struct scratch *s);

/*
 * Keys travel and are stored as full keys: u8 tenant length, tenant, key. The default tenant has length 0. Everything below
 * the store treats them as opaque bytes.
 */
struct key {
	const void *data;
	uint16_t len;
};
/* @tenant NULL: the default one. -EINVAL: no key, or one longer than KEY_MAX; a tenant longer than TENANT_MAX. */
int key_make(const char *tenant, const void *key, size_t len, uint8_t out[FULL_KEY_MAX], uint16_t *out_len);
int key_split(const struct key *full, struct key *tenant, struct key *key); /* -EBADMSG: no full key */

/* Where an object's first extent lies in its pool. */
struct loc {
	uint16_t region;
	uint16_t nr_extents;
	uint64_t off;
	uint64_t gen; /* what every extent header of the object must say */
};

#define OBJ_TYPE_SHIFT 8
enum object_flag {
	OBJ_HARD_PIN = 1,
	OBJ_SOFT_PIN = 2,
	OBJ_REPLACE = 4, /* upsert: take the place of what is there */
	OBJ_CRC = 8,	 /* extent headers carry a CRC-32C */
	OBJ_KEEP_PIN = 32, /* with OBJ_REPLACE: the soft pin of what is there stays */
	OBJ_TYPE = 0xf00,  /* a number for people: what the bytes are */
	OBJ_FLAGS = OBJ_HARD_PIN | OBJ_SOFT_PIN | OBJ_REPLACE | OBJ_CRC | OBJ_KEEP_PIN | OBJ_TYPE, /* others are refused on the wire */
	OBJ_PENDING = 16, /* of one replica, in PUBLISH and LOCATE alone: its bytes may not be there yet */
};

/* ---- HELLO ---------------------------------------------------------------------------------------------------------- */

enum proto_role { ROLE_CLIENT = 1, ROLE_OWNER, ROLE_TOOL, ROLE_ENGINE };

struct msg_hello {
	uint16_t version_min, version_max;
	uint8_t role;
	uint8_t id[16];	  /* this process: random at start */
	uint8_t node[16];
	struct key name;  /* "host:port" or what the log should call it */
	struct key software; /* MC_VERSION */
	struct key auth;  /* reserved for the cluster secret's proof; empty now */
};
struct msg_hello_reply {
	uint16_t version; /* the one both speak; no common one: status -EPROTO and this says the server's newest */
	uint8_t id[16];	  /* the server's incarnation: a blank master has a new one */
	uint64_t lease_ns;
	uint32_t view;	  /* changes whenever the set of pools does */
	struct key software;
};

/* ---- owner and master ----------------------------------------------------------------------------------------------- */

enum pool_flag { POOL_DRAINING = 1, POOL_FLAGS = POOL_DRAINING };

struct region_info {
	uint64_t addr; /* in the owner's memory: what a remote read names */
	uint64_t len;
};
struct pool_info {
	uint8_t id[16], node[16];
	uint64_t epoch;	   /* the owner's incarnation of this pool */
	uint32_t index;	   /* the master's number for it; 0 in JOIN */
	uint32_t flags;
	struct key segment; /* engine segment name, also what callers put into preferred_segments */
	struct key unix_path; /* the owner's Unix socket: "unix:/run/…", "unix:@…" */
	struct key addr;    /* the owner's TCP service "host:port"; empty: this node only */
	uint64_t capacity, used;
	uint16_t nr_regions;
	struct region_info region[POOL_REGIONS_MAX];
};
struct msg_pool_join {
	struct pool_info pool;
};
/* What the master's settings say about the objects of a pool. */
struct pool_rules {
	uint32_t soft_pin_ms; /* of soft pins that do not say how long */
	uint32_t flags;	      /* enum pool_rule */
};
enum pool_rule {
	POOL_RULE_SOFT_STAYS = 1, /* a soft pin is not evicted before it ends */
};

struct msg_pool_join_reply {
	uint32_t index;
	uint32_t view;
	bool has_rules; /* a peer of an older version knows none */
	struct pool_rules rules;
};
struct msg_pool_stat {
	uint32_t flags;
	uint64_t capacity, used, objects, evicted, evicted_bytes;
};

struct publish_item {
	struct key key;
	uint64_t put_id; /* one put's replicas share it; never 0 */
	uint64_t size;
	uint32_t flags; /* enum object_flag */
	uint32_t soft_pin_ms;
	uint32_t group; /* of objects that go together; 0: none, or that of what is replaced */
	struct loc loc;
};
/* Reply: msg_published: 0; -EEXIST: another put was first, drop yours; -EALREADY: one may be, ask again; -EINVAL: another group */
struct msg_publish {
	uint32_t nr;
	struct publish_item *items;
};
struct drop_item {
	struct key key;
	uint64_t gen;
};
struct msg_withdraw { /* WITHDRAW: gone from the owner's pool; STORED: not pending any more */
	uint32_t nr;
	struct drop_item *items;
};
struct msg_drop { /* reply: msg_statuses: 0 gone (or never there), -EBUSY leased */
	bool force;
	uint32_t nr;
	struct drop_item *items;
};
struct msg_drop_match { /* all objects of a tenant; reply msg_dropped. Owner forgets them without WITHDRAW */
	bool force;
	bool all_tenants;
	struct key tenant;
	uint32_t nr; /* keys that count as used just now: somebody else has leased them. Their gen is 0 */
	struct drop_item *leased;
};
#define KEPT_MAX 1024 /* of these */
struct msg_dropped {
	uint64_t count;
	uint32_t nr; /* what stays because it is leased; 0: nothing, or more than KEPT_MAX */
	struct drop_item *kept;
};

struct msg_copy { /* reply: a status: 0 it is stored there; -ENOENT not here any more; as for PUT, and connecting there */
	struct key key;
	uint64_t gen;
	uint64_t timeout_ms;
	uint8_t pool[16], node[16]; /* of the target */
	struct key unix_path, addr;
};

/* ---- client and master ---------------------------------------------------------------------------------------------- */

struct msg_keys { /* LOCATE, EXISTS, REMOVE */
	bool touch; /* LOCATE, EXISTS: grant a lease */
	bool force; /* REMOVE */
	uint32_t nr;
	struct key *keys;
};
struct replica {
	uint32_t pool; /* index */
	struct loc loc;
};
struct located {
	int32_t status; /* 0, -ENOENT; unless 0 the rest is not sent and reads as 0 */
	uint64_t size, put_id;
	uint32_t flags;
	uint8_t nr_replicas;
	struct replica replica[REPLICAS_MAX]; /* those beyond nr_replicas are not set */
};
struct msg_located {
	uint32_t view;
	uint32_t nr;
	struct located *items;
};
struct msg_existing {
	uint32_t view;
	uint32_t nr;
	const uint8_t *found; /* one byte per key: 1 or 0; 2: pending, a look at the extent's header tells */
};
struct msg_statuses {
	uint32_t nr;
	int32_t *status;
};
/* What an object that replaces has of the one that was there, which may have lain in another pool. */
struct inherited {
	uint32_t index;	      /* of the item; they ascend */
	uint32_t group;	      /* 0: as the item says */
	uint32_t soft_pin_ms; /* 0: as the item says */
};
struct msg_published {
	struct msg_statuses statuses;
	uint32_t nr; /* an older peer tells, and is told, of none */
	struct inherited *inherited;
};
struct msg_match { /* REMOVE_MATCH; LIST */
	bool force;
	struct key tenant;
	struct key pattern; /* POSIX extended regular expression, searched in the key; empty: all */
	uint64_t cursor;    /* LIST: 0, then what the reply said */
	uint32_t max;	    /* LIST */
};
struct msg_clear { /* reply msg_statuses: 0, -ENOENT, -EBUSY leased, -EAGAIN not all of it is stored */
	struct key segment; /* replicas in its pools alone; empty: the whole object */
	uint32_t nr;
	struct drop_item *items; /* gen: the put that is meant */
};
enum task_type { TASK_COPY, TASK_MOVE };
enum task_status { TASK_PENDING, TASK_PROCESSING, TASK_FAILED, TASK_SUCCESS };

/* Reply msg_task_id; -ENOENT key, -EINVAL no such segment, -EHOSTDOWN it drains, -ENXIO no source, -EDQUOT too many wait */
struct msg_task_create {
	uint8_t type; /* enum task_type */
	struct key key;
	struct key source; /* segment; COPY: empty, whoever has it */
	uint16_t nr_targets;
	struct key target[TASK_TARGETS_MAX]; /* segments */
};
struct msg_task_id { /* TASK_QUERY; reply msg_task, -ESRCH */
	uint8_t id[16];
};
struct msg_task {
	uint8_t id[16];
	uint8_t type, status; /* enum task_type, task_status */
	uint64_t created_ms, updated_ms; /* since 1970 */
	uint8_t pool[16]; /* whose owner it is given to */
	struct key message; /* for people; why it failed */
};
struct msg_count {
	uint64_t count;
};
struct list_item {
	struct key key;
	uint64_t size;
	uint32_t flags;
	uint8_t nr_replicas;
};
struct msg_list_reply {
	uint64_t cursor; /* 0: the end */
	uint32_t nr;
	struct list_item *items;
};
struct msg_pools { /* reply to POOLS; the request is empty */
	uint32_t view;
	uint32_t nr;
	struct pool_info *pools;
};

/* ---- client and owner ----------------------------------------------------------------------------------------------- */

struct msg_attach {
	uint8_t id[16];
	uint8_t node[16]; /* -EXDEV when it is another node: the memory cannot be mapped */
	bool write;	  /* wants grants */
};
struct msg_attach_reply { /* descriptors: directory (read-only), touch ring, then the regions */
	uint8_t pool_id[16];
	uint64_t epoch;
	uint64_t dir_bytes, ring_bytes;
	uint16_t nr_regions;
	uint64_t region_bytes[POOL_REGIONS_MAX];
};
struct grant_run {
	uint16_t region;
	uint64_t off, len;
};
struct msg_grant {
	uint64_t bytes; /* headers and keys included */
};
struct msg_grant_reply { /* less than asked: the rest cannot be had; nothing at all is -ENOSPC */
	uint64_t gen; /* the first of gen_count generations the client may use, in steps of 2, even */
	uint32_t gen_count;
	uint32_t nr;
	struct grant_run *runs;
};
struct msg_return {
	uint32_t nr; /* 0: all that the client holds, with the generations that it did not use */
	struct grant_run *runs;
};
/* COMMIT: the extents are written; ANNOUNCE: they will be. Reply msg_statuses: 0, -EEXIST (the space is the client's again), … */
struct msg_commit {
	uint32_t nr;
	struct publish_item *items;
};
struct msg_put { /* payload: the object's bytes; one item's fields without loc */
	struct key key;
	uint64_t put_id, size;
	uint32_t flags, soft_pin_ms, group;
	uint32_t crc; /* 0 where the frame has a checksum */
};

/* ---- data ----------------------------------------------------------------------------------------------------------- */

struct data_vec {
	uint64_t addr, len;
};
struct msg_data { /* READ: reply payload is the ranges in order; WRITE: the payload goes to them in order */
	uint32_t nr;
	struct data_vec *vecs;
};

/* ---- encoders and decoders ------------------------------------------------------------------------------------------ */

/*
 * name_encode appends to @b; look at b->err: -EMSGSIZE is a message over a limit, -ENOMEM. name_decode fills @m from exactly
 * @len bytes; keys point into @data, arrays into @s; both must outlive @m. -EBADMSG: malformed or over a limit; -ENOMEM; then
 * nothing in @m is of use. No field is judged beyond its form (a put_id of 0, a region that does not exist): the receiver does.
 */
#define PROTO_MSG(name)                                  \
	void name##_encode(const struct name *m, struct buf *b); \
	int name##_decode(const void *data, size_t len, struct scratch *s, struct name *m)

PROTO_MSG(msg_hello);
PROTO_MSG(msg_hello_reply);
PROTO_MSG(msg_pool_join);
PROTO_MSG(msg_pool_join_reply);
PROTO_MSG(msg_pool_stat);
PROTO_MSG(msg_publish);
PROTO_MSG(msg_withdraw);
PROTO_MSG(msg_drop);
PROTO_MSG(msg_drop_match);
PROTO_MSG(msg_dropped);
PROTO_MSG(msg_keys);
PROTO_MSG(msg_located);
PROTO_MSG(msg_existing);
PROTO_MSG(msg_statuses);
PROTO_MSG(msg_published);
PROTO_MSG(msg_match);
PROTO_MSG(msg_clear);
PROTO_MSG(msg_copy);
PROTO_MSG(msg_task_create);
PROTO_MSG(msg_task_id);
PROTO_MSG(msg_task);
PROTO_MSG(msg_count);
PROTO_MSG(msg_list_reply);
PROTO_MSG(msg_pools);
PROTO_MSG(msg_attach);
PROTO_MSG(msg_attach_reply);
PROTO_MSG(msg_grant);
PROTO_MSG(msg_grant_reply);
PROTO_MSG(msg_return);
PROTO_MSG(msg_commit);
PROTO_MSG(msg_put);
PROTO_MSG(msg_data);

/* msg_located_encode() in pieces, for who does not want all items in memory: @nr times add after begin. */
void msg_located_begin(struct buf *b, uint32_t view, uint32_t nr);
void msg_located_add(struct buf *b, const struct located *item);

/* ---- topology: for each place memory can be in, the NICs near it and the others --------------------------------------- */

#define PLACE_NAME_MAX 64
#define PLACES_MAX     4096
#define PLACE_NICS_MAX 1024 /* in each of a place's two lists */

struct place {
	char name[PLACE_NAME_MAX]; /* "cpu:0", "cuda:3" */
	char **near, **far;	   /* names of NICs */
	unsigned nr_near, nr_far;
};
struct places {
	struct place *place;
	unsigned nr;
};
void places_fini(struct places *t);
int places_add(struct places *t, const char *name, struct place **out); /* -E2BIG; -ENAMETOOLONG; -ENOMEM */
int place_add_nic(struct place *p, bool near, const char *nic);		/* a copy. -E2BIG; -ENOMEM */
void places_sort(struct places *t);					/* by name, as bytes: upstream's order */

void places_print(const struct places *t, struct buf *json); /* as upstream's topology dump: tabs, a newline at the end */

void places_put(const struct places *t, struct buf *json); /* as in a descriptor: no spaces, null when there are none */
int places_copy(const struct places *t, struct places *out); /* -ENOMEM */

/* An object of places, each a list of two lists. -EBADMSG: anything else, after a log line that names it; -ENOMEM. */
int places_parse(const char *json, size_t len, struct places *out);

/* ---- upstream's JSON (segment.c, segment_nics.c): docs/protocol.md, "Metadata" ---------------------------------------- */

/* What a NIC needs to know of a registered range: one pair of keys for each of the publisher's NICs, in their order. */
struct segment_keys {
	uint32_t rkey, lkey;
};

struct segment_buffer {
	char *name;
	uint64_t addr, len;
	struct segment_keys *keys; /* NULL: reached without */
	uint32_t nr_keys;
};
void segment_buffer_fini(struct segment_buffer *b);

struct segment_nic {
	char *name, *gid; /* "mlx5_0"; 16 bytes in hex with ':' between */
	uint16_t lid;
};

/* A segment descriptor. Strings are owned; segment_desc_fini() frees. */
struct segment_desc {
	char *name;
	char *protocol; /* "tcp", "rdma", … as published; of an array the one we can use */
	int tcp_data_port;
	int tcp_proto_version; /* absent: 1 */
	char *timestamp;
	struct segment_buffer *buffers;
	uint32_t nr_buffers;
	char *host; /* where its ports are: from rpc_meta or the name; not in the JSON */

	/* Of protocols that move memory by NICs: */
	char *rdma_server_name; /* before the @ of its NIC paths; NULL: @name is */
	struct segment_nic *nics;
	uint32_t nr_nics;
	struct places places; /* "priority_matrix": which NICs are near which memory */

	/* Our extension, member "mc"; peers that do not know it skip it. */
	struct {
		bool present;
		int version;	    /* of the data conversation */
		uint8_t node[16];
		int64_t pid;
		uint64_t start_time, pid_ns;
		int reach_fd;	    /* shared memory with the registered ranges, in that process */
	} mc;
};
void segment_desc_fini(struct segment_desc *d);
int segment_desc_copy(const struct segment_desc *d, struct segment_desc *out); /* -ENOMEM */

/*
 * Upstream's dialect, no newline at the end. A NULL timestamp is left out. -EINVAL: something that upstream's readers refuse
 * (no name, a protocol other than "tcp" and "rdma", a buffer without name, address or length; of rdma a NIC without name or
 * gid, a buffer without keys for each), -ENOMEM.
 */
int segment_desc_encode(const struct segment_desc *d, struct buf *json);

/*
 * Upstream's acceptance rules. NICs, keys and places are kept of rdma, barex, efa and cxi; of protocols never heard of only name
 * and protocol: who cannot use them can say so by name. The timestamp is "" when there was none. -EBADMSG, -ENOMEM; then @d is
 * unchanged.
 */
int segment_desc_decode(const char *json, size_t len, struct segment_desc *d);

#define SEGMENT_TIMESTAMP_BYTES 32
void segment_timestamp(char out[SEGMENT_TIMESTAMP_BYTES]); /* now, local time, as upstream writes it */

struct rpc_meta {
	char host[256];
	uint16_t port;
};
int rpc_meta_encode(const struct rpc_meta *m, struct buf *json); /* -EINVAL: no host or port 0 */
int rpc_meta_decode(const char *json, size_t len, struct rpc_meta *m); /* -EBADMSG */

/*
 * The two ends of a connection between NICs tell each other their queue pairs: "connection" on the handshake channel. The first
 * answer joins number i of one side with number i of the other.
 */
struct pairs_json {
	char *local_nic_path, *peer_nic_path; /* server@device: the speaker's, and the one it wants or answers */
	char *local_gid;		      /* "": as in the descriptor */
	uint16_t local_lid;
	uint32_t qp[QPS_MAX];
	unsigned nr_qps;
	char *payload;
	/* Is the asker's side ready? Who knows that question asks a second time when it is. */
	enum { PAIRS_READY_UNSAID, PAIRS_READY_LATER, PAIRS_READY } ready;
	char *reply_msg; /* of an answer: why not; "": joined */
};
void pairs_json_fini(struct pairs_json *p); /* absent texts decode as "" and NULL is written as "" */
int pairs_json_encode(const struct pairs_json *p, struct buf *json); /* with upstream's newline at the end. -ENOMEM */
int pairs_json_decode(const char *json, size_t len, struct pairs_json *p); /* -EBADMSG; -E2BIG over QPS_MAX; -ENOMEM */

struct notify_json {
	char *name, *msg;
};
void notify_json_fini(struct notify_json *n); /* absent members decode as "", which in a reply's msg means refused */
int notify_json_encode(const struct notify_json *n, struct buf *json);
int notify_json_decode(const char *json, size_t len, struct notify_json *n);

#endif
