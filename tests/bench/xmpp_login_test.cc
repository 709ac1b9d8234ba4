#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/load/xmpp/login.h"
#include "bench/load/xmpp/xmpp_engine.h"

namespace bench {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr std::string_view kPlainOffer =
    "<stream:features><mechanisms><mechanism>PLAIN</mechanism></mechanisms></stream:features>";
constexpr std::string_view kBindOffer =
    "<stream:features><bind xmlns='x'/><sm xmlns='urn:xmpp:sm:3'/></stream:features>";

class LoginTest : public testing::Test {
 protected:
  LoginTest() {
    plan_.security = Security::kPlain;
    plan_.mechanism = Mechanism::kPlain;
  }

  Login Make(bool resume = false) {
    return {plan_, Account{"user1", "chat.example", "secret"}, salted_, state_, resume};
  }
  // What it sends in answer to `element`; `step_` holds its verdict.
  std::string Answer(Login& login, std::string_view element) {
    std::string out;
    step_ = login.OnElement(element, out);
    return out;
  }
  void Authenticate(Login& login) {
    std::string out;
    login.Begin(out);
    EXPECT_THAT(out, HasSubstr("to='chat.example'"));
    // "\0user1\0secret"
    EXPECT_THAT(Answer(login, kPlainOffer), HasSubstr(">AHVzZXIxAHNlY3JldA==</auth>"));
    EXPECT_THAT(Answer(login, "<success xmlns='x'/>"), StartsWith("<?xml"));
    EXPECT_EQ(step_, LoginStep::kRestart);
  }

