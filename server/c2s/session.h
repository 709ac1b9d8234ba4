// A client's connection: a Conn below, a ClientStream above, and the worker that has both.
//
// What it costs while nothing happens is this object, its Conn, and the BoundSession.
//
// To a client without stream management a stanza is delivered when the kernel has all of it; until
// then its home waits, and hears that it is lost where the connection ends before. What the kernel
// had and the client never got is nobody's to know: XEP-0198 is for that.
//
// Owner: the worker, which frees it in OnClosed(). One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "net/conn/admission.h"
#include "net/conn/conn.h"
#include "server/c2s/client_stream.h"
#include "server/c2s/session_ground.h"

namespace server {

// What the calling thread has used of its processor.
net::Duration ThreadCpu();

class Session final : public net::ConnHost, private ClientPort {
 public:
  // `behind`: what a balancer has said of it, if it stands behind one.
  Session(SessionGround& worker, net::Conn& conn, net::Admission admission, uint64_t serial,
          std::unique_ptr<SaslChannel> behind);
  ~Session();

  ClientStream& stream() { return stream_; }
  uint64_t serial() const { return serial_; }  // unlike any other of its worker's
  const net::Address& peer() const { return conn_->peer(); }
  bool secure() const { return stream_.secure(); }
  size_t queued() const { return conn_->queued(); }  // bytes that the kernel has not taken
  // The place that it binds in, or is bound in.
  const SessionId& id() const { return id_; }
  void set_id(const SessionId& id) { id_ = id; }

  // Deliveries and answers end with it: timers are set again.
  void Arm();
  // Some of what was sent is with the kernel. False: nothing is left that anybody waits for.
  bool TellSent();
  // Its session goes on elsewhere: `error` is the last word here.
  std::unique_ptr<BoundSession> Yield(net::StreamError error, std::string_view text);
  void EndNow(net::EndReason reason) { conn_->End(reason); }
  // The connection ends without a word, so that the client resumes its session elsewhere: behind a
  // stream error, or the end of the stream, clients do not (XEP-0198 section 5).
  void Cut();
  // As ClientStream has it.
  void SendAway(std::string_view text);
  void Settled(uint32_t number);

  // --- ConnHost
  void OnOpen(net::Conn& conn, std::unique_ptr<net::TlsFacts> facts) override;
  void OnBytes(net::Conn& conn, std::span<uint8_t> bytes) override;
  void OnEnd(net::Conn& conn, net::PeerEnd end) override;
  void OnDue(net::Conn& conn) override;
  void OnClosed(net::Conn& conn, const net::Ended& ended) override;

 private:
  // --- ClientPort
  net::Time Now() const override;
  int64_t UnixUs() const override;
  void Write(std::string_view xml) override;
  size_t Queued() const override { return queued(); }
  bool HasTls(std::string_view domain) const override;
  void StartTls(std::string_view domain) override;
  void Look(const Jid& user) override;
  void Check(PasswordCheck check) override;
  bool MayTry(const Jid& user) override;
  void OnGuess(const Jid* user) override;
  void SignUp(SignUpRequest request) override;
  void Bind(const Jid& user, std::string resource,
            std::shared_ptr<const LoadedUser> loaded) override;
  void Resume(const Jid& user, std::string previd, uint32_t h) override;
  void Arrived(BoundSession& session, Stanza stanza, uint32_t number) override;
  void StateChanged(BoundSession& session) override;
  void Delivered(BoundSession& session, std::span<const TicketEnd> ended) override;
  void Hold(bool hold) override;
  void OnStreamOver() override;

  void Lost();
  void TellTaken(uint64_t queued);
  void TellUnsent(uint64_t queued);

  // Deliveries that somebody waits for and the kernel has not yet.
  struct Unsent {
    struct One {
      TicketEnd end;
      uint64_t behind;  // bytes of the stream
    };
    SessionId id;
    Jid full;
    std::vector<One> ones;  // in order
  };

  SessionGround& worker_;
  net::Conn* conn_;
  net::Admission admission_;
  const uint64_t serial_;
  std::unique_ptr<SaslChannel> behind_;
  SessionId id_;
  uint64_t written_ = 0;  // bytes of the stream
  uint64_t refused_ = 0;  // of them, the last: its connection did not take them
  std::unique_ptr<Unsent> unsent_;
  ClientStream stream_;
};

}  // namespace server
