// A content goes to a node once in a mail, however many are at home there (server/im/letters.h).
//
// The first parcel has it with it: most contents are for one. It is known again by the string that
// the parcels share, and held while the mail is written, so that no other one is taken for it.
#include <utility>

#include "server/c2s/far_side.h"

namespace server {

bool FarSide::PostRoute(NodeNumber node, RouteLetter letter) {
  letter.content = ShareContent(node, letter.parcel);
  return Post(node, letter);
}

// The number to name it by; 0: it is to be written.
uint32_t FarSide::ShareContent(NodeNumber node, const Parcel& parcel) {
  const auto& content = parcel.content;
  Peer* peer = Find(node);
  if (peer == nullptr || peer->version < kLettersWithSharedContents) return 0;
  if (content == nullptr || content->size() < kSharedBytesMin) return 0;
  auto& shared = peer->shared;
  if (shared.content != content) {
    shared.content = content;
    shared.number = 0;
    return 0;
  }
  if (shared.number == 0) {
    if (++last_content_ == 0) ++last_content_;
    if (!Post(node, ContentLetter{last_content_, parcel.kind, content})) return 0;
    shared.number = last_content_;
    shared.any = true;
  }
  return shared.number;
}

std::vector<NodeMail> FarSide::TakeMail() {
  std::vector<NodeMail> mail;
  for (auto& [node, peer] : peers_) {
    if (std::exchange(peer.shared, {}).any) Post(node, ContentEndLetter{});
    if (!peer.out.empty()) mail.push_back({node, std::exchange(peer.out, {})});
  }
  return mail;
}

void FarSide::OnLetter(NodeNumber node, ContentLetter letter) {
  peers_.at(node).heard = std::move(letter);
}

void FarSide::OnLetter(NodeNumber node, const ContentEndLetter&) { peers_.at(node).heard = {}; }

void FarSide::OnLetter(NodeNumber node, RouteLetter letter) {
  if (letter.content != 0) {
    const ContentLetter& heard = peers_.at(node).heard;
    if (letter.content != heard.number) {
      ClientCounters::Add(counters_.letters_malformed);
      return;
    }
    letter.parcel.content = heard.content;
  }
  if (takes_no_more_ && letter.parcel.mark) return;
  Route(std::move(letter.parcel), letter.hops, Turn::kInOrder);
}

}  // namespace server
