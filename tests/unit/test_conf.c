// SPDX-License-Identifier: Apache-2.0
/* Settings: each source, precedence, each error with the line it logs. */
#include "mctest.h"

#include <json-c/json.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/log.h"

struct values {
	int64_t port;
	uint64_t pool_bytes, ttl_ns, live_ns;
	double ratio;
	bool verbose, ha;
	char *name, *host;
};

static const struct conf_item items[] = {
	{ "rpc_port", "port", "TEST_CONF_PORT", CONF_INT, offsetof(struct values, port), "50051", 0,
	  65535 },
	{ "pool_size", NULL, "TEST_CONF_POOL", CONF_SIZE, offsetof(struct values, pool_bytes),
	  "1gb" },
	{ "ttl", NULL, NULL, CONF_DURATION, offsetof(struct values, ttl_ns), "10000" },
	{ "client_ttl", "client_live_ttl_sec", NULL, CONF_DURATION,
	  offsetof(struct values, live_ns), "10", .unit_ns = 1000000000u },
	{ "ratio", NULL, NULL, CONF_DOUBLE, offsetof(struct values, ratio), "0.05", 0, 1 },
	{ "verbose", "v", NULL, CONF_BOOL, offsetof(struct values, verbose), "false",
	  .help = "say more" },
	{ "enable_ha", NULL, NULL, CONF_BOOL, offsetof(struct values, ha), "false",
	  .unimplemented = true },
	{ "name", NULL, "TEST_CONF_NAME", CONF_STRING, offsetof(struct values, name), "mooncake" },
	{ "host", NULL, NULL, CONF_STRING, offsetof(struct values, host), NULL },
};

static struct values v;
static struct conf c;
static char last[512];
static int warnings;

static void note(void *arg, enum mc_log_level level, const char *text)
{
	snprintf(last, sizeof(last), "%s", text);
	warnings += level == MC_LOG_WARN;
}

static void begin(void)
{
	mc_log_set(note, NULL, MC_LOG_WARN);
	last[0] = '\0';
	warnings = 0;
	EXPECT_EQ(conf_open(&c, items, ARRAY_SIZE(items), &v), 0);
}

static int flags(const char *a, const char *b, const char *d)
{
	char *argv[] = { (char *)"prog", (char *)a, (char *)b, (char *)d, NULL };
	int argc = 1 + !!a + !!b + !!d;

	return conf_flags(&c, argc, argv);
}

TEST(defaults)
{
	begin();
	EXPECT_EQ(v.port, 50051);
	EXPECT_EQ(v.pool_bytes, GiB);
	EXPECT_EQ(v.ttl_ns, 10000000000u);
	EXPECT_EQ(v.live_ns, 10000000000u);
	EXPECT_TRUE(v.ratio == 0.05);
	EXPECT_TRUE(!v.verbose);
	EXPECT_STREQ(v.name, "mooncake");
	EXPECT_TRUE(!v.host);
	conf_close(&c);
	EXPECT_TRUE(!v.name);
	conf_close(&c);
}

TEST(flag_forms)
{
	begin();
	EXPECT_EQ(flags("-rpc_port=1", "--pool-size=2mb", "--verbose"), 4);
	EXPECT_EQ(v.port, 1);
	EXPECT_EQ(v.pool_bytes, 2 * MiB);
	EXPECT_TRUE(v.verbose);
	EXPECT_EQ(flags("--noverbose", "--port", "7"), 4);
	EXPECT_EQ(v.port, 7);
	EXPECT_TRUE(!v.verbose);
	EXPECT_EQ(flags("-v", "-name", "-x"), 4);
	EXPECT_TRUE(v.verbose);
	EXPECT_STREQ(v.name, "-x");
	EXPECT_EQ(flags("--verbose=false", "--name=", "word"), 3);
	EXPECT_TRUE(!v.verbose);
	EXPECT_STREQ(v.name, "");
	EXPECT_EQ(flags("--verbose", "--", "--port"), 3);
	EXPECT_EQ(flags("-", NULL, NULL), 1);
	EXPECT_EQ(flags(NULL, NULL, NULL), 1);
	conf_close(&c);
}

