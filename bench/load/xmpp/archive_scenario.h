// Sessions that read their archives (XEP-0313) page by page from the newest on, one page under way
// at a time; at the oldest one they begin anew.
#pragma once

#include "bench/load/xmpp/traffic_scenarios.h"

namespace bench {

class ArchiveScenario final : public TrafficScenario {
 public:
  using TrafficScenario::TrafficScenario;
  void OnElement(XmppEngine& engine, Session& session, std::string_view element) override;

 protected:
  void Start(XmppEngine& engine, std::int64_t intended_ns) override;
  void StartAll(XmppEngine& engine) override;
  std::size_t Expire(XmppEngine& engine, std::int64_t older_than_ns) override;

 private:
  struct Reader {
    std::uint64_t number = 0;  // of the query that is or was under way
    bool under_way = false;
    std::int64_t intended_ns = 0;
    std::string before;  // the oldest of the last page; empty: begin at the newest
  };
  void Ask(XmppEngine& engine, Session& session, std::int64_t intended_ns);

  std::vector<Reader> readers_;
  std::size_t turn_ = 0;
};

}  // namespace bench
