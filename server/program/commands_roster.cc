// roster …: contacts and subscriptions, changed as the users themselves would, so that their
// sessions and their contacts see it.
#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include "server/program/xmpp_commands.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

// Of one command.
constexpr size_t kContactsMax = 1'000;
constexpr size_t kGroupsMax = 100;

struct ContactInput {
  Jid jid;
  std::string name;
  std::vector<std::string> groups;
};

// --- Shapes

std::string_view SubscriptionName(Subscription subscription) {
  switch (subscription) {
    case Subscription::kTo:
      return "TO";
    case Subscription::kFrom:
      return "FROM";
    case Subscription::kBoth:
      return "BOTH";
    case Subscription::kNone:
    case Subscription::kRemove:
      break;
  }
  return "NONE";
}

std::string_view AskName(const RosterItem& item) {
  if (item.ask) return item.pending_in ? "BOTH" : "OUT";
  return item.pending_in ? "IN" : "NONE";
}

CtlJson ContactJson(const RosterItem& item) {
  CtlJson contact = CtlJson::Object();
  contact.Set("jid", CtlJson::Text(item.jid));
  contact.Set("name", CtlJson::Text(item.name));
  contact.Set("groups", CtlJson::Texts(item.groups));
  contact.Set("subscription", CtlJson::Text(SubscriptionName(item.subscription)));
  contact.Set("ask", CtlJson::Text(AskName(item)));
  return contact;
}

void ListContacts(CommandCall call, const HomeOf& at) {
  WithAccount(std::move(call), at.store, at.user, [](CommandCall c, const LoadedUser& loaded) {
    CtlJson list = CtlJson::List();
    for (const RosterItem& item : loaded.roster) list.Add(ContactJson(item));
    c.Result(std::move(list));
  });
}

void GetContact(CommandCall call, const HomeOf& at) {
  const auto contact = call.Address("contact");
  if (!contact) return;
  WithAccount(std::move(call), at.store, at.user,
              [contact = contact->Bare()](CommandCall c, const LoadedUser& loaded) {
                for (const RosterItem& item : loaded.roster) {
                  if (item.jid == contact.full()) return c.Result(ContactJson(item));
                }
                c.Fault("Given contact does not exist", "contact_not_found",
                        {{"contact", contact.full()}});
              });
}

// --- Changes, one behind the other

struct Step {
  enum class Kind : uint8_t { kAdd, kDelete, kPresence };
  Kind kind = Kind::kAdd;
  Jid user;
  ContactInput contact;
  std::string type;  // kPresence
};
// What came of one: a fault, or its text.
struct StepEnd {
  std::string text;
  std::string code;  // "": it went well
};
using StepDone = std::move_only_function<void(StepEnd end)>;

std::string QueryXml(const Step& step) {
  std::string xml = "<query xmlns='jabber:iq:roster'><item";
  AppendXmlAttribute(xml, "jid", step.contact.jid.full());
  if (step.kind == Step::Kind::kDelete) return xml + " subscription='remove'/></query>";
  if (!step.contact.name.empty()) AppendXmlAttribute(xml, "name", step.contact.name);
  xml += '>';
  for (const std::string& group : step.contact.groups) {
    xml += "<group>";
    AppendXmlContent(xml, group);
    xml += "</group>";
  }
  return xml + "</item></query>";
}

StepEnd EndOf(const Step& step, StanzaType type, const std::string& content) {
  const std::string& contact = step.contact.jid.full();
  const bool deletes = step.kind == Step::Kind::kDelete;
  if (type == StanzaType::kResult) {
    return {deletes ? "Contact " + contact + " deleted successfully" : "Contact added successfully",
            ""};
  }
  const std::string condition = ConditionOf(content);
  if (deletes && condition == "item-not-found") {
    return {"Cannot remove " + contact + " contact that does not exist", "contact_not_found"};
  }
  return {
      std::string("Cannot ") + (deletes ? "delete" : "create") + " a contact because: " + condition,
      "internal"};
}

// --- A step, at its user's home: a command of its own.

constexpr std::string_view kStepNames[] = {"add", "delete", "presence"};

CtlArguments ArgumentsOf(const Step& step) {
  return {{"user", step.user.full()},
          {"kind", std::string(kStepNames[static_cast<size_t>(step.kind)])},
          {"contact", step.contact.jid.full()},
          {"name", step.contact.name},
          {"groups", CtlJson::Texts(step.contact.groups).Pretty()},
          {"type", step.type}};
}

std::vector<std::string> GroupsOf(const CommandCall& call) {
  std::vector<std::string> groups;
  if (const auto json = CtlJson::Parse(call.Text("groups"))) {
    for (const auto& [_, group] : json->values()) {
      if (groups.size() < kGroupsMax) groups.push_back(group.Plain());
    }
  }
  return groups;
}

