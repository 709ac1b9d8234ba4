// A service's clients through whatever is done to it: sessions that send to each other all the
// time, come back when their streams break (resuming them where they can), send again what was not
// acknowledged, and write down what became of each message (history.h). Meanwhile the story's acts,
// commands of a shell, kill, drain, cut and restart what the sessions speak to.
//
// Sessions pair up by number: 2k and 2k+1 send to each other. After the acts and the duration the
// sessions settle: nothing more is sent, all come back, and what was counted has a time to arrive.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "bench/load/pacing.h"
#include "bench/load/xmpp/history.h"
#include "bench/load/xmpp/xmpp_engine.h"

namespace bench {

struct Act {
  std::int64_t at_ns = 0;  // from the moment when all sessions were there
  std::string command;
  pid_t pid = 0;               // while it runs
  std::int64_t begun_ns = -1;  // likewise from there
  std::int64_t ended_ns = -1;
  int status = -1;  // as of a shell: 0 is good
};

// "10s:systemctl kill -s KILL mongooseim".
std::expected<Act, std::string> ParseAct(std::string_view text);

struct StoryOptions {
  std::int64_t duration_ns = 30'000'000'000;
  std::int64_t settle_ns = 60'000'000'000;  // at most
  double rate = 100;                        // messages a second, of all sessions
  std::size_t body_bytes = 100;
  std::int64_t back_base_ns = 200'000'000;  // the first pause before coming back; doubled, jittered
  std::int64_t back_max_ns = 5'000'000'000;
  std::uint64_t seed = 1;
  std::vector<Act> acts;
  // A second is over, or an act has begun or ended: for who watches.
  std::function<void(std::size_t second, const struct StorySecond& what)> on_second;
  std::function<void(const Act& act)> on_act;
};

// What happened in one second of the story.
struct StorySecond {
  std::uint32_t sent = 0;
  std::uint32_t received = 0;
  std::uint32_t logins = 0;
  std::uint32_t resumptions = 0;
  std::uint32_t refused = 0;            // resumptions that became new sessions
  std::uint32_t failures = 0;           // attempts that came to nothing
  std::uint32_t broken = 0;             // streams that ended while they were in use
  std::uint32_t ready = 0;              // sessions at the end of the second
  std::vector<std::uint32_t> landings;  // logins and resumptions, by target; may be shorter
  std::int64_t delivery_p99_ns = 0;
  std::int64_t delivery_max_ns = 0;
};

class StoryScenario final : public XmppScenario {
 public:
  StoryScenario(StoryOptions options, std::size_t sessions);

  void OnStart(XmppEngine& engine) override;
  void OnReady(XmppEngine& engine, Session& session) override;
  void OnElement(XmppEngine& engine, Session& session, std::string_view element) override;
  void OnAcknowledged(XmppEngine& engine, Session& session) override;
  void OnClosed(XmppEngine&, Session&) override {}
  void OnFail(XmppEngine& engine, Session& session, bool was_ready) override;
  std::int64_t OnTick(XmppEngine& engine, std::int64_t now_ns) override;
  bool Done() const override { return done_; }

  // Messages that came back, by what was said.
  const std::map<std::string, std::uint64_t>& returned() const { return returned_; }
  const History& history() const { return history_; }
  const std::vector<StorySecond>& seconds() const { return seconds_; }
  const std::vector<Act>& acts() const { return options_.acts; }
  // From a session's loss to its next login or resumption.
  const Histogram& absences() const { return absences_; }
  std::size_t ready() const { return ready_; }

 private:
  struct UnderWay {
    std::uint64_t number;
    std::uint32_t position;  // among the stanzas of the stream
    std::string xml;
  };
  struct Client {
    std::deque<UnderWay> unacknowledged;
    std::int64_t back_at_ns = 0;  // kNever: it is there, or on its way
    std::int64_t lost_ns = -1;
    std::uint16_t attempts = 0;
    std::uint16_t unreachable = 0;  // targets, one after another
    bool had_stream = false;
    std::int64_t asked_ns = -1;  // for an acknowledgement that has not come yet
  };

  std::size_t LaneOf(const Session& sender) const { return sender.index; }
  static std::size_t LaneTo(const Session& receiver) { return receiver.index ^ 1U; }
  StorySecond& Second(std::int64_t now_ns);
  void Send(XmppEngine& engine, Session& session);
  void Put(XmppEngine& engine, Session& session, UnderWay& message);
  void Taken(Session& session, std::uint32_t handled);
  void SendAgain(XmppEngine& engine, Session& session);
  void OnMessage(XmppEngine& engine, Session& session, std::string_view element);
  void LookAtClients(XmppEngine& engine, std::int64_t now_ns);
  void Ask(XmppEngine& engine, Session& session);
  std::int64_t RunActs(std::int64_t now_ns);
  void Reap(std::int64_t now_ns);
  bool ActsRun() const;
  void Pause(Client& client, std::int64_t now_ns);

  StoryOptions options_;
  History history_;
  std::vector<Client> clients_;
  std::vector<StorySecond> seconds_;
  std::map<std::string, std::uint64_t> returned_;
  Histogram second_;  // deliveries of the present one
  Histogram absences_;
  std::mt19937_64 random_;
  std::string run_;  // tells this run's messages from an earlier one's
  std::size_t ready_ = 0;
  std::size_t opening_ = 0;
  std::size_t turn_ = 0;
  std::int64_t begun_ns_ = 0;  // the story; 0: not yet
  std::int64_t next_look_ns_ = 0;
  std::int64_t next_send_ns_ = 0;
  std::int64_t settle_until_ns_ = 0;
  bool done_ = false;
};

}  // namespace bench
