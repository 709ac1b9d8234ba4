// A new program takes over from a running one without a connect refused: the old process starts the
// new one, hands it its listening sockets (SCM_RIGHTS) and what it knows, and goes on until the new
// one says that it serves. Nothing here blocks the old process's loop.
//
// Over a socket pair, descriptor kInheritFd of the new process:
//   old → new  a line of JSON {"v":1,"sockets":[names],"state":TEXT}, then the descriptors,
//              kFdsPerMessage at a time, in the order of the names
//   new → old  "ready", or {"failed":WHY}; an end without either is a failure too
//   old → new  "main": the service manager has been told of the new main process
// and from then on the lines that the two agree on (line_channel.h), until one of them ends. An old
// process that does not know "main" closes instead.
//
// A new process that fails, says nothing in time, or ends, is told to end (SIGTERM), given a grace,
// and killed; the answer does not wait for that.
#pragma once

#include <sys/types.h>

#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/io/event_loop.h"
#include "net/io/socket.h"
#include "net/service/fd_watch.h"
#include "net/service/line_channel.h"

namespace net {

inline constexpr int kInheritFd = 3;
inline constexpr size_t kInheritedSocketsMax = 16'384;

// What an old process leaves to a new one.
struct Inheritance {
  struct Socket {
    std::string name;  // what the two agree on: "127.0.0.1:5222", "@ctl"
    UniqueFd fd;
  };
  std::vector<Socket> sockets;
  std::string state;
};

// What to start: the path as operators name it, under which a package's update stands; never the
// file that runs, which may be deleted by then.
struct SuccessorProgram {
  std::string path;
  std::string name;                    // argv[0], as ours
  std::vector<std::string> arguments;  // "--inherit 3" is added behind
};

// The path of this program, from its argv[0]: as given where it has a slash, else by PATH. Call it
// at the start, before the working directory or the file changes.
std::string ProgramPath(const char* argv0);

struct HandOverOptions {
  Duration ready_within = std::chrono::seconds(60);
  Duration grace = std::chrono::seconds(5);  // between SIGTERM and SIGKILL of one that failed
};

// The old process's side. Loop's thread only; the loop outlives it.
class HandOver {
 public:
  struct Successor {
    pid_t pid = 0;
    // For the lines that follow; no callback is set. Send "main" first.
    UniqueFd channel;
  };
  // Called once, never from the constructor. The error is for the operator: the new process's own
  // words where it said any.
  using Done = std::move_only_function<void(std::expected<Successor, std::string>)>;

  HandOver(EventLoop& loop, const SuccessorProgram& program, Inheritance inheritance, Done done,
           HandOverOptions options = {});
  // Of one whose process failed and has not ended yet: kills it.
  ~HandOver();
  HandOver(const HandOver&) = delete;
  HandOver& operator=(const HandOver&) = delete;

  // No process of ours is left that should not be: another one may be begun.
  bool ended() const;

 private:
  class Attempt;
  std::shared_ptr<Attempt> attempt_;
};

// The new process's side. TakeOver blocks, at the start, for as long as the old one takes to send;
// one that stops in the middle is an error after half a minute.
std::expected<Inheritance, std::string> TakeOver(int fd);
void TellReady(int fd);
void TellFailed(int fd, std::string_view why);

}  // namespace net
