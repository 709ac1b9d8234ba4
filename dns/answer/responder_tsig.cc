// Queries that are signed with a key of ours (RFC 8945 §5.2, §5.3).
#include <algorithm>

#include "dns/answer/responder.h"

namespace dns {
namespace {

// What the rate limiter counts these responses as.
constexpr uint64_t kTsigErrorResponse = 6;
constexpr uint16_t kFlagsKept = 0x7900;  // opcode and RD of the query

// The header and the question of the query, as a response.
size_t WriteError(const Query& query, std::span<const uint8_t> packet, std::span<uint8_t> out,
                  Rcode rcode) {
  size_t size = query.question_end();
  std::copy_n(packet.begin(), size, out.begin());
  Put16(out.data() + 2, 0x8000u | (query.flags & kFlagsKept) | static_cast<unsigned>(rcode));
  Put16(out.data() + 6, 0);
  Put16(out.data() + 8, 0);
  Put16(out.data() + 10, 0);
  return size;
}

}  // namespace

Reply Responder::RespondSigned(const Generation& generation, const Client& client,
                               std::span<const uint8_t> packet, std::span<uint8_t> out,
                               const Now& now) {
  tsig_ = CheckTsig(packet, config_.tsig_keys, now.unix_seconds);
  if (!tsig_.good()) {
    bool malformed = tsig_.verdict == TsigCheck::Verdict::kFormErr;
    rcode_ = malformed ? Rcode::kFormErr : Rcode::kNotAuth;
    (malformed ? counters_.malformed : counters_.tsig_refused).Add();
    counters_.responses[static_cast<size_t>(rcode_)].Add();
    // Whoever sends wrong signatures from a spoofed address gets no more than it sent.
    Reply reply;
    if (client.transport == Transport::kUdp &&
        limiter_.Check(client.address, kTsigErrorResponse, now.ms) != RateVerdict::kSend) {
      counters_.rrl_dropped.Add();
      return reply;
    }
    reply.size = WriteError(query_, packet, out, rcode_);
    if (!malformed) reply.size = SignResponse(tsig_, out, reply.size, now.unix_seconds);
    return reply;
  }
  tsig_packet_.assign(packet.begin(),
                      packet.begin() + static_cast<std::ptrdiff_t>(tsig_.record.offset));
  Put16(tsig_packet_.data() + 10, Get16(tsig_packet_.data() + 10) - 1u);
  counters_.tsig_good.Add();
  tsig_room_ = TsigBytes(tsig_);
  Reply reply = Respond(generation, client, tsig_packet_, out, now);
  tsig_room_ = 0;
  if (reply.size > 0) reply.size = SignResponse(tsig_, out, reply.size, now.unix_seconds);
  return reply;
}

}  // namespace dns
