// broadcast …: messages to all accounts of a domain.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "server/program/broadcast_jobs.h"
#include "server/xmpp/date_time.h"

namespace server {
namespace {

std::string_view StateName(BroadcastJobs::State state) {
  switch (state) {
    case BroadcastJobs::State::kRunning:
      return "RUNNING";
    case BroadcastJobs::State::kFinished:
      return "FINISHED";
    case BroadcastJobs::State::kAbortError:
      return "ABORT_ERROR";
    case BroadcastJobs::State::kAbortAdmin:
      break;
  }
  return "ABORT_ADMIN";
}

CtlJson JobJson(const BroadcastJobs::Job& job, const std::string& node) {
  const auto time = [](int64_t us) {
    return us == 0 ? CtlJson::Null() : CtlJson::Text(DateTimeText(us));
  };
  CtlJson json = CtlJson::Object();
  json.Set("id", CtlJson::Number(job.id));
  json.Set("name", CtlJson::Text(job.order.name));
  json.Set("domain", CtlJson::Text(job.order.domain));
  json.Set("messageSubject", CtlJson::Text(job.order.subject));
  json.Set("messageBody", CtlJson::Text(job.order.body));
  json.Set("senderJid", CtlJson::Text(job.order.sender.full()));
  json.Set("messageRate", CtlJson::Number(job.order.rate));
  json.Set("ownerNode", CtlJson::Text(node));
  json.Set("createTimestamp", time(job.began_us));
  json.Set("startTimestamp", time(job.began_us));
  json.Set("stopTimestamp", time(job.ended_us));
  json.Set("executionState", CtlJson::Text(StateName(job.state)));
  json.Set("abortionReason", job.trouble.empty() ? CtlJson::Null() : CtlJson::Text(job.trouble));
  json.Set("recipientGroup", CtlJson::Text("ALL_USERS_IN_DOMAIN"));
  json.Set("recipientCount", CtlJson::Count(job.recipients));
  json.Set("recipientsProcessed", CtlJson::Count(job.sent));
  return json;
}

CtlJson Mutation(std::string_view message, const std::vector<int64_t>& ids) {
  CtlJson list = CtlJson::List();
  for (const int64_t id : ids) list.Add(CtlJson::Number(id));
  CtlJson json = CtlJson::Object();
  json.Set("message", CtlJson::Text(message));
  json.Set("ids", std::move(list));
  return json;
}

void StartBroadcast(CommandCall call) {
  const auto domain = call.Domain("domain");
  if (!domain) return;
  const auto sender = call.Address("senderJid");
  if (!sender) return;
  const uint64_t rate = call.Number("messageRate", 0);
  if (!sender->is_bare() || rate == 0 || rate > BroadcastJobs::kRateMax) {
    return call.Fault("The sender is a bare address, and the rate from 1 to " +
                          std::to_string(BroadcastJobs::kRateMax),
                      "invalid_broadcast");
  }
  if (call.Text("recipientGroup") != "ALL_USERS_IN_DOMAIN") {
    return call.Fault("The recipient group is ALL_USERS_IN_DOMAIN", "invalid_broadcast");
  }
  const int64_t id = call.ground().broadcasts->Start({.name = call.Text("name"),
                                                      .domain = *domain,
                                                      .subject = call.Text("messageSubject"),
                                                      .body = call.Text("messageBody"),
                                                      .sender = *sender,
                                                      .rate = static_cast<uint32_t>(rate)});
  if (id == 0) {
    return call.Fault("A broadcast runs in the domain already", "already_running",
                      {{"domain", *domain}});
  }
  call.Result(Mutation("Broadcast started", {id}));
}

// Of the domain, by its number; else this has answered.
const BroadcastJobs::Job* Find(CommandCall& call) {
  const auto domain = call.Domain("domain");
  if (!domain) return nullptr;
  const BroadcastJobs::Job* job =
      call.ground().broadcasts->Find(*domain, static_cast<int64_t>(call.Number("id", 0)));
  if (job == nullptr) {
    call.Fault("Given broadcast does not exist", "broadcast_not_found", {{"id", call.Text("id")}});
  }
  return job;
}

void GetBroadcast(CommandCall call) {
  const BroadcastJobs::Job* job = Find(call);
  if (job != nullptr) call.Result(JobJson(*job, call.ground().node));
}

void GetBroadcasts(CommandCall call) {
  const auto domain = call.Domain("domain");
  if (!domain) return;
  const auto jobs = call.ground().broadcasts->Of(*domain);
  const uint64_t first = call.Number("index", 0);
  const uint64_t most = call.Number("limit", 50);
  CtlJson list = CtlJson::List();
  for (uint64_t i = first; i < jobs.size() && i - first < most; ++i) {
    list.Add(JobJson(*jobs[i], call.ground().node));
  }
  call.Result(std::move(list));
}

void AbortBroadcast(CommandCall call) {
  const BroadcastJobs::Job* job = Find(call);
  if (job == nullptr) return;
  const int64_t id = job->id;
  if (!call.ground().broadcasts->Abort(job->order.domain, id)) {
    return call.Fault("Given broadcast does not run", "not_running", {{"id", call.Text("id")}});
  }
  call.Result(Mutation("Broadcast aborted", {id}));
}

void DeleteBroadcasts(CommandCall call, bool by_ids) {
  const auto domain = call.Domain("domain");
  if (!domain) return;
  std::vector<int64_t> ids;
  if (by_ids) {
    const auto json = CtlJson::Parse(call.Text("ids"));
    for (const auto& [_, one] : json->values()) ids.push_back(std::atoll(one.Plain().c_str()));
    if (ids.empty()) return call.Result(Mutation("No broadcasts deleted", {}));
  }
  const auto gone = call.ground().broadcasts->Delete(*domain, ids);
  call.Result(Mutation("Broadcasts deleted", gone));
}

constexpr std::array kCommands = std::to_array<XmppCommand>({
    {"broadcast", "startBroadcast", StartBroadcast},
    {"broadcast", "getBroadcast", GetBroadcast},
    {"broadcast", "getBroadcasts", GetBroadcasts},
    {"broadcast", "abortBroadcast", AbortBroadcast},
    {"broadcast", "deleteInactiveBroadcastsByIds",
     [](CommandCall call) { DeleteBroadcasts(std::move(call), true); }},
    {"broadcast", "deleteInactiveBroadcastsByDomain",
     [](CommandCall call) { DeleteBroadcasts(std::move(call), false); }},
});

}  // namespace

std::span<const XmppCommand> BroadcastCommands() { return kCommands; }

}  // namespace server
