// A client with stream management on a blocking socket, behind a balancer that says it is secure.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "net/base/address.h"
#include "net/io/socket.h"
#include "server/xmpp/stream_reader.h"

namespace server::test {

class SocketClient final : private StreamHost {
 public:
  // Logs in and binds; `resource` "" leaves it to the node.
  SocketClient(const net::Address& node, const std::string& name, const std::string& domain,
               const std::string& resource);

  void Say(std::string_view text);
  void Ask(const Stanza& stanza);  // was said
  // All that has come; where `wait`, at least something of it. False: the stream is over.
  bool Hear(bool wait);
  // The same until something has come. False: it is late, or the stream is over.
  bool HearUntil(std::chrono::steady_clock::time_point deadline);
  // Until an answer to that IQ came, which is taken out. False: the stream is over.
  bool Until(std::string_view id);
  // Requests of its own that nobody has answered; those to sessions need not be.
  size_t open() const { return open_.size(); }
  void ForgetOpen() { open_.clear(); }
  // Up to which it is counted; asks.
  uint32_t Count();
  void Acknowledge();
  void Close();
  void Cut() { fd_.Reset(); }

  std::deque<std::string> inbox;  // whole stanzas
  bool takes = true;              // acknowledges at once
  bool over = false;
  std::string error;  // of the stream, or of the binding: its XML
  std::string full;

 private:
  bool OnOpening(const StreamOpening& opening) override;
  bool OnStanza(Stanza& stanza) override;
  void OnStreamEnd() override;
  void Open();
  void UntilWord(std::string_view word);

  net::UniqueFd fd_;
  const std::string domain_;
  const StreamLimits limits_;
  std::unique_ptr<StreamReader> reader_;
  std::set<std::string> open_;
  std::string last_;  // nonza, or what is said before it is bound
  uint32_t received_ = 0;
  uint32_t counted_ = 0;
  bool counted_new_ = false;
  bool managed_ = false;
};

}  // namespace server::test
