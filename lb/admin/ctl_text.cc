#include "lb/admin/ctl_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "net/base/text.h"

namespace lb {
namespace {

using Json = nlohmann::ordered_json;
using net::ForTerminal;
using net::TextStyle;
using net::TextTable;
using Cell = TextTable::Cell;
using Colour = TextTable::Colour;

Json ParseOrEmpty(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  return json.is_object() ? json : Json::object();
}

// Values of a balancer of another version may be missing: then "" and 0.
std::string Str(const Json& object, const char* key) {
  auto it = object.find(key);
  return it != object.end() && it->is_string() ? it->get<std::string>() : "";
}

double Num(const Json& object, const char* key) {
  auto it = object.find(key);
  return it != object.end() && it->is_number() ? it->get<double>() : 0;
}

bool Flag(const Json& object, const char* key) {
  auto it = object.find(key);
  return it != object.end() && it->is_boolean() && it->get<bool>();
}

const Json& Array(const Json& object, const char* key) {
  static const Json kEmpty = Json::array();
  auto it = object.find(key);
  return it != object.end() && it->is_array() ? *it : kEmpty;
}

std::string Fixed(double value, int digits) {
  std::array<char, 400> text{};  // the longest double in fixed notation fits
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

std::string Count(double value) { return Fixed(value, 0); }
std::string Percent(double ratio) { return Fixed(ratio * 100, 1) + "%"; }
std::string Limit(double value) { return value > 0 ? Count(value) : "-"; }

std::string Size(double bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (bytes >= 1024 && unit + 1 < std::size(kUnits)) {
    bytes /= 1024;
    ++unit;
  }
  return Fixed(bytes, unit == 0 ? 0 : 1) + kUnits[unit];
}

Cell Left(std::string text, Colour colour = Colour::kNone) {
  return {ForTerminal(text), colour, false};
}
Cell Right(std::string text) { return {ForTerminal(text), Colour::kNone, true}; }

Colour StateColour(const std::string& state) {
  if (state == "up" || state == "running") return Colour::kGood;
  if (state == "down" || state == "split" || state == "not_running") return Colour::kBad;
  return Colour::kWarn;
}

// --- list -------------------------------------------------------------------------------------

std::string Banner(const Json& status, const TextStyle& style) {
  const std::string state = Str(status, "state");
  const double up = Num(status, "nodes_up");
  const double total = Num(status, "nodes_total");
  std::string word = state == "running" ? "OK" : state;
  Colour colour = state == "running" ? Colour::kGood : Colour::kWarn;
  if (state == "running" && up < total) {
    word = "DEGRADED";
    colour = Colour::kWarn;
  }
  if (state == "running" && up == 0) {
    word = "DOWN";
    colour = Colour::kBad;
  }
  if (Flag(status, "split")) {
    word = "NETSPLIT";
    colour = Colour::kBad;
  }
  std::string text = net::Painted(ForTerminal(word), colour, style) + "  " + Count(up) + "/" +
                     Count(total) + " nodes up, " + Count(Num(status, "connections")) + " of " +
                     Count(Num(status, "connections_max")) + " connections, " +
                     Count(Num(status, "accepts_per_s")) + " arrivals/s";
  if (Num(status, "accept_rate") > 0) {
    text += ", warming up: " + Count(Num(status, "accept_rate")) + " accepts/s";
  }
  return text + "  (mongooselb " + ForTerminal(Str(status, "version")) + ", pid " +
         Count(Num(status, "pid")) + ", up " + net::SpanText(Num(status, "uptime_s")) + ")\n";
}

std::string Listeners(const Json& status, const TextStyle& style) {
  TextTable table({Left("LISTENER"), Left("MODE"), Left("POOL"), Right("OPEN"), Right("MAX"),
                   Right("ACCEPTED"), Right("REFUSED"), Left("BIND")});
  for (const Json& one : Array(status, "listeners")) {
    std::string binds;
    for (const Json& bind : Array(one, "binds")) {
      if (bind.is_string()) binds += (binds.empty() ? "" : " ") + bind.get<std::string>();
    }
    table.Add({Left(Str(one, "name")), Left(Str(one, "mode")), Left(Str(one, "pool")),
               Right(Count(Num(one, "active"))), Right(Limit(Num(one, "connections_max"))),
               Right(Count(Num(one, "accepted"))),
               Right(Count(Num(one, "refused_limit") + Num(one, "refused_source") +
                           Num(one, "refused_denied"))),
               Left(binds)});
  }
  return table.Text(style);
}

std::string NodeRemark(const Json& node) {
  std::string text = Str(node, "why");
  auto add = [&](const std::string& more) { text += (text.empty() ? "" : "; ") + more; };
  if (Flag(node, "drain_active")) {
    const double rate = Num(node, "drain_rate");
    const double left = Num(node, "drain_remaining");
    add(Count(left) + " to end" +
        (rate > 0 ? " at " + Count(rate) + "/s, about " + net::SpanText(left / rate) : ""));
  }
  if (Num(node, "warmup") < 1) {
    add("warm-up " + Percent(Num(node, "warmup")) +
        (Num(node, "warmup_rate") > 0 ? ", admits " + Count(Num(node, "warmup_rate")) + "/s" : ""));
  }
  if (!Str(node, "cluster_error").empty()) add("status API: " + Str(node, "cluster_error"));
  return text;
}

std::string Nodes(const Json& status, const TextStyle& style) {
  TextTable table({Left("POOL"), Left("NODE"), Left("STATE"), Right("OPEN"), Right("MAX"),
                   Right("WEIGHT"), Right("SHARE"), Right("ARRIVALS/S"), Right("ARRIVED"),
                   Right("FAILED"), Left("ADDRESS"), Left("WHY")});
  for (const Json& pool : Array(status, "pools")) {
    for (const Json& node : Array(pool, "nodes")) {
      const std::string state = Str(node, "state");
      table.Add({Left(Str(pool, "name")), Left(Str(node, "name")), Left(state, StateColour(state)),
                 Right(Count(Num(node, "active"))), Right(Limit(Num(node, "connections_max"))),
                 Right(Count(Num(node, "weight")) + (Flag(node, "weight_overridden") ? "*" : "")),
                 Right(Percent(Num(node, "share_expected"))),
                 Right(Fixed(Num(node, "arrivals_per_s"), 1)), Right(Count(Num(node, "arrivals"))),
                 Right(Count(Num(node, "connect_failures"))), Left(Str(node, "address")),
                 Left(NodeRemark(node))});
    }
  }
  return table.Text(style);
}

std::string PoolRemarks(const Json& status) {
  std::string text;
  for (const Json& pool : Array(status, "pools")) {
    std::string remark;
    auto add = [&](const std::string& more) { remark += (remark.empty() ? "" : "; ") + more; };
    if (Flag(pool, "panic")) add("panic: nodes that are down are used too");
    if (Flag(pool, "on_backups")) add("backup nodes serve");
    if (!Str(pool, "summary").empty()) add(Str(pool, "summary"));
    if (!remark.empty()) {
      text += "pool " + ForTerminal(Str(pool, "name")) + ": " + ForTerminal(remark) + "\n";
    }
  }
  return text;
}

// Nodes that are in no pool, with what is left of them.
std::string Absent(const Json& reply) {
  std::string text;
  for (const Json& node : Array(reply, "absent")) {
    text += ForTerminal("node " + Str(node, "pool") + "/" + Str(node, "name")) +
            " is in no pool now: " + Count(Num(node, "active")) + " connections, " +
            ForTerminal(Str(node, "admin")) + " when it returns\n";
  }
  return text;
}

// Rolling restarts, also the last one of each pool after its end.
std::string Rollouts(const Json& reply) {
  std::string text;
  for (const Json& one : Array(reply, "rollouts")) {
    std::string head = "rolling restart of pool " + Str(one, "pool") + ": ";
    std::string tail;
    if (Flag(one, "ended")) {
      head += "ended " + net::SpanText(Num(one, "heard_s")) + " ago: ";
    } else if (Flag(one, "lost")) {
      head += "its leader has left: ";
      tail = "; last heard " + net::SpanText(Num(one, "heard_s")) + " ago";
    } else {
      if (Flag(one, "paused")) head += "paused: ";
      if (Flag(one, "aborted")) head += "ends: ";
      tail = "; since " + net::SpanText(Num(one, "begun_s"));
    }
    text += ForTerminal(head + Str(one, "text") + tail + " (" + Str(one, "leader") + ")") + "\n";
  }
  return text;
}

std::string RolloutText(const Json& reply, const TextStyle&) {
  const std::string text = Rollouts(reply);
  return text.empty() ? "no rolling restart is under way\n" : text;
}

std::string ConnectionRows(const Json& reply, const TextStyle& style) {
  TextTable table({Left("ID"), Left("CLIENT"), Left("LISTENER"), Left("NODE"), Left("STATE"),
                   Right("AGE"), Right("IDLE"), Right("IN"), Right("OUT")});
  for (const Json& one : Array(reply, "connections")) {
    table.Add({Left(Str(one, "id")), Left(Str(one, "client")), Left(Str(one, "listener")),
               Left(Str(one, "pool") + "/" + Str(one, "node")), Left(Str(one, "state")),
               Right(net::SpanText(Num(one, "age_ms") / 1000)),
               Right(net::SpanText(Num(one, "idle_ms") / 1000)), Right(Size(Num(one, "bytes_in"))),
               Right(Size(Num(one, "bytes_out")))});
  }
  return table.rows() == 0 ? "" : table.Text(style);
}

std::string PageText(const Json& reply, const TextStyle& style) {
  const std::string next = Str(reply, "next");
  return ConnectionRows(reply, style) + Count(Num(reply, "total")) + " connections in all\n" +
         (next.empty() ? "" : "more follow: --after " + ForTerminal(next) + "\n");
}

std::string ListText(const Json& reply, const TextStyle& style) {
  if (reply.contains("total")) return PageText(reply, style);
  return Banner(reply, style) + "\n" + Listeners(reply, style) + "\n" + Nodes(reply, style) +
         PoolRemarks(reply) + Absent(reply) + Rollouts(reply);
}

// --- explain, why, stats, describe ------------------------------------------------------------

std::string ExplainNode(const Json& node, const TextStyle& style) {
  const std::string state = Str(node, "state");
  std::string text = "  " + ForTerminal(Str(node, "name")) + "  " +
                     net::Painted(ForTerminal(state), StateColour(state), style) + "  expects " +
                     Percent(Num(node, "share_expected")) + " of new connections (weight " +
                     Count(Num(node, "weight")) + ", now " +
                     Fixed(Num(node, "effective_weight"), 1) + ")\n";
  auto line = [&](const std::string& what, const std::string& said) {
    if (!said.empty()) text += "      " + what + ": " + ForTerminal(said) + "\n";
  };
  line("state", Str(node, "why"));
  line("choice", Str(node, "explanation"));
  for (const Json& check : Array(node, "checks")) {
    const std::string why = Str(check, "why");
    line("check " + ForTerminal(Str(check, "type")),
         Str(check, "status") + (why.empty() ? "" : ", " + why));
  }
  line("cluster", Str(node, "cluster_state"));
  line("status API", Str(node, "cluster_error"));
  if (Num(node, "passed_warmup") + Num(node, "passed_full") + Num(node, "forced") > 0) {
    line("passed over", Count(Num(node, "passed_warmup")) + " times for its warm-up, " +
                            Count(Num(node, "passed_full")) + " times since it was full; " +
                            Count(Num(node, "forced")) + " times taken all the same");
  }
  return text;
}

std::string ExplainText(const Json& reply, const TextStyle& style) {
  std::string text;
  for (const Json& pool : Array(reply, "pools")) {
    text += (text.empty() ? "" : "\n");
    text += ForTerminal("pool " + Str(pool, "name") + "  " + Str(pool, "balance")) + ", " +
            Count(Num(pool, "candidates")) + " to choose among, " +
            Fixed(Num(pool, "arrivals_per_s"), 1) + " arrivals/s\n";
    for (const Json& node : Array(pool, "nodes")) text += ExplainNode(node, style);
  }
  return text + PoolRemarks(reply);
}

std::string WhyText(const Json& reply, const TextStyle& style) {
  std::string text = ForTerminal("a new connection from " + Str(reply, "address")) + "\n";
  for (const Json& pool : Array(reply, "pools")) {
    std::string listeners;
    for (const Json& name : Array(pool, "listeners")) {
      if (name.is_string()) listeners += (listeners.empty() ? "" : ", ") + name.get<std::string>();
    }
    text += ForTerminal("  at " + listeners + " (pool " + Str(pool, "pool") +
                        "): " + Str(pool, "answer")) +
            "\n";
  }
  const double total = Num(reply, "connections_total");
  text += Count(total) + (total == 1 ? " connection" : " connections") + " open\n";
  return text + ConnectionRows(reply, style);
}

std::string StatsText(const Json& reply, const TextStyle& style) {
  TextTable table({Left("COUNTER"), Right("VALUE"), Left("WHAT IT COUNTS")});
  for (const Json& counter : Array(reply, "counters")) {
    for (const Json& series : Array(counter, "series")) {
      std::string labels;
      auto it = series.find("labels");
      if (it != series.end() && it->is_object()) {
        for (const auto& [name, value] : it->items()) {
          labels += (labels.empty() ? "" : ",") + name + "=" +
                    (value.is_string() ? value.get<std::string>() : value.dump());
        }
      }
      const double value = Num(series, "value");
      table.Add({Left(Str(counter, "name") + (labels.empty() ? "" : "{" + labels + "}")),
                 Right(Fixed(value, value == std::floor(value) ? 0 : 3)),
                 Left(Str(counter, "help"), Colour::kFaint)});
    }
  }
  return table.Text(style);
}

std::string DescribeText(const Json& reply, const TextStyle& style) {
  TextTable table({Left("COMMAND"), Left("WHAT IT DOES")});
  for (const Json& command : Array(reply, "commands")) {
    std::string words = Str(command, "name");
    for (const Json& arg : Array(command, "args")) {
      const std::string name = Str(arg, "name");
      std::string word = Flag(arg, "positional") ? name : "--" + name;
      if (!Flag(arg, "positional") && Str(arg, "kind") != "flag") word += " " + Str(arg, "kind");
      words += Flag(arg, "required") ? " " + word : " [" + word + "]";
    }
    table.Add({Left(words), Left(Str(command, "help"))});
  }
  return table.Text(style);
}

}  // namespace

std::string CtlAnswerText(std::string_view command, std::string_view reply_json,
                          const TextStyle& style) {
  constexpr std::pair<std::string_view, std::string (*)(const Json&, const TextStyle&)> kTexts[] = {
      {"list", ListText},   {"explain", ExplainText},   {"why", WhyText},
      {"stats", StatsText}, {"describe", DescribeText}, {"rollout status", RolloutText},
  };
  const Json reply = ParseOrEmpty(reply_json);
  for (const auto& [name, text] : kTexts) {
    if (name == command) return text(reply, style);
  }
  const std::string message = Str(reply, "message");
  return message.empty() ? "done\n" : ForTerminal(message) + "\n";
}

std::string CtlTopFrame(std::string_view reply_json, const TextStyle& style) {
  const Json reply = ParseOrEmpty(reply_json);
  return Banner(reply, style) + "\n" + Nodes(reply, style) + PoolRemarks(reply) + Rollouts(reply) +
         "\n" + Listeners(reply, style);
}

}  // namespace lb
