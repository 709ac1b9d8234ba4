#include "net/ctl/ctl_server.h"

#include <sys/socket.h>

#include <list>
#include <utility>

#include "net/io/stream.h"
#include "net/report/log.h"

namespace net {
namespace {

constexpr Duration kSweepEvery = std::chrono::seconds(1);
// Requests may be sent ahead; above this the peer is not reading its answers.
constexpr size_t kBacklogMax = 2 * kCtlLineMax;

CtlPeer PeerOf(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return {};
  return {true, credentials.pid, static_cast<int64_t>(credentials.uid)};
}

void LogOrder(std::string_view text, bool order, const CtlReply& reply, const CtlPeer& peer) {
  const auto level = order ? LogLevel::kInfo : LogLevel::kDebug;
  const int exit = static_cast<int>(reply.exit);
  if (peer.known) {
    Log(level, "ctl", "order",
        {{"order", text},
         {"exit", exit},
         {"answer", reply.message},
         {"uid", peer.uid},
         {"pid", peer.pid}});
  } else {
    Log(level, "ctl", "order", {{"order", text}, {"exit", exit}, {"answer", reply.message}});
  }
}

}  // namespace

struct CtlServer::Core : std::enable_shared_from_this<Core> {
  Core(EventLoop& the_loop, std::span<const CtlCommand> the_table, Handler the_handler,
       const CtlServerOptions& the_options)
      : loop(the_loop), table(the_table), handler(std::move(the_handler)), options(the_options) {}

  void Begin(Slot slot, CtlPeer peer);
  void Remove(const Session* session);
  void ArmSweep();

  EventLoop& loop;
  const std::span<const CtlCommand> table;
  const Handler handler;
  const CtlServerOptions options;
  std::list<std::shared_ptr<Session>> sessions;
  EventLoop::TimerId sweep{};
  bool sweeping = false;
  std::unique_ptr<Acceptor> acceptor;
};

// Asks the kernel who is at the other end: credentials need a plain descriptor, for a moment.
class CtlServer::PeerLookup final : private Target {
 public:
  static void Start(const std::shared_ptr<Core>& core, Slot slot) {
    if (!core->loop.ring().features().fd_install) return core->Begin(slot, {});
    auto lookup = std::make_shared<PeerLookup>(core, slot);
    lookup->self_ = lookup;
    core->loop.Hold(EventLoop::Work::kLookup);
    core->loop.ring().InstallFd(slot, {lookup.get(), 0});
  }

  PeerLookup(const std::shared_ptr<Core>& core, Slot slot)
      : loop_(core->loop), core_(core), slot_(slot) {}

 private:
  void OnCompletion(unsigned, Completion completion) override {
    const std::shared_ptr<PeerLookup> keep = std::move(self_);
    loop_.Release(EventLoop::Work::kLookup);
    const UniqueFd fd(completion.result);
    const CtlPeer peer = fd ? PeerOf(fd.get()) : CtlPeer();
    if (auto core = core_.lock()) {
      core->Begin(slot_, peer);
    } else {
      loop_.ring().Close(slot_);
    }
  }

  EventLoop& loop_;
  std::weak_ptr<Core> core_;
  Slot slot_;
  std::shared_ptr<PeerLookup> self_;
};

class CtlServer::Session final : public StreamHandler,
                                 public std::enable_shared_from_this<Session> {
 public:
  Session(Core& core, CtlPeer peer) : core_(core), peer_(peer) {}
  ~Session() { stream_->Abort(); }

  void Start(Slot slot) {
    stream_ = Stream::Accepted(core_.loop, slot, this);
    Touch();
  }

  void TurnAway() {
    Send({.exit = CtlExit::kRefused,
          .message = std::to_string(core_.options.sessions_max) +
                     " control sessions are open, which is the most; close one"});
    stream_->CloseWhenSent();
  }

  // Says so to whom waits for an answer. False: nothing is left to be sent.
  bool Leave(std::string_view why) {
    if (std::exchange(pending_, false)) {
      Send({.exit = CtlExit::kRefused, .message = std::string(why)});
    }
    if (!stream_->open()) return false;
    if (!answering_) return false;
    stream_->CloseWhenSent();
    return true;
  }

  bool Late(Time now) const { return !pending_ && now >= deadline_; }
  bool waits() const { return pending_; }

  bool Write(std::string_view line) { return stream_->open() && stream_->Write(line); }

  // The answer to the request that is being carried out.
  void Finish(const CtlReply& reply) {
    auto self = shared_from_this();
    pending_ = false;
    if (stream_->open()) Send(reply);
  }

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
    if (pending_) return;  // the progress went out, not the answer
    answering_ = false;
    Touch();
    Pump();
    if (ended_ && !busy()) stream_->CloseWhenSent();
  }

  void OnClosed(std::string_view) override { core_.Remove(this); }

 private:
  bool busy() const { return answering_ || pending_; }
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
    const auto request = ParseCtlValues(core_.table, line);
    if (!request) return Send({.exit = CtlExit::kUsage, .message = request.error()});
    pending_ = true;  // the answer may come from within the call
    core_.handler(*request, line,
                  std::make_shared<Answer>(weak_from_this(), peer_, CtlValuesText(*request),
                                           request->command->order));
  }

  void Send(const CtlReply& reply) {
    answering_ = true;
    Touch();
    stream_->Write(CtlReplyLine(reply));
  }

  Core& core_;
  const CtlPeer peer_;
  std::shared_ptr<Stream> stream_;
  std::string in_;
  Time deadline_{};
  bool answering_ = false;
  bool pending_ = false;  // a request is being carried out
  bool ended_ = false;
};

bool CtlServer::Answer::Progress(std::string_view object) {
  const auto session = session_.lock();
  return session && !finished_ && session->waits() && session->Write(std::string(object) + '\n');
}

void CtlServer::Answer::Finish(const CtlReply& reply) {
  if (std::exchange(finished_, true)) return;
  Log(reply);
  // One that was told that the server stops waits no more.
  if (const auto session = session_.lock(); session && session->waits()) session->Finish(reply);
}

void CtlServer::Answer::Log(const CtlReply& reply) {
  if (std::exchange(logged_, true)) return;
  LogOrder(text_, order_, reply, peer_);
}

void CtlServer::Core::Begin(Slot slot, CtlPeer peer) {
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

CtlServer::CtlServer(EventLoop& loop, UniqueFd listener, std::span<const CtlCommand> table,
                     Handler handler, CtlServerOptions options)
    : core_(std::make_shared<Core>(loop, table, std::move(handler), options)) {
  core_->acceptor = std::make_unique<Acceptor>(
      loop, std::move(listener),
      [core = core_.get()](Slot slot) { PeerLookup::Start(core->shared_from_this(), slot); });
}

CtlServer::~CtlServer() {
  core_->acceptor.reset();
  if (core_->sweeping) core_->loop.CancelTimer(core_->sweep);
  core_->sessions.clear();
}

void CtlServer::StopAccepting() { core_->acceptor.reset(); }

void CtlServer::Stop(std::string_view why) {
  core_->acceptor.reset();
  std::erase_if(core_->sessions, [&](const auto& session) { return !session->Leave(why); });
}

size_t CtlServer::sessions() const { return core_->sessions.size(); }

}  // namespace net
