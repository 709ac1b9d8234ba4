// In-band registration before authentication (XEP-0077 section 3.1): what a client's stream asks
// and is told, for whoever reads that stream. Not a handler: there is no account yet.
//
//   get  → SignUpForm()
//   set  → the address's rate (RateTable), ReadSignUp(), SignUp()
//
// Only on streams that are encrypted.
#pragma once

#include <expected>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/im/iq.h"
#include "server/xmpp/jid.h"
#include "server/xmpp/stanza.h"

namespace server {

inline constexpr std::string_view kRegisterSpace = "jabber:iq:register";

struct SignUpOptions {
  bool enabled = false;
  double per_address_and_hour = 3;
  size_t name_bytes_max = 64;
  size_t password_bytes_min = 8;
  // Local parts that nobody gets, prepared.
  std::vector<std::string> reserved = {"abuse",      "admin", "administrator", "hostmaster",
                                       "postmaster", "root",  "security",      "support",
                                       "webmaster",  "xmpp"};
  std::string instructions = "Choose a name and a password.";
};

// For stream features; "" where it is off.
std::string SignUpFeature(const SignUpOptions& options);
// The answer's content. Pure.
std::string SignUpForm(const SignUpOptions& options);

struct SignUpRequest {
  Jid user;
  std::string password;
};
// Of <query/> in an IQ of type set on a stream to `domain`; the error is the IQ's <error/>. Pure.
std::expected<SignUpRequest, std::string> ReadSignUp(const XmlElement& query,
                                                     std::string_view domain,
                                                     const SignUpOptions& options);
// Makes the account; `done` has the IQ's <error/>, or "".
void SignUp(ModuleGround& ground, SignUpRequest request,
            std::move_only_function<void(std::string error_xml)> done);

// Name and password, of the form (which counts before) or of the plain elements. Pure.
struct RegisterFields {
  std::string username;
  std::string password;
};
std::optional<RegisterFields> ReadRegisterFields(const XmlElement& query);

}  // namespace server
