// Accounts: MongooseIM's words for what came of a command.
#include <string>

#include "server/ctl/ctl.h"
#include "server/dist/node_name.h"

namespace server {

AccountAnswer AnswerOf(const AccountRequest& request, const AccountResult& result,
                       std::string_view node) {
  const std::string& user = request.user;
  switch (result.outcome) {
    case AccountOutcome::kExists:
      return {"User " + user + " already registered at node " + QuotedNodeName(node), "exists"};
    case AccountOutcome::kAbsent:
      if (request.action == AccountAction::kCheck ||
          request.action == AccountAction::kCheckPassword) {
        return {"User does not exist", "user_does_not_exist"};
      }
      return {"User " + user + " does not exist", "not_found"};
    case AccountOutcome::kWrong:
      return {"Password is incorrect", "incorrect_password"};
    case AccountOutcome::kInvalid:
      return {result.detail.empty() ? "Invalid JID " + user : result.detail, "invalid_jid"};
    case AccountOutcome::kNoDomain:
      return {"Domain of " + user + " is not served here", "domain_not_found"};
    case AccountOutcome::kFailed:
      return {"The store did not do it: " + result.detail, "store_failed"};
    case AccountOutcome::kNoXmpp:
      return {"The node has no [[host]] and does not speak XMPP", "no_hosts"};
    case AccountOutcome::kDone:
      break;
  }
  switch (request.action) {
    case AccountAction::kRegister:
      return {"User " + user + " successfully registered", ""};
    case AccountAction::kRemove:
      return {"User " + user + " successfully unregistered", ""};
    case AccountAction::kSetPassword:
      return {"Password changed", ""};
    case AccountAction::kCheckPassword:
      return {"Password is correct", ""};
    case AccountAction::kCheck:
      return {"User exists", ""};
    case AccountAction::kList:
    case AccountAction::kCount:
      break;
  }
  return {};
}

}  // namespace server