TEST(flag_errors)
{
	begin();
	EXPECT_EQ(flags("--rpc_prot=1", NULL, NULL), -EINVAL);
	EXPECT_TRUE(strstr(last, "rpc_prot") && strstr(last, "did you mean rpc_port?"));
	EXPECT_STREQ(mc_last_error(), last);
	EXPECT_EQ(flags("--port", NULL, NULL), -EINVAL);
	EXPECT_TRUE(strstr(last, "needs a value"));
	EXPECT_EQ(flags("--port=65536", NULL, NULL), -EINVAL);
	EXPECT_TRUE(strstr(last, "from 0 to 65535"));
	EXPECT_EQ(flags("--port=1x", NULL, NULL), -EINVAL);
	EXPECT_EQ(flags("--noport", NULL, NULL), -EINVAL);
	EXPECT_EQ(flags("--ratio=1.5", NULL, NULL), -EINVAL);
	EXPECT_EQ(flags("--ratio=nan", NULL, NULL), -EINVAL);
	EXPECT_EQ(flags("--verbose=maybe", NULL, NULL), -EINVAL);
	EXPECT_EQ(flags("--pool_size=50%", NULL, NULL), -EINVAL);
	EXPECT_TRUE(strstr(last, "64MB"));
	EXPECT_EQ(flags("--=3", NULL, NULL), -EINVAL);
	EXPECT_EQ(v.port, 50051);
	conf_close(&c);
}

TEST(unimplemented_warns_once)
{
	begin();
	EXPECT_EQ(flags("--enable_ha", "--enable_ha", NULL), 3);
	EXPECT_EQ(warnings, 1);
	EXPECT_TRUE(strstr(last, "enable_ha"));
	conf_close(&c);
}

TEST(precedence_does_not_depend_on_order)
{
	static const char json[] = "{\"port\": 3, \"name\": \"file\", \"ratio\": 0.25}";

	setenv("TEST_CONF_PORT", "2", 1);
	setenv("TEST_CONF_NAME", "env", 1);
	setenv("TEST_CONF_POOL", "", 1);
	begin();
	EXPECT_EQ(flags("--rpc_port=1", NULL, NULL), 2);
	EXPECT_EQ(conf_env(&c), 0);
	EXPECT_EQ(conf_text(&c, json, strlen(json), CONF_JSON, "x.json"), 0);
	EXPECT_EQ(v.port, 1);
	EXPECT_STREQ(v.name, "env");
	EXPECT_TRUE(v.ratio == 0.25);
	EXPECT_EQ(v.pool_bytes, GiB);
	EXPECT_EQ((int)c.source[0], (int)CONF_FLAG);
	EXPECT_EQ((int)c.source[7], (int)CONF_ENV);
	EXPECT_EQ((int)c.source[4], (int)CONF_FILE);
	EXPECT_EQ((int)c.source[1], (int)CONF_DEFAULT);
	conf_close(&c);
	setenv("TEST_CONF_PORT", "no", 1);
	begin();
	EXPECT_EQ(conf_env(&c), -EINVAL);
	EXPECT_TRUE(strstr(last, "TEST_CONF_PORT"));
	conf_close(&c);
	unsetenv("TEST_CONF_PORT");
	unsetenv("TEST_CONF_NAME");
	unsetenv("TEST_CONF_POOL");
}

static int text(const char *t, enum conf_format format)
{
	return conf_text(&c, t, strlen(t), format, "conf");
}

