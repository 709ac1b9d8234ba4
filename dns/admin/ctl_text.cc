#include "dns/admin/ctl_text.h"

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace dns {
namespace {

using Json = nlohmann::ordered_json;
using net::ForTerminal;
using net::TextColour;
using net::TextStyle;
using net::TextTable;

Json ParseOrEmpty(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  return json.is_object() ? json : Json::object();
}

// Values of a server of another version may be missing: then "-", 0 and false.
const Json* Get(const Json& json, const char* key) {
  if (!json.is_object()) return nullptr;
  auto it = json.find(key);
  return it == json.end() ? nullptr : &*it;
}

std::string Shown(const Json& json, const char* key) {
  const Json* value = Get(json, key);
  if (value == nullptr) return "-";
  return ForTerminal(value->is_string() ? value->get<std::string>() : value->dump());
}

double Number(const Json& json, const char* key) {
  const Json* value = Get(json, key);
  return value != nullptr && value->is_number() ? value->get<double>() : 0;
}

bool Flag(const Json& json, const char* key) {
  const Json* value = Get(json, key);
  return value != nullptr && value->is_boolean() && value->get<bool>();
}

const Json& Array(const Json& json, const char* key) {
  static const Json kEmpty = Json::array();
  const Json* value = Get(json, key);
  return value != nullptr && value->is_array() ? *value : kEmpty;
}

std::string Percent(double share) {
  std::array<char, 400> text{};
  std::snprintf(text.data(), text.size(), "%.1f%%", 100 * share);
  return text.data();
}

std::string Whole(double value) {
  std::array<char, 400> text{};
  std::snprintf(text.data(), text.size(), "%.0f", value);
  return text.data();
}

TextColour ColourOf(const std::string& standing) {
  if (standing == "up") return TextColour::kGood;
  return standing.ends_with("down") ? TextColour::kBad : TextColour::kWarn;
}

std::string StatesText(const Json& states, const TextStyle& style) {
  std::string text;
  for (const Json& pool : Array(states, "pools")) {
    text += "pool " + Shown(pool, "name") + "  ttl " + Shown(pool, "ttl") +
            (Flag(pool, "all_down") ? net::Painted("  ALL DOWN", TextColour::kBad, style) : "") +
            "\n";
    TextTable table(
        {{"  BALANCER"}, {"STANDING"}, {"SHARE", TextColour::kNone, true}, {"OUT"}, {"WHY"}});
    for (const Json& balancer : Array(pool, "balancers")) {
      const std::string standing = Shown(balancer, "standing");
      table.Add({{"  " + Shown(balancer, "name")},
                 {standing, ColourOf(standing)},
                 {Percent(Number(balancer, "share")), TextColour::kNone, true},
                 {Flag(balancer, "given_out") ? "yes" : "no"},
                 {Shown(balancer, "reason")}});
    }
    text += table.Text(style);
  }
  for (const Json& zone : Array(states, "zones")) {
    const Json* from = Get(zone, "secondary");
    if (from == nullptr) continue;
    const std::string state = Shown(*from, "state");
    text += "zone " + Shown(zone, "name") + "  " +
            net::Painted(state, state == "fresh" ? TextColour::kGood : TextColour::kBad, style) +
            "  serial " + Shown(*from, "serial") + "  from " + Shown(*from, "primary") +
            "  confirmed " + Whole(Number(*from, "confirmed_seconds_ago")) + " s ago" +
            (Shown(*from, "last_error").empty() ? "" : "  " + Shown(*from, "last_error")) + "\n";
  }
  for (const Json& peer : Array(states, "peers")) {
    text += "peer " + Shown(peer, "name") + ": " +
            (Flag(peer, "ok") ? "ok" : Shown(peer, "error")) + "\n";
  }
  return text;
}

std::string SetsText(const Json& sets, const TextStyle& style) {
  std::string text;
  for (const Json& set : sets) {
    text += "  " + Shown(set, "type") + "  ttl " + Shown(set, "ttl") +
            (Flag(set, "all_down") ? "  (all are down: the pool's rule decided)" : "") + "\n";
    TextTable table({{"    RECORD"}, {"SHARE", TextColour::kNone, true}, {"WHY"}});
    for (const Json& record : Array(set, "records")) {
      const bool judged = Get(record, "standing") != nullptr;
      table.Add({{"    " + Shown(record, "record")},
                 {Get(record, "share") != nullptr ? Percent(Number(record, "share")) : "",
                  TextColour::kNone, true},
                 {judged ? Shown(record, "standing") + ": " + Shown(record, "reason") : ""}});
    }
    if (table.rows() > 0) text += table.Text(style);
  }
  return text;
}

std::string ExplainText(const Json& reply, const TextStyle& style) {
  std::string text = Shown(reply, "name") + "\n";
  const std::string kind = Shown(reply, "kind");
  if (kind == "empty non-terminal") {
    text += "  an empty non-terminal: nothing stands here, but below it; the answer is NODATA\n";
  } else if (kind == "from wildcard") {
    text += "  made from the wildcard " + Shown(reply, "source") + "\n";
  } else if (kind == "delegated") {
    text += "  delegated at " + Shown(reply, "source") + "; the answer is a referral\n";
  } else if (kind == "below DNAME") {
    text += "  redirected by the DNAME at " + Shown(reply, "source") + "\n";
  }
  text += SetsText(Array(reply, "sets"), style);
  if (Get(reply, "if_down") == nullptr) return text;
  return text + "if " + Shown(reply, "if_down") + " were down\n" +
         SetsText(Array(reply, "sets_then"), style);
}

void AddFlat(const Json& json, const std::string& prefix, TextTable& table) {
  for (const auto& [key, value] : json.items()) {
    if (prefix.empty() && (key == "ok" || key == "v" || key == "exit")) continue;
    if (value.is_object()) {
      AddFlat(value, prefix + key + ".", table);
    } else {
      table.Add({{ForTerminal(prefix + key)},
                 {ForTerminal(value.is_string() ? value.get<std::string>() : value.dump())}});
    }
  }
}

std::string FlatText(const Json& reply, const TextStyle& style) {
  TextTable table({{"WHAT"}, {"VALUE"}});
  AddFlat(reply, "", table);
  return table.Text(style);
}

std::string DescribeText(const Json& reply, const TextStyle& style) {
  TextTable table({{"COMMAND"}, {"WHAT IT DOES"}});
  for (const Json& command : Array(reply, "commands")) {
    table.Add({{Shown(command, "name")}, {Shown(command, "help")}});
  }
  return table.Text(style);
}

std::string KeysText(const Json& reply, const TextStyle& style) {
  std::string text;
  for (const Json& zone : Array(reply, "zones")) {
    text += Shown(zone, "name") + "  next change: " + Shown(zone, "next_change") + "\n";
    TextTable table({{"  TAG"}, {"FLAGS"}, {"ALGORITHM"}, {"DOES"}, {"FILE"}});
    for (const Json& key : Array(zone, "keys")) {
      table.Add({{"  " + Shown(key, "tag")},
                 {Shown(key, "flags")},
                 {Shown(key, "algorithm")},
                 {Shown(key, "does")},
                 {Shown(key, "file")}});
    }
    text += table.Text(style);
  }
  return text.empty() ? "no zone is signed\n" : text;
}

}  // namespace

std::string CtlAnswerText(std::string_view command, std::string_view reply_json,
                          const TextStyle& style) {
  const Json reply = ParseOrEmpty(reply_json);
  if (command == "states") return StatesText(reply, style);
  if (command == "explain") return ExplainText(reply, style);
  if (command == "keys") return KeysText(reply, style);
  if (command == "describe") return DescribeText(reply, style);
  if (command == "status" || command == "stats") return FlatText(reply, style);
  return Get(reply, "message") == nullptr ? "done\n" : Shown(reply, "message") + "\n";
}

double QueriesOf(std::string_view stats_json) {
  const Json stats = ParseOrEmpty(stats_json);
  const Json* queries = Get(stats, "queries");
  if (queries == nullptr) return 0;
  return Number(*queries, "udp") + Number(*queries, "tcp") + Number(*queries, "tls");
}

std::string CtlTopFrame(std::string_view stats_json, std::string_view states_json,
                        double queries_per_s, const TextStyle& style) {
  return "mongoosedns  " + Whole(queries_per_s) + " queries/s  " + Whole(QueriesOf(stats_json)) +
         " in all  generation " + Shown(ParseOrEmpty(stats_json), "generation") + "\n\n" +
         StatesText(ParseOrEmpty(states_json), style);
}

std::string CtlTopJson(std::string_view stats_json, std::string_view states_json,
                       double queries_per_s) {
  return Json({{"queries_per_second", queries_per_s},
               {"stats", ParseOrEmpty(stats_json)},
               {"states", ParseOrEmpty(states_json)}})
      .dump(-1, ' ', false, Json::error_handler_t::replace);
}

ProcessSeen ProcessOf(std::string_view status_json) {
  const Json status = ParseOrEmpty(status_json);
  return {.pid = Number(status, "pid"), .running = Shown(status, "state") == "running"};
}

}  // namespace dns
