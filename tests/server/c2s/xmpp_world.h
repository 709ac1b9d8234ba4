// A service of workers with a home of few words and a store of two accounts, and clients on
// blocking sockets that come through a balancer which says that they are secure.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "net/base/base64.h"
#include "server/c2s/xmpp_service.h"
#include "tests/net/loopback.h"

namespace server::test {

// Binds who asks, and brings messages to all sessions of whom they are for. What a session loses
// is told in its log.
class FewWords final : public HomeBox, public HomeGate {
 public:
  explicit FewWords(const HomeGround& ground) : ground_(ground) {}
  HomeGate& gate() override { return *this; }

  void Bind(BindRequest request) override {
    const std::string resource =
        request.resource.empty() ? "r" + std::to_string(++made_) : request.resource;
    const Jid full = request.user.With(resource).value();
    users_[request.user.full()].insert(request.session);
    ground_.sessions.Bound(request.session, full);
  }
  void Arrive(const SessionId&, const Jid& user, Stanza stanza, SenderMark mark) override {
    const XmlElement root = stanza.root();
    const auto to = Jid::Parse(root.Attribute("to"));
    if (root.name() != "message" || !to) return;
    auto content = std::make_shared<std::string>();
    for (XmlElement child = root.FirstChild(); child; child = child.Next()) {
      child.AppendTo(*content, kClientSpace);
    }
    ground_.homes.Route({.from = user, .to = *to, .content = content, .mark = mark});
  }
  void Route(Parcel parcel) override {
    routed.push_back(parcel.id);
    std::string xml;
    AppendParcel(xml, parcel);
    // A session may end within Deliver().
    const std::set<SessionId> sessions = users_[std::string(parcel.to.bare())];
    for (const SessionId& session : sessions) {
      marks_[++tickets_] = parcel.mark;
      ground_.sessions.Deliver(session,
                               {.xml = xml, .ticket = tickets_, .message_of_people = true});
    }
  }
  void Changed(const SessionId&, const Jid&, SessionState) override {}
  void Resume(const SessionId& next, const Jid& user, uint64_t) override {
    if (!resumes) return ground_.sessions.ResumeFailed(next);
    users_[user.full()].insert(next);  // from a node that takes its time
    resumed_as = next;
    ++resumed;
  }
  void DeliveryEnded(const SessionId&, const Jid&, uint64_t ticket, DeliveryEnd end) override {
    ++ended[end == DeliveryEnd::kLost];
    if (const auto mark = marks_.extract(ticket)) ground_.sessions.Settled(mark.mapped());
  }
  void Gone(const SessionId& session, const Jid& user) override {
    users_[user.full()].erase(session);
    if (!tells_gone) return;
    const std::set<SessionId> others = users_[user.full()];
    for (const SessionId& other : others) {
      ground_.sessions.Deliver(other, {.xml = "<presence type='unavailable'/>"});
    }
  }

  std::array<std::atomic<int>, 2> ended{};  // taken, lost
  std::atomic<bool> resumes{false};
  std::atomic<int> resumed{0};
  SessionId resumed_as;             // the last of them
  std::vector<std::string> routed;  // of its thread
  // What is gone is told to the user's other sessions at once, as presence is.
  std::atomic<bool> tells_gone{false};

 private:
  const HomeGround ground_;
  std::map<std::string, std::set<SessionId>> users_;
  std::map<uint64_t, SenderMark> marks_;
  uint64_t tickets_ = 0;
  int made_ = 0;
};

// Accounts whose password is "secret", and nothing else.
class TwoAccounts final : public StoreClient {
 public:
  explicit TwoAccounts(net::EventLoop& loop) : loop_(loop) {}
  void Load(std::string user, Done<LoadedUser> done) override {
    LoadedUser loaded;
    loaded.exists = user.starts_with("romeo@") || user.starts_with("juliet@");
    if (loaded.exists) {
      loaded.account.keys[0] = MakeScramKeys(ScramHash::kSha1, "secret", "salt", 16);
    }
    loop_.Post([done = std::move(done), loaded = std::move(loaded)]() mutable {
      done(std::move(loaded));
    });
  }
  void Write(WriteBatch, Done<std::monostate>) override {}
  void Offline(std::string, uint64_t, uint32_t, Done<OfflinePage>) override {}
  void Archive(ArchiveQuery, Done<ArchivePage>) override {}
  void Vcard(std::string, Done<std::string>) override {}
  void Private(std::string, std::string, std::string, Done<std::string>) override {}
  void Last(std::string, Done<LastActivity>) override {}
  void ArchivePrefs(std::string, Done<std::string>) override {}
  void Accounts(std::string, std::string, uint32_t, Done<std::vector<std::string>>) override {}
  void CountAccounts(std::string, Done<uint64_t>) override {}
  void Room(std::string, Done<StoredRoom>) override {}
  void ListedRooms(std::string, std::string, uint32_t, Done<std::vector<RoomName>>) override {}

