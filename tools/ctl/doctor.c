// SPDX-License-Identifier: Apache-2.0
/* doctor: the list of checks, and what they found for people and for programs. */
#include "doctor.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"

#define DOCTOR_NS (8 * NSEC_PER_SEC) /* for all that waits for others */

static void (*const checks[])(struct doctor *d) = {
	check_kernel, check_module, check_memory, check_huge_pages, check_memlock, check_files,
	check_copying, check_master, check_admin, check_metadata, check_pools, check_ports,
};

static const char *const level_names[] = { "ok", "note", "warning", "error" };

void found(struct doctor *d, enum level level, const char *check, const char *fix, const char *fmt, ...)
{
	struct json_object *o;
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	d->count[level]++;
	if (d->ctl->opt.json) {
		o = json_object_new_object();
		json_object_object_add(o, "check", json_object_new_string(check));
		json_object_object_add(o, "level", json_object_new_string(level_names[level]));
		json_object_object_add(o, "text", json_object_new_string(text));
		json_object_object_add(o, "fix", fix ? json_object_new_string(fix) : NULL);
		json_object_array_add(d->findings, o);
		return;
	}
	printf("%-8s %-11s %s\n", level_names[level], check, text);
	if (fix)
		printf("%-8s %-11s fix: %s\n", "", "", fix);
	fflush(stdout);
}

static void finish(struct doctor *d)
{
	struct json_object *o;

	if (!d->ctl->opt.json) {
		printf("\n%u errors, %u warnings\n", d->count[LEVEL_ERROR], d->count[LEVEL_WARNING]);
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "findings", d->findings);
	json_object_object_add(o, "errors", json_object_new_uint64(d->count[LEVEL_ERROR]));
	json_object_object_add(o, "warnings", json_object_new_uint64(d->count[LEVEL_WARNING]));
	json_print(o);
}

/* The findings say it, with the fix. */
static void quiet(void *arg, enum mc_log_level level, const char *text)
{
}

int cmd_doctor(struct ctl *c)
{
	struct doctor d = {
		.ctl = c,
		.deadline_ns = MIN(c->deadline_ns, deadline_after_ns(DOCTOR_NS)),
		.findings = c->opt.json ? json_object_new_array() : NULL,
	};

	mc_log_set(quiet, NULL, MC_LOG_ERR);
	/* A name server that is away must not take longer than everything else together. */
	setenv("RES_OPTIONS", "timeout:1 attempts:1", 0);
	for (size_t i = 0; i < ARRAY_SIZE(checks); i++)
		checks[i](&d);
	finish(&d);
	json_object_put(d.status);
	return d.count[LEVEL_ERROR] ? EXIT_FAILED : EXIT_OK;
}
