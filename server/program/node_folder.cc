#include "server/program/node_folder.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace server {
namespace {

namespace fs = std::filesystem;

// A link that names itself must end somewhere.
constexpr int kLinksMax = 16;

bool IsNodeFolder(const fs::path& root) {
  std::error_code error;
  return fs::is_regular_file(root / "etc" / "vm.args", error);
}

}  // namespace

std::string NodeFolder::Path(std::string_view path) const {
  return path.starts_with('/') ? std::string(path) : root + '/' + std::string(path);
}

std::string NodeFolder::Status() const {
  const char* path = std::getenv("EJABBERD_STATUS_PATH");
  return path != nullptr && *path != '\0' ? Path(path) : Path("log/status");
}

std::expected<NodeFolder, std::string> FindNodeFolder(const std::string& program_path) {
  std::error_code error;
  const auto found = [&](const fs::path& root) {
    return NodeFolder{fs::absolute(root, error).lexically_normal().string()};
  };
  if (const char* named = std::getenv("MONGOOSEIM_DIR"); named != nullptr && *named != '\0') {
    if (IsNodeFolder(named)) return found(named);
    return std::unexpected(std::string(named) +
                           " (MONGOOSEIM_DIR of the environment) is no folder of a node: it has no "
                           "etc/vm.args; make one with `mongooseim init " +
                           named + "`");
  }
  fs::path program = fs::absolute(program_path, error);
  for (int i = 0; i < kLinksMax; ++i) {
    const fs::path root = program.parent_path().parent_path();
    if (IsNodeFolder(root)) return found(root);
    const fs::path target = fs::read_symlink(program, error);
    if (error) break;
    program = target.is_absolute() ? target : program.parent_path() / target;
  }
  const fs::path here = fs::current_path(error);
  if (IsNodeFolder(here)) return found(here);
  return std::unexpected(
      "no node is here: " + here.string() +
      " has no etc/vm.args; make a folder with `mongooseim init DIR` and run DIR/bin/mongooseim, "
      "or go there first, or set MONGOOSEIM_DIR");
}

std::string SiblingProgram(const std::string& program_path, std::string_view name) {
  std::error_code error;
  const fs::path real = fs::canonical(program_path, error);
  return (error ? fs::path(program_path) : real).parent_path() / name;
}

}  // namespace server
