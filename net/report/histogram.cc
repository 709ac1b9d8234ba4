#include "net/report/histogram.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "net/base/text.h"

namespace net {
namespace {

constexpr int kVersion = 1;
// 2560 buckets of at most "[2559,18446744073709551615]," and the head.
constexpr size_t kJsonBytesMax = 256 * 1024;

// The number at `key`, if it is there and not negative.
std::expected<uint64_t, std::string> Natural(const nlohmann::json& object, const char* key) {
  auto it = object.find(key);
  if (it == object.end() || !it->is_number_unsigned()) {
    return std::unexpected("\"" + std::string(key) + "\" is missing or not a whole number");
  }
  return it->get<uint64_t>();
}

std::expected<void, std::string> CheckHead(const nlohmann::json& object, std::string_view unit) {
  if (!object.is_object()) return std::unexpected("is not a JSON object");
  if (object.value("version", nlohmann::json()) != kVersion) {
    return std::unexpected("\"version\" is not " + std::to_string(kVersion));
  }
  if (object.value("precision_bits", nlohmann::json()) != Histogram::kPrecisionBits) {
    return std::unexpected("\"precision_bits\" is not " +
                           std::to_string(Histogram::kPrecisionBits));
  }
  if (object.value("unit", nlohmann::json()) != unit) {
    return std::unexpected("\"unit\" is not " + Quoted(unit));
  }
  return {};
}

}  // namespace

Histogram::Histogram() : cells_(std::make_unique<Cells>()) {}

Histogram::Histogram(const Histogram& other) : Histogram() { Merge(other); }

Histogram& Histogram::operator=(const Histogram& other) {
  if (this != &other) {
    Reset();
    Merge(other);
  }
  return *this;
}

void Histogram::Merge(const Histogram& other) {
  if (other.count() == 0) return;
  const Cells& from = *other.cells_;
  uint64_t copied = 0;  // what the buckets held when they were read, so that the two agree
  for (size_t i = 0; i < kBuckets; ++i) {
    uint64_t n = from.buckets[i].load(kRelaxed);
    if (n == 0) continue;
    Bump(cells_->buckets[i], n);
    copied += n;
  }
  Bump(cells_->count, copied);
  Bump(cells_->sum, from.sum.load(kRelaxed));
  Bump(cells_->clamped, from.clamped.load(kRelaxed));
  cells_->min.store(std::min(cells_->min.load(kRelaxed), from.min.load(kRelaxed)), kRelaxed);
  cells_->max.store(std::max(cells_->max.load(kRelaxed), from.max.load(kRelaxed)), kRelaxed);
}

void Histogram::Reset() {
  for (auto& bucket : cells_->buckets) bucket.store(0, kRelaxed);
  cells_->count.store(0, kRelaxed);
  cells_->sum.store(0, kRelaxed);
  cells_->clamped.store(0, kRelaxed);
  cells_->min.store(INT64_MAX, kRelaxed);
  cells_->max.store(0, kRelaxed);
}

int64_t Histogram::min() const {
  int64_t lowest = cells_->min.load(kRelaxed);
  return lowest == INT64_MAX ? 0 : lowest;
}

double Histogram::Mean() const {
  uint64_t n = count();
  return n == 0 ? 0 : sum() / static_cast<double>(n);
}

int64_t Histogram::Percentile(double percent) const {
  // Not count(): while a thread records, the buckets are the truth that adds up.
  uint64_t total = 0;
  for (const auto& bucket : cells_->buckets) total += bucket.load(kRelaxed);
  if (total == 0) return 0;
  double share = std::clamp(percent, 0.0, 100.0) / 100;
  auto rank = static_cast<uint64_t>(std::ceil(share * static_cast<double>(total)));
  rank = std::clamp<uint64_t>(rank, 1, total);
  if (rank == total) return max();
  uint64_t seen = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    seen += cells_->buckets[i].load(kRelaxed);
    if (seen >= rank) {
      int64_t middle = LowestOf(i) + (HighestOf(i) - LowestOf(i)) / 2;
      return std::clamp(middle, min(), std::max(min(), max()));
    }
  }
  return max();
}

