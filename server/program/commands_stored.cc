// account …, blocklist …, domain …, last …, private …, stat …: what is stored of accounts.
#include <algorithm>
#include <array>
#include <utility>

#include "server/program/xmpp_commands.h"
#include "server/xmpp/date_time.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr size_t kListMax = 20'000;

// --- Banned accounts: nobody logs in, and who is there goes.

void Ban(CommandCall call, const Jid& user, std::string reason,
         std::move_only_function<void(CommandCall call)> then) {
  WithAccount(std::move(call), user,
              [user = user.Bare(), reason = std::move(reason), then = std::move(then)](
                  CommandCall c, XmppWorker& worker, const LoadedUser&) mutable {
                // Before the call: what moves the reason on may be evaluated first.
                WriteBatch batch{SetBanned{.user = user.full(), .reason = reason}};
                worker.store().Write(std::move(batch),
                                     [c = std::move(c), user, reason = std::move(reason),
                                      then = std::move(then), &worker](auto written) mutable {
                                       if (!written) return c.StoreFailed(written.error());
                                       if (Home* home = worker.home_box().home();
                                           home != nullptr && !reason.empty()) {
                                         home->Kick(user, reason);
                                       }
                                       then(std::move(c));
                                     });
              });
}

void BanUser(CommandCall call) {
  const auto user = call.User("user");
  if (!user) return;
  std::string reason = call.Text("reason");
  if (reason.empty()) reason = "Kicked by administrator";
  Ban(std::move(call), *user, reason, [user = user->Bare(), reason](CommandCall c) {
    CtlJson result = CtlJson::Object();
    result.Set("message", CtlJson::Text("User " + user.full() +
                                        " successfully banned with reason: " + reason));
    result.Set("jid", CtlJson::Text(user.full()));
    c.Result(std::move(result));
  });
}

void Block(CommandCall call, bool block) {
  const auto user = call.User("user");
  if (!user) return;
  std::string reason = block ? call.Text("reason") : "";
  if (block && reason.empty()) reason = "blocked";
  Ban(std::move(call), *user, reason, [](CommandCall c) { c.Result(CtlJson::Bool(true)); });
}

// Of a domain; `visit` of each that is banned.
void ListBlocked(CommandCall call, bool count) {
  const auto domain = call.Domain("domain");
  if (!domain) return;
  struct Found {
    CommandCall call;
    std::vector<std::pair<std::string, std::string>> users;
  };
  CommandGround& ground = call.ground();
  const auto found = std::make_shared<Found>(Found{std::move(call), {}});
  ground.service.OnWorker([found, count, domain = *domain](XmppWorker& worker) {
    ForEachAccount(
        worker, {domain},
        [found](XmppWorker& w, const std::string& user, auto next) {
          w.store().Load(user, [found, user, next = std::move(next)](const auto& loaded) mutable {
            if (loaded && !loaded->account.banned.empty()) {
              found->users.emplace_back(user, loaded->account.banned);
            }
            next();
          });
        },
        [found, count](std::optional<StoreError> error) {
          if (error) return found->call.StoreFailed(*error);
          if (count) return found->call.Result(CtlJson::Count(found->users.size()));
          CtlJson list = CtlJson::List();
          const uint64_t first = found->call.Number("index", 0);
          const uint64_t most = std::min<uint64_t>(found->call.Number("limit", kListMax), kListMax);
          for (uint64_t i = first; i < found->users.size() && i - first < most; ++i) {
            CtlJson line = CtlJson::Object();
            line.Set("user", CtlJson::Text(found->users[i].first));
            line.Set("reason", CtlJson::Text(found->users[i].second));
            list.Add(std::move(line));
          }
          found->call.Result(std::move(list));
        });
  });
}

constexpr std::array kAccount = std::to_array<XmppCommand>({
    {"account", "banUser", BanUser},
    {"blocklist", "addUser", [](CommandCall call) { Block(std::move(call), true); }},
    {"blocklist", "removeUser", [](CommandCall call) { Block(std::move(call), false); }},
    {"blocklist", "userCount", [](CommandCall call) { ListBlocked(std::move(call), true); }},
    {"blocklist", "listBlockedUsers",
     [](CommandCall call) { ListBlocked(std::move(call), false); }},
});

// --- Domains: those of the file, which no command changes.

CtlJson DomainJson(const std::string& domain) {
  CtlJson json = CtlJson::Object();
  json.Set("domain", CtlJson::Text(domain));
  json.Set("hostType", CtlJson::Text(domain));
  json.Set("type", CtlJson::Text("STATIC"));
  json.Set("status", CtlJson::Text("ENABLED"));
  return json;
}

void AllDomains(CommandCall call) {
  CtlJson list = CtlJson::List();
  for (const std::string& domain : call.ground().domains) list.Add(DomainJson(domain));
  call.Result(std::move(list));
}

