// A user at home, for handlers of IQ (AccountView): found again by name at each question, so that
// it may be kept while the store is asked.
//
// One thread, of the home.
#pragma once

#include <memory>

#include "server/im/home_core.h"
#include "server/im/iq.h"

namespace server {

std::shared_ptr<AccountView> MakeAccountView(HomeCore& core, const Jid& user);

}  // namespace server
