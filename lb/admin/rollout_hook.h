// The hook of a rolling restart: a shell's command that restarts one node, run by `mongooselb ctl`
// as the user who runs it. The balancer itself executes nothing.
//
// It has a process group of its own (Ctrl-C at the terminal does not tear a restart), nothing to
// read, and writes where errors go: answers on stdout stay whole.
//
// One thread; blocks in Wait() only. What still runs at its destruction goes on.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/base/clock.h"
#include "net/io/socket.h"

namespace lb {

class RolloutHook {
 public:
  // The environment is ours, with `more` over it.
  static std::expected<RolloutHook, std::string> Start(
      const std::string& command, const std::vector<std::pair<std::string, std::string>>& more);

  // Until it has ended, or for so long (less when a signal comes). How it ended: "" well, else in
  // words; nothing while it runs.
  std::optional<std::string> Wait(net::Duration for_at_most);
  // To it and all that it started.
  void Signal(int signal) const;
  int pid() const { return pid_; }

 private:
  RolloutHook(int pid, net::UniqueFd pidfd) : pid_(pid), pidfd_(std::move(pidfd)) {}

  int pid_;
  net::UniqueFd pidfd_;
};

}  // namespace lb
