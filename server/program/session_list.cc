#include "server/program/session_list.h"

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>

#include "server/im/home.h"
#include "server/xmpp/stanza.h"

namespace server {
namespace {

struct GatheredSessions {
  std::mutex mutex;
  size_t open;  // workers that have not told theirs
  NodeSessions sessions;
  std::move_only_function<void(const NodeSessions&)> done;
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

}  // namespace

void GatherSessions(XmppService& service, std::move_only_function<void(const NodeSessions&)> done) {
  const auto all = std::make_shared<GatheredSessions>();
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
    std::vector<SessionFacts> presences;
    if (const Home* home = worker.home_box().home()) {
      home->ForEachSession([&](const User& user, const HomeSession& session) {
        presences.push_back(PresenceOf(session));
        presences.back().full = user.FullOf(session).full();
      });
    }
    bool last = false;
    {
      const std::lock_guard lock(all->mutex);
      std::ranges::move(connections, std::back_inserter(all->sessions.connections));
      std::ranges::move(presences, std::back_inserter(all->sessions.presences));
      last = --all->open == 0;
    }
    if (!last) return;
    std::ranges::sort(all->sessions.connections, {}, &SessionFacts::full);
    std::ranges::sort(all->sessions.presences, {}, &SessionFacts::full);
    all->done(all->sessions);
  });
}

}  // namespace server
