// Internal to net_tls: the server's side of a TLS 1.3 handshake in its usual form, without
// OpenSSL's protocol machine (RFC 8446 sections 2, 4 and 7). Every primitive is OpenSSL's: X25519,
// signatures, hashes, HMAC, AEADs, random numbers; what is done here is the order of a dozen
// messages.
//
// Why: that machine costs more than the cryptography, and 50 KB for each handshake under way, just
// when a whole cluster's clients reconnect at once. Here a handshake under way is a TlsHandshake,
// below 1 KB.
//
// The usual form: the ClientHello is the only message of one whole record, offers TLS 1.3, an
// X25519 key share (the first of our groups), and a suite, a signature and a protocol of ours; no
// client certificate is asked for. A ticket of ours (tls_ticket_sealer.h) resumes. Anything else is
// declined before a byte was answered, and OpenSSL gets the hello as if nothing had been: other
// groups and with them every HelloRetryRequest, TLS 1.2, malformed hellos and whatever else must
// end in an alert. So what is accepted here must be a part of what OpenSSL accepts;
// tests/net/tls_handshake_differential_test.cc compares the two.
//
//   Feed(hello)    → kAnswered: ServerHello to Finished lie in `out`. Nothing of OpenSSL is held.
//   Feed(Finished) → kDone: the tickets lie in `out`, Records() has the state for the record layer.
//
// Thread: the worker's.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/tls/context/tls_facts.h"
#include "net/tls/context/tls_handshake_plan.h"
#include "net/tls/context/tls_ticket_sealer.h"
#include "net/tls/record/tls_record.h"
#include "net/tls/tls_handshaker.h"
#include "net/tls/tls_hello.h"

namespace net {

enum class TlsHandshakeStep : uint8_t {
  kNeedMore,
  kDeclined,  // nothing was answered; received() is what came before this call
  kAnswered,
  kDone,
  kFailed,  // an alert lies in `out`, unless the peer's ended it; error() says what it was
};

class TlsHandshake {
 public:
  explicit TlsHandshake(const TlsHandshakePlan* plan) : plan_(plan) {}
  ~TlsHandshake();
  TlsHandshake(const TlsHandshake&) = delete;
  TlsHandshake& operator=(const TlsHandshake&) = delete;

  // Takes bytes from the front of `in`, which it may change, and moves `in` on; all of them but
  // what follows the client's Finished. What is to be sent is appended to `out`.
  TlsHandshakeStep Feed(TlsHandshaker& shared, std::span<uint8_t>* in, std::vector<uint8_t>* out);

  bool answered() const { return phase_ == Phase::kFinished; }
  TlsDecline declined() const { return declined_; }
  std::vector<uint8_t>& received() { return received_; }
  const std::string& error() const { return error_; }

  // After kDone: application keys, with the tickets counted.
  const TlsRecordState& records() const { return application_; }
  std::unique_ptr<TlsFacts> Facts(TlsHandshaker& shared) const;

 private:
  using Bytes = std::span<const uint8_t>;
  using Secret = TlsHandshaker::Secret;

  enum class Phase : uint8_t { kHello, kFinished, kOver };
  struct Answer;  // what lives during OnHello

  TlsHandshakeStep Decline(TlsDecline reason);
  TlsHandshakeStep OnHello(TlsHandshaker& shared, std::span<uint8_t>* in,
                           std::vector<uint8_t>* out);
  TlsDecline Respond(TlsHandshaker& shared, Bytes record, std::vector<uint8_t>* out);
  TlsDecline Choose(const TlsHello& hello, Answer* answer);
  bool ChooseAlpn(Bytes offered);
  bool Resume(TlsHandshaker& shared, const TlsHello& hello, Bytes message, Answer* answer);
  bool BinderHolds(TlsHandshaker& shared, Bytes message, const TlsHello& hello, size_t index,
                   Bytes early);
  bool Write(TlsHandshaker& shared, const TlsHello& hello, Bytes message, Answer* answer);
  bool WriteFlight(TlsHandshaker& shared, Answer* answer);
  bool DeriveHandshake(TlsHandshaker& shared, Answer* answer);
  bool DeriveApplication(TlsHandshaker& shared, Answer* answer);

  TlsHandshakeStep OnRecord(TlsHandshaker& shared, std::span<uint8_t, kTlsHeaderBytes> header,
                            std::span<uint8_t> payload, std::vector<uint8_t>* out);
  TlsHandshakeStep OnProtected(TlsHandshaker& shared, std::span<uint8_t, kTlsHeaderBytes> header,
                               std::span<uint8_t> payload, std::vector<uint8_t>* out);
  TlsHandshakeStep OnFinished(TlsHandshaker& shared, Bytes part, std::vector<uint8_t>* out);
  bool WriteTicket(TlsHandshaker& shared, const TlsTicketKeySet& keys, uint8_t number,
                   std::vector<uint8_t>* out);
  TlsHandshakeStep Fail(TlsHandshaker& shared, TlsAlert alert, std::vector<uint8_t>* out);
  TlsHandshakeStep Break();
  TlsHandshakeStep PeerEnded(Bytes alert);
  size_t hash_bytes() const { return TlsSecretBytes(suite_); }
  TlsDigest digest() const;

  const TlsHandshakePlan* plan_;
  std::vector<uint8_t> received_;  // a record in part
  Phase phase_ = Phase::kHello;
  TlsDecline declined_ = TlsDecline::kOff;
  TlsSuite suite_ = TlsSuite::kAes128GcmSha256;
  bool resumed_ = false;
  bool forged_ = false;         // a binder was wrong
  uint8_t signer_ = 0;          // index at the site
  uint8_t changes_ = 0;         // change_cipher_spec records that were passed over
  uint8_t finished_bytes_ = 0;  // of the client's Finished so far
  bool named_ = false;          // the client's name chose the site
  size_t site_ = 0;
  int64_t born_ = 0;  // when the session's full handshake was, seconds since 1970
  std::string server_name_;
  std::string alpn_;
  std::string error_;
  TlsRecordState handshake_{};                       // keys of the handshake
  TlsRecordState application_{};                     // and of what follows
  std::array<uint8_t, 4 + kTlsHashMax> expected_{};  // the client's Finished
  std::array<uint8_t, 4 + kTlsHashMax> finished_{};
  Secret client_secret_{};  // of the application
  Secret server_secret_{};
  Secret exporter_secret_{};
  Secret resumption_secret_{};
};

}  // namespace net
