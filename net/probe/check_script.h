// One run of one active check, without a socket: bytes in, bytes out, a verdict with its reason.
//
//   auto script = MakeCheckScript(spec, "192.0.2.1:5222");
//   connect; on success:   send(spec.preamble), send(script->OnConnected());
//   on bytes:              script->OnData(bytes);
//   on end of stream:      script->OnClosed();
//   connect error, timeout: script->Fail("connection refused");
//   whenever outcome() is no longer kPending: send(script->Farewell()), close.
//
// tcp passes once connected. http sends a request and expects a status and, if asked for, a value
// in the JSON of the answer: our own status API, or MongooseIM's GraphQL with Basic auth. xmpp
// opens a stream (RFC 6120, 4.2) and expects <stream:features/>; a stream error fails it, with its
// condition as the reason.
//
// One thread (control). What peers send is bounded: 16 KiB for xmpp, 256 KiB for http.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "net/base/clock.h"

namespace net {

inline constexpr size_t kXmppCheckBytesMax = size_t{16} * 1024;
inline constexpr size_t kHttpCheckBytesMax = size_t{256} * 1024;

enum class CheckType : uint8_t { kTcp, kHttp, kXmpp };
std::string_view CheckTypeName(CheckType type);  // "tcp", "http", "xmpp"

// [[pool.NAME.check]], what is sent and expected.
struct CheckSpec {
  CheckType type = CheckType::kTcp;
  std::string preamble;  // sent before all else: a PROXY header, or nothing

  // http
  std::string method = "GET";
  std::string path = "/";
  std::string host;  // "" = the node's address
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;  // sent as application/json unless `headers` say otherwise
  std::string user;  // Basic auth when not empty
  std::string password;
  int expect_status = 200;
  std::string expect_json;   // dotted path into the answer; "" = not looked at
  std::string expect_value;  // what must stand there

  // xmpp
  std::string to;
  std::string xmlns = "jabber:client";
};

enum class CheckOutcome : uint8_t { kPending, kPassed, kFailed };

class CheckScript {
 public:
  virtual ~CheckScript() = default;

  // What to send; good until the script is destroyed.
  virtual std::string_view OnConnected() = 0;
  virtual void OnData(std::string_view bytes) = 0;
  virtual void OnClosed() = 0;
  virtual std::string_view Farewell() const { return {}; }

  void Fail(std::string why) { Conclude(CheckOutcome::kFailed, std::move(why)); }
  CheckOutcome outcome() const { return outcome_; }
  const std::string& why() const { return why_; }  // "connected", "status 503, expected 200"

 protected:
  // The first conclusion holds.
  void Conclude(CheckOutcome outcome, std::string why) {
    if (outcome_ != CheckOutcome::kPending) return;
    outcome_ = outcome;
    why_ = std::move(why);
  }

 private:
  CheckOutcome outcome_ = CheckOutcome::kPending;
  std::string why_;
};

// `node_address`: "192.0.2.1:9000", for the Host header. `spec` must outlive the script.
std::unique_ptr<CheckScript> MakeCheckScript(const CheckSpec& spec, std::string_view node_address);

// One of each, in files of their own.
std::unique_ptr<CheckScript> MakeHttpCheck(const CheckSpec& spec, std::string_view node_address);
std::unique_ptr<CheckScript> MakeXmppCheck(const CheckSpec& spec);

// How much of a peer's text stands in a result.
inline constexpr size_t kCheckTextMax = 120;

}  // namespace net
