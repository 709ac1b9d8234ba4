#include "dns/serve/tcp_server.h"

#include <pthread.h>

#include <future>
#include <list>
#include <unordered_map>

#include "dns/serve/now.h"
#include "dns/serve/places.h"
#include "net/conn/channel.h"
#include "net/io/accept_failure.h"
#include "net/report/log.h"

namespace dns {
namespace {

constexpr net::Duration kSweepInterval = std::chrono::milliseconds(250);

}  // namespace

// All that lives on the thread.
class TcpServer::Loop {
 public:
  Loop(TcpServer& server, net::EventLoop& loop, std::unique_ptr<net::TlsWorker> tls)
      : server_(server),
        loop_(loop),
        tls_worker_(std::move(tls)),
        per_address_(server.config_.clients_per_address_max) {}

  void Start() {
    for (TcpListenerFd& listener : server_.listeners_) {
      acceptors_.push_back(std::make_unique<Acceptor>(*this, listener));
      acceptors_.back()->Arm();
    }
    Sweep();
  }

  void BeginStop(net::Duration deadline) {
    for (auto& acceptor : acceptors_) acceptor->Stop();
    stopping_ = true;
    stop_at_ = loop_.now() + deadline;
    Sweep();
  }

  void SetTls(std::shared_ptr<const net::TlsServerContext> tls) { server_.tls_ = std::move(tls); }
  // The response to an UPDATE, where its connection is still there.
  void Deliver(uint64_t connection, const Bytes& response);

 private:
  class Connection;
  using Idle = std::list<Connection*>;

  // Accepts one after the other, with the peer's address.
  class Acceptor final : private net::Target {
   public:
    Acceptor(Loop& owner, TcpListenerFd& listener) : owner_(owner), listener_(listener) {}
    void Arm() {
      if (stopped_) return;
      peer_size_ = sizeof peer_;
      owner_.loop_.Hold(net::EventLoop::Work::kAccept);
      armed_ = true;
      owner_.loop_.ring().AcceptOnce(listener_.fd.get(), reinterpret_cast<sockaddr*>(&peer_),
                                     &peer_size_, {this, 0});
    }
    void Stop() {
      stopped_ = true;
      if (armed_) owner_.loop_.ring().Cancel({this, 0});
    }

   private:
    void OnCompletion(unsigned, net::Completion completion) override {
      owner_.loop_.Release(net::EventLoop::Work::kAccept);
      armed_ = false;
      if (completion.result >= 0) {
        auto address =
            net::Address::FromSockaddr(reinterpret_cast<const sockaddr*>(&peer_), peer_size_);
        owner_.Accepted(static_cast<net::Slot>(completion.result), address.value_or(net::Address()),
                        listener_.tls);
        Arm();
      } else if (!stopped_) {
        ++owner_.server_.tcp_counters_.accept_errors;
        net::LogAcceptFailure("dns", "tcp", -completion.result);
        owner_.loop_.After(net::kAcceptPause, [this] { Arm(); });
      }
    }

    Loop& owner_;
    TcpListenerFd& listener_;
    sockaddr_storage peer_{};
    socklen_t peer_size_ = 0;
    bool armed_ = false;
    bool stopped_ = false;
  };

  void Accepted(net::Slot slot, const net::Address& address, bool tls);
  void Close(Connection& connection);
  void Touch(Connection& connection);
  void Sweep();

  TcpServer& server_;
  net::EventLoop& loop_;
  std::unique_ptr<net::TlsWorker> tls_worker_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  // Before the connections, which hold places of both.
  AddressPlaces per_address_;
  Places transfers_{kTransfersMax};
  std::unordered_map<Connection*, std::unique_ptr<Connection>> connections_;
  Idle idle_;  // the longest idle first
  bool stopping_ = false;
  TsigReplays replays_;
  uint64_t last_id_ = 0;
  net::Time stop_at_;
  std::vector<uint8_t> out_ = std::vector<uint8_t>(2 + kMessageBytesMax);
};

class TcpServer::Loop::Connection final : public net::ChannelHandler {
 public:
  Connection(Loop& owner, net::Slot slot, const net::Address& address, AddressPlaces::Place place,
             net::TlsEnginePtr tls)
      : owner_(owner),
        client_{address, tls ? Transport::kTls : Transport::kTcp},
        place_(std::move(place)),
        channel_(std::make_unique<net::Channel>(owner.loop_, slot, std::move(tls), this)) {}

