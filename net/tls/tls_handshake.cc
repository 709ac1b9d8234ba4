#include "net/tls/tls_handshake.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <algorithm>

#include "net/base/byte_reader.h"
#include "net/base/byte_writer.h"
#include "net/tls/context/tls_handshake_plan.h"
#include "net/tls/tls_handshaker.h"

namespace net {

namespace {

using Bytes = std::span<const uint8_t>;
using Output = std::vector<uint8_t>;

constexpr uint8_t kChangeCipherSpec = 20;
constexpr uint8_t kAlertRecord = 21;
constexpr uint8_t kHandshakeRecord = 22;
constexpr uint8_t kApplicationData = 23;

constexpr uint8_t kServerHello = 2;
constexpr uint8_t kEncryptedExtensions = 8;
constexpr uint8_t kFinished = 20;
constexpr size_t kMessageHeader = 4;

// As many identities of a hello are looked at; clients send one or two.
constexpr size_t kIdentitiesMax = 4;
// As many change_cipher_spec records are passed over as OpenSSL does.
constexpr uint8_t kChangesMax = 32;
// RFC 8446 section 4.6.1: seven days.
constexpr int64_t kTicketLifetimeMax = 604'800;
// What the clocks of balancers that share their tickets may differ by.
constexpr int64_t kClockSkewMax = 60;

bool SealMessages(TlsRecordPool& pool, TlsRecordState* state, TlsContentType type, Bytes messages,
                  Output* out) {
  TlsInput input(std::span(&messages, 1));
  while (input.remaining() > 0) {
    const size_t length = std::min<size_t>(input.remaining(), kTlsMaxPlaintext);
    const size_t at = out->size();
    out->resize(at + length + kTlsRecordOverhead);
    const size_t sealed =
        SealTlsRecord(pool, state, type, &input, length, 0, std::span(*out).subspan(at));
    out->resize(at + sealed);
    if (sealed == 0) return false;
  }
  return true;
}

}  // namespace

// --- The hello and our answer -----------------------------------------------------------------

struct TlsHandshake::Answer {
  const TlsSigner* signer = nullptr;
  bool uses_psk = false;
  uint16_t psk_index = 0;
  Secret salt{};    // of the handshake secret
  Secret master{};  // the handshake secret, then the master secret
  Secret client{};  // handshake traffic secrets
  Secret server{};
  Secret hash{};  // of the transcript where it was last needed
  std::array<uint8_t, 32> share{};
  std::array<uint8_t, 32> shared{};
  Output hello;   // our ServerHello
  Output flight;  // all that is sent under the handshake's keys

