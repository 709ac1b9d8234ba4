// The part of a Pair that speaks XMPP until TLS begins: answers the client in the balancer's name,
// and asks the node as a client would (starttls.h).

#include <algorithm>
#include <string>

#include "lb/proxy/pair.h"
#include "lb/proxy/proxy_worker.h"
#include "lb/proxy/tls_pair.h"
#include "net/xmpp/starttls.h"

namespace lb {
namespace {

std::string_view Text(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

bool OnlySpace(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

}  // namespace

void Pair::OnOpeningBytes(uint16_t buffer) {
  TlsOpening& opening = *TlsOf().opening;
  std::string words;
  net::StartTlsStep step = net::StartTlsStep::kNeedMore;
  if (opening.agreed) {
    // Said before <proceed/> was: nothing of it may reach TLS.
    if (!OnlySpace(Text(worker_.buffers_->Bytes(buffer)))) step = net::StartTlsStep::kClose;
  } else {
    step = opening.starttls_server->Feed(Text(worker_.buffers_->Bytes(buffer)), &words);
  }
  worker_.buffers_->Give(buffer);
  if (!SendWords(0, words)) step = net::StartTlsStep::kClose;
  switch (step) {
    case net::StartTlsStep::kNeedMore:
      ReceiveEarly();
      return;
    case net::StartTlsStep::kStartTls:
      opening.agreed = true;
      opening.domain = opening.starttls_server->domain();
      ReceiveEarly();
      return;
    case net::StartTlsStep::kClose:
      SayLastWords(EndReason::kStartTlsRefused);
      return;
  }
}

// <proceed/> is out; all that comes from here on is TLS.
void Pair::OnAgreed() {
  Enter(State::kHandshake);
  Schedule(worker_.ListenerOf(*this)->handshake_timeout);
  ReceiveEarly();
}

void Pair::AskNodeForTls() {
  TlsOpening& opening = *TlsOf().opening;
  opening.starttls_client =
      std::make_unique<net::StartTlsClient>(*worker_.SettingsOf(*this).starttls);
  std::string words;
  opening.starttls_client->Start(&words);
  SendWords(1, words);
}

void Pair::OnNodeWords(uint16_t buffer) {
  TlsOpening& opening = *TlsOf().opening;
  std::string words;
  const net::StartTlsStep step =
      opening.starttls_client->Feed(Text(worker_.buffers_->Bytes(buffer)), &words);
  worker_.buffers_->Give(buffer);
  if (!SendWords(1, words) || step == net::StartTlsStep::kClose) {
    NodeRefused(std::string(net::ToString(opening.starttls_client->error())));
  } else if (step == net::StartTlsStep::kStartTls) {
    StartNodeTls();
  }
}

}  // namespace lb
