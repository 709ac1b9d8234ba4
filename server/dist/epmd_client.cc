#include "server/dist/epmd_client.h"

#include <utility>

#include "server/dist/host_lookup.h"

namespace server {

net::Address LoopbackAddress(bool ipv6, uint16_t port) {
  return *net::Address::FromIp(ipv6 ? "::1" : "127.0.0.1", port);
}

EpmdConnection::EpmdConnection(net::EventLoop& loop, const net::Address& epmd, TermBuffer question,
                               AnswerHandler on_answer, EndHandler on_end)
    : name_(epmd.ToSocketName()),
      question_(std::move(question)),
      on_answer_(std::move(on_answer)),
      on_end_(std::move(on_end)),
      stream_(net::Stream::Connect(loop, name_.get(), name_.size(), this)) {}

EpmdConnection::~EpmdConnection() { stream_->Abort(); }

void EpmdConnection::OnConnected() { stream_->Write(std::span<const uint8_t>(question_)); }

void EpmdConnection::OnData(std::span<const uint8_t> data) {
  if (answered_) return;  // epmd says nothing more; whatever else does is let be
  if (answer_.size() + data.size() > kEpmdAnswerMax) return Ended("the answer is too long");
  answer_.insert(answer_.end(), data.begin(), data.end());
  answered_ = true;  // before the call, which may destroy this
  std::vector<uint8_t> answer = answer_;
  std::weak_ptr<net::Stream> stream = stream_;
  AnswerHandler on_answer = on_answer_;
  const bool whole = on_answer(answer);
  if (!whole && !stream.expired() && stream.lock()->open()) answered_ = false;
}

void EpmdConnection::Ended(std::string_view why) {
  stream_->Abort();
  EndHandler on_end = std::exchange(on_end_, nullptr);
  if (on_end) on_end(why);
}

EpmdRegistrar::EpmdRegistrar(net::EventLoop& loop, SideThread& side, EpmdOptions options,
                             Identity identity)
    : loop_(loop), side_(side), options_(std::move(options)), identity_(std::move(identity)) {}

EpmdRegistrar::~EpmdRegistrar() {
  *alive_ = false;
  loop_.CancelTimer(timer_);
}

void EpmdRegistrar::Start(Registered registered, Failed failed) {
  on_registered_ = std::move(registered);
  on_failed_ = std::move(failed);
  Attempt();
}

void EpmdRegistrar::Attempt() {
  ++attempts_;
  loop_.CancelTimer(timer_);
  TermBuffer question;
  PutEpmdRegister(&question, identity_.alive, identity_.port, identity_.visible);
  connection_ = std::make_unique<EpmdConnection>(
      loop_, LoopbackAddress(identity_.ipv6, options_.port), std::move(question),
      [this](std::span<const uint8_t> answer) { return OnAnswer(answer); },
      [this](std::string_view why) { OnLost(why); });
  timer_ = loop_.After(kAnswerTime, [this] {
    if (!registered_now_) OnLost("epmd does not answer");
  });
}

bool EpmdRegistrar::OnAnswer(std::span<const uint8_t> answer) {
  auto creation = ReadEpmdRegistered(answer);
  if (creation) {
    loop_.CancelTimer(timer_);
    registered_now_ = true;
    ever_registered_ = true;
    start_tried_ = false;
    retry_ = kRetry;
    on_registered_(*creation);
    return true;
  }
  const std::string where = "epmd at port " + std::to_string(options_.port);
  switch (creation.error()) {
    case EpmdError::kMore:
      return false;
    case EpmdError::kTaken:
      Fail("the name " + identity_.alive + " seems to be in use by another Erlang node (" + where +
               ")",
           "stop that node, or give this one another name; `epmd -names` lists them", true);
      return true;
    default:
      Fail("what answers at port " + std::to_string(options_.port) + " is no epmd",
           "stop it, or set ERL_EPMD_PORT on all nodes to a port where epmd can listen", true);
      return true;
  }
}

void EpmdRegistrar::OnLost(std::string_view why) {
  const bool was = std::exchange(registered_now_, false);
  const std::string reason(why);
  loop_.CancelTimer(timer_);
  if (was) Fail("epmd is gone: " + reason, "", false);
  if (options_.start && !start_tried_) {
    start_tried_ = true;
    side_.Run([this, alive = alive_, options = options_, interface = identity_.interface] {
      auto started = StartEpmd(options, interface);
      return net::Task([this, alive, started = std::move(started)] {
        if (!*alive) return;
        if (!started) return Fail("epmd: " + started.error(), "", true);
        Attempt();
      });
    });
    return;
  }
  if (!ever_registered_ && (attempts_ >= kFirstAttempts || !options_.start)) {
    return Fail("epmd cannot be reached at port " + std::to_string(options_.port) + ": " + reason,
                options_.start ? "look whether something keeps epmd from listening there"
                               : "start it (`epmd -daemon`), or set ERL_DIST_PORT",
                true);
  }
  RetryLater();
}

void EpmdRegistrar::Fail(std::string what, std::string remedy, bool final) {
  Failed failed = on_failed_;
  failed({std::move(what), std::move(remedy)});
  if (final && ever_registered_) RetryLater();
}

void EpmdRegistrar::RetryLater() {
  // epmd may be down for a moment only; after a while it is started again.
  if (retry_ >= kRetryMax) start_tried_ = false;
  loop_.CancelTimer(timer_);
  timer_ = loop_.After(retry_, [this] { Attempt(); });
  if (ever_registered_) retry_ = std::min(2 * retry_, kRetryMax);
}

}  // namespace server