  ~Answer() {
    for (Secret* secret : {&salt, &master, &client, &server}) {
      OPENSSL_cleanse(secret->data(), secret->size());
    }
    OPENSSL_cleanse(shared.data(), shared.size());
  }
};

TlsHandshake::~TlsHandshake() {
  OPENSSL_cleanse(&handshake_, sizeof(handshake_));
  OPENSSL_cleanse(&application_, sizeof(application_));
  for (Secret* secret :
       {&client_secret_, &server_secret_, &exporter_secret_, &resumption_secret_}) {
    OPENSSL_cleanse(secret->data(), secret->size());
  }
}

TlsDigest TlsHandshake::digest() const { return TlsDigestOf(suite_); }

TlsHandshakeStep TlsHandshake::Decline(TlsDecline reason) {
  declined_ = reason;
  phase_ = Phase::kOver;
  return TlsHandshakeStep::kDeclined;
}

TlsHandshakeStep TlsHandshake::OnHello(TlsHandshaker& shared, std::span<uint8_t>* in, Output* out) {
  if (!received_.empty()) {
    AppendBytes(&received_, *in);
    *in = {};
  }
  const Bytes record = received_.empty() ? Bytes(*in) : Bytes(received_);
  const bool begins = record.empty() || record[0] == kHandshakeRecord;
  if (!begins || (record.size() > 1 && record[1] != 3)) return Decline(TlsDecline::kNotPlain);
  constexpr size_t kLongest = kTlsMaxPlaintext;
  size_t length = 0;
  if (record.size() >= kTlsHeaderBytes) {
    length = static_cast<size_t>(record[3]) << 8 | record[4];
    if (length < kMessageHeader || length > kLongest) return Decline(TlsDecline::kNotPlain);
  }
  if (record.size() < kTlsHeaderBytes || record.size() < kTlsHeaderBytes + length) {
    if (received_.empty()) AppendBytes(&received_, *in);
    *in = {};
    return TlsHandshakeStep::kNeedMore;
  }
  const TlsDecline reason = record.size() == kTlsHeaderBytes + length
                                ? Respond(shared, record.subspan(kTlsHeaderBytes), out)
                                : TlsDecline::kNotPlain;
  ERR_clear_error();
  if (forged_) {
    phase_ = Phase::kOver;
    error_ = "a pre-shared key's binder is wrong";
    AppendBytes(out, PlainTlsAlert(TlsAlert::kDecryptError));
    return TlsHandshakeStep::kFailed;
  }
  if (phase_ != Phase::kFinished) return Decline(reason);
  *in = {};
  received_ = {};
  return TlsHandshakeStep::kAnswered;
}

// Moves to kFinished or says why not.
TlsDecline TlsHandshake::Respond(TlsHandshaker& shared, Bytes message, Output* out) {
  // More of the message in another record.
  if (message.size() != kMessageHeader + (static_cast<size_t>(message[1]) << 16 |
                                          static_cast<size_t>(message[2]) << 8 | message[3])) {
    return TlsDecline::kNotPlain;
  }
  auto hello = ParseTlsHello(message);
  if (!hello) return hello.error();
  Answer answer;
  const TlsDecline reason = Choose(*hello, &answer);
  if (answer.signer == nullptr) return reason;
  if (!Resume(shared, *hello, message, &answer)) {
    if (forged_) return TlsDecline::kMalformed;
    answer.salt = shared.no_psk_[static_cast<size_t>(digest())];
  }
  if (!Write(shared, *hello, message, &answer)) return TlsDecline::kNoResources;

  Output sent = {kHandshakeRecord, 3, 3};
  AppendNumber(&sent, answer.hello.size(), 2);
  AppendBytes(&sent, answer.hello);
  if (!hello->session_id.empty()) {  // for middleboxes: RFC 8446 appendix D.4
    constexpr std::array<uint8_t, 6> kChange = {kChangeCipherSpec, 3, 3, 0, 1, 1};
    AppendBytes(&sent, kChange);
  }
  if (!SealMessages(*shared.records_, &handshake_, TlsContentType::kHandshake, answer.flight,
                    &sent)) {
    return TlsDecline::kNoResources;
  }
  AppendBytes(out, sent);
  server_name_ = hello->server_name;
  phase_ = Phase::kFinished;
  return TlsDecline::kOff;
}

// What both sides can, in our order of preference. Sets `answer->signer` when all is found.
TlsDecline TlsHandshake::Choose(const TlsHello& hello, Answer* answer) {
  if (!plan_->x25519) return TlsDecline::kGroup;
  // As OpenSSL's PRIORITIZE_CHACHA: who names it first has no AES in hardware.
  constexpr TlsSuite kChaCha = TlsSuite::kChaCha20Poly1305Sha256;
  bool chacha_first = false;
  for (size_t i = 0; i + 1 < hello.suites.size(); i += 2) {
    const bool known =
        hello.suites[i] == 0x13 && hello.suites[i + 1] >= 1 && hello.suites[i + 1] <= 5;
    if (!known) continue;  // of TLS 1.2, or of nobody
    chacha_first = hello.suites[i + 1] == (TlsSuiteCode(kChaCha) & 0xff) &&
                   std::ranges::find(plan_->suites, kChaCha) != plan_->suites.end();
    break;
  }
  const auto suite = std::ranges::find_if(plan_->suites, [&](TlsSuite one) {
    return TlsHello::Has(hello.suites, TlsSuiteCode(one)) && (!chacha_first || one == kChaCha);
  });
  if (suite == plan_->suites.end()) return TlsDecline::kSuite;
  suite_ = *suite;

  const TlsHandshakePlan::Choice chosen = plan_->Choose(hello.server_name);
  if (chosen.site < 0) return TlsDecline::kSite;
  site_ = static_cast<size_t>(chosen.site);
  named_ = chosen.named;
  const TlsHandshakePlan::Site& site = plan_->sites[site_];
  if (site.asks_clients) return TlsDecline::kSite;
  if (!ChooseAlpn(hello.alpn)) return TlsDecline::kAlpn;
  for (size_t i = 0; i < site.signers.size(); ++i) {
    const TlsSigner& signer = site.signers[i];
    // The order of preference is over all keys, so one that is left to OpenSSL ends the search.
    if (signer.prepared == nullptr) return TlsDecline::kSignature;
    if (!TlsHello::Has(hello.schemes, signer.scheme)) continue;
    if (signer.has_staple && hello.wants_staple) return TlsDecline::kStaple;
    signer_ = static_cast<uint8_t>(i);
    answer->signer = &signer;
    return TlsDecline::kOff;
  }
  return TlsDecline::kSignature;
}

bool TlsHandshake::ChooseAlpn(Bytes offered) {
  if (offered.empty() || plan_->alpn.empty()) {
    return !(offered.empty() && plan_->alpn_required);
  }
  ByteReader ours(BytesOf(plan_->alpn));
  while (!ours.empty()) {
    const Bytes mine = ours.Vector(1);
    ByteReader theirs(offered);
    while (!theirs.empty()) {
      if (!std::ranges::equal(theirs.Vector(1), mine)) continue;
      alpn_.assign(mine.begin(), mine.end());
      return true;
    }
  }
  return false;
}

// Takes the first ticket that is ours, of this site and name, this hash, and not too old. RFC 8446
// section 4.2.11: the binder of a key that is taken must hold, else the connection ends (forged_).
bool TlsHandshake::Resume(TlsHandshaker& shared, const TlsHello& hello, Bytes message,
                          Answer* answer) {
  if (hello.identities.empty() || plan_->tickets == nullptr) return false;
  const std::shared_ptr<const TlsTicketKeySet> keys = plan_->tickets->set();
  const TlsHandshakePlan::Site& site = plan_->sites[site_];
  const TlsTicketBinding binding = plan_->Binding(site_, hello.server_name);
  const int64_t now = plan_->now();
  ByteReader identities(hello.identities);
  for (size_t index = 0; index < kIdentitiesMax && !identities.empty(); ++index) {
    const Bytes identity = identities.Vector(2);
    identities.Take(4);  // the age matters to early data only
    const auto ticket = shared.sealer_.Open(*keys, identity);
    if (!ticket || TlsDigestOf(ticket->suite) != digest() || ticket->site != binding ||
        ticket->signer >= site.signers.size()) {
      continue;
    }
    const int64_t age = now - ticket->issued;
    if (age < -kClockSkewMax || age >= plan_->ticket_lifetime.count()) continue;
    const size_t size = hash_bytes();
    Secret early;
    const std::span<uint8_t> used = std::span(early).first(size);
    const bool extracted = shared.hkdf_.Hmac(digest(), Bytes(kTlsZeros).first(size),
                                             {Bytes(ticket->psk).first(size)}, used);
    forged_ = !extracted || !BinderHolds(shared, message, hello, index, used);
    const bool derived =
        !forged_ && shared.Expand(digest(), used, "derived", TlsEmptyHash(digest()),
                                  std::span(answer->salt).first(size));
    OPENSSL_cleanse(early.data(), early.size());
    if (!derived) return false;
    answer->uses_psk = resumed_ = true;
    answer->psk_index = static_cast<uint16_t>(index);
    signer_ = ticket->signer;
    born_ = ticket->issued;
    return true;
  }
  return false;
}

bool TlsHandshake::BinderHolds(TlsHandshaker& shared, Bytes message, const TlsHello& hello,
                               size_t index, Bytes early) {
  ByteReader binders(hello.binders);
  Bytes binder;
  for (size_t i = 0; i <= index; ++i) binder = binders.Vector(1);
  const size_t size = hash_bytes();
  if (binder.size() != size) return false;
  Secret key, finished, hash, expected;
  auto used = [size](Secret& secret) { return std::span(secret).first(size); };
  const bool ok = shared.Expand(digest(), early, "res binder", TlsEmptyHash(digest()), used(key)) &&
                  shared.Expand(digest(), used(key), "finished", {}, used(finished)) &&
                  shared.Begin(digest()) && shared.Add(message.first(hello.binders_at)) &&
                  shared.HashSoFar(used(hash)) &&
                  shared.hkdf_.Hmac(digest(), used(finished), {used(hash)}, used(expected)) &&
                  CRYPTO_memcmp(expected.data(), binder.data(), size) == 0;
  for (Secret* secret : {&key, &finished, &expected}) {
    OPENSSL_cleanse(secret->data(), secret->size());
  }
  return ok;
}

// ServerHello, and all that follows it in the clear.
bool TlsHandshake::Write(TlsHandshaker& shared, const TlsHello& hello, Bytes message,
                         Answer* answer) {
  std::array<uint8_t, 32> random;
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1 ||
      !shared.Exchange(hello.x25519, answer->share, answer->shared)) {
    return false;
  }
  Output& out = answer->hello;
  out.push_back(kServerHello);
  {
    const Sized body(&out, 3);
    AppendNumber(&out, 0x0303, 2);
    AppendBytes(&out, random);
    AppendNumber(&out, hello.session_id.size(), 1);
    AppendBytes(&out, hello.session_id);
    AppendNumber(&out, TlsSuiteCode(suite_), 2);
    AppendNumber(&out, 0, 1);  // no compression
    const Sized extensions(&out, 2);
    constexpr std::array<uint8_t, 6> kVersion = {0, 43, 0, 2, 3, 4};
    constexpr std::array<uint8_t, 8> kShare = {0, 51, 0, 36, 0, 29, 0, 32};
    constexpr std::array<uint8_t, 4> kPreSharedKey = {0, 41, 0, 2};
    AppendBytes(&out, kVersion);
    AppendBytes(&out, kShare);
    AppendBytes(&out, answer->share);
    if (answer->uses_psk) {
      AppendBytes(&out, kPreSharedKey);
      AppendNumber(&out, answer->psk_index, 2);
    }
  }
  return shared.Begin(digest()) && shared.Add(message) && shared.Add(answer->hello) &&
         DeriveHandshake(shared, answer) && WriteFlight(shared, answer) &&
         DeriveApplication(shared, answer);
}

