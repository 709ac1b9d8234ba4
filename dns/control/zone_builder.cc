#include "dns/control/zone_builder.h"

#include <pthread.h>
#include <time.h>

#include "dns/serve/now.h"

namespace dns {
namespace {

uint32_t UnixNow() { return static_cast<uint32_t>(time(nullptr)); }

}  // namespace

std::unique_ptr<Compiler> ZoneBuilder::MakeCompiler(const std::vector<ZoneConfig>& zones,
                                                    std::vector<PoolConfig> pools) {
  std::vector<ZoneInput> inputs;
  for (const ZoneConfig& zone : zones) inputs.push_back({zone.zone, zone.keys});
  return std::make_unique<Compiler>(std::move(inputs), std::move(pools), SystemSeed());
}

ZoneBuilder::~ZoneBuilder() {
  *alive_ = false;
  if (thread_.joinable()) thread_.join();
}

ZoneBuilder::Signatures ZoneBuilder::MakeSignatures(const Config& config) {
  uint32_t lifetime = config.signature_days * 86'400;
  return std::make_shared<SignatureStore>(lifetime, lifetime / 4);
}

void ZoneBuilder::Load(const std::string& path, Signatures signatures, Done done) {
  Start(
      [path, signatures = std::move(signatures)] {
        Built built;
        auto config = LoadConfig(path);
        if (!config) {
          built.errors = std::move(config.error());
          return built;
        }
        built.config = std::make_unique<Config>(std::move(*config));
        built.signatures = MakeSignatures(*built.config);
        if (built.signatures->lifetime() == signatures->lifetime()) built.signatures = signatures;
        std::vector<PoolView> views;
        for (const PoolSettings& settings : built.config->pools) {
          std::vector<BalancerLive> live(settings.pool.balancers.size());
          views.push_back(MakeView(settings.pool, live, {}));
        }
        built.compiler = MakeCompiler(built.config->zones, built.config->PoolConfigs());
        built.generation = built.compiler->Build(views, UnixNow(), *built.signatures);
        return built;
      },
      std::move(done));
}

void ZoneBuilder::Rebuild(std::vector<ZoneConfig> zones, std::vector<PoolConfig> pools,
                          std::vector<PoolView> views, Signatures signatures, Done done) {
  Start(
      [zones = std::move(zones), pools = std::move(pools), views = std::move(views),
       signatures = std::move(signatures)]() mutable {
        Built built;
        built.signatures = std::move(signatures);
        built.compiler = MakeCompiler(zones, std::move(pools));
        built.generation = built.compiler->Build(views, UnixNow(), *built.signatures);
        return built;
      },
      std::move(done));
}

void ZoneBuilder::Start(std::move_only_function<Built()> work, Done done) {
  if (thread_.joinable()) thread_.join();  // the one before has posted its result
  busy_ = true;
  thread_ =
      std::thread([this, alive = alive_, work = std::move(work), done = std::move(done)]() mutable {
        pthread_setname_np(pthread_self(), "dns-zones");
        auto built = std::make_shared<Built>(work());
        work = nullptr;  // what it held is not needed while the result waits
        loop_.Post([this, alive = std::move(alive), built, done = std::move(done)]() mutable {
          if (!*alive) return;
          busy_ = false;
          done(std::move(*built));
        });
      });
}

}  // namespace dns
