// SPDX-License-Identifier: Apache-2.0
/*
 * A metadata service that is cut off, reset, silent, killed or stopped at every turn of what it and an engine say:
 * what was asked of the engine ends by its deadline and 100 ms, leaves nothing open, and works again once the service does.
 *
 * The service is a real one, of each kind, and the engine's way to it goes through a wire of the test's own.
 */
#include "mctest.h"
#include "unit/metronome.h"
#include "unit/peer.h"
#include "integration/wire.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>

#include "base/log.h"

#define LATE_NS	 (100 * NSEC_PER_MSEC)
#define GIVEN_MS 200 /* enough to get to the turn, mostly */
#define PARTS	 3   /* of a turn that pass: nothing, a half, all but a few bytes */

enum task { PUBLISH, FIND };

/* ---- services ------------------------------------------------------------------------------------------------------------ */

struct service {
	const char *scheme, *path;
	char dir[64], url[2][64], port_text[8];
	const char *argv[24];
	uint16_t port;
	pid_t pid;
};

static uint16_t free_port(void)
{
	uint16_t port = 0;
	int fd;

	if (!net_listen_range("127.0.0.1", 30000, 32000, &fd, &port))
		close(fd);
	return port;
}

static bool answers(const struct service *s)
{
	struct mc_engine_opts o = { .size = sizeof(o), .local_name = "first", .host = "127.0.0.1", .deadline_ns = deadline_after_ms(500) };
	struct mc_engine *eng;
	char url[64];

	snprintf(url, sizeof(url), "%s://127.0.0.1:%u%s", s->scheme, s->port, s->path);
	o.metadata = url;
	if (mc_engine_open(&o, &eng))
		return false;
	mc_engine_close(eng);
	return true;
}

static bool service_run(struct service *s)
{
	uint64_t by_ns = deadline_after_ms(20000);

	s->pid = fork();
	if (!s->pid) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		execvp(s->argv[0], (char *const *)s->argv);
		_exit(127);
	}
	while (!answers(s)) {
		if (deadline_passed(by_ns) || waitpid(s->pid, NULL, WNOHANG))
			return false;
		usleep(10000);
	}
	return true;
}

static void service_end(struct service *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
}

static int drop(const char *path, const struct stat *st, int kind, struct FTW *w)
{
	return remove(path);
}

static bool service_new(struct service *s, const char *kind)
{
	static char metadata[512];

	memset(s, 0, sizeof(*s));
	strcpy(s->dir, "/tmp/mc-steps-XXXXXX");
	if (!mkdtemp(s->dir))
		return false;
	s->port = free_port();
	snprintf(s->port_text, sizeof(s->port_text), "%u", s->port);
	s->path = "";
	s->scheme = kind;
	if (!strcmp(kind, "redis")) {
		memcpy(s->argv, (const char *[]){ "redis-server", "--port", s->port_text, "--bind", "127.0.0.1", "--save", "", "--dir", s->dir },
		       9 * sizeof(char *));
	} else if (!strcmp(kind, "etcd")) {
		for (int i = 0; i < 2; i++)
			snprintf(s->url[i], sizeof(s->url[i]), "http://127.0.0.1:%u", i ? free_port() : s->port);
		memcpy(s->argv,
		       (const char *[]){ "etcd", "--data-dir", s->dir, "--listen-client-urls", s->url[0], "--advertise-client-urls", s->url[0],
					 "--listen-peer-urls", s->url[1], "--unsafe-no-fsync", "--log-level", "error" },
		       12 * sizeof(char *));
	} else {
		snprintf(metadata, sizeof(metadata), "%s/bin/mooncake-metadata", getenv("BUILD") ?: "build");
		memcpy(s->argv, (const char *[]){ metadata, "--port", s->port_text, "--file", "" }, 5 * sizeof(char *));
		s->path = "/metadata";
	}
	return service_run(s);
}

static void service_free(struct service *s)
{
	service_end(s);
	nftw(s->dir, drop, 8, FTW_DEPTH | FTW_PHYS);
}

/* ---- one scene ----------------------------------------------------------------------------------------------------------- */

struct scene {
	struct service service;
	struct wire wire;
	struct metronome beat;
	struct mc_engine *known; /* who is to be found: its way to the service is direct */
	char meta[64];
	uint8_t memory[4096];
	unsigned files; /* open at most, between scenes */
	unsigned struck, scenes;
	int turns;
	uint64_t bytes[WIRE_TURNS]; /* of each turn */
};

static unsigned open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned nr = 0;

	while (readdir(d))
		nr++;
	closedir(d);
	return nr;
}

static int engine_here(const struct scene *s, const char *name, uint16_t port, uint64_t by_ns, struct mc_engine **out)
{
	char meta[64];
	struct mc_engine_opts o = {
		.size = sizeof(o), .metadata = meta, .local_name = name, .host = "127.0.0.1", .deadline_ns = by_ns
	};

	snprintf(meta, sizeof(meta), "%s://127.0.0.1:%u%s", s->service.scheme, port, s->service.path);
	return mc_engine_open(&o, out);
}

/* @eng: who looks. */
static int find(struct mc_engine *eng, uint64_t by_ns)
{
	struct mc_segment *seg;
	int ret = mc_segment_open(eng, "known", by_ns, &seg);

	if (!ret)
		mc_segment_close(seg);
	return ret;
}

static int publish(struct scene *s, uint64_t by_ns)
{
	struct mc_engine *eng;
	int ret = engine_here(s, "a name", s->wire.port, by_ns, &eng);

	if (!ret)
		mc_engine_close(eng);
	return ret;
}

