#include "dns/answer/compile.h"

#include <algorithm>
#include <atomic>

#include "dns/answer/image_builder.h"
#include "net/base/check.h"

namespace dns {

struct Compiler::Impl {
  std::vector<ZoneContext> zones;
  std::vector<PoolConfig> pools;
  Random random;
  std::vector<DynamicSpec> specs;
  std::vector<std::shared_ptr<const Answer>> dynamic;
  std::vector<std::shared_ptr<const ZoneState>> states;
  std::vector<Record> overlay_records;
  bool overlay_changed = false;
  std::vector<bool> serial_changed;
  std::shared_ptr<const Image> image;
  std::shared_ptr<const Image> overlay;

  Impl(std::vector<PoolConfig> p, uint64_t seed) : pools(std::move(p)), random(seed) {}

  std::vector<Name> ChildrenOf(size_t zone) const;
  std::vector<std::set<Name>> ApplyOverlay();
  void MakeOverlay(const std::vector<std::set<Name>>& touched, SignatureStore& signatures);
  void MakeState(size_t zone, SignatureStore& signatures) {
    states[zone] = std::make_shared<const ZoneState>(
        AnswerWriter(zones[zone], signatures, random).WriteState());
  }
  std::shared_ptr<const Generation> Publish(uint32_t now, const SignatureStore& signatures) const;
};

std::vector<Name> Compiler::Impl::ChildrenOf(size_t zone) const {
  std::vector<Name> children;
  for (const ZoneContext& other : zones) {
    bool below = other.apex() != zones[zone].apex() && other.apex().IsWithin(zones[zone].apex());
    if (below) children.push_back(other.apex());
  }
  return children;
}

// Each record belongs to the zone with the longest name.
std::vector<std::set<Name>> Compiler::Impl::ApplyOverlay() {
  std::vector<std::vector<Record>> of_zone(zones.size());
  for (const Record& record : overlay_records) {
    for (size_t i = zones.size(); i > 0; --i) {  // parents stand first
      if (!record.owner.IsWithin(zones[i - 1].apex())) continue;
      of_zone[i - 1].push_back(record);
      break;
    }
  }
  std::vector<std::set<Name>> touched;
  for (size_t i = 0; i < zones.size(); ++i) touched.push_back(zones[i].SetOverlay(of_zone[i]));
  return touched;
}

void Compiler::Impl::MakeOverlay(const std::vector<std::set<Name>>& touched,
                                 SignatureStore& signatures) {
  ImageBuilder builder(signatures, random, nullptr);
  bool any = false;
  for (size_t i = 0; i < zones.size(); ++i) {
    for (const Name& name : touched[i]) {
      builder.AddName(zones[i], i, name);
      builder.KeepWildcard(*image, name);
      any = true;
    }
  }
  overlay = any ? builder.Finish() : nullptr;
}

std::shared_ptr<const Generation> Compiler::Impl::Publish(uint32_t now,
                                                          const SignatureStore& signatures) const {
  std::vector<std::shared_ptr<const ZoneContents>> contents;
  for (const ZoneContext& zone : zones) {
    contents.push_back(std::make_shared<const ZoneContents>(zone.Contents()));
  }
  auto made = std::make_shared<Generation>();
  static std::atomic<uint64_t> generations{0};  // over all compilers: reloads make new ones
  made->id = ++generations;
  made->image = image;
  made->overlay = overlay;
  made->dynamic = dynamic;
  made->zones = states;
  made->contents = std::move(contents);
  made->validity = signatures.ValidityAt(now);
  return made;
}

Compiler::Compiler(std::vector<ZoneInput> zones, std::vector<PoolConfig> pools, uint64_t seed)
    : impl_(std::make_unique<Impl>(std::move(pools), seed)) {
  CHECK(impl_->pools.size() <= kPoolsMax);
  // Parents first: a zone below another replaces the parent's cut.
  std::ranges::sort(zones, [](const ZoneInput& a, const ZoneInput& b) {
    return a.zone->apex.label_count() < b.zone->apex.label_count();
  });
  for (const ZoneInput& zone : zones) impl_->zones.emplace_back(zone.zone, zone.keys);
  impl_->states.resize(impl_->zones.size());
  impl_->serial_changed.resize(impl_->zones.size());
}

Compiler::~Compiler() = default;

void Compiler::SetSerial(const Name& apex, uint32_t serial) {
  for (size_t i = 0; i < impl_->zones.size(); ++i) {
    ZoneContext& zone = impl_->zones[i];
    if (zone.apex() != apex || SoaSerial(zone.soa().rdatas[0]) == serial) continue;
    zone.SetSerial(serial);
    impl_->serial_changed[i] = true;
  }
}

void Compiler::SetOverlay(std::vector<Record> records) {
  CHECK(records.size() <= kOverlayRecordsMax);
  impl_->overlay_records = std::move(records);
  impl_->overlay_changed = true;
}

std::shared_ptr<const Generation> Compiler::Build(std::span<const PoolView> views, uint32_t now,
                                                  SignatureStore& signatures) {
  uint64_t round = signatures.Begin(now);
  Impl& impl = *impl_;
  impl.specs.clear();
  impl.dynamic.clear();
  for (ZoneContext& zone : impl.zones) {
    zone.SetTime(now);
    zone.SetPools(impl.pools, views);
    zone.SetOverlay({});
  }
  ImageBuilder builder(signatures, impl.random, [&](DynamicSpec spec, Answer answer) {
    impl.specs.push_back(std::move(spec));
    impl.dynamic.push_back(std::make_shared<const Answer>(std::move(answer)));
    return static_cast<uint32_t>(impl.dynamic.size() - 1);
  });
  for (size_t i = 0; i < impl.zones.size(); ++i) {
    builder.AddZone(impl.zones[i], impl.ChildrenOf(i));
    impl.MakeState(i, signatures);
  }
  impl.image = builder.Finish();
  impl.MakeOverlay(impl.ApplyOverlay(), signatures);
  impl.overlay_changed = false;
  impl.serial_changed.assign(impl.zones.size(), false);
  signatures.ForgetBefore(round);
  return impl.Publish(now, signatures);
}

std::shared_ptr<const Generation> Compiler::Update(std::span<const PoolView> views,
                                                   uint64_t changed, uint32_t now,
                                                   SignatureStore& signatures) {
  Impl& impl = *impl_;
  CHECK(impl.image != nullptr);
  signatures.Begin(now);
  if (changed != 0) {
    for (ZoneContext& zone : impl.zones) zone.SetPools(impl.pools, views);
  }
  for (size_t i = 0; i < impl.specs.size(); ++i) {
    DynamicSpec& spec = impl.specs[i];
    if ((spec.pools & changed) == 0 && !(spec.soa && impl.serial_changed[spec.zone])) continue;
    uint64_t pools = 0;
    bool soa = false;
    impl.dynamic[i] = std::make_shared<const Answer>(
        MakeAnswer(impl.zones[spec.zone], spec, signatures, impl.random, &pools, &soa));
  }
  for (size_t i = 0; i < impl.zones.size(); ++i) {
    if (impl.serial_changed[i]) impl.MakeState(i, signatures);
  }
  // The overlay is small, and its aliases may lead to pools: it is made anew with everything.
  if (impl.overlay_changed || impl.overlay != nullptr) {
    impl.MakeOverlay(impl.ApplyOverlay(), signatures);
  }
  impl.overlay_changed = false;
  impl.serial_changed.assign(impl.zones.size(), false);
  return impl.Publish(now, signatures);
}

}  // namespace dns
