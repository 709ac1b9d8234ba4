#include "server/dist/services.h"

#include <gmock/gmock.h>

#include "server/dist/link_hello.h"

namespace server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr std::string_view kUs = "us@h";
constexpr std::string_view kThem = "erl@h";

// A peer of the services that writes frames as erl does and reads what comes back.
class ServicesTest : public ::testing::Test, private PeerSession::Sink {
 protected:
  class Replies final : public RpcReply::Sink {
   public:
    explicit Replies(ServicesTest* test) : test_(test) {}
    void Answer(uint64_t call, RpcResult result) override {
      test_->services_.Finish(call, std::move(result));
    }

   private:
    ServicesTest* test_;
  };

  ServicesTest()
      : services_({.on_link_message =
                       [this](PeerSession&, const TermView& message) {
                         link_messages_.push_back(message.ToText());
                       },
                   .count = [this](ServiceEvent event) { events_.push_back(event); },
                   .reply_sink = std::make_shared<Replies>(this)},
                  {.rpc_max = 4, .calls_max = 4}) {
    services_.SetSelf({.node = std::string(kUs), .creation = 7});
    session_.id = 1;
    session_.sink = this;
    session_.peer.node = kThem;
    services_.SetMailbox("box", [this](const DistMessage& message) {
      messages_.push_back(message.bytes.empty()
                              ? message.term.ToText()
                              : std::string(message.bytes.begin(), message.bytes.end()));
    });
    services_.SetRpc("m", "echo", [](const RpcCall& call, RpcReply reply) {
      reply.Return(call.args.empty() ? Term::Atom("nothing") : Term(call.args[0]));
    });
    services_.SetRpc("m", "later", [this](const RpcCall&, RpcReply reply) {
      later_.push_back(std::move(reply));
    });
  }

  void Put(std::span<const uint8_t> frame) override {
    std::span<const uint8_t> body = frame.subspan(kFrameLengthBytes);
    auto read = ReadControlFrame(body);
    ASSERT_TRUE(read.has_value());
    std::string text = std::to_string(read->op);
    for (size_t i = 0; i < read->fields; ++i) text += ' ' + read->field[i].ToText();
    if (!read->payload.empty()) text += " | " + TermView::Decode(read->payload)->ToText();
    sent_.push_back(text);
    frames_.emplace_back(body.begin(), body.end());
  }

  Term TheirPid() const {
    TermBuffer out;
    PutPid(&out, kThem, {50, 0}, 3);
    return Term(*TermView::DecodeBare(out));
  }
  Term TheirRef() const {
    TermBuffer out;
    PutReference(&out, kThem, {1, 2, 3}, 3);
    return Term(*TermView::DecodeBare(out));
  }
  void Give(ControlOp op, std::vector<Term> fields, std::optional<Term> payload = std::nullopt) {
    TermBuffer out;
    {
      FrameWriter frame(&out, op, static_cast<uint32_t>(fields.size()));
      for (const Term& field : fields) PutRaw(&out, field.bytes());
      if (payload) {
        frame.Payload();
        PutRaw(&out, payload->bytes());
      }
    }
    result_ = services_.OnFrame(session_, std::span<const uint8_t>(out).subspan(4));
  }
  void Message(std::string_view to, Term message) {
    Give(ControlOp::kRegSend, {TheirPid(), Term::Atom(""), Term::Atom(to)}, std::move(message));
  }
  void GenCall(std::string_view to, Term request) {
    // The tag that gen_server uses since OTP 24: [alias|Ref], no proper list.
    TermBuffer tag;
    PutList(&tag, 1);
    PutAtom(&tag, "alias");
    PutRaw(&tag, TheirRef().bytes());
    Message(to, Term::Tuple({Term::Atom("$gen_call"),
                             Term::Tuple({TheirPid(), Term(*TermView::DecodeBare(tag))}),
                             std::move(request)}));
  }
  void Spawn(std::string_view function, Term args, std::vector<Term> options) {
    const int64_t arity = static_cast<int64_t>(args.view().AsList()->size());
    Give(ControlOp::kSpawnRequest,
         {TheirRef(), TheirPid(), TheirPid(),
          Term::Tuple({Term::Atom("erpc"), Term::Atom(function), Term::Integer(arity)}),
          Term::List(options)},
         std::move(args));
  }
  static Term CallTerm(std::string_view verb, std::string_view module, std::string_view function,
                       std::vector<Term> args) {
    return Term::Tuple({Term::Atom(verb), Term::Atom(module), Term::Atom(function),
                        Term::List(args), Term::Atom("user")});
  }
  static Term ErpcArgs(std::string_view module, std::string_view function, std::vector<Term> args) {
    return Term::List(
        {Term::Atom("res"), Term::Atom(module), Term::Atom(function), Term::List(args)});
  }
  // Answers our own call `frame` as a gen_server does.
  void Answer(size_t frame, Term value) {
    auto read = ReadControlFrame(frames_.at(frame));
    const Term message(*TermView::Decode(read->payload));
    const auto fields = *message.view().AsTuple();
    const auto from = *fields[1].AsTuple();
    Give(ControlOp::kSend, {Term::Atom(""), Term(from[0])},
         Term::Tuple({Term(from[1]), std::move(value)}));
  }

