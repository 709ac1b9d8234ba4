// broadcast …: messages to all accounts of a domain.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
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

// On the node that deals with the domain, after all have told what they have.
void Begin(CommandCall call, BroadcastOrder order, const CtlAnswer& known) {
  if (!known.faults.empty()) {  // one may run where nobody answers
    return call.Answer({.data = CtlJson::Null(), .faults = known.faults});
  }
  int64_t last = 0;
  bool runs = false;
  for (const auto& [_, job] : known.data.values()) {
    last = std::max<int64_t>(last, std::atoll(job.PlainOf("id").c_str()));
    runs = runs || job.PlainOf("executionState") == StateName(BroadcastJobs::State::kRunning);
  }
  const std::string domain = order.domain;
  const int64_t id = runs ? 0 : call.ground().broadcasts->Start(std::move(order), last);
  if (id == 0) {
    return call.Fault("A broadcast runs in the domain already", "already_running",
                      {{"domain", domain}});
  }
  call.Result(Mutation("Broadcast started", {id}));
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
  BroadcastOrder order{.name = call.Text("name"),
                       .domain = *domain,
                       .subject = call.Text("messageSubject"),
                       .body = call.Text("messageBody"),
                       .sender = *sender,
                       .rate = static_cast<uint32_t>(rate)};
  CommandGround& ground = call.ground();
  DoPart(ground, "flat", "broadcasts", {{"domain", *domain}},
         [call = std::move(call), order = std::move(order)](const CtlAnswer& known) mutable {
           Begin(std::move(call), std::move(order), known);
         });
}

// --- What each node has, and what all have.

CtlJson JobsHere(const CommandCall& call, const std::string& domain) {
  CtlJson list = CtlJson::List();
  for (const BroadcastJobs::Job* job : call.ground().broadcasts->Of(domain)) {
    list.Add(JobJson(*job, call.ground().node));
  }
  return list;
}

void ListHere(CommandCall call) {
  const auto domain = call.Domain("domain");
  if (!domain) return;
  CtlJson jobs = JobsHere(call, *domain);
  call.Result(std::move(jobs));
}

// By their numbers.
std::map<int64_t, CtlJson> AllJobs(const std::vector<NodeAnswer>& answers) {
  std::map<int64_t, CtlJson> jobs;
  for (const NodeAnswer& answer : answers) {
    for (const auto& [_, job] : answer.data.values()) {
      jobs.insert_or_assign(std::atoll(job.PlainOf("id").c_str()), job);
    }
  }
  return jobs;
}

CtlAnswer Fault(std::string_view message, std::string_view code, const std::string& id) {
  CtlAnswer answer;
  answer.faults.push_back(
      {.message = std::string(message), .extensions = {{"id", id}, {"code", std::string(code)}}});
  return answer;
}

CtlAnswer NotFound(const CommandCall& call) {
  return Fault("Given broadcast does not exist", "broadcast_not_found", call.Text("id"));
}

CtlAnswer JoinAll(const CommandCall&, std::vector<NodeAnswer> answers) {
  CtlAnswer answer{.data = CtlJson::List(), .faults = {}};
  for (auto& [id, job] : AllJobs(answers)) answer.data.Add(std::move(job));
  return answer;
}

CtlAnswer JoinPage(const CommandCall& call, std::vector<NodeAnswer> answers) {
  CtlAnswer answer{.data = CtlJson::List(), .faults = {}};
  const uint64_t first = call.Number("index", 0);
  const uint64_t most = call.Number("limit", 50);
  uint64_t i = 0;
  for (auto& [id, job] : AllJobs(answers)) {
    if (i >= first && i - first < most) answer.data.Add(std::move(job));
    ++i;
  }
  return answer;
}

CtlAnswer JoinOne(const CommandCall& call, std::vector<NodeAnswer> answers) {
  auto jobs = AllJobs(answers);
  const auto at = jobs.find(static_cast<int64_t>(call.Number("id", 0)));
  if (at == jobs.end()) return NotFound(call);
  return {.data = std::move(at->second), .faults = {}};
}

// --- Changes: a list of those that it was done to.

CtlJson Numbers(const std::vector<int64_t>& ids) {
  CtlJson list = CtlJson::List();
  for (const int64_t id : ids) list.Add(CtlJson::Number(id));
  return list;
}

std::vector<int64_t> NumbersIn(const std::vector<NodeAnswer>& answers, std::string_view key) {
  std::vector<int64_t> ids;
  for (const NodeAnswer& answer : answers) {
    const CtlJson* list = answer.data.Find(key);
    if (list == nullptr) continue;
    for (const auto& [_, id] : list->values()) ids.push_back(std::atoll(id.Plain().c_str()));
  }
  std::ranges::sort(ids);
  return ids;
}

void AbortHere(CommandCall call) {
  const auto domain = call.Domain("domain");
  if (!domain) return;
  const auto id = static_cast<int64_t>(call.Number("id", 0));
  BroadcastJobs& jobs = *call.ground().broadcasts;
  CtlJson done = CtlJson::Object();
  done.Set("known", Numbers(jobs.Find(*domain, id) == nullptr ? std::vector<int64_t>()
                                                              : std::vector<int64_t>{id}));
  done.Set("done",
           Numbers(jobs.Abort(*domain, id) ? std::vector<int64_t>{id} : std::vector<int64_t>()));
  call.Result(std::move(done));
}

CtlAnswer JoinAborted(const CommandCall& call, std::vector<NodeAnswer> answers) {
  const std::vector<int64_t> done = NumbersIn(answers, "done");
  if (!done.empty()) return {.data = Mutation("Broadcast aborted", done), .faults = {}};
  if (NumbersIn(answers, "known").empty()) return NotFound(call);
  return Fault("Given broadcast does not run", "not_running", call.Text("id"));
}

void DeleteHere(CommandCall call) {
  const auto domain = call.Domain("domain");
  if (!domain) return;
  std::vector<int64_t> ids;
  if (call.Has("ids")) {
    const auto json = CtlJson::Parse(call.Text("ids"));
    if (json) {
      for (const auto& [_, one] : json->values()) ids.push_back(std::atoll(one.Plain().c_str()));
    }
    if (ids.empty()) ids.push_back(0);  // of none, not of all
  }
  CtlJson done = CtlJson::Object();
  done.Set("done", Numbers(call.ground().broadcasts->Delete(*domain, ids)));
  call.Result(std::move(done));
}

CtlAnswer JoinDeleted(const CommandCall&, std::vector<NodeAnswer> answers) {
  const std::vector<int64_t> done = NumbersIn(answers, "done");
  return {.data = Mutation(done.empty() ? "No broadcasts deleted" : "Broadcasts deleted", done),
          .faults = {}};
}

constexpr std::array kBroadcastCommands = std::to_array<XmppCommand>({
    {"broadcast", "startBroadcast", AtDomain{StartBroadcast}},
    {"broadcast", "getBroadcast", OnAllNodes{ListHere, JoinOne}},
    {"broadcast", "getBroadcasts", OnAllNodes{ListHere, JoinPage}},
    {"broadcast", "abortBroadcast", OnAllNodes{AbortHere, JoinAborted}},
    {"broadcast", "deleteInactiveBroadcastsByIds", OnAllNodes{DeleteHere, JoinDeleted}},
    {"broadcast", "deleteInactiveBroadcastsByDomain", OnAllNodes{DeleteHere, JoinDeleted}},
    {"flat", "broadcasts", OnAllNodes{ListHere, JoinAll}},
});

}  // namespace

std::span<const XmppCommand> BroadcastCommands() { return kBroadcastCommands; }

}  // namespace server
