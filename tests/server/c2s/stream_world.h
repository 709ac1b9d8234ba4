// A client's stream in a test's hand: what it writes is text, whoever it asks answers when the test
// says so, time stands still.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "net/base/base64.h"
#include "server/c2s/client_stream.h"

namespace server::test {

inline constexpr std::string_view kOpening =
    "<?xml version='1.0'?><stream:stream to='here' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";

class StreamWorld : public ClientPort {
 public:
  StreamWorld() {
    ground.domains = {"here", "there"};
    ground.limits.login_timeout = std::chrono::seconds(30);
    ground.sasl = {.iterations = 16, .secret = "s", .nonce = [] { return "servernonce"; }};
    ground.random = [this](std::span<uint8_t> bytes) {
      for (uint8_t& byte : bytes) byte = ++random_;
    };
    user.exists = true;
    user.account.keys[0] = MakeScramKeys(ScramHash::kSha1, "juliet", "salt", 16);
    Connect({});
  }
  virtual ~StreamWorld() = default;

  void Connect(SaslChannel channel) {
    stream = std::make_unique<ClientStream>(ground, *this);
    stream->OnConnected(std::move(channel));
  }
  // All that is written in answer to it, with what others have answered meanwhile.
  std::string Say(std::string_view bytes) {
    stream->Receive(bytes);
    return Answers();
  }
  std::string Answers() {
    while (!later.empty()) {
      auto todo = std::move(later);
      later.clear();
      for (auto& task : todo) task();
    }
    return std::exchange(written, "");
  }
  static std::string Plain(std::string_view name, std::string_view password) {
    std::string text(1, '\0');
    text += name;
    text += '\0';
    text += password;
    return "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" +
           net::Base64Encode(text) + "</auth>";
  }
  // Up to the binding.
  void LogIn() {
    Connect({.secure = true});
    Say(kOpening);
    Say(Plain("romeo", "juliet"));
    Say(kOpening);
    Say("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
        "<resource>x</resource></bind></iq>");
    ASSERT_EQ(stream->state(), ClientStream::State::kBound);
  }

  // --- ClientPort
  net::Time Now() const override { return now; }
  int64_t UnixUs() const override { return 1'700'000'000'000'000; }
  void Write(std::string_view xml) override {
    EXPECT_FALSE(over) << xml;
    written += xml;
  }
  size_t Queued() const override { return queued; }
  bool HasTls(std::string_view) const override { return tls; }
  void StartTls(std::string_view domain) override {
    written += "[tls " + std::string(domain) + "]";
  }
  void Look(const Jid& jid) override {
    looked.push_back(jid.full());
    later.push_back([this, known = jid.local() == "romeo"] {
      if (store_down) return stream->Looked(std::unexpected(StoreError::kDown));
      stream->Looked(known ? user : LoadedUser{});
    });
  }
  void Check(PasswordCheck check) override {
    later.push_back([this, right = check.Run()] { stream->Checked(right); });
  }
  bool MayTry(const Jid&) override { return may_try; }
  void SignUp(SignUpRequest request) override {
    signed_up.push_back(request.user.full());
    later.push_back([this] { stream->SignedUp(sign_up_error); });
  }
  void OnGuess(const Jid* who) override { guesses.push_back(who == nullptr ? "" : who->full()); }
  void Bind(const Jid& jid, std::string resource, std::shared_ptr<const LoadedUser>) override {
    later.push_back([this, full = jid.With(resource.empty() ? "made" : resource).value()] {
      if (!bind_error.empty()) return stream->BindFailed(bind_error);
      stream->Bound(std::make_unique<BoundSession>(SessionId{.place = 7, .life = 1}, full,
                                                   &ground.limits.bound));
    });
  }
  void Resume(const Jid& jid, std::string previd, uint32_t h) override {
    later.push_back([this, jid, previd, h] {
      if (parted == nullptr || parted->full().Bare() != jid) return stream->ResumeFailed(12);
      stream->Resumed(std::move(parted), h);
    });
  }
  void Arrived(BoundSession&, Stanza stanza, uint32_t number) override {
    std::string text;
    stanza.root().AppendTo(text, kClientSpace);
    arrived.emplace_back(text, number);
  }
  void StateChanged(BoundSession& session) override {
    const SessionState state = session.State(false);
    states += state.active ? 'a' : 'i';
    states += state.resumable ? 'r' : '-';
  }
  void Delivered(BoundSession&, std::span<const TicketEnd> ended) override {
    delivered.insert(delivered.end(), ended.begin(), ended.end());
  }
  void Hold(bool hold) override { held = hold; }
  void OnStreamOver() override {
    over = true;
    parted = stream->TakeSession();
  }

  ClientGround ground;
  LoadedUser user;
  net::Time now{std::chrono::hours(1)};
  std::unique_ptr<ClientStream> stream;
  std::string written;
  std::vector<std::move_only_function<void()>> later;
  std::vector<std::string> looked, guesses, signed_up;
  std::vector<std::pair<std::string, uint32_t>> arrived;
  std::vector<TicketEnd> delivered;
  std::unique_ptr<BoundSession> parted;
  std::string states, bind_error, sign_up_error;
  size_t queued = 0;
  bool tls = true, may_try = true, store_down = false, held = false, over = false;

 private:
  uint8_t random_ = 0;
};

}  // namespace server::test