void DomainsByHostType(CommandCall call) {
  const std::string type = call.Text("hostType");
  CtlJson list = CtlJson::List();
  for (const std::string& domain : call.ground().domains) {
    if (domain == type) list.Add(CtlJson::Text(domain));
  }
  call.Result(std::move(list));
}

void DomainDetails(CommandCall call) {
  const auto domain = call.Domain("domain");
  if (domain) call.Result(DomainJson(*domain));
}

void NoDynamicDomains(CommandCall call) {
  call.Fault("Domains stand in the node's mongooseim.toml, as [[host]]: change them there",
             "deps_not_loaded");
}

void DomainStats(CommandCall call) {
  const auto domain = call.Domain("domain");
  if (!domain) return;
  uint64_t online = 0;
  const std::string end = "@" + *domain;
  for (const KnownSession& known : call.ground().hooks.sessions()) {
    if (std::string_view(known.full).substr(0, known.full.find('/')).ends_with(end)) ++online;
  }
  CommandGround& ground = call.ground();
  ground.service.OnWorker(
      [call = std::move(call), domain = *domain, online](XmppWorker& worker) mutable {
        worker.store().CountAccounts(domain, [call = std::move(call), online](auto count) mutable {
          if (!count) return call.StoreFailed(count.error());
          CtlJson result = CtlJson::Object();
          result.Set("registeredUsers", CtlJson::Count(*count));
          result.Set("onlineUsers", CtlJson::Count(online));
          call.Result(std::move(result));
        });
      });
}

constexpr std::array kDomain = std::to_array<XmppCommand>({
    {"domain", "allDomains", AllDomains},
    {"domain", "domainsByHostType", DomainsByHostType},
    {"domain", "domainDetails", DomainDetails},
    {"domain", "addDomain", NoDynamicDomains},
    {"domain", "removeDomain", NoDynamicDomains},
    {"domain", "requestRemoveDomain", NoDynamicDomains},
    {"domain", "enableDomain", NoDynamicDomains},
    {"domain", "disableDomain", NoDynamicDomains},
    {"domain", "setDomainPassword", NoDynamicDomains},
    {"domain", "deleteDomainPassword", NoDynamicDomains},
    {"stat", "domainStats", DomainStats},
});

// --- Last activity

CtlJson LastJson(const LastActivity& last) {
  CtlJson json = CtlJson::Object();
  json.Set("timestamp", CtlJson::Text(DateTimeText(last.seconds * kSecond)));
  json.Set("status", CtlJson::Text(last.status));
  return json;
}

void GetLast(CommandCall call) {
  const auto user = call.User("user");
  if (!user) return;
  WithAccount(
      std::move(call), *user, [user = user->Bare()](CommandCall c, XmppWorker& worker, LoadedUser) {
        worker.store().Last(user.full(), [c = std::move(c), user](auto last) mutable {
          if (last) return c.Result(LastJson(*last));
          if (last.error() != StoreError::kAbsent) return c.StoreFailed(last.error());
          c.Fault("Given user's last info not found", "last_not_found", {{"user", user.full()}});
        });
      });
}

void SetLast(CommandCall call) {
  const auto user = call.User("user");
  if (!user) return;
  const auto time = call.Time("timestamp");
  if (!time) return;
  const int64_t at = *time == 0 ? NowUnixUs() : *time;
  LastActivity last{.seconds = at / kSecond, .status = call.Text("status")};
  WithAccount(
      std::move(call), *user,
      [user = user->Bare(), last = std::move(last)](CommandCall c, XmppWorker& worker, LoadedUser) {
        worker.store().Write({PutLast{.user = user.full(), .last = last}},
                             [c = std::move(c), last](auto written) mutable {
                               if (!written) return c.StoreFailed(written.error());
                               c.Result(LastJson(last));
                             });
      });
}

// Who was here at `since` or later, or is here now; and the others.
struct Activity {
  CommandCall call;
  int64_t since_s;
  std::vector<std::string> online;  // bare, sorted
  bool remove = false;
  uint64_t active = 0;
  CtlJson old = CtlJson::List();
};

// Whoever came meanwhile goes, and what homes remember of the account, too.
void Forget(XmppService& service, const std::string& user) {
  service.OnEachWorker([jid = Jid::OfPrepared(user)](XmppWorker& worker) {
    worker.Expel(jid, "the account is no more");
  });
}

