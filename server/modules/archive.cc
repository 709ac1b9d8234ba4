#include "server/modules/archive.h"

#include <algorithm>
#include <memory>
#include <ranges>

#include "server/modules/guards.h"
#include "server/modules/rsm.h"
#include "server/xmpp/date_time.h"
#include "server/xmpp/forwarded.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr uint32_t kNodesMax = 256;  // that can give out an id in one microsecond

int64_t TimeOf(uint64_t id) { return static_cast<int64_t>(id >> 8U); }

bool Matches(const ArchiveEntry& entry, const ArchiveQuery& query) {
  const int64_t time = TimeOf(entry.id);
  if (time < query.start_us || (query.end_us != 0 && time > query.end_us)) return false;
  if ((query.after != 0 && entry.id <= query.after) ||
      (query.before != 0 && entry.id >= query.before)) {
    return false;
  }
  return query.with.empty() || query.with == entry.peer ||
         (!entry.resource.empty() && query.with == entry.peer + "/" + entry.resource);
}

// One query on its way through the store. Owned by whatever call to the store is under way; when
// the store drops that, the IQ answers for itself.
class ArchiveRun : public std::enable_shared_from_this<ArchiveRun> {
 public:
  ArchiveRun(ModuleGround& ground, IqCall call, ArchiveRequest request)
      : ground_(ground), call_(std::move(call)), request_(std::move(request)) {
    request_.query.owner = call_.account().user().full();
  }

  void Run() {
    if (next_must_ < request_.must_exist.size()) {
      return Find(request_.must_exist[next_must_], [this](ArchiveEntry) {
        ++next_must_;
        Run();
      });
    }
    if (next_id_ < request_.ids.size()) {
      return Find(request_.ids[next_id_], [this](ArchiveEntry entry) {
        ++next_id_;
        found_.push_back(std::move(entry));
        Run();
      });
    }
    if (!request_.ids.empty()) return PageOfFound();
    ground_.store.Archive(request_.query,
                          [self = shared_from_this()](std::expected<ArchivePage, StoreError> page) {
                            if (!page) return self->call_.StoreFailed(page.error());
                            if (!page->bound_known)
                              return self->call_.Error(StanzaError::kItemNotFound);
                            self->Tell(std::move(*page));
                          });
  }

 private:
  // The entry, or the query ends with item-not-found.
  template <typename Then>
  void Find(uint64_t id, Then then) {
    if (TimeOf(id) == 0) return call_.Error(StanzaError::kItemNotFound);
    ArchiveQuery query;
    query.owner = request_.query.owner;
    query.start_us = query.end_us = TimeOf(id);
    query.most = kNodesMax;
    ground_.store.Archive(std::move(query), [self = shared_from_this(), id,
                                             then](std::expected<ArchivePage, StoreError> page) {
      if (!page) return self->call_.StoreFailed(page.error());
      const auto at = std::ranges::find(page->entries, id, &ArchiveEntry::id);
      if (at == page->entries.end()) return self->call_.Error(StanzaError::kItemNotFound);
      then(std::move(*at));
    });
  }

  void PageOfFound() {
    ArchivePage page;
    std::erase_if(found_, [&](const ArchiveEntry& one) { return !Matches(one, request_.query); });
    page.count = found_.size();
    page.complete = found_.size() <= request_.query.most;
    if (!page.complete) {
      const auto most = static_cast<std::ptrdiff_t>(request_.query.most);
      request_.query.backwards ? found_.erase(found_.begin(), found_.end() - most)
                               : found_.erase(found_.begin() + most, found_.end());
    }
    page.entries = std::move(found_);
    Tell(std::move(page));
  }

  // Leaves what fits, of the end that the paging comes from.
  void Trim(ArchivePage& page) const {
    size_t bytes = 0;
    const auto fits = [&bytes](const ArchiveEntry& entry) {
      bytes += entry.xml.size();
      return bytes <= kArchivePageBytesMax || bytes == entry.xml.size();
    };
    auto& entries = page.entries;
    const size_t had = entries.size();
    if (request_.query.backwards) {
      const auto keep = std::find_if_not(entries.rbegin(), entries.rend(), fits).base();
      entries.erase(entries.begin(), keep);
    } else {
      entries.erase(std::ranges::find_if_not(entries, fits), entries.end());
    }
    if (entries.size() < had) page.complete = false;
  }

  void Tell(ArchivePage page) {
    RsmResult set{.first = {}, .last = {}, .index = {}, .count = {}};
    if (request_.count_only) {
      set.count = page.count;
      return Finish(page.count == 0, set);
    }
    Trim(page);
    const auto& entries = page.entries;
    if (!entries.empty()) {
      set.first = ArchiveIdText(entries.front().id);
      set.last = ArchiveIdText(entries.back().id);
    }
    if (request_.from_first && (page.complete || !request_.query.backwards)) {
      set.index = 0;
      if (page.complete && request_.to_last) set.count = entries.size();
    }
    for (size_t i = 0; i < entries.size(); ++i) {
      Push(entries[request_.flipped ? entries.size() - 1 - i : i]);
    }
    Finish(page.complete, set);
  }

