// session …: who is connected, and what operators do about it.
#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "server/program/session_list.h"
#include "server/program/xmpp_commands.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

// One answer's bound of sessions.
constexpr size_t kListMax = 20'000;

constexpr std::string_view kKicked = "Kicked by administrator";

bool Of(const std::string& full, const std::string& domain) {
  if (domain.empty()) return true;
  const size_t at = full.find('@');
  const std::string_view rest = std::string_view(full).substr(at == full.npos ? 0 : at + 1);
  return rest.substr(0, rest.find('/')) == domain;
}

bool IsOf(const std::string& full, const Jid& user) {
  return std::string_view(full).substr(0, full.find('/')) == user.bare();
}

CtlJson Line(const SessionFacts& facts, const std::string& node, int64_t now_us) {
  CtlJson line = CtlJson::Object();
  line.Set("user", CtlJson::Text(facts.full));
  line.Set("connection", CtlJson::Text(facts.secure ? "c2s_tls" : "c2s"));
  line.Set("ip", facts.ip.empty() ? CtlJson::Null() : CtlJson::Text(facts.ip));
  line.Set("port", facts.ip.empty() ? CtlJson::Null() : CtlJson::Number(facts.port));
  line.Set("priority", facts.available ? CtlJson::Number(facts.priority) : CtlJson::Null());
  line.Set("node", CtlJson::Text(node));
  line.Set("uptime", CtlJson::Number(std::max<int64_t>(now_us - facts.bound_us, 0) / 1'000'000));
  return line;
}

// Of another node: it has what is not told here.
CtlJson Line(const KnownSession& known) {
  CtlJson line = CtlJson::Object();
  line.Set("user", CtlJson::Text(known.full));
  for (const char* unknown : {"connection", "ip", "port", "priority"}) {
    line.Set(unknown, CtlJson::Null());
  }
  line.Set("node", CtlJson::Text(known.node));
  line.Set("uptime", CtlJson::Number(0));
  return line;
}

// Those that `wants` says yes to, as a list.
void List(CommandCall call, std::function<bool(const std::string& full)> wants) {
  std::vector<KnownSession> elsewhere = call.ground().hooks.sessions();
  std::erase_if(elsewhere, [&](const KnownSession& known) {
    return known.node == call.ground().node || !wants(known.full);
  });
  XmppService& service = call.ground().service;
  GatherSessions(service, [call = std::move(call), wants = std::move(wants),
                           elsewhere = std::move(elsewhere)](auto sessions) mutable {
    CtlJson list = CtlJson::List();
    size_t count = 0;
    const int64_t now = NowUnixUs();
    for (const SessionFacts& facts : sessions) {
      if (wants(facts.full) && ++count <= kListMax) list.Add(Line(facts, call.ground().node, now));
    }
    for (const KnownSession& known : elsewhere) {
      if (++count <= kListMax) list.Add(Line(known));
    }
    if (count <= kListMax) return call.Result(std::move(list));
    CtlAnswer answer{.data = std::move(list), .faults = {}};
    answer.faults.push_back({.message = "There are " + std::to_string(count) +
                                        " sessions, and one answer holds " +
                                        std::to_string(kListMax) + ": ask for a domain or a user",
                             .extensions = {{"code", "too_many"}}});
    call.Answer(std::move(answer));
  });
}

void ListSessions(CommandCall call) {
  const auto domain = call.Domain("domain");
  if (!domain) return;
  List(std::move(call), [domain = *domain](const std::string& full) { return Of(full, domain); });
}

void CountSessions(CommandCall call) {
  const auto domain = call.Domain("domain");
  if (!domain) return;
  const auto known = call.ground().hooks.sessions();
  const auto count =
      std::ranges::count_if(known, [&](const KnownSession& k) { return Of(k.full, *domain); });
  call.Result(CtlJson::Number(count));
}

std::vector<std::string> ResourcesOf(const CommandGround& ground, const Jid& user) {
  std::vector<std::string> resources;
  for (const KnownSession& known : ground.hooks.sessions()) {
    if (IsOf(known.full, user)) resources.push_back(known.full.substr(known.full.find('/') + 1));
  }
  std::ranges::sort(resources);
  return resources;
}

void ListUserSessions(CommandCall call) {
  const auto user = call.User("user");
  if (!user) return;
  List(std::move(call), [user = *user](const std::string& full) { return IsOf(full, user); });
}

void CountUserResources(CommandCall call) {
  const auto user = call.User("user");
  if (!user) return;
  const auto count = ResourcesOf(call.ground(), *user).size();
  call.Result(CtlJson::Count(count));
}

void UserResources(CommandCall call) {
  const auto user = call.User("user");
  if (!user) return;
  const auto resources = ResourcesOf(call.ground(), *user);
  call.Result(CtlJson::Texts(resources));
}

void GetUserResource(CommandCall call) {
  const auto user = call.User("user");
  if (!user) return;
  const auto resources = ResourcesOf(call.ground(), *user);
  const uint64_t number = call.Number("number", 0);
  if (number == 0 || number > resources.size()) {
    return call.Fault("Wrong resource number: " + std::to_string(number), "wrong_res_number",
                      {{"jid", user->full()}});
  }
  call.Result(resources[number - 1]);
}

// What a session's presence says of it, as statuses are named.
std::string StatusOf(const SessionFacts& facts) {
  if (!facts.available) return "unavailable";
  return facts.show.empty() ? "available" : facts.show;
}

