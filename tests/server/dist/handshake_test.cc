#include "server/dist/handshake.h"

#include <gmock/gmock.h>

#include "net/base/byte_reader.h"
#include "net/base/byte_writer.h"
#include "server/dist/flags.h"
#include "server/dist/node_name.h"

namespace server {
namespace {

using State = Handshake::State;

Handshake::Self Self(std::string_view node, std::string_view cookie, uint32_t challenge) {
  return {.node = node,
          .cookie = cookie,
          .creation = 77,
          .flags = kDistFlagsOurs,
          .challenge = challenge};
}

Handshake Acceptor(Admission admission, std::string_view cookie = "C") {
  return Handshake::Accept(
      Self("b@h", cookie, 11), [admission](const HandshakePeer&) { return admission; },
      [](std::string_view host) {
        return HandshakePeer{.node = "X1@" + std::string(host), .creation = 5};
      });
}

// Brings what each says to the other until both have ended or nothing is said any more; `step`
// bytes at a time.
void Talk(Handshake* dialer, Handshake* acceptor, size_t step = 1000) {
  TermBuffer to_acceptor;
  TermBuffer to_dialer;
  dialer->Start(&to_acceptor);
  auto bring = [step](TermBuffer* from, TermBuffer* held, Handshake* to, TermBuffer* out) {
    bool moved = false;
    while (!from->empty()) {
      const size_t size = std::min(step, from->size());
      held->insert(held->end(), from->begin(), from->begin() + static_cast<long>(size));
      from->erase(from->begin(), from->begin() + static_cast<long>(size));
      const size_t taken = to->Feed(*held, out);
      held->erase(held->begin(), held->begin() + static_cast<long>(taken));
      moved = true;
    }
    return moved;
  };
  TermBuffer held_acceptor;
  TermBuffer held_dialer;
  while (bring(&to_acceptor, &held_acceptor, acceptor, &to_dialer) ||
         bring(&to_dialer, &held_dialer, dialer, &to_acceptor)) {
  }
}

TEST(HandshakeTest, DigestIsThatOfErlang) {
  // erlang:md5(["C", "4294967295"]) of Debian's erl.
  const auto digest = CookieDigest("C", 4294967295U);
  std::string hex;
  for (uint8_t byte : digest) {
    char text[3];
    std::snprintf(text, sizeof text, "%02x", byte);
    hex += text;
  }
  EXPECT_EQ(hex, "57e5aa134c1b0c99ccbe407ef4b372d4");
}

TEST(HandshakeTest, BothSidesLearnOfEachOther) {
  for (size_t step : {size_t{1}, size_t{3}, size_t{1000}}) {
    Handshake dialer = Handshake::Dial(Self("a@h", "C", 22), "b@h");
    Handshake acceptor = Acceptor(Admission::kOk);
    Talk(&dialer, &acceptor, step);
    EXPECT_EQ(dialer.state(), State::kDone);
    EXPECT_EQ(acceptor.state(), State::kDone);
    EXPECT_EQ(acceptor.peer().node, "a@h");
    EXPECT_EQ(acceptor.peer().creation, 77U);
    EXPECT_EQ(dialer.peer().node, "b@h");
    EXPECT_EQ(dialer.peer().flags & dist_flag::kPublished, 0U);
    EXPECT_FALSE(acceptor.peer().marked);
  }
}

TEST(HandshakeTest, AnotherCookieEndsItBeforeTheAcceptorProvesAnything) {
  Handshake dialer = Handshake::Dial(Self("a@h", "D", 22), "b@h");
  Handshake acceptor = Acceptor(Admission::kOk);
  Talk(&dialer, &acceptor);
  EXPECT_EQ(acceptor.state(), State::kFailed);
  EXPECT_EQ(acceptor.error(), HandshakeError::kWrongCookie);
  EXPECT_EQ(dialer.state(), State::kGoing) << "erl closes without a word, and so do we";
}

TEST(HandshakeTest, AnAcceptorWithoutTheCookieIsFoundOut) {
  Handshake dialer = Handshake::Dial(Self("a@h", "C", 22), "b@h");
  TermBuffer out;
  dialer.Start(&out);
  out.clear();
  // A true acceptor's words up to its digest, which is of another cookie.
  TermBuffer said;
  {
    net::Sized status(&said, 2);
    net::AppendBytes(&said, net::BytesOf("sok"));
  }
  {
    net::Sized challenge(&said, 2);
    said.push_back('N');
    net::AppendNumber(&said, kDistFlagsOurs, 8);
    net::AppendNumber(&said, 11, 4);
    net::AppendNumber(&said, 1, 4);
    net::Sized name(&said, 2);
    net::AppendBytes(&said, net::BytesOf("b@h"));
  }
  {
    net::Sized ack(&said, 2);
    said.push_back('a');
    net::AppendBytes(&said, CookieDigest("D", 22));
  }
  EXPECT_EQ(dialer.Feed(said, &out), said.size());
  EXPECT_EQ(dialer.error(), HandshakeError::kWrongCookie);
}

TEST(HandshakeTest, EachAdmissionIsHeardByTheDialer) {
  struct Case {
    Admission admission;
    HandshakeError dialer;
    HandshakeError acceptor;
    State state;
  };
  for (const Case& c :
       {Case{Admission::kOk, HandshakeError::kNone, HandshakeError::kNone, State::kDone},
        Case{Admission::kOkSimultaneous, HandshakeError::kNone, HandshakeError::kNone,
             State::kDone},
        Case{Admission::kNok, HandshakeError::kSimultaneous, HandshakeError::kSimultaneous,
             State::kFailed},
        Case{Admission::kNotAllowed, HandshakeError::kNotAllowed, HandshakeError::kNotAllowed,
             State::kFailed},
        // The dialer says that its old link is dead.
        Case{Admission::kAlive, HandshakeError::kNone, HandshakeError::kNone, State::kDone}}) {
    Handshake dialer = Handshake::Dial(Self("a@h", "C", 22), "b@h");
    Handshake acceptor = Acceptor(c.admission);
    Talk(&dialer, &acceptor);
    EXPECT_EQ(dialer.state(), c.state) << static_cast<int>(c.admission);
    EXPECT_EQ(dialer.error(), c.dialer);
    EXPECT_EQ(acceptor.error(), c.acceptor);
  }
}

TEST(HandshakeTest, WhoHasNoNameIsGivenOne) {
  Handshake::Self self = Self("client-host", "C", 22);
  self.flags |= dist_flag::kNameMe;
  Handshake dialer = Handshake::Dial(self, "b@h");
  Handshake acceptor = Acceptor(Admission::kOk);
  Talk(&dialer, &acceptor);
  EXPECT_EQ(dialer.state(), State::kDone);
  EXPECT_EQ(dialer.given_name(), "X1@client-host");
  EXPECT_EQ(dialer.given_creation(), 5U);
  EXPECT_NE(dialer.peer().flags & dist_flag::kNameMe, 0U) << "erl ends the link without it";
  EXPECT_EQ(acceptor.peer().node, "X1@client-host");
  EXPECT_TRUE(acceptor.peer().named_by_us);
}

TEST(HandshakeTest, WhoAsksForANameMayBeRefused) {
  Handshake::Self self = Self("client-host", "C", 22);
  self.flags |= dist_flag::kNameMe;
  Handshake dialer = Handshake::Dial(self, "b@h");
  Handshake acceptor = Acceptor(Admission::kNotAllowed);
  Talk(&dialer, &acceptor);
  EXPECT_EQ(dialer.error(), HandshakeError::kNotAllowed);
  EXPECT_EQ(acceptor.error(), HandshakeError::kNotAllowed);
}

TEST(HandshakeTest, OurMarkShowsAndErlangsBytesBehindTheNameDoNotHurt) {
  Handshake::Self self = Self("a@h", "C", 22);
  self.mark = "mongoose";
  Handshake dialer = Handshake::Dial(self, "b@h");
  Handshake::Self other = Self("b@h", "C", 11);
  other.mark = "mongoose";
  Handshake acceptor =
      Handshake::Accept(other, [](const HandshakePeer&) { return Admission::kOk; }, nullptr);
  Talk(&dialer, &acceptor);
  EXPECT_TRUE(dialer.peer().marked);
  EXPECT_TRUE(acceptor.peer().marked);

  self.mark = "what comes with OTP 40";
  Handshake later = Handshake::Dial(self, "b@h");
  Handshake again =
      Handshake::Accept(other, [](const HandshakePeer&) { return Admission::kOk; }, nullptr);
  Talk(&later, &again);
  EXPECT_EQ(later.state(), State::kDone);
  EXPECT_FALSE(again.peer().marked);
}

TEST(HandshakeTest, AnotherNodeAtTheAddressIsNotTakenForIt) {
  Handshake dialer = Handshake::Dial(Self("a@h", "C", 22), "other@h");
  Handshake acceptor = Acceptor(Admission::kOk);
  Talk(&dialer, &acceptor);
  EXPECT_EQ(dialer.error(), HandshakeError::kWrongNode);
  EXPECT_EQ(dialer.detail(), "b@h");
}

TEST(HandshakeTest, APeerWithoutTheMandatoryFlagsIsRefused) {
  for (int bit = 0; bit < 64; ++bit) {
    const uint64_t flag = uint64_t{1} << bit;
    if ((kDistFlagsMandatory & flag) == 0) continue;
    Handshake::Self self = Self("a@h", "C", 22);
    self.flags = kDistFlagsOurs & ~flag & ~dist_flag::kMandatory25;
    Handshake dialer = Handshake::Dial(self, "b@h");
    Handshake acceptor = Acceptor(Admission::kOk);
    Talk(&dialer, &acceptor);
    EXPECT_EQ(acceptor.error(), HandshakeError::kFlags) << bit;
    EXPECT_EQ(dialer.error(), HandshakeError::kNotAllowed);
  }
}

HandshakeError ErrorOf(std::span<const uint8_t> message) {
  Handshake acceptor = Acceptor(Admission::kOk);
  TermBuffer in;
  {
    net::Sized sized(&in, 2);
    net::AppendBytes(&in, message);
  }
  TermBuffer out;
  acceptor.Feed(in, &out);
  return acceptor.error();
}

TEST(HandshakeTest, NamesThatAreNoneAndOldFormsAreRefused) {
  auto name = [](std::string_view text) {
    TermBuffer message;
    message.push_back('N');
    net::AppendNumber(&message, kDistFlagsOurs, 8);
    net::AppendNumber(&message, 1, 4);
    net::Sized sized(&message, 2);
    net::AppendBytes(&message, net::BytesOf(text));
    return message;
  };
  EXPECT_EQ(ErrorOf(name("a@h")), HandshakeError::kNone);
  for (std::string_view bad : {"", "a", "@h", "a@", "a@b@c", "a b@h", "a@h\n", "../x@h"}) {
    EXPECT_EQ(ErrorOf(name(bad)), HandshakeError::kName) << bad;
  }
  EXPECT_EQ(ErrorOf(name(std::string(300, 'a') + "@h")), HandshakeError::kName);
  EXPECT_EQ(ErrorOf(net::BytesOf("n\0\5")), HandshakeError::kOldVersion);
  EXPECT_EQ(ErrorOf(net::BytesOf("r")), HandshakeError::kFrame);
  TermBuffer cut = name("a@h");
  cut.pop_back();
  EXPECT_EQ(ErrorOf(cut), HandshakeError::kFrame);
}

TEST(HandshakeTest, AMessageHasALengthBoundBeforeItsBytesCome) {
  Handshake acceptor = Acceptor(Admission::kOk);
  TermBuffer out;
  const std::vector<uint8_t> length = {0xff, 0xff};
  acceptor.Feed(length, &out);
  EXPECT_EQ(acceptor.error(), HandshakeError::kFrame);
  Handshake empty = Acceptor(Admission::kOk);
  empty.Feed(std::vector<uint8_t>{0, 0}, &out);
  EXPECT_EQ(empty.error(), HandshakeError::kFrame);
}

TEST(NodeNameTest, ErlangsRuleAndErlangsQuotes) {
  EXPECT_TRUE(IsNodeName("mongooseim@localhost"));
  EXPECT_TRUE(IsNodeName("mongooseim-1@my-host.example.org"));
  EXPECT_TRUE(IsNodeName("m@2001:db8::1"));
  EXPECT_FALSE(IsNodeName("mongooseim"));
  EXPECT_EQ(QuotedNodeName("mongooseim@localhost"), "mongooseim@localhost");
  EXPECT_EQ(QuotedNodeName("mongooseim@my-host"), "'mongooseim@my-host'");
  EXPECT_EQ(QuotedNodeName("Mim@localhost"), "'Mim@localhost'");
}

}  // namespace
}  // namespace server
