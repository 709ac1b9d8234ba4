// The node's counters for Prometheus.
#include "server/dist/dist_node.h"

namespace server {

std::string_view ToString(DistCounter counter) {
  switch (counter) {
    case DistCounter::kAccepted:
      return "accepted";
    case DistCounter::kDialed:
      return "dialed";
    case DistCounter::kHandshakes:
      return "handshakes";
    case DistCounter::kHandshakeFailed:
      return "handshake_failed";
    case DistCounter::kWrongCookie:
      return "wrong_cookie";
    case DistCounter::kNotAllowed:
      return "not_allowed";
    case DistCounter::kHandshakeTimeout:
      return "handshake_timeout";
    case DistCounter::kHandshakeShed:
      return "handshake_shed";
    case DistCounter::kLinksRefused:
      return "links_refused";
    case DistCounter::kIncompatible:
      return "incompatible";
    case DistCounter::kLinksLost:
      return "links_lost";
    case DistCounter::kTickTimeout:
      return "tick_timeout";
    case DistCounter::kFrameTooLarge:
      return "frame_too_large";
    case DistCounter::kMalformed:
      return "malformed";
    case DistCounter::kFramesIn:
      return "frames_in";
    case DistCounter::kFramesOut:
      return "frames_out";
    case DistCounter::kBytesIn:
      return "bytes_in";
    case DistCounter::kBytesOut:
      return "bytes_out";
    case DistCounter::kMessagesIn:
      return "messages_in";
    case DistCounter::kMessagesUnknown:
      return "messages_unknown";
    case DistCounter::kQueueFull:
      return "queue_full";
    case DistCounter::kRpcIn:
      return "rpc_in";
    case DistCounter::kRpcUndef:
      return "rpc_undef";
    case DistCounter::kRpcBusy:
      return "rpc_busy";
    case DistCounter::kEpmdRegistered:
      return "epmd_registered";
    case DistCounter::kEpmdLost:
      return "epmd_lost";
    case DistCounter::kCount:
      break;
  }
  return "?";
}

void DistNode::WriteMetrics(net::MetricsWriter& out) const {
  const std::vector<DistPeer> links = Links();
  out.Gauge("mongooseim_dist_links", "Nodes that are connected, erl included.")
      .Add({}, links.size());
  auto events = out.Counter("mongooseim_dist_events_total",
                            "What happened on the links between nodes, by kind.");
  for (size_t i = 0; i < static_cast<size_t>(DistCounter::kCount); ++i) {
    const auto counter = static_cast<DistCounter>(i);
    events.Add({{"event", ToString(counter)}}, Sum(counter));
  }
}

}  // namespace server
