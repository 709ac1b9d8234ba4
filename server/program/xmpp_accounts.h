// Accounts as operators order them, over the store of a running node's XMPP.
//
// Called on the node's thread; the work is done on a worker, `done` called there.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "server/c2s/xmpp_service.h"
#include "server/ctl/node_api.h"

namespace server {

using AccountDone = std::move_only_function<void(AccountResult result)>;

// One answer's bound of kList.
inline constexpr uint64_t kAccountsListMax = 20'000;

// `service` outlives the call's end, or ends it without `done`.
void DoAccount(XmppService& service, const std::vector<std::string>& domains,
               AccountRequest request, AccountDone done);

}  // namespace server
