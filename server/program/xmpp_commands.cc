#include "server/program/xmpp_commands.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "server/xmpp/date_time.h"
#include "server/xmpp/stanza.h"

namespace server {
namespace {

constexpr uint32_t kAccountsPage = 500;

}  // namespace

// --- CommandCall

CommandCall::~CommandCall() {
  if (done_) Fault("The node stops, and did not answer", "not_answered");
}

std::string CommandCall::Text(std::string_view name) const {
  const auto it = arguments_.find(name);
  return it == arguments_.end() ? std::string() : it->second;
}

uint64_t CommandCall::Number(std::string_view name, uint64_t fallback) const {
  const std::string text = Text(name);
  uint64_t number = fallback;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

std::optional<Jid> CommandCall::Address(std::string_view name) {
  auto jid = Jid::Parse(Text(name));
  if (!jid) {
    Fault("'" + Text(name) + "' is no address", "invalid_jid", {{std::string(name), Text(name)}});
  }
  return jid;
}

std::optional<Jid> CommandCall::User(std::string_view name) {
  auto jid = Address(name);
  if (!jid) return std::nullopt;
  if (std::ranges::find(ground_.domains, jid->domain()) == ground_.domains.end()) {
    Fault("Domain not found", "unknown_domain", {{std::string(name), jid->full()}});
    return std::nullopt;
  }
  if (jid->local().empty()) {
    Fault("'" + jid->full() + "' names no user", "invalid_jid", {{std::string(name), jid->full()}});
    return std::nullopt;
  }
  return jid;
}

std::optional<Jid> CommandCall::Room(std::string_view name) {
  auto jid = Address(name);
  if (!jid) return std::nullopt;
  if (std::ranges::find(ground_.services, jid->domain()) == ground_.services.end()) {
    Fault("MUC server not found", "muc_server_not_found", {{std::string(name), jid->full()}});
    return std::nullopt;
  }
  if (jid->local().empty() || !jid->is_bare()) {
    Fault("'" + jid->full() + "' names no room", "invalid_jid", {{std::string(name), jid->full()}});
    return std::nullopt;
  }
  return jid;
}

std::optional<std::string> CommandCall::Domain(std::string_view name) {
  if (!Has(name)) return std::string();
  auto domain = PrepareDomain(Text(name));
  if (!domain || std::ranges::find(ground_.domains, *domain) == ground_.domains.end()) {
    Fault("Given domain does not exist", "domain_not_found", {{"domain", Text(name)}});
    return std::nullopt;
  }
  return domain;
}

std::optional<int64_t> CommandCall::Time(std::string_view name) {
  if (!Has(name)) return 0;
  auto time = ParseDateTime(Text(name));
  if (!time) {
    Fault("'" + Text(name) + "' is no time: write it as 2026-11-28T10:00:00Z", "invalid_time");
  }
  return time;
}

void CommandCall::Answer(CtlAnswer answer) { std::exchange(done_, nullptr)(std::move(answer)); }

void CommandCall::Result(CtlJson data) { Answer({.data = std::move(data), .faults = {}}); }

void CommandCall::Fault(std::string_view message, std::string_view code,
                        std::vector<std::pair<std::string, std::string>> more) {
  more.emplace_back("code", code);
  CtlAnswer answer;
  answer.faults.push_back({.message = std::string(message), .extensions = std::move(more)});
  Answer(std::move(answer));
}

void CommandCall::StoreFailed(StoreError error) {
  Fault("The store did not do it: " + std::string(ToString(error)), "store_failed");
}

void CommandCall::NoSuchUser(const Jid& user) {
  const std::string bare(user.bare());
  if (category_ == "stanza") return Fault("User does not exist", "unknown_user", {{"jid", bare}});
  if (category_ == "roster" || category_ == "flat") {
    return Fault("The user " + bare + " does not exist", "user_not_exist", {{"jid", bare}});
  }
  const bool account = category_ == "account" || category_ == "blocklist";
  Fault("User " + bare + " does not exist", account ? "not_found" : "user_does_not_exist",
        {{"jid", bare}});
}

// --- The table

std::vector<std::span<const XmppCommand>> XmppCommands() {
  return {AccountCommands(), BroadcastCommands(), DomainCommands(),  FileCommands(),
          LastCommands(),    MucCommands(),       NodeCommands(),    OfflineCommands(),
          PrivateCommands(), RosterCommands(),    SessionCommands(), StanzaCommands(),
          VcardCommands()};
}

// --- What they have in common

void CommandGround::OnStore(std::move_only_function<void(StoreClient& store)> then) {
  service.OnWorker([then = std::move(then)](XmppWorker& worker) mutable { then(worker.store()); });
}

void CommandGround::Expel(const std::string& user) {
  service.OnEachWorker([jid = Jid::OfPrepared(user)](XmppWorker& worker) {
    worker.Expel(jid, "the account is no more");
  });
}

void WithAccount(CommandCall call, StoreClient& store, const Jid& user,
                 std::move_only_function<void(CommandCall call, LoadedUser loaded)> then) {
  store.Load(std::string(user.bare()),
             [call = std::move(call), user = user.Bare(),
              then = std::move(then)](std::expected<LoadedUser, StoreError> read) mutable {
               if (!read) return call.StoreFailed(read.error());
               if (!read->exists) return call.NoSuchUser(user);
               then(std::move(call), std::move(*read));
             });
}

namespace {

class Walk : public std::enable_shared_from_this<Walk> {
 public:
  Walk(StoreClient& store, std::vector<std::string> domains, AccountVisit visit,
       std::move_only_function<void(std::optional<StoreError>)> end)
      : store_(store),
        domains_(std::move(domains)),
        visit_(std::move(visit)),
        end_(std::move(end)) {}

  void Go() {
    if (next_ < page_.size()) {
      after_ = page_[next_++];
      return visit_(store_, after_, [self = shared_from_this()] { self->Go(); });
    }
    if (domain_ == domains_.size()) return end_(std::nullopt);
    store_.Accounts(domains_[domain_], after_, kAccountsPage,
                    [self = shared_from_this()](auto page) mutable {
                      if (!page) return self->end_(page.error());
                      self->Take(std::move(*page));
                    });
  }

 private:
  void Take(std::vector<std::string> page) {
    if (page.empty()) {
      ++domain_;
      after_.clear();
    }
    page_ = std::move(page);
    next_ = 0;
    Go();
  }

  StoreClient& store_;
  const std::vector<std::string> domains_;
  const AccountVisit visit_;
  std::move_only_function<void(std::optional<StoreError>)> end_;
  size_t domain_ = 0;
  std::string after_;
  std::vector<std::string> page_;
  size_t next_ = 0;
};

}  // namespace

void ForEachAccount(StoreClient& store, std::vector<std::string> domains, AccountVisit visit,
                    std::move_only_function<void(std::optional<StoreError>)> end) {
  std::make_shared<Walk>(store, std::move(domains), std::move(visit), std::move(end))->Go();
}

std::string ConditionOf(const std::string& error_xml) {
  const auto error = ParseStanza(error_xml, kClientSpace);
  const XmlElement condition = error ? error->root().FirstChild() : XmlElement();
  return condition ? std::string(condition.name()) : "undefined-condition";
}

}  // namespace server
