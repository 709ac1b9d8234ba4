#include "dns/zone/zone_keys.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "dns/zone/secret_file.h"

namespace dns {
namespace {

struct TimeField {
  std::string_view name;
  std::optional<uint32_t> KeyTimes::* member;
};
constexpr std::array<TimeField, 6> kFields = {{{"Publish", &KeyTimes::publish},
                                               {"Activate", &KeyTimes::activate},
                                               {"Inactive", &KeyTimes::inactive},
                                               {"Delete", &KeyTimes::remove},
                                               {"SyncPublish", &KeyTimes::sync_publish},
                                               {"SyncDelete", &KeyTimes::sync_remove}}};

const TimeField* FieldOf(std::string_view line) {
  for (const TimeField& field : kFields) {
    if (line.starts_with(field.name) && line.substr(field.name.size()).starts_with(": ")) {
      return &field;
    }
  }
  return nullptr;
}

std::optional<uint32_t> ReadTime(std::string_view text) {
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r')) text.remove_suffix(1);
  bool digits = std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
  if (text.size() != 14 || !digits) return std::nullopt;
  auto number = [&](size_t at, size_t size) {
    int value = 0;
    for (char c : text.substr(at, size)) value = value * 10 + (c - '0');
    return value;
  };
  tm parts{};
  parts.tm_year = number(0, 4) - 1900;
  parts.tm_mon = number(4, 2) - 1;
  parts.tm_mday = number(6, 2);
  parts.tm_hour = number(8, 2);
  parts.tm_min = number(10, 2);
  parts.tm_sec = number(12, 2);
  time_t seconds = timegm(&parts);
  if (seconds < 0 || seconds > UINT32_MAX) return std::nullopt;
  return static_cast<uint32_t>(seconds);
}

bool Between(const std::optional<uint32_t>& from, const std::optional<uint32_t>& to, uint32_t now) {
  return (!from || *from <= now) && (!to || now < *to);
}

bool IsPublished(const ZoneKey& key, uint32_t now) {
  return Between(key.times.publish, key.times.remove, now);
}

bool IsActive(const ZoneKey& key, uint32_t now) {
  return Between(key.times.activate, key.times.inactive, now) && IsPublished(key, now);
}

}  // namespace

std::string TimeText(uint32_t unix_seconds) {
  time_t seconds = unix_seconds;
  tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text;
  size_t size = strftime(text.data(), text.size(), "%Y%m%d%H%M%S", &parts);
  return {text.data(), size};
}

std::expected<KeyTimes, std::string> ReadKeyTimes(std::string_view text) {
  KeyTimes times;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const TimeField* field = FieldOf(line);
    if (field == nullptr) continue;
    auto time = ReadTime(line.substr(field->name.size() + 2));
    if (!time) {
      return std::unexpected(std::string(field->name) + " is not a time as 20260131235959 (UTC)");
    }
    times.*field->member = *time;
  }
  return times;
}

std::string ToText(const KeyTimes& times) {
  std::string text;
  for (const TimeField& field : kFields) {
    const auto& time = times.*field.member;
    if (time) text += std::string(field.name) + ": " + TimeText(*time) + "\n";
  }
  return text;
}

std::expected<ZoneKey, std::string> ZoneKey::FromFile(const std::string& private_path,
                                                      const Name& zone) {
  auto key = SigningKey::FromFile(private_path, zone);
  if (!key) return std::unexpected(key.error());
  SecretFile file(private_path);
  std::string times_text;
  for (std::string_view line; file.NextLine(line);) {
    if (FieldOf(line) != nullptr) times_text.append(line) += '\n';
  }
  auto times = ReadKeyTimes(times_text);
  if (!times) return std::unexpected(private_path + ": " + times.error());
  return ZoneKey{std::make_shared<const SigningKey>(std::move(*key)), *times, private_path};
}

ZoneKeys::ZoneKeys(std::shared_ptr<const SigningKey> key, uint32_t dnskey_ttl)
    : dnskey_ttl_(dnskey_ttl) {
  keys_.push_back({std::move(key), {}, ""});
}

// Without a time of its own, CDS waits until every cache can have the DNSKEY.
uint32_t ZoneKeys::SyncPublish(const KeyTimes& times) const {
  if (times.sync_publish) return *times.sync_publish;
  return times.publish ? *times.publish + dnskey_ttl_ : 0;
}

