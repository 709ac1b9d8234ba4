// The little of DNS that discovery needs: a question as bytes, and the records of its answer
// (RFC 1035; SRV: RFC 2782). The balancer asks resolvers that it is configured to trust; what comes
// back is parsed as if it came from anybody: bounded, and copied out.
//
// Pure; any thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "net/base/address.h"

namespace net {

// Records of an answer that are looked at; further ones are ignored.
inline constexpr size_t kDnsRecordsMax = 1024;
inline constexpr size_t kDnsMessageMax = 65'535;

enum class DnsType : uint16_t { kA = 1, kAaaa = 28, kSrv = 33 };
std::string_view DnsTypeName(DnsType type);

struct DnsQuestion {
  std::string name;
  DnsType type = DnsType::kA;
};

struct DnsService {
  uint16_t priority = 0;
  uint16_t weight = 0;
  uint16_t port = 0;
  std::string target;  // without a dot at the end, lower case

  bool operator==(const DnsService&) const = default;
};

struct DnsAnswer {
  std::vector<Address> addresses;  // port 0; sorted, each once
  std::vector<DnsService> services;
  std::chrono::seconds ttl{0};  // the smallest of what was used
  size_t ignored = 0;  // records that cannot be used: other names, 0.0.0.0, bad targets, too many
};

enum class DnsFailure : uint8_t {
  kNoSuchName,     // NXDOMAIN
  kNoRecords,      // the name exists, but has none of that type
  kNoService,      // an SRV record that says so (RFC 2782: a target of ".")
  kServerFailure,  // SERVFAIL and the like
  kRefused,
  kGarbage,      // an answer to the question that cannot be parsed
  kTimeout,      // no answer
  kUnreachable,  // nobody listens there, or there is no way
  kStopped,      // we do not want to know any more
  kBadName,      // the name cannot be asked for
  kNoResolver,   // none is configured
};
std::string_view DnsFailureName(DnsFailure failure);  // "no such name", "timeout", ...

// A recursive query with EDNS. kBadName: a label or the name is too long or empty.
std::expected<std::vector<uint8_t>, DnsFailure> BuildDnsQuery(const DnsQuestion& question,
                                                              uint16_t id);

// Is this the answer to that query (id, question)? What is not is no error: it is not for us.
bool AnswersDnsQuery(std::span<const uint8_t> message, const DnsQuestion& question, uint16_t id);
// The answer did not fit; ask again over TCP.
bool IsDnsTruncated(std::span<const uint8_t> message);

// Follows the CNAMEs of the answer section.
std::expected<DnsAnswer, DnsFailure> ParseDnsAnswer(std::span<const uint8_t> message,
                                                    const DnsQuestion& question);

}  // namespace net
