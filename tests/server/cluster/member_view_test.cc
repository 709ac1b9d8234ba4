#include "server/cluster/member_view.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "net/base/random.h"
#include "server/cluster/limits.h"
#include "server/cluster/member_file.h"

namespace server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

MemberView Arbitrary(net::FastRandom& random) {
  MemberView view("a@h", random.Below(4) + 1, random.Below(4) + 1);
  for (uint32_t i = random.Below(6); i > 0; --i) {
    view.AddEntry({std::string(1, static_cast<char>('b' + random.Below(5))) + "@h",
                   random.Below(2) == 0 ? MemberState::kJoined : MemberState::kRemoved,
                   random.Below(5)});
  }
  for (uint32_t i = random.Below(3); i > 0; --i) view.AddLineage(random.Below(9) + 1);
  return view;
}

MemberView Merged(MemberView a, const MemberView& b) {
  a.Merge(b);
  return a;
}

TEST(MemberView, MergingIsTheSameInEveryOrderAndAnyNumberOfTimes) {
  net::FastRandom random(1);
  for (int i = 0; i < 20'000; ++i) {
    const MemberView a = Arbitrary(random);
    const MemberView b = Arbitrary(random);
    const MemberView c = Arbitrary(random);
    ASSERT_EQ(Merged(a, b), Merged(b, a));
    ASSERT_EQ(Merged(Merged(a, b), c), Merged(a, Merged(b, c)));
    ASSERT_EQ(Merged(a, a), a);
    ASSERT_EQ(Merged(Merged(a, b), b), Merged(a, b));
    ASSERT_EQ(Merged(a, b).Hash(), Merged(b, a).Hash());
    ASSERT_EQ(MemberView(a).Merge(b), Merged(a, b) != a) << "says whether it changed something";
  }
}

TEST(MemberView, OfMoreIdentitiesThanFitTheNewestStayInEveryOrder) {
  MemberView a("a@h", 1, 1);
  MemberView b("a@h", 2, 1);
  for (uint64_t i = 0; i < kLineageMax; ++i) {
    a.AddLineage(10 + 3 * i);
    b.AddLineage(11 + 2 * i);
  }
  EXPECT_EQ(Merged(a, b), Merged(b, a));
  EXPECT_EQ(Merged(a, b).lineage().size(), kLineageMax);
  EXPECT_EQ(Merged(a, b).lineage().back(), 10 + 3 * (kLineageMax - 1));
}

TEST(MemberView, TheHigherEpochWinsAndOfEqualOnesTheRemoval) {
  MemberView a("a@h", 1, 5);
  MemberView b("a@h", 1, 4);
  b.Set("a@h", MemberState::kRemoved, 0);
  EXPECT_FALSE(Merged(a, b).Joined("a@h")) << "epoch 5 both";
  a.Set("a@h", MemberState::kJoined, 0);
  EXPECT_TRUE(Merged(a, b).Joined("a@h"));
}

TEST(MemberView, WhoIsJoinedOnEitherSideIsJoinedAfterAJoin) {
  MemberView cluster("a@h", 1, 1);
  cluster.Set("b@h", MemberState::kRemoved, 700);
  cluster.Set("c@h", MemberState::kJoined, 3);
  MemberView joiner("b@h", 2, 1);  // lost its disk: its epoch begins anew
  joiner.Set("c@h", MemberState::kRemoved, 900);
  const MemberView after = cluster.Joining(joiner, 10);
  EXPECT_THAT(after.JoinedNames(), ElementsAre("a@h", "b@h", "c@h"));
  EXPECT_GT(after.Find("b@h")->epoch, 700U);
  // Nobody's older word takes it back.
  EXPECT_EQ(Merged(Merged(after, cluster), joiner), after);
}

TEST(MemberView, ReadsWhatItWroteAndNothingThatIsNoView) {
  net::FastRandom random(2);
  for (int i = 0; i < 2'000; ++i) {
    const MemberView view = Arbitrary(random);
    std::vector<uint8_t> bytes;
    view.AppendTo(&bytes);
    net::ByteReader reader(bytes);
    ASSERT_EQ(MemberView::Read(reader), view);
    ASSERT_TRUE(reader.done());
    for (size_t cut = 0; cut < bytes.size(); ++cut) {
      net::ByteReader shorter({bytes.data(), cut});
      MemberView::Read(shorter);
      ASSERT_FALSE(shorter.ok());
    }
  }
}

TEST(MemberView, NamesAreNameAndHostWithoutBlanksOrQuotes) {
  EXPECT_TRUE(IsNodeName("mongooseim@localhost"));
  EXPECT_TRUE(IsNodeName("mongooseim@my-host.example.com"));
  for (const char* bad : {"", "@", "a@", "@h", "mongooseim", "a@b@c", "a b@h", "a@h\n", "a'@h"}) {
    EXPECT_FALSE(IsNodeName(bad)) << bad;
  }
  EXPECT_FALSE(IsNodeName("a@" + std::string(kNodeNameMax, 'h')));
}

MemberFile SomeFile() {
  MemberFile file{.node = "a@h", .incarnation = 77, .shared = true, .view = {"a@h", 0xabc, 5}};
  file.view.Set("b@h", MemberState::kRemoved, 9);
  return file;
}

TEST(MemberFile, ReadsWhatItWrote) {
  const std::string text = MemberFileText(SomeFile());
  EXPECT_THAT(text, HasSubstr("member b@h removed 9\n"));
  EXPECT_EQ(ParseMemberFile(text, "f").value(), SomeFile());
}

TEST(MemberFile, ATornOrEditedFileIsRefusedWithLineAndRemedy) {
  const std::string text = MemberFileText(SomeFile());
  for (size_t cut = 0; cut < text.size(); ++cut) {
    const auto torn = ParseMemberFile(text.substr(0, cut), "cluster.state");
    ASSERT_FALSE(torn.has_value()) << cut;
    ASSERT_THAT(torn.error(), HasSubstr("cluster.state:"));
    ASSERT_THAT(torn.error(), HasSubstr("joined again"));
  }
  for (size_t at = 0; at < text.size(); ++at) {
    std::string edited = text;
    edited[at] = static_cast<char>(edited[at] ^ 1);
    ASSERT_FALSE(ParseMemberFile(edited, "f").has_value()) << at;
  }
}

TEST(MemberFile, TheDiskHoldsTheOldOrTheNewBytesAndNothingBetween) {
  const std::string path = ::testing::TempDir() + "/member_file_test.state";
  std::remove(path.c_str());
  DiskStorage disk(path);
  EXPECT_EQ(disk.Load().value(), std::nullopt);
  ASSERT_TRUE(disk.Save("one").has_value());
  ASSERT_TRUE(disk.Save("two").has_value());
  EXPECT_EQ(disk.Load().value(), "two");
  DiskStorage nowhere("/proc/no/such/file");
  EXPECT_THAT(nowhere.Save("x").error(), HasSubstr("cannot create /proc/no/such/file.new: "));
  std::remove(path.c_str());
}

}  // namespace
}  // namespace server
