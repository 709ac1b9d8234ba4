// Connects to a name: its SRV records, their targets' addresses in both families, and the first
// that answers (RFC 6120 section 3.2, RFC 8305).
//
//   dialer.Dial({.domain = "example.org", .service = "_xmpp-server._tcp", .port = 5269}, tls, host,
//               [](std::expected<Conn*, DialFailure> result) { ... });
//
// Targets are tried in their order, one after the other; the addresses of one in a race. With TLS
// the race is won by who has shaken hands. The winner's host hears OnOpen() behind the answer; the
// others are closed.
//
// Thread: the worker's. The Dialer is destroyed before its worker is, and not from within an
// answer; what it was asked and has not answered is dropped then, without a word.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "net/conn/conn_worker.h"
#include "net/conn/dial_plan.h"
#include "net/dns/dns_message.h"

namespace net {

// Where names are looked up; a test's own, or DnsDialLookup. Answers on the loop's thread, never
// from within the call.
class DialLookup {
 public:
  virtual ~DialLookup() = default;
  using Services = std::expected<std::vector<DnsService>, DnsFailure>;
  using Addresses = std::expected<std::vector<Address>, std::string>;  // of both families, port 0
  virtual void FindServices(const std::string& name,
                            std::move_only_function<void(Services)> done) = 0;
  virtual void FindAddresses(const std::string& host,
                             std::move_only_function<void(Addresses)> done) = 0;
};

struct DialTarget {
  std::string domain;   // or a host, without a service
  std::string service;  // "_xmpp-server._tcp"; "" to go to the host at once
  uint16_t port = 0;    // where there are no SRV records
};

enum class DialError : uint8_t {
  kNoService,  // the domain says that it has none (RFC 2782: a target of ".")
  kLookup,     // its names could not be looked up
  kNoAddress,  // there is none
  kConnect,    // none of its addresses took us: `last` says why
  kTimeout,
  kNoResources,  // ours
  kTooMany,      // attempts_max
};
std::string_view DialErrorName(DialError error);

struct DialFailure {
  DialError error{};
  std::string what;  // for the log: which name, which address
  Ended last;        // of kConnect
};

class Dialer {
 public:
  struct Options {
    DialRace::Options race;
    size_t dials_max = 1024;  // at once
    uint64_t seed = 1;
  };
  using Done = std::move_only_function<void(std::expected<Conn*, DialFailure>)>;

  Dialer(ConnWorker& worker, DialLookup& lookup, const Options& options);
  ~Dialer();
  Dialer(const Dialer&) = delete;
  Dialer& operator=(const Dialer&) = delete;

  // `done` is called once, never from here.
  void Dial(const DialTarget& target, const ConnTls& tls, ConnHost& host, Done done);
  size_t under_way() const { return dials_.size(); }

 private:
  class One;
  void Drop(const std::shared_ptr<One>& one) { dials_.erase(one); }

  ConnWorker& worker_;
  DialLookup& lookup_;
  const Options options_;
  FastRandom random_;
  std::set<std::shared_ptr<One>> dials_;
};

}  // namespace net
