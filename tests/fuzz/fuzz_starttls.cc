// The first words of a stream, as client to the balancer and as node to it. The first byte chooses
// side, namespace and cut.
#include <cstdint>
#include <string>
#include <string_view>

#include "net/base/check.h"
#include "net/xmpp/starttls.h"

namespace {

struct Outcome {
  net::StartTlsStep step = net::StartTlsStep::kNeedMore;
  std::string said;
  bool operator==(const Outcome&) const = default;
};

Outcome AsServer(net::StreamKind kind, std::string_view input, size_t piece) {
  net::StartTlsServerOptions options{.kind = kind, .default_domain = "a.example"};
  net::StartTlsServer server(&options, "id");
  Outcome outcome;
  for (size_t at = 0; at < input.size() && outcome.step == net::StartTlsStep::kNeedMore;
       at += piece) {
    outcome.step = server.Feed(input.substr(at, piece), &outcome.said);
  }
  bool proceeds = outcome.said.find("<proceed") != std::string::npos;
  CHECK(proceeds == (outcome.step == net::StartTlsStep::kStartTls));
  if (proceeds) CHECK(server.error() == net::StreamError::kNone && !server.domain().empty());
  return outcome;
}

Outcome AsClient(net::StreamKind kind, std::string_view input, size_t piece) {
  net::StartTlsClient client({.kind = kind, .to = "a.example"});
  Outcome outcome;
  for (size_t at = 0; at < input.size() && outcome.step == net::StartTlsStep::kNeedMore;
       at += piece) {
    outcome.step = client.Feed(input.substr(at, piece), &outcome.said);
  }
  if (outcome.step == net::StartTlsStep::kStartTls) {
    CHECK(client.error() == net::StartTlsClientError::kNone);
    CHECK(outcome.said.find("<starttls") != std::string::npos);
  }
  if (outcome.step == net::StartTlsStep::kClose) {
    CHECK(client.error() != net::StartTlsClientError::kNone);
  }
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  auto kind = (data[0] & 1) != 0 ? net::StreamKind::kServer : net::StreamKind::kClient;
  size_t piece = (size_t{data[0]} >> 2) + 1;
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto run = (data[0] & 2) != 0 ? AsClient : AsServer;
  Outcome cut = run(kind, input, piece);
  Outcome whole = run(kind, input, input.size() + 1);
  // Bytes behind <starttls/> or <proceed/> close when they come with it; cut off they are TLS' own.
  if (cut.step == net::StartTlsStep::kNeedMore) CHECK(whole == cut);
  if (whole.step == net::StartTlsStep::kStartTls) CHECK(cut == whole);
  return 0;
}
