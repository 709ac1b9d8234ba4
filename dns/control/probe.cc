#include "dns/control/probe.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "dns/answer/random.h"
#include "dns/serve/now.h"
#include "net/base/text.h"
#include "net/conn/channel.h"
#include "net/http/http.h"
#include "net/report/log.h"

namespace dns {
namespace {

std::string Milliseconds(net::Duration d) {
  auto us = std::chrono::duration_cast<std::chrono::microseconds>(d).count();
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.1f ms", static_cast<double>(us) / 1000.0);
  return text.data();
}

constexpr net::Duration kRetry = std::chrono::milliseconds(20);
constexpr net::Duration kLogInterval = std::chrono::seconds(30);

}  // namespace

bool IsOurFault(std::string_view why) {
  // No local port, no memory, no descriptor, no route from here for this family of addresses.
  constexpr std::array kOurs = {EADDRNOTAVAIL, EMFILE,      ENFILE,       ENOBUFS,
                                ENOMEM,        ENETUNREACH, EAFNOSUPPORT, ENETDOWN};
  return std::ranges::any_of(kOurs, [&](int error) { return why == std::strerror(error); });
}

CheckResult JudgeHttp(const CheckConfig& config, int status, const std::string& body) {
  if (status != config.expect_status) {
    return {false, "HTTP status " + std::to_string(status), std::nullopt};
  }
  if (config.type != CheckType::kStatus) {
    return {true, "HTTP status " + std::to_string(status), std::nullopt};
  }
  auto read = ReadStatus(body);
  if (!read) return {false, read.error(), std::nullopt};
  std::string text = "it says " + std::string(ToString(read->state)) + ", " +
                     std::to_string(read->nodes_up) + " of " + std::to_string(read->nodes_total) +
                     " nodes";
  bool ok = read->state != BalancerStatus::State::kStarting;
  if (read->nodes_total > 0 && read->nodes_up < config.nodes_up_min) ok = false;
  return {ok, text, *read};
}

StreamVerdict JudgeStream(std::string_view received, std::string* reason) {
  if (received.find("<stream:error") != std::string_view::npos ||
      received.find("<error") != std::string_view::npos) {
    *reason = "stream error";
    return StreamVerdict::kBad;
  }
  if (received.find("<stream:features") != std::string_view::npos ||
      received.find("<features") != std::string_view::npos) {
    *reason = "stream features";
    return StreamVerdict::kGood;
  }
  // The first bytes that are not white space must be those of an XML declaration or a stream.
  size_t start = received.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos) return StreamVerdict::kMore;
  std::string_view text = received.substr(start);
  constexpr std::array<std::string_view, 2> kOpenings = {"<?xml", "<stream:stream"};
  for (std::string_view opening : kOpenings) {
    size_t size = std::min(text.size(), opening.size());
    if (text.substr(0, size) == opening.substr(0, size)) return StreamVerdict::kMore;
  }
  *reason = "no XMPP stream but " + net::Quoted(text.substr(0, 24));
  return StreamVerdict::kBad;
}

std::expected<ProbeTls, std::string> ProbeTls::Create() {
  auto worker = net::TlsWorker::Create();
  if (!worker) return std::unexpected(worker.error());
  net::TlsClientOptions options;
  options.verify = false;
  options.sessions_max = 0;
  auto context = net::TlsClientContext::Create(options);
  if (!context) return std::unexpected("TLS for checks is not to be had");
  return ProbeTls{std::move(*worker), *context};
}

class ProbeHandle {
 public:
  virtual ~ProbeHandle() = default;
};

