// SPDX-License-Identifier: GPL-2.0-only
/* Regions as memory of an RDMA device: registered, written to from afar, held on to. Needs one; rxe will do. */

#include "harness.h"

#include <infiniband/verbs.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>

#define LEN (4 * MIB)
#define RW (IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ)

struct rdma {
	struct ibv_context *dev;
	struct ibv_pd *pd;
	struct ibv_cq *cq;
	struct ibv_qp *qp;
	int gid_index;
	union ibv_gid gid;
};

/* What one side tells the other. */
struct card {
	uint64_t addr;
	uint32_t rkey;
	uint32_t qpn;
	union ibv_gid gid;
};

/* RoCE over IPv4: the address of the network device below, and never one that it is about to lose. */
static bool gid_find(struct rdma *d)
{
	static const uint8_t v4[12] = { [10] = 0xff, [11] = 0xff };
	struct ibv_port_attr port;

	if (ibv_query_port(d->dev, 1, &port))
		return false;
	for (d->gid_index = 0; d->gid_index < port.gid_tbl_len; d->gid_index++)
		if (!ibv_query_gid(d->dev, 1, d->gid_index, &d->gid) && !memcmp(d->gid.raw, v4, 12))
			return true;
	return false;
}

static struct rdma rdma_open(void)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	struct rdma d = { 0 };

	if (!list || !list[0])
		skip("no RDMA device");
	d.dev = ibv_open_device(list[0]);
	if (!d.dev)
		skip("the RDMA device cannot be opened");
	if (!gid_find(&d))
		skip("the RDMA device has no IPv4 address");
	d.pd = ibv_alloc_pd(d.dev);
	ASSERT_EQ(d.pd != NULL, 1);
	return d;
}

static struct ibv_mr *reg(struct rdma *d, void *p, size_t length, int access)
{
	struct ibv_mr *mr;

	errno = 0;
	mr = ibv_reg_mr(d->pd, p, length, access);
	if (!mr)
		printf("# ibv_reg_mr: %s\n", strerror(errno));
	return mr;
}

TEST(register_)
{
	struct mc_ioc_region_revoke rv = { .size = sizeof(rv), .fd = -1 };
	struct rdma d = rdma_open();
	int r = region(ctx_open(), LEN, 0);
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);
	struct ibv_mr *mr;

	mr = reg(&d, p, LEN, 0);
	ASSERT_EQ(mr != NULL, 1);
	EXPECT_EQ(info(r).pinned, LEN);
	ibv_dereg_mr(mr);
	EXPECT_EQ(info(r).pinned, 0);

	mr = reg(&d, p, LEN, RW);
	ASSERT_EQ(mr != NULL, 1);
	EXPECT_EQ(info(r).pinned, LEN);
	EXPECT_EQ(mark(r, MC_MARK_PUNCH, 0, 2 * MIB), -EBUSY);
	munmap(p, LEN);
	EXPECT_EQ(mark(r, MC_MARK_SEAL_WRITE, 0, 0), -EBUSY);
	/* The device keeps what it has, and REVOKE says so. */
	ASSERT_EQ(SYS(ioctl(r, MC_IOC_REGION_REVOKE, &rv)), 0);
	EXPECT_EQ(rv.out_pinned, LEN);
	EXPECT_EQ(info(r).resident, LEN);
	ibv_dereg_mr(mr);
	ASSERT_EQ(SYS(ioctl(r, MC_IOC_REGION_REVOKE, &rv)), 0);
	EXPECT_EQ(rv.out_pinned, 0);
	EXPECT_EQ(info(r).resident, 0);
}

/* The registration is all that is left of the region; then the process is gone too. */
static void registered_alone(void *arg)
{
	struct rdma d = rdma_open();
	int ctx = ctx_open(), r = region(ctx, LEN, 0);
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);

	(void)arg;
	memset(p, 5, LEN);
	ASSERT_EQ(reg(&d, p, LEN, RW) != NULL, 1);
	close(r);
	munmap(p, LEN);
	EXPECT_EQ(sysfs_number("regions"), 0);
	kill(getpid(), SIGKILL);
}

