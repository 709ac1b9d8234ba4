#include "lb/admin/ctl_server.h"

#include <sys/socket.h>

#include <algorithm>
#include <list>
#include <optional>

#include "lb/admin/ctl_orders.h"
#include "net/base/text.h"
#include "net/io/stream.h"
#include "net/report/log.h"
#include "net/service/drain_wait.h"

namespace lb {
namespace {

constexpr net::Duration kSweepEvery = std::chrono::seconds(1);
// Requests may be sent ahead; above this the peer is not reading its answers.
constexpr size_t kBacklogMax = 2 * kCtlLineMax;

struct Peer {
  bool known = false;
  int64_t pid = 0;
  int64_t uid = 0;
};

Peer PeerOf(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return {};
  return {true, credentials.pid, static_cast<int64_t>(credentials.uid)};
}

std::string ProgressLine(const net::DrainWaitStep& step) {
  std::string line = "{\"remaining\":" + std::to_string(step.remaining) + ",\"eta_s\":";
  line += step.eta_s ? std::to_string(static_cast<uint64_t>(*step.eta_s + 0.5)) : "null";
  return line + "}\n";
}

}  // namespace

struct CtlServer::Core : std::enable_shared_from_this<Core> {
  Core(net::EventLoop& the_loop, Control& the_control, CtlHooks the_hooks,
       const CtlServerOptions& the_options)
      : loop(the_loop), control(the_control), hooks(std::move(the_hooks)), options(the_options) {}

  void Begin(net::Slot slot, Peer peer);
  void Remove(const Session* session);
  void ArmSweep();

  net::EventLoop& loop;
  Control& control;
  const CtlHooks hooks;
  const CtlServerOptions options;
  std::list<std::shared_ptr<Session>> sessions;
  net::EventLoop::TimerId sweep{};
  bool sweeping = false;
  std::unique_ptr<net::Acceptor> acceptor;
};

// Asks the kernel who is at the other end: credentials need a plain descriptor, for a moment.
class CtlServer::PeerLookup final : private net::Target {
 public:
  static void Start(const std::shared_ptr<Core>& core, net::Slot slot) {
    if (!core->loop.ring().features().fd_install) return core->Begin(slot, {});
    auto lookup = std::make_shared<PeerLookup>(core, slot);
    lookup->self_ = lookup;
    core->loop.Hold(net::EventLoop::Work::kLookup);
    core->loop.ring().InstallFd(slot, {lookup.get(), 0});
  }

  PeerLookup(const std::shared_ptr<Core>& core, net::Slot slot)
      : loop_(core->loop), core_(core), slot_(slot) {}

 private:
  void OnCompletion(unsigned, net::Completion completion) override {
    const std::shared_ptr<PeerLookup> keep = std::move(self_);
    loop_.Release(net::EventLoop::Work::kLookup);
    const net::UniqueFd fd(completion.result);
    const Peer peer = fd ? PeerOf(fd.get()) : Peer();
    if (auto core = core_.lock()) {
      core->Begin(slot_, peer);
    } else {
      loop_.ring().Close(slot_);
    }
  }

