// session …: who is connected, and what operators do about it.
#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <map>
#include <utility>

#include "net/base/wall_clock.h"
#include "server/program/session_list.h"
#include "server/program/xmpp_commands.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

// One answer's bound of sessions.
constexpr size_t kSessionsMax = 20'000;

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

// --- What each node tells of sessions: of the connections that it has, and of the presence of
// those whose home it is. The two are of one session, perhaps on two nodes.

CtlJson ConnectionJson(const SessionFacts& facts, int64_t now_us) {
  CtlJson line = CtlJson::Object();
  line.Set("user", CtlJson::Text(facts.full));
  line.Set("connection", CtlJson::Text(facts.secure ? "c2s_tls" : "c2s"));
  line.Set("ip", facts.ip.empty() ? CtlJson::Null() : CtlJson::Text(facts.ip));
  line.Set("port", facts.ip.empty() ? CtlJson::Null() : CtlJson::Number(facts.port));
  line.Set("uptime", CtlJson::Number(std::max<int64_t>(now_us - facts.bound_us, 0) / 1'000'000));
  return line;
}

// As statuses are named.
std::string StatusOf(const SessionFacts& facts) {
  if (!facts.available) return "unavailable";
  return facts.show.empty() ? "available" : facts.show;
}

CtlJson PresenceJson(const SessionFacts& facts) {
  CtlJson line = CtlJson::Object();
  line.Set("user", CtlJson::Text(facts.full));
  line.Set("priority", facts.available ? CtlJson::Number(facts.priority) : CtlJson::Null());
  line.Set("text", CtlJson::Text(facts.status));
  return line;
}

// Which sessions a call asks for; its arguments are read once, however many there are.
class Wanted {
 public:
  explicit Wanted(const CommandCall& call) {
    if (call.Has("user")) {
      user_ = Jid::Parse(call.Text("user"));
      nobody_ = !user_;
    }
    if (call.Has("domain")) domain_ = PrepareDomain(call.Text("domain")).value_or("?");
  }
  bool Has(const std::string& full) const {
    return !nobody_ && (!user_ || IsOf(full, *user_)) && (!domain_ || Of(full, *domain_));
  }

 private:
  std::optional<Jid> user_;
  std::optional<std::string> domain_;
  bool nobody_ = false;
};

// {connections, presences}: those that are wanted, kSessionsMax at most.
void SessionsHere(CommandCall call) {
  XmppService& service = call.ground().service;
  GatherSessions(service, [call = std::move(call)](const NodeSessions& sessions) mutable {
    const int64_t now = net::UnixUs();
    const Wanted wanted(call);
    CtlJson connections = CtlJson::List();
    CtlJson presences = CtlJson::List();
    for (const SessionFacts& facts : sessions.connections) {
      if (!wanted.Has(facts.full) || connections.values().size() == kSessionsMax) continue;
      connections.Add(ConnectionJson(facts, now));
    }
    for (const SessionFacts& facts : sessions.presences) {
      if (!wanted.Has(facts.full) || presences.values().size() == kSessionsMax) continue;
      presences.Add(PresenceJson(facts));
    }
    CtlJson result = CtlJson::Object();
    result.Set("connections", std::move(connections));
    result.Set("presences", std::move(presences));
    call.Result(std::move(result));
  });
}

// By full address.
using Lines = std::map<std::string, CtlJson>;

Lines LinesOf(const std::vector<NodeAnswer>& answers, std::string_view which,
              const std::function<void(CtlJson& line, const std::string& node)>& with) {
  Lines lines;
  for (const NodeAnswer& answer : answers) {
    const CtlJson* list = answer.data.Find(which);
    if (list == nullptr) continue;
    for (const auto& [_, line] : list->values()) {
      CtlJson& at = lines.insert_or_assign(line.PlainOf("user"), line).first->second;
      with(at, answer.node);
    }
  }
  return lines;
}

