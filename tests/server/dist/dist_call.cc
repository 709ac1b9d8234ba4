// A call to a node as mongooseimctl makes it, for the end-to-end tests:
//   dist_call [--ticktime SECONDS] [--again] NODE COOKIE EPMD_PORT MODULE FUNCTION [atom |
//   integer]...
// Says the result or the error, and how long connecting and the call took. --again: at a line of
// its input it says whether the link is still there.
#include <charconv>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "server/dist/rpc_client.h"

namespace {

server::Term TermOf(const std::string& word) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
  const bool whole = error == std::errc() && end == word.data() + word.size();
  return whole ? server::Term::Integer(number) : server::Term::Atom(word);
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  server::RpcClient::Options options;
  bool again = false;
  while (!words.empty() && words.front().starts_with("--")) {
    if (words.front() == "--again") {
      again = true;
    } else {
      words.erase(words.begin());
      options.net_ticktime = std::chrono::seconds(std::stoi(words.front()));
    }
    words.erase(words.begin());
  }
  if (words.size() < 5) return 2;
  options.node = words[0];
  options.cookie = words[1];
  options.epmd_port = static_cast<uint16_t>(std::stoi(words[2]));
  const auto begin = std::chrono::steady_clock::now();
  auto client = server::RpcClient::Connect(options);
  if (!client) {
    std::cout << "error " << static_cast<int>(client.error().kind) << ' ' << client.error().what
              << std::endl;
    return 1;
  }
  std::vector<server::Term> args;
  for (size_t i = 5; i < words.size(); ++i) args.push_back(TermOf(words[i]));
  auto result = (*client)->Call(words[3], words[4], args, std::chrono::seconds(20));
  const auto took = std::chrono::steady_clock::now() - begin;
  std::cout << (result ? "result " + result->ToText() : "failed " + result.error().ToText())
            << std::endl;
  std::cout << "took_us " << std::chrono::duration_cast<std::chrono::microseconds>(took).count()
            << std::endl;
  std::string line;
  while (again && std::getline(std::cin, line)) {
    std::cout << ((*client)->Alive() ? "alive" : "lost") << std::endl;
  }
  return 0;
}
