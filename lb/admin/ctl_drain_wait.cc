#include "lb/admin/ctl_drain_wait.h"

#include <algorithm>
#include <utility>

namespace lb {
namespace {

std::string ProgressText(const net::DrainWaitStep& step) {
  std::string text = "{\"remaining\":" + std::to_string(step.remaining) + ",\"eta_s\":";
  text += step.eta_s ? std::to_string(static_cast<uint64_t>(*step.eta_s + 0.5)) : "null";
  return text + "}";
}

net::Duration Deadline(const CtlRequest& request) {
  return std::chrono::duration_cast<net::Duration>(
      std::chrono::duration<double>(request.deadline_s.value_or(0)));
}

}  // namespace

CtlDrainWait::CtlDrainWait(net::EventLoop& loop, Control& control, const CtlRequest& request,
                           std::shared_ptr<net::CtlServer::Answer> answer,
                           const CtlDrainWaitOptions& options, std::function<void()> ended)
    : loop_(loop),
      control_(control),
      node_(request.node),
      answer_(std::move(answer)),
      options_(options),
      ended_(std::move(ended)),
      course_(control.DrainOf(request.node).value_or(DrainProgress{}).remaining,
              request.rate.value_or(0), Deadline(request), options.grace, loop.now()) {
  LookAfter({});
}

void CtlDrainWait::LookAfter(net::Duration delay) {
  timer_ = loop_.After(delay, [this] { Look(); });
}

void CtlDrainWait::Look() {
  const net::Time now = loop_.now();
  const auto drain = control_.DrainOf(node_);
  const net::DrainWaitStep step = course_.Look(drain.value_or(DrainProgress{}).remaining, now);
  if (!drain) {
    return End({.exit = CtlExit::kRefused, .message = node_ + " is no longer in the configuration"},
               step, {});
  }
  if (!drain->drained) {
    return End({.exit = CtlExit::kRefused,
                .message = "the drain of " + node_ +
                           " was ended by an order: " + std::to_string(drain->ended) +
                           " connections were ended, " + std::to_string(step.remaining) + " stay"},
               step, *drain);
  }
  if (step.state == net::DrainWaitStep::State::kEmpty) {
    return End({.message = node_ + " has no connections left"}, step, *drain);
  }
  if (step.state == net::DrainWaitStep::State::kDeadline) {
    return End({.exit = CtlExit::kDeadline,
                .message = "the deadline came with " + std::to_string(step.remaining) +
                           (step.remaining == 1 ? " connection" : " connections") + " left on " +
                           node_ + "; they were told to end, and do when their last bytes are out"},
               step, *drain);
  }
  if (now - reported_ >= options_.report) {
    reported_ = now;
    if (!answer_->Progress(ProgressText(step))) return Leave();  // the drain goes on
  }
  LookAfter(options_.look);
}

// What became of those that were there when the wait began.
void CtlDrainWait::End(CtlReply reply, const net::DrainWaitStep& step, const DrainProgress& drain) {
  const uint64_t begun = course_.connections();
  const uint64_t gone = begun - std::min(begun, step.remaining);
  const uint64_t ended = std::min(drain.ended, gone);
  if (reply.exit == CtlExit::kDone && begun > 0) {
    reply.message += ": " + std::to_string(ended) + " were ended, " + std::to_string(gone - ended) +
                     " left by themselves";
  }
  reply.object = "{\"remaining\":" + std::to_string(step.remaining) +
                 ",\"ended\":" + std::to_string(ended) +
                 ",\"left\":" + std::to_string(gone - ended) + "}";
  answer_->Finish(reply);
  Leave();
}

void CtlDrainWait::Leave() {
  const auto ended = std::move(ended_);  // outlives this
  ended();
}

}  // namespace lb