  Services services_;
  PeerSession session_;
  std::expected<void, TermError> result_;
  std::vector<std::string> sent_;
  std::vector<std::vector<uint8_t>> frames_;
  std::vector<std::string> messages_;
  std::vector<std::string> link_messages_;
  std::vector<ServiceEvent> events_;
  std::vector<RpcReply> later_;
};

TEST_F(ServicesTest, APingIsAnsweredWithYes) {
  GenCall("net_kernel", Term::Tuple({Term::Atom("is_auth"), Term::Atom(kThem)}));
  EXPECT_THAT(sent_, ElementsAre("2 '' #pid<erl@h> | {[...],yes}"));
}

TEST_F(ServicesTest, RexAnswersCallsAndItsFeatures) {
  GenCall("rex", CallTerm("call", "m", "echo", {Term::Integer(5)}));
  Message("rex", Term::Tuple({TheirPid(), Term::Atom("features_request")}));
  Message("rex", Term::Tuple({TheirPid(), CallTerm("call", "m", "echo", {Term::Atom("old")})}));
  EXPECT_THAT(sent_, ElementsAre("2 '' #pid<erl@h> | {[...],5}",
                                 "2 '' #pid<erl@h> | {features_reply,us@h,[erpc]}",
                                 "2 '' #pid<erl@h> | {rex,old}"));
}

TEST_F(ServicesTest, WhatIsNotThereIsUndef) {
  GenCall("rex", CallTerm("call", "lists", "reverse", {}));
  GenCall("rex", CallTerm("call", "m", "other", {Term::Atom("a")}));
  EXPECT_THAT(sent_[0], HasSubstr("{badrpc,{'EXIT',{undef,[{lists,reverse,[],[]}]}}}"));
  EXPECT_THAT(sent_[1], HasSubstr("{badrpc,{'EXIT',{undef,[{m,other,[a],[]}]}}}"));
}

TEST_F(ServicesTest, ErpcSpawnsAndEndsWithTheResult) {
  Spawn("execute_call", ErpcArgs("m", "echo", {Term::Atom("x")}),
        {Term::Tuple({Term::Atom("reply"), Term::Atom("error_only")}), Term::Atom("monitor")});
  EXPECT_THAT(sent_, ElementsAre("31 #reference<erl@h> #pid<erl@h> 2 #pid<us@h>",
                                 "28 #pid<us@h> #pid<erl@h> #reference<erl@h> | {res,return,x}"));
}

TEST_F(ServicesTest, ErpcOfWhatIsNotThereEndsWithUndef) {
  Spawn("execute_call", ErpcArgs("no", "such", {}), {Term::Atom("monitor")});
  ASSERT_EQ(sent_.size(), 2U);
  EXPECT_THAT(sent_[1], HasSubstr("| {res,error,undef,[{no,such,[],[]}]}"));
}

TEST_F(ServicesTest, ACastIsDoneAndNotAnswered) {
  Spawn("execute_cast", Term::List({Term::Atom("m"), Term::Atom("later"), Term()}),
        {Term::Tuple({Term::Atom("reply"), Term::Atom("no")})});
  Message("rex", Term::Tuple({Term::Atom("$gen_cast"), CallTerm("cast", "m", "later", {})}));
  EXPECT_EQ(later_.size(), 2U);
  for (RpcReply& reply : later_) reply.Return(Term::Atom("done"));
  EXPECT_THAT(sent_, ElementsAre());
}