void EndStep(CommandCall call, StepEnd end) {
  if (end.code.empty()) return call.Result(end.text);
  call.Fault(end.text, end.code);
}

void DoPresence(CommandCall call, const HomeOf& at, const Step& step) {
  std::string xml = "<presence xmlns='jabber:client'";
  AppendXmlAttribute(xml, "type", step.type);
  AppendXmlAttribute(xml, "to", step.contact.jid.full());
  auto stanza = ParseStanza(xml + "/>", kClientSpace);
  at.home.SendAs(
      step.user, std::move(*stanza),
      [call = std::move(call), type = step.type](std::string error) mutable {
        if (error.empty()) {
          return call.Result("Subscription stanza with type " + type + " sent successfully");
        }
        call.Fault("Cannot send it because: " + ConditionOf(error), "internal");
      });
}

void DoStep(CommandCall call, const HomeOf& at) {
  const auto contact = call.Address("contact");
  if (!contact) return;
  const auto kind = std::ranges::find(kStepNames, call.Text("kind"));
  if (kind == std::end(kStepNames)) return call.Fault("That is no step", "internal");
  Step step{static_cast<Step::Kind>(kind - std::begin(kStepNames)),
            at.user.Bare(),
            {contact->Bare(), call.Text("name"), GroupsOf(call)},
            call.Text("type")};
  if (step.kind == Step::Kind::kPresence) return DoPresence(std::move(call), at, step);
  std::string xml = QueryXml(step);
  const Jid whose = step.user;
  at.home.AskAs(whose, StanzaType::kSet, std::move(xml),
                [call = std::move(call), step = std::move(step)](
                    StanzaType type, const std::string& content) mutable {
                  EndStep(std::move(call), EndOf(step, type, content));
                });
}

// Both must be there, where they are ours: `then` with the address that is not, or "".
void CheckUsers(CommandGround& ground, std::deque<Jid> users,
                std::move_only_function<void(std::string missing)> then) {
  if (users.empty()) return then({});
  const Jid user = std::move(users.front());
  users.pop_front();
  if (std::ranges::find(ground.domains, user.domain()) == ground.domains.end()) {
    return CheckUsers(ground, std::move(users), std::move(then));
  }
  ground.OnStore([&ground, user, users = std::move(users),
                  then = std::move(then)](StoreClient& store) mutable {
    store.Load(std::string(user.bare()), [&ground, user, users = std::move(users),
                                          then = std::move(then)](const auto& loaded) mutable {
      if (!loaded || !loaded->exists) return then(user.full());
      CheckUsers(ground, std::move(users), std::move(then));
    });
  });
}

void RunAtHome(CommandGround& ground, const Step& step, StepDone done) {
  DoPart(ground, "flat", "rosterStep", ArgumentsOf(step),
         [done = std::move(done)](const CtlAnswer& answer) mutable {
           if (answer.faults.empty()) return done({answer.data.Plain(), ""});
           const CtlFault& fault = answer.faults.front();
           const auto code =
               std::ranges::find(fault.extensions, "code", [](const auto& e) { return e.first; });
           done({fault.message, code == fault.extensions.end() ? "internal" : code->second});
         });
}

void Run(CommandGround& ground, Step step, StepDone done) {
  std::deque<Jid> users = {step.user};
  if (step.kind == Step::Kind::kAdd) users.push_back(step.contact.jid);
  CheckUsers(
      ground, std::move(users),
      [&ground, step = std::move(step), done = std::move(done)](std::string missing) mutable {
        if (!missing.empty()) {
          return done({"The user " + missing + " does not exist", "user_not_exist"});
        }
        RunAtHome(ground, step, std::move(done));
      });
}

// All of them, or up to the first that fails.
void RunAll(CommandGround& ground, std::deque<Step> steps, StepDone done) {
  if (steps.empty()) return done({});
  Step step = std::move(steps.front());
  steps.pop_front();
  Run(ground, std::move(step),
      [&ground, steps = std::move(steps), done = std::move(done)](StepEnd end) mutable {
        if (!end.code.empty() || steps.empty()) return done(std::move(end));
        RunAll(ground, std::move(steps), std::move(done));
      });
}

std::deque<Step> BothWays(const ContactInput& a, const ContactInput& b) {
  using Kind = Step::Kind;
  return {{Kind::kAdd, a.jid, b, ""},
          {Kind::kAdd, b.jid, a, ""},
          {Kind::kPresence, a.jid, b, "subscribe"},
          {Kind::kPresence, b.jid, a, "subscribe"},
          {Kind::kPresence, a.jid, b, "subscribed"},
          {Kind::kPresence, b.jid, a, "subscribed"}};
}

