// SPDX-License-Identifier: Apache-2.0
/* Answers of a hostile etcd, and connection strings. Byte 0 says which; the rest is the text. */
#include "base/base64.h"
#include "base/log.h"
#include "meta/kv.h"
#include "proto/etcd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void quiet(void *arg, enum mc_log_level level, const char *text)
{
}

static void must(bool ok)
{
	if (!ok)
		abort();
}

static void there_and_back(const char *text, size_t len)
{
	struct buf bytes = BUF_INIT, again = BUF_INIT;

	if (!base64_get(&bytes, text, len) && len) {
		base64_put(&again, bytes.data, bytes.len);
		must(again.len == len &&
		     !memcmp(again.data, text, len)); /* there is one text of everything */
	}
	buf_fini(&bytes);
	buf_fini(&again);
}

static void url(const char *text, size_t len)
{
	char *copy = strndup(text, len);
	struct kv_url u;

	if (copy && !kv_url_parse(copy, 1, &u)) {
		must(u.nr_hosts && u.nr_hosts <= KV_HOSTS_MAX);
		for (unsigned i = 0; i < u.nr_hosts; i++)
			must(strrchr(u.hosts[i], ':'));
		kv_url_fini(&u);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	char token[ETCD_TOKEN_MAX], why[256];
	const char *text = (const char *)data + 1;
	struct buf value = BUF_INIT;
	int64_t lease;

	if (!len)
		return 0;
	mc_log_set(quiet, NULL, MC_LOG_ERR);
	switch (data[0] % 8) {
	case 0:
		etcd_decode_value(text, len - 1, &value);
		break;
	case 1:
		etcd_decode_deleted(text, len - 1);
		break;
	case 2:
		etcd_decode_grant(text, len - 1, &lease);
		break;
	case 3:
		etcd_decode_alive(text, len - 1);
		break;
	case 4:
		if (!etcd_decode_token(text, len - 1, token))
			must(!strpbrk(token, "\r\n"));
		break;
	case 5:
		etcd_decode_error(text, len - 1, why);
		break;
	case 6:
		there_and_back(text, len - 1);
		break;
	default:
		url(text, len - 1);
	}
	buf_fini(&value);
	return 0;
}