  // The end of a connection that may still be on the stack: its places are free from now on.
  void Abort() {
    closing = true;
    channel_->Abort();
    place_ = {};
    transfer_place_.Release();
  }
  uint64_t id() const { return id_; }
  void Send(const Bytes& message) {
    if (closing) return;
    Bytes framed(2);
    Put16(framed.data(), message.size());
    Append(framed, message);
    channel_->Write(framed);
  }
  bool quiet() const { return in_.empty() && transfer_ == nullptr && channel_->queued() == 0; }

  Idle::iterator idle_at;
  net::Time active_at;
  bool closing = false;

 private:
  void OnBytes(std::span<const uint8_t> bytes) override {
    in_.insert(in_.end(), bytes.begin(), bytes.end());
    Process();
  }
  void OnDrained() override {
    if (transfer_) ContinueTransfer();
    if (!transfer_ && !closing) {
      Process();
      if (channel_->queued() < kQueueBytesMax) channel_->ResumeReading();
      if (ended_ && channel_->queued() == 0) owner_.Close(*this);
    }
  }
  void OnEnd() override {
    ended_ = true;
    // What was asked is answered; then we close too.
    if (channel_->queued() == 0 && !transfer_) owner_.Close(*this);
  }
  void OnClosed(std::string_view why) override {
    if (why.starts_with("TLS")) ++owner_.server_.tcp_counters_.tls_failed;
    owner_.Close(*this);
  }

  void Process() {
    size_t at = 0;
    while (!closing && !transfer_ && in_.size() - at >= 2) {
      size_t size = Get16(in_.data() + at);
      if (in_.size() - at - 2 < size) break;
      if (channel_->queued() > kQueueBytesMax) {
        channel_->PauseReading();
        break;
      }
      Answer({in_.data() + at + 2, size});
      at += 2 + size;
    }
    in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(std::min(at, in_.size())));
    if (in_.size() > 2 * kMessageBytesMax) channel_->PauseReading();
  }

  void Answer(std::span<const uint8_t> packet) {
    owner_.Touch(*this);
    TcpServer& server = owner_.server_;
    std::vector<uint8_t>& out = owner_.out_;
    const Generation& generation = server.reader_->Acquire();
    Reply reply = server.responder_.Respond(generation, client_, packet, std::span(out).subspan(2),
                                            ReadNow());
    bool begun = reply.transfer != nullptr && BeginTransfer(packet);
    server.reader_->Release();
    if (begun) return;
    if (reply.order && OfferUpdate(packet)) return;
    if (reply.transfer != nullptr) server.responder_.counters().transfers_refused.Add();
    if (reply.size == 0) {
      // Whoever sends what gets no answer over UDP has no business on a connection.
      owner_.Close(*this);
      return;
    }
    if (server.log_->Due()) LogQuery(*server.log_, server.responder_, client_, reply.size);
    Put16(out.data(), reply.size);
    channel_->Write(std::span<const uint8_t>(out).first(2 + reply.size));
    if (++queries_ >= server.config_.queries_per_connection_max) {
      ++server.tcp_counters_.queries_max_closed;
      closing = true;
      channel_->CloseWhenSent();
    }
  }

  // The control thread answers; others of the client's queries do not wait for it.
  bool OfferUpdate(std::span<const uint8_t> packet) {
    TcpServer& server = owner_.server_;
    if (server.updates_ == nullptr) return false;
    return (*server.updates_)(
        packet, client_.address, [&server, id = id_, alive = server.alive_](Bytes response) {
          if (!*alive) return;
          net::EventLoop* event_loop = server.event_loop_.load();
          Loop* loop = server.loop_.load();
          if (event_loop == nullptr || loop == nullptr) return;
          event_loop->Post(
              [loop, id, response = std::move(response)] { loop->Deliver(id, response); });
        });
  }

