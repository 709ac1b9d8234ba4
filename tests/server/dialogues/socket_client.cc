#include "tests/server/dialogues/socket_client.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <stdexcept>
#include <utility>

#include "net/base/base64.h"
#include "net/proxy_protocol/proxy_protocol.h"
#include "server/c2s/stream_management.h"
#include "server/xmpp/stanza.h"

namespace server::test {
namespace {

constexpr int kDeadlineMs = 30'000;

std::string SecureHeader() {
  const net::ProxySsl ssl{.client = net::ProxySsl::kClientSsl};
  std::array<uint8_t, 200> out{};
  const auto from = net::ProxyEndpoint::FromAddress(net::Address::V4({192, 0, 2, 1}, 1234));
  const auto size = net::EncodeProxyV2(from, from, {.ssl = &ssl}, out);
  return {reinterpret_cast<const char*>(out.data()), size.value_or(0)};
}

}  // namespace

SocketClient::SocketClient(const net::Address& node, const std::string& name,
                           const std::string& domain, const std::string& resource)
    : domain_(domain) {
  const net::SocketName to = node.ToSocketName();
  fd_ = net::UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(fd_.get(), to.get(), to.size()) != 0) throw std::runtime_error("no connection");
  const int at_once = 1;
  setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &at_once, sizeof at_once);
  Say(SecureHeader());
  Open();
  std::string secret(1, '\0');
  secret += name;
  secret += std::string_view("\0secret", 7);
  Say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" +
      net::Base64Encode(secret) + "</auth>");
  UntilWord("success");
  Open();
  const std::string wanted = resource.empty() ? "" : "<resource>" + resource + "</resource>";
  Say("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>" + wanted +
      "</bind></iq>");
  UntilWord("iq");
  if (last_.find("type='error'") != last_.npos) {
    error = last_;
    return;
  }
  const size_t at = last_.find("<jid>") + 5;
  full = last_.substr(at, last_.find("</jid>") - at);
  Say("<enable xmlns='urn:xmpp:sm:3'/>");
  UntilWord("enabled");
  managed_ = true;
}

void SocketClient::Open() {
  reader_ = std::make_unique<StreamReader>(static_cast<StreamHost*>(this), &limits_);
  Say("<stream:stream to='" + domain_ +
      "' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>");
  UntilWord("features");
}

void SocketClient::UntilWord(std::string_view word) {
  for (last_.clear(); !last_.starts_with("<" + std::string(word));) {
    if (!Hear(true)) throw std::runtime_error("no " + std::string(word) + ": " + error + last_);
  }
}

void SocketClient::Say(std::string_view text) {
  if (!fd_) return;
  // Where the node has closed it that is heard.
  while (!text.empty()) {
    const ssize_t sent = send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return;
    text.remove_prefix(static_cast<size_t>(sent));
  }
}

bool SocketClient::Hear(bool wait) {
  if (!fd_ || over) return false;
  pollfd ready{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  if (wait && poll(&ready, 1, kDeadlineMs) != 1) throw std::runtime_error("the node says nothing");
  std::array<char, 16384> buffer;
  while (!over) {
    const ssize_t size = recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (size <= 0) {
      over = true;
      break;
    }
    const auto fed = reader_->Feed({buffer.data(), static_cast<size_t>(size)});
    if (fed.error != net::StreamError::kNone) {
      throw std::runtime_error("what the node says is no stream: " + std::string(fed.text));
    }
  }
  if (takes) Acknowledge();
  return !over;
}

bool SocketClient::HearUntil(std::chrono::steady_clock::time_point deadline) {
  if (!fd_ || over) return false;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  pollfd ready{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  if (left.count() <= 0 || poll(&ready, 1, static_cast<int>(left.count())) != 1) return false;
  return Hear(false);
}

bool SocketClient::OnOpening(const StreamOpening&) { return true; }
void SocketClient::OnStreamEnd() { over = true; }

bool SocketClient::OnStanza(Stanza& stanza) {
  const XmlElement element = stanza.root();
  std::string xml;
  element.AppendTo(xml, kClientSpace);
  if (element.Is("error", kStreamSpace)) {
    error = xml;
  } else if (element.Is("a", kManagementSpace)) {
    const std::string_view h = element.Attribute("h");
    std::from_chars(h.data(), h.data() + h.size(), counted_);
    counted_new_ = true;
  } else if (element.Is("r", kManagementSpace)) {
    // Answered with the next Acknowledge().
  } else if (managed_) {
    const std::string_view type = element.Attribute("type");
    if (element.name() == "iq" && (type == "result" || type == "error")) {
      open_.erase(std::string(element.Attribute("id")));
    }
    ++received_;
    inbox.push_back(std::move(xml));
  } else {
    // "<stream:features" reads as any.
    last_ = xml.starts_with("<stream:") ? "<" + xml.substr(8) : xml;
  }
  return true;
}

bool SocketClient::Until(std::string_view id) {
  const std::string mark = " id='" + std::string(id) + "'";
  while (true) {
    for (auto it = inbox.begin(); it != inbox.end(); ++it) {
      if (!it->starts_with("<iq") || it->find(mark) == it->npos) continue;
      inbox.erase(it);
      return true;
    }
    if (!Hear(true)) return false;
  }
}

void SocketClient::Ask(const Stanza& stanza) {
  const XmlElement iq = stanza.root();
  const std::string_view type = iq.Attribute("type");
  const std::string id(iq.Attribute("id"));
  if (iq.name() != "iq" || id.empty() || (type != "get" && type != "set")) return;
  if (iq.Attribute("to").find('/') == std::string_view::npos) open_.insert(id);
}

uint32_t SocketClient::Count() {
  counted_new_ = false;
  Say("<r xmlns='urn:xmpp:sm:3'/>");
  while (!counted_new_ && Hear(true)) {
  }
  return counted_;
}

void SocketClient::Acknowledge() {
  if (managed_ && !over) {
    Say("<a xmlns='urn:xmpp:sm:3' h='" + std::to_string(received_) + "'/>");
  }
}

void SocketClient::Close() {
  Say("</stream:stream>");
  while (Hear(true)) {
  }
  fd_.Reset();
}

}  // namespace server::test
