#include "server/dist/epmd.h"

#include <charconv>

#include "net/base/byte_reader.h"
#include "net/base/byte_writer.h"

namespace server {
namespace {

using net::AppendBytes;
using net::AppendNumber;
using net::ByteReader;
using net::BytesOf;
using net::Sized;

constexpr uint8_t kAlive2 = 120;
constexpr uint8_t kAlive2Answer = 121;          // with a creation of 16 bits
constexpr uint8_t kAlive2ExtendedAnswer = 118;  // of 32
constexpr uint8_t kPortPlease2 = 122;
constexpr uint8_t kPort2Answer = 119;
constexpr uint8_t kNames = 110;
constexpr uint8_t kVisible = 'M';
constexpr uint8_t kHidden = 'H';
constexpr size_t kVersion = 6;  // highest and lowest that we speak

}  // namespace

std::string_view ToString(EpmdError error) {
  switch (error) {
    case EpmdError::kMore:
      return "the answer is not whole";
    case EpmdError::kMalformed:
      return "what answers is no epmd";
    case EpmdError::kTaken:
      return "the name is taken";
    case EpmdError::kUnknown:
      return "no such name";
  }
  return "?";
}

void PutEpmdRegister(TermBuffer* out, std::string_view alive, uint16_t port, bool visible) {
  Sized message(out, 2);
  out->push_back(kAlive2);
  AppendNumber(out, port, 2);
  out->push_back(visible ? kVisible : kHidden);
  out->push_back(0);  // TCP over IPv4, also where it is IPv6
  AppendNumber(out, kVersion, 2);
  AppendNumber(out, kVersion, 2);
  {
    Sized name(out, 2);
    AppendBytes(out, BytesOf(alive));
  }
  AppendNumber(out, 0, 2);  // nothing extra
}

std::expected<uint32_t, EpmdError> ReadEpmdRegistered(std::span<const uint8_t> answer) {
  if (answer.empty()) return std::unexpected(EpmdError::kMore);
  ByteReader in(answer);
  const size_t tag = in.Number(1);
  if (tag != kAlive2Answer && tag != kAlive2ExtendedAnswer) {
    return std::unexpected(EpmdError::kMalformed);
  }
  const size_t result = in.Number(1);
  if (in.ok() && result != 0) return std::unexpected(EpmdError::kTaken);
  const auto creation = static_cast<uint32_t>(in.Number(tag == kAlive2Answer ? 2 : 4));
  if (!in.ok()) return std::unexpected(EpmdError::kMore);
  return creation;
}

void PutEpmdPortQuestion(TermBuffer* out, std::string_view alive) {
  Sized message(out, 2);
  out->push_back(kPortPlease2);
  AppendBytes(out, BytesOf(alive));
}

std::expected<EpmdPort, EpmdError> ReadEpmdPort(std::span<const uint8_t> answer) {
  if (answer.empty()) return std::unexpected(EpmdError::kMore);
  ByteReader in(answer);
  if (in.Number(1) != kPort2Answer) return std::unexpected(EpmdError::kMalformed);
  const size_t result = in.Number(1);
  if (in.ok() && result != 0) return std::unexpected(EpmdError::kUnknown);
  EpmdPort port;
  port.port = static_cast<uint16_t>(in.Number(2));
  port.hidden = in.Number(1) == kHidden;
  if (!in.ok()) return std::unexpected(EpmdError::kMore);
  if (port.port == 0) return std::unexpected(EpmdError::kMalformed);
  return port;
}

void PutEpmdNamesQuestion(TermBuffer* out) {
  Sized message(out, 2);
  out->push_back(kNames);
}

std::expected<std::vector<EpmdName>, EpmdError> ReadEpmdNames(std::span<const uint8_t> answer) {
  if (answer.size() < 4) return std::unexpected(EpmdError::kMalformed);
  std::string_view text(reinterpret_cast<const char*>(answer.data()), answer.size());
  text.remove_prefix(4);  // epmd's own port
  std::vector<EpmdName> names;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    constexpr std::string_view kName = "name ";
    constexpr std::string_view kPort = " at port ";
    const size_t at = line.rfind(kPort);
    if (!line.starts_with(kName) || at == std::string_view::npos || at < kName.size()) {
      return std::unexpected(EpmdError::kMalformed);
    }
    EpmdName name{.name = std::string(line.substr(kName.size(), at - kName.size())), .port = 0};
    std::string_view digits = line.substr(at + kPort.size());
    auto [last, error] = std::from_chars(digits.data(), digits.data() + digits.size(), name.port);
    if (error != std::errc() || last != digits.data() + digits.size()) {
      return std::unexpected(EpmdError::kMalformed);
    }
    names.push_back(std::move(name));
  }
  return names;
}

}  // namespace server
