#include "server/transfer/prosody.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <system_error>

#include "server/im/archive_prefs.h"
#include "server/transfer/lua_table.h"
#include "server/xmpp/date_time.h"
#include "server/xmpp/jid.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

namespace fs = std::filesystem;

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> FromHex(std::string_view hex) {
  std::string bytes;
  if (hex.size() % 2 != 0) return std::nullopt;
  for (size_t i = 0; i < hex.size(); i += 2) {
    const int high = HexDigit(hex[i]);
    const int low = HexDigit(hex[i + 1]);
    if (high < 0 || low < 0) return std::nullopt;
    bytes += static_cast<char>(high * 16 + low);
  }
  return bytes;
}

// Nothing where there is no such file.
std::expected<std::optional<std::string>, std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) {
    std::error_code error;
    if (!fs::exists(path, error)) return std::nullopt;
    return std::unexpected(path + ": cannot be read");
  }
  const auto size = static_cast<size_t>(file.tellg());
  if (size > kProsodyFileBytesMax) return std::unexpected(path + ": too large");
  std::string text(size, '\0');
  file.seekg(0);
  if (!file.read(text.data(), static_cast<std::streamsize>(size))) {
    return std::unexpected(path + ": cannot be read");
  }
  return text;
}

// A stanza as Prosody keeps it: name, attr, and its children in order. Names and values are
// whatever stands in the file: it is parsed again before it counts.
void AppendStanza(std::string& out, const LuaValue& stanza, bool message) {
  const std::string_view name = stanza.Text("name");
  (out += '<') += name;
  int prefixes = 0;
  if (const LuaValue* attributes = stanza.Find("attr")) {
    // Lua's order is another one each time.
    std::map<std::string_view, const LuaField*> sorted;
    for (const LuaField& one : attributes->fields) sorted.emplace(one.key.text, &one);
    for (const auto& [unused, field] : sorted) {
      const LuaField& one = *field;
      const std::string& key = one.key.text;
      if (message && (key == "stamp" || key == "stamp_legacy")) continue;  // of the file, not of it
      const size_t cut = key.find_first_of("\1|");
      if (cut == std::string::npos) {
        AppendXmlAttribute(out, key, one.value.text);
        continue;
      }
      const std::string prefix = "n" + std::to_string(prefixes++);
      AppendXmlAttribute(out, "xmlns:" + prefix, key.substr(0, cut));
      AppendXmlAttribute(out, prefix + ":" + key.substr(cut + 1), one.value.text);
    }
  }
  out += '>';
  for (const LuaField& one : stanza.fields) {
    if (one.key.kind != LuaValue::Kind::kNumber) continue;
    if (one.value.is_table()) {
      AppendStanza(out, one.value, false);
    } else {
      AppendXmlContent(out, one.value.text);
    }
  }
  ((out += "</") += name) += '>';
}

std::optional<Stanza> ToStanza(const LuaValue& value, bool message = false) {
  if (!value.is_table()) return std::nullopt;
  std::string xml;
  AppendStanza(xml, value, message);
  return ParseStanza(xml, kClientSpace);
}

class UserReader {
 public:
  UserReader(const std::string& folder, const Jid& user)
      : folder_(folder + "/" + ProsodyFileName(user.domain()) + "/"),
        file_(ProsodyFileName(user.local())) {
    data_.user = user.full();
  }

  std::expected<UserData, std::string> Read() {
    const bool all = Table("accounts", [this](const LuaValue& table) { ReadAccount(table); }) &&
                     Table("roster", [this](const LuaValue& table) { ReadRoster(table); }) &&
                     Table("vcard", [this](const LuaValue& table) { ReadVcard(table); }) &&
                     Table("private", [this](const LuaValue& table) { ReadPrivate(table); }) &&
                     Table("blocklist", [this](const LuaValue& table) { ReadBlocklist(table); }) &&
                     Table("archive_prefs", [this](const LuaValue& table) { ReadPrefs(table); }) &&
                     List("offline", [this](const LuaValue& item) { ReadOffline(item); }) &&
                     List("archive", [this](const LuaValue& item) { ReadArchived(item); });
    if (!all) return std::unexpected(error_);
    return std::move(data_);
  }

 private:
  std::string Path(std::string_view store, std::string_view ending) const {
    return folder_ + std::string(store) + "/" + file_ + std::string(ending);
  }
  bool Fail(std::string error) {
    error_ = std::move(error);
    return false;
  }
  void Problem(std::string_view what, std::string_view of) {
    AddProblem(data_, std::string(what) + " '" + std::string(of.substr(0, 200)) + "'");
  }