bool TlsHandshake::DeriveHandshake(TlsHandshaker& shared, Answer* answer) {
  const size_t size = hash_bytes();
  auto used = [size](Secret& secret) { return std::span(secret).first(size); };
  return shared.HashSoFar(used(answer->hash)) &&
         shared.hkdf_.Hmac(digest(), used(answer->salt), {answer->shared}, used(answer->master)) &&
         shared.Expand(digest(), used(answer->master), "c hs traffic", used(answer->hash),
                       used(answer->client)) &&
         shared.Expand(digest(), used(answer->master), "s hs traffic", used(answer->hash),
                       used(answer->server)) &&
         StartTlsRecords(*shared.records_, suite_, false, used(answer->client),
                         used(answer->server), &handshake_);
}

bool TlsHandshake::WriteFlight(TlsHandshaker& shared, Answer* answer) {
  const size_t size = hash_bytes();
  const std::span<uint8_t> hash = std::span(answer->hash).first(size);
  Output& out = answer->flight;
  out.push_back(kEncryptedExtensions);
  {
    const Sized body(&out, 3);
    const Sized extensions(&out, 2);
    if (named_) {  // RFC 6066 section 3: it is acknowledged
      constexpr std::array<uint8_t, 4> kServerName = {0, 0, 0, 0};
      AppendBytes(&out, kServerName);
    }
    if (!alpn_.empty()) {
      AppendNumber(&out, 16, 2);
      const Sized extension(&out, 2);
      const Sized list(&out, 2);
      AppendNumber(&out, alpn_.size(), 1);
      AppendBytes(&out, BytesOf(alpn_));
    }
  }
  size_t hashed = 0;
  auto hash_the_rest = [&] {
    const Bytes rest = Bytes(out).subspan(hashed);
    hashed = out.size();
    return shared.Add(rest) && shared.HashSoFar(hash);
  };
  if (!answer->uses_psk) {
    AppendBytes(&out, answer->signer->certificate);
    if (!hash_the_rest() || !shared.Sign(*answer->signer, hash, &out)) return false;
  }
  Secret key;
  const std::span<uint8_t> finished = std::span(key).first(size);
  Secret proof;
  const bool ok =
      hash_the_rest() &&
      shared.Expand(digest(), Bytes(answer->server).first(size), "finished", {}, finished) &&
      shared.hkdf_.Hmac(digest(), finished, {hash}, std::span(proof).first(size));
  OPENSSL_cleanse(key.data(), key.size());
  out.push_back(kFinished);
  AppendNumber(&out, size, 3);
  AppendBytes(&out, Bytes(proof).first(size));
  return ok && hash_the_rest();
}

