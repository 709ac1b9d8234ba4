#include "server/c2s/bound_session.h"

#include <algorithm>
#include <utility>

namespace server {

BoundSession::~BoundSession() {
  if (counted_bytes_ == 0 || limits_->waiting_bytes == nullptr) return;
  limits_->waiting_bytes->fetch_sub(counted_bytes_, std::memory_order_relaxed);
}

bool BoundSession::Acknowledge(uint32_t h, Out& out) {
  asked_ = false;
  if (!unacked_.Acknowledge(h, out.ended)) return false;
  CountWaiting();
  // What came out since the question was asked is asked for again.
  if (!unacked_.empty()) Ask(out);
  return true;
}

void BoundSession::Ask(Out& out) {
  if (std::exchange(asked_, true)) return;
  out.xml += "<r xmlns='urn:xmpp:sm:3'/>";
}

bool BoundSession::Resume(uint32_t h, std::string_view domain, Out& out) {
  asked_ = false;
  owes_answer_ = false;
  active_ = true;
  settled_.Restart();
  if (!unacked_.Acknowledge(h, out.ended)) return false;
  unacked_.ForEach([&](const UnackedQueue::Item& item) {
    if (item.delivery.message_of_people) {
      AppendDelayed(out.xml, item.delivery.xml, domain, item.at_us);
    } else {
      out.xml += item.delivery.xml;
    }
  });
  Flush(true, out);
  CountWaiting();
  if (!unacked_.empty()) Ask(out);
  return true;
}

bool BoundSession::Deliver(Delivery delivery, int64_t now_us, bool attached, Out& out) {
  if (!active_ && !delivery.replaces.empty()) {
    Hold(std::move(delivery), now_us, out);
    if (held_->size() > limits_->held_max) Flush(attached, out);
  } else {
    if (held_ != nullptr) Flush(attached, out);
    Send(std::move(delivery), now_us, attached, out);
  }
  return CountWaiting();
}

bool BoundSession::Say(std::string xml, int64_t now_us, Out& out) {
  Send({.xml = std::move(xml), .kind = StanzaKind::kIq}, now_us, true, out);
  return CountWaiting();
}

bool BoundSession::CountWaiting() {
  const size_t bytes = waiting_bytes();
  // Sums of unsigned numbers wrap: less is more, the other way round.
  const uint64_t change = bytes - std::exchange(counted_bytes_, bytes);
  if (change != 0 && limits_->waiting_bytes != nullptr) {
    limits_->waiting_bytes->fetch_add(change, std::memory_order_relaxed);
  }
  return bytes <= limits_->unacked_bytes_max && unacked_.size() <= limits_->unacked_max;
}

void BoundSession::Send(Delivery delivery, int64_t now_us, bool attached, Out& out) {
  if (attached) out.xml += delivery.xml;
  if (!managed_) {
    AddEnd(delivery, attached ? DeliveryEnd::kTaken : DeliveryEnd::kLost, out.ended);
    return;
  }
  unacked_.Push(std::move(delivery), now_us);
  if (attached) Ask(out);
}

void BoundSession::Hold(Delivery delivery, int64_t now_us, Out& out) {
  if (held_ == nullptr) held_ = std::make_unique<std::vector<UnackedQueue::Item>>();
  held_bytes_ += delivery.xml.size();
  for (UnackedQueue::Item& item : *held_) {
    if (item.delivery.replaces != delivery.replaces) continue;
    // It would have been told this, and then the other.
    AddEnd(item.delivery, DeliveryEnd::kTaken, out.ended);
    held_bytes_ -= item.delivery.xml.size();
    item = {std::move(delivery), now_us};
    return;
  }
  held_->push_back({std::move(delivery), now_us});
}

void BoundSession::Flush(bool attached, Out& out) {
  if (held_ == nullptr) return;
  const auto held = std::move(held_);
  held_bytes_ = 0;
  for (UnackedQueue::Item& item : *held) {
    Send(std::move(item.delivery), item.at_us, attached, out);
  }
}

void BoundSession::SetActive(bool active, bool attached, Out& out) {
  active_ = active;
  if (active) Flush(attached, out);
}

void BoundSession::Lose(std::vector<TicketEnd>& ended) {
  unacked_.Lose(ended);
  if (held_ != nullptr) {
    for (const UnackedQueue::Item& item : *held_) {
      AddEnd(item.delivery, DeliveryEnd::kLost, ended);
    }
    held_.reset();
    held_bytes_ = 0;
  }
  CountWaiting();
}

SettledCount::Came BoundSession::Receive(uint64_t content, Out& out) {
  if (!managed_) return {};
  const SettledCount::Came came = settled_.Receive(content);
  if (came.again) AnswerIfOwed(out);
  return came;
}

void BoundSession::Settle(uint32_t serial, Out& out) {
  if (settled_.Settle(serial)) AnswerIfOwed(out);
}

void BoundSession::Owed(uint16_t node) {
  std::erase_if(debts_, [&](const SessionDebt& debt) {
    return !settled_.UnsettledUpTo(debt.until) || debt.node == node;
  });
  const uint32_t last = settled_.last_serial();
  if (node != 0 && settled_.UnsettledUpTo(last)) debts_.push_back({.node = node, .until = last});
}

std::vector<uint16_t> BoundSession::Ways() const {
  std::vector<uint16_t> ways;
  for (const SessionDebt& debt : debts_) {
    if (debt.node && settled_.UnsettledUpTo(debt.until)) ways.push_back(*debt.node);
  }
  return ways;
}

bool BoundSession::LostDebt(const std::function<bool(uint16_t)>& gone) const {
  return std::ranges::any_of(debts_, [&](const SessionDebt& debt) {
    return (!debt.node || gone(*debt.node)) && settled_.UnsettledUpTo(debt.until);
  });
}

void BoundSession::AnswerIfOwed(Out& out) {
  if (!owes_answer_) return;
  // Counts wrap: the distance tells which is ahead.
  if (static_cast<int32_t>(settled_.settled() - answer_at_) >= 0) AnswerNow(out);
}

void BoundSession::OnAsked(Out& out) {
  if (settled_.open() == 0) {
    AnswerNow(out);
    return;
  }
  owes_answer_ = true;
  answer_at_ = settled_.received();
}

void BoundSession::AnswerNow(Out& out) {
  // What was asked for and is not settled yet is told when it is.
  owes_answer_ = owes_answer_ && static_cast<int32_t>(answer_at_ - settled_.settled()) > 0;
  out.xml += "<a xmlns='urn:xmpp:sm:3' h='" + std::to_string(settled_.settled()) + "'/>";
}

size_t BoundSession::MemoryBytes() const {
  return sizeof *this + full_.full().capacity() + secret_.capacity() + waiting_bytes() +
         unacked_.size() * sizeof(UnackedQueue::Item) +
         (held_ == nullptr ? 0 : held_->capacity() * sizeof(UnackedQueue::Item));
}

}  // namespace server
