#include "server/cluster/peer_stream.h"

#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <string>

#include "net/base/random.h"

namespace server {
namespace {

using Bytes = std::vector<uint8_t>;

Bytes Numbers(uint64_t& next, size_t count) {
  Bytes bytes;
  while (count-- > 0) bytes.push_back(static_cast<uint8_t>(next++ * 37 % 251));
  return bytes;
}

// Two ends and a link in each direction, which keeps order and loses all of its content when it
// breaks.
struct World {
  struct End {
    std::unique_ptr<PeerStream> stream;
    uint64_t relations = 0;
    uint64_t put = 0;  // bytes, since the relation began
    uint64_t got = 0;  // likewise
    Bytes in;
    std::deque<Bytes> out;  // on the way to the other
    int ended = 0;          // relations that the other ended
  };

  explicit World(uint64_t seed, PeerStream::Options o = {}) : random(seed), options(o) {
    for (End& end : ends) Begin(end);
  }
  void Begin(End& end) {
    end.stream = std::make_unique<PeerStream>(options, ++end.relations * 1000);
    end.put = end.got = 0;
    end.in.clear();
  }
  PeerStream::Send SendOf(End& end) {
    return [this, &end](std::span<const uint8_t> message) {
      if (end.out.size() >= link_max) return false;
      end.out.emplace_back(message.begin(), message.end());
      return true;
    };
  }
  void Take(End& end) {
    uint64_t next = end.got;
    EXPECT_EQ(end.in, Numbers(next, end.in.size())) << "lost, doubled or out of order";
    end.got = next;
    end.in.clear();
  }
  void Arrive(int to) {
    End& from = ends[1 - to];
    if (from.out.empty()) return;
    const Bytes message = std::move(from.out.front());
    from.out.pop_front();
    End& end = ends[to];
    if (end.stream->OnMessage(message, end.in, now) == PeerStream::Event::kEnded) {
      ++end.ended;
      Begin(end);
      EXPECT_EQ(end.stream->OnMessage(message, end.in, now), PeerStream::Event::kNone);
    }
    Take(end);
  }
  void Tick() {
    now += std::chrono::milliseconds(100);
    for (End& end : ends) end.stream->Tick(now, SendOf(end));
  }
  void Settle() {
    for (int i = 0; i < 200; ++i) {
      Tick();
      while (!ends[0].out.empty() || !ends[1].out.empty()) {
        Arrive(0);
        Arrive(1);
        for (End& end : ends) end.stream->Pump(now, SendOf(end));
      }
    }
  }
  void Put(int at, size_t count) {
    End& end = ends[at];
    uint64_t next = end.put;
    const Bytes bytes = Numbers(next, count);
    if (end.stream->Put(bytes)) end.put = next;
  }

  net::FastRandom random;
  PeerStream::Options options;
  net::Time now{};
  size_t link_max = 8;
  End ends[2];
};

TEST(PeerStream, WhatIsPutArrivesOnceAndInOrderThroughBreaksOfTheLink) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    World world(seed, {.chunk_bytes = 64, .window_bytes = 256, .ack_bytes = 64});
    for (int step = 0; step < 400; ++step) {
      const int at = static_cast<int>(world.random.Below(2));
      switch (world.random.Below(8)) {
        case 0:
        case 1:
          world.Put(at, world.random.Below(150));
          break;
        case 2:
          world.ends[at].stream->Pump(world.now, world.SendOf(world.ends[at]));
          break;
        case 3:
          world.Tick();
          break;
        case 4:  // the link breaks, and is there again; one end may not have noticed
          for (auto& end : world.ends) end.out.clear();
          if (world.random.Below(2) == 0) world.ends[at].stream->Relinked();
          break;
        default:
          world.Arrive(at);
      }
    }
    world.Settle();
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(world.ends[i].got, world.ends[1 - i].put) << "seed " << seed;
      EXPECT_EQ(world.ends[i].stream->waiting_bytes(), 0U) << "seed " << seed;
      EXPECT_EQ(world.ends[i].ended, 0);
    }
  }
}

// Of what was put before nothing comes behind it, and both begin anew.
TEST(PeerStream, ARelationThatOneEndsIsOverForBoth) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    World world(seed, {.chunk_bytes = 64, .window_bytes = 256, .ack_bytes = 64});
    for (int step = 0; step < 600; ++step) {
      const int at = static_cast<int>(world.random.Below(2));
      switch (world.random.Below(12)) {
        case 0:
          if (world.random.Below(8) == 0) world.Begin(world.ends[at]);
          break;
        case 1:
          for (auto& end : world.ends) end.out.clear();
          break;
        case 2:
        case 3:
          world.Put(at, world.random.Below(150));
          break;
        case 4:
          world.Tick();
          break;
        case 5:
          world.ends[at].stream->Pump(world.now, world.SendOf(world.ends[at]));
          break;
        default:
          world.Arrive(at);
      }
    }
    world.Settle();
    for (int i = 0; i < 2; ++i) {
      EXPECT_TRUE(world.ends[i].stream->begun());
      EXPECT_EQ(world.ends[i].got, world.ends[1 - i].put) << "seed " << seed;
    }
    // It is quiet: neither ends the other's for ever.
    const uint64_t before = world.ends[0].relations + world.ends[1].relations;
    world.Settle();
    EXPECT_EQ(world.ends[0].relations + world.ends[1].relations, before) << "seed " << seed;
  }
}

TEST(PeerStream, TakesNoMoreThanItsBoundAndGoesOnWhenThereIsRoom) {
  World world(1, {.chunk_bytes = 100, .window_bytes = 200, .waiting_max = 1000});
  world.Settle();
  EXPECT_TRUE(world.ends[0].stream->Put(Bytes(1000)));
  EXPECT_FALSE(world.ends[0].stream->Put(Bytes(1)));
  world.ends[0].stream->Pump(world.now, world.SendOf(world.ends[0]));
  EXPECT_EQ(world.ends[0].out.size(), 2U);  // the window
}

TEST(PeerStream, WhatIsNoMessageChangesNothing) {
  World world(1);
  world.Settle();
  Bytes in;
  net::FastRandom random(7);
  for (int i = 0; i < 2000; ++i) {
    Bytes message(random.Below(60));
    for (uint8_t& byte : message) byte = static_cast<uint8_t>(random.Next());
    if (message.size() > 1) message[1] = 0;  // a relation of the future is one
    if (message.size() > 2) message[2] = 0;
    for (size_t at = 3; at < 9 && at < message.size(); ++at) message[at] = 0;
    EXPECT_EQ(world.ends[0].stream->OnMessage(message, in, world.now), PeerStream::Event::kNone);
  }
  EXPECT_TRUE(in.empty());
  world.Put(1, 500);
  world.Settle();
  EXPECT_EQ(world.ends[0].got, 500U);
}

}  // namespace
}  // namespace server
