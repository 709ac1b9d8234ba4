#include "net/conn/conn_listener.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <unordered_map>
#include <utility>

#include "net/io/accept_failure.h"
#include "net/io/socket.h"
#include "net/proxy_protocol/proxy_protocol.h"

namespace net {

// Lives while it accepts, and while a connection is at the door: it is their host until they have a
// session.
class ConnListener::State final : public Target,
                                  public ConnHost,
                                  public std::enable_shared_from_this<State> {
 public:
  State(ConnWorker& worker, UniqueFd socket, ConnListenerOptions options,
        std::shared_ptr<ListenerCounts> counts, ConnAcceptor& acceptor)
      : worker_(worker),
        loop_(worker.event_loop()),
        socket_(std::move(socket)),
        options_(std::move(options)),
        counts_(std::move(counts)),
        acceptor_(acceptor),
        name_bytes_(PeerNameBytes(socket_.get())) {}

  void Arm() {
    if (stopped_) return;
    if (worker_.full()) {
      LogFull("no room for another connection; who comes waits");
      RetryAfter(kAcceptPause);
      return;
    }
    self_ = shared_from_this();
    loop_.Hold(EventLoop::Work::kAccept);
    multishot_ = loop_.ring().features().socket_options;
    if (multishot_) {
      loop_.ring().AcceptMultishot(socket_.get(), {this, 0});
    } else {
      peer_size_ = sizeof peer_;
      loop_.ring().AcceptOnce(socket_.get(), reinterpret_cast<sockaddr*>(&peer_), &peer_size_,
                              {this, 0});
    }
  }

  void Stop() {
    stopped_ = true;
    if (self_ != nullptr) loop_.ring().Cancel({this, 0});
    std::vector<Conn*> waiting;
    for (const auto& [conn, guest] : door_) waiting.push_back(conn);
    for (Conn* conn : waiting) conn->End(EndReason::kDrained);
  }

  void OnCompletion(unsigned, Completion completion) override {
    const std::shared_ptr<State> keep = shared_from_this();
    if (!completion.more()) {
      self_.reset();
      loop_.Release(EventLoop::Work::kAccept);
    }
    bool pause = false;
    if (completion.result >= 0) {
      Accepted(static_cast<Slot>(completion.result));
      if (worker_.full()) {
        pause = true;
        LogFull("no room for another connection; who comes waits");
        if (self_ != nullptr) loop_.ring().Cancel({this, 0});
      }
    } else if (completion.result != -ECANCELED) {
      // Connections that went before they were accepted are no fault of ours.
      pause = completion.result != -ECONNABORTED && completion.result != -EAGAIN;
      if (pause) LogAcceptFailure("conn", options_.name, -completion.result);
    }
    if (stopped_ || self_ != nullptr) return;
    if (pause) {
      RetryAfter(kAcceptPause);
    } else {
      Arm();
    }
  }

  void LogFull(std::string_view what) {
    LOG_EVERY(std::chrono::seconds(10), LogLevel::kWarn, "conn", what,
              {{"listener", options_.name}, {"remedy", options_.full_remedy}});
  }

  // --- At the door.

  void OnOpen(Conn& conn, std::unique_ptr<TlsFacts>) override {
    if (!options_.accept_proxy) {
      Admit(conn, {}, nullptr);
      return;
    }
    const auto& trusted = options_.proxy_trusted;
    if (!trusted.empty() && std::ranges::none_of(trusted, [&](const Cidr& network) {
          return network.Contains(conn.peer());
        })) {
      RefuseHeader(conn);
      return;
    }
    conn.WakeIn(options_.proxy_header_timeout);
  }
  void OnBytes(Conn& conn, std::span<uint8_t> bytes) override {
    std::vector<uint8_t>& header = door_.at(&conn).header;
    header.insert(header.end(), bytes.begin(), bytes.end());
    ProxyHeader said;
    const ProxyDecoded decoded = DecodeProxyHeader(header, said);
    switch (decoded.status) {
      case ProxyDecoded::Status::kNeedMore:
        return;
      case ProxyDecoded::Status::kReject:
        RefuseHeader(conn);
        return;
      case ProxyDecoded::Status::kHeader:
        break;
    }
    conn.WakeIn({});
    if (!said.local) conn.set_peer(said.source.ToAddress().Unmapped());
    const std::vector<uint8_t> rest(header.begin() + static_cast<ptrdiff_t>(decoded.size),
                                    header.end());
    Admit(conn, rest, &said);
  }
  void OnEnd(Conn& conn, PeerEnd) override { RefuseHeader(conn); }
  void OnDue(Conn& conn) override { RefuseHeader(conn); }
  void OnClosed(Conn& conn, const Ended&) override {
    const std::shared_ptr<State> keep = shared_from_this();
    door_.erase(&conn);
  }

 private:
  struct Guest {
    Admission admission;
    std::vector<uint8_t> header;  // of the PROXY protocol, as much as has come
    std::shared_ptr<State> state;
  };

  void Accepted(Slot slot) {
    Admission admission =
        stopped_ ? Admission() : Admission::Enter(counts_, options_.connections_max);
    if (!admission) {
      if (!stopped_) LogFull("at its limit; who comes is turned away");
      loop_.ring().Close(slot);
      return;
    }
    std::optional<Address> peer;
    if (!multishot_) {
      peer = Address::FromSockaddr(reinterpret_cast<sockaddr*>(&peer_), peer_size_)
                 .value_or(Address());
    }
    Conn* conn = worker_.Accept(slot, peer.has_value() ? &*peer : nullptr, name_bytes_, *this);
    if (conn == nullptr) {
      loop_.ring().Close(slot);
      return;
    }
    counts_->accepted.fetch_add(1, std::memory_order_relaxed);
    door_.emplace(conn, Guest{.admission = std::move(admission), .state = shared_from_this()});
  }

  void RefuseHeader(Conn& conn) {
    counts_->refused_header.fetch_add(1, std::memory_order_relaxed);
    conn.End(EndReason::kRefused);
  }

  // It may come in; `rest` stood behind its header, null for none. `conn` is a session's
  // afterwards, or ends.
  void Admit(Conn& conn, std::span<const uint8_t> rest, const ProxyHeader* header) {
    const std::shared_ptr<State> keep = shared_from_this();
    Admission admission = std::move(door_.at(&conn).admission);
    if (!admission.EnterSource(conn.peer(), loop_.now())) {
      conn.End(EndReason::kRefused);
      return;
    }
    ConnHost* host = header == nullptr ? acceptor_.OnAccepted(conn, std::move(admission))
                                       : acceptor_.OnAnnounced(conn, std::move(admission), *header);
    if (host == nullptr) {
      conn.End(EndReason::kRefused);
      return;
    }
    conn.set_host(*host);
    door_.erase(&conn);
    if (conn.state() >= Conn::State::kClosing) return;
    if (ConnTls tls = options_.tls_now ? options_.tls_now() : options_.tls) {
      conn.StartTls(std::move(tls), rest);
      return;
    }
    host->OnOpen(conn, nullptr);
    if (rest.empty() || conn.state() != Conn::State::kOpen) return;
    std::vector<uint8_t> bytes(rest.begin(), rest.end());
    host->OnBytes(conn, bytes);
  }

  void RetryAfter(Duration pause) {
    if (std::exchange(waiting_, true)) return;
    loop_.After(pause, [weak = weak_from_this()] {
      const auto state = weak.lock();
      if (state == nullptr) return;
      state->waiting_ = false;
      if (state->self_ == nullptr) state->Arm();
    });
  }

  ConnWorker& worker_;
  EventLoop& loop_;
  const UniqueFd socket_;
  const ConnListenerOptions options_;
  const std::shared_ptr<ListenerCounts> counts_;
  ConnAcceptor& acceptor_;
  const int32_t name_bytes_;
  bool stopped_ = false;
  bool multishot_ = false;
  bool waiting_ = false;         // for RetryAfter
  std::shared_ptr<State> self_;  // while an accept is in flight
  std::unordered_map<Conn*, Guest> door_;
  sockaddr_in6 peer_{};  // of an accept one by one
  socklen_t peer_size_ = 0;
};

ConnListener::ConnListener(ConnWorker& worker, UniqueFd socket, ConnListenerOptions options,
                           std::shared_ptr<ListenerCounts> counts, ConnAcceptor& acceptor)
    : state_(std::make_shared<State>(worker, std::move(socket), std::move(options),
                                     std::move(counts), acceptor)) {
  state_->Arm();
}

ConnListener::~ConnListener() { state_->Stop(); }

}  // namespace net
