// SPDX-License-Identifier: Apache-2.0
/*
 * Two hosts on one machine, and the cable between them:
 *
 *	this process				the peer
 *	netns "ours"				netns "theirs"
 *	10.77.0.1 fd77::1  mc0 ─── veth ─── mc1  10.77.0.2 fd77::2
 */
#include "mctest.h"
#include "unit/metronome.h"
#include "unit/peer.h"

#include <sched.h>

static int ready[2], go[2];
static bool without_ipv4; /* not even at the loopback interface */

static bool sh(const char *command)
{
	return system(command) == 0;
}

/*
 * The peer has a network of its own before it opens its engine; the cable is plugged in from
 * outside.
 */
static void alone(void)
{
	char c = 'r';

	if (unshare(CLONE_NEWNET) || write(ready[1], &c, 1) != 1 || read(go[0], &c, 1) != 1)
		_exit(3);
}

static bool plug_in(pid_t pid)
{
	char text[768], c;

	if (read(ready[0], &c, 1) != 1)
		return false;
	snprintf(text, sizeof(text),
		 "ip link add mc0 type veth peer name mc1 netns %d &&"
		 "ip addr add 10.77.0.1/24 dev mc0 && ip addr add fd77::1/64 dev mc0 nodad && ip "
		 "link set mc0 up &&"
		 "nsenter -t %d -n sh -c 'ip link set lo up && ip addr add 10.77.0.2/24 dev mc1 &&"
		 "ip addr add fd77::2/64 dev mc1 nodad && ip link set mc1 up%s'%s",
		 pid, pid, without_ipv4 ? " && ip -4 addr flush dev lo && ip -4 addr flush dev mc1" : "",
		 without_ipv4 ? " && ip -4 addr flush dev lo && ip -4 addr flush dev mc0" : "");
	return sh(text) && write(go[1], "g", 1) == 1;
}

static const char *cannot(void)
{
	if (geteuid())
		return "needs root";
	if (!sh("command -v ip >/dev/null && command -v nsenter >/dev/null"))
		return "needs ip and nsenter";
	return unshare(CLONE_NEWNET) || !sh("ip link set lo up") ? "no network namespaces here" :
								   NULL;
}

static int start(struct peer_proc *p, const char *local_name)
{
	p->local_name = local_name;
	p->transports = "tcp"; /* it is on this machine all the same */
	p->before = alone;
	if (pipe(ready) || pipe(go) || peer_fork(p) || !plug_in(p->pid))
		return -1;
	return peer_go(p, "");
}

static void end(struct peer_proc *p)
{
	peer_stop(p, SIGKILL);
	peer_free(p);
	sh("ip link del mc0 2>/dev/null");
	for (int i = 0; i < 2; i++) {
		close(ready[i]);
		close(go[i]);
	}
}

static void talk(const char *name_theirs, const char *name_ours, const char *begins)
{
	struct mc_engine_opts o = { .size = sizeof(o), .local_name = name_ours };
	struct peer_proc p = { .len = MiB };
	char *mine = malloc(MiB);
	struct mc_segment *seg;
	struct mc_engine *eng;
	const char *why = cannot();

	if (why)
		SKIP(why);
	ASSERT_EQ(start(&p, name_theirs), 0);
	EXPECT_TRUE(!strncmp(p.name, begins, strlen(begins)));
	ASSERT_EQ(mc_engine_open(&o, &eng), 0);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	memset(p.mem, 'a', MiB);
	EXPECT_EQ(move_one(eng, seg, MC_READ, mine, p.mem, MiB, NULL, soon()), 0);
	EXPECT_EQ(memcmp(mine, p.mem, MiB), 0);
	mc_segment_close(seg);
	mc_engine_close(eng);
	free(mine);
	end(&p);
}

TEST(hosts_talk_over_ipv4)
{
	talk("10.77.0.2", "10.77.0.1", "10.77.0.2:");
}

TEST(hosts_talk_over_ipv6)
{
	talk("fd77::2", "fd77::1", "[fd77::2]:");
}

TEST(hosts_talk_over_ipv6_alone)
{
	without_ipv4 = true;
	talk("fd77::2", "fd77::1", "[fd77::2]:");
	talk("::", "fd77::1", "[fd77::2]:");
	EXPECT_TRUE(!sh("ip -4 -o addr | grep -q inet"));
	without_ipv4 = false;
}

TEST(a_wildcard_is_listened_on_but_not_told)
{
	talk("0.0.0.0", "10.77.0.1", "10.77.0.2:");
}

TEST(loopback_is_not_reached_from_elsewhere)
{
	struct peer_proc p = { .len = 4096 };
	struct mc_segment *seg;
	struct mc_engine *eng;
	const char *why = cannot();
	char name[300];

	if (why)
		SKIP(why);
	ASSERT_EQ(start(&p, NULL), 0);
	ASSERT_EQ(mc_engine_open(NULL, &eng), 0);
	snprintf(name, sizeof(name), "10.77.0.2%s", strrchr(p.name, ':'));
	EXPECT_EQ(mc_segment_open(eng, name, soon(), &seg), -ECONNREFUSED);
	mc_engine_close(eng);
	end(&p);
}

/*
 * Nobody says goodbye: every request ends by its deadline, and when the cable is back, so are
 * transfers.
 */
TEST(a_cable_is_pulled_and_put_back)
{
	struct peer_proc p = { .len = 16 * MiB };
	uint8_t *mine = calloc(1, 16 * MiB);
	struct mc_segment *seg;
	struct mc_engine *eng;
	struct metronome beat;
	uint64_t began;
	const char *why = cannot();
	int ret;

	if (why)
		SKIP(why);
	ASSERT_EQ(start(&p, "10.77.0.2"), 0);
	ASSERT_EQ(mc_engine_open(NULL, &eng), 0);
	ASSERT_EQ(mc_segment_open(eng, p.name, soon(), &seg), 0);
	EXPECT_EQ(move_one(eng, seg, MC_READ, mine, p.mem, 4096, NULL, soon()), 0);
	EXPECT_TRUE(sh("ip link set mc0 down"));
	metronome_start(&beat);
	for (int op = MC_READ; op <= MC_WRITE; op++) {
		began = clock_now_ns();
		ret = move_one(eng, seg, (enum mc_op)op, mine, p.mem, p.len, NULL,
			       deadline_after_ms(300));
		EXPECT_TRUE(ret == -ETIMEDOUT || ret == -EHOSTUNREACH || ret == -ENETUNREACH ||
			    ret == -ECONNRESET);
		EXPECT_LE(metronome_ms_since(&beat, began), 400u);
	}
	metronome_stop(&beat);
	EXPECT_TRUE(sh("ip link set mc0 up && ip route replace 10.77.0.0/24 dev mc0"));
	memset(p.mem, 'b', p.len);
	/* A stream that lost packets may wait for its next try; a new one is there at once. */
	for (ret = -1, began = clock_now_ns(); ret && clock_now_ns() - began < 10 * NSEC_PER_SEC;)
		ret = move_one(eng, seg, MC_READ, mine, p.mem, p.len, NULL,
			       deadline_after_ms(1000));
	EXPECT_EQ(ret, 0);
	EXPECT_EQ(memcmp(mine, p.mem, p.len), 0);
	mc_segment_close(seg);
	mc_engine_close(eng);
	free(mine);
	end(&p);
}
