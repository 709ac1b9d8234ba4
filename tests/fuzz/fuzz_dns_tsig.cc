// TSIG on anything: no read out of bounds, nothing forged is good, and a response that is signed
// can be checked again. The first byte says what the input is: a request, or a message of a
// response.
#include <cstdint>
#include <memory>
#include <vector>

#include "dns/tsig/tsig.h"
#include "dns/wire/wire.h"

namespace dns {
namespace {

constexpr uint64_t kNow = 1'700'000'000;

std::shared_ptr<const TsigKeys> MakeKeys() {
  auto keys = std::make_shared<TsigKeys>();
  for (TsigAlgorithm algorithm :
       {TsigAlgorithm::kHmacSha256, TsigAlgorithm::kHmacSha384, TsigAlgorithm::kHmacSha512}) {
    TsigKey key;
    key.name = *Name::FromText(ToString(algorithm));
    key.algorithm = algorithm;
    key.secret = Bytes(32, 0x5a);
    if (!keys->Add(std::move(key))) __builtin_trap();
  }
  return keys;
}

void Request(ByteView message) {
  static const std::shared_ptr<const TsigKeys> keys = MakeKeys();
  TsigCheck check = CheckTsig(message, keys, kNow);
  if (check.verdict == TsigCheck::Verdict::kAbsent ||
      check.verdict == TsigCheck::Verdict::kFormErr) {
    return;
  }
  // The corpus holds signed ones; whatever is good must be so when it is made again.
  std::vector<uint8_t> out(65'535);
  out[2] = 0x80;
  size_t size = SignResponse(check, out, kHeaderBytes, kNow);
  if (size <= kHeaderBytes || size > kHeaderBytes + TsigBytes(check)) __builtin_trap();
  TsigRecord record;
  if (ReadTsig(ByteView(out).first(size), record) != TsigForm::kPresent) __builtin_trap();
  if (record.mac.empty() == check.good()) __builtin_trap();
}

void Response(ByteView message) {
  static const std::shared_ptr<const TsigKeys> keys = MakeKeys();
  Bytes request(kHeaderBytes);
  TsigSigner signer(keys, *keys->Find(Name::FromText("hmac-sha256")->wire()));
  signer.Sign(request, kNow);
  TsigVerifier verifier(signer);
  // Nobody but who has the key can say something that is believed.
  if (verifier.Check(message, kNow).has_value()) __builtin_trap();
  if (verifier.complete()) __builtin_trap();
}

}  // namespace
}  // namespace dns

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::vector<uint8_t> message(data + 1, data + size);  // so that asan sees reads behind its end
  if (data[0] % 2 == 0) {
    dns::Request(message);
  } else {
    dns::Response(message);
  }
  return 0;
}