std::string BothWaysText(const Jid& a, const Jid& b) {
  return "Subscription between users " + a.full() + " and " + b.full() + " created successfully";
}

void Answer(CommandCall call, StepEnd end, std::vector<std::pair<std::string, std::string>> more) {
  if (end.code.empty()) return call.Result(end.text);
  call.Fault(end.text, end.code, std::move(more));
}

// --- Arguments

std::optional<ContactInput> InputOf(const CtlJson& json) {
  auto jid = Jid::Parse(json.PlainOf("jid"));
  if (!jid || jid->local().empty()) return std::nullopt;
  ContactInput input{.jid = jid->Bare(), .name = json.PlainOf("name"), .groups = {}};
  const CtlJson* groups = json.Find("groups");
  if (groups == nullptr) return input;
  for (const auto& [_, group] : groups->values()) {
    if (input.groups.size() < kGroupsMax) input.groups.push_back(group.Plain());
  }
  return input;
}

// `name` holds a list of them; else this has answered.
std::optional<std::vector<ContactInput>> InputsOf(CommandCall& call, std::string_view name) {
  const auto json = CtlJson::Parse(call.Text(name));
  std::vector<ContactInput> inputs;
  if (json && json->list() && json->values().size() <= kContactsMax) {
    for (const auto& [_, one] : json->values()) {
      auto input = InputOf(one);
      if (!input) break;
      inputs.push_back(std::move(*input));
    }
    if (inputs.size() == json->values().size()) return inputs;
  }
  call.Fault("'" + std::string(name) + "' is a list of at most " + std::to_string(kContactsMax) +
                 " contacts, each with a jid of a user",
             "invalid_contacts");
  return std::nullopt;
}

// --- Commands

void One(CommandCall call, Step::Kind kind, std::string type) {
  const auto user = call.User("user");
  if (!user) return;
  const auto contact = call.Address("contact");
  if (!contact) return;
  Step step{
      kind, user->Bare(), {contact->Bare(), call.Text("name"), GroupsOf(call)}, std::move(type)};
  CommandGround& ground = call.ground();
  std::vector<std::pair<std::string, std::string>> more = {{"user", user->full()},
                                                           {"contact", contact->full()}};
  Run(ground, std::move(step),
      [call = std::move(call), more = std::move(more)](StepEnd end) mutable {
        Answer(std::move(call), std::move(end), std::move(more));
      });
}

void SetSubscription(CommandCall call) {
  static constexpr std::pair<std::string_view, std::string_view> kActions[] = {
      {"INVITE", "subscribe"},
      {"ACCEPT", "subscribed"},
      {"DECLINE", "unsubscribed"},
      {"CANCEL", "unsubscribe"}};
  const std::string action = call.Text("action");
  for (const auto& [name, type] : kActions) {
    if (name == action) return One(std::move(call), Step::Kind::kPresence, std::string(type));
  }
  call.Fault("An action is INVITE, ACCEPT, DECLINE or CANCEL", "invalid_action");
}

void SetMutual(CommandCall call) {
  const auto a = call.User("userA");
  if (!a) return;
  const auto b = call.User("userB");
  if (!b) return;
  const std::string action = call.Text("action");
  if (action != "CONNECT" && action != "DISCONNECT") {
    return call.Fault("An action is CONNECT or DISCONNECT", "invalid_action");
  }
  const ContactInput one{a->Bare(), {}, {}};
  const ContactInput other{b->Bare(), {}, {}};
  std::deque<Step> steps = BothWays(one, other);
  std::string text = BothWaysText(one.jid, other.jid);
  if (action == "DISCONNECT") {
    steps = {{Step::Kind::kDelete, one.jid, other, ""}, {Step::Kind::kDelete, other.jid, one, ""}};
    text = "Mututal subscription removed successfully";  // upstream's own word
  }
  CommandGround& ground = call.ground();
  RunAll(ground, std::move(steps),
         [call = std::move(call), text = std::move(text), one, other](StepEnd end) mutable {
           if (end.code.empty()) end.text = std::move(text);
           Answer(std::move(call), std::move(end),
                  {{"userA", one.jid.full()}, {"userB", other.jid.full()}});
         });
}

// Several, each with a result of its own.
struct Many {
  CommandCall call;
  struct Task {
    std::deque<Step> steps;
    std::string text;  // where it went well; "": what the last step said
    std::string contact;
  };
  std::deque<Task> tasks;
  CtlAnswer answer{.data = CtlJson::List(), .faults = {}};
};

