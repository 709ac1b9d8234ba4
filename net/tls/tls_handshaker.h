// Internal to net_tls: OpenSSL's primitives as our own handshakes (tls_handshake.h) use them, and
// what the handshakes of one worker share: contexts that are made once and keyed anew.
//
// Thread: the worker's.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "net/tls/context/tls_certificate.h"
#include "net/tls/context/tls_handshake_plan.h"
#include "net/tls/context/tls_ticket_sealer.h"
#include "net/tls/record/tls_hkdf.h"
#include "net/tls/record/tls_record.h"

struct evp_md_st;
struct evp_md_ctx_st;

namespace net {

class TlsHandshaker {
 public:
  explicit TlsHandshaker(TlsRecordPool* records);  // outlives this
  ~TlsHandshaker();
  TlsHandshaker(const TlsHandshaker&) = delete;
  TlsHandshaker& operator=(const TlsHandshaker&) = delete;
  bool ok() const;

  void EndTurn();  // forgets keys

 private:
  friend class TlsHandshake;
  using Bytes = std::span<const uint8_t>;
  using Secret = std::array<uint8_t, kTlsHashMax>;

  bool Begin(TlsDigest digest);
  bool Add(Bytes bytes);
  bool HashSoFar(std::span<uint8_t> out);
  // Shared secret with a fresh key, whose public half goes to `share`.
  bool Exchange(Bytes theirs, std::span<uint8_t, 32> share, std::span<uint8_t, 32> secret);
  bool Sign(const TlsSigner& signer, Bytes transcript, std::vector<uint8_t>* message);
  bool Expand(TlsDigest digest, Bytes secret, std::string_view label, Bytes context,
              std::span<uint8_t> out);

  TlsRecordPool* records_;
  TlsHkdf hkdf_;
  TlsTicketSealer sealer_;
  std::array<evp_md_st*, 2> digests_{};  // by TlsDigest
  evp_md_ctx_st* transcript_ = nullptr;
  evp_md_ctx_st* scratch_ = nullptr;
  TlsDigest digest_ = TlsDigest::kSha256;  // of the transcript
  PkeyContextPtr keygen_;
  KeyPtr peer_;  // takes the public key of one client after the other: making one costs more
  // Derived from nothing but zeros, the same in every handshake without a pre-shared key.
  std::array<Secret, 2> no_psk_{};  // by TlsDigest: Derive-Secret(Early Secret, "derived", "")
};

}  // namespace net
