// The rules of roles and affiliations, walked whole: every actor, every target, every change.
#include "server/muc/standing.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace server {
namespace {

// What the XEP says, in its own order: who asks for what of whom, and what comes of it ("" it may).
// Affiliations and roles by their first letters: Outcast None Member Admin oWner; None Visitor
// Participant Moderator.

Affiliation A(char c) {
  switch (c) {
    case 'O':
      return Affiliation::kOutcast;
    case 'M':
      return Affiliation::kMember;
    case 'A':
      return Affiliation::kAdmin;
    case 'W':
      return Affiliation::kOwner;
    default:
      return Affiliation::kNone;
  }
}

struct Row {
  char actor;
  // By `to`, each by `from`, both in the order O N M A W: '.' may, 'f' forbidden, 'n' not-allowed.
  const char* by_to[5];
};
constexpr Row kAffiliationTable[] = {
    // sections 9.1 to 9.4, 10.3 to 10.7: who is neither admin nor owner changes nothing
    {'O', {"fffff", "fffff", "fffff", "fffff", "fffff"}},
    {'N', {"fffff", "fffff", "fffff", "fffff", "fffff"}},
    {'M', {"fffff", "fffff", "fffff", "fffff", "fffff"}},
    // an admin bans (not admins or owners), gives and takes membership, and no more
    {'A', {"...nn", "...ff", "...ff", "fffff", "fffff"}},
    // an owner does all
    {'W', {".....", ".....", ".....", ".....", "....."}},
};

TEST(Standing, EveryChangeOfAnAffiliationIsAsTheTableSays) {
  constexpr std::string_view kOrder = "ONMAW";
  for (const Row& row : kAffiliationTable) {
    for (size_t to = 0; to < kOrder.size(); ++to) {
      for (size_t from = 0; from < kOrder.size(); ++from) {
        const auto refusal = RefusalOfAffiliation(A(row.actor), A(kOrder[from]), A(kOrder[to]));
        const char got = !refusal                               ? '.'
                         : *refusal == StanzaError::kForbidden  ? 'f'
                         : *refusal == StanzaError::kNotAllowed ? 'n'
                                                                : '?';
        EXPECT_EQ(got, row.by_to[to][from])
            << row.actor << ": " << kOrder[from] << " to " << kOrder[to];
      }
    }
  }
}

// By the actor's affiliation and the target's, in words of the sections; the actor is a moderator.
char Expected(Affiliation actor, Affiliation target, Role from, Role to) {
  const bool admin = actor >= Affiliation::kAdmin;
  const bool target_admin = target >= Affiliation::kAdmin;
  if (to == Role::kNone) return target > actor ? 'n' : '.';  // 8.2
  if (to == Role::kModerator) return admin ? '.' : 'f';      // 9.6
  if (from == Role::kModerator) {                            // 9.7
    if (!admin) return 'f';
    return target_admin ? 'n' : '.';
  }
  if (to == Role::kVisitor) return target > actor || target_admin ? 'n' : '.';  // 8.4
  return '.';                                                                   // 8.3
}

TEST(Standing, EveryChangeOfARoleIsAsTheTableSays) {
  for (int a = 1; a < kAffiliations; ++a) {
    for (int t = 1; t < kAffiliations; ++t) {
      for (int from = 1; from < kRoles; ++from) {
        for (int to = 0; to < kRoles; ++to) {
          const Standing actor{static_cast<Affiliation>(a), Role::kModerator};
          const Standing target{static_cast<Affiliation>(t), static_cast<Role>(from)};
          const auto refusal = RefusalOfRole(actor, target, static_cast<Role>(to));
          const char got = !refusal                               ? '.'
                           : *refusal == StanzaError::kForbidden  ? 'f'
                           : *refusal == StanzaError::kNotAllowed ? 'n'
                                                                  : '?';
          EXPECT_EQ(got, Expected(actor.affiliation, target.affiliation, target.role,
                                  static_cast<Role>(to)))
              << ToString(actor.affiliation) << " makes " << ToString(target.affiliation) << " "
              << ToString(target.role) << " " << ToString(static_cast<Role>(to));
        }
      }
    }
  }
}

TEST(Standing, WhoIsNoModeratorChangesNoRole) {
  for (const Role role : {Role::kNone, Role::kVisitor, Role::kParticipant}) {
    for (int to = 0; to < kRoles; ++to) {
      for (const Affiliation affiliation : {Affiliation::kNone, Affiliation::kMember}) {
        EXPECT_EQ(RefusalOfRole({affiliation, role}, {Affiliation::kNone, Role::kParticipant},
                                static_cast<Role>(to)),
                  StanzaError::kForbidden);
      }
    }
  }
}

TEST(Standing, OnEntryTheAffiliationGivesTheRole) {
  // section 5.1.2, table 5: outcast none member admin owner
  const std::vector<Role> open = {Role::kNone, Role::kParticipant, Role::kParticipant,
                                  Role::kModerator, Role::kModerator};
  const std::vector<Role> moderated = {Role::kNone, Role::kVisitor, Role::kParticipant,
                                       Role::kModerator, Role::kModerator};
  for (int a = 0; a < kAffiliations; ++a) {
    EXPECT_EQ(RoleOnEntry(static_cast<Affiliation>(a), false), open[static_cast<size_t>(a)]);
    EXPECT_EQ(RoleOnEntry(static_cast<Affiliation>(a), true), moderated[static_cast<size_t>(a)]);
  }
}

TEST(Standing, NamesAreReadAsTheyAreWritten) {
  for (int a = 0; a < kAffiliations; ++a) {
    const auto affiliation = static_cast<Affiliation>(a);
    EXPECT_EQ(ParseAffiliation(ToString(affiliation)), affiliation);
  }
  for (int r = 0; r < kRoles; ++r) {
    EXPECT_EQ(ParseRole(ToString(static_cast<Role>(r))), static_cast<Role>(r));
  }
  EXPECT_FALSE(ParseAffiliation("Owner"));
  EXPECT_FALSE(ParseRole(""));
}

}  // namespace
}  // namespace server
