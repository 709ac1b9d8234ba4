#include "net/conn/end_reason.h"

#include <array>

#include "net/io/errors.h"

namespace net {
namespace {

struct ReasonRow {
  EndReason reason;
  EndBy by;
  std::string_view name;
  std::string_view text;
};

// In the order of the enum.
constexpr std::array<ReasonRow, kEndReasons> kReasonRows = {{
    {EndReason::kNone, EndBy::kUs, "none", "not ended"},
    {EndReason::kPeerClosed, EndBy::kPeer, "peer_closed", "the peer closed the connection"},
    {EndReason::kPeerTruncated, EndBy::kPeer, "peer_truncated",
     "the peer closed the connection without TLS's good-bye"},
    {EndReason::kPeerReset, EndBy::kPeer, "peer_reset", "the peer's socket failed"},
    {EndReason::kPeerTlsFailed, EndBy::kPeer, "peer_tls_failed", "the TLS handshake failed"},
    {EndReason::kPeerTlsError, EndBy::kPeer, "peer_tls_error", "TLS failed"},
    {EndReason::kPeerSlow, EndBy::kPeer, "peer_slow", "the peer does not read what it is sent"},
    {EndReason::kHandshakeTimeout, EndBy::kPeer, "handshake_timeout",
     "the peer did not finish its TLS handshake in time"},
    {EndReason::kLingerTimeout, EndBy::kPeer, "linger_timeout",
     "the peer did not take our last words in time"},
    {EndReason::kConnectFailed, EndBy::kPeer, "connect_failed", "the connection was not taken"},
    {EndReason::kConnectTimeout, EndBy::kPeer, "connect_timeout",
     "the peer did not answer in time"},
    {EndReason::kClosed, EndBy::kUs, "closed", "we closed the connection"},
    {EndReason::kIdle, EndBy::kUs, "idle", "nothing was said for too long"},
    {EndReason::kRefused, EndBy::kUs, "refused", "a limit or a rule refused it"},
    {EndReason::kShut, EndBy::kUs, "shut", "an operator shut it"},
    {EndReason::kDrained, EndBy::kUs, "drained", "the time of a drain was over"},
    {EndReason::kNoResources, EndBy::kLack, "no_resources",
     "we had no memory, socket or port left"},
    {EndReason::kHandshakesFull, EndBy::kLack, "handshakes_full",
     "too many connections wait for their TLS handshake"},
}};

constexpr bool ReasonsInOrder() {
  for (size_t i = 0; i < kReasonRows.size(); ++i) {
    if (static_cast<size_t>(kReasonRows[i].reason) != i) return false;
  }
  return true;
}
static_assert(ReasonsInOrder());

const ReasonRow& RowOf(EndReason reason) { return kReasonRows[static_cast<size_t>(reason)]; }

}  // namespace

std::string_view EndReasonName(EndReason reason) { return RowOf(reason).name; }
std::string_view EndReasonText(EndReason reason) { return RowOf(reason).text; }
EndBy EndedBy(EndReason reason) { return RowOf(reason).by; }

std::string_view EndByName(EndBy by) {
  static constexpr std::array<std::string_view, 3> kNames = {"peer", "us", "lack"};
  return kNames[static_cast<size_t>(by)];
}

std::string_view EndWhenName(EndWhen when) {
  static constexpr std::array<std::string_view, kEndWhens> kNames = {"connecting", "handshake",
                                                                     "open", "ending"};
  return kNames[static_cast<size_t>(when)];
}

std::string Ended::Text() const {
  std::string text(EndReasonText(reason));
  text += " while ";
  text += EndWhenName(when);
  if (error != 0) {
    text += " (";
    text += ErrnoName(error);
    text += ")";
  }
  return text;
}

}  // namespace net
