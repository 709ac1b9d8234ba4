#include "server/program/session_list.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <mutex>

#include "server/im/home.h"
#include "server/xmpp/stanza.h"

namespace server {
namespace {

struct Gathered {
  std::mutex mutex;
  size_t open;  // workers that have not told theirs
  std::vector<SessionFacts> connections;
  std::map<std::string, SessionFacts> presences;  // by full address
  std::move_only_function<void(std::vector<SessionFacts>)> done;
};

SessionFacts PresenceOf(const HomeSession& session) {
  SessionFacts facts;
  facts.available = session.available;
  facts.priority = session.priority;
  if (session.presence == nullptr) return facts;
  const auto read = ParseStanza(
      "<presence xmlns='jabber:client'>" + *session.presence + "</presence>", kClientSpace);
  if (!read) return facts;
  if (const auto show = read->root().Child("show", kClientSpace)) facts.show = show.Text();
  if (const auto status = read->root().Child("status", kClientSpace)) facts.status = status.Text();
  return facts;
}

std::vector<SessionFacts> Joined(Gathered& all) {
  for (SessionFacts& one : all.connections) {
    const auto at = all.presences.find(one.full);
    if (at == all.presences.end()) continue;
    one.available = at->second.available;
    one.priority = at->second.priority;
    one.show = std::move(at->second.show);
    one.status = std::move(at->second.status);
  }
  std::ranges::sort(all.connections, {}, &SessionFacts::full);
  return std::move(all.connections);
}

}  // namespace

void GatherSessions(XmppService& service,
                    std::move_only_function<void(std::vector<SessionFacts>)> done) {
  const auto all = std::make_shared<Gathered>();
  all->open = service.workers();
  all->done = std::move(done);
  service.OnEachWorker([all](XmppWorker& worker) {
    std::vector<SessionFacts> connections;
    worker.ForEachSession([&](const XmppWorker::SessionSight& sight) {
      SessionFacts& facts = connections.emplace_back();
      facts.full = sight.full.full();
      facts.bound_us = sight.bound_us;
      facts.secure = sight.secure;
      if (sight.peer == nullptr) return;
      std::array<char, net::Address::kTextMax> text{};
      facts.ip = sight.peer->FormatIp(text);
      facts.port = sight.peer->port();
    });
    std::vector<std::pair<std::string, SessionFacts>> presences;
    if (const Home* home = worker.home_box().home()) {
      home->ForEachSession([&](const User& user, const HomeSession& session) {
        presences.emplace_back(user.FullOf(session).full(), PresenceOf(session));
      });
    }
    bool last = false;
    {
      const std::lock_guard lock(all->mutex);
      std::ranges::move(connections, std::back_inserter(all->connections));
      for (auto& [full, facts] : presences) all->presences.insert_or_assign(full, std::move(facts));
      last = --all->open == 0;
    }
    if (last) all->done(Joined(*all));
  });
}

}  // namespace server
