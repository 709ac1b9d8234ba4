// What the extensions read of XML that strangers send: forms, pages, preferences, registrations,
// queries of archives, times. What was read is written so that it reads the same.
#include <cstdint>
#include <string>
#include <string_view>

#include "net/base/check.h"
#include "server/im/archive_prefs.h"
#include "server/modules/archive_request.h"
#include "server/modules/data_form.h"
#include "server/modules/rsm.h"
#include "server/modules/sign_up.h"
#include "server/modules/vcard.h"
#include "server/xmpp/date_time.h"

namespace {

using namespace server;

std::string Written(const DataForm& form) {
  std::string xml;
  AppendDataForm(xml, form);
  return xml;
}

void CheckForm(const XmlElement& element) {
  const auto form = ReadDataForm(element);
  if (!form) return;
  const std::string once = Written(*form);
  const auto again = ParseStanza(once, kClientSpace);
  CHECK(again.has_value());
  const auto read = ReadDataForm(again->root());
  CHECK(read.has_value() && Written(*read) == once);
}

void CheckPrefs(const XmlElement& element) {
  const auto prefs = ReadArchivePrefs(element);
  if (!prefs) return;
  CHECK(ParseArchivePrefs(ArchivePrefsXml(*prefs), ArchiveDefault::kNever) == *prefs);
}

void CheckRequest(const XmlElement& element) {
  const auto request = ReadArchiveRequest(element, {.page = 10, .page_max = 20});
  if (!request) return;
  const ArchiveQuery& query = request->query;
  CHECK(query.most >= 1 && query.most <= 20 && query.start_us >= 0 && query.end_us >= 0);
  CHECK(request->ids.size() <= kArchiveIdsMax);
  CHECK(request->query_id.size() <= kArchiveQueryIdBytesMax);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  if (const auto time = ParseDateTime(input)) {
    // Beyond the years 0001 to 9999, which an offset may lead to, it is written as the nearest.
    const std::string text = DateTimeText(*time);
    const auto again = ParseDateTime(text);
    CHECK(again.has_value() && DateTimeText(*again) == text);
  }
  VcardPhotoHash(input);
  const auto stanza = ParseStanza(input, kClientSpace);
  if (!stanza) return 0;
  const XmlElement root = stanza->root();
  CheckForm(root);
  CheckPrefs(root);
  CheckRequest(root);
  ReadRsm(root);
  ReadRegisterFields(root);
  if (const auto request = ReadSignUp(root, "example.org", {.enabled = true})) {
    CHECK(request->user.is_bare() && !request->user.local().empty());
    CHECK(request->user.domain() == "example.org");
  }
  return 0;
}
