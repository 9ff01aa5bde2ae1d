// SPDX-License-Identifier: Apache-2.0
/* The kernel module: is it there, may it be used, does the kernel let it in, and what does it hold. All of it is optional. */
#include "doctor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/env.h"
#include "dev/dev.h"

#define DEVICE	  "/dev/mooncake"
#define EFI_SECURE "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

enum wanted { AUTO, REQUIRE, OFF };

static enum wanted wanted(void)
{
	struct env env;
	enum wanted what = AUTO;

	if (env_open(&env))
		return AUTO;
	if (!strcasecmp(env.kernel_module, "require"))
		what = REQUIRE;
	else if (!strcasecmp(env.kernel_module, "off"))
		what = OFF;
	env_close(&env);
	return what;
}

/* ---- will the kernel take it ---- */

static bool is_installed(const char *release)
{
	char path[256], line[1024];
	bool yes = false;
	FILE *f;

	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", release);
	f = fopen(path, "re");
	while (f && !yes && fgets(line, sizeof(line), f)) {
		line[strcspn(line, ":")] = 0;
		yes = strstr(line, "/mooncake.ko") || !strncmp(line, "mooncake.ko", 11);
	}
	if (f)
		fclose(f);
	return yes;
}

static bool secure_boot(void)
{
	uint8_t v[5] = { 0 };
	int fd = open(EFI_SECURE, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, v, sizeof(v));

	if (fd >= 0)
		close(fd);
	return n == sizeof(v) && v[4] == 1; /* four bytes of attributes first */
}

/* Does this kernel refuse modules that nobody signed? "" when it does not. */
static const char *signing_wanted(void)
{
	char text[128];

	first_line("/sys/module/module/parameters/sig_enforce", text, sizeof(text));
	if (text[0] == 'Y')
		return "the kernel takes signed modules only (module.sig_enforce)";
	first_line("/sys/kernel/security/lockdown", text, sizeof(text));
	if (strstr(text, "[integrity]") || strstr(text, "[confidentiality]"))
		return secure_boot() ? "Secure Boot locked the kernel down: it takes signed modules only" :
				       "the kernel is locked down: it takes signed modules only";
	return "";
}

static void check_signing(struct doctor *d, bool loaded)
{
	const char *why = signing_wanted();

	if (!*why)
		found(d, LEVEL_OK, "signing", NULL, "this kernel loads modules that are not signed%s",
		      secure_boot() ? ", though Secure Boot is on" : "");
	else if (loaded)
		found(d, LEVEL_OK, "signing", NULL, "%s, and this one is loaded", why);
	else
		found(d, LEVEL_NOTE, "signing",
		      "let DKMS sign it and enrol its key: mokutil --import /var/lib/dkms/mok.pub, reboot, confirm; or use signing keys "
		      "of your own (mok_signing_key in /etc/dkms/framework.conf)",
		      "%s: an unsigned mooncake.ko is refused (\"Key was rejected by service\")", why);
}

/* ---- the device node ---- */

static void check_node(struct doctor *d)
{
	const struct group *g;
	struct stat st;

	if (stat(DEVICE, &st))
		return;
	g = getgrgid(st.st_gid);
	if (st.st_mode & 0006)
		found(d, LEVEL_WARNING, "device node", "install udev/70-mooncake.rules, then udevadm trigger /dev/mooncake",
		      "mode %04o: every user may keep memory through it", st.st_mode & 07777);
	else if (!g || strcmp(g->gr_name, "mooncake") != 0 || (st.st_mode & 0060) != 0060)
		found(d, LEVEL_WARNING, "device node",
		      "systemd-sysusers, install udev/70-mooncake.rules, then udevadm trigger /dev/mooncake",
		      "group %s, mode %04o, not group mooncake and 0660: programs that are not root cannot use it",
		      g ? g->gr_name : "?", st.st_mode & 07777);
	else
		found(d, LEVEL_OK, "device node", NULL, "group mooncake, mode %04o", st.st_mode & 07777);
}

