#include "dns/admin/ctl_client.h"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <thread>

#include "dns/admin/ctl_server.h"
#include "net/base/text.h"

namespace dns {
namespace {

using Json = nlohmann::json;

std::string Shown(const Json& json, const char* key) {
  auto it = json.find(key);
  if (it == json.end()) return "-";
  return net::Printable(it->is_string() ? it->get<std::string>() : it->dump());
}

double Number(const Json& json, const char* key) {
  auto it = json.find(key);
  return it != json.end() && it->is_number() ? it->get<double>() : 0.0;
}

void PrintStates(const Json& states) {
  for (const Json& pool : states["pools"]) {
    std::printf("pool %s  ttl %s%s\n", Shown(pool, "name").c_str(), Shown(pool, "ttl").c_str(),
                pool.value("all_down", false) ? "  ALL DOWN" : "");
    std::printf("  %-16s %-12s %6s %6s  %s\n", "BALANCER", "STANDING", "SHARE", "OUT", "WHY");
    for (const Json& balancer : pool["balancers"]) {
      std::printf("  %-16s %-12s %5.1f%% %6s  %s\n", Shown(balancer, "name").c_str(),
                  Shown(balancer, "standing").c_str(), 100 * Number(balancer, "share"),
                  balancer.value("given_out", false) ? "yes" : "no",
                  Shown(balancer, "reason").c_str());
    }
  }
  for (const Json& peer : states["peers"]) {
    std::printf("peer %s: %s\n", Shown(peer, "name").c_str(),
                peer.value("ok", false) ? "ok" : Shown(peer, "error").c_str());
  }
}

void PrintSets(const Json& sets) {
  for (const Json& set : sets) {
    std::printf("  %s  ttl %s%s\n", Shown(set, "type").c_str(), Shown(set, "ttl").c_str(),
                set.value("all_down", false) ? "  (all are down: the pool's rule decided)" : "");
    for (const Json& record : set["records"]) {
      std::printf("    %-60s", Shown(record, "record").c_str());
      if (record.contains("share")) std::printf(" %5.1f%%", 100 * Number(record, "share"));
      if (record.contains("standing")) {
        std::printf("  %s: %s", Shown(record, "standing").c_str(), Shown(record, "reason").c_str());
      }
      std::printf("\n");
    }
  }
}

void PrintExplain(const Json& reply) {
  std::printf("%s\n", Shown(reply, "name").c_str());
  PrintSets(reply["sets"]);
  if (!reply.contains("if_down")) return;
  std::printf("if %s were down\n", Shown(reply, "if_down").c_str());
  PrintSets(reply["sets_then"]);
}

void PrintFlat(const Json& json, const std::string& prefix) {
  for (const auto& [key, value] : json.items()) {
    if (key == "ok") continue;
    if (value.is_object()) {
      PrintFlat(value, prefix + key + ".");
    } else {
      std::printf("%-40s %s\n", (prefix + key).c_str(), net::Printable(value.dump()).c_str());
    }
  }
}

int NoServer(const std::string& why) {
  std::fprintf(stderr, "mongoosedns ctl: %s\n", why.c_str());
  return kExitNoServer;
}

// A live view: rates since the round before, and the states.
int Top(const CtlRequest& request) {
  double before = -1;
  auto at = std::chrono::steady_clock::now();
  for (uint32_t round = 0; request.rounds == 0 || round < request.rounds; ++round) {
    auto stats = AskCtl(request.socket, "{\"command\":\"stats\"}");
    auto states = AskCtl(request.socket, "{\"command\":\"states\"}");
    if (!stats || !states) return NoServer(!stats ? stats.error() : states.error());
    Json counts = Json::parse(*stats, nullptr, false);
    Json world = Json::parse(*states, nullptr, false);
    if (!counts.is_object() || !world.is_object()) return NoServer("an unreadable reply");
    const Json& queries = counts["queries"];
    double all = Number(queries, "udp") + Number(queries, "tcp") + Number(queries, "tls");
    auto now = std::chrono::steady_clock::now();
    double seconds = std::chrono::duration<double>(now - at).count();
    double rate = before < 0 ? 0 : (all - before) / std::max(seconds, 1e-3);
    if (request.json) {
      Json line = {{"queries_per_second", rate}, {"stats", counts}, {"states", world}};
      std::printf("%s\n", line.dump().c_str());
    } else {
      if (isatty(STDOUT_FILENO) != 0) std::printf("\033[H\033[2J");
      std::printf("mongoosedns  %.0f queries/s  %.0f in all  generation %s\n\n", rate, all,
                  Shown(counts, "generation").c_str());
      PrintStates(world);
    }
    std::fflush(stdout);
    before = all;
    at = now;
    if (request.rounds == 0 || round + 1 < request.rounds) {
      std::this_thread::sleep_for(std::chrono::seconds(1));
    }
  }
  return kExitDone;
}

// An upgrade is done when another process answers.
int WaitForUpgrade(const CtlRequest& request, int64_t old_pid) {
  for (int tries = 0; tries < 100; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    auto reply = AskCtl(request.socket, "{\"command\":\"status\"}");
    if (!reply) continue;
    Json status = Json::parse(*reply, nullptr, false);
    if (!status.is_object()) continue;
    auto pid = static_cast<int64_t>(Number(status, "pid"));
    if (pid == old_pid || status.value("state", "") != "running") continue;
    std::printf("%s\n", request.json ? reply->c_str()
                                     : ("taken over by process " + std::to_string(pid)).c_str());
    return kExitDone;
  }
  std::fprintf(stderr,
               "mongoosedns ctl: the new process did not take over within 10 s; see its log\n");
  return kExitRefused;
}

}  // namespace

int RunCtl(const CtlRequest& request) {
  if (request.command == "top") return Top(request);
  int64_t old_pid = 0;
  if (request.command == "upgrade") {
    auto status = AskCtl(request.socket, "{\"command\":\"status\"}");
    if (!status) return NoServer(status.error());
    Json json = Json::parse(*status, nullptr, false);
    old_pid = static_cast<int64_t>(Number(json, "pid"));
  }
  const char* user = getenv("SUDO_USER");
  if (user == nullptr) user = getenv("USER");
  Json json = {{"command", request.command},       {"name", request.name},
               {"if_down", request.if_down},       {"pool", request.pool},
               {"balancer", request.balancer},     {"token", request.token},
               {"binary", request.binary},         {"seconds", request.seconds},
               {"by", user == nullptr ? "" : user}};
  auto text = AskCtl(request.socket, json.dump(-1, ' ', false, Json::error_handler_t::replace));
  if (!text) return NoServer(text.error());
  Json reply = Json::parse(*text, nullptr, false);
  if (!reply.is_object()) return NoServer("an unreadable reply");
  bool ok = reply.value("ok", false);
  if (ok && request.command == "upgrade") return WaitForUpgrade(request, old_pid);
  if (request.json) {
    std::printf("%s\n", text->c_str());
  } else if (!ok) {
    std::string why = reply.value("error", "refused");
    std::fprintf(stderr, "mongoosedns ctl: %s\n", why.c_str());
  } else if (request.command == "states") {
    PrintStates(reply);
  } else if (request.command == "explain") {
    PrintExplain(reply);
  } else if (reply.size() > 1) {
    PrintFlat(reply, "");
  } else {
    std::printf("done\n");
  }
  return ok ? kExitDone : kExitRefused;
}

}  // namespace dns