uint64_t Histogram::CountAtMost(int64_t value) const {
  if (value < 0) return 0;
  size_t last = value >= kValueMax ? kBuckets - 1 : BucketOf(value);
  uint64_t seen = 0;
  for (size_t i = 0; i <= last; ++i) seen += cells_->buckets[i].load(kRelaxed);
  return seen;
}

std::string Histogram::ToJson(std::string_view unit) const {
  // While a thread records, the buckets as read here are the truth; the rest is made to fit them.
  std::string buckets;
  uint64_t total = 0;
  size_t first = 0;
  size_t last = 0;
  for (size_t i = 0; i < kBuckets; ++i) {
    uint64_t n = cells_->buckets[i].load(kRelaxed);
    if (n == 0) continue;
    if (buckets.empty()) {
      first = i;
    } else {
      buckets += ',';
    }
    buckets += '[' + std::to_string(i) + ',' + std::to_string(n) + ']';
    last = i;
    total += n;
  }
  std::string out = "{\"version\":" + std::to_string(kVersion) + ",\"unit\":";
  AppendJsonString(out, unit);
  auto add = [&out](std::string_view key, auto value) {
    out += ",\"";
    out += key;
    out += "\":" + std::to_string(value);
  };
  add("precision_bits", kPrecisionBits);
  add("count", total);
  add("sum", cells_->sum.load(kRelaxed));
  add("min", std::clamp(min(), LowestOf(first), HighestOf(first)));
  add("max", std::clamp(max(), LowestOf(last), HighestOf(last)));
  add("clamped", std::min(clamped(), total));
  return out + ",\"buckets\":[" + buckets + "]}";
}

std::expected<Histogram, std::string> Histogram::FromJson(std::string_view json,
                                                          std::string_view unit) {
  if (json.size() > kJsonBytesMax) return std::unexpected("is too long");
  auto object = nlohmann::json::parse(json, nullptr, false);
  if (auto head = CheckHead(object, unit); !head) return std::unexpected(head.error());
  Histogram out;
  Cells& cells = *out.cells_;
  const auto buckets = object.find("buckets");
  if (buckets == object.end() || !buckets->is_array() || buckets->size() > kBuckets) {
    return std::unexpected("\"buckets\" is missing or not a list of buckets");
  }
  uint64_t total = 0;
  size_t next = 0;  // the smallest index that may follow
  for (const auto& pair : *buckets) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number_unsigned() ||
        !pair[1].is_number_unsigned()) {
      return std::unexpected("\"buckets\" holds something other than [index,count]");
    }
    auto index = pair[0].get<uint64_t>();
    auto n = pair[1].get<uint64_t>();
    if (index < next || index >= kBuckets || n == 0 || __builtin_add_overflow(total, n, &total)) {
      return std::unexpected("\"buckets\" holds a bucket out of order or out of range");
    }
    next = index + 1;
    cells.buckets[index].store(n, kRelaxed);
  }
  auto count = Natural(object, "count");
  auto sum = Natural(object, "sum");
  auto min = Natural(object, "min");
  auto max = Natural(object, "max");
  auto clamped = Natural(object, "clamped");
  for (const auto* field : {&count, &sum, &min, &max, &clamped}) {
    if (!*field) return std::unexpected(field->error());
  }
  if (*count != total) return std::unexpected("\"count\" is not the sum of the buckets");
  if (*clamped > total || *min > *max || *max > uint64_t{kValueMax}) {
    return std::unexpected("\"min\", \"max\" or \"clamped\" is out of range");
  }
  if (total > 0 && (cells.buckets[BucketOf(static_cast<int64_t>(*min))].load(kRelaxed) == 0 ||
                    BucketOf(static_cast<int64_t>(*max)) != next - 1)) {
    return std::unexpected("\"min\" or \"max\" is in no bucket that holds something");
  }
  cells.count.store(total, kRelaxed);
  cells.sum.store(*sum, kRelaxed);
  cells.clamped.store(*clamped, kRelaxed);
  if (total > 0) {
    cells.min.store(static_cast<int64_t>(*min), kRelaxed);
    cells.max.store(static_cast<int64_t>(*max), kRelaxed);
  }
  return out;
}

}  // namespace net
