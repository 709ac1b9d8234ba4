// What standing sessions do:
//   message   session 2k sends to session 2k+1: closed, with a window of messages under way a pair,
//             or paced, each pair in turn
//   presence  a session tells its contacts, all of whom are here, that it has changed
// Others are in files of their own (archive_scenario.h, muc_scenario.h).
//
// The pattern's accounts pair up by number; for presence they are each other's contacts in groups
// (bench/xmpp_accounts.py makes such). Every stanza carries a number, so that what is lost, doubled
// or out of order is seen, and its latency counts from its (intended) start.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "bench/load/pacing.h"
#include "bench/load/xmpp/standing_sessions.h"

namespace bench {

struct TrafficOptions {
  Timing timing;
  std::size_t window = 4;  // messages under way a pair; presences under way in all
  std::size_t body_bytes = 100;
  std::size_t ack_every = 0;  // ask for an acknowledgement after so many messages; 0: never
  std::size_t contacts = 20;
  std::size_t page = 50;     // of an archive
  std::string room;          // its bare address
  std::size_t speakers = 1;  // of the room; those above them listen
};

// The number behind `letter`, e.g. "m17"; nothing when it is not a mark of ours.
std::optional<std::uint64_t> NumberOf(std::string_view text, char letter);

// Beyond the numbers that an earlier run may have left in the server's sessions.
std::uint64_t FirstNumber();

// The common part: build up, warm up, window, wait for what is under way. A session that is lost
// once all were there ends the run, and it is INVALID.
class TrafficScenario : public XmppScenario {
 public:
  TrafficScenario(TrafficOptions options, std::optional<Arrivals> arrivals);
  void OnStart(XmppEngine& engine) override;
  void OnReady(XmppEngine& engine, Session& session) override;
  void OnClosed(XmppEngine&, Session&) override {}
  void OnFail(XmppEngine& engine, Session& session, bool was_ready) override;
  std::int64_t OnTick(XmppEngine& engine, std::int64_t now_ns) override;
  bool Done() const override { return done_; }

 protected:
  // Called when all sessions are there, every turn until it says that traffic may begin.
  virtual bool Prepare(XmppEngine& /*engine*/, std::int64_t /*now_ns*/) { return true; }
  // Starts one operation.
  virtual void Start(XmppEngine& engine, std::int64_t intended_ns) = 0;
  // Starts as many as there may be under way; called once when the closed loop begins.
  virtual void StartAll(XmppEngine& engine) = 0;
  // Gives up what is older than `older_than_ns`; how many operations are under way still.
  virtual std::size_t Expire(XmppEngine& engine, std::int64_t older_than_ns) = 0;

  bool Closed() const { return !loop_.Active(); }
  // A new operation of the closed loop may take the place of one that has ended.
  bool Going() const { return running_ && !draining_ && Closed(); }
  void Completed(XmppEngine& engine, std::int64_t intended_ns);
  // The run ends now and is INVALID.
  void GiveUp(XmppEngine& engine);

  TrafficOptions options_;

 private:
  std::int64_t Drain(XmppEngine& engine, std::int64_t now_ns);

  Window window_;
  OpenLoop loop_;
  StandingSessions set_;
  std::int64_t next_expiry_ns_ = 0;
  std::int64_t drain_until_ns_ = 0;
  bool preparing_ = false;
  bool running_ = false;
  bool draining_ = false;
  bool done_ = false;
};

class MessageScenario final : public TrafficScenario {
 public:
  using TrafficScenario::TrafficScenario;
  void OnElement(XmppEngine& engine, Session& session, std::string_view element) override;

 protected:
  void Start(XmppEngine& engine, std::int64_t intended_ns) override;
  void StartAll(XmppEngine& engine) override;
  std::size_t Expire(XmppEngine& engine, std::int64_t older_than_ns) override;

 private:
  struct UnderWay {
    std::uint64_t number;
    std::int64_t intended_ns;
  };
  struct Pair {
    std::uint64_t next = 0;
    std::uint64_t since_asked = 0;
    std::deque<UnderWay> messages;
    std::deque<std::int64_t> asked_ns;  // requests for acknowledgement
    std::string head;                   // of a message, up to its number
  };

  void SendOn(XmppEngine& engine, std::size_t pair, std::int64_t intended_ns);
  void OnMessage(XmppEngine& engine, std::size_t pair, std::string_view element);

  std::vector<Pair> pairs_;
  std::string tail_;  // of every message, behind its number
  std::size_t turn_ = 0;
};

class PresenceScenario final : public TrafficScenario {
 public:
  using TrafficScenario::TrafficScenario;
  void OnElement(XmppEngine& engine, Session& session, std::string_view element) override;

 protected:
  void Start(XmppEngine& engine, std::int64_t intended_ns) override;
  void StartAll(XmppEngine& engine) override;
  std::size_t Expire(XmppEngine& engine, std::int64_t older_than_ns) override;

 private:
  struct Broadcast {
    std::uint32_t sender;
    std::size_t missing;  // contacts that have not heard of it
    std::int64_t intended_ns;
  };
  std::deque<Broadcast> broadcasts_;  // the first one has number first_
  std::uint64_t first_ = 0;
  std::size_t turn_ = 0;
};

}  // namespace bench
