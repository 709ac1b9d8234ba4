#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <system_error>
#include <utility>

#include "net/base/base64.h"
#include "server/im/archive_prefs.h"
#include "server/transfer/xep0227.h"
#include "server/xmpp/date_time.h"
#include "server/xmpp/jid.h"

namespace server {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kOldPieSpace = "http://www.xmpp.org/extensions/xep-0227.html#ns";
constexpr std::string_view kScramSpace = "urn:xmpp:pie:0#scram";
constexpr std::string_view kPieArchiveSpace = "urn:xmpp:pie:0#mam";
constexpr std::string_view kIncludeSpace = "http://www.w3.org/2001/XInclude";
constexpr std::string_view kRosterSpace = "jabber:iq:roster";
constexpr std::string_view kDelaySpace = "urn:xmpp:delay";
constexpr std::string_view kForwardSpace = "urn:xmpp:forward:0";
constexpr std::string_view kOursSpace = "urn:mongoose-edge:transfer";
constexpr int kDepthMax = 80;
constexpr size_t kReadBytes = 64 * 1024;

bool IsPie(const net::XmlName& name, std::string_view local) {
  return name.local == local && (name.space == kPieSpace || name.space == kOldPieSpace);
}

std::string Attribute(const net::XmlAttributes& attributes, std::string_view name,
                      std::string_view space = {}) {
  for (const auto& [attribute, value] : attributes) {
    if (attribute.local == name && attribute.space == space) return std::string(value);
  }
  return {};
}

std::string TextOf(const XmlElement& parent, std::string_view name) {
  const XmlElement child = parent.Child(name, kScramSpace);
  return child ? child.Text() : std::string();
}

// A file that is included stands below the one that includes it.
bool IsBelow(const fs::path& path) {
  return !path.empty() && path.is_relative() &&
         std::ranges::none_of(path, [](const fs::path& part) { return part == ".."; });
}

}  // namespace

Xep0227Source::~Xep0227Source() = default;

std::expected<std::unique_ptr<Xep0227Source>, std::string> Xep0227Source::Open(
    const std::string& path, int64_t now_us) {
  std::unique_ptr<Xep0227Source> source(new Xep0227Source(now_us));
  std::error_code error;
  if (!fs::is_directory(path, error)) {
    if (!fs::exists(path, error)) return std::unexpected(path + ": there is no such file");
    source->files_.push_back({path, {}});
    return source;
  }
  std::vector<std::string> names;
  for (const auto& file : fs::directory_iterator(path, error)) {
    if (file.path().extension() == ".xml") names.push_back(file.path().string());
  }
  if (error) return std::unexpected(path + ": " + error.message());
  if (names.empty()) return std::unexpected(path + ": has no .xml file");
  std::ranges::sort(names);
  for (std::string& name : names) source->files_.push_back({std::move(name), {}});
  return source;
}

std::expected<std::optional<UserData>, UserSource::Failure> Xep0227Source::Next() {
  while (whole_.empty()) {
    if (!error_.empty()) return std::unexpected(Failure{.what = error_, .last = true});
    if (xml_ == nullptr && files_.empty()) return std::nullopt;
    if (xml_ == nullptr ? OpenNext() : ReadSome()) continue;
    return std::unexpected(Failure{.what = error_, .last = true});
  }
  UserData data = std::move(whole_.front());
  whole_.pop_front();
  return data;
}

bool Xep0227Source::OpenNext() {
  file_ = std::move(files_.front());
  files_.pop_front();
  in_ = std::ifstream(file_.path, std::ios::binary);
  if (!in_) return Fail("cannot be read");
  net::XmlHandler* const handler = this;
  xml_ = std::make_unique<net::StreamXml>(handler, kDepthMax);
  host_ = file_.host;
  base_ = 0;
  skip_ = -1;
  return true;
}

bool Xep0227Source::ReadSome() {
  std::array<char, kReadBytes> bytes;
  in_.read(bytes.data(), bytes.size());
  const auto size = static_cast<size_t>(in_.gcount());
  if (size == 0) return Fail("it ends in the middle");
  const auto fed = xml_->Feed(std::string_view(bytes.data(), size));
  if (fed.error != net::StreamError::kNone) {
    return Fail("byte " + std::to_string(xml_->event_end()) + ": " +
                std::string(net::ToString(fed.error)));
  }
  if (fed.stopped && !error_.empty()) return false;
  if (fed.stopped) {  // its root ended
    xml_.reset();
    return true;
  }
  if (xml_->fed() - xml_->event_end() > kTransferElementBytesMax) {
    return Fail("byte " + std::to_string(xml_->event_end()) + ": too large");
  }
  if (user_ != nullptr && xml_->fed() - user_began_ > kTransferUserBytesMax) {
    return Fail("the user " + user_->user + " is too large");
  }
  return true;
}

