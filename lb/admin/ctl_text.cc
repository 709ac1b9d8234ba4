#include "lb/admin/ctl_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

#include "lb/admin/json_values.h"
#include "net/base/text.h"

namespace lb {
namespace {

using net::ForTerminal;
using net::TextStyle;
using net::TextTable;
using Cell = TextTable::Cell;
using Colour = TextTable::Colour;

Json ParseOrEmpty(std::string_view text) {
  Json json = Json::parse(text, nullptr, false);
  return json.is_object() ? json : Json::object();
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
  const std::string state = TextAt(status, "state");
  const double up = NumberAt(status, "nodes_up");
  const double total = NumberAt(status, "nodes_total");
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
  if (FlagAt(status, "split")) {
    word = "NETSPLIT";
    colour = Colour::kBad;
  }
  std::string text = net::Painted(ForTerminal(word), colour, style) + "  " + Count(up) + "/" +
                     Count(total) + " nodes up, " + Count(NumberAt(status, "connections")) +
                     " of " + Count(NumberAt(status, "connections_max")) + " connections, " +
                     Count(NumberAt(status, "accepts_per_s")) + " arrivals/s";
  if (NumberAt(status, "accept_rate") > 0) {
    text += ", warming up: " + Count(NumberAt(status, "accept_rate")) + " accepts/s";
  }
  return text + "  (mongooselb " + ForTerminal(TextAt(status, "version")) + ", pid " +
         Count(NumberAt(status, "pid")) + ", up " + net::SpanText(NumberAt(status, "uptime_s")) +
         ")\n";
}

std::string Listeners(const Json& status, const TextStyle& style) {
  TextTable table({Left("LISTENER"), Left("MODE"), Left("POOL"), Right("OPEN"), Right("MAX"),
                   Right("ACCEPTED"), Right("REFUSED"), Left("BIND")});
  for (const Json& one : ArrayAt(status, "listeners")) {
    std::string binds;
    for (const Json& bind : ArrayAt(one, "binds")) {
      if (bind.is_string()) binds += (binds.empty() ? "" : " ") + bind.get<std::string>();
    }
    table.Add({Left(TextAt(one, "name")), Left(TextAt(one, "mode")), Left(TextAt(one, "pool")),
               Right(Count(NumberAt(one, "active"))),
               Right(Limit(NumberAt(one, "connections_max"))),
               Right(Count(NumberAt(one, "accepted"))),
               Right(Count(NumberAt(one, "refused_limit") + NumberAt(one, "refused_source") +
                           NumberAt(one, "refused_denied"))),
               Left(binds)});
  }
  return table.Text(style);
}

std::string NodeRemark(const Json& node) {
  std::string text = TextAt(node, "why");
  auto add = [&](const std::string& more) { text += (text.empty() ? "" : "; ") + more; };
  if (FlagAt(node, "drain_active")) {
    const double rate = NumberAt(node, "drain_rate");
    const double left = NumberAt(node, "drain_remaining");
    add(Count(left) + " to end" +
        (rate > 0 ? " at " + Count(rate) + "/s, about " + net::SpanText(left / rate) : ""));
  }
  if (NumberAt(node, "warmup") < 1) {
    add("warm-up " + Percent(NumberAt(node, "warmup")) +
        (NumberAt(node, "warmup_rate") > 0
             ? ", admits " + Count(NumberAt(node, "warmup_rate")) + "/s"
             : ""));
  }
  if (!TextAt(node, "cluster_error").empty()) add("status API: " + TextAt(node, "cluster_error"));
  return text;
}

std::string Nodes(const Json& status, const TextStyle& style) {
  TextTable table({Left("POOL"), Left("NODE"), Left("STATE"), Right("OPEN"), Right("MAX"),
                   Right("WEIGHT"), Right("SHARE"), Right("ARRIVALS/S"), Right("ARRIVED"),
                   Right("FAILED"), Left("ADDRESS"), Left("WHY")});
  for (const Json& pool : ArrayAt(status, "pools")) {
    for (const Json& node : ArrayAt(pool, "nodes")) {
      const std::string state = TextAt(node, "state");
      table.Add(
          {Left(TextAt(pool, "name")), Left(TextAt(node, "name")), Left(state, StateColour(state)),
           Right(Count(NumberAt(node, "active"))), Right(Limit(NumberAt(node, "connections_max"))),
           Right(Count(NumberAt(node, "weight")) + (FlagAt(node, "weight_overridden") ? "*" : "")),
           Right(Percent(NumberAt(node, "share_expected"))),
           Right(Fixed(NumberAt(node, "arrivals_per_s"), 1)),
           Right(Count(NumberAt(node, "arrivals"))),
           Right(Count(NumberAt(node, "connect_failures"))), Left(TextAt(node, "address")),
           Left(NodeRemark(node))});
    }
  }
  return table.Text(style);
}

std::string PoolRemarks(const Json& status) {
  std::string text;
  for (const Json& pool : ArrayAt(status, "pools")) {
    std::string remark;
    auto add = [&](const std::string& more) { remark += (remark.empty() ? "" : "; ") + more; };
    if (FlagAt(pool, "panic")) add("panic: nodes that are down are used too");
    if (FlagAt(pool, "on_backups")) add("backup nodes serve");
    if (!TextAt(pool, "summary").empty()) add(TextAt(pool, "summary"));
    if (!remark.empty()) {
      text += "pool " + ForTerminal(TextAt(pool, "name")) + ": " + ForTerminal(remark) + "\n";
    }
  }
  return text;
}

// Nodes that are in no pool, with what is left of them.
std::string Absent(const Json& reply) {
  std::string text;
  for (const Json& node : ArrayAt(reply, "absent")) {
    text += ForTerminal("node " + TextAt(node, "pool") + "/" + TextAt(node, "name")) +
            " is in no pool now: " + Count(NumberAt(node, "active")) + " connections, " +
            ForTerminal(TextAt(node, "admin")) + " when it returns\n";
  }
  return text;
}

// Rolling restarts, also the last one of each pool after its end.
std::string Rollouts(const Json& reply) {
  std::string text;
  for (const Json& one : ArrayAt(reply, "rollouts")) {
    std::string head = "rolling restart of pool " + TextAt(one, "pool") + ": ";
    std::string tail;
    if (FlagAt(one, "ended")) {
      head += "ended " + net::SpanText(NumberAt(one, "heard_s")) + " ago: ";
    } else if (FlagAt(one, "lost")) {
      head += "its leader has left: ";
      tail = "; last heard " + net::SpanText(NumberAt(one, "heard_s")) + " ago";
    } else {
      if (FlagAt(one, "paused")) head += "paused: ";
      if (FlagAt(one, "aborted")) head += "ends: ";
      tail = "; since " + net::SpanText(NumberAt(one, "begun_s"));
    }
    text +=
        ForTerminal(head + TextAt(one, "text") + tail + " (" + TextAt(one, "leader") + ")") + "\n";
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
  for (const Json& one : ArrayAt(reply, "connections")) {
    table.Add({Left(TextAt(one, "id")), Left(TextAt(one, "client")), Left(TextAt(one, "listener")),
               Left(TextAt(one, "pool") + "/" + TextAt(one, "node")), Left(TextAt(one, "state")),
               Right(net::SpanText(NumberAt(one, "age_ms") / 1000)),
               Right(net::SpanText(NumberAt(one, "idle_ms") / 1000)),
               Right(Size(NumberAt(one, "bytes_in"))), Right(Size(NumberAt(one, "bytes_out")))});
  }
  return table.rows() == 0 ? "" : table.Text(style);
}

std::string PageText(const Json& reply, const TextStyle& style) {
  const std::string next = TextAt(reply, "next");
  return ConnectionRows(reply, style) + Count(NumberAt(reply, "total")) + " connections in all\n" +
         (next.empty() ? "" : "more follow: --after " + ForTerminal(next) + "\n");
}

std::string ListText(const Json& reply, const TextStyle& style) {
  if (reply.contains("total")) return PageText(reply, style);
  return Banner(reply, style) + "\n" + Listeners(reply, style) + "\n" + Nodes(reply, style) +
         PoolRemarks(reply) + Absent(reply) + Rollouts(reply);
}

// --- explain, why, stats, describe ------------------------------------------------------------

std::string ExplainNode(const Json& node, const TextStyle& style) {
  const std::string state = TextAt(node, "state");
  std::string text = "  " + ForTerminal(TextAt(node, "name")) + "  " +
                     net::Painted(ForTerminal(state), StateColour(state), style) + "  expects " +
                     Percent(NumberAt(node, "share_expected")) + " of new connections (weight " +
                     Count(NumberAt(node, "weight")) + ", now " +
                     Fixed(NumberAt(node, "effective_weight"), 1) + ")\n";
  auto line = [&](const std::string& what, const std::string& said) {
    if (!said.empty()) text += "      " + what + ": " + ForTerminal(said) + "\n";
  };
  line("state", TextAt(node, "why"));
  line("choice", TextAt(node, "explanation"));
  for (const Json& check : ArrayAt(node, "checks")) {
    const std::string why = TextAt(check, "why");
    line("check " + ForTerminal(TextAt(check, "type")),
         TextAt(check, "status") + (why.empty() ? "" : ", " + why));
  }
  line("cluster", TextAt(node, "cluster_state"));
  line("status API", TextAt(node, "cluster_error"));
  if (NumberAt(node, "passed_warmup") + NumberAt(node, "passed_full") + NumberAt(node, "forced") >
      0) {
    line("passed over", Count(NumberAt(node, "passed_warmup")) + " times for its warm-up, " +
                            Count(NumberAt(node, "passed_full")) + " times since it was full; " +
                            Count(NumberAt(node, "forced")) + " times taken all the same");
  }
  return text;
}

std::string ExplainText(const Json& reply, const TextStyle& style) {
  std::string text;
  for (const Json& pool : ArrayAt(reply, "pools")) {
    text += (text.empty() ? "" : "\n");
    text += ForTerminal("pool " + TextAt(pool, "name") + "  " + TextAt(pool, "balance")) + ", " +
            Count(NumberAt(pool, "candidates")) + " to choose among, " +
            Fixed(NumberAt(pool, "arrivals_per_s"), 1) + " arrivals/s\n";
    for (const Json& node : ArrayAt(pool, "nodes")) text += ExplainNode(node, style);
  }
  return text + PoolRemarks(reply);
}

std::string WhyText(const Json& reply, const TextStyle& style) {
  std::string text = ForTerminal("a new connection from " + TextAt(reply, "address")) + "\n";
  for (const Json& pool : ArrayAt(reply, "pools")) {
    std::string listeners;
    for (const Json& name : ArrayAt(pool, "listeners")) {
      if (name.is_string()) listeners += (listeners.empty() ? "" : ", ") + name.get<std::string>();
    }
    text += ForTerminal("  at " + listeners + " (pool " + TextAt(pool, "pool") +
                        "): " + TextAt(pool, "answer")) +
            "\n";
  }
  const double total = NumberAt(reply, "connections_total");
  text += Count(total) + (total == 1 ? " connection" : " connections") + " open\n";
  return text + ConnectionRows(reply, style);
}

std::string StatsText(const Json& reply, const TextStyle& style) {
  TextTable table({Left("COUNTER"), Right("VALUE"), Left("WHAT IT COUNTS")});
  for (const Json& counter : ArrayAt(reply, "counters")) {
    for (const Json& series : ArrayAt(counter, "series")) {
      std::string labels;
      auto it = series.find("labels");
      if (it != series.end() && it->is_object()) {
        for (const auto& [name, value] : it->items()) {
          labels += (labels.empty() ? "" : ",") + name + "=" +
                    (value.is_string() ? value.get<std::string>() : value.dump());
        }
      }
      const double value = NumberAt(series, "value");
      table.Add({Left(TextAt(counter, "name") + (labels.empty() ? "" : "{" + labels + "}")),
                 Right(Fixed(value, value == std::floor(value) ? 0 : 3)),
                 Left(TextAt(counter, "help"), Colour::kFaint)});
    }
  }
  return table.Text(style);
}

std::string DescribeText(const Json& reply, const TextStyle& style) {
  TextTable table({Left("COMMAND"), Left("WHAT IT DOES")});
  for (const Json& command : ArrayAt(reply, "commands")) {
    std::string words = TextAt(command, "name");
    for (const Json& arg : ArrayAt(command, "args")) {
      const std::string name = TextAt(arg, "name");
      std::string word = FlagAt(arg, "positional") ? name : "--" + name;
      if (!FlagAt(arg, "positional") && TextAt(arg, "kind") != "flag")
        word += " " + TextAt(arg, "kind");
      words += FlagAt(arg, "required") ? " " + word : " [" + word + "]";
    }
    table.Add({Left(words), Left(TextAt(command, "help"))});
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
  const std::string message = TextAt(reply, "message");
  return message.empty() ? "done\n" : ForTerminal(message) + "\n";
}

std::string CtlTopFrame(std::string_view reply_json, const TextStyle& style) {
  const Json reply = ParseOrEmpty(reply_json);
  return Banner(reply, style) + "\n" + Nodes(reply, style) + PoolRemarks(reply) + Rollouts(reply) +
         "\n" + Listeners(reply, style);
}

}  // namespace lb