/* ---- what it holds ---- */

struct sums {
	unsigned nr, dirty, revoked;
	uint64_t resident, huge, pinned;
};

static struct sums sum_regions(int fd)
{
	struct mc_ioc_region_info i = { .size = sizeof(i), .flags = MC_INFO_NEXT, .fd = -1 };
	struct sums s = { 0 };

	while (!ioctl(fd, MC_IOC_REGION_INFO, &i)) {
		s.nr++;
		s.dirty += i.state & MC_STATE_DIRTY && !(i.state & MC_STATE_WRITER);
		s.revoked += !!(i.state & MC_STATE_REVOKED);
		s.resident += i.resident;
		s.huge += i.huge;
		s.pinned += i.pinned;
		i = (struct mc_ioc_region_info){ .size = sizeof(i), .flags = MC_INFO_NEXT, .fd = -1, .id = i.id };
	}
	return s;
}

static void check_regions(struct doctor *d)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);
	struct sums s;

	if (fd < 0)
		return;
	s = sum_regions(fd);
	close(fd);
	if (!s.nr)
		return;
	found(d, LEVEL_OK, "regions", NULL, "%u, %s resident, %s of it in huge pages, %s pinned", s.nr, human_bytes(s.resident).text,
	      human_percent(s.huge, s.resident).text, human_bytes(s.pinned).text);
	if (s.resident && s.huge < s.resident / 2)
		found(d, LEVEL_NOTE, "regions",
		      "start the node early after boot, before memory is in pieces; echo 1 > /proc/sys/vm/compact_memory helps then",
		      "most of their memory is in small pages");
	if (s.dirty)
		found(d, LEVEL_NOTE, "regions", "start the node again, which checks every header and serves them; or mooncakectl region rm",
		      "the owner of %u died and nobody serves them", s.dirty);
	if (s.revoked)
		found(d, LEVEL_NOTE, "regions", "mooncakectl region rm NAME", "%u were revoked and still have a name", s.revoked);
}

static void quota(struct doctor *d, const struct mc_ioc_query *q)
{
	if (q->quota_bytes == UINT64_MAX)
		return;
	found(d, LEVEL_NOTE, "quota", "raise max_region_bytes of the module, or give the node CAP_IPC_LOCK, for larger pools",
	      "user %u may keep %s, %s is in use", geteuid(), human_bytes(q->quota_bytes).text, human_bytes(q->quota_used).text);
}

/* ---- the check ---- */

static void absent(struct doctor *d, const struct module_status *s, enum level level)
{
	struct utsname u;
	char fix[256];

	uname(&u);
	if (s->err == -ENOENT && !is_installed(u.release)) {
		snprintf(fix, sizeof(fix), "make install-dkms && dkms install mooncake/%s, then modprobe mooncake", MC_VERSION);
		found(d, level, "module", fix,
		      "mooncake.ko is not installed for %s: pools are lost when their processes end", u.release);
	} else {
		found(d, level, "module", s->fix, "%s: pools are lost when their processes end", s->why);
	}
}

void check_module(struct doctor *d)
{
	struct module_status s;
	char version[64];
	bool loaded;

	module_status(NULL, &s);
	first_line("/sys/module/mooncake/version", version, sizeof(version));
	loaded = !access("/sys/module/mooncake", F_OK);
	if (!s.err)
		found(d, LEVEL_OK, "module", NULL, "mooncake%s%s, ABI %u.%u, features %#llx%s", version[0] ? " " : "", version,
		      s.q.abi_major, s.q.abi_minor, (unsigned long long)s.q.features[0],
		      wanted() == OFF ? "; MC_KERNEL_MODULE=off keeps programs from using it" : "");
	else
		absent(d, &s, wanted() == REQUIRE ? LEVEL_ERROR : s.err == -ENOENT ? LEVEL_NOTE : LEVEL_WARNING);
	check_signing(d, loaded);
	check_node(d);
	if (s.err)
		return;
	quota(d, &s.q);
	check_regions(d);
}