// All that the client's Finished will be compared with and bring into force, since all of it
// follows from what was said already.
bool TlsHandshake::DeriveApplication(TlsHandshaker& shared, Answer* answer) {
  const size_t size = hash_bytes();
  auto used = [size](Secret& secret) { return std::span(secret).first(size); };
  const std::span<uint8_t> hash = used(answer->hash);
  Secret key;
  const std::span<uint8_t> message = std::span(expected_).first(kMessageHeader + size);
  message[0] = kFinished;
  message[3] = static_cast<uint8_t>(size);
  const bool ok =
      shared.Expand(digest(), used(answer->client), "finished", {}, used(key)) &&
      shared.hkdf_.Hmac(digest(), used(key), {hash}, message.subspan(kMessageHeader)) &&
      shared.Expand(digest(), used(answer->master), "derived", TlsEmptyHash(digest()), used(key)) &&
      shared.hkdf_.Hmac(digest(), used(key), {Bytes(kTlsZeros).first(size)},
                        used(answer->master)) &&
      shared.Expand(digest(), used(answer->master), "c ap traffic", hash, used(client_secret_)) &&
      shared.Expand(digest(), used(answer->master), "s ap traffic", hash, used(server_secret_)) &&
      shared.Expand(digest(), used(answer->master), "exp master", hash, used(exporter_secret_)) &&
      shared.Add(message) && shared.HashSoFar(hash) &&
      shared.Expand(digest(), used(answer->master), "res master", hash, used(resumption_secret_));
  OPENSSL_cleanse(key.data(), key.size());
  return ok;
}

