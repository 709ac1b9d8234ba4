#include "net/service/privileges.h"

#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "net/io/errors.h"

namespace net {
namespace {

bool KeepOnlyBindService() {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[2] = {};
  data[0].permitted = data[0].effective = 1U << CAP_NET_BIND_SERVICE;
  return syscall(SYS_capset, &header, data) == 0;
}

}  // namespace

void GiveFile(const std::string& path, const std::string& user) {
  const passwd* entry = getpwnam(user.c_str());
  if (entry != nullptr) static_cast<void>(!chown(path.c_str(), entry->pw_uid, entry->pw_gid));
}

std::expected<void, std::string> DropPrivileges(const std::string& user, const std::string& group) {
  if (user.empty()) return {};
  const passwd* entry = getpwnam(user.c_str());
  if (entry == nullptr) {
    return std::unexpected("there is no user '" + user + "'; create it (useradd --system " + user +
                           ") or change process.user");
  }
  const uid_t uid = entry->pw_uid;
  gid_t gid = entry->pw_gid;
  if (!group.empty()) {
    const ::group* found = getgrnam(group.c_str());
    if (found == nullptr) return std::unexpected("there is no group '" + group + "'");
    gid = found->gr_gid;
  }
  if (geteuid() == uid) return {};
  if (geteuid() != 0) {
    return std::unexpected("only root can become '" + user +
                           "'; start as root or as that user, or leave process.user empty");
  }
  prctl(PR_SET_KEEPCAPS, 1);
  if (initgroups(user.c_str(), gid) != 0) return std::unexpected(CallFailed("initgroups"));
  if (setgid(gid) != 0) return std::unexpected(CallFailed("setgid"));
  if (setuid(uid) != 0) return std::unexpected(CallFailed("setuid"));
  prctl(PR_SET_KEEPCAPS, 0);
  if (uid != 0 && !KeepOnlyBindService()) return std::unexpected(CallFailed("capset"));
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  return {};
}

}  // namespace net
