#include "tests/server/dialogues/socket_stage.h"

#include <cctype>
#include <chrono>
#include <stdexcept>
#include <utility>

#include "server/sasl/scram.h"
#include "tests/server/dialogues/socket_client.h"

namespace server::test {
namespace {

// What one answer of the store may lead to: a write at the other side, a push of that, and so on.
constexpr int kRounds = 4;
constexpr std::chrono::seconds kAwaited{10};
constexpr int kReads = 16;

// Where `from` stands for a domain of its own.
std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != text.npos;) {
    const char before = at == 0 ? ' ' : text[at - 1];
    const bool alone =
        std::isalnum(static_cast<unsigned char>(before)) == 0 && before != '-' && before != '.';
    if (alone) text.replace(at, from.size(), to);
    at += alone ? to.size() : from.size();
  }
  return text;
}

void Done(const StoreLoop::Result<std::monostate>& written) {
  if (!written) throw std::runtime_error("the store: " + std::string(ToString(written.error())));
}

}  // namespace

SocketStage::SocketStage(const net::Address& node, StoreLoop& loop, StoreClient& store,
                         std::string domain)
    : node_(node), loop_(loop), store_(store), real_(std::move(domain)) {
  Account("fence");
  fence_ = Dial("fence", "fence");
  // Every thread of the store's readers has its connection before the scene begins.
  for (int i = 0; i < kReads; ++i) {
    fence_->Say("<iq type='get' id='r" + std::to_string(i) + "'><vCard xmlns='vcard-temp'/></iq>");
  }
  for (int i = 0; i < kReads; ++i) fence_->Until("r" + std::to_string(i));
}

SocketStage::~SocketStage() = default;

void SocketStage::Account(const std::string& name) {
  CreateAccount create{.user = name + "@" + real_, .account = {}};
  create.account.keys[0] = MakeScramKeys(ScramHash::kSha1, "secret", "salt", 16);
  Done(loop_.Write(store_, {std::move(create)}));
}

void SocketStage::Put(const std::string& owner, const std::string& other, Subscription is) {
  RosterItem item;
  item.jid = other + "@" + real_;
  item.subscription = is;
  item.version = ++versions_[owner];
  Done(loop_.Write(store_, {PutRosterItem{.user = owner + "@" + real_, .item = item}}));
}

void SocketStage::Friends(const std::string& a, const std::string& b, const std::string& how) {
  if (how != "both" && how != "to") throw std::runtime_error("friends: both or to, not " + how);
  Put(a, b, how == "both" ? Subscription::kBoth : Subscription::kTo);
  Put(b, a, how == "both" ? Subscription::kBoth : Subscription::kFrom);
}

std::unique_ptr<SocketClient> SocketStage::Dial(const std::string& name,
                                                const std::string& resource) {
  settled_ = false;
  return std::make_unique<SocketClient>(node_, name, real_, resource);
}

void SocketStage::Connect(const std::string& client) {
  const size_t slash = client.find('/');
  Settle();  // who comes again comes behind the end of the one before
  auto at = Dial(client.substr(0, slash), slash == client.npos ? "" : client.substr(slash + 1));
  clients_[client] = std::move(at);
}

void SocketStage::Send(const std::string& client, const std::string& xml) {
  At(client).Say(Replaced(xml, domain(), real_));
  if (const auto stanza = ParseStanza(xml, kClientSpace)) At(client).Ask(*stanza);
  settled_ = false;
  // What two clients say arrives in the order in which they said it.
  if (!At(client).over) At(client).Count();
}

// Behind what it asks for, all that was under way has ended.
void SocketStage::Settle() {
  if (std::exchange(settled_, true)) return;
  for (int round = 0; round < kRounds; ++round) {
    for (const auto& [name, client] : clients_) client->Hear(false);
    const std::string id = "fence" + std::to_string(round);
    fence_->Say("<iq type='set' id='" + id + "'><vCard xmlns='vcard-temp'><NOTE>" + id +
                "</NOTE></vCard></iq>");
    if (!fence_->Until(id)) throw std::runtime_error("the node is gone");
    fence_->Say("<iq type='get' id='" + id + "g'><vCard xmlns='vcard-temp'/></iq>");
    if (!fence_->Until(id + "g")) throw std::runtime_error("the node is gone");
  }
  // Reads of stores overtake each other.
  for (const auto& [name, client] : clients_) {
    while (client->open() > 0 && client->Hear(true)) {
    }
    client->ForgetOpen();
  }
}

std::optional<std::string> SocketStage::Next(const std::string& client) {
  Settle();
  SocketClient& at = At(client);
  at.Hear(false);
  if (at.inbox.empty()) return std::nullopt;
  std::string xml = std::move(at.inbox.front());
  at.inbox.pop_front();
  return Replaced(std::move(xml), real_, domain());
}

std::optional<std::string> SocketStage::Awaited(const std::string& client) {
  Settle();
  SocketClient& at = At(client);
  const auto deadline = std::chrono::steady_clock::now() + kAwaited;
  while (at.inbox.empty() && at.HearUntil(deadline)) {
  }
  return Next(client);
}

void SocketStage::Leave(const std::string& client) {
  Settle();
  At(client).Hear(false);
  At(client).Close();
  settled_ = false;
}

void SocketStage::Lose(const std::string& client) {
  Settle();
  At(client).Hear(false);
  At(client).Cut();
  settled_ = false;
}

void SocketStage::Hold(const std::string& client) {
  Settle();
  At(client).Hear(false);
  At(client).takes = false;
}

void SocketStage::Take(const std::string& client) {
  Settle();
  At(client).takes = true;
  At(client).Hear(false);
  settled_ = false;
}

uint32_t SocketStage::Count(const std::string& client) {
  Settle();
  return At(client).Count();
}

std::string SocketStage::Closed(const std::string& client) {
  Settle();
  At(client).Hear(false);
  return At(client).error;
}

void SocketStage::StoreIs(const std::string&) {
  throw std::runtime_error("the store of a node is not ours to stop");
}

}  // namespace server::test
