#include "server/c2s/bound_state.h"

#include <algorithm>
#include <span>
#include <utility>

#include "net/base/byte_reader.h"
#include "net/base/byte_writer.h"
#include "server/im/letters.h"

namespace server {
namespace {

using Bytes = std::vector<uint8_t>;

// A client that sends without waiting is held long before (BoundLimits::unsettled_max).
constexpr size_t kLineMax = 1'000'000;
constexpr size_t kItemsMax = 1'000'000;
// Nodes that a session was on while something of it was under way.
constexpr size_t kDebtsMax = 64;

void AppendText(Bytes& out, std::string_view text) {
  const net::Sized sized(&out, 4);
  net::AppendBytes(&out, net::BytesOf(text));
}

std::string ReadText(net::ByteReader& in) {
  const auto bytes = in.Vector(4);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

using NameOf = std::function<std::string(uint16_t)>;
using NumberOf = std::function<std::optional<uint16_t>(const std::string&)>;

void AppendItem(Bytes& out, const UnackedQueue::Item& item, const NameOf& name_of) {
  const Delivery& delivery = item.delivery;
  net::AppendNumber(&out, static_cast<size_t>(item.at_us), 8);
  net::AppendNumber(&out, static_cast<size_t>(delivery.kind), 1);
  net::AppendNumber(&out, delivery.message_of_people ? 1 : 0, 1);
  net::AppendNumber(&out, delivery.ticket, 8);
  if (delivery.ticket != 0) AppendText(out, name_of(delivery.home));
  AppendText(out, delivery.replaces);
  AppendText(out, delivery.xml);
}

UnackedQueue::Item ReadItem(net::ByteReader& in, const NumberOf& number_of) {
  UnackedQueue::Item item;
  item.at_us = static_cast<int64_t>(in.Number(8));
  const size_t kind = in.Number(1);
  if (kind > static_cast<size_t>(StanzaKind::kIq)) in.Take(SIZE_MAX);
  item.delivery.kind = in.ok() ? static_cast<StanzaKind>(kind) : StanzaKind::kMessage;
  item.delivery.message_of_people = in.Number(1) != 0;
  item.delivery.ticket = in.Number(8);
  if (item.delivery.ticket != 0) {
    if (const auto home = number_of(ReadText(in))) {
      item.delivery.home = *home;
    } else {
      item.delivery.ticket = 0;
    }
  }
  item.delivery.replaces = ReadText(in);
  item.delivery.xml = ReadText(in);
  return item;
}

size_t ReadCount(net::ByteReader& in, size_t most) {
  const size_t count = in.Number(4);
  if (count > most) in.Take(SIZE_MAX);
  return in.ok() ? count : 0;
}

// Of what is not settled; nothing where there is none.
void AppendDebts(Bytes& out, const BoundState& state, const NameOf& name_of) {
  std::vector<const SessionDebt*> open;
  for (const SessionDebt& debt : state.debts) {
    if (state.settled.UnsettledUpTo(debt.until)) open.push_back(&debt);
  }
  if (open.empty()) return;
  const size_t count = std::min(open.size(), kDebtsMax);
  net::AppendNumber(&out, count, 4);
  for (const SessionDebt* debt : std::span(open).last(count)) {
    AppendText(out, debt->node ? name_of(*debt->node) : "");
    net::AppendNumber(&out, debt->until, 4);
  }
}

}  // namespace

BoundSession::BoundSession(const SessionId& id, BoundState state, const BoundLimits* limits)
    : id_(id),
      full_(std::move(state.full)),
      limits_(limits),
      unacked_(std::move(state.unacked)),
      settled_(std::move(state.settled)),
      secret_(std::move(state.secret)),
      debts_(std::move(state.debts)),
      answer_at_(state.answer_at),
      owes_answer_(state.owes_answer),
      asked_(state.asked),
      managed_(state.managed),
      active_(state.active) {
  for (const UnackedQueue::Item& item : state.held) held_bytes_ += item.delivery.xml.size();
  if (!state.held.empty()) {
    held_ = std::make_unique<std::vector<UnackedQueue::Item>>(std::move(state.held));
  }
  CountWaiting();
}

BoundState BoundSession::Take() {
  BoundState state{.full = full_,
                   .secret = std::exchange(secret_, {}),
                   .unacked = std::exchange(unacked_, {}),
                   .settled = settled_,
                   .held = {},
                   .debts = std::exchange(debts_, {}),
                   .answer_at = answer_at_,
                   .owes_answer = owes_answer_,
                   .asked = asked_,
                   .managed = managed_,
                   .active = active_};
  if (held_ != nullptr) state.held = std::move(*held_);
  held_.reset();
  held_bytes_ = 0;
  CountWaiting();
  return state;
}

std::vector<uint64_t> BoundState::Tickets() const {
  std::vector<uint64_t> tickets;
  const auto add = [&](const UnackedQueue::Item& item) {
    if (item.delivery.ticket != 0 && item.delivery.home == 0) {
      tickets.push_back(item.delivery.ticket);
    }
  };
  unacked.ForEach(add);
  for (const UnackedQueue::Item& item : held) add(item);
  return tickets;
}

std::string BoundState::ToBytes(const NameOf& name_of, uint8_t version) const {
  Bytes out;
  AppendText(out, full.full());
  AppendText(out, secret);
  net::AppendNumber(&out, unacked.sent(), 4);
  net::AppendNumber(&out, unacked.size(), 4);
  unacked.ForEach([&](const UnackedQueue::Item& item) { AppendItem(out, item, name_of); });
  net::AppendNumber(&out, settled.settled_, 4);
  net::AppendNumber(&out, settled.last_serial_, 4);
  net::AppendNumber(&out, settled.said_, 4);
  net::AppendNumber(&out, settled.under_way(), 4);
  for (size_t i = settled.head_; i < settled.line_.size(); ++i) {
    const SettledCount::One& one = settled.line_[i];
    net::AppendNumber(&out, one.content, 8);
    net::AppendNumber(&out, one.serial, 4);
    net::AppendNumber(&out, one.settled ? 1 : 0, 1);
  }
  net::AppendNumber(&out, held.size(), 4);
  for (const UnackedQueue::Item& item : held) AppendItem(out, item, name_of);
  net::AppendNumber(&out, answer_at, 4);
  for (const bool flag : {owes_answer, asked, managed, active}) {
    net::AppendNumber(&out, flag ? 1 : 0, 1);
  }
  if (version >= kLettersWithDebts) AppendDebts(out, *this, name_of);
  return {out.begin(), out.end()};
}

std::optional<BoundState> BoundState::Parse(std::string_view bytes, const NumberOf& number_of) {
  net::ByteReader in(net::BytesOf(bytes));
  std::string full = ReadText(in);
  if (full.empty() || full.size() > 3 * Jid::kPartBytesMax + 2) return std::nullopt;
  BoundState state{.full = Jid::OfPrepared(std::move(full)),
                   .secret = ReadText(in),
                   .unacked = {},
                   .settled = {},
                   .held = {},
                   .debts = {}};
  const auto sent = static_cast<uint32_t>(in.Number(4));
  for (size_t n = ReadCount(in, kItemsMax); n > 0 && in.ok(); --n) {
    UnackedQueue::Item item = ReadItem(in, number_of);
    const int64_t at_us = item.at_us;
    state.unacked.Push(std::move(item.delivery), at_us);
  }
  state.unacked.sent_ = sent;
  SettledCount& settled = state.settled;
  settled.settled_ = static_cast<uint32_t>(in.Number(4));
  settled.last_serial_ = static_cast<uint32_t>(in.Number(4));
  const size_t said = in.Number(4);
  for (size_t n = ReadCount(in, kLineMax); n > 0 && in.ok(); --n) {
    settled.line_.push_back({.content = in.Number(8),
                             .serial = static_cast<uint32_t>(in.Number(4)),
                             .settled = in.Number(1) != 0});
  }
  if (said > settled.line_.size()) return std::nullopt;
  settled.said_ = static_cast<uint32_t>(said);
  for (size_t n = ReadCount(in, kItemsMax); n > 0 && in.ok(); --n) {
    state.held.push_back(ReadItem(in, number_of));
  }
  state.answer_at = static_cast<uint32_t>(in.Number(4));
  for (bool* flag : {&state.owes_answer, &state.asked, &state.managed, &state.active}) {
    *flag = in.Number(1) != 0;
  }
  if (in.ok() && !in.empty()) {
    for (size_t n = ReadCount(in, kDebtsMax); n > 0 && in.ok(); --n) {
      const auto node = number_of(ReadText(in));
      const SessionDebt debt{.node = node, .until = static_cast<uint32_t>(in.Number(4))};
      if (node != uint16_t{0}) state.debts.push_back(debt);  // of this node: it hears of it here
    }
  }
  if (!in.done()) return std::nullopt;
  return state;
}

}  // namespace server
