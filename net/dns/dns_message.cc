#include "net/dns/dns_message.h"

#include <arpa/nameser.h>
#include <netinet/in.h>
#include <resolv.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

namespace net {
namespace {

constexpr size_t kHeaderSize = 12;
constexpr uint16_t kEdnsPayload = 1232;
constexpr size_t kCnamesMax = 8;
constexpr uint32_t kTtlMax = 7 * 86'400;

void Put16(std::vector<uint8_t>& out, uint16_t value) {
  out.push_back(static_cast<uint8_t>(value >> 8));
  out.push_back(static_cast<uint8_t>(value));
}

uint16_t Get16(std::span<const uint8_t> bytes, size_t at) {
  return static_cast<uint16_t>((bytes[at] << 8) | bytes[at + 1]);
}

// Names are compared and kept in lower case, without a dot at the end.
std::string Plain(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  std::string out(name);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  }
  return out;
}

bool PutName(std::vector<uint8_t>& out, std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  constexpr size_t kNameMax = 253;
  constexpr size_t kLabelMax = 63;
  if (name.empty() || name.size() > kNameMax) return false;
  while (!name.empty()) {
    size_t dot = std::min(name.find('.'), name.size());
    if (dot == 0 || dot > kLabelMax || dot + 1 == name.size()) return false;
    out.push_back(static_cast<uint8_t>(dot));
    out.insert(out.end(), name.begin(), name.begin() + static_cast<ptrdiff_t>(dot));
    name.remove_prefix(std::min(dot + 1, name.size()));
  }
  out.push_back(0);
  return true;
}

std::optional<std::string> NameAt(const ns_msg& message, const uint8_t* at) {
  std::array<char, NS_MAXDNAME> text{};
  int size =
      ns_name_uncompress(ns_msg_base(message), ns_msg_end(message), at, text.data(), text.size());
  if (size < 0) return std::nullopt;
  return Plain(text.data());
}

DnsFailure FailureOf(int rcode) {
  switch (rcode) {
    case ns_r_nxdomain:
      return DnsFailure::kNoSuchName;
    case ns_r_refused:
      return DnsFailure::kRefused;
    default:
      return DnsFailure::kServerFailure;
  }
}

bool SaysNoService(const ns_rr& rr) {
  constexpr size_t kFixed = 6;
  return ns_rr_type(rr) == ns_t_srv && ns_rr_rdlen(rr) == kFixed + 1 &&
         ns_rr_rdata(rr)[kFixed] == 0;
}

// Adds one record of the type asked for. False: it cannot be used.
bool AddRecord(const ns_msg& message, const ns_rr& rr, DnsType type, DnsAnswer& out) {
  std::span<const uint8_t> data(ns_rr_rdata(rr), ns_rr_rdlen(rr));
  if (type == DnsType::kSrv) {
    constexpr size_t kFixed = 6;
    if (data.size() <= kFixed) return false;
    auto target = NameAt(message, data.data() + kFixed);
    if (!target || !IsHostName(*target)) return false;  // "." says: no such service
    DnsService service{.priority = Get16(data, 0),
                       .weight = Get16(data, 2),
                       .port = Get16(data, 4),
                       .target = std::move(*target)};
    if (service.port == 0) return false;
    out.services.push_back(std::move(service));
    return true;
  }
  Address address;
  if (type == DnsType::kA && data.size() == 4) {
    address = Address::V4({data[0], data[1], data[2], data[3]}, 0);
  } else if (type == DnsType::kAaaa && data.size() == 16) {
    std::array<uint8_t, 16> ip{};
    std::ranges::copy(data, ip.begin());
    address = Address::V6(ip, 0);
  } else {
    return false;
  }
  if (address.IsUnspecified()) return false;
  out.addresses.push_back(address);
  return true;
}

}  // namespace

std::string_view DnsTypeName(DnsType type) {
  switch (type) {
    case DnsType::kA:
      return "A";
    case DnsType::kAaaa:
      return "AAAA";
    case DnsType::kSrv:
      return "SRV";
  }
  return "?";
}

std::string_view DnsFailureName(DnsFailure failure) {
  switch (failure) {
    case DnsFailure::kNoSuchName:
      return "no such name";
    case DnsFailure::kNoRecords:
      return "no records of that type";
    case DnsFailure::kNoService:
      return "the domain offers no such service";
    case DnsFailure::kServerFailure:
      return "server failure";
    case DnsFailure::kRefused:
      return "refused";
    case DnsFailure::kGarbage:
      return "answer cannot be parsed";
    case DnsFailure::kTimeout:
      return "timeout";
    case DnsFailure::kUnreachable:
      return "resolver unreachable";
    case DnsFailure::kStopped:
      return "stopped";
    case DnsFailure::kBadName:
      return "name cannot be asked for";
    case DnsFailure::kNoResolver:
      return "no resolver configured";
  }
  return "?";
}

