// Zone transfers in: asks a zone's primaries, one after the other, for what is new (IXFR, RFC
// 1995), or for all of it (AXFR, RFC 5936), over TCP, with TSIG where there is a key, and keeps a
// copy.
//
// A pull has a thread of its own, which waits and parses: the control thread goes on, however large
// the zone and slow the primary are. kPullsMax at a time. Each wait has a deadline, and a pull has
// one as a whole. Results come on the loop; none comes after Stop() or the destructor, which wait
// for the threads' next look at the sign to end.
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "dns/tsig/tsig_key.h"
#include "dns/zone/zone.h"
#include "net/base/address.h"
#include "net/io/event_loop.h"
#include "net/io/socket.h"

namespace dns {

constexpr size_t kPullsMax = 4;

struct PullLimits {
  net::Duration connect = std::chrono::seconds(10);
  net::Duration idle = std::chrono::seconds(30);  // between two messages
  net::Duration whole = std::chrono::minutes(30);
};

struct PullRequest {
  Name apex;
  std::vector<net::Address> primaries;
  std::optional<net::Address> source;  // the address that we ask from
  std::shared_ptr<const TsigKeys> keys;
  std::optional<Name> key;
  std::shared_ptr<const Zone> known;  // null: all of it is asked for
  size_t size_max = 0;
  std::string copy;  // where it is kept
  PullLimits limits;
};

struct PullResult {
  std::vector<std::string> errors;   // a primary that failed, each with its address
  bool done = false;                 // one did not
  std::shared_ptr<const Zone> zone;  // null: ours is up to date
  uint64_t content = 0;              // of the zone (digest.h)
  bool incremental = false;
  size_t bytes = 0;
  std::string primary;     // who has answered
  std::string copy_error;  // the copy could not be written
};

// The query: IXFR with the SOA that we have, or AXFR. Pure.
Bytes MakeTransferQuery(const Name& apex, uint16_t id, const Zone* known);

class Puller {
 public:
  using Done = std::move_only_function<void(PullResult)>;

  explicit Puller(net::EventLoop& loop) : loop_(loop) {}
  ~Puller() { Stop(); }

  bool full() const { return running_.size() >= kPullsMax; }
  // Not while full().
  void Start(PullRequest request, Done done);
  void Stop();

 private:
  struct Running {
    std::thread thread;
    net::UniqueFd stop;  // an eventfd
  };

  net::EventLoop& loop_;
  std::list<Running> running_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dns
