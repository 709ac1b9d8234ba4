#include "server/transfer/exporter.h"

#include <expected>
#include <utility>

#include "server/transfer/xep0227.h"
#include "server/xmpp/jid.h"

namespace server {
namespace {

constexpr uint32_t kNamesAtOnce = 200;
constexpr uint32_t kPage = 500;  // more than can have one moment, as NextPage() needs it

}  // namespace

Exporter::Exporter(StoreClient& store, std::vector<std::string> domains,
                   std::function<bool(std::string_view)> write,
                   std::function<std::string(const std::string& user)> privates)
    : store_(store),
      domains_(std::move(domains)),
      write_(std::move(write)),
      privates_(std::move(privates)) {}

template <typename T, typename Then>
StoreClient::Done<T> Exporter::Answer(Then then) {
  return [this, then](std::expected<T, StoreError> answer) {
    if (!answer) return End("the store failed: " + std::string(ToString(answer.error())));
    then(*answer);
  };
}

void Exporter::Run(std::move_only_function<void(ExportReport)> done) {
  done_ = std::move(done);
  AppendXep0227Start(out_);
  NextDomain();
}

void Exporter::NextDomain() {
  if (domain_ == domains_.size()) {
    out_ += kXep0227End;
    return Flush() ? End({}) : End("the file cannot be written");
  }
  AppendXep0227Host(out_, domains_[domain_]);
  names_.clear();
  name_ = 0;
  NextNames();
}

void Exporter::NextNames() {
  const std::string after = names_.empty() ? std::string() : names_.back();
  store_.Accounts(domains_[domain_], after, kNamesAtOnce,
                  Answer<std::vector<std::string>>([this](std::vector<std::string>& names) {
                    if (names.empty()) {
                      out_ += kXep0227HostEnd;
                      ++domain_;
                      return NextDomain();
                    }
                    names_ = std::move(names);
                    name_ = 0;
                    NextUser();
                  }));
}

void Exporter::NextUser() {
  if (!Flush()) return End("the file cannot be written");
  if (name_ == names_.size()) return NextNames();
  last_id_ = 0;
  in_archive_ = false;
  store_.Load(names_[name_], Answer<LoadedUser>([this](LoadedUser& user) { AfterLoad(user); }));
}

void Exporter::AfterLoad(const LoadedUser& user) {
  const auto jid = Jid::Parse(names_[name_]);
  if (!user.exists || !jid) {  // it went meanwhile
    ++name_;
    return NextUser();
  }
  AppendXep0227User(out_, jid->local(), user);
  if (privates_) out_ += privates_(names_[name_]);
  store_.Vcard(names_[name_],
               Answer<std::string>([this](std::string& vcard) { AfterVcard(vcard); }));
}

void Exporter::AfterVcard(const std::string& vcard) {
  out_ += vcard;
  store_.ArchivePrefs(names_[name_],
                      Answer<std::string>([this](std::string& prefs) { AfterPrefs(prefs); }));
}

void Exporter::AfterPrefs(const std::string& prefs) {
  out_ += prefs;
  NextOffline(0);
}

void Exporter::NextOffline(uint64_t after) {
  if (!Flush()) return End("the file cannot be written");
  store_.Offline(names_[name_], after, kPage,
                 Answer<OfflinePage>([this, after](const OfflinePage& page) {
                   if (after == 0 && !page.entries.empty()) out_ += kXep0227OfflineStart;
                   for (const OfflineEntry& entry : page.entries) {
                     AppendXep0227Offline(out_, entry);
                     ++report_.messages;
                   }
                   if (!page.complete) return NextOffline(page.entries.back().id);
                   if (after != 0 || !page.entries.empty()) out_ += kXep0227OfflineEnd;
                   NextPage(0);
                 }));
}

// Behind the last one by time, not by its id: that may have been retired since.
void Exporter::NextPage(uint64_t after) {
  if (!Flush()) return End("the file cannot be written");
  last_id_ = after;
  ArchiveQuery query;
  query.owner = names_[name_];
  query.start_us = static_cast<int64_t>(after >> 8U);
  query.most = kPage;
  store_.Archive(std::move(query),
                 Answer<ArchivePage>([this](ArchivePage& page) { AfterPage(page); }));
}

void Exporter::AfterPage(const ArchivePage& page) {
  for (const ArchiveEntry& entry : page.entries) {
    if (entry.id <= last_id_) continue;
    if (!std::exchange(in_archive_, true)) out_ += kXep0227ArchiveStart;
    AppendXep0227Archived(out_, entry);
    ++report_.messages;
  }
  const bool moved = !page.entries.empty() && page.entries.back().id > last_id_;
  if (!page.complete && moved) return NextPage(page.entries.back().id);
  if (in_archive_) out_ += kXep0227ArchiveEnd;
  EndUser();
}

void Exporter::EndUser() {
  out_ += kXep0227UserEnd;
  ++report_.users;
  ++name_;
  NextUser();
}

bool Exporter::Flush() {
  const std::string bytes = std::exchange(out_, {});
  return bytes.empty() || write_(bytes);
}

void Exporter::End(std::string error) {
  report_.error = std::move(error);
  done_(std::move(report_));
}

}  // namespace server
