// `mongoosebench xmpp MODE` and `mongoosebench scenario`: what its modes do, once their arguments
// are read. Exit statuses as in commands.h.
#pragma once

#include "bench/load/commands.h"

namespace bench {

struct XmppArguments {
  Arguments common;
  std::string users;
  std::string password;
  std::size_t first = 0;
  std::size_t accounts = 0;  // 0: as many as the mode has sessions
  std::string security = "starttls";
  std::string mechanism = "scram-sha-1";
  bool no_stream_management = false;
  bool no_carbons = false;
  bool no_roster = false;
  bool no_presence = false;
  bool resume = false;
  bool no_prime = false;
  bool cut = false;
  std::size_t pairs = 100;
  std::size_t window = 0;
  std::size_t body = 100;
  std::size_t ack_every = 0;
  std::size_t contacts = 20;
  std::size_t page = 50;
  std::string room;  // empty: one that is new
  std::size_t speakers = 1;
  // scenario
  std::vector<std::string> acts;
  std::string settle = "60s";
  bool may_repeat = false;
  std::string html;
};

int RunXmppRegister(const XmppArguments& args);
int RunXmppLogin(const XmppArguments& args);
int RunXmppMessage(const XmppArguments& args);
int RunXmppPresence(const XmppArguments& args);
int RunXmppMuc(const XmppArguments& args);
int RunXmppArchive(const XmppArguments& args);
int RunXmppIdle(const XmppArguments& args);
int RunXmppStorm(const XmppArguments& args);
int RunStory(const XmppArguments& args);

}  // namespace bench