TEST(registered_alone_)
{
	rdma_open();
	EXPECT_EQ(in_child(0, registered_alone, NULL), 128 + SIGKILL);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

/* A read-only mapping. Before 6.2 a registration for reading is a forced write, which such a mapping refuses. */
TEST(register_read_only)
{
	struct rdma d = rdma_open();
	int ctx = ctx_open(), r = region(ctx, LEN, MC_REGION_PERSIST_OK | MC_REGION_POPULATE), ro;
	struct mc_ioc_region_open o;
	struct ibv_mr *mr;
	char *p;

	ASSERT_EQ(publish(r, "verbs-ro", 0600), 0);
	ro = open_name(ctx, "verbs-ro", MC_ACCESS_R, &o);
	ASSERT_GE(ro, 0);
	EXPECT_EQ(unpublish(ctx, "verbs-ro", 0), 0);
	p = map(ro, LEN, PROT_READ);
	mr = reg(&d, p, LEN, RW);
	EXPECT_EQ(mr == NULL && errno == EFAULT, 1);
	mr = reg(&d, p, LEN, 0);
	if (mr)
		EXPECT_EQ(info(r).pinned, LEN);
	else
		EXPECT_EQ(errno, EFAULT);
}

static void qp_make(struct rdma *d)
{
	struct ibv_qp_init_attr init = { .qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 8, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1 } };
	struct ibv_qp_attr a = { .qp_state = IBV_QPS_INIT, .port_num = 1, .qp_access_flags = RW };

	d->cq = ibv_create_cq(d->dev, 16, NULL, NULL, 0);
	ASSERT_EQ(d->cq != NULL, 1);
	init.send_cq = init.recv_cq = d->cq;
	d->qp = ibv_create_qp(d->pd, &init);
	ASSERT_EQ(d->qp != NULL, 1);
	ASSERT_EQ(ibv_modify_qp(d->qp, &a, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS), 0);
}

static void qp_connect(struct rdma *d, const struct card *peer)
{
	struct ibv_qp_attr a = { .qp_state = IBV_QPS_RTR, .path_mtu = IBV_MTU_1024, .dest_qp_num = peer->qpn,
		.max_dest_rd_atomic = 1, .min_rnr_timer = 12,
		.ah_attr = { .is_global = 1, .port_num = 1,
			     .grh = { .dgid = peer->gid, .sgid_index = d->gid_index, .hop_limit = 64 } } };

	ASSERT_EQ(ibv_modify_qp(d->qp, &a, IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
				IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER), 0);
	a = (struct ibv_qp_attr){ .qp_state = IBV_QPS_RTS, .timeout = 14, .retry_cnt = 7, .rnr_retry = 7, .max_rd_atomic = 1 };
	ASSERT_EQ(ibv_modify_qp(d->qp, &a, IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
				IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC), 0);
}

static struct card swap_cards(struct rdma *d, int sock, char *p, struct ibv_mr *mr)
{
	struct card mine = { .addr = UPTR(p), .rkey = mr->rkey, .qpn = d->qp->qp_num, .gid = d->gid }, theirs;

	ASSERT_EQ(write(sock, &mine, sizeof(mine)), sizeof(mine));
	ASSERT_EQ(read(sock, &theirs, sizeof(theirs)), sizeof(theirs));
	return theirs;
}

/* One write of @n bytes and its completion; the completion's status. */
static int write_remote(struct rdma *d, struct ibv_mr *mr, char *from, uint64_t to, uint32_t rkey, uint32_t n)
{
	struct ibv_sge sge = { .addr = UPTR(from), .length = n, .lkey = mr->lkey };
	struct ibv_send_wr wr = { .sg_list = &sge, .num_sge = 1, .opcode = IBV_WR_RDMA_WRITE,
		.send_flags = IBV_SEND_SIGNALED, .wr.rdma = { .remote_addr = to, .rkey = rkey } }, *bad;
	struct ibv_wc wc;
	int ret;

	ASSERT_EQ(ibv_post_send(d->qp, &wr, &bad), 0);
	do {
		ret = ibv_poll_cq(d->cq, 1, &wc);
	} while (!ret);
	return ret == 1 ? (int)wc.status : -1;
}

/*
 * What is registered for writes. rxe of Linux 6.1 looks behind its list of pages when a copy ends with a full part of it, which
 * KASAN tells: so the last page is not written.
 */
#define REG (LEN + 4096)

struct end {
	int sock;
	int region;
};

static void target(void *arg)
{
	struct end *e = arg;
	struct rdma d = rdma_open();
	char *p = map(e->region, REG, PROT_READ | PROT_WRITE), c;
	struct ibv_mr *mr = reg(&d, p, REG, RW);
	struct card peer;
	size_t i;

	ASSERT_EQ(mr != NULL, 1);
	qp_make(&d);
	peer = swap_cards(&d, e->sock, p, mr);
	qp_connect(&d, &peer);
	ASSERT_EQ(write(e->sock, "", 1), 1);
	/* Until all is written, or the writer is gone. */
	if (read(e->sock, &c, 1) != 1)
		return;
	for (i = 0; i < LEN; i++)
		if (p[i] != (char)(i * 7 >> 3)) {
			FAIL("byte %zu is %d", i, p[i]);
			break;
		}
}

