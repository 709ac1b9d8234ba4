#include "lb/admin/ctl_server.h"

#include <utility>

#include "lb/admin/ctl_orders.h"
#include "net/base/text.h"

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
  const auto reply =
      RunCtlRequest(control_, hooks_, request,
                    [this, gone = std::weak_ptr(alive_), request, answer](const CtlReply& late) {
                      if (gone.expired()) return answer->Finish(late);
                      OnReply(request, late, answer);
                    });
  // At once, though a node that is asked answers later: an order that follows must not overtake it.
  if (hooks_.carried_out) {
    for (const std::string& told : LinesForward(request, line, reply)) hooks_.carried_out(told);
  }
  if (reply) OnReply(request, *reply, answer);
}

void CtlServer::OnReply(const CtlRequest& request, const CtlReply& reply,
                        const std::shared_ptr<net::CtlServer::Answer>& answer) {
  if (reply.exit != CtlExit::kDone || request.dry_run || !request.wait) {
    return answer->Finish(reply);
  }
  answer->Log(reply);
  if (reply.object != CtlReply{}.object) {  // what the node answered is worth a line of its own
    std::string begun = "{\"message\":";
    net::AppendJsonString(begun, reply.message);
    answer->Progress(begun + "}");
  }
  Wait(request, answer);
}

void CtlServer::Wait(const CtlRequest& request,
                     const std::shared_ptr<net::CtlServer::Answer>& answer) {
  const auto place = waits_.emplace(waits_.end());
  *place = std::make_unique<CtlDrainWait>(loop_, control_, request, answer, options_.wait,
                                          [this, place] { waits_.erase(place); });
}

}  // namespace lb
