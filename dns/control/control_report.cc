// What Control tells: states, explanations, counts, metrics.
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "dns/control/control.h"
#include "dns/pool/pool_sets.h"
#include "dns/zone/name_place.h"
#include "dns/zone/zone_text.h"
#include "net/report/log.h"

namespace dns {
namespace {

using Json = nlohmann::json;

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json CheckJson(const CheckConfig& config, const CheckState& state, const std::string& address) {
  Json services = Json::array();
  for (unsigned i = 0; i < kServices.size(); ++i) {
    if ((config.services >> i & 1) != 0) services.push_back(kServices[i]);
  }
  return {{"check", config.Describe()},
          {"address", address},
          {"verdict", ToString(state.verdict())},
          {"last", state.in_a_row() == 0 ? "not checked yet" : state.last().reason},
          {"ok", state.last().ok},
          {"in_a_row", state.in_a_row()},
          {"services", services}};
}

// The share of each record of a pool's set: of first places, and of all places, since the two are
// made equal (pool.h).
Json ShareJson(const PoolSet& set, const PoolConfig& pool, const std::vector<BalancerLive>& lives) {
  Json records = Json::array();
  double sum = std::accumulate(set.weights.begin(), set.weights.end(), 0.0);
  for (size_t i = 0; i < set.set.rdatas.size(); ++i) {
    const Bytes& rdata = set.set.rdatas[i];
    Json record = {{"record", ToText(Record{set.set.owner, set.set.type, set.set.ttl, rdata})},
                   {"share", set.weights[i] / sum}};
    for (size_t b = 0; b < pool.balancers.size(); ++b) {
      const auto& addresses = pool.balancers[b].addresses;
      bool is_host = !set.hosts.empty() &&
                     set.hosts[i].wire()[0] == pool.balancers[b].name.size() &&
                     set.hosts[i].ToString().starts_with(pool.balancers[b].name + ".");
      bool is_address = set.hosts.empty() && std::ranges::any_of(addresses, [&](const auto& a) {
                          return std::ranges::equal(a.ip(), rdata);
                        });
      if (!is_host && !is_address) continue;
      record["balancer"] = pool.balancers[b].name;
      record["standing"] = ToString(lives[b].standing);
      record["reason"] = lives[b].reason;
    }
    records.push_back(std::move(record));
  }
  return records;
}

// Clients choose by priority, then by weight where there is one (RFC 2782, RFC 9460 §2.4.1): the
// shares of the lowest priority.
void SetPriorityShares(const PoolSet& set, Json& records) {
  auto weight_of = [&](const Bytes& rdata) {
    return set.set.type == Type::kSrv ? Get16(rdata.data() + 2) : uint16_t{1};
  };
  uint16_t lowest = 0xffff;
  for (const Bytes& rdata : set.set.rdatas) lowest = std::min(lowest, Get16(rdata.data()));
  double sum = 0;
  for (const Bytes& rdata : set.set.rdatas) {
    if (Get16(rdata.data()) == lowest) sum += weight_of(rdata);
  }
  for (size_t i = 0; i < set.set.rdatas.size(); ++i) {
    const Bytes& rdata = set.set.rdatas[i];
    bool counts = Get16(rdata.data()) == lowest && sum > 0;
    records[i]["share"] = counts ? weight_of(rdata) / sum : 0.0;
  }
}

Json ExplainSet(const PoolSet& set, const PoolConfig& pool,
                const std::vector<BalancerLive>& lives) {
  Json records = ShareJson(set, pool, lives);
  if (!set.hosts.empty()) SetPriorityShares(set, records);
  return {{"type", TypeName(set.set.type)},
          {"ttl", set.set.ttl},
          {"records", records},
          {"answers_per_reply", set.AnswersPerReply()},
          {"all_down", set.all_down}};
}

// `plain`: the records are the network's, which ldns must not see.
Json RecordsJson(const Rrset& set, bool plain) {
  Json texts = Json::array();
  for (const Bytes& rdata : set.rdatas) {
    Record record{set.owner, set.type, set.ttl, rdata};
    texts.push_back({{"record", plain ? ToPlainText(record) : ToText(record)}});
  }
  return {{"type", TypeName(set.type)}, {"ttl", set.ttl}, {"records", texts}};
}

Json SecondaryJson(const Zone& zone, const SecondaryReport& report) {
  Json json = {{"state", report.state},         {"primary", report.primary},
               {"asking", report.asking},       {"last_error", report.last_error},
               {"transfers", report.transfers}, {"incremental", report.incremental},
               {"confirmed", report.confirmed}, {"failures", report.failures}};
  if (!zone.unavailable) {
    json["serial"] = SoaSerial(zone.names.at(zone.apex).at(Type::kSoa).rdatas[0]);
  }
  if (report.confirmed_seconds_ago) json["confirmed_seconds_ago"] = *report.confirmed_seconds_ago;
  if (report.expires_in_seconds) json["expires_in_seconds"] = *report.expires_in_seconds;
  return json;
}

}  // namespace

std::string Control::StatesJson() const {
  Json pools = Json::array();
  for (size_t p = 0; p < runtimes_.size(); ++p) {
    const PoolSettings& settings = config_->pools[p];
    Json balancers = Json::array();
    for (size_t b = 0; b < runtimes_[p].balancers.size(); ++b) {
      const BalancerHealth& health = runtimes_[p].balancers[b];
      const BalancerLive& live = lives_[p][b];
      Json checks = Json::array();
      Json addresses = Json::array();
      Json addresses_out = Json::array();
      for (size_t a = 0; a < settings.pool.balancers[b].addresses.size(); ++a) {
        std::string address = settings.pool.balancers[b].addresses[a].IpToString();
        addresses.push_back(address);
        if ((live.addresses_down >> a & 1u) != 0) addresses_out.push_back(address);
        for (size_t c = 0; c < settings.checks.size(); ++c) {
          checks.push_back(CheckJson(settings.checks[c], health.check(c, a), address));
        }
      }
      const auto& members = views_[p].addresses.members;
      auto member = std::ranges::find(members, b, &Member::balancer);
      double sum = 0;
      for (const Member& m : members) sum += m.weight;
      balancers.push_back(
          {{"name", settings.pool.balancers[b].name},
           {"addresses", addresses},
           {"addresses_out", addresses_out},
           {"standing", ToString(live.standing)},
           {"reason", live.reason},
           {"factor", live.factor},
           {"weight", settings.pool.balancers[b].weight},
           {"given_out", member != members.end()},
           {"share", member == members.end() || sum == 0 ? 0.0 : member->weight / sum},
           {"override", ToString(health.override_value())},
           {"override_by", health.override_by()},
           {"checks", checks}});
    }
    pools.push_back({{"name", settings.pool.name},
                     {"all_down", views_[p].addresses.all_down},
                     {"all_down_rule", ToString(settings.pool.all_down)},
                     {"ttl", views_[p].addresses.ttl},
                     {"balancers", balancers}});
  }
  Json peers = Json::array();
  for (const auto& [name, peer] : peers_) {
    peers.push_back({{"name", name}, {"ok", peer.error.empty()}, {"error", peer.error}});
  }
  Json zones = Json::array();
  for (const ZoneConfig& zone : config_->zones) {
    Json entry = {{"name", zone.zone->apex.ToString()},
                  {"serial", SerialOf(zone)},
                  {"signed", zone.keys != nullptr},
                  {"key_tag", zone.keys ? zone.keys->keys()[0].key->tag() : 0}};
    if (auto report = secondaries_.Report(zone.zone->apex)) {
      entry["secondary"] = SecondaryJson(*zone.zone, *report);
    }
    zones.push_back(std::move(entry));
  }
  return Dump({{"generation", publisher_->current()->id},
               {"pools", pools},
               {"peers", peers},
               {"zones", zones}});
}

std::string Control::KeysJson() const {
  uint32_t now = UnixNow();
  Json zones = Json::array();
  for (const ZoneConfig& zone : config_->zones) {
    if (!zone.keys) continue;
    Json keys = Json::array();
    for (const ZoneKey& key : zone.keys->keys()) {
      Json times = Json::object();
      auto add = [&](const char* name, const std::optional<uint32_t>& time) {
        if (time) times[name] = TimeText(*time);
      };
      add("publish", key.times.publish);
      add("activate", key.times.activate);
      add("inactive", key.times.inactive);
      add("delete", key.times.remove);
      add("sync_publish", key.times.sync_publish);
      add("sync_delete", key.times.sync_remove);
      keys.push_back({{"file", key.path},
                      {"tag", key.key->tag()},
                      {"flags", key.key->flags()},
                      {"algorithm", ToString(key.key->algorithm())},
                      {"does", zone.keys->Describe(key, now)},
                      {"times", times}});
    }
    auto next = zone.keys->NextChange(now);
    zones.push_back({{"name", zone.zone->apex.ToString()},
                     {"keys", keys},
                     {"next_change", next ? TimeText(*next) : "none"}});
  }
  return Dump({{"zones", zones}});
}

std::string Control::StatusJson() const {
  return Dump({{"program", "mongoosedns"},
               {"pid", getpid()},
               {"version", MONGOOSE_VERSION},
               {"state", stopping_  ? "stopping"
                         : started_ ? "running"
                                    : "starting"},
               {"uptime_seconds", static_cast<int64_t>(net::Seconds(loop_.now() - started_at_))},
               {"generation", publisher_->current()->id},
               {"zones", config_->zones.size()},
               {"pools", config_->pools.size()},
               {"udp_workers", serving_.udp_workers()},
               {"udp_engine", ToString(config_->udp.engine)}});
}

std::string Control::StatsJson() const {
  Totals t = serving_.Sum();
  Json rcodes = Json::object();
  for (size_t i = 0; i < t.responses.size(); ++i) {
    if (t.responses[i] != 0) rcodes[std::string(RcodeName(static_cast<Rcode>(i)))] = t.responses[i];
  }
  Json types = Json::object();
  for (size_t i = 0; i < t.types.size(); ++i) {
    types[i < kCountedTypes.size() ? TypeName(kCountedTypes[i]) : "other"] = t.types[i];
  }
  return Dump({{"queries", {{"udp", t.queries[0]}, {"tcp", t.queries[1]}, {"tls", t.queries[2]}}},
               {"responses", rcodes},
               {"types", types},
               {"dropped", t.dropped},
               {"malformed", t.malformed},
               {"truncated", t.truncated},
               {"rate_limit", {{"dropped", t.rrl_dropped}, {"slipped", t.rrl_slipped}}},
               {"cookies", {{"valid", t.cookies_valid}, {"bad", t.cookies_bad}}},
               {"tcp_clients",
                serving_.tcp_counters() != nullptr ? serving_.tcp_counters()->clients.load() : 0},
               {"signatures",
                {{"at_change", signatures_->signatures_made()},
                 {"on_demand", t.signed_on_demand},
                 {"budget_spent", t.sign_budget_spent}}},
               {"transfers",
                {{"made", t.transfers},
                 {"incremental", t.transfers_incremental},
                 {"refused", t.transfers_refused}}},
               {"health_changes", health_changes_},
               {"generation", publisher_->current()->id}});
}

std::string Control::ViewJson() const {
  Json down = Json::object();
  for (size_t p = 0; p < runtimes_.size(); ++p) {
    for (size_t b = 0; b < runtimes_[p].balancers.size(); ++b) {
      const BalancerHealth& health = runtimes_[p].balancers[b];
      bool known = false;
      for (size_t c = 0; c < health.check_count(); ++c) {
        for (size_t a = 0; a < health.address_count(); ++a) {
          known = known || health.check(c, a).verdict() != CheckState::Verdict::kUnknown;
        }
      }
      if (known) down[BalancerKey(config_->pools[p].pool, b)] = health.OwnDown();
    }
  }
  return Dump({{"down", down}});
}

void Control::TakePeerView(const std::string& name, const std::string& text) {
  PeerState& peer = peers_[name];
  auto shallow = [](int depth, Json::parse_event_t, Json&) { return depth <= 4; };
  Json json = Json::parse(text, shallow, false);
  if (!json.is_object() || !json.contains("down") || !json["down"].is_object()) {
    peer.error = "its view is not what it should be";
    return;
  }
  peer.down.clear();
  for (const auto& [key, value] : json["down"].items()) {
    if (value.is_boolean()) peer.down[key] = value.get<bool>();
  }
  peer.at = loop_.now();
  peer.error.clear();
}

std::expected<std::string, std::string> Control::ExplainJson(const std::string& name,
                                                             const std::string& if_down) const {
  auto parsed = Name::FromText(name, Name());
  if (!parsed) return std::unexpected("'" + name + "' is not a name: it " + parsed.error());
  std::vector<PoolConfig> pools = config_->PoolConfigs();
  std::vector<PoolView> changed = views_;
  std::vector<std::vector<BalancerLive>> changed_lives = lives_;
  bool found = false;
  for (size_t p = 0; p < pools.size() && !if_down.empty(); ++p) {
    for (size_t b = 0; b < pools[p].balancers.size(); ++b) {
      const auto& addresses = pools[p].balancers[b].addresses;
      bool meant = pools[p].balancers[b].name == if_down ||
                   std::ranges::any_of(
                       addresses, [&](const net::Address& a) { return a.IpToString() == if_down; });
      if (!meant) continue;
      found = true;
      changed_lives[p][b].standing = Standing::kDown;
      changed_lives[p][b].reason = "assumed for this explanation";
    }
    changed[p] = MakeView(pools[p], changed_lives[p], views_[p]);
  }
  if (!if_down.empty() && !found) {
    return std::unexpected("there is no balancer or address '" + if_down + "'");
  }
  const ZoneConfig* zone = ZoneOf(*parsed);
  if (zone == nullptr) return std::unexpected("'" + parsed->ToString() + "' is in no zone here");
  Json now = Json::array();
  Json then = Json::array();
  PoolSets sets = MakePoolSets(*zone->zone, pools, views_);
  NamePlace place = FindPlace(*zone->zone, *parsed, NamesBeside(sets));
  if (place.kind == NameKind::kAbsent) {
    return std::unexpected("'" + parsed->ToString() + "' is not a name of a zone here");
  }
  const Name& at = place.kind == NameKind::kFromWildcard ? place.source : *parsed;
  auto explain = [&](const PoolSets& given, const std::vector<std::vector<BalancerLive>>& lives,
                     Json& out) {
    auto pool_sets = given.find(at);
    if (pool_sets == given.end()) return;
    for (const auto& [type, set] : pool_sets->second) {
      out.push_back(ExplainSet(set, pools[set.pool], lives[set.pool]));
    }
  };
  explain(sets, lives_, now);
  if (!if_down.empty()) explain(MakePoolSets(*zone->zone, pools, changed), changed_lives, then);
  if (auto records = zone->zone->names.find(at); records != zone->zone->names.end()) {
    for (const auto& [type, set] : records->second) {
      now.push_back(RecordsJson(set, zone->from.has_value()));
    }
  }
  for (const Acme& acme : acme_) {
    if (acme.owner == at) now.push_back({{"type", "TXT"}, {"challenge", acme.token}});
  }
  Json json = {{"name", parsed->ToString()},
               {"zone", zone->zone->apex.ToString()},
               {"kind", ToString(place.kind)},
               {"source", place.source.ToString()},
               {"sets", now}};
  if (!if_down.empty()) {
    json["if_down"] = if_down;
    json["sets_then"] = then;
  }
  return Dump(json);
}

std::string Control::StatusLine() const {
  size_t up = 0;
  size_t all = 0;
  for (size_t p = 0; p < lives_.size(); ++p) {
    for (const BalancerLive& live : lives_[p]) {
      up += IsFit(live.standing) ? 1u : 0u;
      ++all;
    }
  }
  Totals t = serving_.Sum();
  return std::to_string(t.queries[0] + t.queries[1] + t.queries[2]) + " queries, " +
         std::to_string(up) + "/" + std::to_string(all) + " balancers, generation " +
         std::to_string(publisher_->current()->id);
}

std::string Control::AcmeJson() const {
  Json tokens = Json::array();
  for (const Acme& acme : acme_) {
    tokens.push_back(
        {{"name", acme.owner.ToString()},
         {"token", acme.token},
         {"seconds_left", std::max<int64_t>(0, (acme.until_ms - UnixNowMs()) / 1000)}});
  }
  return Dump({{"challenges", tokens}});
}

std::string Control::HandOverJson() const {
  Totals t = serving_.Sum();
  Json json = {{"state", WriteState(State())},
               {"queries", t.queries},
               {"responses", t.responses},
               {"types", t.types}};
  return Dump(json);
}

void Control::Restore(const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  if (!json.is_object()) return;
  auto saved = json.find("state");
  if (saved != json.end() && saved->is_string()) {
    auto state = ReadState(saved->get_ref<const std::string&>());
    if (state) {
      ApplyState(*state);
    } else {
      net::Log(net::LogLevel::kError, "upgrade", "what the old process knew cannot be read",
               {{"error", state.error()}});
    }
  }
  auto counts = [&](const char* key, auto& out) {
    const Json list = json.value(key, Json::array());
    for (size_t i = 0; i < out.size() && i < list.size(); ++i) {
      if (list[i].is_number_unsigned()) out[i] += list[i].template get<uint64_t>();
    }
  };
  Totals retired = serving_.retired();
  counts("queries", retired.queries);
  counts("responses", retired.responses);
  counts("types", retired.types);
  serving_.SetRetired(retired);
  for (size_t p = 0; p < runtimes_.size(); ++p) RefreshPool(p, loop_.now());
  StepSerials(AllZones());
  Republish(~uint64_t{0});
}

}  // namespace dns