bool Xep0227Source::Fail(std::string what) {
  if (error_.empty()) error_ = file_.path + ": " + std::move(what);
  return false;
}

bool Xep0227Source::OnStart(int depth, const net::XmlName& name,
                            const net::XmlAttributes& attributes, std::string_view) {
  if (element_ != nullptr) {
    element_->Begin(name, attributes);
    return true;
  }
  if (depth == 0) base_ = IsPie(name, "user") ? 2 : IsPie(name, "host") ? 1 : 0;
  const int level = depth + base_;
  if (skip_ >= 0) return true;
  if (level > 0 && level < 3 && name.local == "include" && name.space == kIncludeSpace) {
    skip_ = level;
    return Include(attributes);
  }
  switch (level) {
    case 0:
      return IsPie(name, "server-data") || Fail("is no <server-data/> of XEP-0227");
    case 1:
      if (IsPie(name, "host")) {
        host_ = Attribute(attributes, "jid");
      } else {
        skip_ = level;
      }
      return true;
    case 2:
      if (IsPie(name, "user")) return StartUser(attributes);
      skip_ = level;
      return true;
    default:
      return StartInUser(level, name, attributes);
  }
}

bool Xep0227Source::StartUser(const net::XmlAttributes& attributes) {
  const std::string local = Attribute(attributes, "name");
  const auto user = Jid::Make(local, host_);
  if (!user || user->local().empty()) {
    return Fail("'" + local.substr(0, 100) + "' at '" + host_.substr(0, 100) +
                "' is no account's address");
  }
  user_ = std::make_unique<UserData>();
  user_->user = user->full();
  user_->password = Attribute(attributes, "password");
  user_->account.banned = Attribute(attributes, "banned", kOursSpace);
  user_began_ = xml_->fed();
  return true;
}

bool Xep0227Source::StartInUser(int level, const net::XmlName& name,
                                const net::XmlAttributes& attributes) {
  if (level == 3 && IsPie(name, "offline-messages")) {
    within_ = Within::kOffline;
  } else if (level == 3 && name.local == "archive" && name.space == kPieArchiveSpace) {
    within_ = Within::kArchive;
  } else {
    element_ = std::make_unique<Stanza>();
    element_->Begin(name, attributes);
  }
  return true;
}

bool Xep0227Source::Include(const net::XmlAttributes& attributes) {
  const fs::path href(Attribute(attributes, "href"));
  if (!IsBelow(href)) return Fail("includes '" + href.string() + "', which is not below it");
  files_.push_back({(fs::path(file_.path).parent_path() / href).string(), host_});
  return true;
}

bool Xep0227Source::OnEnd(int depth, const net::XmlName&) {
  const int level = depth + base_;
  if (element_ != nullptr) {
    element_->End();
    if (element_->complete()) {
      const auto element = std::move(element_);
      Take(element->root());
    }
    return true;
  }
  if (skip_ >= 0) {
    if (skip_ == level) skip_ = -1;
  } else if (level == 3) {
    within_ = Within::kNothing;
  } else if (level == 2) {
    whole_.push_back(std::move(*user_));
    user_.reset();
  }
  return depth > 0;  // behind the root nothing is read
}

bool Xep0227Source::OnText(int, std::string_view text) {
  if (element_ != nullptr) element_->AddText(text);
  return true;
}

