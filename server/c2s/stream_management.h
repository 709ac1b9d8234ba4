// Stream management (XEP-0198), both directions of it, without a stream.
//
//   SettledCount  stanzas that the client sent: which of them are done with. `h` tells the client
//                 the longest run of them from the first on, and nothing beyond: what it covers
//                 was delivered, is durable, or went back.
//   UnackedQueue  stanzas that the client was sent and has not acknowledged: what is sent again
//                 after a resumption, and what became of each.
//
// Counts wrap at 2^32, as the XEP has it. At rest, with nothing under way, both are a few words.
//
// Pure; one thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/im/ports.h"

namespace server {

inline constexpr std::string_view kManagementSpace = "urn:xmpp:sm:3";

class SettledCount {
 public:
  struct Came {
    uint32_t serial = 0;  // what Settle() is told
    bool again = false;   // it came before, on another connection: it is under way, or done with
  };
  // A stanza came. `content`: a hash of it, by which it is known when it is said again.
  Came Receive(uint64_t content = 0);
  // True when settled() has moved. What is settled twice, or never came, changes nothing.
  bool Settle(uint32_t serial);
  // The client has been told settled() on another connection, and says again what is behind it, if
  // it does as it should. What it says instead counts there, too.
  void Restart() { said_ = 0; }

  // As the client counts.
  uint32_t received() const { return settled_ + said_; }
  uint32_t settled() const { return settled_; }
  uint32_t open() const { return said_; }
  // With those that it has not said again yet.
  uint32_t under_way() const { return static_cast<uint32_t>(line_.size()) - head_; }
  // The serial of the last that came; 0: none did.
  uint32_t last_serial() const { return last_serial_; }
  // Serials of those that nobody has settled, in order.
  std::vector<uint32_t> Unsettled() const;
  // Is one of them `serial`, or came before it?
  bool UnsettledUpTo(uint32_t serial) const;

 private:
  friend struct BoundState;
  struct One {
    uint64_t content = 0;
    uint32_t serial = 0;
    bool settled = false;
  };
  bool Advance();

  // Behind settled_, as they came; those before head_ are done with.
  std::vector<One> line_;
  uint32_t head_ = 0;
  uint32_t said_ = 0;  // of line_, on this connection
  uint32_t settled_ = 0;
  uint32_t last_serial_ = 0;
};

// What became of a stanza whose home wants to know.
struct TicketEnd {
  uint64_t ticket = 0;
  DeliveryEnd end = DeliveryEnd::kTaken;
  uint16_t home = 0;  // whose ticket it is, as in Delivery
  friend bool operator==(const TicketEnd&, const TicketEnd&) = default;
};

// Where somebody wants to know.
void AddEnd(const Delivery& delivery, DeliveryEnd end, std::vector<TicketEnd>& ended);

class UnackedQueue {
 public:
  struct Item {
    Delivery delivery;
    int64_t at_us = 0;  // since the epoch
  };

  void Push(Delivery delivery, int64_t now_us);
  // The client has all up to `h`. False: more than it was sent; nothing is changed then.
  bool Acknowledge(uint32_t h, std::vector<TicketEnd>& ended);
  // It will not come back.
  void Lose(std::vector<TicketEnd>& ended);

  uint32_t sent() const { return sent_; }
  size_t size() const { return items_.size() - head_; }
  bool empty() const { return size() == 0; }
  size_t bytes() const { return bytes_; }
  // Oldest first.
  template <typename F>
  void ForEach(F&& f) const {
    for (size_t i = head_; i < items_.size(); ++i) f(items_[i]);
  }

 private:
  friend struct BoundState;
  void Pop(DeliveryEnd end, std::vector<TicketEnd>& ended);

  std::vector<Item> items_;
  size_t head_ = 0;  // those before are done with
  size_t bytes_ = 0;
  uint32_t sent_ = 0;
};

// `xml`, a <message/>, with <delay/> of XEP-0203 as its last child; as it is where it has one.
void AppendDelayed(std::string& out, std::string_view xml, std::string_view domain, int64_t at_us);

// What a home is told of a secret: whoever says it has the session given, and nobody finds the
// secret by it. 0: of none.
uint64_t ResumeTag(std::string_view secret);

// What a client shows to have its session back: nobody guesses it, and the server finds the session
// by it. "" and what else is malformed find nothing.
struct ResumeKey {
  static constexpr size_t kSecretBytes = 16;
  std::string secret;  // bytes
  uint32_t worker = 0;
  uint32_t place = 0;

  std::string ToString() const;
  static std::optional<ResumeKey> Parse(std::string_view text);
  // In constant time.
  bool SameSecret(std::string_view other) const;
};

}  // namespace server
