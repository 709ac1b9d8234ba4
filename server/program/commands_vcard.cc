// vcard …: an account's vCard (XEP-0054) as fields. A set replaces it whole, as a client's would; a
// field that is not understood is refused.
#include <algorithm>
#include <array>
#include <utility>

#include "net/base/base64.h"
#include "server/program/xmpp_commands.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr std::string_view kSpace = "vcard-temp";
constexpr size_t kValuesMax = 100;  // of one field

struct Field {
  std::string_view json;
  std::string_view xml;
};
// Lists of texts.
constexpr std::array kVcardTexts = std::to_array<Field>({{"nickname", "NICKNAME"},
                                                         {"birthday", "BDAY"},
                                                         {"jabberId", "JABBERID"},
                                                         {"mailer", "MAILER"},
                                                         {"timeZone", "TZ"},
                                                         {"title", "TITLE"},
                                                         {"role", "ROLE"},
                                                         {"note", "NOTE"},
                                                         {"prodId", "PRODID"},
                                                         {"rev", "REV"},
                                                         {"sortString", "SORT-STRING"},
                                                         {"uid", "UID"},
                                                         {"url", "URL"},
                                                         {"desc", "DESC"}});

// Lists of objects: texts within, and tags (empty elements) where there are such.
struct Compound {
  Field field;
  std::span<const Field> texts;
  std::span<const std::string_view> tags;
};
constexpr std::array kName = std::to_array<Field>({{"family", "FAMILY"},
                                                   {"givenName", "GIVEN"},
                                                   {"middleName", "MIDDLE"},
                                                   {"prefix", "PREFIX"},
                                                   {"suffix", "SUFFIX"}});
constexpr std::array kAddress = std::to_array<Field>({{"pobox", "POBOX"},
                                                      {"extadd", "EXTADD"},
                                                      {"street", "STREET"},
                                                      {"locality", "LOCALITY"},
                                                      {"region", "REGION"},
                                                      {"pcode", "PCODE"},
                                                      {"country", "CTRY"}});
constexpr std::array kTelephone = std::to_array<Field>({{"number", "NUMBER"}});
constexpr std::array kEmail = std::to_array<Field>({{"userId", "USERID"}});
constexpr std::array kGeo = std::to_array<Field>({{"lat", "LAT"}, {"lon", "LON"}});
constexpr std::array kOrg = std::to_array<Field>({{"orgname", "ORGNAME"}, {"orgunit", "ORGUNIT"}});
constexpr std::array kAddressTags =
    std::to_array<std::string_view>({"HOME", "WORK", "POSTAL", "PARCEL", "DOM", "PREF", "INTL"});
constexpr std::array kTelephoneTags =
    std::to_array<std::string_view>({"HOME", "WORK", "VOICE", "FAX", "PAGER", "MSG", "CELL",
                                     "VIDEO", "BBS", "MODEM", "ISDN", "PCS", "PREF"});
constexpr std::array kEmailTags =
    std::to_array<std::string_view>({"HOME", "WORK", "INTERNET", "PREF", "X400"});
constexpr std::array kLabel = std::to_array<Field>({{"line", "LINE"}});
constexpr std::array kKeywords = std::to_array<Field>({{"keyword", "KEYWORD"}});
constexpr std::array kKey = std::to_array<Field>({{"credential", "CRED"}});
constexpr std::array kClassTags =
    std::to_array<std::string_view>({"PUBLIC", "PRIVATE", "CONFIDENTIAL"});
constexpr std::array kCompounds = std::to_array<Compound>({
    {{"address", "ADR"}, kAddress, kAddressTags},
    {{"label", "LABEL"}, kLabel, kAddressTags},
    {{"categories", "CATEGORIES"}, kKeywords, {}},
    {{"class", "CLASS"}, {}, kClassTags},
    {{"key", "KEY"}, kKey, {}},
    {{"telephone", "TEL"}, kTelephone, kTelephoneTags},
    {{"email", "EMAIL"}, kEmail, kEmailTags},
    {{"geo", "GEO"}, kGeo, {}},
    {{"org", "ORG"}, kOrg, {}},
});