// As the tables of all nodes know it: what a node that does not answer would have told.
CtlJson UnknownLine(const KnownSession& known) {
  CtlJson line = CtlJson::Object();
  for (const char* unknown : {"connection", "ip", "port", "uptime"}) {
    line.Set(unknown, CtlJson::Null());
  }
  line.Set("node", CtlJson::Text(known.node));
  return line;
}

CtlAnswer JoinSessions(const CommandCall& call, std::vector<NodeAnswer> answers) {
  Lines connections = LinesOf(answers, "connections", [](CtlJson& line, const std::string& node) {
    line.Set("node", CtlJson::Text(node));
  });
  const Lines presences = LinesOf(answers, "presences", [](CtlJson&, const std::string&) {});
  const Wanted wanted(call);
  for (const KnownSession& known : call.ground().hooks.sessions()) {
    const bool silent = std::ranges::find(answers, known.node, &NodeAnswer::node) == answers.end();
    if (silent && wanted.Has(known.full)) connections.try_emplace(known.full, UnknownLine(known));
  }
  CtlAnswer answer{.data = CtlJson::List(), .faults = {}};
  for (const auto& [full, line] : connections) {
    if (answer.data.values().size() == kSessionsMax) break;
    const auto presence = presences.find(full);
    CtlJson whole = CtlJson::Object();
    whole.Set("user", CtlJson::Text(full));
    for (const char* key : {"connection", "ip", "port"}) whole.Set(key, *line.Find(key));
    whole.Set("priority",
              presence == presences.end() ? CtlJson::Null() : *presence->second.Find("priority"));
    for (const char* key : {"node", "uptime"}) whole.Set(key, *line.Find(key));
    answer.data.Add(std::move(whole));
  }
  if (connections.size() > kSessionsMax) {
    answer.faults.push_back({.message = "There are " + std::to_string(connections.size()) +
                                        " sessions, and one answer holds " +
                                        std::to_string(kSessionsMax) +
                                        ": ask for a domain or a user",
                             .extensions = {{"code", "too_many"}}});
  }
  return answer;
}

// The part has the arguments, which were judged, and the answer is its own.
void Part(CommandCall call, std::string_view part) {
  CommandGround& ground = call.ground();
  CtlArguments arguments = call.arguments();
  DoPart(ground, "flat", part, std::move(arguments),
         [call = std::move(call)](CtlAnswer answer) mutable { call.Answer(std::move(answer)); });
}

void ListSessions(CommandCall call) {
  if (!call.Domain("domain")) return;
  Part(std::move(call), "sessionFacts");
}

