// `drain --wait`: looks at a node that is being drained, tells who asked how it goes, and in the
// end what became of its connections. Who asked may leave; the drain goes on all the same.
//
// Control thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "lb/admin/ctl_commands.h"
#include "lb/control/control.h"
#include "net/ctl/ctl_server.h"
#include "net/io/event_loop.h"
#include "net/service/drain_wait.h"

namespace lb {

struct CtlDrainWaitOptions {
  net::Duration look = std::chrono::milliseconds(100);  // at the node
  net::Duration report = std::chrono::seconds(1);
  // After the deadline, for the last connections to close.
  net::Duration grace = std::chrono::seconds(2);
};

class CtlDrainWait {
 public:
  // `ended` is called once, last, and may destroy this; not from within the constructor.
  CtlDrainWait(net::EventLoop& loop, Control& control, const CtlRequest& request,
               std::shared_ptr<net::CtlServer::Answer> answer, const CtlDrainWaitOptions& options,
               std::function<void()> ended);
  ~CtlDrainWait() { loop_.CancelTimer(timer_); }
  CtlDrainWait(const CtlDrainWait&) = delete;
  CtlDrainWait& operator=(const CtlDrainWait&) = delete;

 private:
  void Leave();
  void LookAfter(net::Duration delay);
  void Look();
  void End(CtlReply reply, const net::DrainWaitStep& step, const DrainProgress& drain);

  net::EventLoop& loop_;
  Control& control_;
  const std::string node_;
  const std::shared_ptr<net::CtlServer::Answer> answer_;
  const CtlDrainWaitOptions options_;
  std::function<void()> ended_;
  net::DrainWait course_;
  net::Time reported_{};
  net::EventLoop::TimerId timer_{};
};

}  // namespace lb
