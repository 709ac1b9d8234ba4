#include "server/modules/ping.h"

#include "server/modules/guards.h"

namespace server {
namespace {

constexpr std::string_view kPingSpace = "urn:xmpp:ping";

}  // namespace

void AddPing(IqTable& table, ModuleGround&, const PingOptions& options) {
  if (!options.enabled) return;
  const IqHandler pong = GetOnly([](IqCall call) { call.Result(); });
  table.Add(IqTarget::kServer, "ping", kPingSpace, pong);
  table.Add(IqTarget::kAccount, "ping", kPingSpace, SeenOnly(pong));
  table.Feature(IqTarget::kServer, kPingSpace);
  table.Feature(IqTarget::kAccount, kPingSpace);
}

}  // namespace server
