/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The layout of <linux/mooncake.h>, to be the same for every compiler, language and word size. Compiling is the test:
 * C89 and C++ both take an array type of negative size as an error.
 */
#include <linux/mooncake.h>
#include <linux/mooncake_netlink.h>
#include <stddef.h>

#define SIZE(type, n) typedef char size_of_##type[sizeof(struct type) == (n) ? 1 : -1]
#define OFF(type, field, n) typedef char off_##type##_##field[offsetof(struct type, field) == (n) ? 1 : -1]

SIZE(mc_ioc_query, MC_QUERY_SIZE_VER0);
OFF(mc_ioc_query, features, 16);
OFF(mc_ioc_query, max_batch, 80);
OFF(mc_ioc_query, rsv, 100);
SIZE(mc_ioc_region_create, MC_REGION_CREATE_SIZE_VER0);
OFF(mc_ioc_region_create, node, 24);
OFF(mc_ioc_region_create, out_id, 48);
SIZE(mc_ioc_region_pin, MC_REGION_PIN_SIZE_VER0);
OFF(mc_ioc_region_pin, out_id, 32);
SIZE(mc_ioc_region_import, MC_REGION_IMPORT_SIZE_VER0);
OFF(mc_ioc_region_import, cq_fd, 40);
OFF(mc_ioc_region_import, out_id, 56);
SIZE(mc_ioc_region_open, MC_REGION_OPEN_SIZE_VER0);
OFF(mc_ioc_region_open, id, 24);
OFF(mc_ioc_region_open, rsv, 68);
SIZE(mc_ioc_region_info, MC_REGION_INFO_SIZE_VER0);
OFF(mc_ioc_region_info, resident, 48);
OFF(mc_ioc_region_info, nr_vmas, 88);
OFF(mc_ioc_region_info, rsv, 124);
SIZE(mc_ioc_region_publish, MC_REGION_PUBLISH_SIZE_VER0);
OFF(mc_ioc_region_publish, name, 24);
SIZE(mc_ioc_region_revoke, MC_REGION_REVOKE_SIZE_VER0);
OFF(mc_ioc_region_revoke, out_pinned, 24);
SIZE(mc_ioc_region_export, MC_REGION_EXPORT_SIZE_VER0);
OFF(mc_ioc_region_export, out_fd, 32);
SIZE(mc_ioc_region_mark, MC_REGION_MARK_SIZE_VER0);
OFF(mc_ioc_region_mark, out_purged, 40);
SIZE(mc_ioc_grant, MC_GRANT_SIZE_VER0);
SIZE(mc_ioc_grant_revoke, MC_GRANT_REVOKE_SIZE_VER0);
SIZE(mc_sge, 40);
SIZE(mc_copy_vec, 80);
SIZE(mc_ioc_copy, MC_COPY_SIZE_VER0);
OFF(mc_ioc_copy, out_error, 44);
SIZE(mc_ioc_cq_create, MC_CQ_CREATE_SIZE_VER0);
OFF(mc_ioc_cq_create, out_cqe_off, 44);
SIZE(mc_ioc_cq_wait, MC_CQ_WAIT_SIZE_VER0);
OFF(mc_ioc_cq_wait, sigmask, 32);
SIZE(mc_ioc_cq_post, MC_CQ_POST_SIZE_VER0);
SIZE(mc_ioc_events, MC_EVENTS_SIZE_VER0);
SIZE(mc_cqe, 32);
OFF(mc_cqe, ts_ns, 24);
SIZE(mc_cq_ring, 384);
OFF(mc_cq_ring, tail, 128);
OFF(mc_cq_ring, head, 256);

int main(void)
{
	return 0;
}
