// The second flight of the server's own handshake under a client that holds the right keys and does
// what it likes. The input is a program, as in fuzz_tls_record.cc. The handshake is done when, and
// only when, the genuine Finished was the whole of what was said, besides change_cipher_spec.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "net/base/check.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/fuzz/tls_handshake_target.h"

namespace {

using net::Bytes;
using net::TlsHandshakeStep;

net::TlsHandshakeTarget& Target() {
  static net::TlsHandshakeTarget target;
  return target;
}

class Client {
 public:
  Client(net::TlsSuite suite, bool resumes)
      : suite_(suite),
        schedule_(net::DigestOfSuite(suite)),
        psk_(resumes ? net::TlsSecretBytes(suite) : 0, 5) {
    static const net::TestKeyShare key;
    key_ = &key;
    hello_ = Target().Hello(suite, key.share(), psk_);
  }

  Bytes Hello() const { return hello_.Wire(); }
  // The keys and the genuine Finished, out of the server's flight.
  void Answer(const Bytes& flight) {
    const auto answer = net::ReadServerHello(flight);
    CHECK(answer.has_value() && answer->psk.has_value() == !psk_.empty());
    const Bytes secret = schedule_.Handshake(psk_, key_->SharedWith(answer->share));
    const Bytes hello = hello_.Message();
    const Bytes hash = schedule_.Hash({hello, answer->message});
    const Bytes from_client = schedule_.Expand(secret, "c hs traffic", hash);
    const Bytes from_server = schedule_.Expand(secret, "s hs traffic", hash);
    CHECK(net::StartTlsRecords(Target().records(), suite_, true, from_server, from_client, &keys_));
    Bytes rest = answer->rest;
    CHECK(rest.at(0) == 20);
    rest.erase(rest.begin(), rest.begin() + 6);
    const net::OpenedRecord opened = net::OpenNext(Target().records(), &keys_, &rest);
    CHECK(opened.error == net::TlsAlert::kNone && rest.empty());
    const Bytes said = schedule_.Hash({hello, answer->message, opened.content});
    finished_ = schedule_.Finished(from_client, said);
    const Bytes master = schedule_.Master(secret);
    CHECK(net::StartTlsRecords(Target().records(), suite_, true,
                               schedule_.Expand(master, "s ap traffic", said),
                               schedule_.Expand(master, "c ap traffic", said), &application_));
  }

  void Step(FuzzInput& input) {
    switch (input.Byte() % 8) {
      case 0:
        return SayFinished(input.Byte(), input.Byte() % 32);
      case 1:
        return SayFinished(SIZE_MAX, 0);
      case 2:
        for (size_t i = input.Byte() % 40; i-- > 0;) Change();
        return;
      case 3:
        return Seal(22, input.Take(input.Byte() % 64), input.Byte() % 4);
      case 4:
        // Type 0 is padding: the last byte of the content would be taken for the type.
        return Seal(std::max<int>(1, input.Byte()), input.Take(input.Byte() % 16), 0);
      case 5: {
        const Bytes raw = input.Take(input.Byte() % 32);
        wire_.insert(wire_.end(), raw.begin(), raw.end());
        if (!raw.empty()) plain_ = false;
        return;
      }
      case 6:
        if (wire_.empty()) return;
        wire_[wire_.size() - 1 - input.Byte() % wire_.size()] ^= 1;
        plain_ = false;
        return;
      default:
        return Change();
    }
  }
  Bytes TakeWire(size_t size) {
    size = std::min(size, wire_.size());
    Bytes front(wire_.begin(), wire_.begin() + static_cast<long>(size));
    wire_.erase(wire_.begin(), wire_.begin() + static_cast<long>(size));
    taken_ += size;
    return front;
  }
  size_t pending() const { return wire_.size(); }
  // Where in the stream the genuine Finished ends, if it was the whole.
  std::optional<size_t> done_at() const { return done_at_; }
  bool plain() const { return plain_; }  // and nothing was damaged or made up

