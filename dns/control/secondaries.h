// The zones that we have from other primaries: when each is asked for again (RefreshTimer), who may
// tell us of changes (RFC 1996), and what is to be served of each now.
//
// On the control loop. The pulls run beside it (Puller). What they bring, and expiries, are changes
// that wait here until the owner takes them into a build (TakeChanges), so that a zone is never
// served in an older version than it was. Nothing is called after the destructor.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dns/config/config.h"
#include "dns/serve/zone_pull.h"
#include "dns/tsig/tsig.h"
#include "dns/zone/refresh_timer.h"
#include "net/io/event_loop.h"

namespace dns {

// What ctl and metrics tell of one.
struct SecondaryReport {
  std::string state;  // "fresh", "loading", "expired"
  std::string primary;
  std::optional<double> confirmed_seconds_ago;
  std::optional<double> expires_in_seconds;
  std::string last_error;
  uint64_t transfers = 0;  // that brought something
  uint64_t incremental = 0;
  uint64_t confirmed = 0;  // "ours is up to date"
  uint64_t failures = 0;
  bool asking = false;
};

class Secondaries {
 public:
  // `changed`: there is something to take.
  Secondaries(net::EventLoop& loop, std::function<void()> changed);
  ~Secondaries();

  // The configuration that holds from now on. What is known of a zone goes on.
  void Configure(const Config& config);
  // From here on primaries are asked.
  void Start();
  void Stop();

  // A NOTIFY: with what rcode it is answered; the zone is asked for.
  Rcode Notified(const Name& apex, const net::Address& client, const Name* signed_with);
  // The operator's word: asks now; `whole`: for all of it, whatever we have. "" or why not.
  std::string Refresh(const std::string& zone, bool whole);

  // What is served of it has changed.
  struct Change {
    Name apex;
    std::shared_ptr<const Zone> zone;
    uint64_t content = 0;
  };
  bool has_changes() const;
  std::vector<Change> TakeChanges();

  std::optional<SecondaryReport> Report(const Name& apex) const;
  uint64_t notified() const { return notified_; }
  uint64_t notify_refused() const { return notify_refused_; }

 private:
  struct Entry {
    PrimaryConfig config;
    std::shared_ptr<const TsigKeys> keys;
    RefreshTimer timer;
    std::shared_ptr<const Zone> data;  // the newest, also when it has expired
    uint64_t content = 0;
    bool served = false;  // else it is SERVFAIL
    bool changed = false;
    bool whole = false;  // ask for all of it
    bool asking = false;
    uint64_t life = 0;  // tells a pull of an entry that is gone
    SecondaryReport report;
  };
  void Look();
  void Arm();
  void Ask(const Name& apex, Entry& entry);
  void Take(const Name& apex, uint64_t life, PullResult result);

  net::EventLoop& loop_;
  std::function<void()> changed_;
  std::map<Name, Entry> entries_;
  std::unique_ptr<Puller> puller_;
  net::EventLoop::TimerId timer_{};
  bool armed_ = false;
  uint64_t lives_ = 0;
  uint64_t notified_ = 0;
  uint64_t notify_refused_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dns