  bool Table(std::string_view store, const std::function<void(const LuaValue&)>& read) {
    const std::string path = Path(store, ".dat");
    const auto text = ReadFile(path);
    if (!text) return Fail(text.error());
    if (!*text) return true;
    const auto table = ReadLuaTable(**text);
    if (!table) return Fail(path + ": " + table.error());
    read(*table);
    return true;
  }
  bool List(std::string_view store, const std::function<void(const LuaValue&)>& read) {
    const std::string path = Path(store, ".list");
    const auto text = ReadFile(path);
    if (!text) return Fail(text.error());
    if (!*text) return true;
    const auto items = ReadLuaList(**text);
    if (!items) return Fail(path + ": " + items.error());
    for (const LuaValue& item : *items) read(item);
    return true;
  }

  void ReadAccount(const LuaValue& table) {
    data_.password = table.Text("password");
    const auto created = table.Number("created");
    if (created > 0 && created < 1e11) data_.account.created_s = static_cast<int64_t>(created);
    const auto stored = FromHex(table.Text("stored_key"));
    const auto server = FromHex(table.Text("server_key"));
    const double iterations = table.Number("iteration_count");
    if (!stored || !server || stored->empty()) return;
    for (size_t i = 0; i < kScramHashes; ++i) {
      const size_t bytes = ScramDigestBytes(static_cast<ScramHash>(i));
      if (stored->size() != bytes || server->size() != bytes) continue;
      if (iterations < 1 || iterations > kScramIterationsMax) break;
      data_.account.keys[i] = ScramKeys{.salt = std::string(table.Text("salt")),
                                        .iterations = static_cast<uint32_t>(iterations),
                                        .stored_key = *stored,
                                        .server_key = *server};
      return;
    }
    AddProblem(data_, "the password's keys are none that we know");
  }

  void ReadRoster(const LuaValue& table) {
    for (const LuaField& field : table.fields) {
      if (field.key.kind != LuaValue::Kind::kText || !field.value.is_table()) continue;
      if (field.key.text == "pending") continue;  // of before 0.11
      RosterItem* item = RosterItemOf(data_, field.key.text);
      if (item == nullptr) {
        Problem("no contact:", field.key.text);
        continue;
      }
      ReadItem(field.value, *item);
    }
    const LuaValue* metadata = table.FindFalse();
    if (metadata == nullptr) return;
    for (const char* list : {"pending", "approved"}) {
      const LuaValue* jids = metadata->Find(list);
      if (jids == nullptr) continue;
      for (const LuaField& one : jids->fields) {
        RosterItem* item = RosterItemOf(data_, one.key.text);
        if (item == nullptr) continue;
        if (list[0] == 'a') {
          item->approved = true;
          if (item->subscription == Subscription::kRemove) item->subscription = Subscription::kNone;
        } else {
          item->pending_in = true;
          ReadRequest(one.value, *item);
        }
      }
    }
  }

  static void ReadItem(const LuaValue& table, RosterItem& item) {
    static constexpr std::array<std::string_view, 4> kNames = {"none", "to", "from", "both"};
    const auto* at = std::ranges::find(kNames, table.Text("subscription"));
    item.subscription =
        at == kNames.end() ? Subscription::kNone : static_cast<Subscription>(at - kNames.begin());
    item.ask = table.Text("ask") == "subscribe";
    item.name = table.Text("name");
    const LuaValue* groups = table.Find("groups");
    if (groups == nullptr) return;
    for (const LuaField& group : groups->fields) {
      if (group.key.kind == LuaValue::Kind::kText) item.groups.push_back(group.key.text);
    }
    std::ranges::sort(item.groups);
  }

  static void ReadRequest(const LuaValue& value, RosterItem& item) {
    const auto presence = ToStanza(value);
    if (!presence) return;  // "true": nothing was kept of it
    for (XmlElement child = presence->root().FirstChild(); child; child = child.Next()) {
      child.AppendTo(item.request, kClientSpace);
    }
  }

  void ReadVcard(const LuaValue& table) {
    const auto vcard = ToStanza(table);
    if (!vcard) return AddProblem(data_, "the vCard cannot be read");
    vcard->root().AppendTo(data_.vcard, kClientSpace);
  }

  void ReadPrivate(const LuaValue& table) {
    for (const LuaField& field : table.fields) {
      const auto element = ToStanza(field.value);
      if (!element) {
        Problem("no private XML:", field.key.text);
        continue;
      }
      PrivateElement one{.name = std::string(element->root().name()),
                         .space = std::string(element->root().space()),
                         .xml = {}};
      element->root().AppendTo(one.xml, {});
      data_.privates.push_back(std::move(one));
    }
  }