void LookAt(const std::shared_ptr<Activity>& activity, XmppWorker& worker, const std::string& user,
            std::move_only_function<void()> next) {
  worker.store().Last(user, [activity, &worker, user, next = std::move(next)](auto last) mutable {
    const bool online = std::ranges::binary_search(activity->online, user);
    const bool failed = !last && last.error() != StoreError::kAbsent;
    if (failed || online || (last && last->seconds >= activity->since_s)) {
      ++activity->active;
      return next();
    }
    CtlJson line = CtlJson::Object();
    line.Set("jid", CtlJson::Text(user));
    line.Set("timestamp",
             last ? CtlJson::Text(DateTimeText(last->seconds * kSecond)) : CtlJson::Null());
    if (!activity->remove) {
      activity->old.Add(std::move(line));
      return next();
    }
    worker.store().Write({RemoveAccount{.user = user}},
                         [activity, user, line = std::move(line),
                          next = std::move(next)](const auto& written) mutable {
                           if (written) {
                             activity->old.Add(std::move(line));
                             Forget(activity->call.ground().service, user);
                           }
                           next();
                         });
  });
}

void Active(CommandCall call, bool count, bool remove) {
  const auto domain = call.Domain("domain");
  if (!domain) return;
  const auto since = call.Time("timestamp");
  if (!since) return;
  std::vector<std::string> domains = call.ground().domains;
  if (!domain->empty()) domains = {*domain};
  CommandGround& ground = call.ground();
  const int64_t us = *since == 0 ? NowUnixUs() : *since;
  const auto activity = std::make_shared<Activity>(
      Activity{.call = std::move(call), .since_s = us / kSecond, .online = {}, .remove = remove});
  for (const KnownSession& known : ground.hooks.sessions()) {
    activity->online.push_back(known.full.substr(0, known.full.find('/')));
  }
  std::ranges::sort(activity->online);
  ground.service.OnWorker([activity, count, domains = std::move(domains)](XmppWorker& worker) {
    ForEachAccount(
        worker, domains,
        [activity](XmppWorker& w, const std::string& user, auto next) {
          LookAt(activity, w, user, std::move(next));
        },
        [activity, count](std::optional<StoreError> error) {
          if (error) return activity->call.StoreFailed(*error);
          if (count) return activity->call.Result(CtlJson::Count(activity->active));
          activity->call.Result(std::move(activity->old));
        });
  });
}

constexpr std::array kLast = std::to_array<XmppCommand>({
    {"last", "getLast", GetLast},
    {"last", "setLast", SetLast},
    {"last", "countActiveUsers", [](CommandCall c) { Active(std::move(c), true, false); }},
    {"last", "listOldUsers", [](CommandCall c) { Active(std::move(c), false, false); }},
    {"last", "removeOldUsers", [](CommandCall c) { Active(std::move(c), false, true); }},
});

// --- Private XML

// By the module, so that its limits hold.
void AskPrivate(CommandCall call, const Jid& user, StanzaType type, const std::string& element) {
  CommandGround& ground = call.ground();
  std::string xml = "<query xmlns='jabber:iq:private'>" + element + "</query>";
  AtHome(ground, user,
         [call = std::move(call), user = user.Bare(), type, element, xml = std::move(xml)](
             XmppWorker&, Home& home) mutable {
           home.AskAs(user, type, std::move(xml),
                      [call = std::move(call), user, element](StanzaType ended,
                                                              const std::string& content) mutable {
                        if (ended != StanzaType::kResult) {
                          const std::string condition = ConditionOf(content);
                          if (condition == "item-not-found") return call.NoSuchUser(user);
                          return call.Fault("It was not done: " + condition, condition);
                        }
                        if (content.empty()) return call.Result(element);
                        const auto query = ParseStanza(content, kClientSpace);
                        std::string found;
                        if (query) query->root().FirstChild().AppendTo(found, {});
                        call.Result(found);
                      });
         });
}

void SetPrivate(CommandCall call) {
  const auto user = call.User("user");
  if (!user) return;
  const std::string element = call.Text("elementString");
  if (!ParseStanza(element, {})) return call.Fault("That is no element of XML", "invalid_xml");
  AskPrivate(std::move(call), *user, StanzaType::kSet, element);
}

void GetPrivate(CommandCall call) {
  const auto user = call.User("user");
  if (!user) return;
  std::string element = "<" + call.Text("element");
  AppendXmlAttribute(element, "xmlns", call.Text("nameSpace"));
  element += "/>";
  if (!ParseStanza(element, {})) return call.Fault("That is no name of XML", "invalid_xml");
  AskPrivate(std::move(call), *user, StanzaType::kGet, element);
}

constexpr std::array kPrivate = std::to_array<XmppCommand>({
    {"private", "getPrivate", GetPrivate},
    {"private", "setPrivate", SetPrivate},
});

}  // namespace

std::span<const XmppCommand> AccountCommands() { return kAccount; }
std::span<const XmppCommand> DomainCommands() { return kDomain; }
std::span<const XmppCommand> LastCommands() { return kLast; }
std::span<const XmppCommand> PrivateCommands() { return kPrivate; }

}  // namespace server
