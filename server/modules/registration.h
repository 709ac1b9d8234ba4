// In-band registration of who is logged in (XEP-0077 sections 3.2 and 3.3): an account changes its
// password, or ends. Over an encrypted stream only. (How accounts begin: sign_up.h.)
#pragma once

#include "server/im/iq.h"
#include "server/modules/sign_up.h"

namespace server {

struct RegistrationOptions {
  bool password_change = true;
  bool removal = true;
  double changes_per_hour = 6;  // of one account's password
  size_t password_bytes_min = 8;
  SignUpOptions sign_up = {};
};
void AddRegistration(IqTable& table, ModuleGround& ground, const RegistrationOptions& options);

}  // namespace server
