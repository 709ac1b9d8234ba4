// The flat words of releases up to 5 that a node's XMPP answers, each over a command of the newer
// generation: its arguments by position, its answer as lines.
#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

#include "server/ctl/ctl.h"
#include "server/xmpp/date_time.h"

namespace server {
namespace {

using Words = std::span<const std::string>;

struct Flat {
  FlatXmppCommand shown;
  std::string_view category;
  std::string_view command;
  CtlArguments (*arguments)(Words words);
  void (*print)(const CtlJson& data, Terminal& terminal);
};

std::string Bare(Words words, size_t at = 0) { return words[at] + "@" + words[at + 1]; }
std::string Full(Words words) { return Bare(words) + "/" + words[2]; }

// --- Answers as lines

void Nothing(const CtlJson&, Terminal&) {}

void PrintValue(const CtlJson& data, Terminal& terminal) { terminal.Print(data.Plain()); }

void Message(const CtlJson& data, Terminal& terminal) { terminal.Print(data.PlainOf("message")); }

void Lines(const CtlJson& data, Terminal& terminal) {
  for (const auto& [_, value] : data.values()) terminal.Print(value.Plain());
}

void Names(const CtlJson& data, Terminal& terminal) {
  for (const auto& [_, value] : data.values()) terminal.Print(value.PlainOf("user"));
}

void Tabbed(const CtlJson& data, std::span<const std::string_view> keys, Terminal& terminal) {
  for (const auto& [_, value] : data.values()) {
    std::string line;
    for (const std::string_view key : keys) {
      if (!line.empty() || key != keys.front()) line += '\t';
      const CtlJson* part = value.Find(key);
      if (part == nullptr) continue;
      line += part->null() ? "undefined" : part->Plain();
    }
    terminal.Print(line);
  }
}

void Sessions(const CtlJson& data, Terminal& terminal) {
  static constexpr std::array<std::string_view, 7> kKeys = {
      "user", "connection", "ip", "port", "priority", "node", "uptime"};
  Tabbed(data, kKeys, terminal);
}

void Statuses(const CtlJson& data, Terminal& terminal) {
  static constexpr std::array<std::string_view, 3> kKeys = {"user", "priority", "text"};
  Tabbed(data, kKeys, terminal);
}

void OldUsers(const CtlJson& data, Terminal& terminal) {
  terminal.Print("Deleted " + std::to_string(data.values().size()) + " users");
  for (const auto& [_, value] : data.values()) terminal.Print(value.PlainOf("jid"));
}

// "created alice@host", a line a user.
void ImportedUsers(const CtlJson& data, Terminal& terminal) {
  for (const auto& [list, users] : data.values()) {
    for (const auto& [_, user] : users.values()) terminal.Print(list + " " + user.Plain());
  }
}

void KickedOne(const CtlJson& data, Terminal& terminal) { terminal.Print(data.PlainOf("message")); }

void Lower(std::string& text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
  });
}

void Roster(const CtlJson& data, Terminal& terminal) {
  for (const auto& [_, value] : data.values()) {
    std::string subscription = value.PlainOf("subscription");
    std::string ask = value.PlainOf("ask");
    Lower(subscription);
    Lower(ask);
    std::string groups;
    if (const CtlJson* list = value.Find("groups")) {
      for (const auto& [key, group] : list->values()) {
        groups += (groups.empty() ? "" : ";") + group.Plain();
      }
    }
    terminal.Print(value.PlainOf("jid") + '\t' + value.PlainOf("name") + '\t' + subscription +
                   '\t' + ask + '\t' + groups);
  }
}

// --- Arguments

std::string DaysAgo(const std::string& days) {
  int64_t number = 0;
  std::from_chars(days.data(), days.data() + days.size(), number);
  return DateTimeText((static_cast<int64_t>(time(nullptr)) - number * 86'400) * 1'000'000);
}

std::string Seconds(const std::string& seconds) {
  int64_t number = 0;
  std::from_chars(seconds.data(), seconds.data() + seconds.size(), number);
  return DateTimeText(number * 1'000'000);
}

std::string Upper(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) {
    return static_cast<char>(c >= 'a' && c <= 'z' ? c - ('a' - 'A') : c);
  });
  return text;
}

