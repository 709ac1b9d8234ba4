// What a client's session is from its binding to its end, whatever connections it has meanwhile:
// its address, what it was sent and has not acknowledged, what it has sent and is not settled, what
// waits while the client is inactive (XEP-0352).
//
// It says what to write and what became of deliveries; it knows no connection. As one object it
// waits for a resumption, and goes to another worker with it.
//
// Pure; one thread at a time. Before it is destroyed, Lose() tells what will not arrive.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/c2s/stream_management.h"
#include "server/im/ports.h"

namespace server {

struct BoundLimits {
  // Of stanzas that a client has not acknowledged, or that wait while it is inactive. Above it the
  // session ends, and its homes find the messages another place.
  size_t unacked_bytes_max = size_t{4} << 20U;
  size_t unacked_max = 5'000;
  // Different senders' presence and chat states; then all of it goes out.
  size_t held_max = 256;
  // From a client, not settled: it is not read from until there are fewer.
  uint32_t unsettled_max = 1'000;
  // What all sessions wait with is counted there, whichever thread has them; null: nowhere.
  std::atomic<uint64_t>* waiting_bytes = nullptr;
};

struct BoundState;

// A session that came from another node hears by way of that node what becomes of what it had sent
// there: of all up to that serial.
struct SessionDebt {
  std::optional<uint16_t> node;  // nothing: it is not known here any more
  uint32_t until = 0;
};

class BoundSession {
 public:
  // What a call has to say.
  struct Out {
    std::string xml;  // goes out, in this order
    std::vector<TicketEnd> ended;
    void Clear() {
      xml.clear();
      ended.clear();
    }
  };

  BoundSession(const SessionId& id, Jid full, const BoundLimits* limits)
      : id_(id), full_(std::move(full)), limits_(limits) {}

  // It was another, here or on another node: server/c2s/bound_state.h. That one is left with
  // nothing.
  BoundSession(const SessionId& id, BoundState state, const BoundLimits* limits);
  ~BoundSession();
  BoundSession(const BoundSession&) = delete;
  BoundSession& operator=(const BoundSession&) = delete;
  BoundState Take();

  const SessionId& id() const { return id_; }
  const Jid& full() const { return full_; }
  bool managed() const { return managed_; }
  bool resumable() const { return !secret_.empty(); }
  bool active() const { return active_; }
  SessionState State(bool detached) const {
    return {.resumable = resumable(),
            .detached = detached,
            .active = active_,
            .resume_tag = ResumeTag(secret_)};
  }

  // --- XEP-0198. `secret`: ResumeKey::kSecretBytes random ones, or none for no resumption.
  void Manage(std::string secret) {
    managed_ = true;
    secret_ = std::move(secret);
  }
  const std::string& secret() const { return secret_; }
  // False: the client says that it has more than it was sent.
  bool Acknowledge(uint32_t h, Out& out);
  uint32_t sent() const { return unacked_.sent(); }
  size_t unacked() const { return unacked_.size(); }
  uint32_t settled() const { return settled_.settled(); }
  // Its connection is another from here on: what the client has not got goes out again.
  bool Resume(uint32_t h, std::string_view domain, Out& out);
  // <r/> of ours that is not answered.
  bool asked() const { return asked_; }
  void Ask(Out& out);

  // --- From homes. False: too much is not acknowledged.
  [[nodiscard]] bool Deliver(Delivery delivery, int64_t now_us, bool attached, Out& out);
  // A stanza of ours, which is counted as all others are, and bounded as they are: false as well.
  [[nodiscard]] bool Say(std::string xml, int64_t now_us, Out& out);
  void SetActive(bool active, bool attached, Out& out);
  // Nobody will have what is left.
  void Lose(std::vector<TicketEnd>& ended);

  // --- From the client. A stanza that came, and a hash of it; serial 0 without stream management.
  SettledCount::Came Receive(uint64_t content, Out& out);
  // What is written at once: <a/> where the client has asked and all of it is settled now.
  void Settle(uint32_t serial, Out& out);
  // <r/>: answered when all that came before it is settled, or with what there is at AnswerNow().
  void OnAsked(Out& out);
  void AnswerNow(Out& out);
  bool owes_answer() const { return owes_answer_; }
  // Of what the client has said on this connection, what `h` does not count yet.
  uint32_t open() const { return settled_.open(); }
  uint32_t unsettled() const { return settled_.under_way(); }
  std::vector<uint32_t> Unsettled() const { return settled_.Unsettled(); }
  // It came from there. 0, a place of this node, which does not go before it: no debt.
  void Owed(uint16_t node);
  // The nodes, beside its home's, by way of which it hears of what is not settled.
  std::vector<uint16_t> Ways() const;
  // Something that it had sent will not be heard of: of a node of which `gone` holds.
  bool LostDebt(const std::function<bool(uint16_t node)>& gone) const;
  bool crowded() const { return settled_.under_way() > limits_->unsettled_max; }

  size_t waiting_bytes() const { return unacked_.bytes() + held_bytes_; }
  size_t MemoryBytes() const;

 private:
  void Send(Delivery delivery, int64_t now_us, bool attached, Out& out);
  void Hold(Delivery delivery, int64_t now_us, Out& out);
  void Flush(bool attached, Out& out);
  void AnswerIfOwed(Out& out);
  // After each change of it; true: it is not too much.
  bool CountWaiting();

  const SessionId id_;
  const Jid full_;
  const BoundLimits* limits_;
  UnackedQueue unacked_;
  SettledCount settled_;
  std::string secret_;
  std::unique_ptr<std::vector<UnackedQueue::Item>> held_;
  std::vector<SessionDebt> debts_;
  size_t held_bytes_ = 0;
  size_t counted_bytes_ = 0;  // of waiting_bytes(), in the limits' sum
  uint32_t answer_at_ = 0;    // owed when so much is settled
  bool owes_answer_ = false;
  bool asked_ = false;
  bool managed_ = false;
  bool active_ = true;
};

}  // namespace server
