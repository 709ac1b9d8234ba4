// Where a node lives: what MongooseIM's page calls REL_ROOT.
//
//   bin/mongooseim, bin/mongooseimctl   links to the programs
//   etc/vm.args, etc/vm.dist.args, etc/mongooseim.toml
//   data/   the member file and the lock: one node at a time
//   log/    the log, and `status`: starting, started, stopping or stopped
#pragma once

#include <expected>
#include <string>
#include <string_view>

namespace server {

struct NodeFolder {
  std::string root;  // absolute

  // Of a path in a configuration: relative ones are the folder's.
  std::string Path(std::string_view path) const;
  std::string VmArgs() const { return Path("etc/vm.args"); }
  std::string VmDistArgs() const { return Path("etc/vm.dist.args"); }
  std::string Toml() const { return Path("etc/mongooseim.toml"); }
  std::string Data() const { return Path("data"); }
  std::string MemberFile() const { return Path("data/cluster"); }
  std::string Lock() const { return Path("data/lock"); }
  std::string Status() const;  // EJABBERD_STATUS_PATH, or log/status
};

// Where vm.args is: MONGOOSEIM_DIR of the environment; the folder above the one that the program
// was called in, through links (DIR/bin/mongooseim); the working directory. The error says where it
// was looked for, and the remedy.
std::expected<NodeFolder, std::string> FindNodeFolder(const std::string& program_path);

// The program that stands beside `program_path`, links followed.
std::string SiblingProgram(const std::string& program_path, std::string_view name);

}  // namespace server
