// Messages (RFC 6121 section 8.5): to whom each goes, where it is kept, what its sender is told.
//
// A message to the account goes to all sessions of the highest priority that is not negative, as
// ejabberd and Prosody do, and by carbons to others; where there is none it waits in the store
// (XEP-0160) until a session comes. One to a session that is gone is the account's when it is chat,
// and goes back when it is not (section 8.5.3.2.1).
//
// *Settlement*: the sender's count (XEP-0198) goes on when a session took the message, or the
// archive or the offline storage has it for good, or an error went back: whichever is first. What a
// session leaves untaken goes to another, or waits, or goes back; what another has taken is done.
//
// *Doubt*: where the store cannot say whether it has a message (StoreError::kUnknown), nothing is
// told of it until that can be read; until then nothing that waits for its user is delivered, so
// that what is read is the truth.
//
// *Order*: what waited is read a page at a time, and goes to one session, which takes a page before
// the next is read. What comes for that session alone comes behind, by way of the store: only while
// its connection is there, and never where the store refuses, nobody knows what waits, or another
// session would see it now.
//
// What archives should have got while their store was away they get when it is back, whatever
// became of the message meanwhile.
//
// One thread, of the home.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/im/carbons.h"
#include "server/im/home_core.h"

namespace server {

class Messages {
 public:
  Messages(HomeCore& core, Carbons& carbons) : core_(core), carbons_(carbons) {}

  // A session of the user's sends it; not blocked.
  void Send(User& user, const HomeSession& by, Parcel message);
  // For the user.
  void Arrive(User& user, Parcel message);
  // An IQ request for one session: where it ends untaken, who asks is told.
  void ArriveIq(const HomeSession& session, const Parcel& iq);
  // The session became available, or its priority is not negative any more.
  void DeliverOffline(User& user);
  // Others may have stored messages that wait.
  void Look(User& user);
  // Once a second or so.
  void Tick();

 private:
  struct Held;    // a message on its way
  struct Waited;  // the messages that waited, with a session

  void Error(User& user, const Parcel& message);
  void ToFull(User& user, Parcel message);
  void ToAccount(User& user, Parcel message);
  void Deliver(User& user, Parcel message, const std::vector<SessionId>& targets);
  void Handed(const User& user, const std::shared_ptr<Held>& held,
              const std::vector<SessionId>& targets, std::string_view extra);
  void Ended(const std::shared_ptr<Held>& held, DeliveryEnd end);
  void Archive(const std::shared_ptr<Held>& held);
  void ArchiveSent(ArchiveEntry entry);
  void ArchiveAgain();
  // Whether one more of that size may be kept; counted then.
  bool MayArchiveLater(size_t bytes);
  void GoesOn(const std::shared_ptr<Held>& held);
  void Keep(User& user, const std::shared_ptr<Held>& held);
  void Kept(const std::shared_ptr<Held>& held);
  void NotKept(const std::shared_ptr<Held>& held, StoreError error);
  void Doubt(const std::shared_ptr<Held>& held, uint64_t offline_id);
  // It is known what became of it, or nobody asks any more. The user then has one doubt less.
  void EndDoubt(Held& held);
  void FindOut(const std::shared_ptr<Held>& held);
  void FindArchived(const std::shared_ptr<Held>& held);
  void PutOff(const std::shared_ptr<Held>& held);
  void Settle(Held& held);
  void GiveBack(Held& held, std::string error_xml);

  void OfflineRead(const std::string& bare, std::expected<OfflinePage, StoreError> read);
  void OfflineEnded(const std::shared_ptr<Waited>& waited, size_t index, DeliveryEnd end);
  void RemoveTaken(User& user);
  void ReleaseWaiting(User& user);

  HomeCore& core_;
  Carbons& carbons_;
  // Archived, untaken, and not yet offline; or in doubt.
  std::deque<std::shared_ptr<Held>> unkept_;
  std::deque<std::shared_ptr<Held>> unarchived_;
  std::deque<ArchiveEntry> unarchived_sent_;
  size_t unarchived_bytes_ = 0;  // in both
  // Users of whom the store did not remove what they took, or did not read what waits.
  std::vector<std::string> unserved_;
};

}  // namespace server
