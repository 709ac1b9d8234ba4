// What became of the messages of a room: each must come to every occupant once, those of one
// speaker in the order in which they were said. Says of each copy whether it is the one that was
// awaited, and counts those that are not.
//
// Pure: speakers, occupants and messages are numbers, the time is given.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "bench/load/result.h"

namespace bench {

class RoomLog {
 public:
  // Speakers are the first of the occupants. Their messages count from `first_number`: what has a
  // lower one is of an earlier run and no matter here.
  RoomLog(std::size_t speakers, std::size_t occupants, std::uint64_t first_number);

  // Of the message that `speaker` says now.
  std::uint64_t Said(std::size_t speaker, std::int64_t intended_ns);

  struct Copy {
    std::int64_t intended_ns;  // of its message
    bool last;                 // all occupants have it
  };
  // Nothing: it is none of those that were awaited.
  std::optional<Copy> Came(std::size_t occupant, std::size_t speaker, std::uint64_t number);

  // Gives up what `speaker` said before `older_than_ns` and not all have: how many messages.
  std::size_t GiveUp(std::size_t speaker, std::int64_t older_than_ns);

  std::size_t UnderWay(std::size_t speaker) const;
  const CopyFaults& Faults() const { return faults_; }

 private:
  struct Message {
    std::int64_t intended_ns;
    std::size_t missing;  // occupants who have not had it
  };
  struct Speaker {
    std::uint64_t front;           // number of the first of those under way
    std::deque<Message> messages;  // a message that all have may be behind one that is under way
  };
  // What an occupant has of a speaker.
  struct Ear {
    std::uint64_t next;                  // awaited
    std::vector<std::uint64_t> skipped;  // that later ones have overtaken
  };

  static void DropComplete(Speaker& speaker);

  std::size_t occupants_;
  std::uint64_t first_number_;
  std::vector<Speaker> speakers_;
  std::vector<Ear> ears_;  // speaker by speaker
  CopyFaults faults_;
};

}  // namespace bench