/* What comes after a success says nothing about the time it took. */
static int publish_by(struct scene *s, uint64_t by_ns, struct mc_engine **out)
{
	return engine_here(s, "a name", s->wire.port, by_ns, out);
}

static bool restore(struct scene *s, enum strike strike)
{
	if (strike == STOP)
		kill(s->service.pid, SIGCONT);
	if (strike != KILL)
		return true;
	waitpid(s->service.pid, NULL, 0);
	mc_engine_close(s->known);
	s->known = NULL;
	if (!service_run(&s->service))
		return false;
	s->wire.service = s->service.pid;
	return !engine_here(s, "known", s->service.port, soon(), &s->known);
}

static void strike_at(struct scene *s, enum task task, int turn, int part, enum strike strike)
{
	uint64_t bytes = s->bytes[turn];
	struct mc_engine *eng = NULL;
	uint64_t upto, by_ns, ended_ns;
	bool struck;
	int ret;

	upto = part == 0 ? 0 : part == 1 ? bytes / 2 : bytes - MIN(bytes, (uint64_t)8);
	if (task == FIND)
		ASSERT_EQ(engine_here(s, "a name", s->wire.port, soon(), &eng), 0);
	wire_arm(&s->wire, turn, upto, strike);
	by_ns = deadline_after_ms(GIVEN_MS);
	ret = task == FIND ? find(eng, by_ns) : publish_by(s, by_ns, &eng);
	ended_ns = clock_now_ns();
	if (ended_ns > by_ns + LATE_NS + metronome_late(&s->beat))
		MCTEST_FAIL("ended %llu ms after its deadline", (unsigned long long)(ended_ns - by_ns) / NSEC_PER_MSEC);
	struck = wire_struck(&s->wire);
	s->struck += struck;
	s->scenes++;
	EXPECT_LE(ret, 0);
	if (struck && strike == KILL && !(part && turn == s->turns - 1)) /* the last answer may be enough as far as it goes */
		EXPECT_LT(ret, 0);
	if (struck && (strike == SILENCE || strike == STOP))
		EXPECT_EQ(ret, -ETIMEDOUT);
	EXPECT_TRUE(struck || !ret || ret == -ETIMEDOUT);
	EXPECT_TRUE(restore(s, struck ? strike : CUT));
	/* It works again, for those who were hit too. */
	if (eng)
		EXPECT_EQ(find(eng, soon()), 0);
	mc_engine_close(eng);
	EXPECT_EQ(publish(s, soon()), 0);
	for (by_ns = soon(); open_files() > s->files && !deadline_passed(by_ns);)
		sched_yield(); /* the wire sees it a moment later */
	EXPECT_LE(open_files(), s->files);
}

/* Of how many turns it consists when nothing happens. */
static int rehearse(struct scene *s, enum task task)
{
	struct mc_engine *eng = NULL;
	int ret = 0;

	if (task == FIND)
		ret = engine_here(s, "a name", s->wire.port, soon(), &eng);
	wire_arm(&s->wire, -1, 0, CUT);
	if (!ret)
		ret = task == FIND ? find(eng, soon()) : publish_by(s, soon(), &eng);
	EXPECT_EQ(ret, 0);
	ret = ret ? 0 : wire_turns(&s->wire, s->bytes);
	mc_engine_close(eng);
	return ret;
}

static void strike_everywhere(const char *kind, enum task task)
{
	static struct scene s;

	mc_log_set(NULL, NULL, MC_LOG_ERR);
	memset(&s, 0, sizeof(s));
	if (!service_new(&s.service, kind)) {
		service_free(&s.service);
		SKIP("no such service here");
	}
	ASSERT_EQ(wire_start(&s.wire, s.service.port), 0);
	s.wire.service = s.service.pid;
	ASSERT_EQ(engine_here(&s, "known", s.service.port, soon(), &s.known), 0);
	EXPECT_EQ(publish(&s, soon()), 0); /* what is allocated once */
	s.files = open_files();
	s.turns = rehearse(&s, task);
	EXPECT_GE(s.turns, 2);
	metronome_start(&s.beat);
	for (int strike = 0; strike < NR_STRIKES; strike++)
		for (int turn = 0; turn < s.turns; turn++)
			for (int part = 0; part < PARTS && !mctest_failed; part++) {
				/* etcd takes a second to come back */
				if (strike == KILL && part != 1 && !strcmp(kind, "etcd"))
					continue;
				strike_at(&s, task, turn, part, (enum strike)strike);
				if (mctest_failed)
					printf("# strike %d, turn %d of %d, part %d\n", strike, turn, s.turns, part);
			}
	metronome_stop(&s.beat);
	printf("# %d turns, %u of %u strikes\n", s.turns, s.struck, s.scenes);
	EXPECT_GT(2 * s.struck, s.scenes);
	mc_engine_close(s.known);
	wire_stop(&s.wire);
	service_free(&s.service);
	mc_log_set(NULL, NULL, MC_LOG_WARN);
}

TEST(publishing_over_http)
{
	strike_everywhere("http", PUBLISH);
}

TEST(finding_over_http)
{
	strike_everywhere("http", FIND);
}

TEST(publishing_in_redis)
{
	strike_everywhere("redis", PUBLISH);
}

TEST(finding_in_redis)
{
	strike_everywhere("redis", FIND);
}

TEST(publishing_in_etcd)
{
	strike_everywhere("etcd", PUBLISH);
}

TEST(finding_in_etcd)
{
	strike_everywhere("etcd", FIND);
}
