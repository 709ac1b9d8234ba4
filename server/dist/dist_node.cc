#include "server/dist/dist_node.h"

#include <algorithm>
#include <future>
#include <thread>
#include <utility>

#include "net/base/check.h"
#include "server/dist/dist_core.h"
#include "server/dist/node_name.h"

namespace server {
namespace {

// How long operations of the kernel may take to end once all links are closed.
constexpr net::Duration kDrainTime = std::chrono::seconds(2);
// How long the registration may take at the start.
constexpr net::Duration kStartTime = std::chrono::seconds(15);
// Beside a message's bytes: length, control term, headers.
constexpr size_t kFrameOverhead = 3 * kAtomBytesMax;

// Each dial may have a socket for epmd beside its own; one more keeps our registration.
size_t OutgoingOf(const DistOptions& options) {
  return options.links_max + 2 * options.dials_max + 1;
}
size_t AcceptedOf(const DistOptions& options) {
  return options.links_max + options.handshakes_max + 1;
}

net::RingOptions RingOptionsOf(const DistOptions& options) {
  const size_t outgoing = OutgoingOf(options);
  const size_t spare = options.sockets_max > outgoing ? options.sockets_max - outgoing : 0;
  return {.submission_entries = 512,
          .completion_entries = 2048,
          .accept_slots = static_cast<uint32_t>(std::max(AcceptedOf(options), spare)),
          .outgoing_slots = static_cast<uint32_t>(outgoing)};
}

}  // namespace

std::string_view ToString(SendResult result) {
  switch (result) {
    case SendResult::kQueued:
      return "queued";
    case SendResult::kNotConnected:
      return "not connected";
    case SendResult::kFull:
      return "full";
    case SendResult::kTooLarge:
      return "too large";
  }
  return "?";
}

class DistNode::Impl {
 public:
  // Where answers to peers' calls go, from any thread; cut off when the node stops.
  class ReplySink final : public RpcReply::Sink {
   public:
    explicit ReplySink(Impl* impl) : impl_(impl) {}
    void Answer(uint64_t call, RpcResult result) override {
      std::lock_guard lock(mutex_);
      if (impl_ == nullptr) return;
      impl_->Post([impl = impl_, call, result = std::move(result)]() mutable {
        impl->services.Finish(call, std::move(result));
      });
    }
    void Cut() {
      std::lock_guard lock(mutex_);
      impl_ = nullptr;
    }

   private:
    std::mutex mutex_;
    Impl* impl_;
  };

  explicit Impl(const DistOptions& dist_options)
      : options(dist_options),
        reply_sink(std::make_shared<ReplySink>(this)),
        services(MakeHooks(),
                 {.rpc_max = dist_options.rpc_max, .calls_max = dist_options.calls_max}) {}

  Services::Hooks MakeHooks() {
    return {.on_link_message =
                [this](PeerSession& session, const TermView& message) {
                  core->OnLinkMessage(session, message);
                },
            .count = [this](ServiceEvent event) { CountEvent(event); },
            .reply_sink = reply_sink};
  }

  void Count(DistCounter counter, uint64_t by = 1) {
    counters[static_cast<size_t>(counter)].fetch_add(by, std::memory_order_relaxed);
  }
  void CountEvent(ServiceEvent event) {
    switch (event) {
      case ServiceEvent::kMessage:
        return Count(DistCounter::kMessagesIn);
      case ServiceEvent::kUnknownMailbox:
        return Count(DistCounter::kMessagesUnknown);
      case ServiceEvent::kRpc:
        return Count(DistCounter::kRpcIn);
      case ServiceEvent::kRpcUndef:
        return Count(DistCounter::kRpcUndef);
      case ServiceEvent::kRpcBusy:
        return Count(DistCounter::kRpcBusy);
    }
  }

  bool Post(net::Task task) {
    std::lock_guard lock(loop_mutex);
    if (loop == nullptr) return false;
    loop->Post(std::move(task));
    return true;
  }

