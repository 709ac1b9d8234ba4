#include "net/tls/tls_types.h"

namespace net {

std::string_view ToString(TlsState state) {
  switch (state) {
    case TlsState::kHandshaking:
      return "handshaking";
    case TlsState::kOpen:
      return "open";
    case TlsState::kPeerClosed:
      return "peer closed";
    case TlsState::kFailed:
      return "failed";
  }
  return "?";
}

std::string_view ToString(TlsDriver driver) {
  switch (driver) {
    case TlsDriver::kOwnHandshake:
      return "own handshake";
    case TlsDriver::kOpenSsl:
      return "OpenSSL";
    case TlsDriver::kRecords:
      return "records";
  }
  return "?";
}

std::string_view ToString(TlsTakeOver reason) {
  switch (reason) {
    case TlsTakeOver::kPending:
      return "pending";
    case TlsTakeOver::kTaken:
      return "taken";
    case TlsTakeOver::kOff:
      return "off";
    case TlsTakeOver::kNotTls13:
      return "not_tls13";
    case TlsTakeOver::kNotFinished:
      return "not_finished";
    case TlsTakeOver::kInputPending:
      return "input_pending";
    case TlsTakeOver::kKeyUpdate:
      return "key_update";
    case TlsTakeOver::kShutdown:
      return "shutdown";
    case TlsTakeOver::kEarlyData:
      return "early_data";
    case TlsTakeOver::kUnknownSuite:
      return "unknown_suite";
    case TlsTakeOver::kNoSecrets:
      return "no_secrets";
    case TlsTakeOver::kSequenceMismatch:
      return "sequence_mismatch";
    case TlsTakeOver::kNoResources:
      return "no_resources";
  }
  return "?";
}

}  // namespace net
