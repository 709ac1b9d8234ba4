#include "server/program/broadcast_jobs.h"

#include <algorithm>
#include <utility>

#include "net/base/wall_clock.h"
#include "server/im/stanza_parcel.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr net::Duration kStep = std::chrono::milliseconds(100);
constexpr uint32_t kReceiversPage = 500;
constexpr size_t kPageLow = 200;  // the next one is read when so many are left

}  // namespace

int64_t BroadcastJobs::Start(BroadcastOrder order, int64_t above) {
  for (const Job& job : jobs_) {
    if (job.order.domain == order.domain && job.state == State::kRunning) return 0;
  }
  if (jobs_.size() >= kKept) {
    const auto old =
        std::ranges::find_if(jobs_, [](const Job& job) { return job.state != State::kRunning; });
    if (old != jobs_.end()) jobs_.erase(old);
  }
  const int64_t id = last_id_ = std::max(last_id_, above) + 1;
  jobs_.push_back({.id = id, .order = std::move(order), .trouble = {}, .began_us = net::UnixUs()});
  Count(id);
  Step(id);
  return id;
}

BroadcastJobs::Job* BroadcastJobs::Running(int64_t id) {
  const auto at = std::ranges::find(jobs_, id, &Job::id);
  return at == jobs_.end() || at->state != State::kRunning ? nullptr : &*at;
}

const BroadcastJobs::Job* BroadcastJobs::Find(std::string_view domain, int64_t id) const {
  const auto at = std::ranges::find(jobs_, id, &Job::id);
  return at == jobs_.end() || at->order.domain != domain ? nullptr : &*at;
}

std::vector<const BroadcastJobs::Job*> BroadcastJobs::Of(std::string_view domain) const {
  std::vector<const Job*> found;
  for (const Job& job : jobs_) {
    if (job.order.domain == domain) found.push_back(&job);
  }
  return found;
}

bool BroadcastJobs::Abort(std::string_view domain, int64_t id) {
  Job* job = Running(id);
  if (job == nullptr || job->order.domain != domain) return false;
  End(*job, State::kAbortAdmin);
  return true;
}

std::vector<int64_t> BroadcastJobs::Delete(std::string_view domain,
                                           const std::vector<int64_t>& ids) {
  std::vector<int64_t> gone;
  std::erase_if(jobs_, [&](const Job& job) {
    const bool meant = ids.empty() || std::ranges::find(ids, job.id) != ids.end();
    if (!meant || job.order.domain != domain || job.state == State::kRunning) return false;
    gone.push_back(job.id);
    return true;
  });
  return gone;
}

void BroadcastJobs::End(Job& job, State state, std::string trouble) {
  job.state = state;
  job.trouble = std::move(trouble);
  job.ended_us = net::UnixUs();
  job.page.clear();
}

void BroadcastJobs::Count(int64_t id) {
  const Job& job = jobs_.back();
  ground_.service.OnWorker([this, id, domain = job.order.domain, post = ground_.hooks.post,
                            alive = std::weak_ptr<int>(alive_)](XmppWorker& worker) {
    worker.store().CountAccounts(domain, [this, id, post, alive](const auto& count) {
      post([this, id, alive, recipients = count.value_or(0)] {
        if (alive.expired()) return;
        const auto at = std::ranges::find(jobs_, id, &Job::id);
        if (at != jobs_.end()) at->recipients = recipients;
      });
    });
  });
}

void BroadcastJobs::Step(int64_t id) {
  Job* job = Running(id);
  if (job == nullptr) return;
  const uint64_t all =
      static_cast<uint64_t>(net::UnixUs() - job->began_us) * job->order.rate / 1'000'000;
  // What could not be read in time is not made up for.
  uint64_t room = std::min<uint64_t>(all > job->sent ? all - job->sent : 0, job->order.rate);
  for (; room > 0 && !job->page.empty(); --room) {
    Send(*job, job->page.front());
    job->page.pop_front();
    ++job->sent;
  }
  if (job->page.empty() && job->last_page) return End(*job, State::kFinished);
  if (job->page.size() < kPageLow && !job->reading && !job->last_page) ReadPage(*job);
  ground_.hooks.after(kStep, [this, id, alive = std::weak_ptr<int>(alive_)] {
    if (!alive.expired()) Step(id);
  });
}

void BroadcastJobs::ReadPage(Job& job) {
  job.reading = true;
  ground_.service.OnWorker([this, id = job.id, domain = job.order.domain, after = job.after,
                            post = ground_.hooks.post,
                            alive = std::weak_ptr<int>(alive_)](XmppWorker& worker) {
    worker.store().Accounts(domain, after, kReceiversPage, [this, id, post, alive](auto names) {
      post([this, id, alive, names = std::move(names)]() mutable {
        if (alive.expired()) return;
        Job* at = Running(id);
        if (at == nullptr) return;
        at->reading = false;
        if (!names) {
          return End(*at, State::kAbortError,
                     "the store failed: " + std::string(ToString(names.error())));
        }
        at->last_page = names->size() < kReceiversPage;
        if (!names->empty()) at->after = names->back();
        for (std::string& name : *names) at->page.push_back(std::move(name));
      });
    });
  });
}

void BroadcastJobs::Send(const Job& job, const std::string& user) {
  std::string xml = "<message xmlns='jabber:client'";
  AppendXmlAttribute(xml, "to", user);
  AppendXmlAttribute(xml, "id",
                     "broadcast-" + std::to_string(job.id) + "-" + std::to_string(job.sent));
  xml += '>';
  for (const auto& [name, text] :
       {std::pair("subject", &job.order.subject), std::pair("body", &job.order.body)}) {
    if (text->empty()) continue;
    ((xml += '<') += name) += '>';
    AppendXmlContent(xml, *text);
    ((xml += "</") += name) += '>';
  }
  auto stanza = ParseStanza(xml + "</message>", kClientSpace);
  if (!stanza) return;
  ground_.service.OnWorker(
      [parcel = ReadSentStanza(*stanza, job.order.sender, {}, ground_.domains).parcel](
          XmppWorker& worker) mutable { worker.Route(std::move(parcel)); });
}

}  // namespace server
