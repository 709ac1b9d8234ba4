// mongooseimctl: both generations of MongooseIM's commands (server/ctl) over the node of this
// folder.
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

#include "net/service/hand_over.h"
#include "net/tls/wiping_allocator.h"
#include "server/ctl/ctl.h"
#include "server/program/node_setup.h"
#include "server/program/remote_node.h"
#include "server/program/store_commands.h"

namespace server {
namespace {

constexpr int kFailed = 1;

class StandardTerminal final : public Terminal {
 public:
  std::optional<std::string> ReadLine() override {
    std::string line;
    if (!std::getline(std::cin, line)) return std::nullopt;
    return line;
  }
  void Print(std::string_view line) override { std::cout << line << std::endl; }
};

int Main(int argc, char** argv) {
  const std::vector<std::string> args(argv + std::min(argc, 1), argv + argc);
  const std::string program = net::ProgramPath(argv[0]);
  auto folder = FindNodeFolder(program);
  auto setup =
      folder ? ReadNodeSetup(*folder)
             : std::expected<NodeSetup, SetupErrors>(std::unexpected(SetupErrors{folder.error()}));
  if (!setup) {
    for (const std::string& error : setup.error()) {
      std::fprintf(stderr, "mongooseimctl: %s\n", error.c_str());
    }
    return kFailed;
  }
  if (args.size() == 1 && args[0] == "print_install_dir") {
    std::printf("%s\n", setup->folder.root.c_str());
    return 0;
  }
  StandardTerminal terminal;
  if (const auto code = RunStoreCommand(args, *setup, terminal)) return *code;
  RemoteNode node(std::move(*setup), program);
  const int code = RunCtl(args, node, terminal);
  if (code != 0 && !node.trouble().empty()) {
    std::fprintf(stderr, "mongooseimctl: %s\n", node.trouble().c_str());
  }
  return code;
}

}  // namespace
}  // namespace server

int main(int argc, char** argv) {
  net::InstallWipingAllocator();
  return server::Main(argc, argv);
}
