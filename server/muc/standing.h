// Who may do what to whom in a room (XEP-0045 section 5): affiliations, which last, roles, which
// last as long as a visit, and the rules that changes of both obey (sections 8 to 10).
//
// Pure; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "server/im/iq.h"

namespace server {

// In order of rank.
enum class Affiliation : uint8_t { kOutcast, kNone, kMember, kAdmin, kOwner };
enum class Role : uint8_t { kNone, kVisitor, kParticipant, kModerator };
inline constexpr int kAffiliations = 5;
inline constexpr int kRoles = 4;

std::string_view ToString(Affiliation affiliation);
std::string_view ToString(Role role);
std::optional<Affiliation> ParseAffiliation(std::string_view text);
std::optional<Role> ParseRole(std::string_view text);

// Section 5.1.2: what an affiliation gives on entering. kNone: it does not get in.
Role RoleOnEntry(Affiliation affiliation, bool moderated);

struct Standing {
  Affiliation affiliation = Affiliation::kNone;
  Role role = Role::kNone;
};

// Why `actor` may not make `target`'s role `to`; nothing where it may. Sections 8.2 to 8.4, 9.6,
// 9.7. kNone is a kick.
std::optional<StanzaError> RefusalOfRole(const Standing& actor, const Standing& target, Role to);

// Why `actor` may not make somebody's affiliation `to` who has `from`. Sections 9.1 to 9.4 and
// 10.3 to 10.7. Who would be the last owner is the room's to know.
std::optional<StanzaError> RefusalOfAffiliation(Affiliation actor, Affiliation from,
                                                Affiliation to);

}  // namespace server