TEST_F(ServicesTest, AnotherFunctionToSpawnIsNotSupported) {
  Give(ControlOp::kSpawnRequest,
       {TheirRef(), TheirPid(), TheirPid(),
        Term::Tuple({Term::Atom("shell"), Term::Atom("start"), Term::Integer(0)}), Term()},
       Term());
  EXPECT_THAT(sent_, ElementsAre("31 #reference<erl@h> #pid<erl@h> 0 notsup"));
}

TEST_F(ServicesTest, WhoWantsAShellIsToldInWordsThatThereIsNone) {
  Spawn("execute_call", ErpcArgs("shell", "start", {}), {Term::Atom("monitor")});
  ASSERT_EQ(sent_.size(), 2U);
  EXPECT_THAT(sent_[1], HasSubstr("{res,return,#pid<us@h>}"));
  const Term result(*TermView::Decode(ReadControlFrame(frames_[1])->payload));
  Give(ControlOp::kLink, {TheirPid(), Term((*result.view().AsTuple())[2])});
  ASSERT_EQ(sent_.size(), 4U);
  EXPECT_THAT(std::string(frames_[2].begin(), frames_[2].end()),
              HasSubstr("us@h is no Erlang node and has no shell."));
  EXPECT_THAT(sent_[3], HasSubstr("no_shell"));
}

TEST_F(ServicesTest, AnAnswerMayComeLaterAndIsDroppedWhenNobodyWaits) {
  GenCall("rex", CallTerm("call", "m", "later", {}));
  EXPECT_THAT(sent_, ElementsAre());
  later_[0].Return(Term::Atom("now"));
  EXPECT_THAT(sent_, ElementsAre("2 '' #pid<erl@h> | {[...],now}"));

  Spawn("execute_call", ErpcArgs("m", "later", {}), {Term::Atom("monitor")});
  Give(ControlOp::kDemonitor, {TheirPid(), TheirPid(), TheirRef()});
  EXPECT_EQ(services_.rpcs(), 0U);
  later_[1].Return(Term::Atom("late"));
  EXPECT_EQ(sent_.size(), 2U) << "the spawn reply and nothing behind it";

  GenCall("rex", CallTerm("call", "m", "later", {}));
  services_.OnLost(session_);
  later_[2].Return(Term::Atom("late"));
  EXPECT_EQ(sent_.size(), 2U);
}

TEST_F(ServicesTest, AHandlerThatForgetsItsAnswerIsAnError) {
  GenCall("rex", CallTerm("call", "m", "later", {}));
  later_.clear();
  EXPECT_THAT(sent_[0], HasSubstr("{badrpc,{'EXIT',{no_answer,"));
}

TEST_F(ServicesTest, CallsThatWaitAreBounded) {
  for (int i = 0; i < 4; ++i) GenCall("rex", CallTerm("call", "m", "later", {}));
  EXPECT_THAT(sent_, ElementsAre());
  GenCall("rex", CallTerm("call", "m", "later", {}));
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_THAT(sent_[0], HasSubstr("system_limit"));
  EXPECT_EQ(later_.size(), 4U);
  later_.clear();
}

TEST_F(ServicesTest, MonitorsAndLinksOfWhatIsNotThereHearNoproc) {
  Give(ControlOp::kMonitor, {TheirPid(), Term::Atom("global_name_server"), TheirRef()});
  Give(ControlOp::kMonitor, {TheirPid(), Term::Atom("net_kernel"), TheirRef()});
  Give(ControlOp::kMonitor, {TheirPid(), Term::Atom("box"), TheirRef()});
  Give(ControlOp::kMonitor, {TheirPid(), TheirPid(), TheirRef()});
  Give(ControlOp::kLink, {TheirPid(), TheirPid()});
  Give(ControlOp::kUnlinkId, {Term::Integer(9), TheirPid(), Term::Atom("x")});
  EXPECT_THAT(sent_, ElementsAre("28 global_name_server #pid<erl@h> #reference<erl@h> | noproc",
                                 "28 #pid<erl@h> #pid<erl@h> #reference<erl@h> | noproc",
                                 "24 #pid<erl@h> #pid<erl@h> | noproc", "36 9 x #pid<erl@h>"));
}

