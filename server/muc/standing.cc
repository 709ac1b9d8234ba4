#include "server/muc/standing.h"

#include <algorithm>
#include <array>

namespace server {
namespace {

constexpr std::array<std::string_view, kAffiliations> kAffiliationNames = {
    "outcast", "none", "member", "admin", "owner"};
constexpr std::array<std::string_view, kRoles> kRoleNames = {"none", "visitor", "participant",
                                                             "moderator"};

template <typename T, size_t N>
std::optional<T> Find(const std::array<std::string_view, N>& names, std::string_view text) {
  const auto at = std::ranges::find(names, text);
  if (at == names.end()) return std::nullopt;
  return static_cast<T>(at - names.begin());
}

constexpr auto kAll = std::nullopt;

// A change of role by what it was and becomes: the first row that fits decides.
struct RoleRule {
  std::optional<Role> from;
  std::optional<Role> to;
  Affiliation least;       // of the actor; below: forbidden
  bool spares_above;       // a target that ranks above the actor: not-allowed
  bool spares_privileged;  // a target that is an admin or an owner: not-allowed
};
constexpr std::array kRoleRules = {
    // 8.2: a kick. Whoever has a higher affiliation is spared.
    RoleRule{kAll, Role::kNone, Affiliation::kNone, true, false},
    // 9.6: a moderator is made by admins.
    RoleRule{kAll, Role::kModerator, Affiliation::kAdmin, false, false},
    // 9.7: and unmade by them; admins and owners stay moderators as long as they are that.
    RoleRule{Role::kModerator, kAll, Affiliation::kAdmin, false, true},
    // 8.4: voice is taken from nobody above, and from no admin or owner at all.
    RoleRule{kAll, Role::kVisitor, Affiliation::kNone, true, true},
    // 8.3
    RoleRule{kAll, Role::kParticipant, Affiliation::kNone, false, false},
};

constexpr bool Privileged(Affiliation affiliation) { return affiliation >= Affiliation::kAdmin; }

}  // namespace

std::string_view ToString(Affiliation affiliation) {
  return kAffiliationNames[static_cast<size_t>(affiliation)];
}
std::string_view ToString(Role role) { return kRoleNames[static_cast<size_t>(role)]; }
std::optional<Affiliation> ParseAffiliation(std::string_view text) {
  return Find<Affiliation>(kAffiliationNames, text);
}
std::optional<Role> ParseRole(std::string_view text) { return Find<Role>(kRoleNames, text); }

Role RoleOnEntry(Affiliation affiliation, bool moderated) {
  switch (affiliation) {
    case Affiliation::kOutcast:
      return Role::kNone;
    case Affiliation::kNone:
      return moderated ? Role::kVisitor : Role::kParticipant;
    case Affiliation::kMember:
      return Role::kParticipant;
    case Affiliation::kAdmin:
    case Affiliation::kOwner:
      return Role::kModerator;
  }
  return Role::kNone;
}

std::optional<StanzaError> RefusalOfRole(const Standing& actor, const Standing& target, Role to) {
  if (actor.role != Role::kModerator && !Privileged(actor.affiliation)) {
    return StanzaError::kForbidden;
  }
  const auto rule = std::ranges::find_if(kRoleRules, [&](const RoleRule& one) {
    return (!one.from || *one.from == target.role) && (!one.to || *one.to == to);
  });
  if (actor.affiliation < rule->least) return StanzaError::kForbidden;
  if (rule->spares_above && target.affiliation > actor.affiliation) return StanzaError::kNotAllowed;
  if (rule->spares_privileged && Privileged(target.affiliation)) return StanzaError::kNotAllowed;
  return std::nullopt;
}

std::optional<StanzaError> RefusalOfAffiliation(Affiliation actor, Affiliation from,
                                                Affiliation to) {
  if (!Privileged(actor)) return StanzaError::kForbidden;
  if (actor == Affiliation::kOwner) return std::nullopt;
  // An admin: nobody becomes privileged by it, nor ceases to be.
  if (Privileged(to)) return StanzaError::kForbidden;
  if (Privileged(from)) {  // 9.1: a ban has an error of its own
    return to == Affiliation::kOutcast ? StanzaError::kNotAllowed : StanzaError::kForbidden;
  }
  return std::nullopt;
}

}  // namespace server
