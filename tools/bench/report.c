// SPDX-License-Identifier: Apache-2.0
/* Figures: upstream's one line, some more for people, or one JSON object. */
#include <json-c/json.h>
#include <stdio.h>

#include "base/log.h"
#include "bench.h"

static const struct {
	const char *name;
	double bytes;
} units[] = {
	{ "GB", 1e9 },	   { "GiB", 1073741824.0 }, { "Gb", 1e9 / 8 }, { "MB", 1e6 },	  { "MiB", 1048576.0 },
	{ "Mb", 1e6 / 8 }, { "KB", 1e3 },	    { "KiB", 1024.0 }, { "Kb", 1e3 / 8 },
};

static const double parts[] = { 0.5, 0.9, 0.99, 0.999 };
static const char *const part_names[] = { "p50", "p90", "p99", "p999" };

static double unit_bytes(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(units); i++)
		if (!strcmp(units[i].name, name))
			return units[i].bytes;
	return 0;
}

bool unit_known(const char *name)
{
	return unit_bytes(name) > 0;
}

static double rate(const struct part *p)
{
	return p->seconds > 0 ? (double)p->bytes / p->seconds : 0;
}

static double per_gb(double seconds, const struct part *p)
{
	return p->bytes ? seconds * 1e9 / (double)p->bytes : 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Of the rounds', so that one round in which the machine did something else does not count. */
static double median_ratio(const struct result *r)
{
	double sorted[ROUNDS_MAX];

	if (!r->nr_rounds)
		return 0;
	memcpy(sorted, r->ratio, r->nr_rounds * sizeof(*sorted));
	qsort(sorted, r->nr_rounds, sizeof(*sorted), by_value);
	return sorted[r->nr_rounds / 2];
}

/* ---- for people ---- */

void report_progress(const struct options *o, double elapsed, const struct part *round)
{
	fprintf(stderr, "%6.1f s  %.*f %s/s  %.0f batches/s\n", elapsed, (int)o->report_precision,
		rate(round) / unit_bytes(o->report_unit), o->report_unit, (double)round->batches / round->seconds);
}

static void print_latency(const struct options *o, const struct hist *h)
{
	printf("latency of a batch of %lld:", (long long)o->batch_size);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		printf(" %s %.1f", part_names[i], (double)hist_at(h, parts[i]) / 1e3);
	printf(" max %.1f us\n", (double)h->max / 1e3);
}

static void print_limit(const struct options *o, const struct result *r, const struct limit *l)
{
	bool sockets = !strcmp(l->kind, "socket");
	double trip = (double)hist_at(&l->trip, 0.5) / 1e3;

	printf("limit: %s, %u %s: %.*f %s/s, of which %.1f %% were reached; processor %.3f s/GB here, %.3f s/GB there\n", l->kind,
	       l->streams, sockets ? "streams" : "threads", (int)o->report_precision, rate(&r->limit) / unit_bytes(o->report_unit),
	       o->report_unit, 100 * median_ratio(r), per_gb(r->limit.cpu_s, &r->limit), per_gb(r->limit.peer_cpu_s, &r->limit));
	if (sockets)
		printf("limit: one block and its answer on a bare stream: p50 %.1f us\n", trip);
	if (sockets && o->batch_size == 1 && trip > 0)
		printf("p50 of a transfer is %.2f times that\n", (double)hist_at(r->latency, 0.5) / 1e3 / trip);
}

static void print_text(const struct options *o, const struct result *r, const struct limit *l)
{
	printf("%s over %s: %lld threads, %lld requests of %llu bytes to a batch\n", o->operation, r->transport,
	       (long long)o->threads, (long long)o->batch_size, (unsigned long long)o->block_size);
	print_latency(o, r->latency);
	printf("processor: %.3f s/GB here", per_gb(r->engine.cpu_s, &r->engine));
	if (r->engine.peer_cpu_s > 0)
		printf(", %.3f s/GB there", per_gb(r->engine.peer_cpu_s, &r->engine));
	printf("\n");
	if (l->kind)
		print_limit(o, r, l);
}

/* ---- for programs ---- */

static struct json_object *number(double v)
{
	char text[48];

	snprintf(text, sizeof(text), "%.6g", v);
	return json_object_new_double_s(v, text);
}

static struct json_object *json_latency(const struct hist *h)
{
	struct json_object *o = json_object_new_object();

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		json_object_object_add(o, part_names[i], number((double)hist_at(h, parts[i]) / 1e3));
	json_object_object_add(o, "max", number((double)h->max / 1e3));
	json_object_object_add(o, "mean", number(h->nr ? (double)h->sum / (double)h->nr / 1e3 : 0));
	return o;
}

static void add_part(struct json_object *o, const struct part *p)
{
	json_object_object_add(o, "bytes", json_object_new_uint64(p->bytes));
	json_object_object_add(o, "seconds", number(p->seconds));
	json_object_object_add(o, "bytes_per_second", number(rate(p)));
	json_object_object_add(o, "cpu_seconds_per_gb", number(per_gb(p->cpu_s, p)));
	if (p->peer_cpu_s > 0)
		json_object_object_add(o, "target_cpu_seconds_per_gb", number(per_gb(p->peer_cpu_s, p)));
}

static struct json_object *json_limit(const struct result *r, const struct limit *l)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "kind", json_object_new_string(l->kind));
	json_object_object_add(o, "streams", json_object_new_int64(l->streams));
	add_part(o, &r->limit);
	json_object_object_add(o, "reached", number(median_ratio(r)));
	if (l->trip.nr)
		json_object_object_add(o, "round_trip_us", json_latency(&l->trip));
	return o;
}

static void print_json(const struct options *o, const struct result *r, const struct limit *l)
{
	struct json_object *all = json_object_new_object();

	json_object_object_add(all, "operation", json_object_new_string(o->operation));
	json_object_object_add(all, "transport", json_object_new_string(r->transport));
	json_object_object_add(all, "block_size", json_object_new_uint64(o->block_size));
	json_object_object_add(all, "batch_size", json_object_new_int64(o->batch_size));
	json_object_object_add(all, "threads", json_object_new_int64(o->threads));
	json_object_object_add(all, "batches", json_object_new_uint64(r->engine.batches));
	add_part(all, &r->engine);
	json_object_object_add(all, "batch_latency_us", json_latency(r->latency));
	if (l->kind)
		json_object_object_add(all, "limit", json_limit(r, l));
	printf("%s\n", json_object_to_json_string_ext(all, JSON_C_TO_STRING_SPACED));
	json_object_put(all);
}

void report(const struct options *o, const struct result *r, const struct limit *l)
{
	fprintf(stderr, "Test completed: duration %.2f, batch count %llu, throughput %.*f %s/s\n", r->engine.seconds,
		(unsigned long long)r->engine.batches, (int)o->report_precision, rate(&r->engine) / unit_bytes(o->report_unit),
		o->report_unit);
	(o->json ? print_json : print_text)(o, r, l);
}