namespace {

// The part that all probes have: a channel, a deadline, and one result.
class Probe : public ProbeHandle,
              public net::ChannelHandler,
              public std::enable_shared_from_this<Probe> {
 public:
  Probe(net::EventLoop& loop, net::Duration timeout) : loop_(loop), started_(loop.now()) {
    timer_ = loop_.After(timeout, [this, timeout] {
      Finish(false,
             (open_ ? "no answer within " : "no connection within ") + Milliseconds(timeout));
    });
  }
  ~Probe() override {
    if (!finished_) loop_.CancelTimer(timer_);
  }

  void Connect(const net::Address& address, net::TlsEnginePtr tls) {
    channel_ = std::make_unique<net::Channel>(loop_, address, std::move(tls), this);
  }

 protected:
  virtual void Report(bool ok, std::string reason) = 0;
  virtual void Begin() = 0;
  virtual void Take(std::string_view bytes) = 0;
  // The peer ended; a response without length may be complete now.
  virtual void AtEnd() { Finish(false, "closed before it answered"); }

  void Finish(bool ok, std::string reason) {
    if (finished_) return;
    finished_ = true;
    loop_.CancelTimer(timer_);
    if (channel_) channel_->Abort();
    // Out of the callback that we may be in; we live until then.
    loop_.Post(
        [self = shared_from_this(), ok, reason = std::move(reason)] { self->Report(ok, reason); });
  }
  std::string Took() const { return Milliseconds(loop_.now() - started_); }

  std::unique_ptr<net::Channel> channel_;

 private:
  void OnOpen() override {
    open_ = true;
    if (!finished_) Begin();
  }
  void OnBytes(std::span<const uint8_t> bytes) override {
    received_ += bytes.size();
    if (finished_) return;
    if (received_ > kProbeBytesMax) {
      Finish(false, "answered with more than " + std::to_string(kProbeBytesMax) + " bytes");
      return;
    }
    Take({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  void OnEnd() override {
    if (!finished_) AtEnd();
  }
  void OnClosed(std::string_view why) override {
    if (!finished_) Finish(false, why.empty() ? "closed" : std::string(why));
  }

  net::EventLoop& loop_;
  net::Time started_;
  net::EventLoop::TimerId timer_;
  bool open_ = false;
  bool finished_ = false;
  size_t received_ = 0;
};

class CheckProbe final : public Probe {
 public:
  CheckProbe(net::EventLoop& loop, const CheckConfig& config, const net::Address& address,
             ProbeDone done)
      : Probe(loop, config.timeout),
        config_(config),
        address_(address),
        done_(std::move(done)),
        parser_(kProbeBytesMax) {}

 private:
  void Begin() override {
    switch (config_.type) {
      case CheckType::kTcp:
        Finish(true, "connected in " + Took());
        return;
      case CheckType::kXmpp:
        channel_->Write("<?xml version='1.0'?><stream:stream xmlns='" +
                        net::EscapeMarkup(config_.xmlns) +
                        "' xmlns:stream='http://etherx.jabber.org/streams' to='" +
                        net::EscapeMarkup(config_.to) + "' version='1.0'>");
        return;
      case CheckType::kStatus:
      case CheckType::kHttp:
      case CheckType::kHttps:
        net::HttpClientRequest request;
        request.target = config_.path;
        request.host = config_.host.empty() ? address_.ToString() : config_.host;
        channel_->Write(net::SerializeRequest(request));
        return;
    }
  }
  void Take(std::string_view bytes) override {
    if (config_.type == CheckType::kXmpp) {
      text_ += bytes;
      std::string reason;
      StreamVerdict verdict = JudgeStream(text_, &reason);
      if (verdict == StreamVerdict::kMore) return;
      bool good = verdict == StreamVerdict::kGood;
      if (good) channel_->Write("</stream:stream>");
      Finish(good, good ? reason + " in " + Took() : reason);
      return;
    }
    auto complete = parser_.Feed(bytes);
    if (!complete) {
      Finish(false, std::string(net::ToString(complete.error())));
    } else if (*complete) {
      FinishHttp();
    }
  }
  void AtEnd() override {
    bool http = config_.type != CheckType::kXmpp && config_.type != CheckType::kTcp;
    if (http && parser_.Eof()) {
      FinishHttp();
    } else {
      Probe::AtEnd();
    }
  }
  void FinishHttp() {
    CheckResult result = JudgeHttp(config_, parser_.reply().status, parser_.reply().body);
    status_ = result.status;
    Finish(result.ok, result.reason + " in " + Took());
  }
  void Report(bool ok, std::string reason) override {
    bool not_made = !ok && IsOurFault(reason);
    done_({ok, std::move(reason), status_, not_made});
  }

  CheckConfig config_;
  net::Address address_;
  ProbeDone done_;
  net::HttpResponseParser parser_;
  std::string text_;
  std::optional<BalancerStatus> status_;
};

class FetchProbe final : public Probe {
 public:
  FetchProbe(net::EventLoop& loop, net::HttpClientRequest request, net::Duration timeout,
             FetchDone done)
      : Probe(loop, timeout),
        request_(std::move(request)),
        done_(std::move(done)),
        parser_(1 << 20) {}

 private:
  void Begin() override { channel_->Write(net::SerializeRequest(request_)); }
  void Take(std::string_view bytes) override {
    auto complete = parser_.Feed(bytes);
    if (!complete) {
      Finish(false, std::string(net::ToString(complete.error())));
    } else if (*complete) {
      Finish(true, "");
    }
  }
  void AtEnd() override {
    if (parser_.Eof()) {
      Finish(true, "");
    } else {
      Probe::AtEnd();
    }
  }
  void Report(bool ok, std::string reason) override {
    if (ok) {
      done_(parser_.reply());
    } else {
      done_(std::unexpected(std::move(reason)));
    }
  }

  net::HttpClientRequest request_;
  FetchDone done_;
  net::HttpResponseParser parser_;
};

}  // namespace

std::shared_ptr<ProbeHandle> StartProbe(net::EventLoop& loop, ProbeTls& tls,
                                        const CheckConfig& config, const net::Address& address,
                                        ProbeDone done) {
  auto probe = std::make_shared<CheckProbe>(loop, config, address, std::move(done));
  net::TlsEnginePtr engine;
  if (config.type == CheckType::kHttps || (config.type == CheckType::kXmpp && config.tls)) {
    net::TlsPeer peer;
    peer.server_name = config.type == CheckType::kXmpp ? config.to : config.host;
    engine = tls.worker->NewClient(tls.context, peer);
  }
  probe->Connect(address, std::move(engine));
  return probe;
}

std::shared_ptr<ProbeHandle> StartFetch(net::EventLoop& loop, const net::Address& address,
                                        net::HttpClientRequest request, net::Duration timeout,
                                        FetchDone done) {
  request.host = address.ToString();
  auto probe = std::make_shared<FetchProbe>(loop, std::move(request), timeout, std::move(done));
  probe->Connect(address, nullptr);
  return probe;
}

struct Prober::Slot {
  Target target;
  std::shared_ptr<ProbeHandle> running;
};

Prober::Prober(net::EventLoop& loop, ProbeTls& tls, OnResult on_result, IsChanging is_changing)
    : loop_(loop),
      tls_(tls),
      on_result_(std::move(on_result)),
      is_changing_(std::move(is_changing)),
      jitter_(SystemSeed()) {}

Prober::~Prober() { *alive_ = false; }

void Prober::SetTargets(std::vector<Target> targets) {
  ++round_;
  slots_.clear();
  waiting_.clear();
  running_ = 0;
  for (Target& target : targets) slots_.push_back({std::move(target), nullptr});
  Random random(++jitter_);
  for (size_t i = 0; i < slots_.size(); ++i) {
    // Spread the first ones a little: all at once they would look like an attack.
    Schedule(i, std::chrono::milliseconds(random.Below(100)));
  }
}

void Prober::Schedule(size_t index, net::Duration after) {
  loop_.After(after, [this, index, round = round_, alive = alive_] {
    if (*alive && round == round_) Run(index);
  });
}

bool Prober::HasRoom() const {
  return running_ < kProbesMax && loop_.ring().free_slots() > kSlotsKept;
}

void Prober::Run(size_t index) {
  if (waiting_.empty() && HasRoom()) {
    Start(index);
    return;
  }
  waiting_.push_back(index);
  StartWaiting();
}

void Prober::StartWaiting() {
  while (!waiting_.empty() && HasRoom()) {
    size_t index = waiting_.front();
    waiting_.pop_front();
    Start(index);
  }
  if (waiting_.empty() || retry_armed_) return;
  // A socket's place becomes free some turns after its check has ended.
  retry_armed_ = true;
  loop_.After(kRetry, [this, alive = alive_] {
    if (!*alive) return;
    retry_armed_ = false;
    StartWaiting();
  });
}

void Prober::Start(size_t index) {
  Slot& slot = slots_[index];
  ++started_;
  ++running_;
  net::Address address = slot.target.address.WithPort(slot.target.config.port);
  slot.running = StartProbe(loop_, tls_, slot.target.config, address,
                            [this, index, round = round_, alive = alive_](CheckResult result) {
                              if (*alive && round == round_) Done(index, std::move(result));
                            });
}

void Prober::Done(size_t index, CheckResult result) {
  --running_;
  const Target target = slots_[index].target;
  slots_[index].running.reset();
  if (result.not_made) {
    ++not_made_;
    if (not_made_ == 1 || loop_.now() - not_made_logged_ > kLogInterval) {
      not_made_logged_ = loop_.now();
      net::Log(net::LogLevel::kWarn, "health", "checks are not made, for want of something of ours",
               {{"address", target.address.IpToString()},
                {"reason", result.reason},
                {"so_far", not_made_}});
    }
  }
  uint64_t round = round_;
  on_result_(target, std::move(result));
  if (round != round_) return;  // the result led to a reload
  net::Duration interval =
      is_changing_(target) ? target.config.fast_interval : target.config.interval;
  Random random(++jitter_);
  auto tenth = static_cast<uint64_t>(interval.count() / 5) + 1;
  Schedule(index,
           interval - interval / 10 + net::Duration(static_cast<int64_t>(random.Below(tenth))));
  StartWaiting();
}

}  // namespace dns
