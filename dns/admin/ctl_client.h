// `mongoosedns ctl …`: asks a running server and prints for people or, with --json, for programs.
#pragma once

#include <cstdint>
#include <string>

namespace dns {

// Documented exit statuses of all commands.
constexpr int kExitDone = 0;
constexpr int kExitRefused = 1;   // the server says no, or the file has mistakes
constexpr int kExitUsage = 2;     // wrong command line
constexpr int kExitNoServer = 3;  // nobody answers on the socket

struct CtlRequest {
  std::string socket = "/run/mongoosedns/ctl.sock";
  bool json = false;
  std::string command;
  std::string name;
  std::string if_down;
  std::string pool;
  std::string balancer;
  std::string token;
  std::string binary;
  uint32_t seconds = 600;
  uint32_t rounds = 0;  // of `top`; 0: until interrupted
};

int RunCtl(const CtlRequest& request);

}  // namespace dns
