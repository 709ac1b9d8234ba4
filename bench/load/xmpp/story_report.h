// What a story came to: its verdict, its acts, and its seconds; as JSON, for people, and as one
// HTML page with plots that needs nothing from elsewhere. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "bench/load/result.h"
#include "bench/load/xmpp/story_scenario.h"

namespace bench {

struct Story {
  std::string target;
  std::vector<std::string> targets;  // by which landings are counted
  std::size_t sessions = 0;
  std::size_t ready = 0;  // at the end
  bool interrupted = false;
  bool may_repeat = false;  // History::Verdict::Faultless
  History::Verdict verdict;
  std::map<std::string, std::uint64_t> returned;  // by what was said
  std::vector<Act> acts;
  std::vector<StorySecond> seconds;
  std::int64_t absence_p50_ns = 0;
  std::int64_t absence_max_ns = 0;
  std::int64_t delivery_p50_ns = 0;
  std::int64_t delivery_p99_ns = 0;
  std::vector<std::string> examples;  // of failures
  std::vector<std::string> invalid;   // why it proves nothing
};

// Fills story.invalid: nothing was counted, an act failed or did not run, sessions were not back.
void JudgeStory(Story& story);
bool IsGood(const Story& story);

// A line for who watches.
std::string SecondLine(std::size_t number, const StorySecond& second);
std::string ActLine(const Act& act);

std::string StoryJson(const Story& story);
std::string StoryText(const Story& story);
std::string StoryPage(const Story& story);

}  // namespace bench