  void ReadBlocklist(const LuaValue& table) {
    for (const LuaField& field : table.fields) {
      if (field.key.kind != LuaValue::Kind::kText) continue;
      const auto jid = Jid::Parse(field.key.text);
      if (!jid) {
        Problem("no address to block:", field.key.text);
        continue;
      }
      data_.blocked.push_back(jid->full());
    }
    std::ranges::sort(data_.blocked);
  }

  void ReadPrefs(const LuaValue& table) {
    ArchivePrefs prefs;
    if (const LuaValue* by_default = table.FindFalse()) {
      prefs.by_default = by_default->text == "roster" ? ArchiveDefault::kRoster
                         : by_default->IsTrue()       ? ArchiveDefault::kAlways
                                                      : ArchiveDefault::kNever;
    }
    for (const LuaField& field : table.fields) {
      if (field.key.kind != LuaValue::Kind::kText) continue;
      const auto jid = Jid::Parse(field.key.text);
      if (jid) (field.value.IsTrue() ? prefs.always : prefs.never).push_back(jid->full());
    }
    if (prefs.always.size() + prefs.never.size() > kArchivePrefsJidsMax) {
      return AddProblem(data_, "more addresses in the archive's preferences than can be kept");
    }
    std::ranges::sort(prefs.always);
    std::ranges::sort(prefs.never);
    data_.archive_prefs = ArchivePrefsXml(prefs);
  }

  // Seconds, with a fraction; before 0.10 only as the attribute "stamp".
  static int64_t TimeOf(const LuaValue& item) {
    const double when = item.Number("when");
    if (when > 0 && when < 1e11) return std::llround(when * 1e6);
    const LuaValue* attributes = item.Find("attr");
    return attributes == nullptr ? 0 : ParseDateTime(attributes->Text("stamp")).value_or(0);
  }

  void ReadOffline(const LuaValue& item) {
    const auto message = ToStanza(item, true);
    if (!message) return Problem("no offline message:", item.Text("key"));
    AddOfflineMessage(data_, message->root(), TimeOf(item));
  }
  void ReadArchived(const LuaValue& item) {
    const auto message = ToStanza(item, true);
    if (!message) return Problem("no archived message:", item.Text("key"));
    AddArchived(data_, message->root(), TimeOf(item), item.Text("key"));
  }

  const std::string folder_;
  const std::string file_;
  UserData data_;
  std::string error_;
};

}  // namespace

std::string ProsodyFileName(std::string_view text) {
  static constexpr std::string_view kHex = "0123456789abcdef";
  std::string name;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) {
      name += c;
    } else {
      ((name += '%') += kHex[byte >> 4U]) += kHex[byte & 15U];
    }
  }
  return name;
}

std::string ProsodyDecode(std::string_view file_name) {
  std::string text;
  for (size_t i = 0; i < file_name.size(); ++i) {
    const auto byte = file_name[i] == '%' && i + 2 < file_name.size()
                          ? FromHex(file_name.substr(i + 1, 2))
                          : std::nullopt;
    text += byte ? byte->front() : file_name[i];
    if (byte) i += 2;
  }
  return text;
}

std::expected<std::vector<std::string>, std::string> ProsodyUsers(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> users;
  if (!fs::is_directory(folder, error)) return std::unexpected(folder + ": is no folder");
  for (const auto& host : fs::directory_iterator(folder, error)) {
    const fs::path accounts = host.path() / "accounts";
    std::error_code none;
    if (!fs::is_directory(accounts, none)) continue;
    for (const auto& file : fs::directory_iterator(accounts, error)) {
      if (file.path().extension() != ".dat") continue;
      const auto user = Jid::Make(ProsodyDecode(file.path().stem().string()),
                                  ProsodyDecode(host.path().filename().string()));
      if (user && !user->local().empty()) users.push_back(user->full());
    }
  }
  if (error) return std::unexpected(folder + ": " + error.message());
  std::ranges::sort(users);
  return users;
}

std::expected<UserData, std::string> ReadProsodyUser(const std::string& folder,
                                                     const std::string& user) {
  const auto jid = Jid::Parse(user);
  if (!jid || !jid->is_bare() || jid->local().empty()) {
    return std::unexpected(user + ": is no account's address");
  }
  return UserReader(folder, *jid).Read();
}

}  // namespace server
