// SPDX-License-Identifier: Apache-2.0
/* Start and end of a daemon: settings, messages, signals, and talk with the service manager. */
#include "svc.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

static const char *svc_name = "mooncake";
static bool to_journal;

static void log_line(void *arg, enum mc_log_level level, const char *text)
{
	static const char *const words[] = { "error", "warning", "info", "debug" };
	static const char *const journal[] = { SD_ERR, SD_WARNING, SD_INFO, SD_DEBUG };

	if (to_journal)
		fprintf(stderr, "%s%s\n", journal[level], text);
	else
		fprintf(stderr, "%s: %s: %s\n", svc_name, words[level], text);
}

/* The variable is inherited by whatever a service starts; its stderr may lead elsewhere by then. */
static bool stderr_is_journal(void)
{
	const char *text = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	return text && sscanf(text, "%llu:%llu", &dev, &ino) == 2 && !fstat(STDERR_FILENO, &st) && st.st_dev == dev && st.st_ino == ino;
}

/* ---- settings ---- */

static const struct conf_item *find_item(const struct svc *s, const char *name)
{
	for (size_t i = 0; i < s->conf.nr_items; i++)
		if (!strcmp(s->conf.items[i].name, name))
			return &s->conf.items[i];
	return NULL;
}

static const char *string_value(const struct svc *s, const char *name)
{
	const struct conf_item *it = find_item(s, name);

	return it && it->type == CONF_STRING ? *(char **)((char *)s->conf.values + it->offset) : NULL;
}

static bool asked_for(int argc, char **argv, const char *word)
{
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i];

		if (!strcmp(a, "--"))
			return false;
		if (*a == '-' && !strcmp(a + 1 + (a[1] == '-'), word))
			return true;
	}
	return false;
}

static void print_help(const struct svc *s)
{
	struct buf b = BUF_INIT;

	buf_printf(&b, "usage: %s [flags]\n\n", s->name);
	conf_help(&s->conf, &b);
	if (!b.err)
		fwrite(b.data, 1, b.len, stdout);
	buf_fini(&b);
}

/* Flags first: they name the file, and what they set is not changed by weaker sources. */
static int read_settings(struct svc *s, int argc, char **argv)
{
	enum mc_log_level level;
	const char *text;
	int ret;

	ret = conf_flags(&s->conf, argc, argv);
	if (ret < 0)
		return ret;
	if (ret < argc) {
		log_err("%s is not a flag: %s takes flags only", argv[ret], s->name);
		return -EINVAL;
	}
	text = string_value(s, "config_path");
	if (text && *text) {
		char *path = strdup(text);

		ret = path ? conf_file(&s->conf, path) : -ENOMEM;
		free(path);
		if (ret < 0)
			return ret;
	}
	ret = conf_env(&s->conf);
	if (ret < 0)
		return ret;
	text = string_value(s, "log_level");
	if (!text || !*text)
		return 0;
	ret = log_level_of(text, &level);
	if (ret)
		log_err("log_level %s is none of error, warning, info, debug", text);
	if (!ret)
		mc_log_set(log_line, NULL, level);
	return ret;
}

/* ---- signals ---- */

static void on_signal(struct loop_fd *f, uint32_t ready)
{
	struct svc *s = container_of(f, struct svc, signals);
	struct signalfd_siginfo si;

	while (read(f->fd, &si, sizeof(si)) == sizeof(si)) {
		if (s->asked++) {
			log_warn("second %s: ending at once", strsignal((int)si.ssi_signo));
			_exit(1);
		}
		log_info("%s: stopping", strsignal((int)si.ssi_signo));
		if (s->stop)
			s->stop(s->arg);
		else
			loop_stop(s->loop);
	}
}

/* Before any thread exists, so that all of them inherit the mask. */
static int catch_signals(struct svc *s)
{
	sigset_t set;
	int fd, ret;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	ret = loop_fd_add(s->loop, &s->signals, fd, EPOLLIN, on_signal);
	if (ret)
		close(fd);
	return ret;
}

int svc_open(struct svc *s, const char *name, const struct conf_item *items, size_t nr, void *values, int argc, char **argv)
{
	int ret;

	*s = (struct svc){ .name = name, .signals.fd = -1 };
	svc_name = name;
	to_journal = stderr_is_journal();
	mc_log_set(log_line, NULL, MC_LOG_INFO);
	ret = conf_open(&s->conf, items, nr, values);
	if (ret)
		return ret;
	ret = 1;
	if (asked_for(argc, argv, "help") || asked_for(argc, argv, "h")) {
		print_help(s);
		goto err_conf;
	}
	if (asked_for(argc, argv, "version")) {
		printf("%s %s\n", name, MC_VERSION);
		goto err_conf;
	}
	ret = read_settings(s, argc, argv) ? -EINVAL : 0;
	if (ret)
		goto err_conf;
	ret = loop_open(&s->loop);
	if (ret)
		goto err_conf;
	ret = catch_signals(s);
	if (ret)
		goto err_loop;
	return 0;

err_loop:
	loop_close(s->loop);
err_conf:
	conf_close(&s->conf);
	return ret;
}

void svc_close(struct svc *s)
{
	loop_timer_del(s->loop, &s->watchdog);
	loop_fd_del(s->loop, &s->signals);
	close(s->signals.fd);
	loop_close(s->loop);
	conf_close(&s->conf);
}

/* ---- the service manager ---- */

static void feed_watchdog(struct loop_timer *t)
{
	struct svc *s = container_of(t, struct svc, watchdog);
	uint64_t usec;

	sd_notify(0, "WATCHDOG=1");
	if (sd_watchdog_enabled(0, &usec) > 0)
		loop_timer_set(s->loop, t, clock_now_ns() + usec * NSEC_PER_USEC / 3, feed_watchdog);
}

void svc_ready(struct svc *s, const char *status)
{
	sd_notifyf(0, "READY=1\nSTATUS=%s", status);
	feed_watchdog(&s->watchdog);
}

void svc_stopping(struct svc *s, const char *status)
{
	sd_notifyf(0, "STOPPING=1\nSTATUS=%s", status);
}

void svc_extend(struct svc *s, unsigned seconds)
{
	sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%u000000", seconds);
}

static int passed_fd(const char *name)
{
	char **names = NULL;
	int nr, fd = -ENOENT;

	nr = sd_listen_fds_with_names(0, &names);
	for (int i = 0; i < nr; i++) {
		if (names && names[i] && !strcmp(names[i], name) && fd < 0)
			fd = SD_LISTEN_FDS_START + i;
		free(names ? names[i] : NULL);
	}
	free(names);
	return fd;
}

int svc_listen_fd(const char *name)
{
	int fd = passed_fd(name), flags;

	if (fd < 0 || sd_is_socket(fd, 0, SOCK_STREAM, 1) <= 0)
		return -ENOENT;
	/* As handed over it blocks, and accepting would hold up the loop until somebody comes. */
	flags = fcntl(fd, F_GETFL);
	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ? -errno : fd;
}

int svc_keep_fd(const char *name, int fd)
{
	char state[128];
	int ret;

	snprintf(state, sizeof(state), "FDSTORE=1\nFDNAME=%s", name);
	ret = sd_pid_notify_with_fds(0, 0, state, &fd, 1);
	return ret > 0 ? 0 : ret ? ret : -ENOTCONN;
}

int svc_kept_fd(const char *name, int *fd)
{
	int ret = passed_fd(name);

	if (ret < 0)
		return ret;
	*fd = ret;
	return 0;
}

void svc_forget_fd(const char *name)
{
	sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}
