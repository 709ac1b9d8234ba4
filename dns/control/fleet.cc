#include "dns/control/fleet.h"

#include <openssl/rand.h>

#include <array>
#include <charconv>

#include "net/base/check.h"

namespace dns {
namespace {

std::string Hex(ByteView bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

// Each part with its size in front, so that no two lists of parts make the same bytes.
std::string MacOf(const TsigKey& key, std::initializer_list<std::string_view> parts) {
  Bytes data;
  for (std::string_view part : parts) {
    std::string size = std::to_string(part.size()) + ":";
    data.insert(data.end(), size.begin(), size.end());
    data.insert(data.end(), part.begin(), part.end());
  }
  return Hex(Mac(key, data));
}

std::string NewNonce() {
  std::array<uint8_t, 16> random;
  CHECK(RAND_bytes(random.data(), random.size()) == 1);
  return Hex(random);
}

// What one says cannot be passed off as the other.
std::string_view LabelOf(FleetAnswer kind) {
  return kind == FleetAnswer::kOrder ? "answer" : "view";
}

}  // namespace

net::HttpClientRequest MakeFleetQuestion(const std::string& target) {
  net::HttpClientRequest request;
  request.target = target;
  request.headers = {{std::string(kFleetNonce), NewNonce()}};
  return request;
}

std::string NonceOf(const net::HttpClientRequest& request) {
  for (const net::HttpHeader& header : request.headers) {
    if (header.name == kFleetNonce) return header.value;
  }
  return "";
}

net::HttpClientRequest MakeFleetOrder(const TsigKey& key, const std::string& body, uint64_t now) {
  std::string nonce = NewNonce();
  std::string time = std::to_string(now);
  net::HttpClientRequest request;
  request.method = "POST";
  request.target = "/order";
  request.headers = {{"Content-Type", "application/json"},
                     {std::string(kFleetTime), time},
                     {std::string(kFleetNonce), nonce},
                     {std::string(kFleetMac), MacOf(key, {"order", time, nonce, body})}};
  request.body = body;
  return request;
}

void SignFleetAnswer(const TsigKey& key, FleetAnswer kind, std::string_view nonce,
                     net::HttpResponse& response) {
  std::string status = std::to_string(response.status);
  response.headers.push_back(
      {std::string(kFleetMac), MacOf(key, {LabelOf(kind), nonce, status, response.body})});
}

std::expected<void, std::string> CheckFleetAnswer(const TsigKey& key, FleetAnswer kind,
                                                  std::string_view nonce,
                                                  const net::HttpReply& reply) {
  if (reply.status != 200) {
    return std::unexpected("it refuses: HTTP status " + std::to_string(reply.status) +
                           "; is quorum.key the same there, and is its clock right?");
  }
  std::string mac = MacOf(key, {LabelOf(kind), nonce, std::to_string(reply.status), reply.body});
  if (!net::ConstantTimeEqual(mac, reply.Header(kFleetMac))) {
    return std::unexpected("its answer is not signed with our key");
  }
  return {};
}

std::expected<void, std::string> FleetGate::Check(const TsigKey& key,
                                                  const net::HttpRequest& request, uint64_t now) {
  std::string_view time = request.Header(kFleetTime);
  std::string_view nonce = request.Header(kFleetNonce);
  std::string mac = MacOf(key, {"order", time, nonce, request.body});
  if (!net::ConstantTimeEqual(mac, request.Header(kFleetMac))) {
    return std::unexpected("it is not signed with our key");
  }
  uint64_t at = 0;
  auto [end, error] = std::from_chars(time.data(), time.data() + time.size(), at);
  if (error != std::errc() || end != time.data() + time.size() || at > now + kFleetFudge ||
      at + kFleetFudge < now) {
    return std::unexpected("its time is not ours");
  }
  std::erase_if(nonces_, [&](const auto& entry) { return entry.second < now; });
  if (nonces_.contains(std::string(nonce))) return std::unexpected("it was recorded");
  if (nonces_.size() >= kFleetNoncesMax) return std::unexpected("too many orders in a minute");
  nonces_.emplace(nonce, at + kFleetFudge);
  return {};
}

}  // namespace dns
