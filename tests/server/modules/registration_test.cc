#include "server/modules/registration.h"

#include <gtest/gtest.h>

#include <string>

#include "server/modules/account_keys.h"
#include "tests/server/modules/asking.h"

namespace server {
namespace {

class RegistrationTest : public Asking {
 protected:
  RegistrationTest() {
    LoadedUser& user = store.users["juliet@example.org"];
    user.exists = true;
    user.account.created_s = 5;
    user.account.banned = "";
    Add();
  }
  static std::string Query(const std::string& inner) {
    return "<query xmlns='jabber:iq:register'>" + inner + "</query>";
  }
  static std::string Change(const std::string& name, const std::string& password) {
    return Query("<username>" + name + "</username><password>" + password + "</password>");
  }
  bool HasPassword(std::string_view user, std::string_view password) {
    const Account& account = store.users.at(std::string(user)).account;
    for (size_t i = 0; i < kScramHashes; ++i) {
      if (!account.keys[i] ||
          !ScramMatches(static_cast<ScramHash>(i), *account.keys[i], password)) {
        return false;
      }
    }
    return true;
  }
};

TEST_F(RegistrationTest, WhoIsLoggedInIsTold) {
  const std::string told =
      "result <query xmlns='jabber:iq:register'><registered/><username>juliet</username>"
      "<password/></query>";
  EXPECT_EQ(Own("get", Query("")), told);
  EXPECT_EQ(Ask("juliet@example.org/balcony", "example.org", "get", Query("")), told);
}

TEST_F(RegistrationTest, APasswordIsChangedAndNothingElse) {
  EXPECT_EQ(Ask("juliet@example.org/balcony", "example.org", "set", Change("Juliet", "new secret")),
            "result");
  EXPECT_TRUE(HasPassword("juliet@example.org", "new secret"));
  EXPECT_EQ(store.users["juliet@example.org"].account.created_s, 5);
  EXPECT_EQ(Own("set", Query("<x xmlns='jabber:x:data' type='submit'>"
                             "<field var='username'><value>juliet</value></field>"
                             "<field var='password'><value>by form.</value></field></x>")),
            "result");
  EXPECT_TRUE(HasPassword("juliet@example.org", "by form."));
  EXPECT_FALSE(HasPassword("juliet@example.org", "new secret"));
}

TEST_F(RegistrationTest, KeysAreMadeAside) {
  std::move_only_function<void()> then;
  int worked = 0;
  ground.aside = [&](std::move_only_function<void()> work, std::move_only_function<void()> done) {
    work();
    ++worked;
    then = std::move(done);
  };
  const auto answer = Begin("juliet@example.org/balcony", "juliet@example.org", "set",
                            Change("juliet", "new secret"));
  store.Run();
  EXPECT_EQ(worked, 1);
  EXPECT_EQ(*answer, "");
  then();
  store.Run();
  EXPECT_EQ(*answer, "result");
  EXPECT_TRUE(HasPassword("juliet@example.org", "new secret"));
}

TEST_F(RegistrationTest, WhatIsRefused) {
  EXPECT_EQ(Own("set", Change("juliet", "")), "error modify bad-request");
  EXPECT_EQ(Own("set", Change("", "new secret")), "error modify bad-request");
  EXPECT_EQ(Own("set", Query("<password>new secret</password>")), "error modify bad-request");
  EXPECT_EQ(Own("set", Query("")), "error modify bad-request");
  EXPECT_EQ(Own("set", Change("romeo", "new secret")), "error cancel not-allowed");
  EXPECT_EQ(Own("set", Change("juliet", "short")), "error modify not-acceptable");
  EXPECT_EQ(Own("set", Change("juliet", std::string(2'000, 'x'))), "error modify not-acceptable");
  for (const char* other : {"romeo@example.org/a", "romeo@elsewhere.example/a"}) {
    for (const char* to : {"juliet@example.org", "example.org"}) {
      EXPECT_EQ(Ask(other, to, "set", Change("juliet", "new secret")),
                "error cancel service-unavailable");
      EXPECT_EQ(Ask(other, to, "set", Query("<remove/>")), "error cancel service-unavailable");
      EXPECT_EQ(Ask(other, to, "get", Query("")), "error cancel service-unavailable");
    }
  }
  juliet->secure = false;
  EXPECT_EQ(Own("set", Change("juliet", "new secret")), "error auth not-authorized");
  EXPECT_EQ(Own("set", Query("<remove/>")), "error auth not-authorized");
  EXPECT_EQ(forward.calls, 0U);
}

TEST_F(RegistrationTest, PasswordsChangeSoOftenAndNoMore) {
  Add({.registration = {.changes_per_hour = 2}});
  EXPECT_EQ(Own("set", Change("juliet", "password 1")), "result");
  EXPECT_EQ(Own("set", Change("juliet", "password 2")), "result");
  EXPECT_EQ(Own("set", Change("juliet", "password 3")), "error wait resource-constraint");
  clock.Advance(std::chrono::minutes(31));
  EXPECT_EQ(Own("set", Change("juliet", "password 4")), "result");
}

TEST_F(RegistrationTest, AnAccountEndsByItsOwnWish) {
  EXPECT_EQ(Own("set", Query("<remove/><username>juliet</username>")), "error modify bad-request");
  EXPECT_TRUE(juliet->changes.empty());
  EXPECT_EQ(Own("set", Query("<remove/>")), "result");
  EXPECT_EQ(juliet->changes, std::vector(1, AccountChange::kRemoved));
  EXPECT_FALSE(store.users.contains("juliet@example.org"));
}

TEST_F(RegistrationTest, EachMayBeOff) {
  Add({.registration = {.password_change = false}});
  EXPECT_EQ(Own("set", Change("juliet", "new secret")), "error cancel not-allowed");
  Add({.registration = {.removal = false}});
  EXPECT_EQ(Own("set", Query("<remove/>")), "error cancel not-allowed");
  Add({.registration = {.password_change = false, .removal = false}});
  EXPECT_EQ(Own("get", Query("")), "nobody");
}

// --- Before anybody is logged in.

std::string Read(const std::string& inner, const SignUpOptions& options = {.enabled = true}) {
  const auto query =
      ParseStanza("<query xmlns='jabber:iq:register'>" + inner + "</query>", kClientSpace).value();
  const auto request = ReadSignUp(query.root(), "example.org", options);
  if (request) return request->user.full() + " " + request->password;
  const auto error = ParseStanza(request.error(), kClientSpace).value();
  return std::string(error.root().FirstChild().name());
}
std::string Fields(const std::string& name, const std::string& password) {
  return "<username>" + name + "</username><password>" + password + "</password>";
}

TEST(SignUpRead, NamesAndPasswords) {
  EXPECT_EQ(Read(Fields("Bill", "Calliope")), "bill@example.org Calliope");
  EXPECT_EQ(Read("<x xmlns='jabber:x:data' type='submit'><field var='username'><value>bill</value>"
                 "</field><field var='password'><value>Calliope</value></field></x>"),
            "bill@example.org Calliope");
  EXPECT_EQ(Read(Fields("bill", "Calliope"), {}), "service-unavailable");
  EXPECT_EQ(Read(Fields("", "Calliope")), "not-acceptable");
  EXPECT_EQ(Read(Fields("bill", "")), "not-acceptable");
  EXPECT_EQ(Read(""), "not-acceptable");
  EXPECT_EQ(Read(Fields("bill", "short")), "not-acceptable");
  EXPECT_EQ(Read(Fields("bi ll", "Calliope")), "not-acceptable");
  EXPECT_EQ(Read(Fields("bill@elsewhere.example", "Calliope")), "not-acceptable");
  EXPECT_EQ(Read(Fields("bill/home", "Calliope")), "not-acceptable");
  EXPECT_EQ(Read(Fields(std::string(65, 'b'), "Calliope")), "not-acceptable");
  EXPECT_EQ(Read(Fields("Admin", "Calliope")), "conflict");
  EXPECT_EQ(Read("<remove/>"), "unexpected-request");
  EXPECT_EQ(Read("<x xmlns='jabber:x:data' type='cancel'/>"), "bad-request");
}

TEST_F(RegistrationTest, AnAccountBegins) {
  const auto sign_up = [this](const char* name) {
    std::string told = "nothing";
    SignUp(ground, {.user = Jid::Parse(name).value(), .password = "Calliope"},
           [&told](std::string error) { told = std::move(error); });
    store.Run();
    return told;
  };
  EXPECT_EQ(sign_up("bill@example.org"), "");
  EXPECT_TRUE(HasPassword("bill@example.org", "Calliope"));
  EXPECT_EQ(store.users["bill@example.org"].account.created_s, kNowUs / 1'000'000);
  EXPECT_NE(sign_up("bill@example.org").find("<conflict "), std::string::npos);
  EXPECT_NE(sign_up("juliet@example.org").find("<conflict "), std::string::npos);
  EXPECT_FALSE(HasPassword("juliet@example.org", "Calliope"));
  store.error = StoreError::kDown;
  EXPECT_NE(sign_up("ann@example.org").find("<resource-constraint "), std::string::npos);
}

TEST(SignUpForms, WhatIsAsked) {
  EXPECT_EQ(SignUpFeature({}), "");
  EXPECT_EQ(SignUpFeature({.enabled = true}),
            "<register xmlns='http://jabber.org/features/iq-register'/>");
  EXPECT_EQ(SignUpForm({.instructions = "a < b"}),
            "<query xmlns='jabber:iq:register'><instructions>a &lt; b</instructions>"
            "<username/><password/></query>");
}

TEST(AccountKeysTest, SaltsAreTheirOwn) {
  const auto one = MakeAccountKeys("secret").value();
  const auto two = MakeAccountKeys("secret").value();
  for (size_t i = 0; i < kScramHashes; ++i) {
    EXPECT_NE(one[i]->salt, two[i]->salt);
    EXPECT_EQ(one[i]->salt.size(), 16U);
    EXPECT_EQ(one[i]->iterations, kScramIterations);
  }
  EXPECT_NE(one[0]->salt, one[1]->salt);
  EXPECT_FALSE(MakeAccountKeys(std::string("a\0b", 3)));
}

}  // namespace
}  // namespace server
