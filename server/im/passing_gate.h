// A HomeGate in front of another: each call goes there, but for those that a derived one looks at.
#pragma once

#include <utility>

#include "server/im/ports.h"

namespace server {

class PassingGate : public HomeGate {
 public:
  explicit PassingGate(HomeGate& next) : next_(next) {}

  void Bind(BindRequest request) override { next_.Bind(std::move(request)); }
  void Arrive(const SessionId& session, const Jid& user, Stanza stanza, SenderMark mark) override {
    next_.Arrive(session, user, std::move(stanza), mark);
  }
  void Changed(const SessionId& session, const Jid& user, SessionState state) override {
    next_.Changed(session, user, state);
  }
  void DeliveryEnded(const SessionId& session, const Jid& user, uint64_t ticket,
                     DeliveryEnd end) override {
    next_.DeliveryEnded(session, user, ticket, end);
  }
  void Gone(const SessionId& session, const Jid& user) override { next_.Gone(session, user); }
  void Resume(const SessionId& next, const Jid& user, uint64_t tag) override {
    next_.Resume(next, user, tag);
  }
  void Route(Parcel parcel) override { next_.Route(std::move(parcel)); }

 private:
  HomeGate& next_;
};

}  // namespace server
