#include "server/program/xmpp_accounts.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "server/modules/account_keys.h"

namespace server {
namespace {

constexpr uint32_t kNamesPage = 1'000;

AccountResult Failed(StoreError error) {
  switch (error) {
    case StoreError::kConflict:
      return {.outcome = AccountOutcome::kExists};
    case StoreError::kAbsent:
      return {.outcome = AccountOutcome::kAbsent};
    case StoreError::kBusy:
    case StoreError::kDown:
    case StoreError::kUnknown:
      break;
  }
  return {.outcome = AccountOutcome::kFailed, .detail = std::string(ToString(error))};
}

AccountResult OfWrite(const std::expected<std::monostate, StoreError>& written) {
  return written ? AccountResult{.outcome = AccountOutcome::kDone} : Failed(written.error());
}

// A password's keys, from another thread; `then` on the worker's.
void WithKeys(XmppWorker& worker, std::string password,
              std::move_only_function<void(std::optional<AccountKeys>)> then) {
  const auto keys = std::make_shared<std::optional<AccountKeys>>();
  worker.Aside(
      [keys, password = std::move(password)]() mutable {
        *keys = MakeAccountKeys(password);
        OPENSSL_cleanse(password.data(), password.size());
      },
      [keys, then = std::move(then)]() mutable { then(std::move(*keys)); });
}

AccountResult BadPassword() {
  return {.outcome = AccountOutcome::kInvalid, .detail = "Empty or unusable password"};
}

void Register(XmppWorker& worker, std::string user, std::string password, AccountDone done) {
  WithKeys(worker, std::move(password),
           [&worker, user = std::move(user), done = std::move(done)](auto keys) mutable {
             if (!keys) return done(BadPassword());
             Account account{.keys = std::move(*keys), .created_s = worker.unix_us() / 1'000'000};
             worker.store().Write(
                 {CreateAccount{.user = user, .account = std::move(account)}},
                 [done = std::move(done)](auto written) mutable { done(OfWrite(written)); });
           });
}

void SetPassword(XmppWorker& worker, std::string user, std::string password, AccountDone done) {
  WithKeys(worker, std::move(password),
           [&worker, user = std::move(user), done = std::move(done)](auto keys) mutable {
             if (!keys) return done(BadPassword());
             worker.store().Write(
                 {SetKeys{.user = user, .keys = std::move(*keys)}},
                 [done = std::move(done)](auto written) mutable { done(OfWrite(written)); });
           });
}

void Remove(XmppService& service, XmppWorker& worker, const Jid& user, AccountDone done) {
  worker.store().Load(
      user.full(), [&service, &worker, user, done = std::move(done)](auto loaded) mutable {
        if (!loaded) return done(Failed(loaded.error()));
        if (!loaded->exists) return done({.outcome = AccountOutcome::kAbsent});
        worker.store().Write({RemoveAccount{.user = user.full()}},
                             [&service, user, done = std::move(done)](auto written) mutable {
                               if (written) {
                                 service.OnEachWorker([user](XmppWorker& w) {
                                   w.Expel(user, "the account is no more");
                                 });
                               }
                               done(OfWrite(written));
                             });
      });
}

void Check(XmppWorker& worker, const std::string& user, std::optional<std::string> password,
           AccountDone done) {
  worker.store().Load(user, [&worker, password = std::move(password),
                             done = std::move(done)](auto loaded) mutable {
    if (!loaded) return done(Failed(loaded.error()));
    if (!loaded->exists) return done({.outcome = AccountOutcome::kAbsent});
    if (!password) return done({.outcome = AccountOutcome::kDone});
    PasswordCheck check{.password = std::move(*password)};
    bool has_keys = false;
    for (size_t hash = 0; hash < kScramHashes && !has_keys; ++hash) {
      if (!loaded->account.keys[hash]) continue;
      check.hash = static_cast<ScramHash>(hash);
      check.keys = *loaded->account.keys[hash];
      has_keys = true;
    }
    const auto right = std::make_shared<bool>(false);
    worker.Aside([check = std::move(check), has_keys, right] { *right = has_keys && check.Run(); },
                 [right, done = std::move(done)]() mutable {
                   done({.outcome = *right ? AccountOutcome::kDone : AccountOutcome::kWrong});
                 });
  });
}

// Page by page, since the store knows no offsets.
struct Listing {
  StoreClient& store;
  std::string domain;
  uint64_t skip;
  uint64_t want;
  AccountResult result;
  AccountDone done;
};

void GoOn(std::unique_ptr<Listing> listing, std::string after) {
  StoreClient& store = listing->store;
  std::string domain = listing->domain;
  store.Accounts(std::move(domain), std::move(after), kNamesPage,
                 [listing = std::move(listing)](auto page) mutable {
                   if (!page) return listing->done(Failed(page.error()));
                   const bool last = page->size() < kNamesPage;
                   std::string behind = last ? "" : page->back();
                   for (std::string& name : *page) {
                     if (listing->skip > 0) {
                       --listing->skip;
                     } else if (listing->result.names.size() < listing->want) {
                       listing->result.names.push_back(std::move(name));
                     }
                   }
                   if (last || listing->result.names.size() >= listing->want) {
                     return listing->done(std::move(listing->result));
                   }
                   GoOn(std::move(listing), std::move(behind));
                 });
}

}  // namespace

void DoAccount(XmppService& service, const std::vector<std::string>& domains,
               AccountRequest request, AccountDone done) {
  const bool of_domain =
      request.action == AccountAction::kList || request.action == AccountAction::kCount;
  const auto user = Jid::Parse(request.user);
  if (!user || !user->is_bare() || user->local().empty() != of_domain) {
    return done({.outcome = AccountOutcome::kInvalid});
  }
  if (std::ranges::find(domains, user->domain()) == domains.end()) {
    return done({.outcome = AccountOutcome::kNoDomain});
  }
  service.OnWorker([&service, user = *user, request = std::move(request),
                    done = std::move(done)](XmppWorker& worker) mutable {
    switch (request.action) {
      case AccountAction::kRegister:
        return Register(worker, user.full(), std::move(request.password), std::move(done));
      case AccountAction::kSetPassword:
        return SetPassword(worker, user.full(), std::move(request.password), std::move(done));
      case AccountAction::kRemove:
        return Remove(service, worker, user, std::move(done));
      case AccountAction::kCheckPassword:
        return Check(worker, user.full(), std::move(request.password), std::move(done));
      case AccountAction::kCheck:
        return Check(worker, user.full(), std::nullopt, std::move(done));
      case AccountAction::kList: {
        const uint64_t want =
            request.limit == 0 ? kAccountsListMax : std::min(request.limit, kAccountsListMax);
        return GoOn(std::make_unique<Listing>(Listing{.store = worker.store(),
                                                      .domain = user.full(),
                                                      .skip = request.index,
                                                      .want = want,
                                                      .result = {.outcome = AccountOutcome::kDone},
                                                      .done = std::move(done)}),
                    "");
      }
      case AccountAction::kCount:
        return worker.store().CountAccounts(
            user.full(), [done = std::move(done)](auto count) mutable {
              if (!count) return done(Failed(count.error()));
              done({.outcome = AccountOutcome::kDone, .count = *count});
            });
    }
  });
}

}  // namespace server