  bool BeginTransfer(std::span<const uint8_t> packet) {
    Places::Place place = owner_.transfers_.Take();
    if (!place) return false;
    TcpServer& server = owner_.server_;
    const Query& query = server.responder_.query();
    auto apex = Name::FromWire(query.lower_name());
    auto question = packet.subspan(kHeaderBytes, query.question_end() - kHeaderBytes);
    const TsigCheck* tsig = server.responder_.tsig();
    // A recorded request must not open a transfer.
    if (tsig != nullptr && !owner_.replays_.IsFresh(*tsig, ReadNow().unix_seconds)) return false;
    transfer_ = server.transfers_->Begin(
        *apex, client_.address, client_.transport == Transport::kTls, channel_->peer_verified(),
        {question.begin(), question.end()}, query.id, tsig != nullptr ? &tsig->key->name : nullptr,
        query.has_ixfr_serial ? std::optional(query.ixfr_serial) : std::nullopt);
    if (!transfer_) return false;
    if (tsig != nullptr) signer_.emplace(*tsig);
    transfer_place_ = std::move(place);
    server.responder_.counters().transfers.Add();
    if (transfer_->incremental()) server.responder_.counters().transfers_incremental.Add();
    ContinueTransfer();
    return true;
  }

  void ContinueTransfer() {
    while (!transfer_->done() && channel_->queued() < kQueueBytesMax) {
      owner_.Touch(*this);
      Bytes message = transfer_->Next();
      if (message.empty()) {  // a record that fits no message
        owner_.Close(*this);
        return;
      }
      if (signer_) signer_->Sign(message, ReadNow().unix_seconds);
      Bytes framed(2);
      Put16(framed.data(), message.size());
      Append(framed, message);
      channel_->Write(framed);
    }
    if (!transfer_->done()) return;
    transfer_.reset();
    signer_.reset();
    transfer_place_.Release();
  }

  Loop& owner_;
  const uint64_t id_ = ++owner_.last_id_;
  Client client_;
  AddressPlaces::Place place_;
  Places::Place transfer_place_;
  Bytes in_;
  uint32_t queries_ = 0;
  bool ended_ = false;
  std::unique_ptr<TransferWriter> transfer_;
  std::optional<TsigSigner> signer_;
  std::unique_ptr<net::Channel> channel_;
};

void TcpServer::Loop::Accepted(net::Slot slot, const net::Address& peer, bool tls) {
  TcpCounters& counters = server_.tcp_counters_;
  ++counters.accepted;
  net::Address address = peer.Unmapped().WithPort(0);
  AddressPlaces::Place place = per_address_.Take(address);
  if (!place) {
    ++counters.refused_address;
    loop_.ring().Close(slot);
    return;
  }
  net::TlsEnginePtr engine;
  if (tls) {
    engine = tls_worker_->NewServer(server_.tls_);
    if (engine == nullptr) {
      ++counters.tls_failed;
      loop_.ring().Close(slot);
      return;
    }
  }
  if (connections_.size() >= server_.config_.clients_max && !idle_.empty()) {
    ++counters.evicted;
    Close(*idle_.front());
  }
  auto connection =
      std::make_unique<Connection>(*this, slot, address, std::move(place), std::move(engine));
  connection->active_at = loop_.now();
  idle_.push_back(connection.get());
  connection->idle_at = std::prev(idle_.end());
  counters.clients = connections_.size() + 1;
  connections_.emplace(connection.get(), std::move(connection));
}

void TcpServer::Loop::Deliver(uint64_t connection, const Bytes& response) {
  for (auto& [pointer, owned] : connections_) {  // rare enough to look at each
    if (pointer->id() == connection) return pointer->Send(response);
  }
}

void TcpServer::Loop::Touch(Connection& connection) {
  connection.active_at = loop_.now();
  idle_.splice(idle_.end(), idle_, connection.idle_at);
}

