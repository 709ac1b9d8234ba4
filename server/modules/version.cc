#include "server/modules/version.h"

#include <sys/utsname.h>

#include "server/modules/guards.h"

namespace server {
namespace {

constexpr std::string_view kVersionSpace = "jabber:iq:version";

}  // namespace

void AddVersion(IqTable& table, ModuleGround&, const VersionOptions& options) {
  if (!options.enabled) return;
  std::string xml = "<query xmlns='jabber:iq:version'>";
  AppendXmlElement(xml, "name", options.name);
  AppendXmlElement(xml, "version", options.version);
  if (utsname system{}; options.show_os && uname(&system) == 0) {
    AppendXmlElement(xml, "os", std::string(system.sysname) + " " + system.release);
  }
  xml += "</query>";
  table.Add(IqTarget::kServer, "query", kVersionSpace,
            GetOnly([xml = std::move(xml)](IqCall call) { call.Result(xml); }));
  table.Feature(IqTarget::kServer, kVersionSpace);
}

}  // namespace server
