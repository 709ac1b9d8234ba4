// `mongooseim init DIR`: a node's folder, with everything in it that the page speaks of.
#pragma once

#include <expected>
#include <string>
#include <vector>

namespace server {

struct InitOptions {
  std::string dir;
  std::string name = "mongooseim";  // with or without a host
  bool long_names = false;
  std::string cookie;  // "": a random one
  std::string http = "127.0.0.1:5280";
};

// Makes what is not there, and touches no file that is: a second init mends a folder. The paths
// that were made; the error names the path and the remedy.
std::expected<std::vector<std::string>, std::string> InitNodeFolder(
    const InitOptions& options, const std::string& program_path);

}  // namespace server