void RunMany(std::unique_ptr<Many> many) {
  if (many->tasks.empty()) return many->call.Answer(std::move(many->answer));
  Many::Task task = std::move(many->tasks.front());
  many->tasks.pop_front();
  CommandGround& ground = many->call.ground();
  RunAll(ground, std::move(task.steps),
         [many = std::move(many), text = std::move(task.text),
          contact = std::move(task.contact)](StepEnd end) mutable {
           if (end.code.empty()) {
             many->answer.data.Add(CtlJson::Text(text.empty() ? end.text : text));
           } else {
             many->answer.data.Add(CtlJson::Null());
             many->answer.faults.push_back(
                 {.message = end.text, .extensions = {{"contact", contact}, {"code", end.code}}});
           }
           RunMany(std::move(many));
         });
}

void AddContacts(CommandCall call) {
  const auto user = call.User("user");
  if (!user) return;
  auto contacts = InputsOf(call, "contacts");
  if (!contacts) return;
  auto many = std::make_unique<Many>(Many{.call = std::move(call), .tasks = {}});
  for (ContactInput& contact : *contacts) {
    const std::string name = contact.jid.full();
    many->tasks.push_back({{{Step::Kind::kAdd, user->Bare(), std::move(contact), ""}}, "", name});
  }
  RunMany(std::move(many));
}

void DeleteContacts(CommandCall call) {
  const auto user = call.User("user");
  if (!user) return;
  const auto json = CtlJson::Parse(call.Text("contacts"));
  const auto refuse = [](CommandCall& from) {
    from.Fault("'contacts' is a list of at most " + std::to_string(kContactsMax) + " addresses",
               "invalid_contacts");
  };
  if (!json || !json->list()) return refuse(call);
  auto many = std::make_unique<Many>(Many{.call = std::move(call), .tasks = {}});
  for (const auto& [_, one] : json->values()) {
    const auto contact = Jid::Parse(one.Plain());
    if (!contact || many->tasks.size() == kContactsMax) {
      return refuse(many->call);
    }
    many->tasks.push_back({{{Step::Kind::kDelete, user->Bare(), {contact->Bare(), {}, {}}, ""}},
                           "",
                           contact->full()});
  }
  RunMany(std::move(many));
}

void AddPairs(Many& many, const ContactInput& user, std::span<const ContactInput> contacts) {
  for (const ContactInput& contact : contacts) {
    many.tasks.push_back(
        {BothWays(user, contact), BothWaysText(user.jid, contact.jid), contact.jid.full()});
  }
}

void SubscribeToAll(CommandCall call) {
  const auto json = CtlJson::Parse(call.Text("user"));
  const auto user = json ? InputOf(*json) : std::nullopt;
  if (!user) return call.Fault("'user' is a contact with a jid of a user", "invalid_contacts");
  auto contacts = InputsOf(call, "contacts");
  if (!contacts) return;
  auto many = std::make_unique<Many>(Many{.call = std::move(call), .tasks = {}});
  AddPairs(*many, *user, *contacts);
  RunMany(std::move(many));
}

void SubscribeAllToAll(CommandCall call) {
  auto contacts = InputsOf(call, "contacts");
  if (!contacts) return;
  if (contacts->size() * contacts->size() / 2 > kContactsMax) {
    return call.Fault("That is more than " + std::to_string(kContactsMax) + " pairs",
                      "invalid_contacts");
  }
  auto many = std::make_unique<Many>(Many{.call = std::move(call), .tasks = {}});
  const std::span<const ContactInput> all(*contacts);
  for (size_t i = 0; i < all.size(); ++i) AddPairs(*many, all[i], all.subspan(i + 1));
  RunMany(std::move(many));
}

// Those that change are made of steps, each at the home of its user.
constexpr std::array kRosterCommands = std::to_array<XmppCommand>({
    {"roster", "listContacts", AtHome{OfUser, ListContacts}},
    {"roster", "getContact", AtHome{OfUser, GetContact}},
    {"roster", "addContact",
     Anywhere{[](CommandCall c) { One(std::move(c), Step::Kind::kAdd, ""); }}},
    {"roster", "addContacts", Anywhere{AddContacts}},
    {"roster", "deleteContact",
     Anywhere{[](CommandCall c) { One(std::move(c), Step::Kind::kDelete, ""); }}},
    {"roster", "deleteContacts", Anywhere{DeleteContacts}},
    {"roster", "subscription", Anywhere{SetSubscription}},
    {"roster", "setMutualSubscription", Anywhere{SetMutual}},
    {"roster", "subscribeToAll", Anywhere{SubscribeToAll}},
    {"roster", "subscribeAllToAll", Anywhere{SubscribeAllToAll}},
    {"flat", "rosterStep", AtHome{OfUser, DoStep}},
});

}  // namespace

std::span<const XmppCommand> RosterCommands() { return kRosterCommands; }

}  // namespace server
