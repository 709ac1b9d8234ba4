#include "dns/admin/ctl_commands.h"

namespace dns {
namespace {

using net::CtlArg;
using net::CtlArgKind;
using net::CtlCommand;

constexpr CtlArg kBy{"by", CtlArgKind::kText, false, false, "who asks, for the log [the user]"};
constexpr CtlArg kAll{"all", CtlArgKind::kFlag, false, false,
                      "on all DNS nodes of the quorum, by quorum.key"};
constexpr CtlArg kOverrideArgs[] = {
    {"balancer", CtlArgKind::kText, true, true, "its name"},
    {"pool", CtlArgKind::kText, false, false, "in this pool only"},
    kAll,
    kBy,
};
constexpr CtlArg kExplainArgs[] = {
    {"name", CtlArgKind::kText, true, true, "a domain name"},
    {"if-down", CtlArgKind::kText, false, false, "as if this balancer or address were down"},
};
constexpr CtlArg kUpgradeArgs[] = {
    {"binary", CtlArgKind::kText, false, false, "the new program [the same file]"},
};
constexpr CtlArg kAcmeSetArgs[] = {
    {"name", CtlArgKind::kText, true, true, "the name that the certificate is for"},
    {"token", CtlArgKind::kText, true, true, "what stands in the TXT record"},
    {.name = "seconds",
     .kind = CtlArgKind::kNumber,
     .help = "for so many seconds, up to a day [600]",
     .max = 86'400},
    kAll,
};
constexpr CtlArg kAcmeClearArgs[] = {
    {"name", CtlArgKind::kText, true, false, "of this name alone [all]"},
    {"token", CtlArgKind::kText, true, false, "this one alone"},
    kAll,
};
constexpr CtlArg kZoneArgs[] = {
    {"zone", CtlArgKind::kText, true, true, "one that is had from a primary"},
};
constexpr CtlArg kTopArgs[] = {
    {"once", CtlArgKind::kFlag, false, false, "one frame, then leave"},
    {.name = "rounds", .kind = CtlArgKind::kNumber, .help = "so many frames", .max = 1'000'000},
};

constexpr CtlCommand kCommands[] = {
    {"states", "every balancer: in or out, and why", false, {}},
    {"status", "the process: version, uptime, workers", false, {}},
    {"stats", "what has been counted", false, {}},
    {"keys", "the keys of each zone: what they do, and when that changes", false, {}},
    {"explain", "the answer for a name: each address, its share, and why", false, kExplainArgs},
    {"drain", "steps a balancer out", true, kOverrideArgs},
    {"down", "takes a balancer out at once", true, kOverrideArgs},
    {"up", "gives a balancer out whatever its checks say", true, kOverrideArgs},
    {"auto", "lets the checks decide again", true, kOverrideArgs},
    {"reload", "applies the configuration again, whole or not at all", true, {}},
    {"upgrade", "lets a new process take over, without a lost query", true, kUpgradeArgs},
    {"refresh", "asks a zone's primary for what is new, at once", true, kZoneArgs},
    {"retransfer", "asks a zone's primary for all of it, at once", true, kZoneArgs},
    {"acme set", "publishes a challenge at _acme-challenge.NAME", true, kAcmeSetArgs},
    {"acme list", "the challenges that are published", false, {}},
    {"acme clear", "takes challenges away", true, kAcmeClearArgs},
    {"describe", "these commands and their arguments", false, {}},
    {.name = "top",
     .help = "states and rates, each second; q or Ctrl-C leaves",
     .args = kTopArgs,
     .local = true},
};

}  // namespace

std::span<const CtlCommand> CtlCommands() { return kCommands; }

}  // namespace dns
