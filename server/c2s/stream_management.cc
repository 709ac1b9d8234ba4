#include "server/c2s/stream_management.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <ctime>
#include <optional>
#include <utility>

#include "net/base/check.h"

namespace server {
namespace {

constexpr size_t kRestMax = 8;  // what a line keeps that is empty

}  // namespace

SettledCount::Came SettledCount::Receive(uint64_t content) {
  const size_t at = head_ + said_;
  if (at < line_.size()) {
    if (line_[at].content == content) {
      ++said_;
      Advance();
      return {.again = true};
    }
    line_.resize(at);  // it has given those up, and counts on from there
  }
  if (++last_serial_ == 0) ++last_serial_;
  line_.push_back({.content = content, .serial = last_serial_});
  ++said_;
  return {.serial = last_serial_};
}

bool SettledCount::Settle(uint32_t serial) {
  const auto behind = [this](uint32_t number) { return number - line_[head_].serial; };
  const auto it = std::lower_bound(
      line_.begin() + head_, line_.end(), serial,
      [&](const One& one, uint32_t wanted) { return behind(one.serial) < behind(wanted); });
  if (it == line_.end() || it->serial != serial || it->settled) return false;
  it->settled = true;
  return Advance();
}

std::vector<uint32_t> SettledCount::Unsettled() const {
  std::vector<uint32_t> serials;
  for (size_t i = head_; i < line_.size(); ++i) {
    if (!line_[i].settled) serials.push_back(line_[i].serial);
  }
  return serials;
}

bool SettledCount::UnsettledUpTo(uint32_t serial) const {
  for (size_t i = head_; i < line_.size(); ++i) {
    // Counts wrap: the distance tells which is ahead.
    if (static_cast<int32_t>(line_[i].serial - serial) > 0) return false;
    if (!line_[i].settled) return true;
  }
  return false;
}

// What a client has not said on this connection it will say: it is not counted before.
bool SettledCount::Advance() {
  const uint32_t before = settled_;
  for (; said_ > 0 && line_[head_].settled; ++head_, --said_) ++settled_;
  if (head_ == line_.size()) {
    line_.clear();
    if (line_.capacity() > kRestMax) std::vector<One>().swap(line_);
    head_ = 0;
  } else if (head_ >= 32 && head_ * 2 >= line_.size()) {
    line_.erase(line_.begin(), line_.begin() + head_);
    head_ = 0;
  }
  return settled_ != before;
}

void UnackedQueue::Push(Delivery delivery, int64_t now_us) {
  bytes_ += delivery.xml.size();
  items_.push_back({std::move(delivery), now_us});
  ++sent_;
}

void AddEnd(const Delivery& delivery, DeliveryEnd end, std::vector<TicketEnd>& ended) {
  if (delivery.ticket != 0) ended.push_back({delivery.ticket, end, delivery.home});
}

void UnackedQueue::Pop(DeliveryEnd end, std::vector<TicketEnd>& ended) {
  Item& item = items_[head_++];
  bytes_ -= item.delivery.xml.size();
  AddEnd(item.delivery, end, ended);
  if (head_ == items_.size()) {
    std::vector<Item>().swap(items_);
    head_ = 0;
    return;
  }
  item = {};
  // Half of it is gone: the rest moves to the front, once for each that was taken.
  if (head_ >= 32 && head_ * 2 >= items_.size()) {
    items_.erase(items_.begin(), items_.begin() + static_cast<ptrdiff_t>(head_));
    head_ = 0;
  }
}

bool UnackedQueue::Acknowledge(uint32_t h, std::vector<TicketEnd>& ended) {
  const uint32_t left = sent_ - h;
  if (left > size()) {
    // Behind what was acknowledged before: an old <a/>, which says nothing. Or ahead of all.
    return left < UINT32_MAX / 2;
  }
  while (size() > left) Pop(DeliveryEnd::kTaken, ended);
  return true;
}

void UnackedQueue::Lose(std::vector<TicketEnd>& ended) {
  while (!empty()) Pop(DeliveryEnd::kLost, ended);
}

void AppendDelayed(std::string& out, std::string_view xml, std::string_view domain, int64_t at_us) {
  static constexpr std::string_view kEnd = "</message>";
  if (!xml.ends_with(kEnd) || xml.find("<delay xmlns='urn:xmpp:delay'") != xml.npos) {
    out += xml;
    return;
  }
  const std::time_t seconds = at_us / 1'000'000;
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  std::array<char, 40> stamp;
  const size_t size = std::strftime(stamp.data(), stamp.size(), "%Y-%m-%dT%H:%M:%S", &utc);
  std::array<char, 16> millis;
  std::snprintf(millis.data(), millis.size(), ".%03dZ", static_cast<int>(at_us / 1000 % 1000));
  out += xml.substr(0, xml.size() - kEnd.size());
  out += "<delay xmlns='urn:xmpp:delay' from='";
  out += domain;
  out += "' stamp='";
  out.append(stamp.data(), size);
  out += millis.data();
  out += "'/>";
  out += kEnd;
}

uint64_t ResumeTag(std::string_view secret) {
  if (secret.empty()) return 0;
  std::array<unsigned char, 32> hash{};
  unsigned size = 0;
  CHECK(EVP_Digest(secret.data(), secret.size(), hash.data(), &size, EVP_sha256(), nullptr) == 1);
  uint64_t tag = 0;
  for (size_t i = 0; i < sizeof tag; ++i) tag = tag << 8U | hash[i];
  return tag == 0 ? 1 : tag;
}

std::string ResumeKey::ToString() const {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const char c : secret) {
    const auto byte = static_cast<unsigned char>(c);
    text += kDigits[byte >> 4U];
    text += kDigits[byte & 15U];
  }
  return text + '-' + std::to_string(worker) + '-' + std::to_string(place);
}

std::optional<ResumeKey> ResumeKey::Parse(std::string_view text) {
  ResumeKey key;
  if (text.size() < 2 * kSecretBytes) return std::nullopt;
  for (size_t i = 0; i < 2 * kSecretBytes; i += 2) {
    uint8_t byte = 0;
    const auto [end, error] = std::from_chars(text.data() + i, text.data() + i + 2, byte, 16);
    if (error != std::errc() || end != text.data() + i + 2) return std::nullopt;
    key.secret += static_cast<char>(byte);
  }
  text.remove_prefix(2 * kSecretBytes);
  for (uint32_t* number : {&key.worker, &key.place}) {
    if (!text.starts_with('-')) return std::nullopt;
    const auto [end, error] = std::from_chars(text.data() + 1, text.data() + text.size(), *number);
    if (error != std::errc()) return std::nullopt;
    text.remove_prefix(static_cast<size_t>(end - text.data()));
  }
  return text.empty() ? std::optional(std::move(key)) : std::nullopt;
}

bool ResumeKey::SameSecret(std::string_view other) const {
  return other.size() == secret.size() && !secret.empty() &&
         CRYPTO_memcmp(other.data(), secret.data(), secret.size()) == 0;
}

}  // namespace server