// Lists of texts, each a picture or a sound (XEP-0054 section 3.3): a URL where it is elsewhere
// (EXTVAL), "data:TYPE;base64,…" or base64 alone where it is in the vCard (TYPE and BINVAL).
constexpr std::array kMedia = std::to_array<Field>(
    {{"photo", "PHOTO"}, {"logo", "LOGO"}, {"sound", "SOUND"}, {"agent", "AGENT"}});
constexpr std::string_view kDataUrl = "data:";
constexpr std::string_view kBase64Mark = ";base64,";

// --- From XML

std::string MediumOf(const XmlElement& element) {
  if (const XmlElement external = element.Child("EXTVAL", kSpace)) return external.Text();
  const XmlElement value = element.Child("BINVAL", kSpace);
  if (!value) return element.Text();
  std::string bytes = value.Text();
  std::erase_if(bytes, [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; });
  const XmlElement type = element.Child("TYPE", kSpace);
  if (!type) return bytes;
  return std::string(kDataUrl) + type.Text() + std::string(kBase64Mark) + bytes;
}

// These alone may stand several times.
bool IsList(const Field& field) {
  return field.json == "orgunit" || field.json == "line" || field.json == "keyword";
}

CtlJson ObjectOf(const XmlElement& element, std::span<const Field> texts,
                 std::span<const std::string_view> tags) {
  CtlJson object = CtlJson::Object();
  if (!tags.empty()) {
    CtlJson found = CtlJson::List();
    for (const std::string_view tag : tags) {
      if (element.Child(tag, kSpace)) found.Add(CtlJson::Text(tag));
    }
    object.Set("tags", std::move(found));
  }
  for (const Field& field : texts) {
    CtlJson list = CtlJson::List();
    CtlJson first = CtlJson::Null();
    for (XmlElement child = element.FirstChild(); child; child = child.Next()) {
      if (!child.Is(field.xml, kSpace)) continue;
      if (first.null()) first = CtlJson::Text(child.Text());
      list.Add(CtlJson::Text(child.Text()));
    }
    object.Set(field.json, IsList(field) ? std::move(list) : std::move(first));
  }
  return object;
}

CtlJson JsonOf(const XmlElement& vcard) {
  CtlJson json = CtlJson::Object();
  const XmlElement name = vcard.Child("FN", kSpace);
  json.Set("formattedName", name ? CtlJson::Text(name.Text()) : CtlJson::Null());
  const XmlElement parts = vcard.Child("N", kSpace);
  json.Set("nameComponents", parts ? ObjectOf(parts, kName, {}) : CtlJson::Null());
  for (const Field& field : kVcardTexts) {
    CtlJson list = CtlJson::List();
    for (XmlElement child = vcard.FirstChild(); child; child = child.Next()) {
      if (child.Is(field.xml, kSpace)) list.Add(CtlJson::Text(child.Text()));
    }
    json.Set(field.json, std::move(list));
  }
  for (const Field& field : kMedia) {
    CtlJson list = CtlJson::List();
    for (XmlElement child = vcard.FirstChild(); child; child = child.Next()) {
      if (child.Is(field.xml, kSpace)) list.Add(CtlJson::Text(MediumOf(child)));
    }
    json.Set(field.json, std::move(list));
  }
  for (const Compound& compound : kCompounds) {
    CtlJson list = CtlJson::List();
    for (XmlElement child = vcard.FirstChild(); child; child = child.Next()) {
      if (child.Is(compound.field.xml, kSpace)) {
        list.Add(ObjectOf(child, compound.texts, compound.tags));
      }
    }
    json.Set(compound.field.json, std::move(list));
  }
  return json;
}

// --- To XML

void AppendText(std::string& out, std::string_view name, std::string_view text) {
  ((out += '<') += name) += '>';
  AppendXmlContent(out, text);
  ((out += "</") += name) += '>';
}

// Each of a list's texts, or the one.
void AppendTexts(std::string& out, const CtlJson* json, std::string_view name) {
  if (json == nullptr || json->null()) return;
  if (json->scalar()) return AppendText(out, name, json->Plain());
  size_t count = 0;
  for (const auto& [_, value] : json->values()) {
    if (++count <= kValuesMax) AppendText(out, name, value.Plain());
  }
}