void TcpServer::Loop::Close(Connection& connection) {
  auto it = connections_.find(&connection);
  if (it == connections_.end()) return;
  connection.Abort();
  idle_.erase(connection.idle_at);
  // Destroyed behind the callback that we may be in.
  auto dead = std::make_shared<std::unique_ptr<Connection>>(std::move(it->second));
  connections_.erase(it);
  server_.tcp_counters_.clients = connections_.size();
  loop_.Post([dead]() mutable { dead.reset(); });
}

// Closes what has been idle for too long. The list is in the order of activity.
void TcpServer::Loop::Sweep() {
  net::Time now = loop_.now();
  while (!idle_.empty() && now - idle_.front()->active_at >= server_.config_.idle_timeout) {
    ++server_.tcp_counters_.idle_closed;
    Close(*idle_.front());
  }
  if (stopping_) {
    std::vector<Connection*> quiet;
    for (auto& [pointer, connection] : connections_) {
      if (connection->quiet() || now >= stop_at_) quiet.push_back(pointer);
    }
    for (Connection* connection : quiet) Close(*connection);
    if (connections_.empty()) {
      loop_.Post([this] { loop_.Stop(); });
      return;
    }
  }
  loop_.After(kSweepInterval, [this] { Sweep(); });
}

TcpServer::TcpServer(std::vector<TcpListenerFd> listeners, const TcpConfig& config,
                     std::shared_ptr<const net::TlsServerContext> tls,
                     const ResponderConfig& responder, Publisher::Reader* reader, QueryLog* log,
                     const TransferSource* transfers, const UpdateSink* updates)
    : listeners_(std::move(listeners)),
      config_(config),
      tls_(std::move(tls)),
      responder_(responder, SystemSeed()),
      reader_(reader),
      log_(log),
      transfers_(transfers),
      updates_(updates) {}

TcpServer::~TcpServer() {
  *alive_ = false;
  Stop(net::Duration::zero());
  Join();
}

std::string TcpServer::Start() {
  std::promise<std::string> started;
  std::future<std::string> result = started.get_future();
  thread_ = std::thread([this, &started] {
    pthread_setname_np(pthread_self(), "dns-tcp");
    net::SystemClock clock;
    net::RingOptions options;
    options.accept_slots = config_.clients_max + 64;
    options.outgoing_slots = 1;
    auto event_loop = net::EventLoop::Create(options, clock);
    auto tls_worker = net::TlsWorker::Create();
    if (!event_loop || !tls_worker) {
      started.set_value(!event_loop ? event_loop.error() : tls_worker.error());
      return;
    }
    {
      Loop loop(*this, **event_loop, std::move(*tls_worker));
      loop.Start();
      event_loop_ = event_loop->get();
      loop_ = &loop;
      started.set_value("");
      (*event_loop)->Run();
      {
        // Who posts is still in the loop when what was posted has ended it.
        const std::lock_guard lock(posting_);
        event_loop_ = nullptr;
        loop_ = nullptr;
      }
      // Accepts write into the Loop until they complete.
      if (auto drained = (*event_loop)->Drain(std::chrono::seconds(2)); !drained) {
        net::Log(net::LogLevel::kWarn, "server", "ended while operations were under way",
                 {{"waited_for", drained.error()}});
      }
    }
  });
  return result.get();
}

void TcpServer::Stop(net::Duration deadline) {
  const std::lock_guard lock(posting_);
  net::EventLoop* event_loop = event_loop_.exchange(nullptr);
  Loop* loop = loop_.load();
  if (event_loop == nullptr || loop == nullptr) return;
  event_loop->Post([loop, deadline] { loop->BeginStop(deadline); });
}

void TcpServer::Join() {
  if (thread_.joinable()) thread_.join();
}

void TcpServer::SetTls(std::shared_ptr<const net::TlsServerContext> tls) {
  const std::lock_guard lock(posting_);
  net::EventLoop* event_loop = event_loop_.load();
  Loop* loop = loop_.load();
  if (event_loop == nullptr || loop == nullptr) return;
  event_loop->Post([loop, tls] { loop->SetTls(tls); });
}

const Counters& TcpServer::counters() const { return responder_.counters(); }

}  // namespace dns
