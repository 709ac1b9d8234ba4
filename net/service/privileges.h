// Giving up root: after all that needs it has been opened, the process becomes its own user and
// keeps at most the right to bind low ports, for reloads.
#pragma once

#include <expected>
#include <string>

namespace net {

// Becomes `user` (and `group`, or the user's own). Without effect when the process is that user
// already, or `user` is empty. The error names the key's remedy. Call it while only this thread may
// open sockets afterwards: the kept capability is this thread's.
std::expected<void, std::string> DropPrivileges(const std::string& user, const std::string& group);

// Lets the user own a file that root has made (the control socket), before root is given up.
// Without effect when the user is unknown or we are not root: DropPrivileges says so.
void GiveFile(const std::string& path, const std::string& user);

}  // namespace net
