#include "bench/load/xmpp/archive_scenario.h"

#include "bench/load/xmpp/xml_view.h"

namespace bench {

void ArchiveScenario::StartAll(XmppEngine& engine) {
  for (Session& session : engine.Sessions()) Ask(engine, session, MonotonicNs());
}

void ArchiveScenario::Start(XmppEngine& engine, std::int64_t intended_ns) {
  Session& session = engine.Sessions()[turn_++ % engine.Sessions().size()];
  if (session.index < readers_.size() && readers_[session.index].under_way) {
    ++engine.Out().shed;  // it reads more slowly than it was asked to
    return;
  }
  Ask(engine, session, intended_ns);
}

void ArchiveScenario::Ask(XmppEngine& engine, Session& session, std::int64_t intended_ns) {
  readers_.resize(engine.Sessions().size());
  Reader& reader = readers_[session.index];
  reader.under_way = true;
  reader.intended_ns = intended_ns;
  if (engine.Measuring()) ++engine.Out().started;
  std::string out = "<iq type='set' id='page";
  out.append(std::to_string(++reader.number))
      .append("'><query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><max>")
      .append(std::to_string(options_.page))
      .append("</max><before>")
      .append(reader.before)
      .append("</before></set></query></iq>");
  engine.Send(session, out);
}

void ArchiveScenario::OnElement(XmppEngine& engine, Session& session, std::string_view element) {
  if (session.index >= readers_.size() || element.size() < 3) return;
  Reader& reader = readers_[session.index];
  if (element[1] == 'm') {
    if (engine.Measuring() && Contains(element, "urn:xmpp:mam:2")) ++engine.Out().deliveries;
    return;
  }
  if (!reader.under_way || Attribute(element, "id") != "page" + std::to_string(reader.number)) {
    return;
  }
  reader.under_way = false;
  if (Attribute(element, "type") != "result") {
    engine.CountFailure(FailReason::kRefused, element);
  } else {
    // Behind the last page there would be an empty one.
    const bool last =
        Contains(element, "complete='true'") || Contains(element, "complete=\"true\"");
    reader.before = last ? std::string_view() : ChildText(element, "first");
    Completed(engine, reader.intended_ns);
  }
  if (Going()) Ask(engine, session, MonotonicNs());
}

std::size_t ArchiveScenario::Expire(XmppEngine& engine, std::int64_t older_than_ns) {
  std::size_t left = 0;
  for (Reader& reader : readers_) {
    if (reader.under_way && reader.intended_ns < older_than_ns) {
      reader.under_way = false;
      engine.CountFailure(FailReason::kTimeout);
    }
    if (reader.under_way) ++left;
  }
  return left;
}

}  // namespace bench
