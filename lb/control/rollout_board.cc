#include "lb/control/rollout_board.h"

#include <cmath>

namespace lb {
namespace {

std::string Ago(net::Duration time) {
  return std::to_string(std::llround(net::Seconds(time))) + "s";
}

}  // namespace

std::expected<RolloutWanted, Refusal> RolloutBoard::Report(const RolloutReport& report,
                                                           net::Time now) {
  auto found = records_.find(report.pool);
  if (found != records_.end() && found->second.leader != report.leader && !found->second.ended &&
      !found->second.Lost(now)) {
    return std::unexpected(
        Refusal{"another rolling restart of pool " + report.pool + " is under way, led by " +
                found->second.leader + ": " + found->second.text +
                "; wait for it, or end it with: " + "mongooselb ctl rollout abort " + report.pool});
  }
  if (found == records_.end() || found->second.leader != report.leader) {
    found = records_.insert_or_assign(report.pool, Record{}).first;
    found->second.leader = report.leader;
    found->second.begun = now;
    found->second.wanted = {.paused = report.paused, .resumes = report.resumes};
  }
  Record& record = found->second;
  record.text = report.text.substr(0, kRolloutTextMax);
  record.ended = report.ended;
  record.heard = now;
  return record.wanted;
}

Done RolloutBoard::Order(const std::string& pool, RolloutOrderKind kind, net::Time now) {
  const auto found = records_.find(pool);
  if (found == records_.end() || found->second.ended) {
    return std::unexpected(Refusal{
        "there is no rolling restart of pool " + pool +
            (found == records_.end() ? "" : " now; the last one ended: " + found->second.text),
        true});
  }
  Record& record = found->second;
  if (record.Lost(now)) {
    const std::string lost = "its leader (" + record.leader + ") was last heard " +
                             Ago(now - record.heard) +
                             " ago and does nothing any more: it was at " + record.text;
    if (kind != RolloutOrderKind::kAbort) {
      return std::unexpected(
          Refusal{lost +
                  "; look at the node (`list`), bring it back with `ready`, and begin anew "
                  "with `rolling-restart " +
                  pool + " --nodes ...`"});
    }
    records_.erase(found);
    return "forgotten; " + lost + "; its nodes stay as they are";
  }
  switch (kind) {
    case RolloutOrderKind::kPause:
      record.wanted.paused = true;
      return "the rolling restart of " + pool +
             " pauses: a drain or a restart that has begun ends, nothing new begins; it is at " +
             record.text;
    case RolloutOrderKind::kResume:
      record.wanted.paused = false;
      ++record.wanted.resumes;
      return "the rolling restart of " + pool + " goes on; it is at " + record.text;
    case RolloutOrderKind::kAbort:
      record.wanted.aborted = true;
      return "the rolling restart of " + pool + " ends as soon as its node is back; it is at " +
             record.text;
  }
  return "done";
}

std::vector<RolloutView> RolloutBoard::Views(net::Time now) const {
  std::vector<RolloutView> views;
  for (const auto& [pool, record] : records_) {
    views.push_back({.pool = pool,
                     .leader = record.leader,
                     .text = record.text,
                     .ended = record.ended,
                     .lost = record.Lost(now),
                     .paused = record.wanted.paused,
                     .aborted = record.wanted.aborted,
                     .begun_s = net::Seconds(now - record.begun),
                     .heard_s = net::Seconds(now - record.heard)});
  }
  return views;
}

}  // namespace lb
