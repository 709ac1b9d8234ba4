// Messages to all accounts of a domain, so many a second: jobs of a node, and gone with it. The
// commands (commands_broadcast.cc) make those of all nodes one: a domain's begin on the node that
// deals with it, and their numbers rise whichever that is.
//
// A job walks over the accounts page by page and hands each message to the home of its recipient,
// which keeps it for who is away. One job at a time in a domain.
//
// On the node's thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "server/program/xmpp_commands.h"

namespace server {

struct BroadcastOrder {
  std::string name;
  std::string domain;
  std::string subject;
  std::string body;
  Jid sender;
  uint32_t rate = 1;  // messages a second
};

class BroadcastJobs {
 public:
  static constexpr size_t kKept = 100;  // jobs; the oldest that does not run goes for a new one
  static constexpr uint32_t kRateMax = 1'000;
  enum class State : uint8_t { kRunning, kFinished, kAbortError, kAbortAdmin };

  struct Job {
    int64_t id = 0;
    BroadcastOrder order;
    State state = State::kRunning;
    std::string trouble;
    int64_t began_us = 0;
    int64_t ended_us = 0;
    uint64_t recipients = 0;
    uint64_t sent = 0;
    // What is read and not sent yet.
    std::deque<std::string> page;
    std::string after;
    bool reading = false;
    bool last_page = false;
  };

  // `ground` outlives this.
  explicit BroadcastJobs(CommandGround& ground) : ground_(ground) {}

  // Its number, above `above`; 0: one runs in the domain already.
  int64_t Start(BroadcastOrder order, int64_t above);
  const Job* Find(std::string_view domain, int64_t id) const;
  bool Abort(std::string_view domain, int64_t id);  // false: it does not run
  // Those that do not run; which went. `ids` empty: all of the domain.
  std::vector<int64_t> Delete(std::string_view domain, const std::vector<int64_t>& ids);
  std::vector<const Job*> Of(std::string_view domain) const;

 private:
  Job* Running(int64_t id);
  void Count(int64_t id);
  void Step(int64_t id);
  void ReadPage(Job& job);
  void Send(const Job& job, const std::string& user);
  void End(Job& job, State state, std::string trouble = {});

  CommandGround& ground_;
  std::deque<Job> jobs_;  // oldest first
  int64_t last_id_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace server
