// Homes with their users, sessions that note what they get, and a store: XMPP in a node without
// sockets. Calls between the two sides travel as messages, as they do between threads, and arrive
// when Run() lets them.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "net/base/clock.h"
#include "server/im/home.h"
#include "tests/server/im/dialogue.h"
#include "tests/server/im/map_store.h"

namespace server {

class World : public SessionGate, public HomeGate, public DialogueStage {
 public:
  explicit World(size_t homes = 2, HomeLimits limits = {}, const HomeOptions& like = {});
  ~World() override;

  struct Client {
    SessionId id;
    std::string user;  // bare
    std::string full;  // "": not bound
    std::string bind_error;
    std::deque<Delivery> inbox;
    struct Untaken {
      uint64_t ticket;
      std::string xml;
    };
    std::deque<Untaken> untaken;
    bool takes = true;  // what it gets, at once
    bool open = true;
    net::StreamError closed = net::StreamError::kNone;
    uint32_t sent = 0;
    std::set<uint32_t> settled;
    int settled_twice = 0;
  };

  // --- The stage of dialogues. A client is "name/resource".
  void Account(const std::string& name) override;
  void Friends(const std::string& a, const std::string& b, const std::string& how) override;
  void Connect(const std::string& client) override;
  void Send(const std::string& client, const std::string& xml) override;
  std::optional<std::string> Next(const std::string& client) override;
  void Leave(const std::string& client) override;
  void Lose(const std::string& client) override;
  void Hold(const std::string& client) override { At(client).takes = false; }
  void Take(const std::string& client) override;
  void TakeOne(Client& client);
  uint32_t Count(const std::string& client) override;
  std::string Closed(const std::string& client) override;
  void StoreIs(const std::string& state) override;
  std::string domain() const override { return "a.example"; }

  Client& At(const std::string& client) { return *clients_.at(client); }
  bool HasClient(const std::string& client) const { return clients_.contains(client); }
  // Those that were replaced by others of their name, too.
  template <typename Visit>
  void ForEachClient(Visit visit) const {
    for (const auto& client : old_) visit(*client);
    for (const auto& [name, client] : clients_) visit(*client);
  }
  Home& HomeOf(std::string_view bare);
  void Tick();
  void Run();  // until nothing is on its way
  Stanza Read(const std::string& xml);
  void Detach(const std::string& client);
  void Attach(const std::string& client);

  MapStore store;
  net::ManualClock clock;
  IqTable handlers;
  int64_t unix_us = 1'800'000'000'000'000;
  // Calls between the sides are made at once, on the stack of whoever makes them, as they may be on
  // one thread.
  bool direct = false;
  // See what happens, where they are set.
  std::function<void(const Client& client, const std::string& xml)> on_delivered;
  std::function<void(const Client& client, const std::string& xml)> on_taken;
  std::function<void(const Parcel& parcel)> on_routed;

  // --- SessionGate
  void Bound(const SessionId& session, const Jid& full) override;
  void BindFailed(const SessionId& session, std::string error_xml) override;
  void Deliver(const SessionId& session, Delivery delivery) override;
  void Settled(const SenderMark& mark) override;
  void Close(const SessionId& session, net::StreamError error, std::string text) override;
  // Its clients resume where they were.
  void Move(const SessionId&, const SessionId&, const Jid&) override {}
  void ResumeFailed(const SessionId&) override {}
  // --- HomeGate
  void Bind(BindRequest request) override;
  void Arrive(const SessionId& session, const Jid& user, Stanza stanza, SenderMark mark) override;
  void Changed(const SessionId& session, const Jid& user, SessionState state) override;
  void DeliveryEnded(const SessionId& session, const Jid& user, uint64_t ticket,
                     DeliveryEnd end) override;
  void Gone(const SessionId& session, const Jid& user) override;
  void Resume(const SessionId&, const Jid&, uint64_t) override {}
  void Route(Parcel parcel) override;

 protected:
  void Post(std::move_only_function<void()> call);

  const std::shared_ptr<ArchiveIds> archive_ids_ = std::make_shared<ArchiveIds>(1);

 private:
  Client* Find(const SessionId& id);
  void End(Client& client);

  std::vector<std::unique_ptr<Home>> homes_;
  std::map<std::string, std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Client>> old_;
  std::deque<std::move_only_function<void()>> on_its_way_;
  uint64_t lives_ = 0;
};

}  // namespace server
