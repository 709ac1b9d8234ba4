#include "server/c2s/login_admission.h"

#include <gtest/gtest.h>

namespace server {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// Logins that are begun within `time` where as many want to as may, each of which costs `cpu`.
int Begun(LoginAdmission& admission, net::ManualClock& clock, net::Duration cpu, seconds time) {
  int begun = 0;
  for (int ms = 0; ms < time / milliseconds(1); ++ms) {
    while (admission.TryBegin(clock.Now())) {
      admission.Spent(cpu);
      ++begun;
    }
    clock.Advance(milliseconds(1));
    if (ms % 1'000 == 999) admission.Measure();
  }
  return begun;
}

TEST(LoginAdmission, BeginsAsManyAsTheShareOfTheProcessorPaysFor) {
  net::ManualClock clock;
  LoginAdmission admission(0.5);
  Begun(admission, clock, milliseconds(10), seconds(20));  // it learns
  EXPECT_NEAR(Begun(admission, clock, milliseconds(10), seconds(10)), 500, 30);
  Begun(admission, clock, milliseconds(1), seconds(30));  // they become cheap
  EXPECT_NEAR(Begun(admission, clock, milliseconds(1), seconds(10)), 5'000, 300);
}

TEST(LoginAdmission, FewLoginsNeverWait) {
  net::ManualClock clock;
  LoginAdmission admission(0.8);
  for (int second = 0; second < 20; ++second) {
    for (int i = 0; i < 10; ++i) {
      EXPECT_TRUE(admission.TryBegin(clock.Now()));
      admission.Spent(milliseconds(20));
    }
    clock.Advance(seconds(1));
    admission.Measure();
  }
}

TEST(LoginAdmission, TellsWhenTheNextMayBegin) {
  net::ManualClock clock;
  LoginAdmission admission(0.5);
  while (admission.TryBegin(clock.Now())) {
  }
  const net::Duration wait = admission.Wait(clock.Now());
  EXPECT_GT(wait, net::Duration(0));
  clock.Advance(wait);
  EXPECT_EQ(admission.Wait(clock.Now()), net::Duration(0));
  EXPECT_TRUE(admission.TryBegin(clock.Now()));
}

}  // namespace
}  // namespace server
