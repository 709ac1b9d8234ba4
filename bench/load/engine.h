// The generator's event loop: connections to the system under test, over plain TCP or TLS, one
// thread, one epoll. What is done with them is a Scenario's business (scenarios.h).
//
// The engine opens, handshakes, sends a request, receives its reply, watches time limits, and
// records the phases. All callbacks run on the calling thread inside Run().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "bench/load/endpoint.h"
#include "bench/load/meter.h"
#include "bench/load/tls_client.h"

namespace bench {

enum class ConnState : std::uint8_t { kFree, kConnecting, kHandshaking, kIdle, kBusy };
const char* ToString(ConnState state);

struct Conn {
  int fd = -1;
  std::uint32_t index = 0;
  ConnState state = ConnState::kFree;
  bool first_byte = false;
  bool verify = false;
  std::uint16_t attempts = 0;  // the scenario's
  SSL* ssl = nullptr;
  std::int64_t intended_ns = 0;
  std::int64_t phase_ns = 0;  // when the present phase began
  std::string_view request;
  std::size_t sent = 0;
  std::uint64_t received = 0;
  std::uint64_t wanted = 0;  // bytes of the reply; 0: any bytes end it
};

class Engine;

class Scenario {
 public:
  virtual ~Scenario() = default;
  virtual void OnStart(Engine& engine) = 0;
  virtual void OnOpen(Engine& engine, Conn& conn) = 0;
  virtual void OnReply(Engine& engine, Conn& conn) = 0;
  // `conn` is closed already. `was_idle`: it was ended by the other side while at rest.
  virtual void OnFail(Engine& engine, Conn& conn, FailReason reason, bool was_idle) = 0;
  // Called every turn of the loop; returns when it wants to be called next at the latest.
  virtual std::int64_t OnTick(Engine& engine, std::int64_t now_ns) = 0;
  virtual bool Done() const = 0;
};

struct EngineOptions {
  std::vector<Endpoint> targets;
  std::vector<Endpoint> sources;  // empty: the kernel's choice
  std::size_t connections = 1;    // size of the table
  std::int64_t timeout_ns = 10'000'000'000;
  TlsOptions tls;
  std::vector<pid_t> watched;
  bool live = false;
  std::string prime_request;  // echoed once to take the session that resumed handshakes use
};

class Engine final : public Meter {
 public:
  static std::expected<std::unique_ptr<Engine>, std::string> Create(EngineOptions options);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Until the scenario is done or `stop_ns` has come or a signal asked to stop (RequestStop).
  void Run(Scenario& scenario, std::int64_t stop_ns);

  std::vector<Conn>& Conns() { return conns_; }

  void Open(Conn& conn, std::int64_t intended_ns);
  // `request` must outlive the reply. The reply has `reply_bytes` (0: whatever comes first); with
  // `verify` it must repeat the request.
  void Request(Conn& conn, std::string_view request, std::uint64_t reply_bytes, bool verify);
  void Close(Conn& conn);

  bool NextOpenIsPossible() const { return open_ < options_.connections; }
  std::size_t OpenCount() const { return open_; }

 private:
  explicit Engine(EngineOptions options);

  void OnEvent(Conn& conn, std::uint32_t events);
  void OnConnected(Conn& conn);
  void ContinueHandshake(Conn& conn);
  void OnReady(Conn& conn);
  void Send(Conn& conn);
  void Receive(Conn& conn);
  std::int64_t ReceiveSome(Conn& conn);
  bool Accept(Conn& conn, std::size_t received);
  void Fail(Conn& conn, FailReason reason);
  void ExpireSlow();

  EngineOptions options_;
  std::unique_ptr<TlsClient> tls_;
  Scenario* scenario_ = nullptr;
  int epoll_ = -1;
  std::vector<Conn> conns_;
  std::vector<char> buffer_;
  std::size_t open_ = 0;
  std::uint64_t opened_ = 0;
  std::int64_t next_housekeeping_ns_ = 0;
};

}  // namespace bench