void Sizes(const CtlJson& data, Terminal& terminal) {
  for (const auto& [name, value] : data.values()) {
    std::string line = name + ' ';
    line.resize(std::max<size_t>(line.size(), 18), ' ');
    terminal.Print(line + value.Plain());
  }
}

constexpr std::array kFlatXmpp = std::to_array<Flat>({
    {{"memory", "", "Show what takes memory, in bytes"},
     "flat",
     "memory",
     [](Words) { return CtlArguments(); },
     Sizes},
    {{"ban_account", "USER HOST REASON", "Let nobody log in to an account"},
     "account",
     "banUser",
     [](Words w) { return CtlArguments{{"user", Bare(w)}, {"reason", w[2]}}; },
     Message},
    {{"check_password_hash", "USER HOST HASH md5|sha", "Look whether a password's hash is right"},
     "account",
     "checkPasswordHash",
     [](Words w) {
       return CtlArguments{{"user", Bare(w)}, {"passwordHash", w[2]}, {"hashMethod", w[3]}};
     },
     Message},
    {{"import_users", "FILE", "Register the users of a file: user,host,password a line"},
     "account",
     "importUsers",
     [](Words w) { return CtlArguments{{"filename", w[0]}}; },
     ImportedUsers},
    {{"retrieve_personal_data", "USER HOST FILE", "Write all that is stored of a user into a ZIP"},
     "gdpr",
     "retrievePersonalData",
     [](Words w) {
       return CtlArguments{{"username", w[0]}, {"domain", w[1]}, {"resultFilepath", w[2]}};
     },
     PrintValue},
    {{"delete_expired_messages", "HOST", "Remove offline messages that expired"},
     "offline",
     "deleteExpiredMessages",
     [](Words w) { return CtlArguments{{"domain", w[0]}}; },
     PrintValue},
    {{"delete_old_messages", "HOST DAYS", "Remove offline messages that wait longer"},
     "offline",
     "deleteOldMessages",
     [](Words w) { return CtlArguments{{"domain", w[0]}, {"days", w[1]}}; },
     PrintValue},
    {{"unban_account", "USER HOST", "Let its user log in again"},
     "blocklist",
     "removeUser",
     [](Words w) { return CtlArguments{{"user", Bare(w)}}; },
     Nothing},
    {{"connected_users", "", "List the sessions"},
     "session",
     "listSessions",
     [](Words) { return CtlArguments(); },
     Names},
    {{"connected_users_number", "", "Count the sessions"},
     "session",
     "countSessions",
     [](Words) { return CtlArguments(); },
     PrintValue},
    {{"connected_users_info", "", "List the sessions with what is known of them"},
     "session",
     "listSessions",
     [](Words) { return CtlArguments(); },
     Sessions},
    {{"connected_users_vhost", "HOST", "List the sessions of a host"},
     "session",
     "listSessions",
     [](Words w) { return CtlArguments{{"domain", w[0]}}; },
     Names},
    {{"user_sessions_info", "USER HOST", "List a user's sessions"},
     "session",
     "listUserSessions",
     [](Words w) { return CtlArguments{{"user", Bare(w)}}; },
     Sessions},
    {{"user_resources", "USER HOST", "List the resources of a user's sessions"},
     "flat",
     "userResources",
     [](Words w) { return CtlArguments{{"user", Bare(w)}}; },
     Lines},
    {{"num_resources", "USER HOST", "Count a user's sessions"},
     "session",
     "countUserResources",
     [](Words w) { return CtlArguments{{"user", Bare(w)}}; },
     PrintValue},
    {{"resource_num", "USER HOST NUMBER", "Show the resource of one of a user's sessions"},
     "session",
     "getUserResource",
     [](Words w) { return CtlArguments{{"user", Bare(w)}, {"number", w[2]}}; },
     PrintValue},
    {{"kick_session", "USER HOST RESOURCE REASON", "End a session"},
     "session",
     "kickUserSession",
     [](Words w) { return CtlArguments{{"user", Full(w)}, {"reason", w[3]}}; },
     KickedOne},
    {{"status_list", "STATUS", "List the sessions with a status"},
     "session",
     "listUsersWithStatus",
     [](Words w) { return CtlArguments{{"status", w[0]}}; },
     Statuses},
    {{"status_num", "STATUS", "Count the sessions with a status"},
     "session",
     "countUsersWithStatus",
     [](Words w) { return CtlArguments{{"status", w[0]}}; },
     PrintValue},
    {{"set_presence", "USER HOST RESOURCE TYPE SHOW STATUS PRIORITY", "Set a session's presence"},
     "session",
     "setPresence",
     [](Words w) {
       return CtlArguments{{"user", Full(w)},
                           {"type", Upper(w[3])},
                           {"show", w[4]},
                           {"status", w[5]},
                           {"priority", w[6]}};
     },
     Nothing},
    {{"get_roster", "USER HOST", "List a user's contacts"},
     "roster",
     "listContacts",
     [](Words w) { return CtlArguments{{"user", Bare(w)}}; },
     Roster},
    {{"delete_rosteritem", "USER HOST CONTACT CONTACTHOST", "Take a contact out of a roster"},
     "roster",
     "deleteContact",
     [](Words w) { return CtlArguments{{"user", Bare(w)}, {"contact", Bare(w, 2)}}; },
     Nothing},
    {{"send_message_chat", "FROM TO BODY", "Send a chat message"},
     "stanza",
     "sendMessage",
     [](Words w) { return CtlArguments{{"from", w[0]}, {"to", w[1]}, {"body", w[2]}}; },
     Nothing},
    {{"send_message_headline", "FROM TO SUBJECT BODY", "Send a headline"},
     "stanza",
     "sendMessageHeadLine",
     [](Words w) {
       return CtlArguments{{"from", w[0]}, {"to", w[1]}, {"subject", w[2]}, {"body", w[3]}};
     },
     Nothing},
    {{"send_stanza_c2s", "USER HOST RESOURCE STANZA", "Send a stanza as a session would"},
     "flat",
     "sendStanza",
     [](Words w) { return CtlArguments{{"user", Full(w)}, {"stanza", w[3]}}; },
     Nothing},
    {{"get_vcard", "USER HOST NAME", "Show an element of a vCard"},
     "flat",
     "getVcardElement",
     [](Words w) { return CtlArguments{{"user", Bare(w)}, {"name", w[2]}}; },
     PrintValue},
    {{"get_vcard2", "USER HOST NAME SUBNAME", "Show an element within one of a vCard"},
     "flat",
     "getVcardElement",
     [](Words w) { return CtlArguments{{"user", Bare(w)}, {"name", w[2]}, {"within", w[3]}}; },
     PrintValue},
    {{"set_vcard", "USER HOST NAME CONTENT", "Set an element of a vCard"},
     "flat",
     "setVcardElement",
     [](Words w) { return CtlArguments{{"user", Bare(w)}, {"name", w[2]}, {"value", w[3]}}; },
     Nothing},
    {{"set_last", "USER HOST TIMESTAMP STATUS", "Set when a user was last here"},
     "last",
     "setLast",
     [](Words w) {
       return CtlArguments{{"user", Bare(w)}, {"timestamp", Seconds(w[2])}, {"status", w[3]}};
     },
     Nothing},
    {{"num_active_users", "HOST DAYS", "Count who was here within so many days"},
     "last",
     "countActiveUsers",
     [](Words w) { return CtlArguments{{"domain", w[0]}, {"timestamp", DaysAgo(w[1])}}; },
     PrintValue},
    {{"delete_old_users", "DAYS", "Remove the accounts of who was not here for so many days"},
     "last",
     "removeOldUsers",
     [](Words w) { return CtlArguments{{"timestamp", DaysAgo(w[0])}}; },
     OldUsers},
    {{"delete_old_users_vhost", "HOST DAYS", "The same, of a host"},
     "last",
     "removeOldUsers",
     [](Words w) { return CtlArguments{{"domain", w[0]}, {"timestamp", DaysAgo(w[1])}}; },
     OldUsers},
    {{"stats_host", "registeredusers|onlineusers HOST", "Show a number of a host's"},
     "stat",
     "domainStats",
     [](Words w) { return CtlArguments{{"domain", w[1]}}; },
     Nothing},
    {{"add_rosteritem", "USER HOST CONTACT CONTACTHOST NICK GROUP none|to|from|both",
      "Add a contact to a roster"},
     "roster",
     "addContact",
     [](Words w) {
       CtlArguments arguments{{"user", Bare(w)}, {"contact", Bare(w, 2)}, {"name", w[4]}};
       if (!w[5].empty()) arguments["groups"] = CtlJson::Texts({w[5]}).Pretty();
       return arguments;
     },
     Nothing},
});

