// One room (XEP-0045) that all sessions are in; the first of them speak, all listen:
//   closed, with a window of messages under way a speaker, or paced, each speaker in turn
//
// Before traffic begins each occupant has seen itself enter, and one message of each speaker has
// come to all: what the entering cost the server, presence to everybody from everybody, is then
// behind it. A message ends with its last copy; room_log.h knows which copies are due.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bench/load/xmpp/room_log.h"
#include "bench/load/xmpp/traffic_scenarios.h"

namespace bench {

class MucScenario final : public TrafficScenario {
 public:
  using TrafficScenario::TrafficScenario;
  void OnElement(XmppEngine& engine, Session& session, std::string_view element) override;

 protected:
  bool Prepare(XmppEngine& engine, std::int64_t now_ns) override;
  void Start(XmppEngine& engine, std::int64_t intended_ns) override;
  void StartAll(XmppEngine& engine) override;
  std::size_t Expire(XmppEngine& engine, std::int64_t older_than_ns) override;

 private:
  void Enter(XmppEngine& engine, std::size_t occupant);
  void Entered(XmppEngine& engine, std::size_t occupant);
  void Refused(XmppEngine& engine, std::string_view element);
  void Say(XmppEngine& engine, std::size_t speaker, std::int64_t intended_ns);
  void OnPresence(XmppEngine& engine, const Session& session, std::string_view element);
  void OnMessage(XmppEngine& engine, const Session& session, std::string_view element);

  std::optional<RoomLog> log_;
  std::size_t next_ = 0;      // occupant to enter
  std::size_t entered_ = 0;   // occupants
  std::vector<bool> inside_;  // of each occupant
  std::size_t complete_ = 0;  // messages
  bool tried_ = false;        // each speaker has spoken once
  std::int64_t progress_ns_ = 0;
  std::size_t turn_ = 0;
  std::string tail_;  // of every message, behind its mark
};

}  // namespace bench
