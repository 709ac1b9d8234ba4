// Rosters and blocking lists as values.
#include "server/im/contacts.h"

#include <gtest/gtest.h>

#include <string>

#include "server/im/block_list.h"

namespace server {
namespace {

TEST(Contacts, KeepWhatWasPut) {
  Contacts contacts;
  ContactState both{.subscription = Subscription::kBoth};
  ContactState asks{.pending_in = true};
  contacts.Put("bob@a.example", both, "a.example");
  contacts.Put("bob@b.example", asks, "a.example");
  contacts.Put("b.example", both, "a.example");
  EXPECT_EQ(contacts.size(), 3U);
  EXPECT_EQ(contacts.pending_in(), 1U);
  EXPECT_EQ(contacts.Find("bob@a.example", "a.example"), both);
  EXPECT_EQ(contacts.Find("bob@b.example", "a.example"), asks);
  EXPECT_EQ(contacts.Find("carol@b.example", "a.example"), ContactState());
  std::string all;
  contacts.ForEach("a.example", [&](const std::string& jid, ContactState) { all += jid + ","; });
  EXPECT_EQ(all, "bob@a.example,bob@b.example,b.example,");
  contacts.Put("bob@b.example", ContactState(), "a.example");
  EXPECT_EQ(contacts.size(), 2U);
  EXPECT_EQ(contacts.pending_in(), 0U);
}

TEST(BlockList, MatchesAsTheXepSays) {
  BlockList list;
  list.Set({"bob@a.example/x", "carol@a.example", "b.example/r", "c.example"});
  const auto blocks = [&](std::string_view jid) { return list.Blocks(*Jid::Parse(jid)); };
  EXPECT_TRUE(blocks("bob@a.example/x"));
  EXPECT_FALSE(blocks("bob@a.example/y"));
  EXPECT_FALSE(blocks("bob@a.example"));
  EXPECT_TRUE(blocks("carol@a.example"));
  EXPECT_TRUE(blocks("carol@a.example/z"));
  EXPECT_TRUE(blocks("someone@b.example/r"));
  EXPECT_FALSE(blocks("someone@b.example"));
  EXPECT_TRUE(blocks("c.example"));
  EXPECT_TRUE(blocks("anyone@c.example/q"));
}

}  // namespace
}  // namespace server
