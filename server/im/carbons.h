// Message carbons (XEP-0280): the user's other sessions see what one of them sends or gets.
//
// One thread, of the home.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "server/im/home_core.h"

namespace server {

inline constexpr std::string_view kCarbonsSpace = "urn:xmpp:carbons:2";

class Carbons {
 public:
  explicit Carbons(HomeCore& core) : core_(core) {}

  // <enable/> and <disable/>; false: it is neither.
  static bool Set(HomeSession& session, std::string_view name);

  // `extra`: XML that the copy carries beside what was sent: its <stanza-id/>.
  void Sent(const User& user, const HomeSession& by, const Parcel& message, std::string_view extra);
  // `got` have the message itself.
  void Received(const User& user, std::span<const SessionId> got, const Parcel& message,
                std::string_view extra);
  // Whether it answers a message of the user's that was copied (section 6.1).
  bool AnswersCopied(const Parcel& error) const;

 private:
  void Copy(const User& user, const HomeSession& to, std::string_view wrapper,
            const Parcel& message, std::string_view extra);
  static uint64_t KeyOf(const Jid& sender, const Jid& to, std::string_view id);

  HomeCore& core_;
  // Marks of what was copied last, of all users: one that was overwritten costs a copy of an error.
  std::array<uint64_t, 1024> copied_{};
};

}  // namespace server
