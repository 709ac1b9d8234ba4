// Orders from one DNS node to the others: a request over the peers' admin HTTP that is signed with
// a key which all nodes share. Who has no key, has an old recording, or changes a byte, orders
// nothing; the answer is signed too, so that a lost order cannot be passed off as done. What nodes
// see of the balancers is signed in the same way, so that nobody else votes. Nothing is secret in
// it (tokens of ACME are published), so it is not encrypted.
//
//   POST /order, the ctl request as body, with
//   Mongoose-Time (seconds since 1970), Mongoose-Nonce, Mongoose-Mac (hexadecimal)
//   GET /view with Mongoose-Nonce
//
// Pure but for the random nonce. One thread.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <string>
#include <string_view>

#include "dns/tsig/tsig_key.h"
#include "net/http/http.h"

namespace dns {

inline constexpr std::string_view kFleetTime = "Mongoose-Time";
inline constexpr std::string_view kFleetNonce = "Mongoose-Nonce";
inline constexpr std::string_view kFleetMac = "Mongoose-Mac";
// Seconds that clocks may differ, and that a nonce is remembered.
inline constexpr uint64_t kFleetFudge = 60;
inline constexpr size_t kFleetNoncesMax = 4096;

net::HttpClientRequest MakeFleetOrder(const TsigKey& key, const std::string& body, uint64_t now);
// A question that anybody may ask, whose answer must be signed.
net::HttpClientRequest MakeFleetQuestion(const std::string& target);
// The answer to the order or the question `nonce`.
enum class FleetAnswer { kOrder, kView };
void SignFleetAnswer(const TsigKey& key, FleetAnswer kind, std::string_view nonce,
                     net::HttpResponse& response);
std::expected<void, std::string> CheckFleetAnswer(const TsigKey& key, FleetAnswer kind,
                                                  std::string_view nonce,
                                                  const net::HttpReply& reply);
// The nonce of a request of ours.
std::string NonceOf(const net::HttpClientRequest& request);

class FleetGate {
 public:
  // The error is for the log; whoever asked is told no more than that it is refused.
  std::expected<void, std::string> Check(const TsigKey& key, const net::HttpRequest& request,
                                         uint64_t now);

 private:
  std::map<std::string, uint64_t> nonces_;  // until when each is remembered
};

}  // namespace dns
