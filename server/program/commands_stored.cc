// account …, blocklist …, domain …, last …, private …, stat …: what is stored of accounts.
#include <algorithm>
#include <array>
#include <utility>

#include "net/base/wall_clock.h"
#include "server/program/xmpp_commands.h"
#include "server/xmpp/date_time.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr int64_t kSecond = 1'000'000;
constexpr size_t kBannedListMax = 20'000;

// --- Banned accounts: nobody logs in, and who is there goes.

void Ban(CommandCall call, const HomeOf& at, std::string reason,
         std::move_only_function<void(CommandCall call)> then) {
  WithAccount(
      std::move(call), at.store, at.user,
      [user = at.user.Bare(), &home = at.home, &store = at.store, reason = std::move(reason),
       then = std::move(then)](CommandCall c, const LoadedUser&) mutable {
        // Before the call: what moves the reason on may be evaluated first.
        WriteBatch batch{SetBanned{.user = user.full(), .reason = reason}};
        store.Write(std::move(batch), [c = std::move(c), user, &home, reason = std::move(reason),
                                       then = std::move(then)](auto written) mutable {
          if (!written) return c.StoreFailed(written.error());
          if (!reason.empty()) home.Kick(user, reason);
          then(std::move(c));
        });
      });
}

void BanUser(CommandCall call, const HomeOf& at) {
  std::string reason = call.Text("reason");
  if (reason.empty()) reason = "Kicked by administrator";
  Ban(std::move(call), at, reason, [user = at.user.Bare(), reason](CommandCall c) {
    CtlJson result = CtlJson::Object();
    result.Set("message", CtlJson::Text("User " + user.full() +
                                        " successfully banned with reason: " + reason));
    result.Set("jid", CtlJson::Text(user.full()));
    c.Result(std::move(result));
  });
}