 private:
  net::EventLoop& loop_;
};

class Client {
 public:
  Client() = default;
  // `header`: of the PROXY protocol, or nothing.
  Client(const net::Address& to, std::string_view header) {
    const net::SocketName name = to.ToSocketName();
    fd_ = net::UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(fd_.get(), name.get(), name.size()), 0);
    Say(header);
  }
  void Say(std::string_view text) {
    EXPECT_EQ(send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }
  // Reads until `word` stands in what was heard, and takes all up to its end.
  std::string Until(std::string_view word) {
    while (heard_.find(word) == std::string::npos) {
      if (!Read()) {
        ADD_FAILURE() << "no " << word << " in: " << heard_;
        return "";
      }
    }
    const size_t end = heard_.find(word) + word.size();
    std::string said = heard_.substr(0, end);
    heard_.erase(0, end);
    return said;
  }
  std::string UntilEnd() {
    while (Read()) {
    }
    return std::exchange(heard_, "");
  }
  void Cut() { fd_.Reset(); }

 private:
  bool Read() {
    pollfd ready{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    if (poll(&ready, 1, 10'000) != 1) return false;
    std::array<char, 4096> buffer;
    const ssize_t size = recv(fd_.get(), buffer.data(), buffer.size(), 0);
    if (size <= 0) return false;
    heard_.append(buffer.data(), static_cast<size_t>(size));
    return true;
  }
  net::UniqueFd fd_;
  std::string heard_;
};

// As a balancer announces a client that came to it over TLS.
inline std::string SecureHeader() {
  const net::ProxySsl ssl{.client = net::ProxySsl::kClientSsl};
  std::array<uint8_t, 200> out{};
  const auto from = net::ProxyEndpoint::FromAddress(net::Address::V4({192, 0, 2, 1}, 1234));
  const auto size = net::EncodeProxyV2(from, from, {.ssl = &ssl}, out);
  return {reinterpret_cast<const char*>(out.data()), size.value_or(0)};
}

class XmppWorld {
 public:
  explicit XmppWorld(size_t workers, std::function<void(XmppSetup&)> change = nullptr) {
    const net::Address any = net::Address::V4({127, 0, 0, 1}, 0);
    XmppSetup setup{
        .options = {.workers = workers,
                    .domains = {"here"},
                    .sasl = {.iterations = 16},
                    .conn = {.conns_max = 256, .linger = std::chrono::milliseconds(200)}},
        .hosts = {{.domain = "here"}},
        .listen = {.plain = {any},
                   .proxy = {any},
                   .proxy_from = {net::Cidr::Parse("127.0.0.0/8").value()}},
        .make_store = [](net::EventLoop& loop) { return std::make_unique<TwoAccounts>(loop); },
        .make_home =
            [this](const HomeGround& ground) {
              auto home = std::make_unique<FewWords>(ground);
              homes.push_back(home.get());
              return home;
            },
        .on_sessions =
            [this](std::vector<SessionRecord> changed) {
              std::lock_guard lock(mutex);
              for (const SessionRecord& one : changed) {
                if (one.gone) {
                  bound.erase(one.full);
                } else {
                  bound[one.full] = one.id;
                }
              }
            }};
    if (change) change(setup);
    auto started = XmppService::Start(std::move(setup), clock);
    if (!started) {
      ADD_FAILURE() << started.error().front();
      return;
    }
    service = std::move(*started);
  }

  static constexpr std::string_view kOpening =
      "<stream:stream to='here' xmlns='jabber:client' "
      "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
  Client Dial() { return {service->addresses().at(1), SecureHeader()}; }
  Client Authenticated(std::string_view name) {
    Client client = Dial();
    client.Say(kOpening);
    client.Until("</stream:features>");
    std::string text(1, '\0');
    text += name;
    text += std::string_view("\0secret", 7);
    client.Say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" +
               net::Base64Encode(text) + "</auth>");
    client.Until("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
    client.Say(kOpening);
    client.Until("</stream:features>");
    return client;
  }
  Client LogIn(std::string_view name, std::string_view resource) {
    Client client = Authenticated(name);
    client.Say("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>" +
               std::string(resource) + "</resource></bind></iq>");
    client.Until("</jid></bind></iq>");
    return client;
  }
  int Ended(bool lost) const {
    int sum = 0;
    for (const FewWords* home : homes) sum += home->ended[lost].load();
    return sum;
  }
  bool Within(const std::function<bool()>& holds) const {
    const net::Time deadline = clock.Now() + std::chrono::seconds(10);
    while (!holds()) {
      if (clock.Now() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }
  std::string Metrics() const {
    net::MetricsWriter out;
    service->WriteMetrics(out);
    return std::move(out).Take();
  }

  net::SystemClock clock;
  std::vector<FewWords*> homes;
  std::mutex mutex;
  std::map<std::string, SessionId> bound;  // guarded by mutex
  std::unique_ptr<XmppService> service;
};

}  // namespace server::test