void ListUserSessions(CommandCall call) {
  if (!call.User("user")) return;
  Part(std::move(call), "sessionFacts");
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

void WithStatusHere(CommandCall call) {
  XmppService& service = call.ground().service;
  GatherSessions(service, [call = std::move(call)](const NodeSessions& sessions) mutable {
    const std::string status = call.Text("status");
    const Wanted wanted(call);
    size_t count = 0;
    CtlJson list = CtlJson::List();
    for (const SessionFacts& facts : sessions.presences) {
      if (!wanted.Has(facts.full) || StatusOf(facts) != status) continue;
      if (++count <= kSessionsMax) list.Add(PresenceJson(facts));
    }
    CtlJson result = CtlJson::Object();
    result.Set("count", CtlJson::Count(count));
    result.Set("presences", std::move(list));
    call.Result(std::move(result));
  });
}

CtlAnswer JoinStatuses(const CommandCall&, std::vector<NodeAnswer> answers) {
  CtlAnswer answer{.data = CtlJson::List(), .faults = {}};
  for (auto& [full, line] : LinesOf(answers, "presences", [](CtlJson&, const std::string&) {})) {
    if (answer.data.values().size() < kSessionsMax) answer.data.Add(line);
  }
  return answer;
}

CtlAnswer JoinStatusCounts(const CommandCall&, std::vector<NodeAnswer> answers) {
  uint64_t count = 0;
  for (const NodeAnswer& answer : answers) {
    count += std::strtoull(answer.data.PlainOf("count").c_str(), nullptr, 10);
  }
  return {.data = CtlJson::Count(count), .faults = {}};
}

void WithStatus(CommandCall call, std::string_view part) {
  if (!call.Domain("domain")) return;
  Part(std::move(call), part);
}

CtlJson Kicked(const Jid& full, bool kicked) {
  CtlJson result = CtlJson::Object();
  result.Set("jid", CtlJson::Text(full.full()));
  result.Set("kicked", CtlJson::Bool(kicked));
  result.Set("code", kicked ? CtlJson::Null() : CtlJson::Text("no_session"));
  result.Set("message", CtlJson::Text(kicked ? "Session kicked" : "No active session"));
  return result;
}

void Kick(CommandCall call, const HomeOf& at, bool one) {
  if (at.user.is_bare() == one) {
    return call.Fault(one ? "Name the session: its address has a resource"
                          : "Name the user: the address has no resource",
                      "invalid_jid", {{"jid", at.user.full()}});
  }
  std::string reason = call.Text("reason");
  if (reason.empty()) reason = kKicked;
  const std::vector<Jid> kicked = at.home.Kick(at.user, reason);
  if (one) return call.Result(Kicked(at.user, !kicked.empty()));
  CtlJson list = CtlJson::List();
  for (const Jid& full : kicked) list.Add(Kicked(full, true));
  call.Result(std::move(list));
}

// "AVAILABLE" as presence has it; nothing for what no session says of itself.
std::optional<std::string> PresenceType(std::string_view name) {
  if (name == "AVAILABLE") return "";
  if (name == "UNAVAILABLE") return "unavailable";
  return std::nullopt;
}

void SetPresence(CommandCall call, const HomeOf& at) {
  if (at.user.is_bare()) {
    return call.Fault("The resource is empty. You need to provide a full JID", "empty_resource",
                      {{"jid", at.user.full()}});
  }
  const auto type = PresenceType(call.Text("type"));
  if (!type) {
    return call.Fault("A session's presence is AVAILABLE or UNAVAILABLE", "invalid_type",
                      {{"jid", at.user.full()}});
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
  at.home.SendAs(at.user, std::move(*stanza),
                 [call = std::move(call), user = at.user](std::string error) mutable {
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
}

constexpr std::array kSessionCommands = std::to_array<XmppCommand>({
    {"session", "listSessions", Anywhere{ListSessions}},
    {"session", "countSessions", Anywhere{CountSessions}},
    {"session", "listUserSessions", Anywhere{ListUserSessions}},
    {"session", "countUserResources", Anywhere{CountUserResources}},
    {"session", "getUserResource", Anywhere{GetUserResource}},
    {"session", "listUsersWithStatus",
     Anywhere{[](CommandCall call) { WithStatus(std::move(call), "statuses"); }}},
    {"session", "countUsersWithStatus",
     Anywhere{[](CommandCall call) { WithStatus(std::move(call), "statusCounts"); }}},
    {"session", "kickUserSession",
     AtHome{OfUser, [](CommandCall c, const HomeOf& at) { Kick(std::move(c), at, true); }}},
    {"session", "kickUser",
     AtHome{OfUser, [](CommandCall c, const HomeOf& at) { Kick(std::move(c), at, false); }}},
    {"session", "setPresence", AtHome{OfUser, SetPresence}},
    {"flat", "userResources", Anywhere{UserResources}},
    {"flat", "sessionFacts", OnAllNodes{SessionsHere, JoinSessions}},
    {"flat", "statuses", OnAllNodes{WithStatusHere, JoinStatuses}},
    {"flat", "statusCounts", OnAllNodes{WithStatusHere, JoinStatusCounts}},
});

}  // namespace

std::span<const XmppCommand> SessionCommands() { return kSessionCommands; }

}  // namespace server
