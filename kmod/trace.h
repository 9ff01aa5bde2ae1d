/* SPDX-License-Identifier: GPL-2.0-only */
/* Tracepoints, mooncake:mc_*; for bpftrace and perf, off the fast paths. */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM mooncake

#if !defined(MC_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define MC_TRACE_H

#include <linux/tracepoint.h>

TRACE_EVENT(mc_region_create,
	TP_PROTO(u64 id, u64 length, u32 backing, int node),
	TP_ARGS(id, length, backing, node),
	TP_STRUCT__entry(__field(u64, id) __field(u64, length) __field(u32, backing) __field(int, node)),
	TP_fast_assign(__entry->id = id; __entry->length = length; __entry->backing = backing; __entry->node = node;),
	TP_printk("id %llu length %llu backing %u node %d", __entry->id, __entry->length, __entry->backing, __entry->node)
);

TRACE_EVENT(mc_region_free,
	TP_PROTO(u64 id, u64 length),
	TP_ARGS(id, length),
	TP_STRUCT__entry(__field(u64, id) __field(u64, length)),
	TP_fast_assign(__entry->id = id; __entry->length = length;),
	TP_printk("id %llu length %llu", __entry->id, __entry->length)
);

TRACE_EVENT(mc_region_revoke,
	TP_PROTO(u64 id, u64 pinned),
	TP_ARGS(id, pinned),
	TP_STRUCT__entry(__field(u64, id) __field(u64, pinned)),
	TP_fast_assign(__entry->id = id; __entry->pinned = pinned;),
	TP_printk("id %llu pinned %llu", __entry->id, __entry->pinned)
);

TRACE_EVENT(mc_region_punch,
	TP_PROTO(u64 id, u64 offset, u64 length, int ret),
	TP_ARGS(id, offset, length, ret),
	TP_STRUCT__entry(__field(u64, id) __field(u64, offset) __field(u64, length) __field(int, ret)),
	TP_fast_assign(__entry->id = id; __entry->offset = offset; __entry->length = length; __entry->ret = ret;),
	TP_printk("id %llu offset %llu length %llu ret %d", __entry->id, __entry->offset, __entry->length, __entry->ret)
);

TRACE_EVENT(mc_import_lost,
	TP_PROTO(u64 id, u32 kind),
	TP_ARGS(id, kind),
	TP_STRUCT__entry(__field(u64, id) __field(u32, kind)),
	TP_fast_assign(__entry->id = id; __entry->kind = kind;),
	TP_printk("id %llu kind %u", __entry->id, __entry->kind)
);

TRACE_EVENT(mc_lease_end,
	TP_PROTO(u64 id, u64 epoch, bool dirty),
	TP_ARGS(id, epoch, dirty),
	TP_STRUCT__entry(__field(u64, id) __field(u64, epoch) __field(bool, dirty)),
	TP_fast_assign(__entry->id = id; __entry->epoch = epoch; __entry->dirty = dirty;),
	TP_printk("id %llu epoch %llu %s", __entry->id, __entry->epoch, __entry->dirty ? "dirty" : "clean")
);

TRACE_EVENT(mc_copy,
	TP_PROTO(u32 nr, u64 bytes, int index, int error),
	TP_ARGS(nr, bytes, index, error),
	TP_STRUCT__entry(__field(u32, nr) __field(u64, bytes) __field(int, index) __field(int, error)),
	TP_fast_assign(__entry->nr = nr; __entry->bytes = bytes; __entry->index = index; __entry->error = error;),
	TP_printk("nr %u bytes %llu index %d error %d", __entry->nr, __entry->bytes, __entry->index, __entry->error)
);

TRACE_EVENT(mc_rdma_event,
	TP_PROTO(u32 index, const char *name, u32 port, int what),
	TP_ARGS(index, name, port, what),
	TP_STRUCT__entry(__field(u32, index) __array(char, name, 64) __field(u32, port) __field(int, what)),
	TP_fast_assign(__entry->index = index; strscpy(__entry->name, name, 64); __entry->port = port;
		       __entry->what = what;),
	TP_printk("index %u name %s port %u event %d", __entry->index, __entry->name, __entry->port, __entry->what)
);

TRACE_EVENT(mc_cq_lost,
	TP_PROTO(const void *cq, u64 dropped),
	TP_ARGS(cq, dropped),
	TP_STRUCT__entry(__field(const void *, cq) __field(u64, dropped)),
	TP_fast_assign(__entry->cq = cq; __entry->dropped = dropped;),
	TP_printk("cq %p dropped %llu", __entry->cq, __entry->dropped)
);

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