std::expected<std::vector<uint8_t>, DnsFailure> BuildDnsQuery(const DnsQuestion& question,
                                                              uint16_t id) {
  std::vector<uint8_t> out;
  Put16(out, id);
  Put16(out, 0x0100);  // a query; recursion desired
  Put16(out, 1);       // one question
  Put16(out, 0);
  Put16(out, 0);
  Put16(out, 1);  // EDNS
  if (!PutName(out, question.name)) return std::unexpected(DnsFailure::kBadName);
  Put16(out, static_cast<uint16_t>(question.type));
  Put16(out, ns_c_in);
  out.push_back(0);  // OPT at the root (RFC 6891)
  Put16(out, ns_t_opt);
  Put16(out, kEdnsPayload);
  Put16(out, 0);
  Put16(out, 0);
  Put16(out, 0);
  return out;
}

bool AnswersDnsQuery(std::span<const uint8_t> message, const DnsQuestion& question, uint16_t id) {
  constexpr uint16_t kQr = 0x8000;
  constexpr uint16_t kOpcode = 0x7800;
  if (message.size() < kHeaderSize || message.size() > kDnsMessageMax) return false;
  if (Get16(message, 0) != id || Get16(message, 4) != 1) return false;
  uint16_t flags = Get16(message, 2);
  if ((flags & kQr) == 0 || (flags & kOpcode) != 0) return false;
  // The question stands right behind the header, uncompressed; only its case may differ.
  std::vector<uint8_t> name;
  if (!PutName(name, question.name)) return false;
  if (message.size() < kHeaderSize + name.size() + 4) return false;
  auto lower = [](uint8_t c) {
    return c >= 'A' && c <= 'Z' ? static_cast<uint8_t>(c + ('a' - 'A')) : c;
  };
  if (!std::ranges::equal(message.subspan(kHeaderSize, name.size()), name, {}, lower, lower)) {
    return false;
  }
  size_t at = kHeaderSize + name.size();
  return Get16(message, at) == static_cast<uint16_t>(question.type) &&
         Get16(message, at + 2) == ns_c_in;
}

bool IsDnsTruncated(std::span<const uint8_t> message) {
  constexpr uint16_t kTc = 0x0200;
  return message.size() >= kHeaderSize && (Get16(message, 2) & kTc) != 0;
}

std::expected<DnsAnswer, DnsFailure> ParseDnsAnswer(std::span<const uint8_t> bytes,
                                                    const DnsQuestion& question) {
  if (bytes.size() < kHeaderSize || bytes.size() > kDnsMessageMax) {
    return std::unexpected(DnsFailure::kGarbage);
  }
  ns_msg message{};
  if (ns_initparse(bytes.data(), static_cast<int>(bytes.size()), &message) != 0) {
    return std::unexpected(DnsFailure::kGarbage);
  }
  if (int rcode = ns_msg_getflag(message, ns_f_rcode); rcode != ns_r_noerror) {
    return std::unexpected(FailureOf(rcode));
  }
  DnsAnswer out;
  std::string owner = Plain(question.name);
  size_t cnames = 0;
  bool no_service = false;
  uint32_t ttl = kTtlMax;
  size_t count = std::min<size_t>(ns_msg_count(message, ns_s_an), kDnsRecordsMax);
  out.ignored = ns_msg_count(message, ns_s_an) - count;
  for (size_t i = 0; i < count; ++i) {
    ns_rr rr{};
    if (ns_parserr(&message, ns_s_an, static_cast<int>(i), &rr) != 0) {
      return std::unexpected(DnsFailure::kGarbage);
    }
    bool ours = ns_rr_class(rr) == ns_c_in && Plain(ns_rr_name(rr)) == owner;
    bool used = false;
    if (ours && ns_rr_type(rr) == ns_t_cname) {
      auto target = NameAt(message, ns_rr_rdata(rr));
      if (!target || ++cnames > kCnamesMax) return std::unexpected(DnsFailure::kGarbage);
      owner = std::move(*target);
      used = true;
    } else if (ours && ns_rr_type(rr) == static_cast<uint16_t>(question.type)) {
      used = AddRecord(message, rr, question.type, out);
      no_service |= SaysNoService(rr);
    }
    if (used) {
      ttl = std::min(ttl, static_cast<uint32_t>(ns_rr_ttl(rr)));
    } else {
      ++out.ignored;
    }
  }
  std::ranges::sort(out.addresses);
  auto repeated = std::ranges::unique(out.addresses);
  out.addresses.erase(repeated.begin(), repeated.end());
  if (out.addresses.empty() && out.services.empty()) {
    return std::unexpected(no_service ? DnsFailure::kNoService : DnsFailure::kNoRecords);
  }
  out.ttl = std::chrono::seconds(ttl);
  return out;
}

}  // namespace net
