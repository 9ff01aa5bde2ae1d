// SPDX-License-Identifier: Apache-2.0
/*
 * Drives a fuzz target where there is no libFuzzer: runs the files and folders named, then random mutations of them. Takes
 * libFuzzer's options -max_total_time -max_len -timeout -seed -artifact_prefix -runs, and ignores its others.
 */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));
void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));

struct input {
	uint8_t *data;
	size_t len;
};

static struct input *corpus;
static size_t nr_corpus;
static uint8_t *current; /* the input that runs now, for the report */
static size_t current_len, max_len = 4096;
static uint64_t seed, state, runs;
static unsigned timeout_s = 10;
static const char *prefix = "";

static uint64_t rnd(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return below ? state % below : 0;
}

/* Called when a sanitizer or a signal ends the program: leaves the input behind. */
static void report(void)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%scrash-%llx-%llu", prefix, (unsigned long long)seed,
		 (unsigned long long)runs);
	f = fopen(path, "w");
	if (f) {
		fwrite(current, 1, current_len, f);
		fclose(f);
	}
	fprintf(stderr, "input of %zu bytes left in %s (seed %llu, run %llu)\n", current_len, path,
		(unsigned long long)seed, (unsigned long long)runs);
}

static void on_signal(int sig)
{
	fprintf(stderr, "%s\n",
		sig == SIGALRM ? "timeout: one input takes too long" : strsignal(sig));
	report();
	_exit(1);
}

/* In a block of exactly its size, so that reading past the end is seen. */
static void run(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len ? len : 1);

	memcpy(copy, data, len);
	current = copy;
	current_len = len;
	if (runs % 1024 == 0)
		alarm(timeout_s);
	LLVMFuzzerTestOneInput(copy, len);
	runs++;
	free(copy);
}

static void keep(const uint8_t *data, size_t len)
{
	corpus = realloc(corpus, (nr_corpus + 1) * sizeof(*corpus));
	corpus[nr_corpus].data = malloc(len ? len : 1);
	memcpy(corpus[nr_corpus].data, data, len);
	corpus[nr_corpus++].len = len;
}

static void read_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	size_t len;

	if (!f)
		return;
	data = malloc(max_len);
	len = fread(data, 1, max_len, f);
	fclose(f);
	keep(data, len);
	run(data, len);
	free(data);
}

static void read_path(const char *path)
{
	char name[4096];
	struct dirent *e;
	struct stat st;
	DIR *d;

	if (stat(path, &st))
		return;
	if (!S_ISDIR(st.st_mode)) {
		read_file(path);
		return;
	}
	d = opendir(path);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		read_file(name);
	}
	if (d)
		closedir(d);
}

/* ---- mutations ---- */

static size_t insert(uint8_t *p, size_t len, size_t at, const uint8_t *from, size_t n)
{
	if (len + n > max_len)
		return len;
	memmove(p + at + n, p + at, len - at);
	if (from)
		memmove(p + at, from, n);
	else
		memset(p + at, (int)rnd(256), n);
	return len + n;
}

static size_t splice(uint8_t *p, size_t len, size_t at)
{
	const struct input *other = &corpus[rnd(nr_corpus)];
	size_t from = rnd(other->len + 1), n = rnd(other->len - from + 1);

	return insert(p, len, at, other->data + from, n);
}

/* Numbers at which length checks break, in one to eight bytes. */
static void magic(uint8_t *p, size_t len, size_t at)
{
	static const uint64_t values[] = {
		0,	    1,		2,	     0x7f,	0x80,	    0xff,
		0x100,	    0x7fff,	0x8000,	     0xffff,	0x10000,    0x7fffffff,
		0x80000000, 0xffffffff, 0x100000000, INT64_MAX, UINT64_MAX, UINT64_MAX - 7
	};
	uint64_t v = values[rnd(sizeof(values) / sizeof(values[0]))];
	size_t n = (size_t)1 << rnd(4);

	if (at + n <= len)
		memcpy(p + at, &v, n);
}

static size_t mutate_once(uint8_t *p, size_t len)
{
	size_t at = rnd(len + 1), n;

	switch (rnd(8)) {
	case 0:
		if (at < len)
			p[at] ^= (uint8_t)(1 << rnd(8));
		return len;
	case 1:
		if (at < len)
			p[at] = (uint8_t)rnd(256);
		return len;
	case 2:
		if (at < len)
			p[at] += (uint8_t)(rnd(2) ? 1 : -1);
		return len;
	case 3:
		return insert(p, len, at, NULL, 1 + rnd(8));
	case 4:
		n = 1 + rnd(8);
		if (at + n > len)
			return len;
		memmove(p + at, p + at + n, len - at - n);
		return len - n;
	case 5:
		magic(p, len, at);
		return len;
	case 6:
		return splice(p, len, at);
	default:
		return rnd(4) ? len : at; /* cut off */
	}
}

static void fuzz(double seconds, uint64_t most)
{
	uint8_t *p = malloc(max_len);
	time_t end = time(NULL) + (time_t)seconds;

	if (!nr_corpus)
		keep((const uint8_t *)"", 0);
	while (runs < most && (runs % 256 || time(NULL) < end)) {
		const struct input *from = &corpus[rnd(nr_corpus)];
		size_t len = from->len;

		memcpy(p, from->data, len);
		for (uint64_t n = 1 + rnd(8); n; n--)
			len = mutate_once(p, len);
		run(p, len);
	}
	free(p);
}

static const char *option(const char *arg, const char *name)
{
	size_t len = strlen(name);

	return !strncmp(arg, name, len) ? arg + len : NULL;
}

int main(int argc, char **argv)
{
	uint64_t most = UINT64_MAX;
	double seconds = 0;
	const char *v;

	seed = (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;
	if (LLVMFuzzerInitialize)
		LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++) {
		if ((v = option(argv[i], "-max_total_time=")))
			seconds = atof(v);
		else if ((v = option(argv[i], "-max_len=")))
			max_len = strtoull(v, NULL, 10);
		else if ((v = option(argv[i], "-timeout=")))
			timeout_s = (unsigned)atoi(v);
		else if ((v = option(argv[i], "-seed=")))
			seed = strtoull(v, NULL, 10);
		else if ((v = option(argv[i], "-runs=")))
			most = strtoull(v, NULL, 10);
		else if ((v = option(argv[i], "-artifact_prefix=")))
			prefix = v;
	}
	state = seed * 2 + 1;
	if (__sanitizer_set_death_callback) {
		__sanitizer_set_death_callback(report);
	} else {
		signal(SIGSEGV, on_signal);
		signal(SIGBUS, on_signal);
		signal(SIGFPE, on_signal);
	}
	signal(SIGABRT, on_signal);
	signal(SIGALRM, on_signal);
	for (int i = 1; i < argc; i++)
		if (argv[i][0] != '-')
			read_path(argv[i]);
	fuzz(seconds, most);
	printf("stat::number_of_executed_units: %llu\n", (unsigned long long)runs);
	for (size_t i = 0; i < nr_corpus; i++)
		free(corpus[i].data);
	free(corpus);
	return 0;
}
