// A client's whole stream, from any words: it never breaks a rule of its port's, and however the
// words are cut, the same is answered, up to a mistake in them. The first byte chooses the cut and
// whether it is secure.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/check.h"
#include "server/c2s/client_stream.h"

namespace {

using namespace server;  // NOLINT: a target of one file

class Port final : public ClientPort {
 public:
  explicit Port(bool secure) {
    ground_.domains = {"here"};
    ground_.tls_need = TlsNeed::kOptional;
    ground_.sign_up.enabled = true;
    ground_.limits.before_login = {.opening_bytes = 1024, .stanza_bytes = 1024, .depth = 6};
    ground_.limits.after_login = {.opening_bytes = 1024, .stanza_bytes = 1024, .depth = 12};
    ground_.sasl = {.iterations = 2, .secret = "s", .nonce = [] { return "servernonce"; }};
    ground_.random = [](std::span<uint8_t> bytes) {
      for (uint8_t& byte : bytes) byte = 7;
    };
    stream_.emplace(ground_, *this);
    stream_->OnConnected({.secure = secure, .bindings = {.exporter = secure ? "x" : ""}});
  }

  void Feed(std::string_view bytes) {
    if (!over_) stream_->Receive(bytes);
    while (!later_.empty()) {
      const auto todo = std::move(later_);
      later_.clear();
      for (const auto& task : todo) task();
    }
    if (stream_->session() == nullptr || over_) return;
    // Whatever was counted is settled, and something comes back.
    for (; settled_ < last_number_; ++settled_) stream_->Settled(settled_ + 1);
  }
  std::string words() && { return std::move(words_); }

 private:
  net::Time Now() const override { return net::Time(std::chrono::hours(1)); }
  int64_t UnixUs() const override { return 1'700'000'000'000'000; }
  void Write(std::string_view xml) override {
    CHECK(!over_);
    words_ += xml;
  }
  bool HasTls(std::string_view domain) const override { return domain == "here"; }
  void StartTls(std::string_view) override {
    words_ += "[tls]";
    over_ = true;
  }
  void SignUp(SignUpRequest) override {
    later_.push_back([this] { stream_->SignedUp(""); });
  }
  void Look(const Jid&) override {
    later_.push_back([this] {
      LoadedUser user;
      user.exists = true;
      user.account.keys[0] = MakeScramKeys(ScramHash::kSha1, "p", "salt", 2);
      stream_->Looked(std::move(user));
    });
  }
  void Check(PasswordCheck check) override {
    later_.push_back([this, right = check.Run()] { stream_->Checked(right); });
  }
  bool MayTry(const Jid&) override { return true; }
  void OnGuess(const Jid*) override {}
  void Bind(const Jid& user, std::string resource, std::shared_ptr<const LoadedUser>) override {
    const Jid full = user.With(resource.empty() ? "r" : resource).value();
    stream_->Bound(std::make_unique<BoundSession>(SessionId{.place = 1, .life = 1}, full,
                                                  &ground_.limits.bound));
  }
  void Resume(const Jid&, std::string, uint32_t) override { stream_->ResumeFailed(3); }
  void Arrived(BoundSession&, Stanza stanza, uint32_t number) override {
    stanza.root().AppendTo(words_, kClientSpace);
    if (number != 0) last_number_ = number;
  }
  void StateChanged(BoundSession&) override {}
  void Delivered(BoundSession&, std::span<const TicketEnd>) override {}
  void Hold(bool) override {}
  void OnStreamOver() override {
    CHECK(!over_);
    over_ = true;
    stream_->TakeSession();
  }

  ClientGround ground_;
  std::optional<ClientStream> stream_;
  std::vector<std::function<void()>> later_;
  std::string words_;
  uint32_t last_number_ = 0;
  uint32_t settled_ = 0;
  bool over_ = false;
};

// Answers that wait come behind each piece; so a piece ends where an element does.
std::string Play(std::string_view input, size_t piece, bool secure) {
  Port port(secure);
  size_t in_piece = 0;
  std::string bytes;
  for (const char c : input) {
    bytes += c;
    if (++in_piece < piece && c != '>') continue;
    port.Feed(bytes);
    bytes.clear();
    in_piece = 0;
  }
  if (!bytes.empty()) port.Feed(bytes);
  return std::move(port).words();
}

constexpr std::string_view kMistake = "<stream:error";

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0 || size > 1000) return 0;  // below the limits, which depend on the cut
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const bool secure = (data[0] & 64U) != 0;
  const std::string whole = Play(input, SIZE_MAX, secure);
  const std::string cut = Play(input, (data[0] & 31U) + 1, secure);
  if (cut == whole) return 0;
  // The parser sees a mistake earlier or later, and calls it by another name, when it has less to
  // look at. Up to there the same was said.
  CHECK(whole.contains(kMistake) || cut.contains(kMistake));
  const auto before = [](std::string_view words) { return words.substr(0, words.find(kMistake)); };
  CHECK(before(whole).starts_with(before(cut)) || before(cut).starts_with(before(whole)));
  return 0;
}