  void Push(const ArchiveEntry& entry) {
    std::string xml = "<result";
    AppendXmlAttribute(xml, "xmlns", kArchiveSpace);
    if (!request_.query_id.empty()) AppendXmlAttribute(xml, "queryid", request_.query_id);
    AppendXmlAttribute(xml, "id", ArchiveIdText(entry.id));
    xml += '>';
    AppendForwarded(xml, entry.xml, TimeOf(entry.id));
    xml += "</result>";
    call_.account().Tell(call_.request(), call_.session(), std::move(xml));
  }

  void Finish(bool complete, const RsmResult& set) {
    std::string xml = "<fin";
    AppendXmlAttribute(xml, "xmlns", kArchiveSpace);
    if (complete) AppendXmlAttribute(xml, "complete", "true");
    xml += '>';
    AppendRsm(xml, set);
    call_.Result(xml += "</fin>");
  }

  ModuleGround& ground_;
  IqCall call_;
  ArchiveRequest request_;
  std::vector<ArchiveEntry> found_;
  size_t next_must_ = 0;
  size_t next_id_ = 0;
};

void AppendEnd(std::string& out, std::string_view name, const ArchiveEntry& entry) {
  (out += '<') += name;
  AppendXmlAttribute(out, "id", ArchiveIdText(entry.id));
  AppendXmlAttribute(out, "timestamp", DateTimeText(TimeOf(entry.id)));
  out += "/>";
}

void GetPrefs(ModuleGround& ground, ArchiveDefault by_default, IqCall call) {
  std::string user = call.account().user().full();
  ground.store.ArchivePrefs(
      std::move(user),
      [call = std::move(call), by_default](std::expected<std::string, StoreError> xml) mutable {
        if (!xml) return call.StoreFailed(xml.error());
        const auto prefs = ParseArchivePrefs(*xml, by_default);
        if (!prefs) return call.Error(StanzaError::kInternalServerError);
        call.Result(ArchivePrefsXml(*prefs));
      });
}

void SetPrefs(ModuleGround& ground, IqCall call) {
  const auto prefs = ReadArchivePrefs(call.payload());
  if (!prefs) return call.Error(StanzaError::kBadRequest);
  std::string xml = ArchivePrefsXml(*prefs);
  WriteBatch batch;
  batch.emplace_back(PutArchivePrefs{.user = call.account().user().full(), .xml = xml});
  ground.store.Write(std::move(batch), [call = std::move(call), xml = std::move(xml)](
                                           std::expected<std::monostate, StoreError> done) mutable {
    const auto account = call.shared_account();
    // In doubt they are read again, too.
    if (done || done.error() == StoreError::kUnknown) {
      account->Changed(AccountChange::kArchivePrefs);
    }
    if (!done) return call.StoreFailed(done.error());
    call.Result(std::move(xml));
  });
}

}  // namespace

void AnswerArchiveQuery(ModuleGround& ground, const ArchiveLimits& limits, IqCall call) {
  const XmlElement query = call.payload();
  if (!query) return call.Error(StanzaError::kBadRequest);
  if (!call.is_set()) return call.Result(ArchiveFormXml());
  auto request = ReadArchiveRequest(query, limits);
  if (!request) return call.Error(request.error());
  std::make_shared<ArchiveRun>(ground, std::move(call), std::move(*request))->Run();
}

// The archive's ends: the first entry, then the last.
void AnswerArchiveMetadata(ModuleGround& ground, IqCall call) {
  ArchiveQuery query;
  query.owner = call.account().user().full();
  query.most = 1;
  ArchiveQuery last = query;
  last.backwards = true;
  ground.store.Archive(std::move(query), [&ground, call = std::move(call), last = std::move(last)](
                                             std::expected<ArchivePage, StoreError> page) mutable {
    if (!page) return call.StoreFailed(page.error());
    std::string xml = "<metadata";
    AppendXmlAttribute(xml, "xmlns", kArchiveSpace);
    xml += '>';
    if (page->entries.empty()) return call.Result(xml += "</metadata>");
    AppendEnd(xml, "start", page->entries.front());
    ground.store.Archive(std::move(last), [call = std::move(call), xml = std::move(xml)](
                                              std::expected<ArchivePage, StoreError> end) mutable {
      if (!end) return call.StoreFailed(end.error());
      if (!end->entries.empty()) AppendEnd(xml, "end", end->entries.back());
      call.Result(xml += "</metadata>");
    });
  });
}

void AddArchiveQueries(IqTable& table, ModuleGround& ground, const ArchiveOptions& options) {
  if (!options.enabled) return;
  table.Add(IqTarget::kAccount, "query", kArchiveSpace,
            OwnerOnly([&ground, limits = options.limits](IqCall call) {
              AnswerArchiveQuery(ground, limits, std::move(call));
            }));
  table.Add(IqTarget::kAccount, "metadata", kArchiveSpace,
            OwnerOnly(GetOnly(
                [&ground](IqCall call) { AnswerArchiveMetadata(ground, std::move(call)); })));
  table.Feature(IqTarget::kAccount, kArchiveSpace);
  table.Feature(IqTarget::kAccount, std::string(kArchiveSpace) + "#extended");
  if (!options.prefs) return;
  table.Add(IqTarget::kAccount, "prefs", kArchiveSpace,
            OwnerOnly([&ground, by_default = options.by_default](IqCall call) {
              call.is_set() ? SetPrefs(ground, std::move(call))
                            : GetPrefs(ground, by_default, std::move(call));
            }));
}

}  // namespace server