TEST_F(ServicesTest, MessagesReachTheirMailboxInOrder) {
  for (int i = 0; i < 3; ++i) Message("box", Term::Integer(i));
  Message("global_name_server", Term::Atom("noise"));
  Message("box", Term::Integer(3));
  EXPECT_THAT(messages_, ElementsAre("0", "1", "2", "3"));
  EXPECT_EQ(std::ranges::count(events_, ServiceEvent::kUnknownMailbox), 1);
}

TEST_F(ServicesTest, OneOfOursSendsBytes) {
  session_.peer.ours = true;
  Message("box", Term::Binary("a"));
  Message("box", Term::Binary("b"));
  Message("box", Term::Atom("term"));
  EXPECT_THAT(messages_, ElementsAre("a", "b", "term"));
}

TEST_F(ServicesTest, TheLinksOwnMailboxIsApart) {
  Message(kLinkMailbox, LinkRefusalTerm("so"));
  EXPECT_THAT(link_messages_, ElementsAre("{refused,<<\"so\">>}"));
}

TEST_F(ServicesTest, MalformedPayloadsAreThePeersFault) {
  TermBuffer out;
  {
    FrameWriter frame(&out, ControlOp::kRegSend, 3);
    PutRaw(&out, TheirPid().bytes());
    PutAtom(&out, "");
    PutAtom(&out, "box");
    out.insert(out.end(), {131, 108, 0x7f, 0xff, 0xff, 0xff});
  }
  EXPECT_EQ(services_.OnFrame(session_, std::span<const uint8_t>(out).subspan(4)).error(),
            TermError::kTruncated);
  EXPECT_EQ(services_.OnFrame(session_, std::span<const uint8_t>(out).subspan(4)).error(),
            TermError::kTruncated)
      << "the second one takes the short way";
  EXPECT_THAT(messages_, ElementsAre());
}

TEST_F(ServicesTest, OurCallsHearTheirResults) {
  std::vector<std::string> results;
  auto done = [&results]() -> CallDone {
    return [&results](RpcResult result) {
      results.push_back(result ? result->ToText() : "error " + result.error().ToText());
    };
  };
  const net::Time now{std::chrono::seconds(100)};
  auto call = [&] {
    auto callback = done();
    const std::vector<Term> args = {Term::Integer(1)};
    return services_.Call(session_, "m", "f", args, now, &callback);
  };
  ASSERT_TRUE(call() && call() && call() && call());
  auto fifth = done();
  EXPECT_FALSE(services_.Ping(session_, now, &fifth)) << "calls_max";
  EXPECT_THAT(sent_[0], StartsWith("6 #pid<us@h> '' rex | {'$gen_call',{#pid<us@h>,"));
  EXPECT_THAT(sent_[0], HasSubstr("{call,m,f,[1],user}}"));
  Answer(1, Term::Atom("two"));
  Answer(0, Term::Tuple({Term::Atom("badrpc"), Term::Atom("nodedown")}));
  EXPECT_THAT(results, ElementsAre("two", "error nodedown"));
  Answer(1, Term::Atom("again"));
  EXPECT_EQ(results.size(), 2U) << "an answer counts once";
  services_.Expire(now - std::chrono::seconds(1));
  EXPECT_EQ(results.size(), 2U);
  Answer(2, Term::Tuple(
                {Term::Atom("badrpc"),
                 Term::Tuple({Term::Atom("EXIT"), Term::Tuple({Term::Atom("undef"), Term()})})}));
  services_.Expire(now);
  EXPECT_THAT(results, ElementsAre("two", "error nodedown", "error undef", "error timeout"));
}

TEST_F(ServicesTest, OurCallsHearNodedownWhenTheLinkGoes) {
  std::vector<std::string> results;
  CallDone done = [&results](RpcResult result) { results.push_back(result.error().ToText()); };
  ASSERT_TRUE(services_.Ping(session_, net::Time(), &done));
  services_.OnLost(session_);
  EXPECT_THAT(results, ElementsAre("nodedown"));
  EXPECT_EQ(services_.calls(), 0U);
}

}  // namespace
}  // namespace server