  // What the server says at its end: tickets, or one alert.
  void CheckSaid(Bytes said, bool done) {
    if (done) CHECK(!said.empty());
    if (!done && said.empty()) return;  // the client's alert ended it
    while (!said.empty()) {
      const net::OpenedRecord opened = net::OpenNext(Target().records(), &application_, &said);
      CHECK(opened.error == net::TlsAlert::kNone);
      CHECK(opened.type == (done ? 22 : 21));
      CHECK(done ? opened.content.at(0) == 4 : opened.content.size() == 2);
      if (!done) CHECK(opened.content[0] == 2 && said.empty());
    }
  }

 private:
  void Append(const Bytes& record) { wire_.insert(wire_.end(), record.begin(), record.end()); }
  void SayFinished(size_t size, size_t padding) {
    const size_t from = std::min(said_.size(), finished_.size());
    size = std::min(size, finished_.size() - from);
    const auto begin = finished_.begin() + static_cast<long>(from);
    Seal(22, Bytes(begin, begin + static_cast<long>(size)), padding);
  }
  void Change() {
    Append({20, 3, 3, 0, 1, 1});
    if (!said_.empty() || ++changes_ > 32) other_ = true;
  }
  void Seal(int type, const Bytes& content, size_t padding) {
    Append(net::SealRecord(Target().records(), &keys_, type, content, padding));
    if (done_at_) return;
    if (type != 22 || content.empty()) other_ = true;
    said_.insert(said_.end(), content.begin(), content.end());
    if (!other_ && said_ == finished_) done_at_ = taken_ + wire_.size();
  }

  net::TlsSuite suite_;
  net::TestSchedule schedule_;
  Bytes psk_;
  const net::TestKeyShare* key_ = nullptr;
  net::HelloParts hello_;
  Bytes finished_;
  net::TlsRecordState keys_{};
  net::TlsRecordState application_{};
  Bytes wire_;
  size_t taken_ = 0;
  Bytes said_;  // in genuine records
  size_t changes_ = 0;
  bool other_ = false;  // something else was said before the Finished was whole
  bool plain_ = true;
  std::optional<size_t> done_at_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  FuzzInput input(data, size);
  const uint8_t kind = input.Byte();
  Client client(static_cast<net::TlsSuite>(kind % 3), (kind & 0x80) != 0);
  net::TlsHandshake handshake(Target().plan());
  Bytes out;
  {
    Bytes hello = client.Hello();
    std::span<uint8_t> in(hello);
    CHECK(handshake.Feed(Target().handshaker(), &in, &out) == TlsHandshakeStep::kAnswered);
  }
  client.Answer(out);
  out.clear();
  size_t fed = 0;
  TlsHandshakeStep step = TlsHandshakeStep::kNeedMore;
  auto feed = [&](size_t piece) {
    Bytes bytes = client.TakeWire(piece);
    std::span<uint8_t> in(bytes);
    step = handshake.Feed(Target().handshaker(), &in, &out);
    fed += bytes.size() - in.size();
    if (step == TlsHandshakeStep::kNeedMore) CHECK(in.empty() && out.empty());
  };
  while (!input.empty() && step == TlsHandshakeStep::kNeedMore) {
    client.Step(input);
    const size_t piece = size_t{input.Byte()} + 1;
    while (client.pending() >= piece && step == TlsHandshakeStep::kNeedMore) feed(piece);
  }
  while (client.pending() > 0 && step == TlsHandshakeStep::kNeedMore) feed(client.pending());
  const bool done = step == TlsHandshakeStep::kDone;
  if (done) CHECK(fed == client.done_at());
  if (client.plain() && client.done_at().has_value()) CHECK(done);
  if (step != TlsHandshakeStep::kNeedMore) client.CheckSaid(out, done);
  return 0;
}
