// Whatever clients say to a room, and to the service of rooms: presences, messages, administrators'
// and owners' IQs. A line a stanza; its first character says who sends it. All that comes of it can
// be read, each stanza of a client is done with once, an IQ that asks has one answer.
#include <cstdint>
#include <string>
#include <string_view>

#include "net/base/check.h"
#include "tests/server/muc/muc_world.h"

namespace {

using namespace server;

constexpr const char* kClients[] = {"alice/pc", "bob/desk", "carol/web"};
constexpr size_t kLinesMax = 64;

// A room that stays, with its owner and somebody; carol is outside.
void Begin(MucWorld& world) {
  for (const char* name : {"alice", "bob", "carol"}) world.Account(name);
  for (const char* client : kClients) {
    world.Connect(client);
    world.Send(client, "<presence/>");
  }
  const std::string x = "<x xmlns='http://jabber.org/protocol/muc'/>";
  world.Send("alice/pc", "<presence to='room@rooms.a.example/first'>" + x + "</presence>");
  world.Send("alice/pc",
             "<iq type='set' id='c' to='room@rooms.a.example'>"
             "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' "
             "type='submit'><field var='FORM_TYPE'><value>"
             "http://jabber.org/protocol/muc#roomconfig</value></field>"
             "<field var='muc#roomconfig_persistentroom'><value>1</value></field></x></query></iq>");
  world.Send("bob/desk", "<presence to='room@rooms.a.example/second'>" + x + "</presence>");
}

bool IsStanza(const XmlElement& element) {
  return element.space() == kClientSpace &&
         (element.name() == "message" || element.name() == "presence" || element.name() == "iq");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  MucWorld world;
  Begin(world);
  std::string told = "<all>";
  world.on_delivered = [&told](const World::Client&, const std::string& xml) { told += xml; };
  for (size_t lines = 0; lines < kLinesMax && !input.empty(); ++lines) {
    const size_t end = std::min(input.find('\n'), input.size());
    const std::string_view line = input.substr(0, end);
    input.remove_prefix(std::min(end + 1, input.size()));
    if (line.empty()) continue;
    const char* client = kClients[static_cast<uint8_t>(line[0]) % 3];
    const std::string xml(line.substr(1));
    const auto stanza = ParseStanza(xml, kClientSpace);
    if (!stanza || !IsStanza(stanza->root())) continue;
    world.Send(client, xml);
  }
  world.TickRooms();
  CHECK(ParseStanza(told + "</all>", kClientSpace).has_value());
  world.ForEachClient([](const World::Client& client) { CHECK(client.settled_twice == 0); });
  return 0;
}
