#include "server/modules/last_activity.h"

#include <algorithm>
#include <chrono>

#include "net/base/wall_clock.h"
#include "server/modules/guards.h"
#include "server/xmpp/xml_text.h"

namespace server {
namespace {

constexpr std::string_view kLastSpace = "jabber:iq:last";

std::string LastXml(int64_t seconds, std::string_view status) {
  std::string xml = "<query xmlns='jabber:iq:last'";
  AppendXmlAttribute(xml, "seconds", std::to_string(std::max<int64_t>(seconds, 0)));
  if (status.empty()) return xml += "/>";
  xml += '>';
  AppendXmlContent(xml, status);
  return xml += "</query>";
}

void AnswerOfAccount(ModuleGround& ground, IqCall call) {
  if (call.account().available() > 0) return call.Result(LastXml(0, {}));
  std::string user = call.account().user().full();
  ground.store.Last(std::move(user), [&ground, call = std::move(call)](
                                         std::expected<LastActivity, StoreError> last) mutable {
    if (last) {
      return call.Result(LastXml(ground.unix_us() / net::kSecondUs - last->seconds, last->status));
    }
    if (last.error() == StoreError::kAbsent) return call.Error(StanzaError::kServiceUnavailable);
    call.StoreFailed(last.error());
  });
}

}  // namespace

void AddLastActivity(IqTable& table, ModuleGround& ground, const LastActivityOptions& options) {
  if (!options.enabled) return;
  table.Add(IqTarget::kServer, "query", kLastSpace,
            GetOnly([&ground, start = ground.clock.Now()](IqCall call) {
              using std::chrono::duration_cast;
              using std::chrono::seconds;
              call.Result(LastXml(duration_cast<seconds>(ground.clock.Now() - start).count(), {}));
            }));
  table.Add(IqTarget::kAccount, "query", kLastSpace,
            SeenOnly(GetOnly([&ground](IqCall call) { AnswerOfAccount(ground, std::move(call)); }),
                     StanzaError::kForbidden));
  table.Feature(IqTarget::kServer, kLastSpace);
  table.Feature(IqTarget::kAccount, kLastSpace);
}

}  // namespace server
