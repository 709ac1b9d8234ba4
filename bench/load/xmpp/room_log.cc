#include "bench/load/xmpp/room_log.h"

#include <algorithm>

namespace bench {

RoomLog::RoomLog(std::size_t speakers, std::size_t occupants, std::uint64_t first_number)
    : occupants_(occupants),
      first_number_(first_number),
      speakers_(speakers, Speaker{first_number, {}}),
      ears_(speakers * occupants, Ear{first_number, {}}) {}

std::uint64_t RoomLog::Said(std::size_t speaker, std::int64_t intended_ns) {
  Speaker& who = speakers_[speaker];
  who.messages.push_back({intended_ns, occupants_});
  return who.front + who.messages.size() - 1;
}

std::optional<RoomLog::Copy> RoomLog::Came(std::size_t occupant, std::size_t speaker,
                                           std::uint64_t number) {
  if (speaker >= speakers_.size() || occupant >= occupants_ || number < first_number_) {
    return std::nullopt;
  }
  Speaker& who = speakers_[speaker];
  if (number >= who.front + who.messages.size()) return std::nullopt;  // nobody has said it yet
  Ear& ear = ears_[speaker * occupants_ + occupant];
  if (number >= ear.next) {
    for (; ear.next < number; ++ear.next) ear.skipped.push_back(ear.next);
    ++ear.next;
  } else {
    const auto late = std::ranges::find(ear.skipped, number);
    if (late == ear.skipped.end()) {
      ++faults_.doubled;
      return std::nullopt;
    }
    ear.skipped.erase(late);
    ++faults_.swapped;
  }
  if (number < who.front) return std::nullopt;  // it was given up, and is counted as lost
  Message& message = who.messages[static_cast<std::size_t>(number - who.front)];
  const Copy copy{message.intended_ns, --message.missing == 0};
  if (copy.last) DropComplete(who);
  return copy;
}

void RoomLog::DropComplete(Speaker& speaker) {
  while (!speaker.messages.empty() && speaker.messages.front().missing == 0) {
    speaker.messages.pop_front();
    ++speaker.front;
  }
}

std::size_t RoomLog::GiveUp(std::size_t speaker, std::int64_t older_than_ns) {
  Speaker& who = speakers_[speaker];
  std::size_t given_up = 0;
  while (!who.messages.empty() && who.messages.front().intended_ns < older_than_ns) {
    faults_.lost += who.messages.front().missing;
    ++given_up;
    who.messages.pop_front();
    ++who.front;
    DropComplete(who);
  }
  return given_up;
}

std::size_t RoomLog::UnderWay(std::size_t speaker) const {
  const std::deque<Message>& messages = speakers_[speaker].messages;
  return static_cast<std::size_t>(
      std::ranges::count_if(messages, [](const Message& message) { return message.missing != 0; }));
}

}  // namespace bench