  net::EventLoop& loop_;
  std::weak_ptr<Core> core_;
  net::Slot slot_;
  std::shared_ptr<PeerLookup> self_;
};

class CtlServer::Session final : public net::StreamHandler,
                                 public std::enable_shared_from_this<Session> {
 public:
  Session(Core& core, Peer peer) : core_(core), peer_(peer) {}
  ~Session() {
    StopWaiting();
    stream_->Abort();
  }

  void Start(net::Slot slot) {
    stream_ = net::Stream::Accepted(core_.loop, slot, this);
    Touch();
  }

  void TurnAway() {
    Send({.exit = CtlExit::kRefused,
          .message = std::to_string(core_.options.sessions_max) +
                     " control sessions are open, which is the most; close one"});
    stream_->CloseWhenSent();
  }

  bool Late(net::Time now) const { return !wait_ && !pending_ && now >= deadline_; }

  void OnData(std::span<const uint8_t> data) override {
    auto self = shared_from_this();
    Touch();
    in_.append(reinterpret_cast<const char*>(data.data()), data.size());
    Pump();
  }

  void OnEnd() override {
    auto self = shared_from_this();
    ended_ = true;
    if (!busy()) stream_->CloseWhenSent();
  }

  void OnDrained() override {
    auto self = shared_from_this();
    answering_ = false;
    Touch();
    Pump();
    if (ended_ && !busy()) stream_->CloseWhenSent();
  }

  void OnClosed(std::string_view) override { core_.Remove(this); }

 private:
  struct Wait {
    std::string node;
    net::DrainWait course;
    net::Time reported{};
    net::EventLoop::TimerId timer{};
  };

  bool busy() const { return answering_ || pending_ || wait_.has_value(); }
  void Touch() { deadline_ = core_.loop.now() + core_.options.idle_timeout; }

  // Carries out the requests that are there, one at a time.
  void Pump() {
    while (!busy() && stream_->open()) {
      const size_t end = in_.find('\n');
      if (end == std::string::npos) break;
      const std::string line = in_.substr(0, end);
      in_.erase(0, end + 1);
      if (line.find_first_not_of(" \t\r") != std::string::npos) Run(line);
    }
    if (in_.size() > (busy() ? kBacklogMax : kCtlLineMax) && stream_->open()) {
      in_.clear();
      Send({.exit = CtlExit::kUsage,
            .message = "a request has at most " + std::to_string(kCtlLineMax) + " bytes"});
      stream_->CloseWhenSent();
    }
  }

  void Run(const std::string& line) {
    auto request = ParseCtlRequest(line);
    if (!request) return Send({.exit = CtlExit::kUsage, .message = request.error()});
    pending_ = true;  // a late answer may come from within the call
    auto reply = RunCtlRequest(core_.control, core_.hooks, *request,
                               [weak = weak_from_this(), request = *request](CtlReply late) {
                                 if (auto self = weak.lock()) self->OnLate(request, late);
                               });
    if (!reply) return;
    pending_ = false;
    LogRequest(*request, *reply);
    if (reply->exit == CtlExit::kDone && core_.hooks.carried_out) core_.hooks.carried_out(line);
    if (reply->exit == CtlExit::kDone && request->wait) return BeginWait(*request);
    Send(*reply);
  }

  // The answer to an order that took its time.
  void OnLate(const CtlRequest& request, const CtlReply& reply) {
    pending_ = false;
    LogRequest(request, reply);
    if (stream_->open()) Send(reply);
  }

  void LogRequest(const CtlRequest& request, const CtlReply& reply) const {
    const auto level = request.command->order ? net::LogLevel::kInfo : net::LogLevel::kDebug;
    const std::string text = CtlRequestText(request);
    const int exit = static_cast<int>(reply.exit);
    if (peer_.known) {
      net::Log(level, "ctl", "order",
               {{"order", text},
                {"exit", exit},
                {"answer", reply.message},
                {"uid", peer_.uid},
                {"pid", peer_.pid}});
    } else {
      net::Log(level, "ctl", "order", {{"order", text}, {"exit", exit}, {"answer", reply.message}});
    }
  }

  void Send(const CtlReply& reply) {
    answering_ = true;
    Touch();
    stream_->Write(CtlReplyLine(reply));
  }

  void BeginWait(const CtlRequest& request) {
    const net::Time now = core_.loop.now();
    const auto deadline = std::chrono::duration_cast<net::Duration>(
        std::chrono::duration<double>(request.deadline_s.value_or(0)));
    wait_.emplace(
        Wait{request.node,
             net::DrainWait(core_.control.DrainOf(request.node).value_or(DrainProgress{}).remaining,
                            request.rate.value_or(0), deadline, core_.options.wait_grace, now)});
    LookAtWait();
  }

  void StopWaiting() {
    if (!wait_) return;
    core_.loop.CancelTimer(wait_->timer);
    wait_.reset();
  }

  void LookAtWait() {
    auto self = shared_from_this();
    const net::Time now = core_.loop.now();
    const auto drain = core_.control.DrainOf(wait_->node);
    const net::DrainWaitStep step =
        wait_->course.Look(drain.value_or(DrainProgress{}).remaining, now);
    if (!drain) {
      return EndWait({.exit = CtlExit::kRefused,
                      .message = wait_->node + " is no longer in the configuration"},
                     step, {});
    }
    if (!drain->drained) {
      return EndWait({.exit = CtlExit::kRefused,
                      .message = "the drain of " + wait_->node + " was ended by an order: " +
                                 std::to_string(drain->ended) + " connections were ended, " +
                                 std::to_string(step.remaining) + " stay"},
                     step, *drain);
    }
    if (step.state == net::DrainWaitStep::State::kEmpty) {
      return EndWait({.message = wait_->node + " has no connections left"}, step, *drain);
    }
    if (step.state == net::DrainWaitStep::State::kDeadline) {
      return EndWait({.exit = CtlExit::kDeadline,
                      .message = "the deadline came with " + std::to_string(step.remaining) +
                                 (step.remaining == 1 ? " connection" : " connections") +
                                 " left on " + wait_->node +
                                 "; they were told to end, and do when their last bytes are out"},
                     step, *drain);
    }
    if (now - wait_->reported >= core_.options.wait_report) {
      wait_->reported = now;
      if (!stream_->Write(ProgressLine(step))) return;  // nobody listens; the drain goes on
    }
    wait_->timer = core_.loop.After(core_.options.wait_look, [this] { LookAtWait(); });
  }

  // What became of those that were there when the wait began.
  void EndWait(CtlReply reply, const net::DrainWaitStep& step, const DrainProgress& drain) {
    const uint64_t begun = wait_->course.connections();
    const uint64_t gone = begun - std::min(begun, step.remaining);
    const uint64_t ended = std::min(drain.ended, gone);
    if (reply.exit == CtlExit::kDone && begun > 0) {
      reply.message += ": " + std::to_string(ended) + " were ended, " +
                       std::to_string(gone - ended) + " left by themselves";
    }
    StopWaiting();
    reply.object = "{\"remaining\":" + std::to_string(step.remaining) +
                   ",\"ended\":" + std::to_string(ended) +
                   ",\"left\":" + std::to_string(gone - ended) + "}";
    Send(reply);
  }

  Core& core_;
  const Peer peer_;
  std::shared_ptr<net::Stream> stream_;
  std::string in_;
  net::Time deadline_{};
  bool answering_ = false;
  bool pending_ = false;  // an order that takes its time is under way
  bool ended_ = false;
  std::optional<Wait> wait_;
};

void CtlServer::Core::Begin(net::Slot slot, Peer peer) {
  const bool full = sessions.size() >= options.sessions_max;
  auto session = std::make_shared<Session>(*this, peer);
  session->Start(slot);
  // One that is turned away counts for the moment that its answer takes.
  if (sessions.size() < 2 * options.sessions_max) sessions.push_back(session);
  if (full) session->TurnAway();
  ArmSweep();
}

void CtlServer::Core::Remove(const Session* session) {
  std::erase_if(sessions, [&](const auto& one) { return one.get() == session; });
}

void CtlServer::Core::ArmSweep() {
  if (sweeping || sessions.empty()) return;
  sweeping = true;
  sweep = loop.After(kSweepEvery, [this] {
    sweeping = false;
    std::erase_if(sessions, [&](const auto& one) { return one->Late(loop.now()); });
    ArmSweep();
  });
}

CtlServer::CtlServer(net::EventLoop& loop, Control& control, net::UniqueFd listener, CtlHooks hooks,
                     CtlServerOptions options)
    : core_(std::make_shared<Core>(loop, control, std::move(hooks), options)) {
  core_->acceptor = std::make_unique<net::Acceptor>(
      loop, std::move(listener),
      [core = core_.get()](net::Slot slot) { PeerLookup::Start(core->shared_from_this(), slot); });
}

CtlServer::~CtlServer() {
  core_->acceptor.reset();
  if (core_->sweeping) core_->loop.CancelTimer(core_->sweep);
  core_->sessions.clear();
}

void CtlServer::StopAccepting() { core_->acceptor.reset(); }

size_t CtlServer::sessions() const { return core_->sessions.size(); }

}  // namespace lb