  // While the loop drains there is no core any more, and what was posted before may still run.
  template <typename Work>
  void PostToCore(Work work) {
    Post([this, work = std::move(work)]() mutable {
      if (core != nullptr) work(*core);
    });
  }

  using StartResult = std::expected<uint32_t, DistError>;
  void Run(DistSocket socket, std::promise<StartResult>* started);
  template <typename Build>
  SendResult Send(std::string_view node, bool only_ours, size_t size, Build&& build);
  void AddBuiltIns(DistNode* self);

  const DistOptions& options;
  net::SystemClock clock;
  DistCounters counters{};
  PeerRegistry registry;
  DistCore::Handlers handlers;
  std::shared_ptr<ReplySink> reply_sink;
  Services services;
  std::unique_ptr<DistCore> core;  // on the thread
  std::thread thread;
  std::mutex loop_mutex;
  net::EventLoop* loop = nullptr;       // guarded by loop_mutex; set while it takes tasks
  net::EventLoop* of_thread = nullptr;  // the thread's own; until its last timer has run
  std::atomic<std::thread::id> thread_id{};
  std::atomic<uint32_t> creation{0};
};

void DistNode::Impl::Run(DistSocket socket, std::promise<StartResult>* started) {
  auto made = net::EventLoop::Create(RingOptionsOf(options), clock);
  if (!made) {
    started->set_value(std::unexpected(DistError{"the distribution's ring: " + made.error(), ""}));
    return;
  }
  net::EventLoop& own_loop = **made;
  of_thread = &own_loop;
  {
    std::lock_guard lock(loop_mutex);
    loop = &own_loop;
  }
  thread_id = std::this_thread::get_id();
  core = std::make_unique<DistCore>(options, own_loop, services, handlers, registry, counters);
  auto timer = own_loop.After(kStartTime, [&] {
    if (auto* waiting = std::exchange(started, nullptr)) {
      waiting->set_value(std::unexpected(
          DistError{"epmd did not answer in time", "look whether it runs: epmd -names"}));
    }
  });
  core->Start(std::move(socket), [&](StartResult result) {
    own_loop.CancelTimer(timer);
    // Before a peer can be let in, whose handlers may ask for it.
    if (result) creation.store(*result, std::memory_order_relaxed);
    if (auto* waiting = std::exchange(started, nullptr)) waiting->set_value(std::move(result));
  });
  own_loop.Run();
  core.reset();
  reply_sink->Cut();
  {
    std::lock_guard lock(loop_mutex);
    loop = nullptr;
  }
  static_cast<void>(own_loop.Drain(kDrainTime));
  thread_id = std::thread::id();
}

DistNode::DistNode(DistOptions options)
    : options_(std::move(options)), impl_(std::make_unique<Impl>(options_)) {}

DistNode::~DistNode() { Stop(); }

size_t DistNode::SocketsNeeded(const DistOptions& options) {
  return OutgoingOf(options) + AcceptedOf(options);
}

std::expected<std::unique_ptr<DistNode>, DistError> DistNode::Create(DistOptions options) {
  auto wrong = [](std::string what, std::string remedy) {
    return std::unexpected(DistError{std::move(what), std::move(remedy)});
  };
  if (!IsNodeName(options.node)) {
    return wrong(
        "'" + options.node + "' is no name of a node",
        "use letters, digits, '_' and '-', then '@' and a host, as in mongooseim@localhost");
  }
  if (options.cookie.empty()) return wrong("there is no cookie", "set -setcookie in vm.args");
  if (options.cookie.size() > kAtomBytesMax) {
    return wrong("the cookie is longer than 255 characters", "choose a shorter one on all nodes");
  }
  if (options.listen_min > options.listen_max) {
    return wrong("inet_dist_listen_min " + std::to_string(options.listen_min) +
                     " is above inet_dist_listen_max " + std::to_string(options.listen_max),
                 "exchange the two in vm.args");
  }
  if (options.net_ticktime < std::chrono::seconds(1)) {
    return wrong("net_ticktime is below a second", "Erlang's default is 60");
  }
  if (options.links_max == 0 || options.handshakes_max == 0 || options.dials_max == 0) {
    return wrong("a bound of the distribution is 0", "give room for one link at least");
  }
  return std::unique_ptr<DistNode>(new DistNode(std::move(options)));
}

void DistNode::OnRpc(std::string module, std::string function, RpcHandler handler) {
  impl_->services.SetRpc(std::move(module), std::move(function), std::move(handler));
}

void DistNode::OnMessage(std::string mailbox, MessageHandler handler) {
  impl_->services.SetMailbox(std::move(mailbox), std::move(handler));
}

void DistNode::OnNodeUp(UpHandler handler) { impl_->handlers.up.push_back(std::move(handler)); }

void DistNode::OnNodeDown(DownHandler handler) {
  impl_->handlers.down.push_back(std::move(handler));
}

void DistNode::OnWritable(WritableHandler handler) {
  impl_->handlers.writable = std::move(handler);
}

void DistNode::Impl::AddBuiltIns(DistNode* self) {
  auto add = [this](const char* module, const char* function, RpcHandler handler) {
    if (!services.HasRpc(module, function)) services.SetRpc(module, function, std::move(handler));
  };
  add("erlang", "node", [self](const RpcCall& call, RpcReply reply) {
    if (!call.args.empty()) return reply.Undef();
    reply.Return(Term::Atom(self->node()));
  });
  add("erlang", "nodes", [self](const RpcCall& call, RpcReply reply) {
    if (call.args.size() > 1) return reply.Undef();
    const std::string which =
        call.args.empty() ? "visible" : call.args[0].AsAtom().value_or("visible");
    std::vector<Term> names;
    for (const DistPeer& peer : self->Links()) {
      const bool wanted = which == "connected" || (which == "hidden" && peer.hidden) ||
                          (which == "visible" && !peer.hidden) || peer.ours;
      if (wanted && !(which == "hidden" && !peer.hidden)) names.push_back(Term::Atom(peer.node));
    }
    reply.Return(Term::List(names));
  });
  add("net_adm", "ping", [self](const RpcCall& call, RpcReply reply) {
    auto node = call.args.size() == 1 ? call.args[0].AsAtom() : std::nullopt;
    if (!node) return reply.Undef();
    self->Ping(*node, self->options_.setup_time, [reply = std::move(reply)](bool pong) mutable {
      reply.Return(Term::Atom(pong ? "pong" : "pang"));
    });
  });
}

std::expected<void, DistError> DistNode::Start() {
  CHECK(!impl_->thread.joinable());
  auto socket = ListenInRange(options_);
  if (!socket) return std::unexpected(socket.error());
  port_ = socket->port;
  impl_->AddBuiltIns(this);
  std::promise<Impl::StartResult> promise;
  auto future = promise.get_future();
  impl_->thread = std::thread([this, socket = std::move(*socket), &promise]() mutable {
    impl_->Run(std::move(socket), &promise);
  });
  auto started = future.get();
  if (!started) {
    Stop();
    return std::unexpected(started.error());
  }
  return {};
}

uint32_t DistNode::creation() const { return impl_->creation.load(std::memory_order_relaxed); }

void DistNode::Stop() {
  if (!impl_->thread.joinable()) return;
  CHECK(std::this_thread::get_id() != impl_->thread.get_id());
  Post([impl = impl_.get()] { impl->loop->Stop(); });
  impl_->thread.join();
}

void DistNode::Post(net::Task task) { impl_->Post(std::move(task)); }

net::EventLoop& DistNode::loop() {
  DCHECK(std::this_thread::get_id() == impl_->thread_id.load());
  return *impl_->of_thread;
}

// --- From all threads ---------------------------------------------------------------------------

void DistNode::Connect(std::string node, ConnectDone done) {
  impl_->PostToCore([node = std::move(node), done = std::move(done)](DistCore& core) mutable {
    core.Connect(std::move(node), std::move(done));
  });
}

void DistNode::Disconnect(std::string node, std::string why) {
  impl_->PostToCore([node = std::move(node), why = std::move(why)](DistCore& core) mutable {
    core.Disconnect(node, std::move(why));
  });
}

template <typename Build>
SendResult DistNode::Impl::Send(std::string_view node, bool only_ours, size_t size, Build&& build) {
  if (size > options.frame_bytes_max) return SendResult::kTooLarge;
  auto peer = registry.Find(node);
  if (!peer || (only_ours && !peer->ours)) return SendResult::kNotConnected;
  switch (peer->queue->Put(size, std::forward<Build>(build))) {
    case OutQueue::Result::kClosed:
      return SendResult::kNotConnected;
    case OutQueue::Result::kFull:
      Count(DistCounter::kQueueFull);
      return SendResult::kFull;
    case OutQueue::Result::kQueued:
      break;
    case OutQueue::Result::kWake:
      if (thread_id.load(std::memory_order_relaxed) == std::this_thread::get_id()) {
        if (auto link = peer->link.lock(); link && core) core->FlushSoon(link);
      } else {
        Post([weak = peer->link] {
          if (auto link = weak.lock()) link->Flush();
        });
      }
  }
  Count(DistCounter::kFramesOut);
  Count(DistCounter::kBytesOut, size);
  return SendResult::kQueued;
}

SendResult DistNode::Send(std::string_view node, std::string_view mailbox,
                          std::span<const uint8_t> bytes) {
  return impl_->Send(node, true, bytes.size() + kFrameOverhead, [&](TermBuffer* out) {
    FrameWriter frame(out, ControlOp::kRegSend, 3);
    PutPid(out, options_.node, {.id = 1, .serial = 0}, creation());
    PutAtom(out, "");
    PutAtom(out, mailbox);
    frame.Payload();
    PutBinary(out, bytes);
  });
}

SendResult DistNode::SendTerm(std::string_view node, std::string_view mailbox, const Term& term) {
  return impl_->Send(node, false, term.bytes().size() + kFrameOverhead, [&](TermBuffer* out) {
    FrameWriter frame(out, ControlOp::kRegSend, 3);
    PutPid(out, options_.node, {.id = 1, .serial = 0}, creation());
    PutAtom(out, "");
    PutAtom(out, mailbox);
    frame.Payload();
    PutRaw(out, term.bytes());
  });
}

void DistNode::Call(std::string node, std::string_view module, std::string_view function,
                    std::span<const Term> args, net::Duration timeout, CallDone done) {
  impl_->PostToCore([node = std::move(node), module = std::string(module),
                     function = std::string(function),
                     args = std::vector<Term>(args.begin(), args.end()), timeout,
                     done = std::move(done)](DistCore& core) mutable {
    core.Call(std::move(node), std::move(module), std::move(function), std::move(args), timeout,
              std::move(done));
  });
}

void DistNode::Ping(std::string node, net::Duration timeout,
                    std::move_only_function<void(bool)> done) {
  impl_->PostToCore(
      [node = std::move(node), timeout, done = std::move(done)](DistCore& core) mutable {
        core.Ping(std::move(node), timeout, [done = std::move(done)](RpcResult result) mutable {
          done(result.has_value() && result->view().IsAtom("yes"));
        });
      });
}

std::vector<DistPeer> DistNode::Links() const { return impl_->registry.Peers(); }

std::vector<std::string> DistNode::NodesUp() const {
  std::vector<std::string> names;
  for (const DistPeer& peer : Links()) names.push_back(peer.node);
  return names;
}

uint64_t DistNode::Sum(DistCounter counter) const {
  return impl_->counters[static_cast<size_t>(counter)].load(std::memory_order_relaxed);
}

}  // namespace server
