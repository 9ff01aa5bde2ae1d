// SPDX-License-Identifier: Apache-2.0
/* Who listens on TCP on this machine, and whether somebody else took a port that a daemon would take. */
#include "doctor.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#define TCP_LISTEN 0x0a
#define SOCKETS_MAX 256

struct listening {
	unsigned long inode;
	struct port_user *user;
};

/* One line of /proc/net/tcp or tcp6: addresses are words as they lie in memory, in hexadecimal. */
static bool parse_line(const char *line, bool v6, struct port_user *u, unsigned long *inode)
{
	unsigned w[4] = { 0 }, port, state;
	char rest[64];
	int n = v6 ? sscanf(line, " %*d: %8x%8x%8x%8x:%4x %*[0-9A-F:] %2x %*s %*s %*s %*s %*s %lu %63s", &w[0], &w[1], &w[2], &w[3],
			    &port, &state, inode, rest) :
		     sscanf(line, " %*d: %8x:%4x %*[0-9A-F:] %2x %*s %*s %*s %*s %*s %lu %63s", &w[0], &port, &state, inode, rest);

	if (n < (v6 ? 7 : 4) || state != TCP_LISTEN)
		return false;
	*u = (struct port_user){ .port = (uint16_t)port, .program = "?" };
	return inet_ntop(v6 ? AF_INET6 : AF_INET, w, u->addr, sizeof(u->addr));
}

static unsigned read_table(const char *path, bool v6, struct listening *l, struct port_user *u, unsigned max)
{
	FILE *f = fopen(path, "re");
	char line[512];
	unsigned n = 0;

	while (f && n < max && fgets(line, sizeof(line), f))
		if (parse_line(line, v6, &u[n], &l[n].inode)) {
			l[n].user = &u[n];
			n++;
		}
	if (f)
		fclose(f);
	return n;
}

static void name_process(int pid, struct port_user *u)
{
	char path[64];
	FILE *f;

	u->pid = pid;
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (!f)
		return;
	if (fgets(u->program, sizeof(u->program), f))
		u->program[strcspn(u->program, "\n")] = 0;
	fclose(f);
}

/* All sockets of one process against the list. Those of other users cannot be seen. */
static void look_into(int pid, const struct listening *l, unsigned nr)
{
	char path[64], link[64];
	struct dirent *e;
	unsigned long inode;
	ssize_t n;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);
		if (n <= 0)
			continue;
		link[n] = 0;
		if (sscanf(link, "socket:[%lu]", &inode) != 1)
			continue;
		for (unsigned i = 0; i < nr; i++)
			if (l[i].inode == inode && !l[i].user->pid)
				name_process(pid, l[i].user);
	}
	if (d)
		closedir(d);
}

unsigned ports_in_use(struct port_user *out, unsigned max)
{
	struct listening l[SOCKETS_MAX];
	struct dirent *e;
	unsigned n;
	DIR *d;

	max = MIN(max, (unsigned)SOCKETS_MAX);
	n = read_table("/proc/net/tcp", false, l, out, max);
	n += read_table("/proc/net/tcp6", true, l + n, out + n, max - n);
	d = opendir("/proc");
	while (d && (e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]))
			look_into(atoi(e->d_name), l, n);
	if (d)
		closedir(d);
	return n;
}

static const struct {
	uint16_t port;
	const char *daemon, *fix;
} defaults[] = {
	{ 50051, "mooncake-master", "start mooncake-master with another --rpc_port and tell clients and nodes" },
	{ 9003, "mooncake-master's HTTP", "start mooncake-master with another --metrics_port" },
	{ 50052, "mooncake-node", "start mooncake-node with another --port, or 0" },
	{ 8080, "mooncake-metadata", "only if it is to run here: start mooncake-metadata with another --port" },
};

static bool is_ours(const char *program)
{
	return !strncmp(program, "mooncake", 8);
}

void check_ports(struct doctor *d)
{
	struct port_user users[SOCKETS_MAX];
	unsigned nr = ports_in_use(users, SOCKETS_MAX), taken = 0;

	for (size_t k = 0; k < ARRAY_SIZE(defaults); k++)
		for (unsigned i = 0; i < nr; i++) {
			const struct port_user *u = &users[i];

			if (u->port != defaults[k].port || is_ours(u->program))
				continue;
			taken++;
			if (u->pid)
				found(d, LEVEL_WARNING, "ports", defaults[k].fix, "port %u, which %s takes by default, is %s's (pid %d, %s)",
				      u->port, defaults[k].daemon, u->program, u->pid, u->addr);
			else
				found(d, LEVEL_NOTE, "ports", NULL,
				      "port %u, which %s takes by default, is in use by a program of another user (as root this says which)",
				      u->port, defaults[k].daemon);
			break;
		}
	if (!taken)
		found(d, LEVEL_OK, "ports", NULL, "no other program took a port that the daemons take by default");
}
