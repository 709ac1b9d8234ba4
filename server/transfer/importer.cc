#include "server/transfer/importer.h"

#include <algorithm>
#include <utility>

#include "server/modules/account_keys.h"

namespace server {

Importer::Importer(StoreClient& store, UserSource& source, std::function<int64_t()> unix_s)
    : store_(store), source_(source), unix_s_(std::move(unix_s)) {}

void Importer::Run(std::move_only_function<void(ImportReport)> done) {
  done_ = std::move(done);
  NextUser();
}

void Importer::NextUser() {
  for (;;) {
    auto next = source_.Next();
    if (next) return *next ? Begin(std::move(**next)) : End({});
    if (next.error().last) return End(next.error().what);
    ++report_.failed;
    Note(next.error().what);
  }
}

void Importer::Begin(UserData data) {
  user_ = data.user;
  for (std::string& problem : data.problems) Note(user_ + ": " + std::move(problem));
  const auto has_keys = [](const Account& account) {
    return std::ranges::any_of(account.keys, [](const auto& keys) { return keys.has_value(); });
  };
  if (!data.password.empty()) {
    if (auto keys = MakeAccountKeys(data.password)) data.account.keys = std::move(*keys);
  }
  if (!has_keys(data.account)) Note(user_ + ": has no password that we know");
  if (data.account.created_s == 0) data.account.created_s = unix_s_();
  batches_ = BatchesOf(std::move(data));
  next_ = 0;
  NextBatch();
}

void Importer::NextBatch() {
  if (next_ == batches_.size()) {
    ++report_.users;
    return NextUser();
  }
  const size_t messages = next_ == 0 ? 0 : batches_[next_].size();
  store_.Write(std::move(batches_[next_]),
               [this, messages](std::expected<std::monostate, StoreError> written) {
                 if (!written && written.error() == StoreError::kConflict && next_ == 0) {
                   ++report_.existed;
                   Note(user_ + ": exists already and was left as it is");
                   return NextUser();
                 }
                 if (!written) return TakeBack(written.error());
                 report_.messages += messages;
                 ++next_;
                 NextBatch();
               });
}

void Importer::TakeBack(StoreError error) {
  std::string text = user_ + ": the store failed: " + std::string(ToString(error));
  if (next_ == 0) return End(std::move(text));
  store_.Write({RemoveAccount{.user = user_}},
               [this, text = std::move(text)](const auto& removed) mutable {
                 End(text + (removed ? "; the user was taken back"
                                     : "; the user is there without all of its messages: remove "
                                       "the account before you try again"));
               });
}

void Importer::Note(std::string note) {
  if (report_.notes.size() < kImportNotesMax) report_.notes.push_back(std::move(note));
}

void Importer::End(std::string error) {
  report_.error = std::move(error);
  done_(std::move(report_));
}

}  // namespace server