KeyState ZoneKeys::At(uint32_t now) const {
  KeyState state;
  state.dnskey_ttl = dnskey_ttl_;
  auto has_zsk = [&](Algorithm algorithm) {
    return std::ranges::any_of(keys_, [&](const ZoneKey& key) {
      return key.key->flags() == kFlagsZsk && key.key->algorithm() == algorithm &&
             IsActive(key, now);
    });
  };
  for (const ZoneKey& key : keys_) {
    if (!IsPublished(key, now)) continue;
    bool sep = key.key->flags() != kFlagsZsk;
    state.published.push_back(key.key);
    if (sep) state.key_signers.push_back(key.key);
    if (IsActive(key, now) && (!sep || !has_zsk(key.key->algorithm()))) {
      state.zone_signers.push_back(key.key);
    }
    auto sync_end = key.times.sync_remove ? key.times.sync_remove : key.times.inactive;
    if (sep && Between(SyncPublish(key.times), sync_end, now)) state.synced.push_back(key.key);
  }
  if (state.key_signers.empty()) state.key_signers = state.zone_signers;
  return state;
}

std::optional<uint32_t> ZoneKeys::NextChange(uint32_t now) const {
  std::optional<uint32_t> next;
  auto consider = [&](const std::optional<uint32_t>& time) {
    if (time && *time > now && (!next || *time < *next)) next = time;
  };
  for (const ZoneKey& key : keys_) {
    for (const TimeField& field : kFields) consider(key.times.*field.member);
    consider(SyncPublish(key.times));
  }
  return next;
}

std::vector<std::string> ZoneKeys::Mistakes(uint32_t now) const {
  std::vector<std::string> mistakes;
  if (keys_.size() > kKeysPerZoneMax) {
    mistakes.push_back("has more than " + std::to_string(kKeysPerZoneMax) + " keys");
  }
  for (size_t i = 0; i < keys_.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (keys_[i].key->tag() == keys_[j].key->tag() &&
          keys_[i].key->algorithm() == keys_[j].key->algorithm()) {
        mistakes.push_back(keys_[i].path + ": has the tag of " + keys_[j].path +
                           "; make another key");
      }
    }
    bool signs = Between(keys_[i].times.activate, keys_[i].times.inactive, now);
    if (signs && !IsPublished(keys_[i], now)) {
      mistakes.push_back(keys_[i].path + ": should sign now, but its DNSKEY is not published");
    }
  }
  KeyState state = At(now);
  if (state.zone_signers.empty()) {
    mistakes.push_back(
        "has no key that signs now; see Publish, Activate, Inactive and Delete in the key files");
  }
  return mistakes;
}

std::string ZoneKeys::Describe(const ZoneKey& key, uint32_t now) const {
  KeyState state = At(now);
  auto has = [&](const KeyList& list) { return std::ranges::find(list, key.key) != list.end(); };
  if (!has(state.published)) {
    bool gone = key.times.remove && *key.times.remove <= now;
    return gone ? "removed: its files can go" : "not published yet";
  }
  std::string text = "published";
  if (has(state.key_signers)) text += ", signs DNSKEY";
  if (has(state.zone_signers)) text += ", signs the zone";
  if (has(state.synced)) text += ", in CDS";
  return text;
}

Rollover PlanRollover(const KeyTimes& old, bool sep, uint32_t now, uint32_t dnskey_ttl,
                      uint32_t ds_timeout) {
  Rollover plan;
  uint32_t seen = now + dnskey_ttl + kRolloverMargin;
  plan.successor.publish = now;
  plan.successor.activate = seen;
  plan.predecessor = old;
  plan.predecessor.inactive = seen;
  // What the old key signed, and the parent's DS, must have left every cache.
  plan.predecessor.remove = seen + ds_timeout;
  if (!sep) return plan;
  plan.successor.sync_publish = seen;
  plan.predecessor.sync_remove = seen;
  return plan;
}

std::string WriteKeyTimes(const std::string& private_path, const KeyTimes& times) {
  SecretFile in(private_path);
  if (!in) return private_path + ": cannot be read";
  std::string text;
  text.reserve(SecretFile::kBytesMax + 2048);  // as it grows it would leave copies
  for (std::string_view line; in.NextLine(line);) {
    if (FieldOf(line) == nullptr) text.append(line) += '\n';
  }
  text += ToText(times);
  std::string next = private_path + ".new";
  int fd = open(next.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  bool ok = fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  ok = fd >= 0 && fsync(fd) == 0 && ok;
  ok = fd >= 0 && close(fd) == 0 && ok;
  OPENSSL_cleanse(text.data(), text.size());
  if (!ok || rename(next.c_str(), private_path.c_str()) != 0) {
    unlink(next.c_str());
    return private_path + ": its times cannot be written";
  }
  return "";
}

}  // namespace dns
