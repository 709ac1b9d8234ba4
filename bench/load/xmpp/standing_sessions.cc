#include "bench/load/xmpp/standing_sessions.h"

#include <algorithm>

namespace bench {

void StandingSessions::Start(XmppEngine& engine) {
  for (const Session& session : engine.Sessions()) to_open_.push_back(session.index);
  std::reverse(to_open_.begin(), to_open_.end());
  wanted_ = to_open_.size();
}

void StandingSessions::Failed(XmppEngine& engine, const Session& session, bool was_ready) {
  to_open_.push_back(session.index);
  ++failures_;
  pause_until_ns_ = engine.Now() + kPauseNs;
  if (was_ready) {
    --ready_;
  } else {
    --opening_;
  }
}

bool StandingSessions::Fill(XmppEngine& engine) {
  if (pause_until_ns_ != kNever && engine.Now() < pause_until_ns_) return false;
  pause_until_ns_ = kNever;
  while (!to_open_.empty() && opening_ < kLoggingInMax) {
    Session& session = engine.Sessions()[to_open_.back()];
    to_open_.pop_back();
    ++opening_;
    engine.Open(session, session.index, MonotonicNs());
    if (pause_until_ns_ != kNever) return false;  // it failed at once
  }
  return ready_ == wanted_;
}

}  // namespace bench