void AppendObject(std::string& out, const CtlJson& json, const Compound& compound) {
  ((out += '<') += compound.field.xml) += '>';
  if (const CtlJson* tags = json.Find("tags")) {
    for (const auto& [_, tag] : tags->values()) {
      const std::string name = tag.Plain();
      if (std::ranges::find(compound.tags, name) != compound.tags.end()) out += "<" + name + "/>";
    }
  }
  for (const Field& field : compound.texts) AppendTexts(out, json.Find(field.json), field.xml);
  ((out += "</") += compound.field.xml) += '>';
}

// False: it is none of the three.
bool AppendMedium(std::string& out, std::string_view name, std::string_view text) {
  std::string inner;
  const size_t mark = text.find(kBase64Mark);
  if (text.starts_with(kDataUrl) && mark != std::string_view::npos) {
    AppendText(inner, "TYPE", text.substr(kDataUrl.size(), mark - kDataUrl.size()));
    text.remove_prefix(mark + kBase64Mark.size());
  } else if (text.find("://") != std::string_view::npos) {
    AppendText(inner, "EXTVAL", text);
    text = {};
  }
  if (!text.empty()) {
    if (!net::Base64Decode(text)) return false;
    AppendText(inner, "BINVAL", text);
  }
  if (inner.empty()) return false;
  (((out += '<') += name) += '>') += inner;
  ((out += "</") += name) += '>';
  return true;
}

// The first field with a picture or a sound that is none; else they are in `xml`.
std::string AppendMedia(std::string& xml, const CtlJson& json) {
  for (const Field& field : kMedia) {
    const CtlJson* list = json.Find(field.json);
    if (list == nullptr) continue;
    size_t count = 0;
    for (const auto& [_, value] : list->values()) {
      if (++count > kValuesMax || !AppendMedium(xml, field.xml, value.Plain())) {
        return std::string(field.json);
      }
    }
  }
  return {};
}

std::string XmlOf(const CtlJson& json, const std::string& media) {
  std::string xml = "<vCard xmlns='vcard-temp'>";
  AppendTexts(xml, json.Find("formattedName"), "FN");
  if (const CtlJson* name = json.Find("nameComponents"); name != nullptr && !name->scalar()) {
    AppendObject(xml, *name, {{"nameComponents", "N"}, kName, {}});
  }
  for (const Field& field : kVcardTexts) AppendTexts(xml, json.Find(field.json), field.xml);
  for (const Compound& compound : kCompounds) {
    const CtlJson* list = json.Find(compound.field.json);
    if (list == nullptr || !list->list()) continue;
    size_t count = 0;
    for (const auto& [_, value] : list->values()) {
      if (++count <= kValuesMax) AppendObject(xml, value, compound);
    }
  }
  return xml + media + "</vCard>";
}

// The first field that is none of ours: it would be lost without a word.
std::string Unknown(const CtlJson& json) {
  for (const auto& [key, _] : json.values()) {
    const std::string_view wanted = key;
    const auto is = [wanted](const Field& field) { return field.json == wanted; };
    const bool known = key == "formattedName" || key == "nameComponents" ||
                       std::ranges::any_of(kVcardTexts, is) || std::ranges::any_of(kMedia, is) ||
                       std::ranges::any_of(kCompounds, is, &Compound::field);
    if (!known) return key;
  }
  return {};
}

// --- Commands

// `then` with the vCard's XML.
void WithVcard(CommandCall call, const HomeOf& at,
               std::function<void(CommandCall call, const XmlElement& vcard)> then) {
  WithAccount(std::move(call), at.store, at.user,
              [user = at.user.Bare(), &store = at.store, then = std::move(then)](CommandCall c,
                                                                                 LoadedUser) {
                store.Vcard(user.full(), [c = std::move(c), user, then](auto xml) mutable {
                  if (!xml) return c.StoreFailed(xml.error());
                  const auto vcard = xml->empty() ? std::nullopt : ParseStanza(*xml, kClientSpace);
                  if (!vcard) {
                    return c.Fault("Vcard for user not found", "vcard_not_found",
                                   {{"user", user.full()}});
                  }
                  then(std::move(c), vcard->root());
                });
              });
}

void GetVcard(CommandCall call, const HomeOf& at) {
  WithVcard(std::move(call), at,
            [](CommandCall c, const XmlElement& vcard) { c.Result(JsonOf(vcard)); });
}

