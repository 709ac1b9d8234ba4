// What nodes tell each other that they can do, as the distribution's handshake carries it.
// https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html#distribution-flags
#pragma once

#include <cstdint>

namespace server {

namespace dist_flag {
inline constexpr uint64_t kPublished = 0x1;  // visible in nodes()
inline constexpr uint64_t kExtendedReferences = 0x4;
inline constexpr uint64_t kMonitor = 0x8;
inline constexpr uint64_t kFunTags = 0x10;
inline constexpr uint64_t kMonitorName = 0x20;
inline constexpr uint64_t kNewFunTags = 0x80;
inline constexpr uint64_t kExtendedPidsPorts = 0x100;
inline constexpr uint64_t kExportPtrTag = 0x200;
inline constexpr uint64_t kBitBinaries = 0x400;
inline constexpr uint64_t kNewFloats = 0x800;
inline constexpr uint64_t kHeaderAtomCache = 0x2000;
inline constexpr uint64_t kSmallAtomTags = 0x4000;
inline constexpr uint64_t kUtf8Atoms = 0x10000;
inline constexpr uint64_t kMapTag = 0x20000;
inline constexpr uint64_t kBigCreation = 0x40000;
inline constexpr uint64_t kExitPayload = 0x400000;
inline constexpr uint64_t kFragments = 0x800000;
inline constexpr uint64_t kHandshake23 = 0x1000000;
inline constexpr uint64_t kUnlinkId = 0x2000000;
inline constexpr uint64_t kMandatory25 = 0x4000000;  // stands for all of kMandatory
inline constexpr uint64_t kSpawn = uint64_t{1} << 32;
inline constexpr uint64_t kNameMe = uint64_t{1} << 33;
inline constexpr uint64_t kV4Containers = uint64_t{1} << 34;
}  // namespace dist_flag

// What a peer must have: the set that OTP 25 asks for. UNLINK_ID and V4_NC came to it with 26.
inline constexpr uint64_t kDistFlagsMandatory =
    dist_flag::kExtendedReferences | dist_flag::kFunTags | dist_flag::kNewFunTags |
    dist_flag::kExtendedPidsPorts | dist_flag::kExportPtrTag | dist_flag::kBitBinaries |
    dist_flag::kNewFloats | dist_flag::kUtf8Atoms | dist_flag::kMapTag | dist_flag::kBigCreation |
    dist_flag::kHandshake23;

// What we say. Left out, so that peers fall back to plain frames: the atom cache, fragments,
// aliases.
inline constexpr uint64_t kDistFlagsOurs =
    kDistFlagsMandatory | dist_flag::kMandatory25 | dist_flag::kMonitor | dist_flag::kMonitorName |
    dist_flag::kSmallAtomTags | dist_flag::kUnlinkId | dist_flag::kV4Containers |
    dist_flag::kSpawn | dist_flag::kExitPayload;

constexpr uint64_t ExpandDistFlags(uint64_t flags) {
  return (flags & dist_flag::kMandatory25) != 0 ? flags | kDistFlagsMandatory : flags;
}

}  // namespace server
