// Whatever a resolver answers: no crash, bounded, and nothing that a node could not be made of.
#include <cstddef>
#include <cstdint>
#include <span>

#include "net/base/check.h"
#include "net/dns/dns_message.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::span<const uint8_t> message(data, size);
  for (net::DnsType type : {net::DnsType::kA, net::DnsType::kAaaa, net::DnsType::kSrv}) {
    net::DnsQuestion question{"x.example", type};
    net::AnswersDnsQuery(message, question, 7);
    net::IsDnsTruncated(message);
    auto answer = net::ParseDnsAnswer(message, question);
    if (!answer) continue;
    CHECK(!answer->addresses.empty() || !answer->services.empty());
    CHECK(answer->addresses.size() + answer->services.size() <= net::kDnsRecordsMax);
    for (const auto& address : answer->addresses) {
      CHECK(address && !address.IsUnspecified());
      CHECK((type == net::DnsType::kA) == (address.family() == net::AddressFamily::kIpv4));
    }
    for (const auto& service : answer->services) {
      CHECK(service.port != 0 && net::IsHostName(service.target));
    }
  }
  return 0;
}
