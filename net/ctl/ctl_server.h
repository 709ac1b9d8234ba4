// The server's end of a control socket: operators' orders and questions over a Unix socket, one
// JSON object a line (ctl_table.h). What an order does is the program's; this reads requests by the
// program's table, answers those that fit no command, and logs each order with its answer and with
// the user and process that gave it, where the kernel tells them. Who may connect is a matter of
// the socket's file mode.
//
// Bounded: sessions, bytes of a request, the time that a session may rest or leave an answer
// unread. A session's requests are carried out one after the other.
//
// Loop's thread only; never blocks.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "net/ctl/ctl_table.h"
#include "net/io/event_loop.h"
#include "net/io/socket.h"

namespace net {

// Who gave an order.
struct CtlPeer {
  bool known = false;
  int64_t pid = 0;
  int64_t uid = 0;
};

struct CtlServerOptions {
  uint32_t sessions_max = 32;
  Duration idle_timeout = std::chrono::minutes(5);
};

class CtlServer {
  class Session;

 public:
  // The answer to one request. It may outlive the session and the server; nobody hears it then, but
  // the log does. The first Finish() counts.
  class Answer {
   public:
    Answer(std::weak_ptr<Session> session, CtlPeer peer, std::string text, bool order)
        : session_(std::move(session)), peer_(peer), text_(std::move(text)), order_(order) {}

    // A line before the last, a JSON object without the line's end; false: nobody listens any more.
    bool Progress(std::string_view object);
    // The last line.
    void Finish(const CtlReply& reply);
    // Logs what became of the order now, where the last line comes much later.
    void Log(const CtlReply& reply);

   private:
    std::weak_ptr<Session> session_;
    CtlPeer peer_;
    std::string text_;
    bool order_;
    bool logged_ = false;
    bool finished_ = false;
  };

  // `line`: the request as it came. The answer may come from within the call, or later.
  using Handler = std::function<void(const CtlValues& request, std::string_view line,
                                     std::shared_ptr<Answer> answer)>;

  // `loop` and what `table` spans outlive it.
  CtlServer(EventLoop& loop, UniqueFd listener, std::span<const CtlCommand> table, Handler handler,
            CtlServerOptions options = {});
  ~CtlServer();  // answers that are on their way are lost: Stop() first
  CtlServer(const CtlServer&) = delete;
  CtlServer& operator=(const CtlServer&) = delete;

  size_t sessions() const;
  // Sessions go on; new ones are another process's.
  void StopAccepting();
  // Ends all sessions: those that wait for an answer get `why` as refusal, those whose answer is on
  // its way get it. sessions() tells how many are not done with that.
  void Stop(std::string_view why);

 private:
  class PeerLookup;
  struct Core;
  std::shared_ptr<Core> core_;
};

}  // namespace net