// --- The client's Finished --------------------------------------------------------------------

TlsHandshakeStep TlsHandshake::Feed(TlsHandshaker& shared, std::span<uint8_t>* in, Output* out) {
  if (phase_ == Phase::kHello) return OnHello(shared, in, out);
  while (phase_ == Phase::kFinished) {
    // A record that has come whole is opened where it lies; one in part is put together.
    const bool in_place = received_.empty() && in->size() >= kTlsHeaderBytes;
    const std::span<uint8_t> begin = in_place ? *in : std::span(received_);
    const bool header_known = begin.size() >= kTlsHeaderBytes;
    size_t wanted = kTlsHeaderBytes;
    if (header_known) {
      const size_t length = static_cast<size_t>(begin[3]) << 8 | begin[4];
      if (length > kTlsMaxCiphertext) return Fail(shared, TlsAlert::kRecordOverflow, out);
      wanted += length;
    }
    std::span<uint8_t> record;
    if (in_place && in->size() >= wanted) {
      record = in->first(wanted);
      *in = in->subspan(wanted);
    } else {
      const size_t take = std::min(in->size(), wanted - std::min(wanted, received_.size()));
      AppendBytes(&received_, in->first(take));
      *in = in->subspan(take);
      if (received_.size() < wanted) return TlsHandshakeStep::kNeedMore;
      if (!header_known) continue;  // now it is
      record = received_;
    }
    const TlsHandshakeStep step =
        OnRecord(shared, record.first<kTlsHeaderBytes>(), record.subspan(kTlsHeaderBytes), out);
    if (record.data() == received_.data()) received_.clear();
    if (step != TlsHandshakeStep::kNeedMore) return step;
  }
  return TlsHandshakeStep::kFailed;
}

