#include "server/modules/archive_request.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "server/im/archive_prefs.h"
#include "server/modules/data_form.h"
#include "server/modules/rsm.h"
#include "server/xmpp/date_time.h"
#include "server/xmpp/jid.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr std::array<std::string_view, 7> kFields = {"FORM_TYPE", "with",     "start", "end",
                                                     "before-id", "after-id", "ids"};
// Ids are times in their upper bits, and stores keep them as signed numbers.
constexpr uint64_t kIdMax = std::numeric_limits<int64_t>::max();
constexpr int64_t kTimeMax = kIdMax >> 8U;

using Read = std::expected<void, StanzaError>;

Read Refuse(StanzaError error) { return std::unexpected(error); }

// Time 0 stands for "no bound" in a query, so what lies before 1970 becomes that or the moment
// behind it: no message is that old.
Read ReadTime(const FormField* field, int64_t least, int64_t& to) {
  if (field == nullptr || field->values.empty()) return {};
  const auto time = ParseDateTime(field->values.front());
  if (!time || field->values.size() > 1) return Refuse(StanzaError::kBadRequest);
  to = std::clamp(*time, least, kTimeMax);
  return {};
}

Read ReadWith(const FormField* field, ArchiveQuery& query) {
  if (field == nullptr || field->values.empty()) return {};
  const auto jid = Jid::Parse(field->values.front());
  if (!jid || field->values.size() > 1) return Refuse(StanzaError::kBadRequest);
  query.with = jid->full();
  return {};
}

// An id that nobody has given out is one that is not there.
Read ReadId(std::string_view text, uint64_t& to) {
  const auto id = ParseArchiveId(text);
  if (!id) return Refuse(StanzaError::kItemNotFound);
  to = *id;
  return {};
}

Read ReadIdField(const FormField* field, uint64_t& to) {
  if (field == nullptr || field->values.empty()) return {};
  if (field->values.size() > 1) return Refuse(StanzaError::kBadRequest);
  return ReadId(field->values.front(), to);
}

Read ReadIds(const FormField* field, std::vector<uint64_t>& to) {
  if (field == nullptr) return {};
  if (field->values.size() > kArchiveIdsMax) return Refuse(StanzaError::kPolicyViolation);
  for (const std::string& value : field->values) {
    uint64_t id = 0;
    if (auto read = ReadId(value, id); !read) return read;
    to.push_back(id);
  }
  std::ranges::sort(to);
  const auto [first, last] = std::ranges::unique(to);
  to.erase(first, last);
  return {};
}

Read ReadForm(const XmlElement& x, ArchiveRequest& request) {
  if (!x) return {};
  const auto form = ReadDataForm(x);
  if (!form || form->type != "submit" || form->form_type() != kArchiveSpace) {
    return Refuse(StanzaError::kBadRequest);
  }
  for (const FormField& field : form->fields) {
    if (std::ranges::find(kFields, field.var) == kFields.end()) {
      return Refuse(StanzaError::kFeatureNotImplemented);
    }
  }
  ArchiveQuery& query = request.query;
  for (const Read& read :
       {ReadWith(form->Find("with"), query), ReadTime(form->Find("start"), 0, query.start_us),
        ReadTime(form->Find("end"), 1, query.end_us),
        ReadIdField(form->Find("before-id"), query.before),
        ReadIdField(form->Find("after-id"), query.after),
        ReadIds(form->Find("ids"), request.ids)}) {
    if (!read) return read;
  }
  return {};
}

// The form's bound and the page's: the narrower one is asked with, the other must exist all the
// same.
void Narrow(uint64_t& bound, uint64_t by, bool upper, std::vector<uint64_t>& must_exist) {
  if (bound != 0 && bound != by) {
    const bool narrower = upper ? by < bound : by > bound;
    must_exist.push_back(narrower ? bound : by);
    if (!narrower) return;
  }
  bound = by;
}

Read ReadPage(const XmlElement& set, const ArchiveLimits& limits, ArchiveRequest& request) {
  const auto rsm = ReadRsm(set);
  if (!rsm) return Refuse(StanzaError::kBadRequest);
  if (rsm->index) return Refuse(StanzaError::kFeatureNotImplemented);
  ArchiveQuery& query = request.query;
  for (const bool upper : {false, true}) {
    const auto& text = upper ? rsm->before : rsm->after;
    if (!text || (upper && text->empty())) continue;
    uint64_t id = 0;
    if (auto read = ReadId(*text, id); !read) return read;
    Narrow(upper ? query.before : query.after, id, upper, request.must_exist);
  }
  request.from_first = !rsm->after;
  request.to_last = !rsm->before || rsm->before->empty();
  query.backwards = rsm->before.has_value();
  query.most = std::min(rsm->max.value_or(limits.page), limits.page_max);
  if (query.most == 0) {
    query.most = 1;
    query.count = true;
    request.count_only = true;
  }
  return {};
}

}  // namespace

std::expected<ArchiveRequest, StanzaError> ReadArchiveRequest(const XmlElement& query,
                                                              const ArchiveLimits& limits) {
  ArchiveRequest request;
  request.query_id = query.Attribute("queryid");
  if (request.query_id.size() > kArchiveQueryIdBytesMax) {
    return std::unexpected(StanzaError::kBadRequest);
  }
  if (query.Find("node")) return std::unexpected(StanzaError::kItemNotFound);  // of pubsub
  if (auto read = ReadForm(query.Child("x", kDataFormSpace), request); !read) {
    return std::unexpected(read.error());
  }
  if (auto read = ReadPage(query.Child("set", kRsmSpace), limits, request); !read) {
    return std::unexpected(read.error());
  }
  if (!request.ids.empty()) {  // then nobody else looks whether the bounds are there
    for (const uint64_t bound : {request.query.after, request.query.before}) {
      if (bound != 0) request.must_exist.push_back(bound);
    }
  }
  request.flipped = static_cast<bool>(query.Child("flip-page", kArchiveSpace));
  return request;
}

std::string ArchiveFormXml() {
  static constexpr std::string_view kAnyString =
      "<validate xmlns='http://jabber.org/protocol/xdata-validate' datatype='xs:string'>"
      "<open/></validate>";
  const DataForm form{
      .type = "form",
      .fields = {
          {.var = "FORM_TYPE", .type = "hidden", .values = {std::string(kArchiveSpace)}},
          {.var = "with", .type = "jid-single", .values = {}},
          {.var = "start", .type = "text-single", .values = {}},
          {.var = "end", .type = "text-single", .values = {}},
          {.var = "before-id", .type = "text-single", .values = {}},
          {.var = "after-id", .type = "text-single", .values = {}},
          {.var = "ids", .type = "list-multi", .values = {}, .extra = std::string(kAnyString)}}};
  std::string xml = "<query";
  AppendXmlAttribute(xml, "xmlns", kArchiveSpace);
  xml += '>';
  AppendDataForm(xml, form);
  return xml += "</query>";
}

std::string ArchiveIdText(uint64_t id) { return std::to_string(id); }

std::optional<uint64_t> ParseArchiveId(std::string_view text) {
  uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (text.empty() || text.front() == '0' || error != std::errc() ||
      end != text.data() + text.size() || id > kIdMax) {
    return std::nullopt;
  }
  return id;
}

}  // namespace server