size_t WordsOf(std::string_view arguments) {
  if (arguments.empty()) return 0;
  return static_cast<size_t>(std::ranges::count(arguments, ' ')) + 1;
}

// A number of days that is none would be 0, and of what is older than that all is removed.
bool DaysFit(std::string_view names, Words words) {
  constexpr size_t kDigitsMax = 5;
  for (const std::string& word : words) {
    const std::string_view name = names.substr(0, names.find(' '));
    names.remove_prefix(std::min(names.size(), name.size() + 1));
    if (name != "DAYS") continue;
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    if (word.empty() || word.size() > kDigitsMax || !std::ranges::all_of(word, digit)) return false;
  }
  return true;
}

// Its answer, or what went wrong as a line.
std::optional<CtlJson> Ask(NodeApi& node, std::string_view category, std::string_view command,
                           const CtlArguments& arguments, Terminal& terminal) {
  CtlAnswer answer = node.Xmpp(category, command, arguments);
  if (answer.faults.empty()) return std::move(answer.data);
  terminal.Print("Error: " + answer.faults.front().message);
  return std::nullopt;
}

// Who asks and who accepts, until the contact is as the last word says.
bool Subscribe(NodeApi& node, Words words, Terminal& terminal) {
  const std::string user = Bare(words);
  const std::string contact = Bare(words, 2);
  const std::string& wanted = words[6];
  if (wanted == "none") return true;
  if (wanted == "both") {
    return Ask(node, "roster", "setMutualSubscription",
               {{"userA", user}, {"userB", contact}, {"action", "CONNECT"}}, terminal)
        .has_value();
  }
  const bool to = wanted == "to";
  const std::string& asks = to ? user : contact;
  const std::string& accepts = to ? contact : user;
  return Ask(node, "roster", "subscription",
             {{"user", accepts}, {"contact", asks}, {"action", "ACCEPT"}}, terminal) &&
         Ask(node, "roster", "subscription",
             {{"user", asks}, {"contact", accepts}, {"action", "INVITE"}}, terminal);
}

}  // namespace