TEST(json)
{
	begin();
	EXPECT_EQ(text("{\"pool_size\": 9007199254740993, \"verbose\": true, \"ttl\": \"5m\", "
		       "\"name\": null, \"host\": \"a\\\"b\"}\n",
		       CONF_JSON),
		  0);
	EXPECT_EQ(v.pool_bytes, 9007199254740993u);
	EXPECT_TRUE(v.verbose);
	EXPECT_EQ(v.ttl_ns, 300000000000u);
	EXPECT_STREQ(v.name, "mooncake");
	EXPECT_STREQ(v.host, "a\"b");
	EXPECT_EQ(text("{}", CONF_JSON), 0);
	EXPECT_EQ(text("{\"prot\": 1}", CONF_JSON), -ENOENT);
	EXPECT_EQ(text("{\"a\": {\"port\": 1}}", CONF_JSON), -ENOENT);
	EXPECT_TRUE(strstr(last, "a.port"));
	EXPECT_EQ(text("{\"port\": [1]}", CONF_JSON), -EINVAL);
	EXPECT_EQ(text("[1]", CONF_JSON), -EINVAL);
	EXPECT_EQ(text("null", CONF_JSON), -EINVAL);
	EXPECT_EQ(text("", CONF_JSON), -EINVAL);
	EXPECT_EQ(text("{\"port\": 1", CONF_JSON), -EINVAL);
	EXPECT_EQ(text("{\"port\": 1} x", CONF_JSON), -EINVAL);
	EXPECT_EQ(conf_text(&c, "{}\0", 3, CONF_JSON, "x"), -EINVAL);
	conf_close(&c);
}

TEST(yaml)
{
	begin();
	EXPECT_EQ(text("---\n# comment\nrpc_port: 12 # why\n\nname: \"a # b\\n\" # c\nhost: "
		       "http://x:1#frag\r\nratio:\nttl: ~\n"
		       "client_live_ttl_sec: 3\n'verbose': 'yes'\n  # indented comment\n",
		       CONF_YAML),
		  0);
	EXPECT_EQ(v.port, 12);
	EXPECT_STREQ(v.name, "a # b\n");
	EXPECT_STREQ(v.host, "http://x:1#frag");
	EXPECT_TRUE(v.ratio == 0.05);
	EXPECT_EQ(v.live_ns, 3000000000u);
	EXPECT_TRUE(v.verbose);
	EXPECT_EQ(text("name: 'it''s'", CONF_YAML), 0);
	EXPECT_STREQ(v.name, "it's");
	EXPECT_EQ(text("name: \"\"", CONF_YAML), 0);
	EXPECT_STREQ(v.name, "");
	EXPECT_EQ(text("a:\n  port: 1\n", CONF_YAML), -EINVAL);
	EXPECT_TRUE(strstr(last, "conf line 2"));
	EXPECT_EQ(text("- a", CONF_YAML), -EINVAL);
	EXPECT_EQ(text("port: [1]", CONF_YAML), -EINVAL);
	EXPECT_EQ(text("port:1", CONF_YAML), -EINVAL);
	EXPECT_EQ(text("port", CONF_YAML), -EINVAL);
	EXPECT_EQ(text("name: \"x", CONF_YAML), -EINVAL);
	EXPECT_EQ(text("name: 'x' y", CONF_YAML), -EINVAL);
	EXPECT_EQ(text("prot: 1", CONF_YAML), -ENOENT);
	conf_close(&c);
}

TEST(lines)
{
	begin();
	EXPECT_EQ(text("# c\n  rpc_port = 9\nname=a=b # c\nhost =\n", CONF_LINES), 0);
	EXPECT_EQ(v.port, 9);
	EXPECT_STREQ(v.name, "a=b");
	EXPECT_STREQ(v.host, "");
	EXPECT_EQ(text("port", CONF_LINES), -EINVAL);
	EXPECT_EQ(text("= 3", CONF_LINES), -ENOENT);
	conf_close(&c);
}

