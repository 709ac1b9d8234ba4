// What a Session stands on, and all that it knows of its worker.
//
// Thread: the worker's.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "net/base/address.h"
#include "net/tls/context/tls_context.h"
#include "server/c2s/client_stream.h"
#include "server/im/ports.h"

namespace server {

class Session;

class SessionGround {
 public:
  virtual ClientGround& ground() = 0;
  virtual net::Time Now() const = 0;
  virtual int64_t UnixUs() const = 0;
  // The certificate of a domain; null: it has none. "": of the first.
  virtual std::shared_ptr<const net::TlsServerContext> TlsFor(std::string_view domain) const = 0;
  // Answers go to the stream of the session with that serial, later, if it is still there.
  virtual void Look(uint64_t serial, const Jid& user) = 0;
  virtual void Check(uint64_t serial, PasswordCheck check) = 0;
  virtual bool MayTry(const Jid& user, const net::Address& peer) = 0;
  virtual void OnGuess(const Jid* user, const net::Address& peer) = 0;
  virtual void SignUp(uint64_t serial, SignUpRequest request, const net::Address& peer) = 0;
  virtual void BindSession(Session& session, const Jid& user, std::string resource,
                           std::shared_ptr<const LoadedUser> loaded) = 0;
  virtual void ResumeSession(Session& session, const Jid& user, std::string_view previd,
                             uint32_t h) = 0;
  virtual void OnLoginCpu(net::Duration spent) = 0;  // on a client that is not authenticated
  virtual HomeGate& homes() = 0;
  virtual void TellDelivered(const SessionId& session, const Jid& user,
                             std::span<const TicketEnd> ended) = 0;
  // TellSent() at the end of each turn, until it says no more.
  virtual void AwaitSent(Session& session) = 0;
  // The connection is gone; `bound` may come back. None: it was not bound yet.
  virtual void Park(Session& session, std::unique_ptr<BoundSession> bound) = 0;
  // In good order, or with an error: it does not.
  virtual void EndSession(Session& session, std::unique_ptr<BoundSession> bound) = 0;
  virtual void Forget(Session& session) = 0;  // frees it

 protected:
  ~SessionGround() = default;
};

}  // namespace server