void Block(CommandCall call, const HomeOf& at, bool block) {
  std::string reason = block ? call.Text("reason") : "";
  if (block && reason.empty()) reason = "blocked";
  Ban(std::move(call), at, reason, [](CommandCall c) { c.Result(CtlJson::Bool(true)); });
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
  ground.OnStore([found, count, domain = *domain](StoreClient& store) {
    ForEachAccount(
        store, {domain},
        [found](StoreClient& s, const std::string& user, auto next) {
          s.Load(user, [found, user, next = std::move(next)](const auto& loaded) mutable {
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
          const uint64_t most =
              std::min<uint64_t>(found->call.Number("limit", kBannedListMax), kBannedListMax);
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
    {"account", "banUser", AtHome{OfUser, BanUser}},
    {"blocklist", "addUser",
     AtHome{OfUser, [](CommandCall c, const HomeOf& at) { Block(std::move(c), at, true); }}},
    {"blocklist", "removeUser",
     AtHome{OfUser, [](CommandCall c, const HomeOf& at) { Block(std::move(c), at, false); }}},
    {"blocklist", "userCount",
     Anywhere{[](CommandCall call) { ListBlocked(std::move(call), true); }}},
    {"blocklist", "listBlockedUsers",
     Anywhere{[](CommandCall call) { ListBlocked(std::move(call), false); }}},
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
  ground.OnStore([call = std::move(call), domain = *domain, online](StoreClient& store) mutable {
    store.CountAccounts(domain, [call = std::move(call), online](auto count) mutable {
      if (!count) return call.StoreFailed(count.error());
      CtlJson result = CtlJson::Object();
      result.Set("registeredUsers", CtlJson::Count(*count));
      result.Set("onlineUsers", CtlJson::Count(online));
      call.Result(std::move(result));
    });
  });
}

constexpr std::array kDomain = std::to_array<XmppCommand>({
    {"domain", "allDomains", Anywhere{AllDomains}},
    {"domain", "domainsByHostType", Anywhere{DomainsByHostType}},
    {"domain", "domainDetails", Anywhere{DomainDetails}},
    {"domain", "addDomain", Anywhere{NoDynamicDomains}},
    {"domain", "removeDomain", Anywhere{NoDynamicDomains}},
    {"domain", "requestRemoveDomain", Anywhere{NoDynamicDomains}},
    {"domain", "enableDomain", Anywhere{NoDynamicDomains}},
    {"domain", "disableDomain", Anywhere{NoDynamicDomains}},
    {"domain", "setDomainPassword", Anywhere{NoDynamicDomains}},
    {"domain", "deleteDomainPassword", Anywhere{NoDynamicDomains}},
    {"stat", "domainStats", Anywhere{DomainStats}},
});

// --- Last activity

CtlJson LastJson(const LastActivity& last) {
  CtlJson json = CtlJson::Object();
  json.Set("timestamp", CtlJson::Text(DateTimeText(last.seconds * kSecond)));
  json.Set("status", CtlJson::Text(last.status));
  return json;
}

void GetLast(CommandCall call, const HomeOf& at) {
  WithAccount(std::move(call), at.store, at.user,
              [user = at.user.Bare(), &store = at.store](CommandCall c, LoadedUser) {
                store.Last(user.full(), [c = std::move(c), user](auto last) mutable {
                  if (last) return c.Result(LastJson(*last));
                  if (last.error() != StoreError::kAbsent) return c.StoreFailed(last.error());
                  c.Fault("Given user's last info not found", "last_not_found",
                          {{"user", user.full()}});
                });
              });
}

void SetLast(CommandCall call, const HomeOf& at) {
  const auto time = call.Time("timestamp");
  if (!time) return;
  const int64_t us = *time == 0 ? net::UnixUs() : *time;
  LastActivity last{.seconds = us / kSecond, .status = call.Text("status")};
  WithAccount(std::move(call), at.store, at.user,
              [user = at.user.Bare(), &store = at.store, last = std::move(last)](CommandCall c,
                                                                                 LoadedUser) {
                store.Write({PutLast{.user = user.full(), .last = last}},
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

void LookAt(const std::shared_ptr<Activity>& activity, StoreClient& store, const std::string& user,
            std::move_only_function<void()> next) {
  store.Last(user, [activity, &store, user, next = std::move(next)](auto last) mutable {
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
    store.Write({RemoveAccount{.user = user}},
                [activity, user, line = std::move(line),
                 next = std::move(next)](const auto& written) mutable {
                  if (written) {
                    activity->old.Add(std::move(line));
                    // Whoever came meanwhile goes.
                    activity->call.ground().Expel(user);
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
  const int64_t us = *since == 0 ? net::UnixUs() : *since;
  const auto activity = std::make_shared<Activity>(
      Activity{.call = std::move(call), .since_s = us / kSecond, .online = {}, .remove = remove});
  for (const KnownSession& known : ground.hooks.sessions()) {
    activity->online.push_back(known.full.substr(0, known.full.find('/')));
  }
  std::ranges::sort(activity->online);
  ground.OnStore([activity, count, domains = std::move(domains)](StoreClient& store) {
    ForEachAccount(
        store, domains,
        [activity](StoreClient& s, const std::string& user, auto next) {
          LookAt(activity, s, user, std::move(next));
        },
        [activity, count](std::optional<StoreError> error) {
          if (error) return activity->call.StoreFailed(*error);
          if (count) return activity->call.Result(CtlJson::Count(activity->active));
          activity->call.Result(std::move(activity->old));
        });
  });
}

constexpr std::array kLast = std::to_array<XmppCommand>({
    {"last", "getLast", AtHome{OfUser, GetLast}},
    {"last", "setLast", AtHome{OfUser, SetLast}},
    {"last", "countActiveUsers",
     Anywhere{[](CommandCall c) { Active(std::move(c), true, false); }}},
    {"last", "listOldUsers", Anywhere{[](CommandCall c) { Active(std::move(c), false, false); }}},
    {"last", "removeOldUsers", Anywhere{[](CommandCall c) { Active(std::move(c), false, true); }}},
});

// --- Private XML

// By the module, so that its limits hold.
void AskPrivate(CommandCall call, const HomeOf& at, StanzaType type, const std::string& element) {
  std::string xml = "<query xmlns='jabber:iq:private'>" + element + "</query>";
  at.home.AskAs(at.user.Bare(), type, std::move(xml),
                [call = std::move(call), user = at.user.Bare(), element](
                    StanzaType ended, const std::string& content) mutable {
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
}

void SetPrivate(CommandCall call, const HomeOf& at) {
  const std::string element = call.Text("elementString");
  if (!ParseStanza(element, {})) return call.Fault("That is no element of XML", "invalid_xml");
  AskPrivate(std::move(call), at, StanzaType::kSet, element);
}

void GetPrivate(CommandCall call, const HomeOf& at) {
  std::string element = "<" + call.Text("element");
  AppendXmlAttribute(element, "xmlns", call.Text("nameSpace"));
  element += "/>";
  if (!ParseStanza(element, {})) return call.Fault("That is no name of XML", "invalid_xml");
  AskPrivate(std::move(call), at, StanzaType::kGet, element);
}

constexpr std::array kPrivate = std::to_array<XmppCommand>({
    {"private", "getPrivate", AtHome{OfUser, GetPrivate}},
    {"private", "setPrivate", AtHome{OfUser, SetPrivate}},
});

}  // namespace

std::span<const XmppCommand> AccountCommands() { return kAccount; }
std::span<const XmppCommand> DomainCommands() { return kDomain; }
std::span<const XmppCommand> LastCommands() { return kLast; }
std::span<const XmppCommand> PrivateCommands() { return kPrivate; }

}  // namespace server
