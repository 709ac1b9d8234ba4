// Reads configurations and compiles zones on a thread of its own: with a million names that takes
// seconds, in which checks, orders and pages go on.
//
// One build at a time. All calls are the control loop's; `done` runs there, too. Nothing is called
// after the destructor, which waits for the build that is under way.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "dns/answer/compile.h"
#include "dns/config/config.h"
#include "net/io/event_loop.h"

namespace dns {

class ZoneBuilder {
 public:
  using Signatures = std::shared_ptr<SignatureStore>;
  struct Built {
    std::vector<std::string> errors;     // of the configuration; then there is nothing else
    std::unique_ptr<Config> config;      // what Load() read
    Signatures signatures;               // the ones given, or new ones where their lifetime changed
    std::unique_ptr<Compiler> compiler;  // after its Build()
    std::shared_ptr<const Generation> generation;
  };
  using Done = std::move_only_function<void(Built)>;

  explicit ZoneBuilder(net::EventLoop& loop) : loop_(loop) {}
  ~ZoneBuilder();

  static Signatures MakeSignatures(const Config& config);

  bool busy() const { return busy_; }
  // Reads the file and compiles its zones, with pools as if all were up: the caller's Update() says
  // how they are. Not while busy().
  void Load(const std::string& path, Signatures signatures, Done done);
  // Compiles these zones with what is there, for signatures or keys that have come of age, or zones
  // that primaries have sent. `views`: the pools now. Not while busy().
  void Rebuild(std::vector<ZoneConfig> zones, std::vector<PoolConfig> pools,
               std::vector<PoolView> views, Signatures signatures, Done done);

  // The compiler of a configuration, not built yet. Any thread.
  static std::unique_ptr<Compiler> MakeCompiler(const std::vector<ZoneConfig>& zones,
                                                std::vector<PoolConfig> pools);

 private:
  void Start(std::move_only_function<Built()> work, Done done);

  net::EventLoop& loop_;
  std::thread thread_;
  bool busy_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dns
