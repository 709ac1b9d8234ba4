// Dialogues over sockets: clients with stream management on a node that runs, its store beside it.
//
// A scene has a domain of its own, so that nothing is left of the one before; in what is said and
// heard it is "a.example". The node has one worker: what it has been told by one connection it does
// before what it is told by the next, and behind a write of its store that was asked for later all
// earlier ones have ended, as behind a read all earlier ones (one connection reads). That is what
// Settle() goes by; nothing waits for time. What has to come is waited for all the same: it may ask
// the store more often than the fence does.
//
// One thread; calls throw std::runtime_error where the node does not answer.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "net/base/address.h"
#include "server/store/backend.h"
#include "tests/server/im/dialogue.h"
#include "tests/server/store/store_loop.h"

namespace server::test {

class SocketClient;

class SocketStage final : public DialogueStage {
 public:
  // `node`: where it takes clients from balancers. `store`: the same that the node has.
  SocketStage(const net::Address& node, StoreLoop& loop, StoreClient& store, std::string domain);
  ~SocketStage() override;

  void Account(const std::string& name) override;
  void Friends(const std::string& a, const std::string& b, const std::string& how) override;
  void Connect(const std::string& client) override;
  void Send(const std::string& client, const std::string& xml) override;
  std::optional<std::string> Next(const std::string& client) override;
  std::optional<std::string> Awaited(const std::string& client) override;
  void Leave(const std::string& client) override;
  void Lose(const std::string& client) override;
  void Hold(const std::string& client) override;
  void Take(const std::string& client) override;
  uint32_t Count(const std::string& client) override;
  std::string Closed(const std::string& client) override;
  void StoreIs(const std::string& state) override;
  std::string domain() const override { return "a.example"; }

 private:
  void Put(const std::string& owner, const std::string& other, Subscription is);
  SocketClient& At(const std::string& client) { return *clients_.at(client); }
  std::unique_ptr<SocketClient> Dial(const std::string& name, const std::string& resource);
  void Settle();

  const net::Address node_;
  StoreLoop& loop_;
  StoreClient& store_;
  const std::string real_;
  std::map<std::string, uint64_t> versions_;
  std::unique_ptr<SocketClient> fence_;
  std::map<std::string, std::unique_ptr<SocketClient>> clients_;
  bool settled_ = true;
};

}  // namespace server::test
