// SPDX-License-Identifier: Apache-2.0
/* Settings files: the first byte chooses the format. What was accepted must survive printing and reading again. */
#include <stdlib.h>

#include "base/conf.h"
#include "base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct values {
	int64_t number;
	uint64_t size, time;
	double ratio;
	bool flag;
	char *text;
};

static const struct conf_item items[] = {
	{ "number", "n", NULL, CONF_INT, offsetof(struct values, number), "5", -10, 1000 },
	{ "size", NULL, NULL, CONF_SIZE, offsetof(struct values, size), "1k" },
	{ "time", NULL, NULL, CONF_DURATION, offsetof(struct values, time), "1s" },
	{ "ratio", NULL, NULL, CONF_DOUBLE, offsetof(struct values, ratio), "0.5" },
	{ "flag", NULL, NULL, CONF_BOOL, offsetof(struct values, flag), "no" },
	{ "text", NULL, NULL, CONF_STRING, offsetof(struct values, text), "" },
};

static void quiet(void *arg, enum mc_log_level level, const char *text)
{
}

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void print_and_read(const struct conf *c, const struct values *v)
{
	struct buf out = BUF_INIT;
	struct values again;
	struct conf d;

	conf_print(c, false, &out);
	must(!conf_open(&d, items, ARRAY_SIZE(items), &again));
	must(!conf_text(&d, (char *)out.data, out.len, CONF_LINES, "printed"));
	must(again.number == v->number && again.size == v->size && again.time == v->time &&
	     again.flag == v->flag);
	must(!strcmp(again.text, v->text));
	conf_close(&d);
	buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct values v;
	struct conf c;

	mc_log_set(quiet, NULL, MC_LOG_WARN);
	if (!len)
		return 0;
	must(!conf_open(&c, items, ARRAY_SIZE(items), &v));
	if (!conf_text(&c, (const char *)data + 1, len - 1, data[0] % 3, "input"))
		print_and_read(&c, &v);
	must(v.number >= -10 && v.number <= 1000);
	conf_close(&c);
	return 0;
}
