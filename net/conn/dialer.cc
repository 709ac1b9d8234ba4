#include "net/conn/dialer.h"

#include <algorithm>
#include <array>
#include <deque>
#include <utility>

#include "net/base/check.h"

namespace net {

std::string_view DialErrorName(DialError error) {
  static constexpr std::array<std::string_view, 7> kNames = {
      "no_service", "lookup", "no_address", "connect", "timeout", "no_resources", "too_many"};
  return kNames[static_cast<size_t>(error)];
}

// One that is under way. Kept by the Dialer, by its timer's weak pointer not, and by each attempt
// until that has ended: an attempt that lost may outlive it.
class Dialer::One final : public std::enable_shared_from_this<One> {
 public:
  One(Dialer& dialer, DialTarget target, ConnTls tls, ConnHost& host, Done done)
      : dialer_(&dialer),
        loop_(dialer.worker_.event_loop()),
        target_(std::move(target)),
        tls_(std::move(tls)),
        host_(host),
        done_(std::move(done)),
        race_(dialer.options_.race, loop_.now()) {}

  void Begin() {
    SetTimer();
    if (target_.service.empty()) {
      targets_.push_back({.port = target_.port, .target = target_.domain});
      NextTarget();
      return;
    }
    dialer_->lookup_.FindServices(target_.service + "." + target_.domain,
                                  [weak = weak_from_this()](auto services) {
                                    if (auto one = weak.lock())
                                      one->OnServices(std::move(services));
                                  });
  }

  // Nothing is told any more.
  void Abandon() {
    const auto keep = shared_from_this();
    dialer_ = nullptr;
    done_ = nullptr;
    EndAttempts();
    StopTimer();
  }

 private:
  // A connection that may win. It owns itself until its end is told.
  struct Attempt final : ConnHost {
    Attempt(std::shared_ptr<One> o, const Address& a) : one(std::move(o)), address(a) {}
    void OnOpen(Conn& conn, std::unique_ptr<TlsFacts> facts) override {
      const std::unique_ptr<Attempt> self(this);  // the Conn has another host from here on
      one->OnWon(*this, conn, std::move(facts));
    }
    void OnBytes(Conn&, std::span<uint8_t>) override {}
    void OnEnd(Conn&, PeerEnd) override {}
    void OnClosed(Conn&, const Ended& ended) override {
      const std::unique_ptr<Attempt> self(this);
      one->OnLost(*this, ended);
    }
    const std::shared_ptr<One> one;
    const Address address;
    Conn* mine = nullptr;
  };

  bool over() const { return dialer_ == nullptr || ended_; }

  void OnServices(DialLookup::Services services) {
    if (over()) return;
    if (services.has_value() && !services->empty()) {
      for (DnsService& one : OrderServices(std::move(*services), &dialer_->random_)) {
        targets_.push_back(std::move(one));
      }
    } else if (services.has_value() || services.error() == DnsFailure::kNoSuchName ||
               services.error() == DnsFailure::kNoRecords) {
      // RFC 6120 section 3.2.2: the domain itself.
      targets_.push_back({.port = target_.port, .target = target_.domain});
    } else {
      const bool none = !services.has_value() && services.error() == DnsFailure::kNoService;
      Fail(none ? DialError::kNoService : DialError::kLookup,
           target_.service + "." + target_.domain + ": " +
               std::string(DnsFailureName(services.error())));
      return;
    }
    NextTarget();
  }

  void NextTarget() {
    if (targets_.empty()) {
      if (tried_) {
        Fail(DialError::kConnect, last_text_);
      } else {
        Fail(last_text_.empty() ? DialError::kNoAddress : DialError::kLookup, last_text_);
      }
      return;
    }
    const DnsService next = std::move(targets_.front());
    targets_.pop_front();
    if (const auto literal = Address::FromIp(next.target, next.port)) {
      OnAddresses(next, std::vector<Address>{*literal});
      return;
    }
    looking_ = true;
    dialer_->lookup_.FindAddresses(next.target, [weak = weak_from_this(), next](auto addresses) {
      if (auto one = weak.lock()) one->OnAddresses(next, std::move(addresses));
    });
  }

  void OnAddresses(const DnsService& target, DialLookup::Addresses addresses) {
    looking_ = false;
    if (over()) return;
    if (!addresses.has_value()) {
      last_text_ = target.target + ": " + addresses.error();
    } else {
      std::vector<Address> mixed = Interleave(*addresses);
      for (Address& address : mixed) address = address.WithPort(target.port);
      race_.Add(mixed);
    }
    GoOn();
  }