void Xep0227Source::Take(const XmlElement& element) {
  if (within_ != Within::kNothing) return TakeMessage(element);
  if (element.Is("query", kRosterSpace)) {
    TakeRoster(element);
  } else if (element.Is("scram-credentials", kScramSpace)) {
    TakeKeys(element);
  } else if (element.Is("vCard", "vcard-temp")) {
    user_->vcard.clear();
    element.AppendTo(user_->vcard, kClientSpace);
  } else if (element.Is("query", "jabber:iq:private")) {
    for (XmlElement child = element.FirstChild(); child; child = child.Next()) {
      PrivateElement one{
          .name = std::string(child.name()), .space = std::string(child.space()), .xml = {}};
      child.AppendTo(one.xml, {});
      user_->privates.push_back(std::move(one));
    }
  } else if (element.Is("blocklist", "urn:xmpp:blocking")) {
    for (XmlElement child = element.FirstChild(); child; child = child.Next()) {
      if (const auto jid = Jid::Parse(child.Attribute("jid")))
        user_->blocked.push_back(jid->full());
    }
  } else if (element.Is("prefs", kArchiveSpace)) {
    if (const auto prefs = ReadArchivePrefs(element))
      user_->archive_prefs = ArchivePrefsXml(*prefs);
  } else if (element.name() == "presence" && element.Attribute("type") == "subscribe") {
    RosterItem* item = RosterItemOf(*user_, element.Attribute("from"));
    if (item == nullptr) return AddProblem(*user_, "a request to subscribe of nobody");
    item->pending_in = true;
    for (XmlElement child = element.FirstChild(); child; child = child.Next()) {
      child.AppendTo(item->request, kClientSpace);
    }
  } else {
    AddProblem(*user_, "unknown: <" + std::string(element.name().substr(0, 100)) + " xmlns='" +
                           std::string(element.space().substr(0, 100)) + "'/>");
  }
}

void Xep0227Source::TakeRoster(const XmlElement& query) {
  static constexpr std::array<std::string_view, 4> kNames = {"none", "to", "from", "both"};
  for (XmlElement child = query.FirstChild(); child; child = child.Next()) {
    RosterItem* item = RosterItemOf(*user_, child.Attribute("jid"));
    if (item == nullptr) {
      AddProblem(*user_,
                 "no contact: '" + std::string(child.Attribute("jid").substr(0, 200)) + "'");
      continue;
    }
    const auto* at = std::ranges::find(kNames, child.Attribute("subscription"));
    item->subscription =
        at == kNames.end() ? Subscription::kNone : static_cast<Subscription>(at - kNames.begin());
    item->ask = child.Attribute("ask") == "subscribe";
    item->approved = child.Attribute("approved") == "true" || child.Attribute("approved") == "1";
    item->name = child.Attribute("name");
    for (XmlElement group = child.FirstChild(); group; group = group.Next()) {
      if (group.Is("group", kRosterSpace)) item->groups.push_back(group.Text());
    }
  }
}

void Xep0227Source::TakeKeys(const XmlElement& credentials) {
  const std::string iterations = TextOf(credentials, "iter-count");
  ScramKeys keys;
  std::from_chars(iterations.data(), iterations.data() + iterations.size(), keys.iterations);
  keys.salt = net::Base64Decode(TextOf(credentials, "salt")).value_or("");
  keys.stored_key = net::Base64Decode(TextOf(credentials, "stored-key")).value_or("");
  keys.server_key = net::Base64Decode(TextOf(credentials, "server-key")).value_or("");
  for (size_t i = 0; i < kScramHashes; ++i) {
    const auto hash = static_cast<ScramHash>(i);
    if (ScramName(hash) != credentials.Attribute("mechanism")) continue;
    const size_t bytes = ScramDigestBytes(hash);
    if (keys.salt.empty() || keys.stored_key.size() != bytes || keys.server_key.size() != bytes ||
        keys.iterations < 1 || keys.iterations > kScramIterationsMax) {
      break;
    }
    user_->account.keys[i] = std::move(keys);
    return;
  }
  AddProblem(*user_, "the password's keys are none that we know");
}

void Xep0227Source::TakeMessage(const XmlElement& element) {
  const auto time = [this](const XmlElement& parent) {
    const XmlElement delay = parent ? parent.Child("delay", kDelaySpace) : parent;
    return delay ? ParseDateTime(delay.Attribute("stamp")).value_or(now_us_) : now_us_;
  };
  if (within_ == Within::kOffline) {
    if (element.Is("message", kClientSpace)) {
      AddOfflineMessage(*user_, element, time(element));
    }
    return;
  }
  // Preferences may stand there, too.
  if (!element.Is("result", kArchiveSpace)) {
    within_ = Within::kNothing;
    Take(element);
    within_ = Within::kArchive;
    return;
  }
  const XmlElement forwarded = element.Child("forwarded", kForwardSpace);
  const XmlElement message = forwarded ? forwarded.Child("message", kClientSpace) : forwarded;
  if (!message) return AddProblem(*user_, "an archived message that is none");
  AddArchived(*user_, message, time(forwarded), element.Attribute("id"));
}

}  // namespace server
