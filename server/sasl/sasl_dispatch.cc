#include "server/sasl/sasl_dispatch.h"

#include <openssl/crypto.h>

#include <algorithm>
#include <utility>

#include "net/base/base64.h"
#include "net/base/check.h"

namespace server {
namespace {

constexpr std::array kStrongestFirst = {ScramHash::kSha512, ScramHash::kSha256, ScramHash::kSha1};
constexpr size_t kPlainFields = 3;

bool CanBind(const SaslChannel& channel) {
  return channel.secure &&
         (!channel.bindings.exporter.empty() || !channel.bindings.server_end_point.empty());
}

bool Scram(const SaslPolicy& policy, ScramHash hash) {
  return policy.scram[static_cast<size_t>(hash)];
}

// The accounts of `domain` that the certificate names.
std::vector<Jid> Named(const SaslChannel& channel, std::string_view domain) {
  std::vector<Jid> named;
  for (const std::string& address : channel.xmpp_addrs) {
    auto jid = Jid::Parse(address);
    if (!jid || !jid->is_bare() || jid->local().empty() || jid->domain() != domain) continue;
    if (std::ranges::find(named, *jid) == named.end()) named.push_back(std::move(*jid));
  }
  return named;
}

// "=" is how nothing is written (RFC 6120 section 6.4.2).
std::optional<std::string> Decode(std::string_view text) {
  return text == "=" ? std::optional<std::string>("") : net::Base64Decode(text);
}

void Wipe(std::string& secret) {
  OPENSSL_cleanse(secret.data(), secret.size());
  secret.clear();
}

}  // namespace

std::vector<std::string> SaslOffer(const SaslPolicy& policy, const SaslChannel& channel,
                                   std::string_view domain) {
  std::vector<std::string> offer;
  if (policy.external && channel.secure && !Named(channel, domain).empty()) {
    offer.emplace_back("EXTERNAL");
  }
  for (const bool plus : {true, false}) {
    if (plus && !CanBind(channel)) continue;
    for (const ScramHash hash : kStrongestFirst) {
      if (Scram(policy, hash))
        offer.push_back(std::string(ScramName(hash)) + (plus ? "-PLUS" : ""));
    }
  }
  if (policy.plain && channel.secure) offer.emplace_back("PLAIN");
  return offer;
}

std::string SaslFeatures(const SaslPolicy& policy, const SaslChannel& channel,
                         std::string_view domain) {
  std::string out = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>";
  for (const std::string& name : SaslOffer(policy, channel, domain)) {
    out += "<mechanism>" + name + "</mechanism>";
  }
  out += "</mechanisms>";
  if (!CanBind(channel)) return out;
  out += "<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>";
  if (!channel.bindings.server_end_point.empty()) {
    out += "<channel-binding type='tls-server-end-point'/>";
  }
  if (!channel.bindings.exporter.empty()) out += "<channel-binding type='tls-exporter'/>";
  return out + "</sasl-channel-binding>";
}

SaslDispatch::SaslDispatch(const SaslPolicy& policy, const SaslChannel& channel,
                           std::string_view domain)
    : policy_(policy), channel_(channel), domain_(domain) {}

SaslDispatch::~SaslDispatch() { Wipe(password_); }

SaslDispatch::Step SaslDispatch::Fail(SaslFailure failure, bool guess) {
  state_ = State::kDone;
  scram_.reset();
  Wipe(password_);
  return {.failure = failure, .guess = guess};
}

SaslDispatch::Step SaslDispatch::Begin(std::string_view mechanism, std::string_view text) {
  CHECK(state_ == State::kIdle);
  const auto offer = SaslOffer(policy_, channel_, domain_);
  if (std::ranges::find(offer, mechanism) == offer.end()) {
    // It is there, but not without TLS (RFC 6120 section 6.5.8).
    const bool weak = mechanism == "PLAIN" && policy_.plain && !channel_.secure;
    return Fail(weak ? SaslFailure::kMechanismTooWeak : SaslFailure::kInvalidMechanism);
  }
  mechanism_ = mechanism;
  state_ = State::kFirst;
  if (mechanism == "PLAIN") {
    kind_ = Kind::kPlain;
  } else if (mechanism == "EXTERNAL") {
    kind_ = Kind::kExternal;
  } else {
    const bool plus = mechanism.ends_with("-PLUS");
    if (plus) mechanism.remove_suffix(5);
    for (const ScramHash hash : kStrongestFirst) {
      if (ScramName(hash) == mechanism) hash_ = hash;
    }
    scram_.emplace(ScramServer::Options{.hash = hash_,
                                        .plus = plus,
                                        .plus_was_offered = CanBind(channel_),
                                        .nonce = policy_.nonce()},
                   &channel_.bindings);
  }
  // All three speak first: without an initial response they are asked for it.
  if (text.empty()) return {.next = Next::kChallenge};
  return Respond(text);
}

SaslDispatch::Step SaslDispatch::Respond(std::string_view text) {
  if (state_ != State::kFirst && state_ != State::kFinal) {
    return Fail(SaslFailure::kMalformedRequest);
  }
  auto message = Decode(text);
  if (!message) return Fail(SaslFailure::kIncorrectEncoding);
  if (state_ == State::kFirst) {
    Step step = First(*message);
    Wipe(*message);
    return step;
  }
  auto last = scram_->ReadFinal(*message);
  if (!last) return Fail(last.error(), last.error() == SaslFailure::kNotAuthorized);
  if (account_.banned) return Fail(SaslFailure::kAccountDisabled);
  state_ = State::kDone;
  return {.next = Next::kSuccess, .data = net::Base64Encode(*last)};
}

SaslDispatch::Step SaslDispatch::First(std::string_view message) {
  switch (kind_) {
    case Kind::kScram:
      return FirstOfScram(message);
    case Kind::kPlain:
      return FirstOfPlain(message);
    case Kind::kExternal:
      return FirstOfExternal(message);
  }
  return Fail(SaslFailure::kInvalidMechanism);
}

SaslDispatch::Step SaslDispatch::FirstOfScram(std::string_view message) {
  const auto first = scram_->ReadFirst(message);
  if (!first) return Fail(first.error());  // also who was not shown -PLUS: no password was tried
  user_ = UserOf(first->name);
  if (!user_) return Fail(SaslFailure::kNotAuthorized, true);
  if (!MayActAs(first->authzid)) return Fail(SaslFailure::kInvalidAuthzid);
  state_ = State::kLooking;
  return {.next = Next::kLook};
}

SaslDispatch::Step SaslDispatch::FirstOfPlain(std::string_view message) {
  std::array<std::string_view, kPlainFields> fields;  // authzid, authcid, password (RFC 4616)
  for (size_t i = 0; i < kPlainFields; ++i) {
    const size_t end = message.find('\0');
    if ((end == message.npos) != (i + 1 == kPlainFields)) {
      return Fail(SaslFailure::kMalformedRequest);
    }
    fields[i] = message.substr(0, end);
    if (end != message.npos) message.remove_prefix(end + 1);
  }
  if (fields[1].empty() || fields[2].empty()) return Fail(SaslFailure::kMalformedRequest);
  user_ = UserOf(fields[1]);
  if (!user_) return Fail(SaslFailure::kNotAuthorized, true);
  // As A with a session as B: never.
  if (!MayActAs(fields[0])) return Fail(SaslFailure::kInvalidAuthzid);
  password_ = fields[2];
  state_ = State::kLooking;
  return {.next = Next::kLook};
}

SaslDispatch::Step SaslDispatch::FirstOfExternal(std::string_view message) {
  const std::vector<Jid> named = Named(channel_, domain_);
  if (message.empty()) {
    // Whose it is must be clear (XEP-0178 section 2, step 10).
    if (named.size() != 1) return Fail(SaslFailure::kInvalidAuthzid);
    user_ = named[0];
  } else {
    auto wanted = Jid::Parse(message);
    if (!wanted || !wanted->is_bare()) return Fail(SaslFailure::kInvalidAuthzid);
    if (std::ranges::find(named, *wanted) == named.end()) {
      return Fail(SaslFailure::kNotAuthorized, true);
    }
    user_ = std::move(*wanted);
  }
  state_ = State::kLooking;
  return {.next = Next::kLook};
}

std::optional<Jid> SaslDispatch::UserOf(std::string_view name) const {
  const size_t at = name.find('@');
  if (at != name.npos) {
    const auto domain = PrepareDomain(name.substr(at + 1));
    if (!domain || *domain != domain_) return std::nullopt;
    name = name.substr(0, at);
  }
  return name.empty() ? std::nullopt : Jid::Make(name, domain_);
}

bool SaslDispatch::MayActAs(std::string_view authzid) const {
  if (authzid.empty()) return true;
  const auto wanted = Jid::Parse(authzid);
  return wanted && wanted == user_;
}

SaslDispatch::Step SaslDispatch::Looked(SaslAccount account) {
  CHECK(state_ == State::kLooking);
  account_ = std::move(account);
  if (kind_ == Kind::kExternal) {
    if (!account_.exists) return Fail(SaslFailure::kNotAuthorized, true);
    if (account_.banned) return Fail(SaslFailure::kAccountDisabled);
    state_ = State::kDone;
    return {.next = Next::kSuccess};
  }
  if (kind_ == Kind::kPlain) {
    state_ = State::kChecking;
    return {.next = Next::kCheck};
  }
  state_ = State::kFinal;
  const auto& keys = account_.keys[static_cast<size_t>(hash_)];
  const bool exists = account_.exists && keys;
  const std::string challenge = scram_->Challenge(
      exists ? *keys : DecoyScramKeys(hash_, policy_.secret, user_->bare(), policy_.iterations),
      exists);
  return {.next = Next::kChallenge, .data = net::Base64Encode(challenge)};
}

PasswordCheck SaslDispatch::TakeCheck() {
  CHECK(state_ == State::kChecking);
  PasswordCheck check{.password = std::exchange(password_, {})};
  // The cheapest: each is as good against a guess, and the connection is secure.
  for (const ScramHash hash : {ScramHash::kSha1, ScramHash::kSha256, ScramHash::kSha512}) {
    const auto& keys = account_.keys[static_cast<size_t>(hash)];
    if (!account_.exists || !keys) continue;
    check.hash = hash;
    check.keys = *keys;
    return check;
  }
  // Takes as long as for who exists, and never matches: no password's stored key is all zeros.
  check.keys = DecoyScramKeys(check.hash, policy_.secret, user_->bare(), policy_.iterations);
  return check;
}

SaslDispatch::Step SaslDispatch::Checked(bool right) {
  CHECK(state_ == State::kChecking);
  if (!right) return Fail(SaslFailure::kNotAuthorized, true);
  if (account_.banned) return Fail(SaslFailure::kAccountDisabled);
  state_ = State::kDone;
  return {.next = Next::kSuccess};
}

}  // namespace server
