// Dynamic updates (RFC 2136), limited to what ACME's DNS-01 needs: TXT records at _acme-challenge
// names (RFC 8555 §8.4), as lego and certbot's plug-in send them.
//
// Pure: bytes in, values out. Bounded: kUpdateRecordsMax records, names as wire/message.h
// reads them. Whoever calls has checked the TSIG, and takes it off first.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "dns/wire/name.h"
#include "dns/wire/wire.h"

namespace dns {

constexpr size_t kUpdateRecordsMax = 64;
constexpr uint16_t kClassNone = 254;

// RFC 2136 §2.2.
enum class UpdateRcode : uint8_t {
  kNoError = 0,
  kFormErr = 1,
  kServFail = 2,
  kNxDomain = 3,
  kNotImp = 4,
  kRefused = 5,
  kYxDomain = 6,
  kYxRrset = 7,
  kNxRrset = 8,
  kNotAuth = 9,
  kNotZone = 10,
};

struct UpdateRecord {
  Name owner;
  Type type = Type::kA;
  uint16_t rclass = 0;
  uint32_t ttl = 0;
  Bytes rdata;  // as it came: names in it are not read
};

struct Update {
  uint16_t id = 0;
  Name zone;
  size_t question_end = 0;  // of the zone section, which the response repeats
  std::vector<UpdateRecord> prerequisites;
  std::vector<UpdateRecord> changes;
};

// Additional records are stepped over (an OPT, say).
std::expected<Update, UpdateRcode> ParseUpdate(ByteView message);

// One change of a challenge.
struct ChallengeChange {
  enum class Kind { kAdd, kRemoveOne, kRemoveAll };
  Kind kind = Kind::kAdd;
  Name owner;
  std::string token;  // not of kRemoveAll

  bool operator==(const ChallengeChange&) const = default;
};

// The tokens at a name now.
using TokensAt = std::function<std::vector<std::string>(const Name&)>;

// Checks the prerequisites (§3.2) and what is to be changed (§3.4), in order. All of it, or an
// error.
std::expected<std::vector<ChallengeChange>, UpdateRcode> JudgeUpdate(const Update& update,
                                                                     const TokensAt& tokens_at);

// A primary says that its zone has changed (RFC 1996). What else it says, its SOA say, is not read:
// the primary is asked.
struct Notify {
  Name zone;
  size_t question_end = 0;
};
std::optional<Notify> ParseNotify(ByteView message);

// The response to either: header, with the opcode that was asked, and question.
Bytes MakeOrderResponse(ByteView message, size_t question_end, UpdateRcode rcode);

}  // namespace dns
