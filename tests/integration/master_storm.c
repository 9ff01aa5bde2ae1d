// SPDX-License-Identifier: Apache-2.0
/*
 * Owners that publish, replace, refuse, vanish and come back, clients that ask and remove, all at once: the master stays
 * correct, answers everybody, and ends in order. Most useful under SAN=thread and SAN=address.
 */
#include "mctest.h"

#include "integration/master_owners.h"

#pragma GCC diagnostic ignored "-Wsign-compare" /* plain numbers beside counters */

#define KEYS 400
#define STORM_NS (2 * NSEC_PER_SEC)

static struct rig rig;
static char text[KEYS][16];
static struct key keys[KEYS];
static uint64_t end_ns;
static atomic_uint failures, asked, published;

static unsigned rnd(unsigned *seed, unsigned below)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 8) % below;
}

static void failed(const char *what, int ret)
{
	if (atomic_fetch_add(&failures, 1) < 10)
		printf("# %s: %s\n", what, strerror(-ret));
}

static void owner_step(struct owner_rig *o, unsigned *seed, uint64_t *gen)
{
	uint32_t at = rnd(seed, KEYS - 64), nr = 1 + rnd(seed, 64);
	struct drop_item items[64];
	struct msg_withdraw m = { nr, items };
	int32_t status[64];
	int ret;

	switch (rnd(seed, 20)) {
	case 0:
		owner_disconnect(o);
		ret = owner_connect(o, &rig, true);
		if (ret)
			failed("reconnect", ret);
		return;
	case 1:
		ret = owner_join(o); /* again, on the same stream */
		if (ret)
			failed("join", ret);
		return;
	case 2:
		atomic_store(&o->manner, rnd(seed, 2) ? OWNER_BUSY : OWNER_OBEYS);
		return;
	case 3:
	case 4:
		for (uint32_t i = 0; i < nr; i++)
			items[i] = (struct drop_item){ keys[at + i], *gen };
		buf_reset(&o->body);
		msg_withdraw_encode(&m, &o->body);
		ret = owner_tell(o, MSG_WITHDRAW);
		if (ret)
			failed("withdraw", ret);
		return;
	default:
		*gen += 2;
		ret = owner_publish(o, &keys[at], nr, 1 + rnd(seed, 5), rnd(seed, 3) ? 0 : OBJ_REPLACE, *gen, status);
		if (ret)
			failed("publish", ret);
		atomic_fetch_add(&published, nr);
	}
}

static void *own(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg;
	struct owner_rig o;
	uint64_t gen = 0;
	int ret = owner_rig_open(&o, &rig, (uint8_t)seed);

	if (ret)
		failed("owner", ret);
	atomic_store(&o.have, 1 << 30);
	while (!ret && !deadline_passed(end_ns))
		owner_step(&o, &seed, &gen);
	owner_rig_close(&o);
	return NULL;
}

static void client_step(struct client *c, unsigned *seed)
{
	uint32_t at = rnd(seed, KEYS - 64), nr = 1 + rnd(seed, 64);
	struct located l = { 0 };
	struct msg_pools pools;
	int32_t status[64];
	int64_t ret;

	switch (rnd(seed, 40)) {
	case 0:
		ret = client_remove_match(c, "k1?[0-9]$", rnd(seed, 2));
		break;
	case 1:
		ret = client_remove_match(c, "", rnd(seed, 2));
		break;
	case 2:
		ret = client_pools(c, &pools);
		break;
	case 3:
		client_close(c);
		ret = client_open(c, &rig, rnd(seed, 2));
		break;
	case 4:
	case 5:
		ret = client_remove(c, &keys[at], nr, rnd(seed, 2), status);
		break;
	case 6:
		buf_reset(&c->body);
		ret = client_call(c, MSG_STATUS);
		break;
	default:
		if (rnd(seed, 2))
			ret = client_locate(c, &keys[at], true, &l, NULL);
		else
			ret = client_count(c, &keys[at], nr);
		if (l.nr_replicas > REPLICAS_MAX)
			ret = -EBADMSG;
	}
	if (ret < 0)
		failed("client", (int)ret);
	atomic_fetch_add(&asked, 1);
}

static void *ask(void *arg)
{
	unsigned seed = (unsigned)(uintptr_t)arg * 7919;
	struct client c;
	int ret = client_open(&c, &rig, seed % 2);

	if (ret)
		failed("client", ret);
	while (!ret && !deadline_passed(end_ns))
		client_step(&c, &seed);
	client_close(&c);
	return NULL;
}

#ifdef __SANITIZE_THREAD__
#define CLIENT_TTL "--client_ttl=5s" /* an owner may wait so long for its turn */
#else
#define CLIENT_TTL "--client_ttl=300ms"
#endif

TEST(storm)
{
	pthread_t t[6];
	struct client c;

	if (rig_master(&rig, "--default_kv_lease_ttl=20ms", CLIENT_TTL, "--rpc_thread_num=3"))
		return;
	make_keys(keys, text, 0, KEYS);
	end_ns = deadline_after_ns(STORM_NS);
	for (uintptr_t i = 0; i < 6; i++)
		pthread_create(&t[i], NULL, i < 3 ? own : ask, (void *)(i + 1));
	for (unsigned i = 0; i < 6; i++)
		pthread_join(t[i], NULL);
	EXPECT_EQ(atomic_load(&failures), 0);
	printf("# %u questions, %u objects published\n", atomic_load(&asked), atomic_load(&published));
	EXPECT_GE(atomic_load(&asked), 100);

	/* All owners are gone, and what they had goes with them. */
	EXPECT_EQ(client_open(&c, &rig, false), 0);
	EXPECT_EQ(client_count(&c, keys, KEYS), 0);
	client_close(&c);
	EXPECT_EQ(rig_stop(&rig, SIGTERM), 0);
}