std::span<const FlatXmppCommand> FlatXmppCommands() {
  static const auto shown = [] {
    std::array<FlatXmppCommand, kFlatXmpp.size()> all;
    std::ranges::transform(kFlatXmpp, all.begin(), &Flat::shown);
    return all;
  }();
  return shown;
}

std::optional<int> RunFlatXmpp(std::span<const std::string> args, NodeApi& node,
                               Terminal& terminal) {
  const auto flat = std::ranges::find_if(
      kFlatXmpp, [&](const Flat& known) { return known.shown.name == args[0]; });
  if (flat == kFlatXmpp.end()) return std::nullopt;
  const Words words = args.subspan(1);
  const bool adds = flat->shown.name == "add_rosteritem";
  const bool known_word = !adds || words.size() < 7 || words[6] == "none" || words[6] == "to" ||
                          words[6] == "from" || words[6] == "both";
  if (words.size() != WordsOf(flat->shown.arguments) || !known_word ||
      !DaysFit(flat->shown.arguments, words)) {
    terminal.Print("Usage: mongooseimctl " + args[0] + ' ' + std::string(flat->shown.arguments));
    return 2;
  }
  const auto data = Ask(node, flat->category, flat->command, flat->arguments(words), terminal);
  if (!data) return 1;
  if (flat->shown.name == "stats_host") {
    const char* key = words[0] == "onlineusers" ? "onlineUsers" : "registeredUsers";
    terminal.Print(data->PlainOf(key));
    return 0;
  }
  flat->print(*data, terminal);
  if (flat->shown.name == "kick_session") return data->PlainOf("kicked") == "true" ? 0 : 1;
  return !adds || Subscribe(node, words, terminal) ? 0 : 1;
}

}  // namespace server