  LoginPlan plan_;
  SaltedPasswords salted_;
  StreamState state_;
  LoginStep step_ = LoginStep::kGoOn;
};

TEST_F(LoginTest, BindsAsksForWhatClientsAskForAndShowsItself) {
  plan_.confirm = true;
  Login login = Make();
  Authenticate(login);
  EXPECT_EQ(login.phase(), LoginPhase::kStream);
  EXPECT_THAT(Answer(login, kBindOffer), HasSubstr("<bind"));
  EXPECT_EQ(login.phase(), LoginPhase::kBind);
  const std::string asked = Answer(
      login, "<iq id='bind' type='result'><bind><jid>user1@chat.example/r</jid></bind></iq>");
  EXPECT_EQ(login.phase(), LoginPhase::kSession);
  EXPECT_THAT(asked, HasSubstr("urn:xmpp:sm:3"));
  EXPECT_THAT(asked, HasSubstr("urn:xmpp:carbons:2"));
  EXPECT_THAT(asked, HasSubstr("jabber:iq:roster"));
  EXPECT_EQ(state_.jid, "user1@chat.example/r");
  EXPECT_EQ(Answer(login, "<enabled xmlns='urn:xmpp:sm:3' id='s1' resume='true'/>"), "");
  EXPECT_EQ(state_.id, "") << "resumed now, it would never show itself";
  EXPECT_EQ(Answer(login, "<iq id='own-r' type='result'><query/></iq>"), "");
  EXPECT_EQ(Answer(login, "<message from='a@b'/>"), "") << "not an answer to us";
  EXPECT_THAT(Answer(login, "<iq id='own-c' type='result'/>"), StartsWith("<presence/>"));
  EXPECT_EQ(step_, LoginStep::kGoOn) << "the ping behind the presence is not answered yet";
  Answer(login, "<iq id='own-p' type='error'/>");
  EXPECT_EQ(step_, LoginStep::kDone);
  EXPECT_EQ(login.phase(), LoginPhase::kDone);
  EXPECT_EQ(state_.id, "s1");
  EXPECT_TRUE(state_.managed);
}

TEST_F(LoginTest, MakesTlsBeforeItShowsItsPassword) {
  plan_.security = Security::kStartTls;
  Login login = Make();
  std::string out;
  login.Begin(out);
  const std::string offer =
      "<stream:features><starttls xmlns='t'/>" + std::string(kPlainOffer.substr(17));
  EXPECT_THAT(Answer(login, offer), StartsWith("<starttls"));
  EXPECT_EQ(login.phase(), LoginPhase::kStartTls);
  EXPECT_EQ(Answer(login, "<proceed xmlns='t'/>"), "");
  EXPECT_EQ(step_, LoginStep::kHandshake);
  EXPECT_EQ(login.phase(), LoginPhase::kTls);
  out.clear();
  login.OnSecure(out);
  EXPECT_THAT(out, StartsWith("<?xml"));
  EXPECT_THAT(Answer(login, kPlainOffer), StartsWith("<auth"));
}

TEST_F(LoginTest, NoStartTlsOnOfferIsAFailure) {
  plan_.security = Security::kStartTls;
  Login login = Make();
  EXPECT_EQ(Answer(login, kPlainOffer), "");
  EXPECT_EQ(step_, LoginStep::kFail);
  EXPECT_THAT(login.Error(), HasSubstr("STARTTLS"));
}

TEST_F(LoginTest, ResumesByTheCountOfWhatItTookIn) {
  state_ = {"user1@chat.example/r", "s1", true, 7};
  Login login = Make(true);
  EXPECT_FALSE(state_.managed) << "nothing counts before <resumed/>";
  Authenticate(login);
  EXPECT_EQ(Answer(login, kBindOffer), "<resume xmlns='urn:xmpp:sm:3' h='7' previd='s1'/>");
  EXPECT_EQ(login.phase(), LoginPhase::kResume);
  Answer(login, "<resumed xmlns='urn:xmpp:sm:3' previd='s1' h='0'/>");
  EXPECT_EQ(step_, LoginStep::kDone);
  EXPECT_FALSE(login.ResumeRefused());
  EXPECT_TRUE(state_.managed);
  EXPECT_EQ(state_.handled, 7U);
}

TEST_F(LoginTest, BindsAnewWhereTheServerDoesNotResume) {
  state_ = {"user1@chat.example/r", "s1", true, 7};
  Login login = Make(true);
  Authenticate(login);
  Answer(login, kBindOffer);
  EXPECT_THAT(Answer(login, "<failed xmlns='urn:xmpp:sm:3'/>"), HasSubstr("<bind"));
  EXPECT_TRUE(login.ResumeRefused());
  EXPECT_EQ(state_.id, "");
}

TEST_F(LoginTest, SaysWhatTheServerSaid) {
  Login login = Make();
  std::string out;
  login.Begin(out);
  Answer(login, kPlainOffer);
  Answer(login, "<failure xmlns='x'><not-authorized/></failure>");
  EXPECT_EQ(step_, LoginStep::kFail);
  EXPECT_THAT(login.Error(), HasSubstr("not-authorized"));
}

TEST_F(LoginTest, AStreamErrorEndsIt) {
  Login login = Make();
  Answer(login, "<stream:error><host-unknown/></stream:error>");
  EXPECT_EQ(step_, LoginStep::kFail);
  EXPECT_THAT(login.Error(), HasSubstr("host-unknown"));
}

TEST_F(LoginTest, AServerWithoutTheKeyIsRefused) {
  plan_.mechanism = Mechanism::kScramSha1;
  Login login = Make();
  std::string out;
  login.Begin(out);
  EXPECT_EQ(Answer(login, "<stream:features><mechanism>SCRAM-SHA-1</mechanism></stream:features>")
                .substr(0, 5),
            "<auth");
  Answer(login, "<success xmlns='x'>dj1ub3RoaW5n</success>");
  EXPECT_EQ(step_, LoginStep::kFail);
}

TEST_F(LoginTest, RegistersAndTakesAnAccountThatIsThereForDone) {
  plan_.registration = true;
  for (const char* answer : {"<iq id='reg' type='result'/>",
                             "<iq id='reg' type='error'><error><conflict/></error></iq>"}) {
    Login login = Make();
    EXPECT_THAT(Answer(login, kPlainOffer), HasSubstr("<username>user1</username>"));
    Answer(login, answer);
    EXPECT_EQ(step_, LoginStep::kDone) << answer;
  }
  Login login = Make();
  Answer(login, kPlainOffer);
  Answer(login, "<iq id='reg' type='error'><error><not-allowed/></error></iq>");
  EXPECT_EQ(step_, LoginStep::kFail);
}

TEST(Accounts, ComeFromAPattern) {
  const auto pattern = ParseAccounts("user%d@chat.example", "pw%d", 10, 3);
  ASSERT_TRUE(pattern.has_value()) << pattern.error();
  EXPECT_EQ(AccountOf(*pattern, 0).user, "user10");
  EXPECT_EQ(AccountOf(*pattern, 4).user, "user11") << "they are used again in turn";
  EXPECT_EQ(AccountOf(*pattern, 1).password, "pw11");
  EXPECT_EQ(AccountOf(*pattern, 1).domain, "chat.example");
}

TEST(Accounts, AWrongPatternSaysWhatIsWrong) {
  EXPECT_THAT(ParseAccounts("user%d", "p", 0, 1).error(), HasSubstr("user%d@domain"));
  EXPECT_THAT(ParseAccounts("user@d", "p", 0, 2).error(), HasSubstr("put a %d"));
  EXPECT_THAT(ParseAccounts("user%d@d%d", "p", 0, 2).error(), HasSubstr("the domain"));
  EXPECT_THAT(ParseAccounts("user%d@d", "", 0, 2).error(), HasSubstr("--password"));
}

}  // namespace
}  // namespace bench