static void writer(void *arg)
{
	struct end *e = arg;
	struct rdma d = rdma_open();
	int r = region(ctx_open(), REG, MC_REGION_POPULATE);
	char *p = map(r, REG, PROT_READ | PROT_WRITE), c;
	struct ibv_mr *mr = reg(&d, p, REG, RW);
	struct card peer;
	size_t i;

	ASSERT_EQ(mr != NULL, 1);
	for (i = 0; i < LEN; i++)
		p[i] = (char)(i * 7 >> 3);
	qp_make(&d);
	peer = swap_cards(&d, e->sock, p, mr);
	qp_connect(&d, &peer);
	ASSERT_EQ(read(e->sock, &c, 1), 1);
	for (i = 0; i < LEN; i += LEN / 16)
		ASSERT_EQ(write_remote(&d, mr, p + i, peer.addr + i, peer.rkey, LEN / 16), IBV_WC_SUCCESS);
	ASSERT_EQ(write(e->sock, "", 1), 1);
}

static pid_t start(void (*fn)(void *), struct end *e, int not_ours)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(not_ours);
		failed = 0;
		fn(e);
		fflush(stdout);
		_exit(failed);
	}
	return pid;
}

/* Runs both ends; each may be killed after @kill_us[i] microseconds (0: not). */
static void both(const unsigned int kill_us[2], int status[2])
{
	int s[2], r = region(ctx_open(), REG, 0), i;
	struct end t = { .region = r }, w = { .region = -1 };
	pid_t pid[2];

	ASSERT_EQ(SYS(socketpair(AF_UNIX, SOCK_STREAM, 0, s)), 0);
	t.sock = s[0];
	w.sock = s[1];
	pid[0] = start(target, &t, s[1]);
	pid[1] = start(writer, &w, s[0]);
	close(s[0]);
	close(s[1]);
	for (i = 0; i < 2; i++)
		if (kill_us[i]) {
			usleep(kill_us[i]);
			kill(pid[i], SIGKILL);
		}
	for (i = 0; i < 2; i++)
		waitpid(pid[i], &status[i], 0);
	EXPECT_EQ(info(r).pinned, 0);
	close(r);
	EXPECT_EQ(sysfs_number("regions"), 0);
}

TEST(remote_write)
{
	const unsigned int never[2] = { 0, 0 };
	int status[2];

	rdma_open();
	both(never, status);
	EXPECT_EQ(status[0], 0);
	EXPECT_EQ(status[1], 0);
}

/* Either end dies at any moment: no pin and no region stays. */
TEST(killed_while_writing)
{
	unsigned int i, us[2];
	int status[2];

	rdma_open();
	for (i = 0; i < 12; i++) {
		us[i & 1] = 1 + i * i * 900;
		us[!(i & 1)] = i % 3 ? 0 : 1 + i * 500;
		/* Who is left alone sees the other's end of the socket close, unless it waits for a completion. */
		us[!(i & 1)] = us[!(i & 1)] ? us[!(i & 1)] : 300000;
		both(us, status);
	}
}

/* Since 6.5 a mapping made through a node on a disk could not be registered for writing, were it one of that file. */
TEST(node_on_disk)
{
	struct rdma d = rdma_open();
	struct stat st;
	int ctx, r;

	if (system("cd /run && dd if=/dev/zero of=disk bs=1M count=8 2>/dev/null && mkfs.ext4 -q disk && mkdir -p disk.d && "
		   "mount -o loop disk disk.d"))
		skip("no disk file system");
	ASSERT_EQ(SYS(stat(DEV, &st)), 0);
	EXPECT_EQ(SYS(mknod("/run/disk.d/mooncake", S_IFCHR | 0600, st.st_rdev)), 0);
	ctx = SYS(open("/run/disk.d/mooncake", O_RDWR));
	EXPECT_GE(ctx, 0);
	if (ctx >= 0) {
		r = region(ctx, LEN, 0);
		EXPECT_EQ(reg(&d, map(r, LEN, PROT_READ | PROT_WRITE), LEN, RW) != NULL, 1);
	}
	close(ctx);
	EXPECT_EQ(system("umount /run/disk.d && rm -r /run/disk /run/disk.d"), 0);
}

static void nobody(void *arg)
{
	struct rdma d = rdma_open();
	int r = region(ctx_open(), LEN, MC_REGION_POPULATE);
	char *p = map(r, LEN, PROT_READ | PROT_WRITE);
	struct ibv_mr *mr;

	(void)arg;
	/* Registering counts as locked memory, whoever owns it; having the region does not. */
	mr = reg(&d, p, LEN, RW);
	EXPECT_EQ(mr == NULL && errno == ENOMEM, 1);
	mr = reg(&d, p, MIB / 2, RW);
	EXPECT_EQ(mr != NULL, 1);
}

TEST(memlock_of_nobody)
{
	struct rlimit lim = { MIB, MIB };
	int status;

	rdma_open();
	setrlimit(RLIMIT_MEMLOCK, &lim);
	chmod("/dev/infiniband", 0755);
	chmod("/dev/infiniband/uverbs0", 0666);
	status = in_child(65534, nobody, NULL);
	if (status == 77)
		skip("nobody may not open the RDMA device");
	EXPECT_EQ(status, 0);
}
