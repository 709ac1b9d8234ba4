#include "server/modules/entity_time.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "net/base/wall_clock.h"
#include "server/modules/guards.h"
#include "server/xmpp/date_time.h"

namespace server {
namespace {

constexpr std::string_view kTimeSpace = "urn:xmpp:time";

// "+02:00", where the server stands.
std::string OffsetText(time_t at) {
  tm local{};
  if (localtime_r(&at, &local) == nullptr) return "+00:00";
  const long minutes = std::abs(local.tm_gmtoff) / 60;
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%c%02ld:%02ld", local.tm_gmtoff < 0 ? '-' : '+',
                minutes / 60, minutes % 60);
  return text.data();
}

}  // namespace

void AddEntityTime(IqTable& table, ModuleGround& ground, const EntityTimeOptions& options) {
  if (!options.enabled) return;
  table.Add(IqTarget::kServer, "time", kTimeSpace, GetOnly([&ground](IqCall call) {
              const int64_t seconds = ground.unix_us() / net::kSecondUs;
              std::string xml = "<time xmlns='urn:xmpp:time'>";
              AppendXmlElement(xml, "tzo", OffsetText(seconds));
              AppendXmlElement(xml, "utc", DateTimeText(seconds * net::kSecondUs));
              call.Result(xml += "</time>");
            }));
  table.Feature(IqTarget::kServer, kTimeSpace);
}

}  // namespace server