void WithStatus(CommandCall call, bool count) {
  const auto domain = call.Domain("domain");
  if (!domain) return;
  XmppService& service = call.ground().service;
  GatherSessions(service, [call = std::move(call), count, domain = *domain](auto sessions) mutable {
    std::erase_if(sessions, [&](const SessionFacts& facts) {
      return !Of(facts.full, domain) || StatusOf(facts) != call.Text("status");
    });
    if (count) return call.Result(CtlJson::Count(sessions.size()));
    CtlJson list = CtlJson::List();
    sessions.resize(std::min(sessions.size(), kListMax));
    for (const SessionFacts& facts : sessions) {
      CtlJson line = CtlJson::Object();
      line.Set("user", CtlJson::Text(facts.full));
      line.Set("priority", CtlJson::Number(facts.priority));
      line.Set("text", CtlJson::Text(facts.status));
      list.Add(std::move(line));
    }
    call.Result(std::move(list));
  });
}

CtlJson Kicked(const Jid& full, bool kicked) {
  CtlJson result = CtlJson::Object();
  result.Set("jid", CtlJson::Text(full.full()));
  result.Set("kicked", CtlJson::Bool(kicked));
  result.Set("code", kicked ? CtlJson::Null() : CtlJson::Text("no_session"));
  result.Set("message", CtlJson::Text(kicked ? "Session kicked" : "No active session"));
  return result;
}

void Kick(CommandCall call, bool one) {
  const auto user = call.User("user");
  if (!user) return;
  if (user->is_bare() == one) {
    return call.Fault(one ? "Name the session: its address has a resource"
                          : "Name the user: the address has no resource",
                      "invalid_jid", {{"jid", user->full()}});
  }
  std::string reason = call.Text("reason");
  if (reason.empty()) reason = kKicked;
  CommandGround& ground = call.ground();
  AtHome(ground, *user,
         [call = std::move(call), user = *user, one, reason = std::move(reason)](
             XmppWorker&, Home& home) mutable {
           const std::vector<Jid> kicked = home.Kick(user, reason);
           if (one) return call.Result(Kicked(user, !kicked.empty()));
           CtlJson list = CtlJson::List();
           for (const Jid& full : kicked) list.Add(Kicked(full, true));
           call.Result(std::move(list));
         });
}

// "AVAILABLE" as presence has it; nothing for what no session says of itself.
std::optional<std::string> PresenceType(std::string_view name) {
  if (name == "AVAILABLE") return "";
  if (name == "UNAVAILABLE") return "unavailable";
  return std::nullopt;
}

void SetPresence(CommandCall call) {
  const auto user = call.User("user");
  if (!user) return;
  if (user->is_bare()) {
    return call.Fault("The resource is empty. You need to provide a full JID", "empty_resource",
                      {{"jid", user->full()}});
  }
  const auto type = PresenceType(call.Text("type"));
  if (!type) {
    return call.Fault("A session's presence is AVAILABLE or UNAVAILABLE", "invalid_type",
                      {{"jid", user->full()}});
  }
  std::string xml = "<presence xmlns='jabber:client'";
  if (!type->empty()) AppendXmlAttribute(xml, "type", *type);
  xml += '>';
  const auto child = [&xml](std::string_view name, std::string_view text) {
    if (text.empty()) return;
    ((xml += '<') += name) += '>';
    AppendXmlContent(xml, text);
    ((xml += "</") += name) += '>';
  };
  std::string show = call.Text("show");
  std::ranges::transform(show, show.begin(), [](unsigned char c) { return std::tolower(c); });
  child("show", show == "online" ? "" : show);
  child("status", call.Text("status"));
  child("priority", call.Text("priority"));
  auto stanza = ParseStanza(xml + "</presence>", kClientSpace);
  if (!stanza) return call.Fault("The status is no text of XML", "invalid_status");
  CommandGround& ground = call.ground();
  AtHome(ground, *user,
         [call = std::move(call), user = *user, stanza = std::move(*stanza)](XmppWorker&,
                                                                             Home& home) mutable {
           home.SendAs(
               user, std::move(stanza), [call = std::move(call), user](std::string error) mutable {
                 if (!error.empty()) {
                   return call.Fault("Given user has no such session, or the presence is none",
                                     "no_session",
                                     {{"jid", user.full()}, {"reason", ConditionOf(error)}});
                 }
                 CtlJson result = CtlJson::Object();
                 result.Set("message", CtlJson::Text("Presence set successfully"));
                 result.Set("jid", CtlJson::Text(user.full()));
                 call.Result(std::move(result));
               });
         });
}

constexpr std::array kCommands = std::to_array<XmppCommand>({
    {"session", "listSessions", ListSessions},
    {"session", "countSessions", CountSessions},
    {"session", "listUserSessions", ListUserSessions},
    {"session", "countUserResources", CountUserResources},
    {"session", "getUserResource", GetUserResource},
    {"session", "listUsersWithStatus",
     [](CommandCall call) { WithStatus(std::move(call), false); }},
    {"session", "countUsersWithStatus",
     [](CommandCall call) { WithStatus(std::move(call), true); }},
    {"session", "kickUserSession", [](CommandCall call) { Kick(std::move(call), true); }},
    {"session", "kickUser", [](CommandCall call) { Kick(std::move(call), false); }},
    {"session", "setPresence", SetPresence},
    {"flat", "userResources", UserResources},
});

}  // namespace

std::span<const XmppCommand> SessionCommands() { return kCommands; }

}  // namespace server
