#include "lb/admin/ctl_commands.h"

namespace lb {
namespace {

constexpr CtlArg kNode{"node", CtlArgKind::kText, true, true,
                       "its name; POOL/NODE where several pools have one of that name"};
constexpr CtlArg kListArgs[] = {
    {"connections", CtlArgKind::kFlag, false, false, "the open connections, 500 at a time"},
    {"node", CtlArgKind::kText, false, false, "only those of this node"},
    {"after", CtlArgKind::kText, false, false, "those that follow this connection"},
};
constexpr CtlArg kExplainArgs[] = {
    {"pool", CtlArgKind::kText, true, false, "only this pool"},
};
constexpr CtlArg kWhyArgs[] = {
    {"address", CtlArgKind::kText, true, true, "a client's IP address"},
};
constexpr CtlArg kNodeArgs[] = {kNode};
constexpr CtlArg kDrainArgs[] = {
    kNode,
    {"rate", CtlArgKind::kRate, false, false, "end that many of its connections, as in 50/s"},
    {"deadline", CtlArgKind::kDuration, false, false,
     "end what is left after that time; without a rate, evenly until then"},
    {"wait", CtlArgKind::kFlag, false, false, "until its last connection has gone"},
    {"force", CtlArgKind::kFlag, false, false, "even if the other nodes cannot carry it"},
    {"dry-run", CtlArgKind::kFlag, false, false, "says whether it would be done, and does nothing"},
};
constexpr CtlArg kPool{"pool", CtlArgKind::kText, true, true, "the pool's name"};
constexpr CtlArg kPoolArgs[] = {kPool};
constexpr CtlArg kRolloutStatusArgs[] = {
    {"pool", CtlArgKind::kText, true, false, "only that of this pool"},
};
constexpr CtlArg kRolloutReportArgs[] = {
    kPool,
    {"leader", CtlArgKind::kText, false, true, "names the process that leads it"},
    {"text", CtlArgKind::kText, false, true, "how it goes"},
    {"ended", CtlArgKind::kFlag, false, false, "it goes no further"},
    {"paused", CtlArgKind::kFlag, false, false, "as it was told last"},
    {.name = "resumes",
     .kind = CtlArgKind::kNumber,
     .help = "how often it was told to go on",
     .max = UINT32_MAX},
};
constexpr CtlArg kRollingRestartArgs[] = {
    kPool,
    {"hook", CtlArgKind::kText, false, false,
     "restarts one node and returns when that is done: a shell's command, run here and as you, "
     "with "
     "MONGOOSELB_NODE, _POOL, _ADDRESS and _SOCKET; without it, you do, and say `rollout resume`"},
    {"nodes", CtlArgKind::kText, false, false, "only these, in this order: n1,n3"},
    {"rate", CtlArgKind::kRate, false, false, "of each drain, as in 50/s"},
    {"deadline", CtlArgKind::kDuration, false, false, "of each drain [10m]"},
    {"hook-within", CtlArgKind::kDuration, false, false, "the hook is ended after that [10m]"},
    {"return-within", CtlArgKind::kDuration, false, false,
     "from the hook's end until checks say that the node is up [5m]"},
    {"force", CtlArgKind::kFlag, false, false,
     "even beside nodes that are down, or if the others cannot carry it"},
    {"dry-run", CtlArgKind::kFlag, false, false, "tells the steps and what is in the way; no more"},
};
constexpr CtlArg kWeightArgs[] = {
    kNode,
    {.name = "weight",
     .kind = CtlArgKind::kNumber,
     .positional = true,
     .help = "0 to 1000, or default for the file's; without it, tells the weight",
     .max = kCtlWeightMax,
     .or_default = true},
};
constexpr CtlArg kPrewarmArgs[] = {
    {"rate", CtlArgKind::kRate, true, false, "accepts, as in 2000/s; without it, warm at once"},
};
constexpr CtlArg kShutArgs[] = {
    {"node", CtlArgKind::kText, true, false, kNode.help},
    {"connection", CtlArgKind::kText, false, false, "this one alone, by its ID in a list"},
    {"rate", CtlArgKind::kRate, false, false, "that many, as in 100/s; without it, all at once"},
};

constexpr CtlArg kTopArgs[] = {
    {"once", CtlArgKind::kFlag, false, false, "one frame, then leave"},
    {.name = "rounds", .kind = CtlArgKind::kNumber, .help = "so many frames", .max = 1'000'000},
};

constexpr CtlCommand kCommands[] = {
    {"list", "listeners, pools and nodes with their states; or the open connections", false,
     kListArgs},
    {"explain", "why each node gets the share of new connections that it gets", false,
     kExplainArgs},
    {"why", "where a client's next connection would go and why, and what it has open", false,
     kWhyArgs},
    {"stats", "all counters", false, {}},
    {"drain", "no new connections to a node; with a rate or deadline, ends those it has", true,
     kDrainArgs},
    {.name = "rolling-restart",
     .help = "one node of a pool after another: drain, restart by a hook, checks, warm-up",
     .args = kRollingRestartArgs,
     .local = true},
    {"rollout status", "rolling restarts, how they go", false, kRolloutStatusArgs},
    {"rollout pause", "no new step of a rolling restart: no drain, no hook", true, kPoolArgs},
    {"rollout resume", "a rolling restart that is paused, or that asks for it, goes on", true,
     kPoolArgs},
    {"rollout abort", "ends a rolling restart; the node that it is at is brought back first", true,
     kPoolArgs},
    {"rollout report", "rolling-restart tells how it goes, and hears what is wanted", false,
     kRolloutReportArgs},
    {"ready", "takes a node back from drain or maint", true, kNodeArgs},
    {"maint", "takes a node out: no new connections and no checks", true, kNodeArgs},
    {"weight", "sets or tells a node's weight", true, kWeightArgs},
    {"shut", "ends a node's connections at a pace; it still takes new ones", true, kShutArgs},
    {"prewarm", "lifts the balancer's own warm-up before a crowd comes", true, kPrewarmArgs},
    {"reload", "reads the configuration again: applied whole or not at all", true, {}},
    {"upgrade", "hands over to a new process without losing a connection", true, {}},
    {"describe", "these commands and their arguments", false, {}},
    {.name = "top",
     .help = "the nodes as a live table; q or Ctrl-C leaves",
     .args = kTopArgs,
     .local = true},
};

}  // namespace

std::span<const CtlCommand> CtlCommands() { return kCommands; }

const CtlCommand* FindCtlCommand(std::string_view name) {
  return net::FindCtlCommand(kCommands, name);
}

std::expected<CtlRequest, std::string> ParseCtlRequest(std::string_view line) {
  const auto values = net::ParseCtlValues(kCommands, line);
  if (!values) return std::unexpected(values.error());
  return ReadCtlRequest(*values);
}

CtlRequest ReadCtlRequest(const net::CtlValues& values) {
  CtlRequest request{.command = values.command,
                     .node = values.Text("node"),
                     .pool = values.Text("pool"),
                     .address = values.Text("address"),
                     .connection = values.Text("connection"),
                     .after = values.Text("after"),
                     .connections = values.Flag("connections"),
                     .leader = values.Text("leader"),
                     .text = values.Text("text"),
                     .ended = values.Flag("ended"),
                     .paused = values.Flag("paused"),
                     .resumes = static_cast<uint32_t>(values.Number("resumes").value_or(0)),
                     .rate = values.Number("rate"),
                     .deadline_s = values.Number("deadline"),
                     .weight_default = values.Default("weight"),
                     .wait = values.Flag("wait"),
                     .force = values.Flag("force"),
                     .dry_run = values.Flag("dry-run")};
  if (auto weight = values.Number("weight")) request.weight = static_cast<uint32_t>(*weight);
  return request;
}

std::string CtlDescription() { return net::CtlDescription(kCommands); }

}  // namespace lb
