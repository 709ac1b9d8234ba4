#include "server/im/letters.h"

#include <gtest/gtest.h>

#include "net/base/random.h"
#include "server/im/message_bytes.h"

namespace server {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint16_t kThem = 9;
const Jid kRomeo = Jid::Parse("romeo@here").value();
const Jid kFull = Jid::Parse("romeo@here/orchard").value();
const SessionId kSession{.worker = 3, .place = 77, .life = 123'456'789'012};

std::vector<Letter> All() {
  Parcel parcel{.kind = StanzaKind::kMessage,
                .type = StanzaType::kChat,
                .traits = {.body = true, .store = true, .encrypted = true},
                .from = kFull,
                .to = Jid::Parse("juliet@here").value(),
                .id = "m1",
                .lang = "de",
                .content = std::make_shared<const std::string>("<body>hi</body>"),
                .mark = {.session = kSession, .number = 5},
                .iq_name = "query",
                .iq_space = "jabber:iq:roster"};
  Parcel bare = parcel;
  bare.content = nullptr;
  return {
      BindRequest{.session = kSession,
                  .user = kRomeo,
                  .resource = "orchard",
                  .loaded = nullptr,
                  .resumable = true,
                  .address = "192.0.2.1:5222",
                  .secure = true},
      ArriveLetter{
          .session = kSession,
          .user = kRomeo,
          .stanza = ParseStanza("<message xmlns='jabber:client' to='a@b'><body>x</body></message>",
                                kClientSpace)
                        .value(),
          .number = 7},
      ChangedLetter{
          .session = kSession, .user = kRomeo, .state = {.resumable = true, .active = false}},
      DeliveryEndedLetter{
          .session = kSession, .user = kRomeo, .ticket = 12, .end = DeliveryEnd::kLost},
      GoneLetter{.session = kSession, .user = kRomeo},
      RouteLetter{.parcel = parcel, .hops = 2},
      BindFailedLetter{.session = kSession, .user = kRomeo, .error = "<error/>", .not_home = true},
      ClaimLetter{.user = kRomeo},
      ClaimedLetter{.user = kRomeo, .node = "b@host", .changed = true},
      ResumeLetter{.session = kSession, .user = kRomeo, .tag = 0x1234'5678'9abc'def0},
      LookLetter{.user = kRomeo},
      ExpelLetter{.user = kRomeo, .text = "gone"},
      BoundLetter{.session = kSession, .full = kFull},
      DeliverLetter{.session = kSession,
                    .from = 2,
                    .delivery = {.xml = "<presence/>",
                                 .kind = StanzaKind::kPresence,
                                 .replaces = "a@b/c",
                                 .ticket = 99,
                                 .message_of_people = true}},
      SettledLetter{.session = kSession, .number = 8},
      CloseLetter{.session = kSession, .error = net::StreamError::kConflict, .text = "away"},
      TicketLostLetter{.worker = 2, .ticket = 12},
      LeaveLetter{.session = kSession,
                  .next = {.worker = 1, .place = 2, .life = 3},
                  .node = "c@host",
                  .user = kRomeo},
      SessionLetter{.session = kSession, .state = "state"},
      ResumeFailedLetter{.session = kSession},
      HomeLeavesLetter{.user = kRomeo, .round = 70'000},
      HomeHeldLetter{.user = kRomeo, .round = 70'000},
      HomeStateLetter{.user = kRomeo,
                      .sessions = {{{.id = kSession,
                                     .resource = "orchard",
                                     .resume_tag = 7,
                                     .priority = -3,
                                     .available = true,
                                     .carbons = true,
                                     .secure = true},
                                    "a@host",
                                    "<show>away</show>",
                                    {"juliet@here", "room@conference.here/romeo"}},
                                   {{.id = kSession, .resource = "r"}, "b@host"}}},
      HomeHereLetter{.user = kRomeo, .sessions = {kSession, {.worker = 1, .place = 2, .life = 3}}},
      HomeStaysLetter{.user = kRomeo},
      HomeRefusedLetter{.user = kRomeo},
      RouteLetter{.parcel = bare, .hops = 2, .content = 0x1234'5678},
      ContentLetter{.number = 0x1234'5678, .kind = StanzaKind::kIq, .content = parcel.content},
      ContentEndLetter{},
  };
}

TEST(Letters, ComeBackAsTheyWere) {
  for (const Letter& letter : All()) {
    Bytes bytes;
    ASSERT_TRUE(AppendLetter(bytes, letter)) << letter.index();
    const auto head = ReadLetterHead(bytes);
    ASSERT_TRUE(head);
    ASSERT_EQ(bytes.size(), kLetterHeadBytes + head->size);
    const auto again = ReadLetter(head->kind, std::span(bytes).subspan(kLetterHeadBytes), 0);
    ASSERT_TRUE(again) << letter.index();
    EXPECT_EQ(again->index(), letter.index());
    Bytes twice;
    ASSERT_TRUE(AppendLetter(twice, *again));
    EXPECT_EQ(twice, bytes) << letter.index();
  }
}

TEST(Letters, SayForWhomTheyAre) {
  for (const Letter& letter : All()) {
    Bytes bytes;
    AppendLetter(bytes, letter);
    const LetterHead head = ReadLetterHead(bytes).value();
    if (const auto* route = std::get_if<RouteLetter>(&letter)) {
      EXPECT_EQ(head.for_whom, HomeHash(route->parcel.to.bare()));
    } else if (std::holds_alternative<TicketLostLetter>(letter)) {
      EXPECT_EQ(head.for_whom, 2U);
    } else if (head.kind >= LetterKind::kContent) {
      EXPECT_EQ(head.for_whom, 0U);
    } else {
      EXPECT_EQ(head.for_whom, head.for_home() ? HomeHash("romeo@here") : kSession.worker);
    }
  }
}

// The sender's own sessions are of the sender's node where they are read, the reader's are its own.
TEST(Letters, SessionsAreOfTheNodeThatHasThem) {
  for (const Letter& letter : All()) {
    Bytes bytes;
    AppendLetter(bytes, letter);
    const LetterHead head = ReadLetterHead(bytes).value();
    const auto read = ReadLetter(head.kind, std::span(bytes).subspan(kLetterHeadBytes), kThem);
    ASSERT_TRUE(read);
    if (const auto* bind = std::get_if<BindRequest>(&*read)) {
      EXPECT_EQ(bind->session.node, kThem);
      EXPECT_EQ(bind->resource, "orchard");
      EXPECT_TRUE(bind->resumable && bind->secure);
      EXPECT_EQ(bind->address, "192.0.2.1:5222");
    } else if (const auto* arrive = std::get_if<ArriveLetter>(&*read)) {
      EXPECT_EQ(arrive->session.node, kThem);
      EXPECT_EQ(arrive->stanza.root().Child("body", kClientSpace).Text(), "x");
    } else if (const auto* changed = std::get_if<ChangedLetter>(&*read)) {
      EXPECT_TRUE(changed->state.resumable);
      EXPECT_FALSE(changed->state.detached);
      EXPECT_FALSE(changed->state.active);
    } else if (const auto* route = std::get_if<RouteLetter>(&*read)) {
      EXPECT_EQ(route->parcel.mark.session.node, kThem);
      EXPECT_EQ(head.kind, route->content == 0 ? LetterKind::kRoute : LetterKind::kRouteShared);
      EXPECT_EQ(route->content, std::get<RouteLetter>(letter).content);
      EXPECT_EQ(route->parcel.content_view(), route->content == 0 ? "<body>hi</body>" : "");
      EXPECT_EQ(route->parcel.iq_space, "jabber:iq:roster");
      EXPECT_TRUE(route->parcel.traits.body && route->parcel.traits.store);
      EXPECT_TRUE(route->parcel.traits.encrypted);
      EXPECT_FALSE(route->parcel.traits.no_copy);
      EXPECT_EQ(route->parcel.type, StanzaType::kChat);
    } else if (const auto* deliver = std::get_if<DeliverLetter>(&*read)) {
      EXPECT_EQ(deliver->session, kSession);
      EXPECT_EQ(deliver->delivery.ticket, 99U);
      EXPECT_TRUE(deliver->delivery.message_of_people);
    } else if (const auto* state = std::get_if<HomeStateLetter>(&*read)) {
      ASSERT_EQ(state->sessions.size(), 2U);
      const MovedSession& first = state->sessions[0];
      EXPECT_EQ(first.node, "a@host") << "of any node, by its name";
      EXPECT_EQ(first.presence, "<show>away</show>");
      EXPECT_EQ(first.directed.size(), 2U);
      EXPECT_EQ(first.priority, -3);
      EXPECT_TRUE(first.available && first.carbons && first.secure);
      EXPECT_FALSE(first.interested || first.detached || first.behind);
      EXPECT_FALSE(state->sessions[1].presence.has_value());
    } else if (const auto* here = std::get_if<HomeHereLetter>(&*read)) {
      EXPECT_EQ(here->sessions[0], kSession);
    } else if (const auto* content = std::get_if<ContentLetter>(&*read)) {
      EXPECT_EQ(content->number, 0x1234'5678U);
      EXPECT_EQ(content->kind, StanzaKind::kIq);
      EXPECT_EQ(*content->content, "<body>hi</body>");
    } else if (const auto* close = std::get_if<CloseLetter>(&*read)) {
      EXPECT_EQ(close->session, kSession);
      EXPECT_EQ(close->error, net::StreamError::kConflict);
    }
  }
}

TEST(Letters, CutAnywhereTheyAreMalformed) {
  for (const Letter& letter : All()) {
    Bytes bytes;
    AppendLetter(bytes, letter);
    const LetterHead head = ReadLetterHead(bytes).value();
    const auto body = std::span(bytes).subspan(kLetterHeadBytes);
    for (size_t size = 0; size < body.size(); ++size) {
      EXPECT_FALSE(ReadLetter(head.kind, body.first(size), kThem)) << letter.index() << ' ' << size;
    }
    EXPECT_FALSE(ReadLetter(static_cast<LetterKind>(200), body, kThem));
    for (size_t size = 0; size < kLetterHeadBytes; ++size) {
      EXPECT_FALSE(ReadLetterHead(std::span(bytes).first(size)));
    }
  }
}

TEST(Letters, WithOtherBytesAreTakenOrRefusedWhole) {
  net::FastRandom random(11);
  for (const Letter& letter : All()) {
    Bytes bytes;
    AppendLetter(bytes, letter);
    const LetterHead head = ReadLetterHead(bytes).value();
    for (int i = 0; i < 3000; ++i) {
      Bytes body(bytes.begin() + kLetterHeadBytes, bytes.end());
      for (uint32_t n = random.Below(4); n > 0; --n) {
        if (body.empty()) break;
        body[random.Below(static_cast<uint32_t>(body.size()))] =
            static_cast<uint8_t>(random.Next());
      }
      if (const auto read = ReadLetter(head.kind, body, kThem)) {
        Bytes again;
        EXPECT_TRUE(AppendLetter(again, *read));
      }
    }
  }
}

// 0 says that the parcel has its content with it, and none is kept that is nothing.
TEST(Letters, AContentHasANumberAndIsSomething) {
  const auto body_of = [](const Letter& letter) {
    Bytes bytes;
    EXPECT_TRUE(AppendLetter(bytes, letter));
    return Bytes(bytes.begin() + kLetterHeadBytes, bytes.end());
  };
  const auto xml = std::make_shared<const std::string>("<body/>");
  const auto none = std::make_shared<const std::string>();
  EXPECT_TRUE(ReadLetter(LetterKind::kContent, body_of(ContentLetter{1, {}, xml}), kThem));
  EXPECT_FALSE(ReadLetter(LetterKind::kContent, body_of(ContentLetter{0, {}, xml}), kThem));
  EXPECT_FALSE(ReadLetter(LetterKind::kContent, body_of(ContentLetter{1, {}, none}), kThem));
  // An empty content has the length that a number of 0 has.
  const Bytes whole = body_of(RouteLetter{.parcel = {.from = kFull, .to = kRomeo}});
  EXPECT_TRUE(ReadLetter(LetterKind::kRoute, whole, kThem));
  EXPECT_FALSE(ReadLetter(LetterKind::kRouteShared, whole, kThem));
}

// As those are that come with their parcel (server/im/message_bytes.h).
TEST(Letters, AContentThatCameByItselfIsCountedWhereItIsOfAMessage) {
  const uint64_t before = MessageBytes();
  for (const auto kind : {StanzaKind::kMessage, StanzaKind::kPresence}) {
    Bytes bytes;
    AppendLetter(bytes, ContentLetter{1, kind, std::make_shared<const std::string>(1000, 'x')});
    const auto read =
        ReadLetter(LetterKind::kContent, std::span(bytes).subspan(kLetterHeadBytes), kThem);
    ASSERT_TRUE(read);
    if (kind == StanzaKind::kMessage) {
      EXPECT_GE(MessageBytes(), before + 1000);
    } else {
      EXPECT_EQ(MessageBytes(), before);
    }
  }
  EXPECT_EQ(MessageBytes(), before);
}

TEST(Letters, TooLongATextIsRefusedAndLeavesNothing) {
  Bytes bytes = {1, 2, 3};
  EXPECT_FALSE(
      AppendLetter(bytes, CloseLetter{.session = kSession, .text = std::string(70'000, 'x')}));
  EXPECT_FALSE(AppendLetter(
      bytes,
      BindFailedLetter{
          .session = kSession, .user = kRomeo, .error = std::string(kLetterBytesMax + 1, 'x')}));
  EXPECT_EQ(bytes, (Bytes{1, 2, 3}));
}

}  // namespace
}  // namespace server
