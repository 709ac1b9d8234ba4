// mongooseimctl: both generations of MongooseIM's commands over one node.
//
// The older ones are flat words (join_cluster, status, mnesia info) and print lines; the newer ones
// are CATEGORY COMMAND --arg VALUE and print GraphQL's envelope. Texts, prompts and exit codes are
// theirs, since operators' scripts compare them: 0 done, 1 refused or failed, 2 usage, 3 the node
// is down.
//
// Pure over NodeApi and Terminal; one call is one run of the program.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/ctl/node_api.h"

namespace server {

int RunCtl(std::span<const std::string> args, NodeApi& node, Terminal& terminal);

// --- the pieces, for tests and shells' completions ---

// [a@h, b@h]: as the page prints lists, with a blank behind the comma.
std::string NodeList(const std::vector<std::string>& names);
// mnesia info: Mnesia's report, as far as scripts look at it.
std::string MnesiaInfo(NodeApi& node);
// One value of mnesia:system_info; nothing for a key that it has not.
struct MnesiaValue {
  bool list = false;
  std::vector<std::string> values;
};
std::optional<MnesiaValue> MnesiaKey(NodeApi& node, std::string_view key);
std::vector<std::string_view> MnesiaKeys();

struct CtlCommandSpec {
  std::string_view category;
  char kind;  // Q, M or S
  std::string_view command;
  std::string_view arguments;  // "domain:DomainName! limit:PosInt"
  std::string_view type;
};
std::span<const CtlCommandSpec> CtlCommandSpecs();
bool IsCtlCategory(std::string_view word);
// Those of them that a node's XMPP answers, and a few of our own that old commands stand on, with
// the category "flat". In the program that answers there is one for each (a test compares them).
std::span<const std::pair<std::string_view, std::string_view>> XmppCommandNames();
bool IsXmppCommand(std::string_view category, std::string_view command);
// The old commands over these: nothing for a name that is none of them, else the exit code.
struct FlatXmppCommand {
  std::string_view name;
  std::string_view arguments;
  std::string_view help;
};
std::span<const FlatXmppCommand> FlatXmppCommands();
std::optional<int> RunFlatXmpp(std::span<const std::string> args, NodeApi& node,
                               Terminal& terminal);
// What MongooseIM says of what came of it, and the code in its envelope; "" for what went well.
struct AccountAnswer {
  std::string text;
  std::string_view code;
};
AccountAnswer AnswerOf(const AccountRequest& request, const AccountResult& result,
                       std::string_view node);
// args[0] is a category.
int RunCategory(std::span<const std::string> args, NodeApi& node, Terminal& terminal);
// graphql 'DOC': the same commands, as a document asks for them.
int RunDocument(const std::string& text, NodeApi& node, Terminal& terminal);

}  // namespace server
