#include "lb/admin/ctl_server.h"

#include <utility>

#include "lb/admin/ctl_orders.h"

namespace lb {

CtlServer::CtlServer(net::EventLoop& loop, Control& control, net::UniqueFd listener, CtlHooks hooks,
                     CtlServerOptions options)
    : loop_(loop),
      control_(control),
      hooks_(std::move(hooks)),
      options_(options),
      server_(
          loop, std::move(listener), CtlCommands(),
          [this](const net::CtlValues& values, std::string_view line,
                 std::shared_ptr<net::CtlServer::Answer> answer) {
            OnRequest(values, line, answer);
          },
          options.server) {}

void CtlServer::OnRequest(const net::CtlValues& values, std::string_view line,
                          const std::shared_ptr<net::CtlServer::Answer>& answer) {
  const CtlRequest request = ReadCtlRequest(values);
  const auto reply = RunCtlRequest(control_, hooks_, request,
                                   [answer](const CtlReply& late) { answer->Finish(late); });
  if (!reply) return;
  if (reply->exit == CtlExit::kDone && hooks_.carried_out) hooks_.carried_out(line);
  if (reply->exit != CtlExit::kDone || !request.wait) return answer->Finish(*reply);
  answer->Log(*reply);
  Wait(request, answer);
}

void CtlServer::Wait(const CtlRequest& request,
                     const std::shared_ptr<net::CtlServer::Answer>& answer) {
  const auto place = waits_.emplace(waits_.end());
  *place = std::make_unique<CtlDrainWait>(loop_, control_, request, answer, options_.wait,
                                          [this, place] { waits_.erase(place); });
}

}  // namespace lb
