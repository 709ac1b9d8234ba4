#include "bench/load/xmpp/history.h"

#include <algorithm>

namespace bench {

std::uint64_t History::Sent(std::size_t lane, std::int64_t now_ns) {
  std::vector<Message>& messages = lanes_[lane].messages;
  messages.emplace_back().sent_ns = now_ns;
  return messages.size();
}

History::Message* History::Find(std::size_t lane, std::uint64_t number) {
  if (lane >= lanes_.size() || number == 0 || number > lanes_[lane].messages.size()) {
    return nullptr;
  }
  return &lanes_[lane].messages[number - 1];
}

void History::Fault(std::uint64_t& count, std::size_t lane, std::uint64_t number,
                    const std::string& what) {
  if (++count > kExamples) return;
  running_.examples.push_back("lane " + std::to_string(lane) + " message " +
                              std::to_string(number) + ": " + what);
}

// Keeps the number of messages that are awaited.
void History::Closed(const Message& message, bool was_open) {
  if (was_open && !Open(message)) --open_;
}

void History::Counted(std::size_t lane, std::uint64_t number) {
  Message* message = Find(lane, number);
  if (message == nullptr || message->counted) return;
  message->counted = true;
  if (Open(*message)) ++open_;
}

void History::Returned(std::size_t lane, std::uint64_t number) {
  Message* message = Find(lane, number);
  if (message == nullptr || message->returned) {
    return Fault(running_.invented, lane, number, "returned, but not to be");
  }
  const bool was_open = Open(*message);
  message->returned = true;
  Closed(*message, was_open);
  if (message->received > 0) Fault(running_.both, lane, number, "received and returned");
}

std::int64_t History::Received(std::size_t lane, std::uint64_t number, std::int64_t now_ns) {
  Message* message = Find(lane, number);
  if (message == nullptr) {
    Fault(running_.invented, lane, number, "received, but never sent");
    return -1;
  }
  Lane& at = lanes_[lane];
  at.unacknowledged.push_back(number);
  if (message->received++ > 0) {
    if (message->forgiven) {
      message->forgiven = false;
      ++running_.repeated;
    } else {
      Fault(running_.doubled, lane, number, "doubled");
    }
    return -1;
  }
  Message before = *message;
  before.received = 0;
  Closed(*message, Open(before));
  if (message->returned) Fault(running_.both, lane, number, "returned and received");
  if (number < at.newest) {
    const std::string late = std::to_string((now_ns - message->sent_ns) / 1'000'000);
    Fault(running_.swapped, lane, number, "behind a later one, " + late + " ms after it was sent");
  }
  at.newest = std::max(at.newest, number);
  return message->sent_ns;
}

void History::Acknowledged(std::size_t lane, std::int64_t now_ns) {
  Lane& at = lanes_[lane];
  // Those that were acknowledged long ago are settled.
  const auto settled =
      std::find_if(at.acknowledged.begin(), at.acknowledged.end(), [&](std::uint64_t number) {
        return at.messages[number - 1].acknowledged_ns > now_ns - kAckGraceNs;
      });
  at.acknowledged.erase(at.acknowledged.begin(), settled);
  for (const std::uint64_t number : at.unacknowledged) {
    at.messages[number - 1].acknowledged_ns = now_ns;
    at.acknowledged.push_back(number);
  }
  at.unacknowledged.clear();
}

void History::StreamLost(std::size_t lane, std::int64_t now_ns) {
  Acknowledged(lane, now_ns);
  for (const std::uint64_t number : lanes_[lane].acknowledged) {
    lanes_[lane].messages[number - 1].forgiven = true;
  }
  lanes_[lane].acknowledged.clear();
}

History::Verdict History::Judge() const {
  Verdict verdict = running_;
  for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
    for (std::size_t i = 0; i < lanes_[lane].messages.size(); ++i) {
      const Message& message = lanes_[lane].messages[i];
      ++verdict.sent;
      verdict.counted += message.counted ? 1 : 0;
      verdict.uncounted += message.counted ? 0 : 1;
      verdict.received += message.received > 0 ? 1 : 0;
      verdict.returned += message.returned ? 1 : 0;
      if (!Open(message)) continue;
      ++verdict.lost;
      if (verdict.lost <= kExamples) {
        verdict.examples.push_back("lane " + std::to_string(lane) + " message " +
                                   std::to_string(i + 1) + ": lost");
      }
    }
  }
  return verdict;
}

}  // namespace bench
