#include "server/dist/control.h"

#include <gmock/gmock.h>

namespace server {
namespace {

std::span<const uint8_t> Body(const TermBuffer& frame) {
  return std::span<const uint8_t>(frame).subspan(kFrameLengthBytes);
}

TEST(ControlTest, AFrameReadsAsItWasWritten) {
  TermBuffer out;
  {
    FrameWriter frame(&out, ControlOp::kRegSend, 3);
    PutPid(&out, "a@h", {7, 1}, 99);
    PutAtom(&out, "");
    PutAtom(&out, "rex");
    frame.Payload();
    PutAtom(&out, "hello");
  }
  EXPECT_EQ(out.size() - 4, size_t{out[2]} << 8 | out[3]);
  auto frame = ReadControlFrame(Body(out));
  ASSERT_TRUE(frame.has_value());
  EXPECT_TRUE(frame->Is(ControlOp::kRegSend, 3));
  EXPECT_FALSE(frame->Is(ControlOp::kRegSend, 4));
  EXPECT_FALSE(frame->Is(ControlOp::kSend, 2));
  EXPECT_EQ(ReadPid(frame->field[0], {"a@h", 99}), (Pid{7, 1}));
  EXPECT_TRUE(frame->field[2].IsAtom("rex"));
  EXPECT_TRUE(TermView::Decode(frame->payload)->IsAtom("hello"));
  EXPECT_EQ(frame->control.size() + frame->payload.size(), Body(out).size());
}

TEST(ControlTest, ProcessesOfAnotherLifeOrNodeAreNotOurs) {
  TermBuffer out;
  PutPid(&out, "a@h", {7, 1}, 99);
  const TermView pid = *TermView::DecodeBare(out);
  EXPECT_EQ(ReadPid(pid, {"a@h", 98}), std::nullopt);
  EXPECT_EQ(ReadPid(pid, {"b@h", 99}), std::nullopt);
  EXPECT_EQ(ReadPid(TermView(), {"a@h", 99}), std::nullopt);
  TermBuffer reference;
  PutReference(&reference, "a@h", {1, 2, 3}, 99);
  const TermView ref = *TermView::DecodeBare(reference);
  EXPECT_EQ(ReadReference(ref, {"a@h", 99}), (Reference{1, 2, 3}));
  EXPECT_EQ(ReadReference(ref, {"a@h", 1}), std::nullopt);
  EXPECT_EQ(ReadReference(pid, {"a@h", 99}), std::nullopt);
}

TEST(ControlTest, WhatWasNotNegotiatedIsAnError) {
  const auto error = [](TermBuffer body) { return ReadControlFrame(body).error(); };
  EXPECT_EQ(error({131, 68, 0}), TermError::kTag) << "a header with an atom cache";
  EXPECT_EQ(error({131, 69, 0}), TermError::kTag) << "a fragment";
  EXPECT_EQ(error({112}), TermError::kTag);
  EXPECT_EQ(error({112, 130, 106}), TermError::kVersion);
  EXPECT_EQ(error({112, 131, 106}), TermError::kMalformed);
  EXPECT_EQ(error({112, 131, 104, 0}), TermError::kMalformed);
  EXPECT_EQ(error({112, 131, 104, 1, 106}), TermError::kMalformed);
  EXPECT_EQ(error({112, 131, 104, 10, 97, 1, 97, 1, 97, 1, 97, 1,
                   97,  1,   97,  1,  97, 1, 97, 1, 97, 1, 97, 1}),
            TermError::kMalformed);
  EXPECT_EQ(error({112, 131, 105, 127, 255, 255, 255}), TermError::kTruncated);
}

}  // namespace
}  // namespace server