TlsHandshakeStep TlsHandshake::OnRecord(TlsHandshaker& shared,
                                        std::span<uint8_t, kTlsHeaderBytes> header,
                                        std::span<uint8_t> payload, Output* out) {
  const bool ends = header[0] != kChangeCipherSpec && header[0] != kApplicationData;
  if (!ends && (header[1] != 3 || header[2] != 3)) {
    return Fail(shared, TlsAlert::kDecodeError, out);
  }
  switch (header[0]) {
    case kChangeCipherSpec:
      // RFC 8446 section 5: one byte of 1, passed over; not within a message.
      if (payload.size() != 1 || payload[0] != 1 || finished_bytes_ > 0 ||
          ++changes_ > kChangesMax) {
        return Fail(shared, TlsAlert::kUnexpectedMessage, out);
      }
      return TlsHandshakeStep::kNeedMore;
    case kAlertRecord:  // from a client that could not read our ServerHello
      if (payload.size() != 2) return Fail(shared, TlsAlert::kUnexpectedMessage, out);
      return PeerEnded(payload);
    case kApplicationData:
      return OnProtected(shared, header, payload, out);
    default:
      return Fail(shared, TlsAlert::kUnexpectedMessage, out);
  }
}

TlsHandshakeStep TlsHandshake::OnProtected(TlsHandshaker& shared,
                                           std::span<uint8_t, kTlsHeaderBytes> header,
                                           std::span<uint8_t> payload, Output* out) {
  const TlsOpened opened = OpenTlsRecord(*shared.records_, &handshake_, header, payload, {});
  if (opened.error != TlsAlert::kNone) return Fail(shared, opened.error, out);
  const Bytes content = Bytes(payload).first(opened.length);
  if (opened.type == kAlertRecord && content.size() == 2) return PeerEnded(content);
  if (opened.type != kHandshakeRecord || content.empty()) {
    return Fail(shared, TlsAlert::kUnexpectedMessage, out);
  }
  return OnFinished(shared, content, out);
}

TlsHandshakeStep TlsHandshake::OnFinished(TlsHandshaker& shared, Bytes part, Output* out) {
  const size_t size = kMessageHeader + hash_bytes();
  const Bytes taken = part.first(std::min(part.size(), size - finished_bytes_));
  std::ranges::copy(taken, finished_.begin() + finished_bytes_);
  finished_bytes_ = static_cast<uint8_t>(finished_bytes_ + taken.size());
  const size_t known = std::min<size_t>(finished_bytes_, kMessageHeader);
  if (finished_[0] != kFinished) return Fail(shared, TlsAlert::kUnexpectedMessage, out);
  if (!std::ranges::equal(Bytes(finished_).first(known), Bytes(expected_).first(known))) {
    return Fail(shared, TlsAlert::kDecodeError, out);  // another length
  }
  // The keys change after it, so it ends its record.
  if (taken.size() < part.size()) return Fail(shared, TlsAlert::kUnexpectedMessage, out);
  if (finished_bytes_ < size) return TlsHandshakeStep::kNeedMore;
  if (CRYPTO_memcmp(finished_.data(), expected_.data(), size) != 0) {
    return Fail(shared, TlsAlert::kDecryptError, out);
  }
  if (!StartTlsRecords(*shared.records_, suite_, false, Bytes(client_secret_).first(hash_bytes()),
                       Bytes(server_secret_).first(hash_bytes()), &application_)) {
    return Break();
  }
  if (plan_->tickets != nullptr) {
    const std::shared_ptr<const TlsTicketKeySet> keys = plan_->tickets->set();
    for (unsigned i = 0; i < plan_->tickets_per_handshake; ++i) {
      if (!WriteTicket(shared, *keys, static_cast<uint8_t>(i), out)) return Break();
    }
  }
  phase_ = Phase::kOver;
  return TlsHandshakeStep::kDone;
}

