#include "tests/server/im/world.h"

#include <stdexcept>
#include <utility>

#include "net/base/random.h"

namespace server {

World::World(size_t homes, HomeLimits limits, const HomeOptions& like) {
  AddHomeFeatures(handlers, like);
  const auto pong = [](IqCall call) { call.Result(); };
  handlers.Add(IqTarget::kServer, "ping", "urn:xmpp:ping", pong);
  handlers.Add(IqTarget::kAccount, "ping", "urn:xmpp:ping", pong);
  // Who is seen, as handlers are told it.
  handlers.Add(IqTarget::kAccount, "seen", "test:seen", [](IqCall call) {
    call.Result(call.account().SeenBy(call.request().from.Bare()) ? "<yes xmlns='test:seen'/>"
                                                                  : "<no xmlns='test:seen'/>");
  });
  // Forgets to answer.
  handlers.Add(IqTarget::kServer, "silence", "test:silence", [](IqCall) {});
  for (size_t i = 0; i < homes; ++i) {
    HomeOptions options = like;
    options.domains = {domain()};
    options.archive_ids = archive_ids_;
    options.limits = limits;
    homes_.push_back(std::make_unique<Home>(
        std::move(options), *this, *this, store, handlers, clock, [this] { return unix_us; },
        [random = net::FastRandom(i)]() mutable { return random.Next(); }));
  }
}

World::~World() = default;

Home& World::HomeOf(std::string_view bare) {
  return *homes_[std::hash<std::string_view>()(bare) % homes_.size()];
}

void World::Post(std::move_only_function<void()> call) {
  if (direct) return call();
  on_its_way_.push_back(std::move(call));
}

void World::Tick() {
  for (const auto& home : homes_) home->Tick();
  Run();
}

void World::Run() {
  do {
    while (!on_its_way_.empty()) {
      auto next = std::move(on_its_way_.front());
      on_its_way_.pop_front();
      next();
    }
  } while (store.Answer() || !on_its_way_.empty());
}

World::Client* World::Find(const SessionId& id) {
  for (auto& [name, client] : clients_) {
    if (client->id == id) return client.get();
  }
  for (auto& client : old_) {
    if (client->id == id) return client.get();
  }
  return nullptr;
}

Stanza World::Read(const std::string& xml) {
  auto stanza = ParseStanza(xml, kClientSpace);
  if (!stanza) throw std::invalid_argument("not well-formed: " + xml);
  return std::move(*stanza);
}

// --- Stage.

void World::Account(const std::string& name) { store.users[name + "@" + domain()]; }

void World::Friends(const std::string& a, const std::string& b, const std::string& how) {
  const auto put = [&](const std::string& owner, const std::string& other, Subscription is) {
    auto& rows = store.users[owner + "@" + domain()];
    RosterItem item;
    item.jid = other + "@" + domain();
    item.subscription = is;
    item.version = ++rows.version;
    rows.roster[item.jid] = item;
  };
  if (how == "both") {
    put(a, b, Subscription::kBoth);
    put(b, a, Subscription::kBoth);
  } else if (how == "to") {  // a sees b
    put(a, b, Subscription::kTo);
    put(b, a, Subscription::kFrom);
  } else {
    throw std::invalid_argument("friends: both or to, not " + how);
  }
}

void World::Connect(const std::string& name) {
  const size_t slash = name.find('/');
  auto client = std::make_unique<Client>();
  client->id = {.worker = 0, .place = 0, .life = ++lives_};
  client->user = name.substr(0, slash) + "@" + domain();
  BindRequest request{.session = client->id,
                      .user = *Jid::Parse(client->user),
                      .resource = slash == std::string::npos ? "" : name.substr(slash + 1),
                      .loaded = std::make_shared<const LoadedUser>(store.Read(client->user)),
                      .resumable = false,
                      .address = {},
                      .secure = true};
  auto& at = clients_[name];
  if (at != nullptr) old_.push_back(std::move(at));
  at = std::move(client);
  Bind(std::move(request));
  Run();
}

void World::Send(const std::string& name, const std::string& xml) {
  Client& client = At(name);
  Arrive(client.id, *Jid::Parse(client.user), Read(xml), {client.id, ++client.sent});
  Run();
}

std::optional<std::string> World::Next(const std::string& name) {
  Client& client = At(name);
  if (client.inbox.empty()) return std::nullopt;
  std::string xml = std::move(client.inbox.front().xml);
  client.inbox.pop_front();
  return xml;
}

void World::End(Client& client) {
  client.open = false;
  const Jid user = *Jid::Parse(client.user);
  const auto untaken = std::exchange(client.untaken, {});
  for (const auto& [ticket, xml] : untaken) {
    DeliveryEnded(client.id, user, ticket, DeliveryEnd::kLost);
  }
  Gone(client.id, user);
}

void World::Leave(const std::string& name) {
  End(At(name));
  Run();
}

void World::Lose(const std::string& name) { Leave(name); }

void World::Take(const std::string& name) {
  Client& client = At(name);
  client.takes = true;
  while (!client.untaken.empty()) TakeOne(client);
  Run();
}

void World::TakeOne(Client& client) {
  const Client::Untaken taken = std::move(client.untaken.front());
  client.untaken.pop_front();
  if (on_taken) on_taken(client, taken.xml);
  DeliveryEnded(client.id, *Jid::Parse(client.user), taken.ticket, DeliveryEnd::kTaken);
}

void World::Detach(const std::string& name) {
  Client& client = At(name);
  Changed(client.id, *Jid::Parse(client.user),
          {.resumable = true, .detached = true, .active = true});
  Run();
}

void World::Attach(const std::string& name) {
  Client& client = At(name);
  Changed(client.id, *Jid::Parse(client.user),
          {.resumable = true, .detached = false, .active = true});
  Run();
}

uint32_t World::Count(const std::string& name) {
  uint32_t count = 0;
  const Client& client = At(name);
  while (client.settled.contains(count + 1)) ++count;
  return count;
}

std::string World::Closed(const std::string& name) {
  const Client& client = At(name);
  if (client.closed != net::StreamError::kNone) return std::string(net::ToString(client.closed));
  return client.bind_error;
}

void World::StoreIs(const std::string& state) {
  store.stalled = state == "stalled";
  store.fails = state == "down" ? std::optional(StoreError::kDown) : std::nullopt;
  if (state != "stalled" && state != "down" && state != "up") {
    throw std::invalid_argument("the store is stalled, down or up");
  }
  Run();
}

// --- Gates.

void World::Bound(const SessionId& session, const Jid& full) {
  Post([this, session, full] { Find(session)->full = full.full(); });
}

void World::BindFailed(const SessionId& session, std::string error_xml) {
  Post([this, session, error_xml] { Find(session)->bind_error = error_xml; });
}

void World::Deliver(const SessionId& session, Delivery delivery) {
  Post([this, session, delivery = std::move(delivery)]() mutable {
    Client& client = *Find(session);
    const Jid user = *Jid::Parse(client.user);
    const uint64_t ticket = delivery.ticket;
    if (!client.open) {
      if (ticket != 0) DeliveryEnded(session, user, ticket, DeliveryEnd::kLost);
      return;
    }
    if (on_delivered) on_delivered(client, delivery.xml);
    if (ticket != 0) client.untaken.push_back({ticket, delivery.xml});
    client.inbox.push_back(std::move(delivery));
    if (client.takes && ticket != 0) TakeOne(client);
  });
}

void World::Settled(const SenderMark& mark) {
  Post([this, mark] {
    Client* client = Find(mark.session);
    if (!client->settled.insert(mark.number).second) ++client->settled_twice;
  });
}

void World::Close(const SessionId& session, net::StreamError error, std::string) {
  Post([this, session, error] {
    Client& client = *Find(session);
    client.closed = error;
    if (client.open) End(client);
  });
}

void World::Bind(BindRequest request) {
  Post([this, request = std::move(request)]() mutable {
    HomeOf(request.user.full()).Bind(std::move(request));
  });
}

void World::Arrive(const SessionId& session, const Jid& user, Stanza stanza, SenderMark mark) {
  Post([this, session, user, stanza = std::move(stanza), mark]() mutable {
    HomeOf(user.full()).Arrive(session, user, std::move(stanza), mark);
  });
}

void World::Changed(const SessionId& session, const Jid& user, SessionState state) {
  Post([this, session, user, state] { HomeOf(user.full()).Changed(session, user, state); });
}

void World::DeliveryEnded(const SessionId& session, const Jid& user, uint64_t ticket,
                          DeliveryEnd end) {
  Post([this, session, user, ticket, end] {
    HomeOf(user.full()).DeliveryEnded(session, user, ticket, end);
  });
}

void World::Gone(const SessionId& session, const Jid& user) {
  Post([this, session, user] { HomeOf(user.full()).Gone(session, user); });
}

void World::Route(Parcel parcel) {
  if (on_routed) on_routed(parcel);
  Post([this, parcel = std::move(parcel)]() mutable {
    const std::string bare(parcel.to.bare());
    HomeOf(bare).Route(std::move(parcel));
  });
}

}  // namespace server
