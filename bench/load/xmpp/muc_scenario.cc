#include "bench/load/xmpp/muc_scenario.h"

#include <charconv>

#include "bench/load/xmpp/xml_view.h"

namespace bench {
namespace {

// Occupants who are entering at one time: each entrance is told to all who are there already.
constexpr std::size_t kEnteringMax = 16;
constexpr std::string_view kUnlock = "unlock";  // id of the request that opens a new room

std::string NickOf(std::size_t occupant) { return "o" + std::to_string(occupant); }

struct Mark {
  std::size_t speaker;
  std::uint64_t number;
};

// "s<speaker>.<number>"; nothing when it is not a mark of ours.
std::optional<Mark> MarkOf(std::string_view id) {
  const std::size_t dot = id.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const auto speaker = NumberOf(id.substr(0, dot), 's');
  const auto number = NumberOf(id.substr(dot), '.');
  if (!speaker || !number) return std::nullopt;
  return Mark{static_cast<std::size_t>(*speaker), *number};
}

}  // namespace

// ---- entering ----------------------------------------------------------------------------------

bool MucScenario::Prepare(XmppEngine& engine, std::int64_t now_ns) {
  const std::size_t occupants = engine.Sessions().size();
  if (!log_) {
    inside_.resize(occupants);
    log_.emplace(options_.speakers, occupants, FirstNumber());
    tail_ = "'><body>" + std::string(options_.body_bytes, 'x') + "</body></message>";
    progress_ns_ = now_ns;
    Enter(engine, next_++);
  }
  // The first one makes the room; the others have to find it open.
  while (entered_ > 0 && next_ < occupants && next_ - entered_ < kEnteringMax) {
    Enter(engine, next_++);
  }
  if (entered_ == occupants && !tried_) {
    tried_ = true;
    for (std::size_t i = 0; i < options_.speakers; ++i) Say(engine, i, MonotonicNs());
  }
  if (complete_ >= options_.speakers) return true;
  if (now_ns - progress_ns_ > engine.TimeoutNs()) {
    const std::string what = std::to_string(entered_) + " of " + std::to_string(occupants) +
                             " occupants are in the room, and no more happens";
    engine.CountFailure(FailReason::kTimeout, what);
    GiveUp(engine);
  }
  return false;
}

void MucScenario::Enter(XmppEngine& engine, std::size_t occupant) {
  engine.Send(engine.Sessions()[occupant],
              "<presence to='" + options_.room + "/" + NickOf(occupant) +
                  "'><x xmlns='http://jabber.org/protocol/muc'><history maxstanzas='0'/></x>"
                  "</presence>");
}

void MucScenario::Entered(XmppEngine& engine, std::size_t occupant) {
  if (inside_[occupant]) return;
  inside_[occupant] = true;
  ++entered_;
  progress_ns_ = engine.Now();
}

void MucScenario::Refused(XmppEngine& engine, std::string_view element) {
  engine.CountFailure(FailReason::kRefused, element);
  GiveUp(engine);
}

// ---- what comes --------------------------------------------------------------------------------

void MucScenario::OnElement(XmppEngine& engine, Session& session, std::string_view element) {
  if (!log_ || element.size() < 3) return;
  if (element[1] == 'm') return OnMessage(engine, session, element);
  if (element[1] == 'p') return OnPresence(engine, session, element);
  if (element[1] != 'i' || Attribute(element, "id") != kUnlock) return;
  if (Attribute(element, "type") != "result") return Refused(engine, element);
  Entered(engine, session.index);
}

void MucScenario::OnPresence(XmppEngine& engine, const Session& session, std::string_view element) {
  std::string_view from = Attribute(element, "from");
  if (!from.starts_with(options_.room)) return;
  const std::string_view type = Attribute(element, "type");
  if (type == "error") return Refused(engine, element);
  from.remove_prefix(options_.room.size());
  if (!from.starts_with('/') || from.substr(1) != NickOf(session.index)) return;
  // A room that puts an occupant out, for whatever reason, does not fan out to all any more.
  if (type == "unavailable") return Refused(engine, element);
  if (!type.empty()) return;
  const bool made = Contains(element, "code='201'") || Contains(element, "code=\"201\"");
  if (!made) return Entered(engine, session.index);
  // Section 10.1.2: an instant room.
  engine.Send(engine.Sessions()[session.index],
              "<iq type='set' id='" + std::string(kUnlock) + "' to='" + options_.room +
                  "'><query xmlns='http://jabber.org/protocol/muc#owner'>"
                  "<x xmlns='jabber:x:data' type='submit'/></query></iq>");
}

void MucScenario::OnMessage(XmppEngine& engine, const Session& session, std::string_view element) {
  const auto mark = MarkOf(Attribute(element, "id"));
  if (!mark) return;
  if (Attribute(element, "type") == "error") {
    return engine.CountFailure(FailReason::kRefused, element);
  }
  const std::uint64_t out_of_order = log_->Faults().swapped;
  const auto copy = log_->Came(session.index, mark->speaker, mark->number);
  if (log_->Faults() != engine.Out().copies) {
    engine.Out().copies = log_->Faults();
    engine.CountFailure(FailReason::kMismatch,
                        (log_->Faults().swapped != out_of_order ? "swapped: " : "doubled: ") +
                            std::string(element));
  }
  if (!copy) return;
  if (engine.Measuring()) {
    ++engine.Out().deliveries;
    engine.Record(engine.Phase("copy"), copy->intended_ns);
  }
  if (!copy->last) return;
  ++complete_;
  Completed(engine, copy->intended_ns);
  if (Going()) Say(engine, mark->speaker, MonotonicNs());
}

// ---- what is said ------------------------------------------------------------------------------

void MucScenario::StartAll(XmppEngine& engine) {
  for (std::size_t i = 0; i < options_.window; ++i) {
    for (std::size_t speaker = 0; speaker < options_.speakers; ++speaker) {
      Say(engine, speaker, MonotonicNs());
    }
  }
}

void MucScenario::Start(XmppEngine& engine, std::int64_t intended_ns) {
  Say(engine, turn_++ % options_.speakers, intended_ns);
}

void MucScenario::Say(XmppEngine& engine, std::size_t speaker, std::int64_t intended_ns) {
  if (engine.Measuring()) ++engine.Out().started;
  const std::uint64_t number = log_->Said(speaker, intended_ns);
  engine.Send(engine.Sessions()[speaker], "<message type='groupchat' to='" + options_.room +
                                              "' id='s" + std::to_string(speaker) + "." +
                                              std::to_string(number) + tail_);
}

std::size_t MucScenario::Expire(XmppEngine& engine, std::int64_t older_than_ns) {
  std::size_t left = 0;
  for (std::size_t speaker = 0; speaker < options_.speakers; ++speaker) {
    std::size_t given_up = log_->GiveUp(speaker, older_than_ns);
    left += log_->UnderWay(speaker);
    for (; given_up > 0; --given_up) {
      engine.CountFailure(FailReason::kTimeout);
      if (Going()) Say(engine, speaker, MonotonicNs());
    }
  }
  engine.Out().copies = log_->Faults();
  return left;
}

}  // namespace bench
