#include "server/program/descriptors.h"

#include <pwd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>

namespace server {
namespace {

std::string ThisUser() {
  const passwd* entry = getpwuid(geteuid());
  return entry != nullptr ? entry->pw_name : "mongooseim";
}

}  // namespace

DescriptorLimit RaiseDescriptorLimit(uint32_t max_ports, const std::string& origin) {
  const uint64_t needed = max_ports + kDescriptorsReserved;
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return {.usable = max_ports};
  if (limit.rlim_cur < needed) {
    rlimit raised = limit;
    raised.rlim_cur = std::min<rlim_t>(needed, limit.rlim_max);
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  const uint64_t have = limit.rlim_cur;
  DescriptorLimit result{.usable = std::min<uint64_t>(max_ports, have > kDescriptorsReserved
                                                                     ? have - kDescriptorsReserved
                                                                     : 0)};
  if (have < needed) result.warning = DescriptorRemedy(have, max_ports, origin, ThisUser());
  return result;
}

std::string DescriptorRemedy(uint64_t limit, uint32_t max_ports, const std::string& origin,
                             const std::string& user) {
  const uint64_t wanted = std::max<uint64_t>(1'000'000, max_ports + kDescriptorsReserved);
  const std::string number = std::to_string(wanted);
  return "the limit of open files is " + std::to_string(limit) + " (ulimit -Hn), and " +
         std::to_string(max_ports) + " connections (" + origin +
         ") need more: emfile errors would follow. To increase it, add to "
         "/etc/security/limits.conf:\n    " +
         user + "   soft   nofile   " + number + "\n    " + user + "   hard   nofile   " + number +
         "\non Ubuntu all /etc/pam.d/common-session* files should include `session required "
         "pam_limits.so`; under systemd the unit's LimitNOFILE=" +
         number + " counts instead; or lower ERL_MAX_PORTS";
}

}  // namespace server
