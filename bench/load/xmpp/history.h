// What became of each message of a run: the judge of `mongoosebench scenario`.
//
// A message is *counted* when its sender was told so (<a/> or <resumed/>, XEP-0198): from there on
// the service answers for it. It must then come to its receiver, or back to its sender, once, and
// in its order. What was not counted when its sender's stream was lost may come or not, but not
// twice.
//
// What a receiver was given and had not acknowledged when its own stream was lost for good is given
// again: that is *repeated*, and no fault, since the service cannot know better. So is what was
// acknowledged shortly before: the acknowledgement may have been lost with the stream.
//
// Pure. Lanes are pairs of one sender and one receiver, numbered from 0; messages of a lane from 1.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bench {

class History {
 public:
  // An acknowledgement may be lost with a stream that ends so soon behind it.
  static constexpr std::int64_t kAckGraceNs = 5'000'000'000;

  explicit History(std::size_t lanes) : lanes_(lanes) {}

  std::uint64_t Sent(std::size_t lane, std::int64_t now_ns);
  void Counted(std::size_t lane, std::uint64_t number);
  // It came back to its sender with an error.
  void Returned(std::size_t lane, std::uint64_t number);
  // When it was sent, if this is the first time that it comes; -1 else, and for what was never
  // sent.
  std::int64_t Received(std::size_t lane, std::uint64_t number, std::int64_t now_ns);
  // The receiver has acknowledged all that it was given.
  void Acknowledged(std::size_t lane, std::int64_t now_ns);
  // The receiver has a new stream, and the one before cannot be resumed.
  void StreamLost(std::size_t lane, std::int64_t now_ns);

  // No more is to be awaited: whatever was counted has come or gone back.
  bool Settled() const { return open_ == 0; }

  struct Verdict {
    std::uint64_t sent = 0;
    std::uint64_t counted = 0;
    std::uint64_t received = 0;  // messages, not how often
    std::uint64_t returned = 0;
    std::uint64_t uncounted = 0;  // its sender does not know; of these, some were received
    std::uint64_t repeated = 0;   // given again behind a lost stream
    // Faults.
    std::uint64_t lost = 0;             // counted, and neither received nor returned
    std::uint64_t doubled = 0;          // received again with no reason
    std::uint64_t swapped = 0;          // received for the first time behind a later one
    std::uint64_t both = 0;             // received and returned
    std::uint64_t invented = 0;         // never sent, or returned twice
    std::vector<std::string> examples;  // "lane 3 message 17: lost", at most kExamples of a kind

    // `may_repeat`: in this story nodes die, so what was under way may come twice, or late.
    bool Faultless(bool may_repeat = false) const {
      return lost + both + invented + (may_repeat ? 0 : doubled + swapped) == 0;
    }
  };
  static constexpr std::size_t kExamples = 4;
  Verdict Judge() const;

 private:
  struct Message {
    std::int64_t sent_ns = 0;
    std::int64_t acknowledged_ns = -1;  // by its receiver
    std::uint32_t received = 0;
    bool counted = false;
    bool returned = false;
    bool forgiven = false;  // may be given once more
  };
  struct Lane {
    std::vector<Message> messages;
    std::uint64_t newest = 0;                   // of those received
    std::vector<std::uint64_t> unacknowledged;  // received on the receiver's present stream
    std::vector<std::uint64_t> acknowledged;    // likewise, and acknowledged lately
  };

  Message* Find(std::size_t lane, std::uint64_t number);
  void Fault(std::uint64_t& count, std::size_t lane, std::uint64_t number, const std::string& what);
  void Closed(const Message& message, bool was_open);
  static bool Open(const Message& message) {
    return message.counted && message.received == 0 && !message.returned;
  }

  std::vector<Lane> lanes_;
  std::size_t open_ = 0;
  Verdict running_;
};

}  // namespace bench
