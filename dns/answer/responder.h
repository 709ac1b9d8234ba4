// Query bytes in, answer bytes out: the whole DNS protocol of this server, without a socket.
//
// One Responder a worker thread. Time, addresses and the published answers come in as arguments.
// Respond() does not lock, throw, log or allocate, but for one case: in a signed zone, a DO query
// for a name that does not exist (or that a wildcard answers) is signed at that moment, within a
// budget (ResponderConfig::signatures_per_second).
//
// RFC 1034/1035, 2308 (negative answers), 4592 (wildcards), 6891 (EDNS), 7873/9018 (cookies), 8482
// (ANY), 8914 (EDE), 9824 (compact denial), 5001 (NSID), 6672 (DNAME).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "dns/answer/answer.h"
#include "dns/answer/cookie.h"
#include "dns/answer/counters.h"
#include "dns/answer/lazy_signer.h"
#include "dns/answer/random.h"
#include "dns/answer/rrl.h"
#include "dns/tsig/tsig.h"
#include "net/base/address.h"

namespace dns {

constexpr size_t kMessageBytesMax = 65'535;
constexpr size_t kUdpBytesMax = 4096;

struct ResponderConfig {
  uint16_t udp_bytes = 1232;                 // the largest UDP response, and what we say we take
  std::string nsid;                          // RFC 5001; empty: not told
  std::string version;                       // CHAOS TXT version.bind; empty: refused
  std::string id;                            // CHAOS TXT id.server; empty: refused
  std::vector<CookieSecret> cookie_secrets;  // empty: cookies are ignored
  RateLimitConfig rate_limit;
  uint32_t signatures_per_second = 2000;      // made on demand, by one worker
  uint32_t tcp_idle_ms = 15'000;              // told to clients that ask (RFC 7828)
  std::shared_ptr<const TsigKeys> tsig_keys;  // null: every TSIG is refused with BADKEY
  bool takes_updates = false;                 // RFC 2136; else NOTIMP
  bool takes_notifies = false;                // RFC 1996; else NOTIMP

  bool operator==(const ResponderConfig&) const = default;
};

struct Client {
  net::Address address;
  Transport transport = Transport::kUdp;
};

struct Now {
  uint32_t unix_seconds = 0;
  uint64_t ms = 0;  // from any start
};

struct Reply {
  size_t size = 0;  // 0: no response
  // A zone transfer that may be made if the client is allowed to: over TCP, with a good question
  // for an apex. `size` then holds the refusal that is due if it is not.
  const ImageZone* transfer = nullptr;
  // An UPDATE or a NOTIFY, for the control thread to judge; `size` then holds the refusal that is
  // due where nobody takes it.
  bool order = false;
};

class Responder {
 public:
  // `config` must outlive the Responder.
  Responder(const ResponderConfig& config, uint64_t seed);

  // `out` must have room for kUdpBytesMax bytes over UDP, and for kMessageBytesMax otherwise.
  Reply Respond(const Generation& generation, const Client& client, std::span<const uint8_t> packet,
                std::span<uint8_t> out, const Now& now);

  Counters& counters() { return counters_; }
  const Counters& counters() const { return counters_; }
  // The query that was answered last; for the log of queries.
  const Query& query() const { return query_; }
  Rcode last_rcode() const { return rcode_; }
  // Of the query that was answered last: signed with a good TSIG, or null.
  const TsigCheck* tsig() const { return tsig_.good() ? &tsig_ : nullptr; }

 private:
  struct Builder;

  // Of a query with a TSIG of a key of ours: checks it, answers it as if it had none, signs that.
  // Allocates.
  Reply RespondSigned(const Generation& generation, const Client& client,
                      std::span<const uint8_t> packet, std::span<uint8_t> out, const Now& now);
  void AnswerQuery(const Generation& generation, const Client& client, const Now& now,
                   Builder& builder, Reply& reply);
  void AnswerFound(const Generation& generation, const Now& now, const Found& found,
                   Builder& builder);
  void AnswerChaos(Builder& builder);
  void AnswerTsig(const Now& now, Builder& builder);
  void AnswerTransfer(const Generation& generation, const Client& client, Builder& builder,
                      Reply& reply);
  bool IsApex(const Found& found) const;
  bool AsksForNsec(const Answer& answer) const;
  std::optional<uint16_t> WriteLazyNsec(const Generation& generation, const Now& now,
                                        const Found& found, const Form& form, bool with_set,
                                        Builder& builder);
  void AnswerSimple(const SimpleSet& set, Builder& builder);
  bool WriteOwnNsec(const Generation& generation, const Now& now, const Found& found,
                    Builder& builder);
  bool WriteDname(const Found& found, const Form& form, Builder& builder);
  bool WriteDenial(const Generation& generation, const Now& now, const Found& found,
                   const Form& form, bool secure, Builder& builder);
  bool WriteAdditional(const Found& found, const Form& form, std::span<const uint8_t> items,
                       Builder& builder);
  bool WriteForm(const Generation& generation, const Now& now, const Found& found, const Form& form,
                 bool secure, Builder& builder);
  bool WriteChoices(const Generation& generation, const Now& now, const Found& found,
                    const Form& form, std::span<uint8_t> items, Builder& builder);
  // How many records were written; nothing when they do not fit, or when the budget is spent.
  std::optional<uint16_t> WriteLazy(const Generation& generation, const Now& now,
                                    const Found& found, const Rrset& set, uint64_t source,
                                    bool with_set, Builder& builder);
  size_t Draw(const Form& form, std::span<uint8_t> items, const Variant** variant);
  RateVerdict CheckRate(const Client& client, const Found& found, const Now& now);
  void CheckCookie(const Client& client, const Now& now, Builder& builder);
  size_t Finish(const Client& client, Builder& builder);

  const ResponderConfig& config_;
  Random random_;
  RateLimiter limiter_;
  Counters counters_;
  Query query_;
  Rcode rcode_ = Rcode::kNoError;
  bool cookie_valid_ = false;
  LazySigner lazy_;
  TsigCheck tsig_;
  size_t tsig_room_ = 0;              // kept free for the response's TSIG
  std::vector<uint8_t> tsig_packet_;  // the query without its TSIG
};

}  // namespace dns
