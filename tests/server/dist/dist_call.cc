// A call to a node as mongooseimctl makes it, for the end-to-end tests:
//   dist_call NODE COOKIE EPMD_PORT MODULE FUNCTION [atom]...
// Says the result or the error, and how long connecting and the call took.
#include <cstdio>
#include <iostream>
#include <string>

#include "server/dist/rpc_client.h"

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  const auto begin = std::chrono::steady_clock::now();
  auto client = server::RpcClient::Connect(
      {.node = argv[1], .cookie = argv[2], .epmd_port = static_cast<uint16_t>(std::stoi(argv[3]))});
  if (!client) {
    std::cout << "error " << static_cast<int>(client.error().kind) << ' ' << client.error().what
              << std::endl;
    return 1;
  }
  std::vector<server::Term> args;
  for (int i = 6; i < argc; ++i) args.push_back(server::Term::Atom(argv[i]));
  auto result = (*client)->Call(argv[4], argv[5], args, std::chrono::seconds(5));
  const auto took = std::chrono::steady_clock::now() - begin;
  std::cout << (result ? "result " + result->ToText() : "failed " + result.error().ToText())
            << std::endl;
  std::cout << "took_us " << std::chrono::duration_cast<std::chrono::microseconds>(took).count()
            << std::endl;
  return 0;
}
