#include "bench/load/preflight.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace bench {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(Preflight, LetsThroughWhatTheMachineCarries) {
  EXPECT_TRUE(Preflight({1000, 1, 0}, {1032, 1000}).has_value());
  EXPECT_TRUE(Preflight({50'000, 1, 2}, {100'000, 28'232}).has_value());
}

TEST(Preflight, SaysHowManyDescriptorsAreShortAndTheRemedy) {
  EXPECT_THAT(Preflight({1001, 1, 1}, {1032, 60'000}).error(),
              AllOf(HasSubstr("1033 descriptors, the limit is 1032"), HasSubstr("ulimit -n")));
}

TEST(Preflight, SaysHowManySourceAddressesWouldDo) {
  EXPECT_THAT(Preflight({60'000, 1, 1}, {100'000, 28'232}).error(),
              AllOf(HasSubstr("28232 source ports"), HasSubstr("give 3 source addresses")));
}

}  // namespace
}  // namespace bench