// RFC 8446 section 4.6.1. The number is the nonce that makes each ticket's key its own.
bool TlsHandshake::WriteTicket(TlsHandshaker& shared, const TlsTicketKeySet& keys, uint8_t number,
                               Output* out) {
  std::array<uint8_t, 16> random;  // the sealing's nonce, then ticket_age_add
  const int64_t now = plan_->now();
  // A session ends with its time, however often its tickets were replaced.
  const int64_t born = resumed_ ? born_ : now;
  const int64_t left =
      std::clamp<int64_t>(plan_->ticket_lifetime.count() - (now - born), 1,
                          std::min(plan_->ticket_lifetime.count(), kTicketLifetimeMax));
  TlsTicket ticket{.suite = suite_,
                   .signer = signer_,
                   .issued = born,
                   .site = plan_->Binding(site_, server_name_)};
  std::array<uint8_t, kTlsTicketBytesMax> sealed;
  if (RAND_bytes(random.data(), static_cast<int>(random.size())) != 1 ||
      !shared.Expand(digest(), Bytes(resumption_secret_).first(hash_bytes()), "resumption",
                     Bytes(&number, 1), std::span(ticket.psk).first(hash_bytes()))) {
    return false;
  }
  const size_t size = shared.sealer_.Seal(keys, ticket, std::span(random).first<12>(), sealed);
  if (size == 0) return false;
  Output message = {kTlsNewSessionTicket};
  {
    const Sized body(&message, 3);
    AppendNumber(&message, static_cast<size_t>(left), 4);
    AppendBytes(&message, Bytes(random).last(4));
    AppendNumber(&message, 1, 1);
    AppendNumber(&message, number, 1);
    AppendNumber(&message, size, 2);
    AppendBytes(&message, Bytes(sealed).first(size));
    AppendNumber(&message, 0, 2);  // extensions
  }
  return SealMessages(*shared.records_, &application_, TlsContentType::kHandshake, message, out);
}

// Our Finished is out, so the alert goes under the application's key.
TlsHandshakeStep TlsHandshake::Fail(TlsHandshaker& shared, TlsAlert alert, Output* out) {
  phase_ = Phase::kOver;
  error_ = ToString(alert);
  const std::array<uint8_t, 2> message = {2, static_cast<uint8_t>(alert)};
  if (StartTlsRecords(*shared.records_, suite_, false, Bytes(client_secret_).first(hash_bytes()),
                      Bytes(server_secret_).first(hash_bytes()), &application_)) {
    SealMessages(*shared.records_, &application_, TlsContentType::kAlert, message, out);
  }
  return TlsHandshakeStep::kFailed;
}

// Without a word: an alert might be sealed with a nonce that a ticket has used.
TlsHandshakeStep TlsHandshake::Break() {
  phase_ = Phase::kOver;
  error_ = "OpenSSL failed";
  return TlsHandshakeStep::kFailed;
}

TlsHandshakeStep TlsHandshake::PeerEnded(Bytes alert) {
  phase_ = Phase::kOver;
  error_ = "peer sent alert " + std::to_string(alert[1]);
  return TlsHandshakeStep::kFailed;
}

std::unique_ptr<TlsFacts> TlsHandshake::Facts(TlsHandshaker& shared) const {
  auto facts = std::make_unique<TlsFacts>();
  facts->version = TLS1_3_VERSION;
  facts->version_name = "TLSv1.3";
  facts->cipher = ToString(suite_);
  facts->alpn = alpn_;
  facts->sni = server_name_;
  facts->resumed = resumed_;
  facts->server_end_point = plan_->sites[site_].signers[signer_].end_point;
  facts->exporter.resize(32);
  if (!TlsExport(*shared.records_, suite_, Bytes(exporter_secret_).first(hash_bytes()),
                 kTlsExporterLabel, facts->exporter)) {
    facts->exporter.clear();
  }
  return facts;
}

static_assert(sizeof(TlsHandshake) <= 1024);

}  // namespace net
