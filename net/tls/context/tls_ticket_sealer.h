// Internal to net_tls: session tickets of the handshakes that are ours (tls_handshake.h): what a
// later handshake must know, sealed with AES-256-GCM under a key that is derived from a ticket key,
// with a name that is derived as well. So the key file is the same for both, and OpenSSL, which
// uses the ticket keys as they are, never takes one of these tickets for its own, nor the reverse:
// a client that resumes on the other way gets a full handshake.
//
// A ticket is: name 16, nonce 12, sealed content, tag 16. Nonces are random; with 2^32 tickets
// under one key (a week at 5,000 a second) rotate it before.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>

#include "net/tls/context/tls_tickets.h"
#include "net/tls/record/tls_hkdf.h"
#include "net/tls/record/tls_record.h"

struct evp_cipher_ctx_st;

namespace net {

struct TlsTicket {
  TlsSuite suite = TlsSuite::kAes128GcmSha256;
  uint8_t signer = 0;                      // which of the site's certificates was shown
  int64_t issued = 0;                      // the session's full handshake, seconds since 1970
  std::array<uint8_t, 32> site{};          // TlsHandshakePlan::Binding(), of site and name
  std::array<uint8_t, kTlsHashMax> psk{};  // TlsSecretBytes(suite) of it

  ~TlsTicket();  // wiped
};

inline constexpr size_t kTlsTicketBytesMax = 16 + 12 + 3 + 8 + 32 + kTlsHashMax + 16;

// The ciphers of one worker.
class TlsTicketSealer {
 public:
  TlsTicketSealer();
  ~TlsTicketSealer();
  TlsTicketSealer(const TlsTicketSealer&) = delete;
  TlsTicketSealer& operator=(const TlsTicketSealer&) = delete;
  bool ok() const { return seal_ != nullptr && open_ != nullptr; }

  // The ticket's size; 0 when OpenSSL fails.
  size_t Seal(const TlsTicketKeySet& keys, const TlsTicket& ticket,
              std::span<const uint8_t, 12> nonce, std::span<uint8_t, kTlsTicketBytesMax> out);
  // Nothing for what is not ours, was altered, or is of an older key.
  std::optional<TlsTicket> Open(const TlsTicketKeySet& keys, std::span<const uint8_t> sealed);

  // Puts zeros in place of the keys that were used.
  void ForgetKeys();

 private:
  evp_cipher_ctx_st* seal_ = nullptr;
  evp_cipher_ctx_st* open_ = nullptr;
  bool keyed_ = false;
};

}  // namespace net