TEST(files)
{
	char dir[] = "/tmp/test_conf.XXXXXX", path[64];
	FILE *f;

	ASSERT_TRUE(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/a.yml", dir);
	f = fopen(path, "w");
	ASSERT_TRUE(f);
	fputs("rpc_port: 77\n", f);
	fclose(f);
	begin();
	EXPECT_EQ(conf_file(&c, path), 0);
	EXPECT_EQ(v.port, 77);
	unlink(path);
	EXPECT_EQ(conf_file(&c, path), -ENOENT);
	EXPECT_TRUE(strstr(last, path));
	EXPECT_EQ(conf_file(&c, dir), -EISDIR);
	EXPECT_EQ(conf_file(&c, "/dev/zero"), -EFBIG);
	rmdir(dir);
	conf_close(&c);
}

/* What is printed, read again, gives the same values. */
TEST(printing_round_trips)
{
	struct buf out = BUF_INIT;
	struct json_object *o;
	struct values before;

	begin();
	flags("--ttl=90s", "--pool_size=1536", "--name=a b");
	before = v;
	before.name = strdup(v.name);
	conf_set(&c, "host", "h", CONF_FLAG);
	conf_print(&c, false, &out);
	conf_close(&c);
	begin();
	EXPECT_EQ(conf_text(&c, (char *)out.data, out.len, CONF_LINES, "printed"), 0);
	EXPECT_EQ(v.ttl_ns, before.ttl_ns);
	EXPECT_EQ(v.pool_bytes, before.pool_bytes);
	EXPECT_STREQ(v.name, before.name);
	EXPECT_STREQ(v.host, "h");
	buf_reset(&out);
	conf_print(&c, true, &out);
	buf_put_u8(&out, 0);
	o = json_tokener_parse((char *)out.data);
	EXPECT_TRUE(json_object_object_get_ex(o, "pool_size", NULL));
	json_object_put(o);
	buf_reset(&out);
	conf_help(&c, &out);
	buf_put_u8(&out, 0);
	EXPECT_TRUE(strstr((char *)out.data, "--verbose") && strstr((char *)out.data, "say more"));
	EXPECT_TRUE(strstr((char *)out.data, "--rpc_port=N"));
	buf_fini(&out);
	free(before.name);
	conf_close(&c);
}

TEST(words_presence_and_secrets)
{
	static struct {
		char *mode, *password;
		bool there;
	} w;
	static const struct conf_item more[] = {
		{ .name = "mode", .type = CONF_STRING, .deflt = "auto", .words = "auto,require,off" },
		{ .name = "password", .type = CONF_STRING, .secret = true, .offset = sizeof(char *) },
		{ .name = "there", .type = CONF_PRESENCE, .offset = 2 * sizeof(char *) },
	};
	struct buf out = BUF_INIT;
	struct conf k;
	char why[200];

	mc_log_set(note, NULL, MC_LOG_WARN);
	ASSERT_EQ(conf_open(&k, more, ARRAY_SIZE(more), &w), 0);
	EXPECT_TRUE(!w.there);
	EXPECT_EQ(conf_set(&k, "mode", "aut", CONF_FLAG), -EINVAL);
	EXPECT_TRUE(strstr(last, "it takes one of auto,require,off"));
	EXPECT_EQ(conf_set(&k, "mode", "auto,require", CONF_FLAG), -EINVAL);
	EXPECT_EQ(conf_set(&k, "mode", "Off", CONF_FLAG), 0);
	EXPECT_STREQ(w.mode, "Off");
	EXPECT_EQ(conf_set(&k, "there", "0", CONF_FLAG), 0);
	EXPECT_TRUE(w.there);
	EXPECT_EQ(conf_set(&k, "password", "s3cret", CONF_FLAG), 0);
	*last = 0;
	EXPECT_EQ(conf_try(&k, "mode", "no", CONF_FLAG, why, sizeof(why)), -EINVAL);
	EXPECT_TRUE(!*last && strstr(why, "\"no\" is not understood"));
	EXPECT_EQ(conf_try(&k, "mood", "no", CONF_FLAG, why, sizeof(why)), -ENOENT);
	EXPECT_STREQ(conf_suggest(&k, "mood"), "mode");
	conf_print(&k, false, &out);
	conf_print(&k, true, &out);
	buf_put_u8(&out, 0);
	EXPECT_TRUE(!strstr((char *)out.data, "s3cret") && strstr((char *)out.data, "there = true"));
	buf_fini(&out);
	conf_close(&k);
}