  // Begins what may begin; ends when nothing is left.
  void GoOn() {
    while (const auto address = race_.Begin(loop_.now())) {
      tried_ = true;
      auto attempt = std::make_unique<Attempt>(shared_from_this(), *address);
      Conn* conn = dialer_->worker_.Connect(address->ToSocketName(), *attempt, tls_);
      if (conn == nullptr) {
        Fail(DialError::kNoResources, "no socket is left for " + address->ToString());
        return;
      }
      attempt->mine = conn;
      attempts_.insert(attempt.release());
    }
    if (race_.exhausted() && !looking_) {
      NextTarget();
      return;
    }
    SetTimer();
  }

  void OnWon(Attempt& attempt, Conn& conn, std::unique_ptr<TlsFacts> facts) {
    attempts_.erase(&attempt);
    if (over()) {
      // (Its end is nobody's.)
      conn.set_host(nobody_);
      conn.End(EndReason::kShut);
      return;
    }
    const auto keep = shared_from_this();
    ended_ = true;
    EndAttempts();
    StopTimer();
    conn.set_host(host_);
    Done done = std::exchange(done_, nullptr);
    dialer_->Drop(keep);
    done(&conn);
    if (conn.state() == Conn::State::kOpen) host_.OnOpen(conn, std::move(facts));
  }

  void OnLost(Attempt& attempt, const Ended& ended) {
    attempts_.erase(&attempt);
    if (over()) return;
    last_ = ended;
    last_text_ = attempt.address.ToString() + ": " + ended.Text();
    race_.Failed(loop_.now());
    GoOn();
  }

  void OnTimer() {
    timer_set_ = false;
    if (over()) return;
    if (race_.over(loop_.now())) {
      Fail(DialError::kTimeout, last_text_.empty() ? target_.domain : last_text_);
    } else {
      GoOn();
    }
  }

  void Fail(DialError error, std::string what) {
    if (over()) return;
    const auto keep = shared_from_this();
    ended_ = true;
    EndAttempts();
    StopTimer();
    // Not from within Dial().
    loop_.Post([keep, failure = DialFailure{
                          .error = error, .what = std::move(what), .last = last_}]() mutable {
      if (keep->dialer_ == nullptr) return;
      Done done = std::exchange(keep->done_, nullptr);
      keep->dialer_->Drop(keep);
      done(std::unexpected(std::move(failure)));
    });
  }

  // Who has won is none of them any more.
  void EndAttempts() {
    for (Attempt* attempt : std::exchange(attempts_, {})) attempt->mine->End(EndReason::kShut);
  }

  void SetTimer() {
    StopTimer();
    timer_set_ = true;
    timer_ = loop_.After(std::max(Duration::zero(), race_.wake() - loop_.now()),
                         [weak = weak_from_this()] {
                           if (auto one = weak.lock()) one->OnTimer();
                         });
  }
  void StopTimer() {
    if (std::exchange(timer_set_, false)) loop_.CancelTimer(timer_);
  }

  struct Nobody final : ConnHost {
    void OnOpen(Conn&, std::unique_ptr<TlsFacts>) override {}
    void OnBytes(Conn&, std::span<uint8_t>) override {}
    void OnEnd(Conn&, PeerEnd) override {}
    void OnClosed(Conn&, const Ended&) override {}
  };
  static inline Nobody nobody_;

  Dialer* dialer_;  // null: it has gone
  EventLoop& loop_;
  const DialTarget target_;
  const ConnTls tls_;
  ConnHost& host_;
  Done done_;
  bool ended_ = false;  // by a winner, or none: nothing else counts
  DialRace race_;
  std::deque<DnsService> targets_;
  std::set<Attempt*> attempts_;
  bool looking_ = false;
  bool tried_ = false;
  Ended last_;
  std::string last_text_;
  EventLoop::TimerId timer_{};
  bool timer_set_ = false;
};

Dialer::Dialer(ConnWorker& worker, DialLookup& lookup, const Options& options)
    : worker_(worker), lookup_(lookup), options_(options), random_(options.seed) {}

Dialer::~Dialer() {
  for (const auto& one : std::exchange(dials_, {})) one->Abandon();
}

void Dialer::Dial(const DialTarget& target, const ConnTls& tls, ConnHost& host, Done done) {
  if (dials_.size() >= options_.dials_max) {
    worker_.event_loop().Post([done = std::move(done), domain = target.domain]() mutable {
      done(std::unexpected(DialFailure{.error = DialError::kTooMany, .what = std::move(domain)}));
    });
    return;
  }
  auto one = std::make_shared<One>(*this, target, tls, host, std::move(done));
  dials_.insert(one);
  one->Begin();
}

}  // namespace net
