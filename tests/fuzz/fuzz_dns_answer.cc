// Whatever a resolver answers: no crash, bounded, and nothing that a node could not be made of.
#include <cstddef>
#include <cstdint>
#include <span>

#include "lb/dns_message.h"
#include "net/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::span<const uint8_t> message(data, size);
  for (lb::DnsType type : {lb::DnsType::kA, lb::DnsType::kAaaa, lb::DnsType::kSrv}) {
    lb::DnsQuestion question{"x.example", type};
    lb::AnswersDnsQuery(message, question, 7);
    lb::IsDnsTruncated(message);
    auto answer = lb::ParseDnsAnswer(message, question);
    if (!answer) continue;
    CHECK(!answer->addresses.empty() || !answer->services.empty());
    CHECK(answer->addresses.size() + answer->services.size() <= lb::kDnsRecordsMax);
    for (const auto& address : answer->addresses) {
      CHECK(address && !address.IsUnspecified());
      CHECK((type == lb::DnsType::kA) == (address.family() == net::AddressFamily::kIpv4));
    }
    for (const auto& service : answer->services) {
      CHECK(service.port != 0 && net::IsHostName(service.target));
    }
  }
  return 0;
}