// By the module, so that its limits hold.
void Put(CommandCall call, Home& home, const Jid& user, std::string xml,
         std::move_only_function<void(CommandCall call)> then) {
  home.AskAs(user, StanzaType::kSet, std::move(xml),
             [call = std::move(call), user, then = std::move(then)](
                 StanzaType type, const std::string& content) mutable {
               if (type == StanzaType::kResult) return then(std::move(call));
               const std::string condition = ConditionOf(content);
               if (condition == "item-not-found") return call.NoSuchUser(user);
               call.Fault("It was not done: " + condition, condition);
             });
}

void SetVcard(CommandCall call, const HomeOf& at) {
  const auto json = CtlJson::Parse(call.Text("vcard"));
  if (!json || json->scalar() || json->list()) {
    return call.Fault("A vcard is an object of JSON", "invalid_vcard");
  }
  if (const std::string unknown = Unknown(*json); !unknown.empty()) {
    return call.Fault("The field '" + unknown + "' is not understood", "invalid_vcard");
  }
  std::string media;
  if (const std::string wrong = AppendMedia(media, *json); !wrong.empty()) {
    return call.Fault(
        "'" + wrong + "' is a list of URLs, of data:TYPE;base64,… or of base64, 100 at most",
        "invalid_vcard");
  }
  std::string xml = XmlOf(*json, media);
  const auto read = ParseStanza(xml, kClientSpace);
  if (!read) return call.Fault("A text is none of XML", "invalid_vcard");
  CtlJson result = JsonOf(read->root());
  Put(std::move(call), at.home, at.user.Bare(), std::move(xml),
      [result = std::move(result)](CommandCall c) mutable { c.Result(std::move(result)); });
}

// One element of it, and of that perhaps one: what the old commands ask.
void GetElement(CommandCall call, const HomeOf& at) {
  WithVcard(std::move(call), at, [](CommandCall c, const XmlElement& vcard) {
    XmlElement element = vcard.Child(c.Text("name"), kSpace);
    if (element && c.Has("within")) element = element.Child(c.Text("within"), kSpace);
    if (!element) return c.Fault("error_no_value_found_in_vcard", "no_value");
    c.Result(element.Text());
  });
}

// `stored` with the element in the place of those of its name; "": that is no name of XML.
std::string WithElement(const std::string& stored, const std::string& name,
                        const std::string& value) {
  const auto vcard =
      ParseStanza(stored.empty() ? "<vCard xmlns='vcard-temp'/>" : stored, kClientSpace);
  std::string xml = "<vCard xmlns='vcard-temp'>";
  AppendText(xml, name, value);
  for (XmlElement child = vcard ? vcard->root().FirstChild() : XmlElement(); child;
       child = child.Next()) {
    if (!child.Is(name, kSpace)) child.AppendTo(xml, kSpace);
  }
  xml += "</vCard>";
  return ParseStanza(xml, kClientSpace) ? xml : std::string();
}

void SetElement(CommandCall call, const HomeOf& at) {
  WithAccount(
      std::move(call), at.store, at.user,
      [user = at.user.Bare(), &home = at.home, &store = at.store](CommandCall c, LoadedUser) {
        store.Vcard(user.full(), [c = std::move(c), user, &home](auto stored) mutable {
          if (!stored) return c.StoreFailed(stored.error());
          std::string xml = WithElement(*stored, c.Text("name"), c.Text("value"));
          if (xml.empty()) return c.Fault("That is no name of XML", "invalid_vcard");
          Put(std::move(c), home, user, std::move(xml),
              [](CommandCall done) { done.Result("ok"); });
        });
      });
}

constexpr std::array kVcardCommands = std::to_array<XmppCommand>({
    {"vcard", "getVcard", AtHome{OfUser, GetVcard}},
    {"vcard", "setVcard", AtHome{OfUser, SetVcard}},
    {"flat", "getVcardElement", AtHome{OfUser, GetElement}},
    {"flat", "setVcardElement", AtHome{OfUser, SetElement}},
});

}  // namespace

std::span<const XmppCommand> VcardCommands() { return kVcardCommands; }

}  // namespace server
