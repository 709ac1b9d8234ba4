#include "server/cluster/peer_stream.h"

#include <algorithm>

#include "net/base/byte_reader.h"
#include "net/base/byte_writer.h"

namespace server {
namespace {

constexpr uint8_t kVersion = 1;

}  // namespace

// --- Out.

bool PeerStream::Put(std::span<const uint8_t> bytes) {
  if (bytes_ + bytes.size() > options_.waiting_max) return false;
  bytes_ += bytes.size();
  while (!bytes.empty()) {
    // What was sent once stays as it was: it may be on its way.
    const bool fresh =
        chunks_.size() <= sent_once_ || chunks_.back().size() >= options_.chunk_bytes;
    if (fresh) chunks_.emplace_back();
    std::vector<uint8_t>& last = chunks_.back();
    const size_t part = std::min(bytes.size(), options_.chunk_bytes - last.size());
    net::AppendBytes(&last, bytes.first(part));
    bytes = bytes.subspan(part);
  }
  return true;
}

std::vector<uint8_t> PeerStream::Message(uint64_t number, std::span<const uint8_t> bytes) const {
  std::vector<uint8_t> message;
  message.reserve(33 + bytes.size());
  net::AppendNumber(&message, kVersion, 1);
  net::AppendNumber(&message, relation_, 8);
  net::AppendNumber(&message, theirs_, 8);
  net::AppendNumber(&message, number, 8);
  net::AppendNumber(&message, expected_, 8);
  net::AppendBytes(&message, bytes);
  return message;
}

bool PeerStream::SendAck(const Send& send) {
  if (!send(Message(0, {}))) return false;
  ack_due_ = false;
  unacknowledged_ = 0;
  return true;
}

void PeerStream::Pump(net::Time now, const Send& send) {
  if (theirs_ == 0) return;
  while (next_ < chunks_.size() && in_flight_ < options_.window_bytes) {
    if (!send(Message(first_ + next_, chunks_[next_]))) return;
    if (next_ == 0) progress_ = now;
    if (next_ < sent_once_) ++resent_;
    ack_due_ = false;
    unacknowledged_ = 0;
    in_flight_ += chunks_[next_].size();
    sent_once_ = std::max(sent_once_, ++next_);
  }
  if (unacknowledged_ >= options_.ack_bytes) SendAck(send);
}

void PeerStream::Tick(net::Time now, const Send& send) {
  if (theirs_ == 0) {
    if (now - greeted_ >= options_.greet && SendAck(send)) greeted_ = now;
    return;
  }
  if (next_ > 0 && now - progress_ >= options_.resend) SendAgain();
  Pump(now, send);
  if (ack_due_) SendAck(send);
}

// --- In.

PeerStream::Event PeerStream::OnMessage(std::span<const uint8_t> message, std::vector<uint8_t>& in,
                                        net::Time now) {
  net::ByteReader reader(message);
  const size_t version = reader.Number(1);
  const uint64_t from = reader.Number(8);
  const uint64_t to = reader.Number(8);
  const uint64_t number = reader.Number(8);
  const uint64_t expected = reader.Number(8);
  if (!reader.ok() || version != kVersion || from == 0 || from < theirs_) return Event::kNone;
  if (from > theirs_ && theirs_ != 0) return Event::kEnded;
  if (to != 0 && to != relation_) {
    // It speaks to one that was before this: it learns by our Hello that it is over.
    greeted_ = {};
    ack_due_ = true;
    return Event::kNone;
  }
  theirs_ = from;
  ack_due_ = ack_due_ || to == 0;  // so that it knows that it is known
  if (to == 0) return Event::kNone;
  // An acknowledgement of what was never sent is none.
  while (first_ < expected && expected <= first_ + sent_once_) {
    const size_t size = chunks_.front().size();
    chunks_.pop_front();
    bytes_ -= size;
    ++first_;
    --sent_once_;
    if (next_ > 0) {
      --next_;
      in_flight_ -= size;
    }
    progress_ = now;
  }
  if (number == 0) return Event::kNone;
  ack_due_ = true;
  if (number != expected_) return Event::kNone;  // it came before, or one before it is lost
  const auto bytes = reader.Take(message.size() - 33);
  net::AppendBytes(&in, bytes);
  unacknowledged_ += bytes.size();
  ++expected_;
  return Event::kNone;
}

}  // namespace server
